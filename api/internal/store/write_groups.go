package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/toolbridge/toolbridge-mcp/api/internal/telemetry"
)

// writeGroups lets one write at a time go to the database, and those that wait for it together
// afterwards, in one transaction. K is what writes have in common that wait for each other.
//
// On PostgreSQL it is the owner, for whose row they would wait otherwise, each with a connection
// that other people's writes need, and each for a commit of its own. On SQLite it is the file, for
// which there is one connection that writes. Every write is answered when its transaction has been
// committed, has a time of its own, and is refused for itself. A transaction that fails changes
// nothing; its writes are then made one by one, in their order.
type writeGroups[K comparable] struct {
	common *common
	// transact makes a group of writes in one transaction, and records how each of them ended. It
	// calls take when it has a connection: until then the leader may still leave, and more writes
	// may come.
	transact func(leader *queuedWrite, take func() (context.Context, []*queuedWrite)) error

	mu      sync.Mutex
	waiting map[K][]*queuedWrite // a key is in it while a write is in progress
	waits   int64
	waited  time.Duration
}

type queuedWrite struct {
	ctx       context.Context
	owner     Owner
	kind, uid string
	change    Change
	leader    chan struct{}    // receives when this write is to lead a group
	done      chan groupResult // receives when another leader has made it
	alone     bool             // it was in a transaction that failed; guarded by writeGroups.mu
	out       groupResult      // of the transaction
}

type groupResult struct {
	item       Item
	err        error
	panicked   any
	retryAlone bool // it was not made, and is made by itself
}

const (
	// maxGroup bounds the writes of one transaction.
	maxGroup = 16
	// maxGroupBytes bounds the payloads that they replace. A write that changes an item asks for
	// memory that it keeps until the transaction ends, from a reserve that is made for one large
	// item.
	maxGroupBytes = 64 << 10
	// minGroupTime is what a caller must have left for a write to be made with others. The
	// transaction ends with the first of their deadlines.
	minGroupTime = time.Second
)

var (
	// errNobodyElse means that no other write waited, and that nothing was done.
	errNobodyElse = errors.New("no other write waited")
	// errAllRefused ends a transaction in which no write is left to be committed.
	errAllRefused = errors.New("every write was refused")
)

func newWriteGroups[K comparable](
	c *common,
	transact func(*queuedWrite, func() (context.Context, []*queuedWrite)) error,
) *writeGroups[K] {
	return &writeGroups[K]{
		common: c, transact: transact, waiting: make(map[K][]*queuedWrite),
	}
}

func queued(ctx context.Context, owner Owner, kind, uid string, change Change) *queuedWrite {
	return &queuedWrite{ctx: ctx, owner: owner, kind: kind, uid: uid, change: change}
}

// write makes a write alone, or has it made with others.
func (g *writeGroups[K]) write(
	key K,
	q *queuedWrite,
	alone func() (Item, error),
) (Item, error) {
	if g.join(key, q) {
		defer g.release(key)
		return alone()
	}
	began := time.Now()
	select {
	case <-q.leader:
		g.count(began)
		return g.lead(key, q, alone)
	case out := <-q.done:
		g.count(began)
		return out.result()
	case <-q.ctx.Done():
		g.count(began)
	}
	if g.cancel(key, q) {
		return Item{}, g.common.mark(q.ctx.Err())
	}
	select { // it is no longer in the queue
	case <-q.leader:
		g.release(key)
		return Item{}, g.common.mark(q.ctx.Err())
	case out := <-q.done:
		return out.result()
	}
}

func (g *writeGroups[K]) lead(
	key K,
	q *queuedWrite,
	alone func() (Item, error),
) (Item, error) {
	defer g.release(key)
	if g.mustBeAlone(q) {
		return alone()
	}
	var others []*queuedWrite
	answered := false
	defer func() {
		if answered {
			return
		}
		for _, other := range others { // the transaction panicked, and it is not known where
			other.done <- groupResult{err: ErrOutcomeUnknown}
		}
	}()
	end := func() {}
	defer func() { end() }()
	err := g.transact(q, func() (ctx context.Context, group []*queuedWrite) {
		others = g.take(key, q)
		group = append([]*queuedWrite{q}, others...)
		ctx, end = groupContext(group)
		return ctx, group
	})
	answered = true
	if errors.Is(err, errNobodyElse) {
		return alone()
	}
	g.settle(append(others, q), err)
	var retry []*queuedWrite
	for _, other := range others {
		if other.out.retryAlone {
			retry = append(retry, other)
		} else {
			other.done <- other.out
		}
	}
	g.putBack(key, retry)
	if q.out.retryAlone {
		return alone()
	}
	return q.out.result()
}

func (w groupResult) result() (Item, error) {
	if w.panicked != nil {
		panic(w.panicked)
	}
	return w.item, w.err
}

// groupContext ends at the earliest deadline of a group, but not when a caller cancels.
func groupContext(group []*queuedWrite) (context.Context, context.CancelFunc) {
	var earliest time.Time
	for _, q := range group {
		end, ok := q.ctx.Deadline()
		if ok && (earliest.IsZero() || end.Before(earliest)) {
			earliest = end
		}
	}
	ctx := context.WithoutCancel(group[0].ctx)
	if earliest.IsZero() {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, earliest)
}

// settle records how the writes of a transaction ended that returned an error. A write that was in
// it by itself is not repeated.
func (g *writeGroups[K]) settle(group []*queuedWrite, err error) {
	if err == nil || errors.Is(err, errAllRefused) {
		return
	}
	unknown := errors.Is(err, ErrOutcomeUnknown)
	err = g.common.mark(err)
	for _, q := range group {
		switch {
		case q.out.panicked != nil, q.out.retryAlone:
		case !unknown: // what was refused may have been so for a write that is not there now
			q.out = groupResult{err: err, retryAlone: len(group) > 1}
		case q.out.err == nil:
			q.out = groupResult{err: err}
		}
	}
}

// fitting is how many writes of a group, in their order, may replace these items in one
// transaction. The others are made by themselves.
func fitting(group []*queuedWrite, current []*Item) int {
	size := 0
	for n, item := range current {
		if item != nil {
			size += len(item.Payload)
		}
		if size > maxGroupBytes && n > 0 {
			for _, q := range group[n:] {
				q.out = groupResult{retryAlone: true}
			}
			return n
		}
	}
	return len(current)
}

// anyAccepted reports whether there is anything to be committed.
func anyAccepted(group []*queuedWrite) bool {
	return slices.ContainsFunc(group, func(q *queuedWrite) bool {
		return q.out.err == nil && !q.out.retryAlone
	})
}

// changed is what a write of a group makes of its item. An error ends the transaction; a refusal is
// the write's own.
func (q *queuedWrite) changed(
	c *common,
	tx transaction,
	current *Item,
	at int64,
) (commands []command, err error) {
	defer func() {
		if q.out.panicked = recover(); q.out.panicked != nil {
			err = fmt.Errorf("a write panicked: %v", q.out.panicked)
		}
	}()
	item, commands, err := c.changed(tx, q.kind, q.uid, current, at, q.change)
	switch {
	case err == nil:
		q.out.item = item
	case c.db.unavailable(err) || failedStatement(err) || tx.ctx.Err() != nil:
		return nil, err
	default:
		q.out.err = err
	}
	return commands, nil
}

// join reports whether a write may go at once. Otherwise it waits.
func (g *writeGroups[K]) join(key K, q *queuedWrite) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	waiting, busy := g.waiting[key]
	if !busy {
		g.waiting[key] = nil
		return true
	}
	q.leader, q.done = make(chan struct{}, 1), make(chan groupResult, 1)
	g.waiting[key] = append(waiting, q)
	g.waits++
	return false
}

// count adds the end of a wait.
func (g *writeGroups[K]) count(began time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waited += time.Since(began)
}

// release gives the lead to the write that has waited longest.
func (g *writeGroups[K]) release(key K) {
	g.mu.Lock()
	defer g.mu.Unlock()
	waiting := g.waiting[key]
	if len(waiting) == 0 {
		delete(g.waiting, key)
		return
	}
	next := waiting[0]
	waiting[0] = nil // or its body would be kept
	g.waiting[key] = waiting[1:]
	next.leader <- struct{}{}
}

type writtenItem struct {
	owner     int64
	kind, uid string
}

func (q *queuedWrite) item() writtenItem { return writtenItem{q.owner.ID, q.kind, q.uid} }

// mustBeAlone is for what was in a transaction that failed, and for callers with little time.
func (g *writeGroups[K]) mustBeAlone(q *queuedWrite) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return q.alone || !q.hasTime()
}

func (q *queuedWrite) hasTime() bool {
	if q.ctx.Err() != nil {
		return false
	}
	end, ok := q.ctx.Deadline()
	return !ok || time.Until(end) >= minGroupTime
}

// take returns writes that wait, of items that differ from each other and from that of first.
func (g *writeGroups[K]) take(key K, first *queuedWrite) []*queuedWrite {
	g.mu.Lock()
	defer g.mu.Unlock()
	taken := map[writtenItem]bool{first.item(): true}
	var group, rest []*queuedWrite
	for _, q := range g.waiting[key] {
		if q.alone || taken[q.item()] || len(group) == maxGroup-1 || !q.hasTime() {
			rest = append(rest, q)
			continue
		}
		taken[q.item()] = true
		group = append(group, q)
	}
	g.waiting[key] = rest
	return group
}

// putBack lets writes of a transaction that failed wait again, before all others, each for itself.
// At once they would take a connection each.
func (g *writeGroups[K]) putBack(key K, writes []*queuedWrite) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, q := range writes {
		q.alone = true
	}
	g.waiting[key] = append(writes, g.waiting[key]...)
}

// cancel takes a write out of the queue, and reports whether it was still there.
func (g *writeGroups[K]) cancel(key K, q *queuedWrite) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	waiting := g.waiting[key]
	n := slices.Index(waiting, q)
	if n < 0 {
		return false
	}
	g.waiting[key] = slices.Delete(slices.Clone(waiting), n, n+1)
	return true
}

// counted is a pool with the waits of writes added to it.
func (g *writeGroups[K]) counted(pool telemetry.Pool) telemetry.Pool {
	g.mu.Lock()
	defer g.mu.Unlock()
	pool.Waits += g.waits
	pool.Waited += g.waited
	return pool
}
