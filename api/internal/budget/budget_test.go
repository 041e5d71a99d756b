package budget

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func acquire(t *testing.T, b *Budget[string], person string, bytes int64) *Hold[string] {
	t.Helper()
	h, err := b.Acquire(t.Context(), person, bytes)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestARequestWaitsForItsShareAndThenGetsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New[string](100, 60, 0, time.Second)
		first := acquire(t, b, "ada", 50)
		got := make(chan *Hold[string])
		go func() {
			h, err := b.Acquire(t.Context(), "ada", 20)
			if err != nil {
				t.Error(err)
			}
			got <- h
		}()
		synctest.Wait()
		acquire(t, b, "bob", 40).Release() // another person does not wait
		first.Release()
		(<-got).Release()
		if b.Used() != 0 || len(b.shares) != 0 || len(b.queue) != 0 {
			t.Errorf(
				"%d bytes, %d shares and %d queued shares are left",
				b.Used(),
				len(b.shares),
				len(b.queue),
			)
		}
	})
}

func TestWaitingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New[string](100, 60, 0, time.Second)
		defer acquire(t, b, "ada", 60).Release()
		began := time.Now()
		if _, err := b.Acquire(t.Context(), "ada", 1); !errors.Is(err, ErrPersonExhausted) {
			t.Errorf("a person's share is used up: %v", err)
		}
		defer acquire(t, b, "bob", 40).Release()
		if _, err := b.Acquire(t.Context(), "eve", 1); !errors.Is(err, ErrTotalExhausted) {
			t.Errorf("the total is used up: %v", err)
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("waited %s", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := b.Acquire(ctx, "eve", 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the caller's time is over: %v", err)
		}
		if len(b.queue) != 0 || len(b.shares) != 2 {
			t.Errorf("%d queued shares and %d shares are left", len(b.queue), len(b.shares))
		}
	})
}

func TestALargeRequestIsNotOvertakenByOthersForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New[string](100, 100, 0, time.Minute)
		first := acquire(t, b, "ada", 60)
		order := make(chan string, 2)
		for _, want := range []struct {
			person string
			bytes  int64
		}{{"bob", 80}, {"eve", 10}} {
			go func() {
				h, err := b.Acquire(t.Context(), want.person, want.bytes)
				if err != nil {
					t.Error(err)
				}
				order <- want.person
				time.Sleep(time.Second)
				h.Release()
			}()
			synctest.Wait()
		}
		if len(order) != 0 {
			t.Errorf("%s was served before the first request ended", <-order)
		}
		first.Release()
		synctest.Wait()
		if len(order) != 2 {
			t.Errorf("%d were served, want both", len(order))
		}
		time.Sleep(2 * time.Second)
	})
}

func TestMoreThanAWholeShareMeansToRunAlone(t *testing.T) {
	b := New[string](100, 60, 0, time.Millisecond)
	h := acquire(t, b, "ada", 1000)
	if err := h.Grow(1000); err != nil || b.Used() != 60 {
		t.Errorf("%v, %d bytes used", err, b.Used())
	}
	if _, err := b.Acquire(t.Context(), "ada", 1); !errors.Is(err, ErrPersonExhausted) {
		t.Error(err)
	}
	h.Release()
	h.Release()
	if b.Used() != 0 {
		t.Errorf("%d bytes are left", b.Used())
	}
}

func TestGrowingDoesNotWait(t *testing.T) {
	b := New[string](100, 60, 0, time.Minute)
	ada, bob := acquire(t, b, "ada", 50), acquire(t, b, "bob", 30)
	defer acquire(t, b, "ada", 5).Release()
	if err := ada.Grow(6); !errors.Is(err, ErrPersonExhausted) {
		t.Error(err)
	}
	if err := bob.Grow(16); !errors.Is(err, ErrTotalExhausted) {
		t.Error(err)
	}
	if err := bob.Grow(15); err != nil {
		t.Error(err)
	}
	bob.Shrink(1)
	if b.Used() != 56 {
		t.Errorf("%d bytes used", b.Used())
	}
}

func TestTheReserveIsForWhatHasBegun(t *testing.T) {
	b := New[string](100, 60, 20, time.Millisecond)
	ada := acquire(t, b, "ada", 1000)
	if b.Used() != 40 {
		t.Errorf("%d bytes used", b.Used())
	}
	if err := ada.GrowFromReserve(20); err != nil {
		t.Error(err)
	}
	bob := acquire(t, b, "bob", 20)
	if err := bob.Grow(1); !errors.Is(err, ErrTotalExhausted) {
		t.Error(err)
	}
	if err := bob.GrowFromReserve(20); err != nil {
		t.Error(err)
	}
	if err := bob.GrowFromReserve(1); !errors.Is(err, ErrTotalExhausted) {
		t.Error(err)
	}
}

func TestNilBoundsNothing(t *testing.T) {
	var b *Budget[string]
	h, err := b.Acquire(t.Context(), "ada", 1<<40)
	if err != nil || h.Grow(1<<40) != nil || b.Used() != 0 {
		t.Error(err)
	}
	h.Release()
}

// Many requests of a few persons at once never hold more than the budget, and leave nothing behind.
func TestTheBudgetHoldsUnderLoad(t *testing.T) {
	const total, share = 1000, 400
	b := New[int](total, share, 0, time.Minute)
	var all atomic.Int64
	var each [5]atomic.Int64
	var group sync.WaitGroup
	for n := range 50 {
		group.Go(func() {
			person := n % len(each)
			for range 200 {
				bytes := 1 + rand.Int64N(share)
				ctx := t.Context()
				if n%7 == 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(
						ctx,
						time.Duration(rand.IntN(100))*time.Microsecond,
					)
					defer cancel()
				}
				h, err := b.Acquire(ctx, person, bytes)
				if err != nil {
					if !errors.Is(err, context.DeadlineExceeded) {
						t.Error(err)
					}
					continue
				}
				if all.Add(bytes) > total || each[person].Add(bytes) > share {
					t.Error("more is held than the budget has")
				}
				all.Add(-bytes)
				each[person].Add(-bytes)
				h.Release()
			}
		})
	}
	group.Wait()
	if b.Used() != 0 || len(b.shares) != 0 || len(b.queue) != 0 {
		t.Errorf(
			"%d bytes, %d shares and %d queued shares are left",
			b.Used(),
			len(b.shares),
			len(b.queue),
		)
	}
}

// What would have to wait is refused at once, and leaves nothing behind.
func TestTryingDoesNotWait(t *testing.T) {
	b := New[string](90, 60, 10, time.Minute)
	hold, ok := b.TryAcquire("a", 40)
	if !ok || b.Used() != 40 {
		t.Fatalf("%v, %d used", ok, b.Used())
	}
	if _, ok := b.TryAcquire("a", 20); ok {
		t.Error("more than a share")
	}
	if _, ok := b.TryAcquire("b", 60); ok || len(b.shares) != 1 {
		t.Errorf("more than there is: %v, %d shares", ok, len(b.shares))
	}
	hold.Release()
	if b.Used() != 0 || len(b.shares) != 0 {
		t.Errorf("%d used by %d", b.Used(), len(b.shares))
	}
	var none *Budget[string]
	if hold, ok := none.TryAcquire("a", 1); !ok || hold != nil {
		t.Error("no budget bounds nothing")
	}
}
