package tenantsig

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

func nonce(n int) string { return fmt.Sprintf("%032x", n) }

func TestANonceIsSpentOnce(t *testing.T) {
	n := NewNonces(noon)
	at := noon.UnixMilli()
	for i := range 10_000 {
		if err := n.Spend(nonce(i), at); err != nil {
			t.Fatalf("nonce %d: %v", i, err)
		}
	}
	for i := range 10_000 {
		if err := n.Spend(nonce(i), at); !errors.Is(err, ErrNonceRepeated) {
			t.Fatalf("nonce %d again: %v", i, err)
		}
	}
}

// Of many that come at once with one nonce, one is served.
func TestANonceIsSpentOnceByAll(t *testing.T) {
	n := NewNonces(noon)
	var served atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 5_000 {
				if n.Spend(nonce(i), noon.UnixMilli()) == nil {
					served.Add(1)
				}
			}
		})
	}
	all.Wait()
	if served.Load() != 5_000 {
		t.Errorf("%d of 5000 nonces were taken", served.Load())
	}
}

// What was signed before the start may have been served before the start.
func TestAProcessKnowsNothingOfTheOneBefore(t *testing.T) {
	n := NewNonces(noon)
	if err := n.Spend(nonce(1), noon.UnixMilli()-1); !errors.Is(err, ErrNonceForgotten) {
		t.Errorf("got %v", err)
	}
	if err := n.Spend(nonce(1), noon.UnixMilli()); err != nil {
		t.Errorf("got %v", err)
	}
}

// However many come, no replay passes and nothing new is refused; and the memory stays as large as
// it may be.
func TestAFloodOpensNothingAndClosesNothing(t *testing.T) {
	const most, flood = 8, 50 * 8 * shards
	n := newNonces(noon, most)
	at := func(i int) int64 { return noon.UnixMilli() + int64(i/100) }
	for i := range flood {
		if err := n.Spend(nonce(i), at(i)); err != nil {
			t.Fatalf("nonce %d is new: %v", i, err)
		}
	}
	reasons := map[error]int{}
	for i := range flood {
		err := n.Spend(nonce(i), at(i))
		if err == nil {
			t.Fatalf("nonce %d passes again", i)
		}
		reasons[err]++
	}
	if reasons[ErrNonceForgotten] == 0 || reasons[ErrNonceRepeated] == 0 {
		t.Errorf("some are remembered and some forgotten, not %v", reasons)
	}
	for i := range n.shards {
		if s := &n.shards[i]; len(s.young.spent) > most || len(s.old.spent) > most {
			t.Errorf(
				"shard %d holds %d and %d, at most %d each",
				i,
				len(s.young.spent),
				len(s.old.spent),
				most,
			)
		}
	}
}

func BenchmarkSpend(b *testing.B) {
	n := NewNonces(noon)
	var made atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := made.Add(1)
			if err := n.Spend(nonce(int(i)), noon.UnixMilli()+i); err != nil {
				b.Fatal(err)
			}
		}
	})
}
