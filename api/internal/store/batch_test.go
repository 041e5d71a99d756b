package store

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand"
	"slices"
	"strconv"
	"testing"
	"time"
)

var errRefused = errors.New("refused")

func refuse(Tx, *Item) (Next, error) { return Next{}, errRefused }

func isRefused(err error) bool { return errors.Is(err, errRefused) }

// Random batches end where a model says, whether they are atomic, dry, refused or repeated.
func TestBatchesAgainstAModel(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		r := rand.New(rand.NewSource(5))
		s := open(t, newClock().Now)
		_, owner := person(t, s)
		uids := make([]string, 6)
		for n := range uids {
			uids[n] = newUID()
		}
		model, last := map[string]Item{}, int64(0)
		for n := range 80 {
			b := Batch{Atomic: r.Intn(2) == 0, DryRun: r.Intn(5) == 0, Refused: isRefused}
			next, refusedAt := maps.Clone(model), -1
			var want []error
			for k := range 1 + r.Intn(8) {
				step := Step{
					"notes",
					uids[r.Intn(len(uids))],
					put(fmt.Sprintf(`{"n":%d,"k":%d}`, n, k)),
				}
				item := next[step.UID]
				item.Version++
				item.Payload = fmt.Appendf(nil, `{"n":%d,"k":%d}`, n, k)
				item.Deleted = 0
				switch {
				case r.Intn(12) == 0:
					step.Change, item = refuse, next[step.UID]
					want = append(want, errRefused)
					if refusedAt < 0 {
						refusedAt = k
					}
				case r.Intn(6) == 0 && item.Version > 1:
					step.Change, item.Payload, item.Deleted = remove, next[step.UID].Payload, 1
					fallthrough
				default:
					want = append(want, nil)
				}
				if item.Version > 0 {
					next[step.UID] = item
				}
				b.Steps = append(b.Steps, step)
			}
			outcomes, _, err := s.WriteBatch(t.Context(), owner, b)
			var step *StepError
			if b.Atomic && refusedAt >= 0 {
				if !errors.As(err, &step) || step.Step != refusedAt || !isRefused(err) {
					t.Fatalf("batch %d: %v, want step %d", n, err, refusedAt)
				}
			} else {
				if err != nil || len(outcomes) != len(want) {
					t.Fatalf("batch %d: %d outcomes, %v", n, len(outcomes), err)
				}
				for k, o := range outcomes {
					if !errors.Is(o.Err, want[k]) {
						t.Fatalf("batch %d, step %d: %v, want %v", n, k, o.Err, want[k])
					}
					if o.Err == nil && !b.DryRun {
						if o.Item.Updated <= last {
							t.Fatalf(
								"batch %d, step %d: time %d after %d",
								n,
								k,
								o.Item.Updated,
								last,
							)
						}
						last = o.Item.Updated
					}
				}
				if !b.DryRun {
					model = next
				}
			}
			for _, uid := range uids {
				got, err := s.Get(t.Context(), owner.ID, "notes", uid)
				want, there := model[uid]
				if errors.Is(err, ErrNoItem) != !there ||
					there && (got.Version != want.Version ||
						string(got.Payload) != string(want.Payload) ||
						(got.Deleted != 0) != (want.Deleted != 0)) {
					t.Fatalf("batch %d: %+v, %v; want %+v", n, got, err, want)
				}
			}
		}
		for uid, item := range model {
			if got := versionsOf(t, s, owner.ID, uid); int64(len(got)) != min(item.Version, 51) {
				t.Errorf("%d versions of %d", len(got), item.Version)
			}
		}
	})
}

// An answer is remembered for a day, of one user, and forgotten by the sweep.
func TestAnswersAreRememberedForADay(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		c := newClock()
		s := open(t, c.Now)
		_, owner := person(t, s)
		_, other := person(t, s)
		said := 0
		batch := func(who Owner) (remembered string) {
			t.Helper()
			_, answer, err := s.WriteBatch(t.Context(), who, Batch{
				Steps: []Step{
					{"notes", newUID(), put(`{}`)},
				},
				Refused: isRefused,
				Key:     "k",
				Body:    []byte("same"),
				Answer: func([]Outcome) []byte {
					said++
					return fmt.Appendf(nil, "answer %d", said)
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			return string(answer)
		}
		got := []string{batch(owner), batch(owner), batch(other)}
		c.Move(RepeatAge - time.Minute)
		got = append(got, batch(owner), batch(other))
		if removed, err := s.SweepRepeats(t.Context()); err != nil || removed != 0 {
			t.Errorf("%d swept, %v", removed, err)
		}
		c.Move(2 * time.Minute)
		got = append(got, batch(owner), batch(owner))
		want := []string{"", "answer 1", "", "answer 1", "answer 2", "", "answer 3"}
		if !slices.Equal(got, want) {
			t.Errorf("remembered %q, want %q", got, want)
		}
		if removed, err := s.SweepRepeats(t.Context()); err != nil || removed != 1 {
			t.Errorf("%d swept, %v", removed, err)
		}
		if _, _, err := s.WriteBatch(t.Context(), owner, Batch{
			Steps:   []Step{{"notes", newUID(), put(`{}`)}},
			Key:     "k",
			Body:    []byte("other"),
			Refused: isRefused,
		}); !errors.Is(err, ErrKeyReused) {
			t.Errorf("another body: %v", err)
		}
		items, _, err := s.List(
			t.Context(),
			owner.ID,
			"notes",
			Page{After: Beginning, Limit: 10, MaxBytes: 1000},
		)
		if err != nil || len(items) != 2 {
			t.Errorf("%d items, %v", len(items), err)
		}
	})
}

// Of one user the latest answers are remembered, up to a number and a size.
func TestRememberedAnswersAreBounded(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		c := newClock()
		s := open(t, c.Now)
		_, owner := person(t, s)
		_, other := person(t, s)
		uid, most := newUID(), maxRepeatBytes/minRepeatBytes
		remembered := func(who Owner, key int, answer []byte) bool {
			t.Helper()
			c.Move(time.Millisecond)
			_, again, err := s.WriteBatch(t.Context(), who, Batch{
				Steps:   []Step{{"notes", uid, put(`{}`)}},
				Refused: isRefused,
				Key:     strconv.Itoa(key),
				Body:    []byte("same"),
				Answer:  func([]Outcome) []byte { return answer },
			})
			if err != nil {
				t.Fatal(err)
			}
			return again != nil
		}
		remembered(other, 0, []byte("other"))
		for key := range most + 3 {
			if remembered(owner, key, []byte("answer")) {
				t.Fatalf("%d was there", key)
			}
		}
		if !remembered(owner, 3, nil) || !remembered(owner, most, nil) {
			t.Error("a late one is forgotten")
		}
		if remembered(owner, 2, []byte("answer")) {
			t.Error("an early one is remembered")
		}
		// A third of all that is kept, which cannot be compressed.
		large := make([]byte, maxRepeatBytes/3)
		rand.New(rand.NewSource(7)).Read(large)
		for key := range 4 {
			remembered(owner, -1-key, large)
		}
		if remembered(owner, -1, large) || !remembered(owner, -4, nil) {
			t.Error("the oldest of the large ones is remembered, or the latest is not")
		}
		// One that is larger than all that is kept is remembered until the next one.
		huge := bytes.Repeat(large, 4)
		rand.New(rand.NewSource(8)).Read(huge)
		remembered(owner, -9, huge)
		if !remembered(owner, -9, nil) || !remembered(other, 0, nil) {
			t.Error("the latest one is forgotten, or that of another user")
		}
	})
}
