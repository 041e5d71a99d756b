package auth

import "sync"

// recent caches what was used lately, in two generations: a used entry moves to the young one,
// and when that is full, the old one is dropped.
type recent[K comparable, V any] struct {
	most int // in a generation

	mu         sync.Mutex
	young, old map[K]V
}

func newRecent[K comparable, V any](most int) recent[K, V] {
	return recent[K, V]{most: most, young: make(map[K]V)}
}

func (r *recent[K, V]) find(key K) (V, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	value, ok := r.young[key]
	if !ok {
		if value, ok = r.old[key]; ok {
			r.put(key, value)
		}
	}
	return value, ok
}

func (r *recent[K, V]) keep(key K, value V) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.put(key, value)
}

// put requires the lock.
func (r *recent[K, V]) put(key K, value V) {
	if len(r.young) >= r.most {
		r.old, r.young = r.young, make(map[K]V)
	}
	r.young[key] = value
}
