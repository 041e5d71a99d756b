package tenantsig

import (
	"hash/maphash"
	"sync"
	"time"
)

// Nonces records used nonces, so that a signed request is served once.
//
// Its memory is bounded, and what it may have forgotten is refused. It has two generations: when
// the young one is full, the old one is dropped, and everything that was signed no later than the
// latest nonce in it is refused from then on. So a flood of requests narrows the window, which is
// still far longer than a request takes to arrive; it never allows a replay, and never refuses all
// requests. A refused request may be signed again. A process that has just started has forgotten
// everything that was signed before.
//
// Only valid signatures get here, so it cannot be filled without the secret. Shards reduce lock
// contention.
type Nonces struct {
	seed   maphash.Seed
	most   int // in a generation of a shard
	shards [shards]shard
}

const (
	shards = 64
	// In both generations of all shards some 500,000, which take about 10 MB: more than a minute at
	// 4,000 requests a second, and 13 seconds at 20,000.
	mostNonces = 1 << 18 / shards
)

type shard struct {
	mu         sync.Mutex
	young, old generation
	forgotten  int64 // nonces signed until then may have been forgotten
}

// generation holds keyed hashes of 64 bits. A collision occurs less than once in years, and refuses
// one valid request.
type generation struct {
	spent  map[uint64]struct{}
	latest int64
}

// NewNonces records nonces from now on.
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

// Spend accepts a nonce that was signed at this time, once.
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
		clear(s.old.spent) // its memory is reused
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
