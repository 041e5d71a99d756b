package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// writeGroups lets one write of a person go to the database at a time, and those that wait for it
// together afterwards, in one transaction.
//
// They would wait for the person's row otherwise, each with a connection that other people's writes
// need, and each for a commit of its own. Every write is answered when its transaction has been
// committed, has a time of its own, and is refused for itself. A transaction that fails changes
// nothing; its writes are then made one by one, in their order.
type writeGroups struct {
	mu      sync.Mutex
	waiting map[Owner][]*queuedWrite // an owner is in it while a write is on its way
}

type queuedWrite struct {
	ctx       context.Context
	kind, uid string
	change    Change
	lead      chan struct{}      // it is this one's turn
	done      chan writtenInTurn // another one has made it
	alone     bool               // it was in a transaction that failed; guarded by writeGroups.mu
}

type writtenInTurn struct {
	item     Item
	err      error
	panicked any
	again    bool // it was not made, and may be made by itself
}

// maxGroup bounds the writes of one transaction, whose items are all in memory before each has
// asked for its share.
const maxGroup = 16

// Write is a write of its own unless another one of the same person is on its way.
func (s *postgresStore) Write(
	ctx context.Context,
	owner Owner,
	kind, uid string,
	change Change,
) (Item, error) {
	alone := func() (Item, error) { return s.common.Write(ctx, owner, kind, uid, change) }
	return s.inTurn(ctx, owner, kind, uid, change, alone)
}

// inTurn makes a write alone, or has it made with others.
func (s *postgresStore) inTurn(
	ctx context.Context,
	owner Owner,
	kind, uid string,
	change Change,
	alone func() (Item, error),
) (Item, error) {
	q := &queuedWrite{
		ctx: ctx, kind: kind, uid: uid, change: change,
		lead: make(chan struct{}, 1), done: make(chan writtenInTurn, 1),
	}
	if s.groups.join(owner, q) {
		defer s.groups.pass(owner)
		return alone()
	}
	select {
	case <-q.lead:
		return s.leadGroup(owner, q, alone)
	case out := <-q.done:
		return out.result()
	case <-ctx.Done():
	}
	if s.groups.leave(owner, q) {
		return Item{}, s.mark(ctx.Err())
	}
	select { // it is too late to leave
	case <-q.lead:
		s.groups.pass(owner)
		return Item{}, s.mark(ctx.Err())
	case out := <-q.done:
		return out.result()
	}
}

func (s *postgresStore) leadGroup(
	owner Owner,
	q *queuedWrite,
	alone func() (Item, error),
) (Item, error) {
	defer s.groups.pass(owner)
	others := s.groups.take(owner, q)
	if len(others) == 0 {
		return alone()
	}
	group := append([]*queuedWrite{q}, others...)
	results := s.writeGroup(owner, group)
	var again []*queuedWrite
	for n, other := range others {
		if results[n+1].again {
			again = append(again, other)
		} else {
			other.done <- results[n+1]
		}
	}
	s.groups.putBack(owner, again)
	if results[0].again {
		return alone()
	}
	return results[0].result()
}

func (w writtenInTurn) result() (Item, error) {
	if w.panicked != nil {
		panic(w.panicked)
	}
	return w.item, w.err
}

// writeGroup makes the writes of different items of one owner. It ends at the earliest deadline of
// them, but not with a caller who leaves.
func (s *postgresStore) writeGroup(owner Owner, group []*queuedWrite) []writtenInTurn {
	out := make([]writtenInTurn, len(group))
	ctx := context.WithoutCancel(group[0].ctx)
	var earliest time.Time
	for _, q := range group {
		end, ok := q.ctx.Deadline()
		if ok && (earliest.IsZero() || end.Before(earliest)) {
			earliest = end
		}
	}
	if !earliest.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, earliest)
		defer cancel()
	}
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
	err := s.db.write(ctx, work{first: first, then: func(tx connection) ([]command, error) {
		if last == 0 {
			return nil, ErrStaleEpoch
		}
		var all []command
		t := transaction{ctx, tx, owner.ID, make(map[itemKey]Item)}
		at := last - int64(len(group)) + 1
		for n, q := range group {
			commands, err := s.changedInGroup(t, q, current[n], at+int64(n), &out[n])
			if err != nil {
				return nil, err
			}
			all = append(all, commands...)
		}
		return all, nil
	}})
	if err != nil {
		unknown := errors.Is(err, ErrOutcomeUnknown)
		for n := range out {
			if out[n].err == nil && out[n].panicked == nil {
				out[n] = writtenInTurn{err: err, again: !unknown}
			}
		}
	}
	return out
}

// changedInGroup returns an error that ends the transaction. A refusal is the write's own.
func (s *postgresStore) changedInGroup(
	tx transaction,
	q *queuedWrite,
	current *Item,
	at int64,
	out *writtenInTurn,
) (commands []command, err error) {
	defer func() {
		if out.panicked = recover(); out.panicked != nil {
			err = fmt.Errorf("a write panicked: %v", out.panicked)
		}
	}()
	item, commands, err := s.changed(tx, q.kind, q.uid, current, at, q.change)
	switch {
	case err == nil:
		out.item = item
		tx.decided[itemKey{q.kind, q.uid}] = item
	case s.db.unavailable(err) || failedStatement(err) || tx.ctx.Err() != nil:
		return nil, err
	default:
		out.err = err
	}
	return commands, nil
}

// join says whether a write may go at once. Otherwise it waits.
func (g *writeGroups) join(owner Owner, q *queuedWrite) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	waiting, busy := g.waiting[owner]
	if !busy {
		g.waiting[owner] = nil
		return true
	}
	g.waiting[owner] = append(waiting, q)
	return false
}

// pass gives the turn to the write that has waited longest.
func (g *writeGroups) pass(owner Owner) {
	g.mu.Lock()
	defer g.mu.Unlock()
	waiting := g.waiting[owner]
	if len(waiting) == 0 {
		delete(g.waiting, owner)
		return
	}
	g.waiting[owner] = waiting[1:]
	waiting[0].lead <- struct{}{}
}

// take returns writes that wait, of items that differ from each other and from that of first.
func (g *writeGroups) take(owner Owner, first *queuedWrite) []*queuedWrite {
	g.mu.Lock()
	defer g.mu.Unlock()
	if first.alone {
		return nil
	}
	taken := map[itemKey]bool{{first.kind, first.uid}: true}
	var group, rest []*queuedWrite
	for _, q := range g.waiting[owner] {
		key := itemKey{q.kind, q.uid}
		if q.alone || taken[key] || len(group) == maxGroup-1 {
			rest = append(rest, q)
			continue
		}
		taken[key] = true
		group = append(group, q)
	}
	g.waiting[owner] = rest
	return group
}

// putBack lets writes of a transaction that failed wait again, before all others, each for itself.
// At once they would take a connection each.
func (g *writeGroups) putBack(owner Owner, writes []*queuedWrite) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, q := range writes {
		q.alone = true
	}
	g.waiting[owner] = append(writes, g.waiting[owner]...)
}

// leave reports whether a write was still waiting.
func (g *writeGroups) leave(owner Owner, q *queuedWrite) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	waiting := g.waiting[owner]
	n := slices.Index(waiting, q)
	if n < 0 {
		return false
	}
	g.waiting[owner] = slices.Delete(slices.Clone(waiting), n, n+1)
	return true
}
