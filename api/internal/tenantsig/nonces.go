package tenantsig

import (
	"hash/maphash"
	"sync"
	"time"
)

// Nonces remembers which ones were spent, so that a request that was signed once is served once.
//
// Its memory is bounded, and it does not guess: what it may have forgotten it refuses. They are kept in two generations; when the young
// one is full the old one is dropped whole, and from then on everything is refused that was signed no later than the latest in there. So a flood
// narrows the window to what fits, which is still far longer than a request is on its way, instead of opening it to replays or
// closing it to everybody. What is refused so may be signed anew. A process that has just started has forgotten everything that was signed before.
//
// Only what was signed rightly comes here, so whoever holds no secret cannot fill it. Shards keep requests from waiting for each other.
type Nonces struct {
	seed   maphash.Seed
	most   int // in a generation of a shard
	shards [shards]shard
}

const (
	shards = 64
	// In both generations of all shards some 500,000, which take about 10 MB: more than a minute at 4,000 requests a second, and 13 seconds
	// at 20,000.
	mostNonces = 1 << 18 / shards
)

type shard struct {
	mu         sync.Mutex
	young, old generation
	forgotten  int64 // what was signed until then may have been here
}

// generation holds keyed hashes of 64 bits. Two nonces have the same one less often than once in years, and then one request is refused too much.
type generation struct {
	spent  map[uint64]struct{}
	latest int64
}

// NewNonces begins to remember now.
func NewNonces(now time.Time) *Nonces { return newNonces(now, mostNonces) }

func newNonces(now time.Time, most int) *Nonces {
	n := &Nonces{seed: maphash.MakeSeed(), most: most}
	for i := range n.shards {
		s := &n.shards[i]
		s.young.spent, s.old.spent = make(map[uint64]struct{}), make(map[uint64]struct{})
		s.forgotten = now.UnixMilli() - 1
	}
	return n
}

// Spend takes a nonce that was signed at this time, once.
func (n *Nonces) Spend(nonce string, signedAt int64) error {
	hash := maphash.String(n.seed, nonce)
	return n.shards[hash%shards].spend(hash, signedAt, n.most)
}

func (s *shard) spend(hash uint64, signedAt int64, most int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if signedAt <= s.forgotten {
		return ErrNonceForgotten
	}
	if s.young.has(hash) || s.old.has(hash) {
		return ErrNonceRepeated
	}
	if len(s.young.spent) >= most {
		s.forgotten = max(s.forgotten, s.old.latest)
		clear(s.old.spent) // its room is used again
		s.young, s.old = generation{spent: s.old.spent}, s.young
	}
	s.young.spent[hash] = struct{}{}
	s.young.latest = max(s.young.latest, signedAt)
	return nil
}

func (g generation) has(hash uint64) bool {
	_, ok := g.spent[hash]
	return ok
}
