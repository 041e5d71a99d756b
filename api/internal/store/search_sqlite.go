package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/toolbridge/toolbridge-mcp/api/internal/search"
)

// sqliteIndex is the index in SQLite: FTS5 over normalised words. What it is asked stays within
// FTS5 where it can, since each row that is read from another table costs a thousand times what a
// row of the index does.
type sqliteIndex struct{}

// A document's id is its owner and the time of its last change, which is unique for an owner. So
// the index is in the order of time, and a person's documents are one range of it.
const timeBits = 43 // milliseconds up to the year 2248

func searchID(owner, updated int64) int64 { return owner<<timeBits | updated }

var (
	sqliteDocPut = statement{"index.doc_put", `
		INSERT INTO search_docs
			(id, owner, updated, kind, uid, state, status, priority, due, tags,
			parent_kind, parent, unread)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`}
	sqliteTextPut = statement{
		"index.text_put",
		`INSERT INTO search_text (rowid, words, terms) VALUES ($1, $2, $3)`,
	}
	sqliteDocDrop  = statement{"index.doc_drop", `DELETE FROM search_docs WHERE id = $1`}
	sqliteTextDrop = statement{"index.text_drop", `DELETE FROM search_text WHERE rowid = $1`}
	sqliteDocWipe  = statement{
		"index.doc_wipe",
		`DELETE FROM search_docs WHERE id >= $1 AND id < $2`,
	}
	sqliteTextWipe = statement{"index.text_wipe", `
		DELETE FROM search_text
		WHERE rowid IN (SELECT id FROM search_docs WHERE id >= $1 AND id < $2)`}
	sqliteIndexKeys = indexKeys("d.id = (i.owner << 43 | i.updated)")
)

func (sqliteIndex) put(owner int64, item Item, kind string, d *search.Document) []command {
	id := searchID(owner, item.Updated)
	words, terms := d.FTS5(owner)
	var tags *string
	if len(d.Tags) > 0 {
		text, _ := json.Marshal(d.Tags) // strings encode
		tags = optional(string(text))
	}
	return []command{
		{
			sqliteDocPut,
			[]any{
				id,
				owner,
				item.Updated,
				kind,
				item.UID,
				string(d.State),
				optional(d.Status),
				optional(d.Priority),
				d.Due,
				tags,
				optional(d.ParentKind),
				optional(d.Parent),
				d.Unread,
			},
		},
		{sqliteTextPut, []any{id, words, terms}},
	}
}

func (sqliteIndex) drop(owner, updated int64) []command {
	id := searchID(owner, updated)
	return []command{{sqliteTextDrop, []any{id}}, {sqliteDocDrop, []any{id}}}
}

func (sqliteIndex) dropAll(owner int64) []command {
	ids := []any{searchID(owner, 0), searchID(owner+1, 0)}
	return []command{{sqliteTextWipe, ids}, {sqliteDocWipe, ids}}
}

var sqliteFewItems = statement{"search.few_items", `
	SELECT i.kind, i.uid, i.version, i.created, i.updated, i.deleted, i.payload FROM json_each($1) j
	CROSS JOIN search_docs d ON d.id = j.value
	CROSS JOIN items i ON i.owner = d.owner AND i.kind = d.kind AND i.uid = d.uid`}

func (sqliteIndex) fewItems() statement { return sqliteFewItems }

var sqliteUnread = overviewUnread("unread = 1")

func (sqliteIndex) unread() statement { return sqliteUnread }

func (sqliteIndex) keys() statement { return sqliteIndexKeys }

func (x sqliteIndex) hits(owner int64, s Search, e search.Expression) *query {
	q := &query{from: "search_text f"}
	q.and("f.search_text MATCH " + q.arg(e.FTS5()))
	from, before := searchID(owner, 0), searchID(owner+1, 0)
	if s.Updated.From != nil {
		from = searchID(owner, clampTime(*s.Updated.From))
	}
	if s.Updated.Before != nil {
		before = searchID(owner, clampTime(*s.Updated.Before))
	}
	q.and("f.rowid >= " + q.arg(from))
	q.and("f.rowid < " + q.arg(before))
	if !s.Due.open() {
		x.join(q)
		dueBetween(q, s.Due)
	}
	return q
}

func clampTime(ms int64) int64 { return max(0, min(ms, 1<<timeBits-1)) }

// join brings the columns of documents into a query. CROSS keeps the index in the lead.
func (sqliteIndex) join(q *query) {
	if q.from == "search_text f" {
		q.from += " CROSS JOIN search_docs d ON d.id = f.rowid"
	}
}

func (x sqliteIndex) order(q *query, s Search, _ bool) bool {
	x.join(q)
	switch s.Order {
	case Oldest:
		q.orderBy = "f.rowid"
	case Due:
		q.orderBy = "d.due IS NULL, d.due, d.updated DESC"
	default:
		q.orderBy = "f.rowid DESC"
	}
	return false
}

func (x sqliteIndex) after(q *query, owner int64, s Search) {
	x.join(q)
	if s.Order == Due {
		afterDue(q, *s.After)
		return
	}
	if at := s.After.Updated; at < math.MaxInt64 {
		id := q.arg(searchID(owner, clampTime(at)))
		if s.Order == Oldest {
			q.and("f.rowid > " + id)
		} else {
			q.and("f.rowid < " + id)
		}
	}
}

func (x sqliteIndex) group(q *query, field string) string {
	x.join(q)
	switch field {
	case "tag":
		q.from += " CROSS JOIN json_each(d.tags) t"
		return "t.value"
	case "month":
		return "strftime('%Y-%m', d.updated / 1000, 'unixepoch')"
	}
	return "d." + field
}

func dueBetween(q *query, r Range) {
	if r.From != nil {
		q.and("d.due >= " + q.arg(*r.From))
	}
	if r.Before != nil {
		q.and("d.due < " + q.arg(*r.Before))
	}
}

func afterDue(q *query, p SearchPosition) {
	updated := q.arg(p.Updated)
	if p.Mode == atNoDue {
		q.and("d.due IS NULL AND d.updated < " + updated)
		return
	}
	due := q.arg(p.Key)
	sameDue := "d.due = " + due + " AND d.updated < " + updated
	q.and("(d.due > " + due + " OR " + sameDue + " OR d.due IS NULL)")
}

// IndexSome has the writing connection opened anew at its end. FTS5 keeps the table in which it
// collects the words of a transaction as large as the largest transaction has made it, and walks
// through all of it in each write.
func (s *sqliteStore) IndexSome(
	ctx context.Context,
	at IndexCursor,
) (next IndexCursor, done bool, err error) {
	next, done, err = s.common.IndexSome(ctx, at)
	if done && at.after != 0 && s.db.writes != s.db.reads {
		err = s.mark(s.db.writes.reopen(ctx))
	}
	return next, done, err
}

var (
	sqliteMerge = statement{
		"index.merge",
		`INSERT INTO search_text (search_text, rank) VALUES ('merge', 64)`,
	}
	sqliteChanges = statement{"index.changes", `SELECT total_changes()`}
)

// TidyIndex merges some of the parts that the index is in, of which each write makes one and each
// search reads all. SQLite merges few of them within writes.
func (s *sqliteStore) TidyIndex(ctx context.Context) (more bool, err error) {
	err = s.common.db.write(ctx, work{then: func(tx connection) ([]command, error) {
		var before, after int64
		if err := one(ctx, tx, sqliteChanges, nil, &before); err != nil {
			return nil, err
		}
		if _, err := run(ctx, tx, sqliteMerge); err != nil {
			return nil, err
		}
		err := one(ctx, tx, sqliteChanges, nil, &after)
		more = after-before > 1 // the statement itself counts as one
		return nil, err
	}})
	return more, s.mark(err)
}

var (
	sqliteDocGet = statement{"check.doc", `
		SELECT kind, uid, state, COALESCE(status, ''), COALESCE(priority, ''), due,
			COALESCE(tags, ''),
			COALESCE(parent_kind, ''), COALESCE(parent, ''), unread
		FROM search_docs WHERE id = $1`}
	sqliteTextCount = statement{"check.texts", `SELECT COUNT(*) FROM search_text_docsize`}
	sqliteHasTerms  = statement{"check.terms", `
		SELECT COUNT(*) FROM search_text f WHERE f.search_text MATCH $1 AND f.rowid = $2`}
)

// check asks for the words of a document by looking for all of them at once, in their order: FTS5
// does not tell what a row without its text was made of.
func (sqliteIndex) check(
	ctx context.Context,
	c reader,
	owner int64,
	kind string,
	item Item,
	d *search.Document,
) (bool, []string, error) {
	id := searchID(owner, item.Updated)
	var gotKind, uid, state, status, priority, tags, parentKind, parent string
	var due *int64
	var unread bool
	err := one(
		ctx,
		c,
		sqliteDocGet,
		[]any{id},
		&gotKind,
		&uid,
		&state,
		&status,
		&priority,
		&due,
		&tags,
		&parentKind,
		&parent,
		&unread,
	)
	if errors.Is(err, sql.ErrNoRows) {
		return false, []string{"is not in the index"}, nil
	} else if err != nil {
		return false, nil, err
	}
	var wrong []string
	wantTags := ""
	if len(d.Tags) > 0 {
		text, _ := json.Marshal(d.Tags)
		wantTags = string(text)
	}
	if gotKind != kind || uid != item.UID || state != string(d.State) ||
		status != d.Status || priority != d.Priority ||
		(due == nil) != (d.Due == nil) || due != nil && *due != *d.Due || tags != wantTags ||
		parentKind != d.ParentKind ||
		parent != d.Parent ||
		unread != d.Unread {
		wrong = append(wrong, "differs from its document")
	}
	words, terms := d.FTS5(owner)
	for _, column := range []struct{ name, text string }{{"words", words}, {"terms", terms}} {
		there := strings.Fields(column.text)
		for n := 0; n < len(there); n += 50 {
			var found int
			phrase := column.name + `:"` + strings.Join(there[n:min(n+50, len(there))], " ") + `"`
			if err := one(ctx, c, sqliteHasTerms, []any{phrase, id}, &found); err != nil {
				return true, nil, err
			}
			if found != 1 {
				return true, append(wrong, "is not found by its "+column.name), nil
			}
		}
	}
	return true, wrong, nil
}

// checkAll compares the numbers of rows, and lets FTS5 check itself.
func (sqliteIndex) checkAll(ctx context.Context, c reader, documents int64) ([]string, error) {
	var texts int64
	if err := one(ctx, c, sqliteTextCount, nil, &texts); err != nil {
		return nil, err
	}
	if texts != documents {
		return []string{
			fmt.Sprintf(
				"the words of %d documents are indexed, and there are %d",
				texts,
				documents,
			),
		}, nil
	}
	return nil, nil
}
