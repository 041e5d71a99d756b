package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"
)

// itemColumns are what scanItem reads.
const itemColumns = "uid, version, created, updated, deleted, payload, operation, kept"

var (
	itemGet = statement{"item.get", `
		SELECT ` + itemColumns + ` FROM items WHERE owner = $1 AND kind = $2 AND uid = $3`}
	itemLive = statement{"item.lives", `
		SELECT 1 FROM items WHERE owner = $1 AND kind = $2 AND uid = $3 AND deleted = 0`}
	itemInsert = statement{"item.insert", `
		INSERT INTO items
			(owner, kind, uid, version, created, updated, deleted, payload, parent, operation, kept)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`}
	itemUpdate = statement{"item.update", `
		UPDATE items SET version = $4, created = $5, updated = $6, deleted = $7,
			payload = $8, parent = $9,
			operation = $10, kept = $11
		WHERE owner = $1 AND kind = $2 AND uid = $3`}
	itemLists = listStatements()
	itemCount = statement{"item.count", `
		SELECT kind, COUNT(*) FROM items WHERE owner = $1 GROUP BY kind`}
	itemWipe = statement{"item.wipe", `
		DELETE FROM items WHERE owner = $1`}
	// The lock of all locks: see the package's comment.
	clockMove = statement{"clock.move", `
		UPDATE users SET clock = CASE WHEN clock < $2 THEN $2 ELSE clock + 1 END
		WHERE id = $1 AND epoch = $3 RETURNING clock`}
)

// listing names one of the lists.
type listing struct{ ofParent, deletedToo, newest bool }

func listStatements() map[listing]statement {
	out := make(map[listing]statement)
	for n := range 8 {
		l := listing{n&1 != 0, n&2 != 0, n&4 != 0}
		name, where := "item.list", "owner = $1 AND kind = $2"
		time, after, direction := "updated", ">", ""
		if l.ofParent {
			// "IS NOT NULL" is what lets both databases use the partial index.
			name, time = name+"_of_parent", "created"
			where += " AND parent IS NOT NULL AND parent = $6"
		}
		if l.deletedToo {
			name += "_all"
		} else {
			name, where = name+"_live", where+" AND deleted = 0"
		}
		if l.newest {
			name, after, direction = name+"_newest", "<", " DESC"
		}
		// Without the cast SQLite would plan the query again at each call, to see whether the limit
		// is small.
		out[l] = statement{name, fmt.Sprintf(`
			SELECT %s FROM items WHERE %s AND (%[3]s, uid) %[4]s ($3, $4)
			ORDER BY %[3]s%[5]s, uid%[5]s LIMIT CAST($5 AS BIGINT)`,
			itemColumns, where, time, after, direction)}
	}
	return out
}

// common is the part of a Store that is the same on every database.
type common struct {
	db        database
	index     searchIndex
	now       func() time.Time
	retention Retention
	// complete holds the owners whose items are all indexed.
	complete sync.Map
}

// mark tells the callers of the store which errors mean that the database is unavailable.
func (c *common) mark(err error) error {
	switch {
	case err == nil, errors.Is(err, ErrOutcomeUnknown):
		return err
	case errors.Is(err, context.Canceled):
		// Whatever the drivers made of it: the caller cancelled, and the database is available.
		return context.Canceled
	case c.db.unavailable(err):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

func (c *common) Get(ctx context.Context, owner int64, kind, uid string) (Item, error) {
	item, err := getItem(ctx, c.db, owner, kind, uid)
	return item, c.mark(err)
}

func (c *common) List(
	ctx context.Context,
	owner int64,
	kind string,
	page Page,
) ([]Item, bool, error) {
	l, args := listOf(page, kind)
	list := pageReader{page: page}
	err := each(ctx, c.db, itemLists[l], append([]any{owner}, args...), list.read)
	return list.items, list.more, c.mark(err)
}

// listOf is the statement of a page, and its parameters after the owner.
func listOf(page Page, kind string) (listing, []any) {
	// One row beyond the page tells whether there is another page.
	args := []any{kind, page.After.At, page.After.UID, page.Limit + 1}
	if page.Parent != "" {
		args = append(args, page.Parent)
	}
	return listing{page.Parent != "", page.IncludeDeleted, page.Newest}, args
}

// pageReader reads the rows of a page.
type pageReader struct {
	page  Page
	items []Item
	size  int
	more  bool
}

func (p *pageReader) read(r rows) error {
	if len(p.items) == p.page.Limit || len(p.items) > 0 && p.size >= p.page.MaxBytes {
		p.more = true
		return errStop
	}
	if p.items == nil {
		p.items = make([]Item, 0, min(p.page.Limit, 64))
	}
	before := len(p.items)
	p.items = append(p.items, Item{})
	item := &p.items[before] // in its place: one of its own would be allocated for each row
	if err := item.scan(r); err != nil {
		return err
	}
	if p.page.Reserve != nil && !p.page.Reserve(*item) && before > 0 {
		*item = Item{} // or its payload would be kept with the page
		p.items, p.more = p.items[:before], true
		return errStop
	}
	p.size += len(item.Payload)
	return nil
}

func (c *common) Write(
	ctx context.Context,
	owner Owner,
	kind, uid string,
	change Change,
) (Item, error) {
	var item Item
	var updated int64 // remains 0 when the epoch is over
	var current *Item
	err := c.db.write(ctx, work{
		first: c.firstOfWrite(owner, kind, uid, &updated, &current),
		then: func(tx connection) (commands []command, err error) {
			if updated == 0 {
				return nil, ErrStaleEpoch
			}
			item, commands, err = c.changed(
				transaction{ctx: ctx, c: tx, owner: owner.ID},
				kind,
				uid,
				current,
				updated,
				change,
			)
			return commands, err
		},
	})
	return item, c.mark(err)
}

// firstOfWrite is what a write asks first. updated remains 0 when the epoch is over.
func (c *common) firstOfWrite(
	owner Owner,
	kind, uid string,
	updated *int64,
	current **Item,
) []question {
	return []question{
		{
			clockMove,
			[]any{owner.ID, c.now().UnixMilli(), owner.Epoch},
			func(r rows) error { return r.Scan(updated) },
		},
		askItem(owner.ID, kind, uid, current),
	}
}

// changed is what an item becomes, and the commands that make it so.
func (c *common) changed(
	tx transaction,
	kind, uid string,
	current *Item,
	at int64,
	change Change,
) (Item, []command, error) {
	next, err := change(tx, current)
	if err != nil {
		return Item{}, nil, err
	}
	item := Item{
		UID:       uid,
		Version:   1,
		Created:   at,
		Updated:   at,
		Payload:   next.Payload,
		Operation: next.Operation,
	}
	if next.Delete {
		item.Deleted = at
	}
	put, history := itemInsert, []command(nil)
	if current != nil {
		put, item.Version, item.Created = itemUpdate, current.Version+1, current.Created
		history = c.keepVersion(tx.owner, kind, *current, &item)
	}
	index, parent := c.indexed(tx.owner, kind, current, item)
	commands := append(
		history,
		command{
			put,
			[]any{tx.owner, kind, uid, item.Version, item.Created, item.Updated, item.Deleted,
				string(item.Payload), parent, item.Operation, item.kept},
		},
	)
	return item, append(commands, index...), nil
}

// wipe is the common part of Wipe; also is what else must happen in its transaction.
func (c *common) wipe(
	ctx context.Context,
	owner int64,
	by string,
	also func(connection) error,
) (int64, map[string]int64, error) {
	var epoch int64
	deleted := make(map[string]int64)
	err := c.db.write(ctx, work{
		first: []question{
			{
				userWipe,
				[]any{owner, c.now().UnixMilli(), by},
				func(r rows) error { return r.Scan(&epoch) },
			},
			{itemCount, []any{owner}, func(r rows) error {
				var kind string
				var n int64
				err := r.Scan(&kind, &n)
				deleted[kind] = n
				return err
			}},
		},
		then: func(tx connection) ([]command, error) {
			if epoch == 0 {
				return nil, sql.ErrNoRows
			}
			return append(
					c.index.dropAll(owner),
					command{versionWipe, []any{owner}},
					command{repeatWipe, []any{owner}},
					command{itemWipe, []any{owner}},
				), also(
					tx,
				)
		},
	})
	return epoch, deleted, c.mark(err)
}

// transaction is what a Change sees of its transaction, whose context it therefore carries.
type transaction struct {
	ctx   context.Context
	c     reader
	owner int64
	// decided are the writes of the same transaction that are not sent to the database yet.
	decided map[itemKey]Item
}

type itemKey struct{ kind, uid string }

func (t transaction) IsLive(kind, uid string) (bool, error) {
	if item, ok := t.decided[itemKey{kind, uid}]; ok {
		return item.Deleted == 0, nil
	}
	var found int
	err := one(t.ctx, t.c, itemLive, []any{t.owner, kind, uid}, &found)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

func (t transaction) Version(kind string, current Item, version int64) (Item, error) {
	return findVersion(t.ctx, t.c, t.owner, kind, current, version)
}

func getItem(ctx context.Context, c reader, owner int64, kind, uid string) (Item, error) {
	item, err := findItem(ctx, c, owner, kind, uid)
	if err == nil && item == nil {
		return Item{}, ErrNoItem
	}
	if err != nil {
		return Item{}, err
	}
	return *item, nil
}

func findItem(
	ctx context.Context,
	c reader,
	owner int64,
	kind, uid string,
) (found *Item, err error) {
	q := askItem(owner, kind, uid, &found)
	err = each(ctx, c, q.statement, q.args, q.scan)
	return found, err
}

func askItem(owner int64, kind, uid string, found **Item) question {
	return question{itemGet, []any{owner, kind, uid}, func(r rows) error {
		*found = new(Item)
		return (*found).scan(r)
	}}
}

// scan reads a row of itemColumns.
func (i *Item) scan(r rows) error {
	return r.Scan(
		&i.UID,
		&i.Version,
		&i.Created,
		&i.Updated,
		&i.Deleted,
		&i.Payload,
		&i.Operation,
		&i.kept,
	)
}

// GetMany reads the live ones of some items, by uid.
func (c *common) GetMany(
	ctx context.Context,
	owner int64,
	kind string,
	uids []string,
) (map[string]Item, error) {
	out := make(map[string]Item, len(uids))
	for _, uid := range uids {
		item, err := findItem(ctx, c.db, owner, kind, uid)
		if err != nil {
			return nil, c.mark(err)
		}
		if item != nil && item.Deleted == 0 {
			out[uid] = *item
		}
	}
	return out, nil
}

// creation is the change that makes a new item.
func creation(first Next) Change {
	return func(_ Tx, current *Item) (Next, error) {
		if current != nil {
			return Next{}, ErrExists
		}
		return first, nil
	}
}
