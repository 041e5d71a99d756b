// Package budget bounds the memory of requests, in total and per user.
//
// A request acquires memory before it uses it, and waits for that at most once, while it holds
// nothing, so there is no deadlock. Further memory is granted at once or refused. A part of the
// budget is kept for requests that must finish what they have begun.
package budget

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

var (
	// ErrPersonExhausted means that the other requests of the same user hold too much.
	ErrPersonExhausted = errors.New("memory_person_exhausted")
	// ErrTotalExhausted means that the requests of all users hold too much.
	ErrTotalExhausted = errors.New("memory_total_exhausted")
)

// Budget counts bytes. Its nil value bounds nothing.
type Budget[K comparable] struct {
	total, perPerson int64
	reserve          int64 // of both, for GrowFromReserve alone
	wait             time.Duration

	mu     sync.Mutex
	used   int64
	shares map[K]*share
	// The shares with waiters, in the order in which they are served. A share that was served goes
	// to the end, so a user with many waiting requests does not delay the others.
	queue []*share
}

// share is what one user holds, and the requests that wait for more.
type share struct {
	used    int64
	waiting []*waiter
}

type waiter struct {
	bytes   int64
	granted bool
	ready   chan struct{}
}

// New makes a budget. Of the total and of each user's share, the reserve is only available to
// GrowFromReserve. Acquire waits for at most the given time.
func New[K comparable](total, perPerson, reserve int64, wait time.Duration) *Budget[K] {
	return &Budget[K]{
		total: total, perPerson: min(perPerson, total), reserve: reserve, wait: wait,
		shares: make(map[K]*share),
	}
}

// Used is the number of bytes that are held.
func (b *Budget[K]) Used() int64 {
	if b == nil {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// Hold is what one request has of the budget. Its nil value holds nothing and always grows.
type Hold[K comparable] struct {
	budget *Budget[K]
	person K
	bytes  int64
}

// Acquire waits for the bytes until ctx ends or the budget's own limit is over. A request for more
// than a user's whole share gets that share, which means that it runs alone.
func (b *Budget[K]) Acquire(ctx context.Context, person K, bytes int64) (*Hold[K], error) {
	if b == nil {
		return nil, nil
	}
	bytes = min(bytes, b.perPerson-b.reserve)
	hold := &Hold[K]{budget: b, person: person, bytes: bytes}
	b.mu.Lock()
	s := b.share(person)
	if b.takeNow(s, bytes) {
		b.mu.Unlock()
		return hold, nil
	}
	w := &waiter{bytes: bytes, ready: make(chan struct{})}
	s.waiting = append(s.waiting, w)
	if len(s.waiting) == 1 {
		b.queue = append(b.queue, s)
	}
	b.serve()
	b.mu.Unlock()
	if err := b.await(ctx, s, w, person); err != nil {
		return nil, err
	}
	return hold, nil
}

// TryAcquire is Acquire that does not wait.
func (b *Budget[K]) TryAcquire(person K, bytes int64) (hold *Hold[K], ok bool) {
	if b == nil {
		return nil, true
	}
	bytes = min(bytes, b.perPerson-b.reserve)
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.share(person)
	if !b.takeNow(s, bytes) {
		b.forget(person, s)
		return nil, false
	}
	return &Hold[K]{budget: b, person: person, bytes: bytes}, true
}

func (b *Budget[K]) share(person K) *share {
	s := b.shares[person]
	if s == nil {
		s = &share{}
		b.shares[person] = s
	}
	return s
}

func (b *Budget[K]) takeNow(s *share, bytes int64) bool {
	if len(b.queue) > 0 || !b.fits(s, bytes) {
		return false
	}
	b.take(s, bytes)
	return true
}

func (b *Budget[K]) await(ctx context.Context, s *share, w *waiter, person K) error {
	limit := time.NewTimer(b.wait)
	defer limit.Stop()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
	case <-limit.C:
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if w.granted {
		return nil
	}
	err := ErrTotalExhausted
	if s.used+w.bytes > b.perPerson-b.reserve {
		err = ErrPersonExhausted
	}
	s.waiting = slices.DeleteFunc(s.waiting, func(other *waiter) bool { return other == w })
	if len(s.waiting) == 0 {
		b.queue = slices.DeleteFunc(b.queue, func(other *share) bool { return other == s })
	}
	b.forget(person, s)
	b.serve() // the next one may need less
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// Grow adds to what is held, if that is possible without waiting.
func (h *Hold[K]) Grow(bytes int64) error {
	if h == nil {
		return nil
	}
	return h.grow(bytes, h.budget.reserve)
}

// GrowFromReserve is Grow for a request that others wait for, such as one within a transaction.
func (h *Hold[K]) GrowFromReserve(bytes int64) error {
	if h == nil {
		return nil
	}
	return h.grow(bytes, 0)
}

func (h *Hold[K]) grow(bytes, untouched int64) error {
	b := h.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.shares[h.person]
	more := max(0, min(bytes, b.perPerson-untouched-h.bytes))
	switch {
	case more == 0:
		return nil
	case s.used+more > b.perPerson-untouched:
		return ErrPersonExhausted
	case b.used+more > b.total-untouched:
		return ErrTotalExhausted
	}
	b.take(s, more)
	h.bytes += more
	return nil
}

// Shrink gives back what is held beyond the given number of bytes.
func (h *Hold[K]) Shrink(bytes int64) {
	if h == nil || h.bytes <= bytes {
		return
	}
	b := h.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.shares[h.person]
	b.take(s, bytes-h.bytes)
	h.bytes = bytes
	if bytes == 0 {
		b.forget(h.person, s)
	}
	b.serve()
}

// Release gives everything back. It may be called more than once.
func (h *Hold[K]) Release() { h.Shrink(0) }

func (b *Budget[K]) fits(s *share, bytes int64) bool {
	return s.used+bytes <= b.perPerson-b.reserve && b.used+bytes <= b.total-b.reserve
}

func (b *Budget[K]) take(s *share, bytes int64) {
	s.used += bytes
	b.used += bytes
}

// forget drops an unused share, so that idle users take no memory.
func (b *Budget[K]) forget(person K, s *share) {
	if s.used == 0 && len(s.waiting) == 0 && b.shares[person] == s {
		delete(b.shares, person)
	}
}

// serve grants waiting requests. A request that waits for its user's share may be overtaken. The
// first that waits for the total is next, or small requests would keep a large one waiting.
func (b *Budget[K]) serve() {
	for i := 0; i < len(b.queue); {
		s := b.queue[i]
		w := s.waiting[0]
		if s.used+w.bytes > b.perPerson-b.reserve {
			i++
			continue
		}
		if !b.fits(s, w.bytes) {
			return
		}
		b.take(s, w.bytes)
		w.granted = true
		close(w.ready)
		s.waiting = s.waiting[1:]
		b.queue = slices.Delete(b.queue, i, i+1)
		if len(s.waiting) > 0 {
			b.queue = append(b.queue, s)
		}
	}
}
