package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Ahead is a Get or a List that is made together with the look-up of a session, and its result. It
// reads as the session's owner, who may be another user than the caller, so the result may be used
// only after the session has been checked.
type Ahead struct {
	Kind string
	UID  string // of an item; "" for a list
	Page Page

	Item  Item // with UID
	Items []Item
	More  bool
	Err   error // as from Get or List
}

// ReadsAhead is false: sessions are in memory.
func (s *sqliteStore) ReadsAhead() bool { return false }

// FindSessionAhead is not used here.
func (s *sqliteStore) FindSessionAhead(
	ctx context.Context,
	id string,
	ahead *Ahead,
) (Session, error) {
	session, err := s.FindSession(ctx, id)
	if err != nil {
		return session, err
	}
	if ahead.UID != "" {
		ahead.Item, ahead.Err = s.Get(ctx, session.Owner, ahead.Kind, ahead.UID)
	} else {
		ahead.Items, ahead.More, ahead.Err = s.List(ctx, session.Owner, ahead.Kind, ahead.Page)
	}
	return session, nil
}

func (s *postgresStore) ReadsAhead() bool { return true }

// FindSessionAhead sends both queries at once.
func (s *postgresStore) FindSessionAhead(
	ctx context.Context,
	id string,
	ahead *Ahead,
) (Session, error) {
	if !isCanonicalID(id) {
		return Session{}, ErrNoSession
	}
	now := s.now().UnixMilli()
	find := s.askSession(id, now)
	read, args := itemGetAhead, []any{id, now, ahead.Kind, ahead.UID}
	if ahead.UID == "" {
		var listArgs []any
		read, listArgs = listAhead(ahead.Page, ahead.Kind)
		args = append([]any{id}, append(listArgs, now)...)
	}
	// Cancelled at the end, so that a page that ends early is not read to its end.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	batch := &pgx.Batch{}
	batch.Queue(find.sql, find.args...)
	batch.Queue(read.sql, args...)
	answers := s.pool.SendBatch(ctx, batch)
	defer func() { _ = answers.Close() }()
	var session Session
	err := each(ctx, batched{answers, cancel}, find.statement, nil, find.into(&session))
	if err == nil && session.ID == "" {
		err = ErrNoSession
	}
	if err != nil {
		return Session{}, s.mark(err)
	}
	if ahead.UID == "" {
		list := pageReader{page: ahead.Page}
		err = each(ctx, batched{answers, cancel}, read, nil, list.read)
		ahead.Items, ahead.More = list.items, list.more
	} else {
		err = sql.ErrNoRows
		found := each(ctx, batched{answers, cancel}, read, nil, func(r rows) error {
			err = nil
			return ahead.Item.scan(r)
		})
		if found != nil {
			err = found
		} else if errors.Is(err, sql.ErrNoRows) {
			err = ErrNoItem
		}
	}
	ahead.Err = s.mark(err)
	return session, nil
}

// ownerOf is the owner of a session, in place of $1.
func ownerOf(id, now string) string {
	return "(SELECT owner FROM sessions WHERE id = " + id + " AND expires > " + now + ")"
}

var (
	itemGetAhead = statement{"item.get_ahead", `
		SELECT ` + itemColumns + ` FROM items
		WHERE owner = ` + ownerOf("$1", "$2") + ` AND kind = $3 AND uid = $4`}
	itemListsAhead = listsAhead()
)

// listsAhead are the lists with the session in place of the owner, and the time as the last
// parameter.
func listsAhead() map[listing]statement {
	out := make(map[listing]statement)
	for l, s := range itemLists {
		now := "$6"
		if l.ofParent {
			now = "$7"
		}
		out[l] = statement{
			s.name + "_ahead",
			strings.Replace(s.sql, "owner = $1", "owner = "+ownerOf("$1", now), 1),
		}
	}
	return out
}

func listAhead(page Page, kind string) (statement, []any) {
	l, args := listOf(page, kind)
	return itemListsAhead[l], args
}
