package store

import (
	"context"
	"errors"
)

// oneFile is the key of all writes: a database of SQLite has one writer.
type oneFile struct{}

// Write is a write of its own unless another one is in progress.
func (s *sqliteStore) Write(
	ctx context.Context,
	owner Owner,
	kind, uid string,
	change Change,
) (Item, error) {
	return s.groups.write(
		oneFile{},
		queued(ctx, owner, kind, uid, change),
		func() (Item, error) { return s.common.Write(ctx, owner, kind, uid, change) },
	)
}

// Create is a write like any other: no round trip would be saved.
func (s *sqliteStore) Create(
	ctx context.Context,
	owner Owner,
	kind, uid string,
	first Next,
) (Item, error) {
	return s.Write(ctx, owner, kind, uid, creation(first))
}

// writeGroup makes the writes of different items, one after another. They share what a transaction
// costs: the flush to the disk, and a part of the search index.
func (s *sqliteStore) writeGroup(
	leader *queuedWrite,
	take func() (context.Context, []*queuedWrite),
) error {
	c, err := s.db.writes.acquire(leader.ctx)
	if err != nil {
		return err
	}
	defer s.db.writes.release(c)
	ctx, group := take()
	return c.transact(ctx, work{then: func(tx connection) ([]command, error) {
		times := make([]int64, len(group)) // remain 0 where the epoch is over
		current := make([]*Item, len(group))
		// The clocks come before all items: FTS5 writes what it has got so far to its tables, as
		// a part of its own, before each statement that SQLite may have to undo by itself.
		count := 0
		for n, q := range group {
			first := s.firstOfWrite(q.owner, q.kind, q.uid, &times[n], &current[n])
			if err := askAll(ctx, tx, first); err != nil {
				return nil, err
			}
			if count = fitting(group, current[:n+1]); count <= n {
				break
			}
		}
		for n, q := range group[:count] {
			if times[n] == 0 {
				q.out.err = ErrStaleEpoch
				continue
			}
			t := transaction{ctx: ctx, c: tx, owner: q.owner.ID}
			commands, err := q.changed(&s.common, t, current[n], times[n])
			if err == nil && c.conn.AutocommitEnabled() {
				err = errRolledBack
			}
			if err == nil {
				err = runAll(ctx, tx, commands)
			}
			if err != nil {
				return nil, err
			}
		}
		if !anyAccepted(group) {
			return nil, errAllRefused
		}
		return nil, nil
	}})
}

// errRolledBack means that SQLite has ended a transaction by itself, after an error that a write
// took for a refusal of its own.
var errRolledBack = errors.New("the database has ended the transaction")
