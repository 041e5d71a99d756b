package store

import "context"

// Write is a write of its own unless another one of the same person is in progress.
func (s *postgresStore) Write(
	ctx context.Context,
	owner Owner,
	kind, uid string,
	change Change,
) (Item, error) {
	return s.groups.write(owner, queued(ctx, owner, kind, uid, change), func() (Item, error) {
		return s.common.Write(ctx, owner, kind, uid, change)
	})
}

// writeGroup makes the writes of different items of one owner in two round trips: all of them are
// decided before the first is made.
func (s *postgresStore) writeGroup(
	leader *queuedWrite,
	take func() (context.Context, []*queuedWrite),
) error {
	c, err := s.pool.Acquire(leader.ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	ctx, group := take()
	if len(group) == 1 {
		return errNobodyElse
	}
	defer endTransaction(ctx, c)
	owner, db := leader.owner, &postgresDB{s.pool}
	var last int64 // remains 0 when the epoch is over
	current := make([]*Item, len(group))
	first := []question{{
		clockMoves,
		[]any{owner.ID, s.now().UnixMilli(), owner.Epoch, len(group)},
		func(r rows) error { return r.Scan(&last) },
	}}
	for n, q := range group {
		first = append(first, askItem(owner.ID, q.kind, q.uid, &current[n]))
	}
	return db.transact(ctx, c, work{first: first, then: func(tx connection) ([]command, error) {
		if last == 0 {
			return nil, ErrStaleEpoch
		}
		var all []command
		t := transaction{ctx, tx, owner.ID, make(map[itemKey]Item)}
		at := last - int64(len(group)) + 1
		for n, q := range group[:fitting(group, current)] {
			commands, err := q.changed(&s.common, t, current[n], at+int64(n))
			if err != nil {
				return nil, err
			}
			if q.out.err == nil {
				t.decided[itemKey{q.kind, q.uid}] = q.out.item
			}
			all = append(all, commands...)
		}
		if !anyAccepted(group) {
			return nil, errAllRefused
		}
		return all, nil
	}})
}
