package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/toolbridge/toolbridge-mcp/api/internal/entity"
	"github.com/toolbridge/toolbridge-mcp/api/internal/search"
)

// Progress is how far the index is with the items of a person.
type Progress struct{ Done, Total int64 }

var (
	userIndexed = statement{"user.indexed", `SELECT indexed FROM users WHERE id = $1`}
	itemTotal   = statement{"item.total", `SELECT COUNT(*) FROM items WHERE owner = $1`}
)

// progress is nil when all items of an owner are indexed. That does not change back while this
// program runs.
func (c *common) progress(ctx context.Context, owner int64) (*Progress, error) {
	if _, done := c.complete.Load(owner); done {
		return nil, nil
	}
	var version int64
	if err := one(ctx, c.db, userIndexed, []any{owner}, &version); err != nil {
		return nil, err
	}
	if version == search.Version {
		c.complete.Store(owner, true)
		return nil, nil
	}
	var p Progress
	if err := one(ctx, c.db, itemTotal, []any{owner}, &p.Total); err != nil {
		return nil, err
	}
	states := []search.State{search.Live, search.Archived, search.Deleted}
	q := c.index.hits(
		owner,
		Search{Filter: search.Filter{States: states}},
		search.Compile(owner, nil, search.Filter{States: states}),
	)
	err := one(ctx, c.db, q.statement("search.count", "COUNT(*)", ""), q.args, &p.Done)
	p.Done = min(p.Done, p.Total) // items are written meanwhile
	return &p, err
}

var (
	unindexedOwner = statement{"index.owner", `
		SELECT id FROM users WHERE indexed <> $1 AND id > $2 ORDER BY id LIMIT 1`}
	// Takes the person's lock without moving their clock.
	indexLock = statement{"index.lock", `
		UPDATE users SET indexed = indexed WHERE id = $1 RETURNING indexed`}
	indexMark = statement{"index.mark", `
		UPDATE users SET indexed = $2 WHERE id = $1`}
)

// indexKeys finds the next items without a document. docOf is the condition that d is the document
// of i.
func indexKeys(docOf string) statement {
	return statement{"index.keys", `
		SELECT i.kind, i.uid, LENGTH(i.payload) FROM items i
		WHERE i.owner = $1 AND (i.kind, i.uid) > ($2, $3)
			AND NOT EXISTS (SELECT 1 FROM search_docs d WHERE ` + docOf + `)
		ORDER BY i.kind, i.uid LIMIT 200`}
}

// IndexCursor is where the indexing of older items stands. Nothing is lost with it: items that are
// indexed are looked at again and left as they are.
type IndexCursor struct {
	after     int64 // this owner and those before are done
	owner     int64 // whose items are being indexed; 0 = the next one's
	kind, uid string
}

// batchBytes bounds what one batch of IndexSome reads.
const batchBytes = 2 << 20

// IndexSome indexes a batch of the items that an earlier release has written. It is done when there
// are no more.
func (c *common) IndexSome(
	ctx context.Context,
	at IndexCursor,
) (next IndexCursor, done bool, err error) {
	if at.owner == 0 {
		err := one(ctx, c.db, unindexedOwner, []any{search.Version, at.after}, &at.owner)
		if errors.Is(err, sql.ErrNoRows) {
			return at, true, nil
		} else if err != nil {
			return at, false, c.mark(err)
		}
		at.kind, at.uid = "", Beginning.UID
	}
	next = at
	var version int64
	err = c.db.write(ctx, work{
		first: []question{
			{indexLock, []any{at.owner}, func(r rows) error { return r.Scan(&version) }},
		},
		then: func(tx connection) (commands []command, err error) {
			switch version {
			case search.Version: // another process was here
				next = IndexCursor{after: at.owner}
			case 0:
				commands, next, err = c.indexBatch(ctx, tx, at)
			default: // indexed by the rules of another release
				commands = append(c.index.dropAll(at.owner), command{indexMark, []any{at.owner, 0}})
			}
			return commands, err
		},
	})
	if err != nil {
		return at, false, c.mark(err)
	}
	return next, false, nil
}

// indexBatch is called with the person's lock held.
func (c *common) indexBatch(
	ctx context.Context,
	tx connection,
	at IndexCursor,
) ([]command, IndexCursor, error) {
	type keyed struct {
		kind, uid string
		size      int
	}
	var keys []keyed
	err := each(ctx, tx, c.index.keys(), []any{at.owner, at.kind, at.uid}, func(r rows) error {
		var k keyed
		err := r.Scan(&k.kind, &k.uid, &k.size)
		keys = append(keys, k)
		return err
	})
	if err != nil {
		return nil, at, err
	}
	if len(keys) == 0 {
		return []command{
				{indexMark, []any{at.owner, search.Version}},
			}, IndexCursor{
				after: at.owner,
			}, nil
	}
	var commands []command
	size := 0
	for _, k := range keys {
		if size += k.size; size > batchBytes && len(commands) > 0 {
			break
		}
		item, err := getItem(ctx, tx, at.owner, k.kind, k.uid)
		if err != nil {
			return nil, at, err
		}
		d := search.Index(entity.ByName(k.kind), item.Payload, item.Deleted != 0)
		commands = append(commands, c.index.put(at.owner, item, k.kind, &d)...)
		at.kind, at.uid = k.kind, k.uid
	}
	return commands, at, nil
}
