package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// madeWrites is how each of many writes was answered. An item lists the writes that made it.
type madeWrites struct {
	sync.Mutex
	acknowledged map[string]bool
	refused      map[string]error
	times        map[string]bool // of a person
}

func (m *madeWrites) add(t *testing.T, name string, person int, item Item, err error) {
	m.Lock()
	defer m.Unlock()
	switch {
	case err == nil:
		m.acknowledged[name] = true
		at := fmt.Sprint(person, " ", item.Updated)
		if m.times[at] {
			t.Errorf("%s has the time of another write", name)
		}
		m.times[at] = true
	case !errors.Is(err, ErrOutcomeUnknown):
		m.refused[name] = err
	}
}

func addTo(list []byte, name string) ([]byte, error) {
	var names []string
	if err := json.Unmarshal(list, &struct{ Names *[]string }{&names}); err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{"names": append(names, name)})
}

// randomWrite is a change, a refusal, a panic or a batch, by a caller who may leave.
func randomWrite(t *testing.T, s Store, r *rand.Rand, owner Owner, uid, name string) (
	item Item, err error,
) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	soon := time.Duration(r.IntN(8000)) * time.Microsecond
	switch r.IntN(4) {
	case 0:
		var end context.CancelFunc
		ctx, end = context.WithTimeout(ctx, soon)
		defer end()
	case 1:
		time.AfterFunc(soon, cancel)
	}
	kind := r.IntN(10)
	change := func(_ Tx, current *Item) (Next, error) {
		switch kind {
		case 0:
			return Next{}, errors.New("refused")
		case 1:
			panic("no good")
		}
		text, err := addTo(current.Payload, name)
		return Next{Payload: text}, err
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panicked: %v", p)
		}
	}()
	if kind != 2 {
		return s.Write(ctx, owner, "notes", uid, change)
	}
	outcomes, _, err := s.WriteBatch(ctx, owner, Batch{
		Steps: []Step{{"notes", uid, change}}, Atomic: true,
		Refused: func(error) bool { return false },
	})
	if err != nil {
		return Item{}, err
	}
	return outcomes[0].Item, nil
}

// Every write that is acknowledged is made once, and every one that is refused is not, whatever the
// callers do.
func TestWritesInGroupsAreMadeOnceOrNotAtAll(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		s := open(t, time.Now)
		const persons, items, writers, rounds = 3, 4, 24, 40
		var owners [persons]Owner
		var uids [persons][items]string
		for p := range persons {
			_, owners[p] = person(t, s)
			for n := range items {
				uids[p][n] = newUID()
				write(t, s, owners[p], uids[p][n], put(`{"names":[]}`))
			}
		}
		all := madeWrites{
			acknowledged: make(map[string]bool),
			refused:      make(map[string]error),
			times:        make(map[string]bool),
		}
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(w), 7))
				for n := range rounds {
					p, name := r.IntN(persons), fmt.Sprint(w, "-", n)
					item, err := randomWrite(t, s, r, owners[p], uids[p][r.IntN(items)], name)
					all.add(t, name, p, item, err)
				}
			})
		}
		wg.Wait()
		seen := make(map[string]int)
		for p := range persons {
			for _, uid := range uids[p] {
				item, err := s.Get(t.Context(), owners[p].ID, "notes", uid)
				if err != nil {
					t.Fatal(err)
				}
				var names []string
				_ = json.Unmarshal(item.Payload, &struct{ Names *[]string }{&names})
				if int64(len(names)) != item.Version-1 {
					t.Errorf("version %d after %d changes", item.Version, len(names))
				}
				for _, name := range names {
					seen[name]++
				}
			}
		}
		for name, n := range seen {
			if err := all.refused[name]; n != 1 || err != nil {
				t.Errorf("%s was made %d times, and answered with %v", name, n, err)
			}
		}
		for name := range all.acknowledged {
			if seen[name] != 1 {
				t.Errorf("%s was acknowledged and lost", name)
			}
		}
		if len(all.acknowledged) == 0 || len(all.refused) == 0 {
			t.Errorf("%d acknowledged, %d refused", len(all.acknowledged), len(all.refused))
		}
	})
}
