package store

import (
	"errors"
	"fmt"
	"maps"
	"math/rand"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/toolbridge/toolbridge-mcp/api/internal/search"
)

// versionsOf are the versions of a note, newest first.
func versionsOf(t testing.TB, s Store, owner int64, uid string) []Item {
	t.Helper()
	var out []Item
	err := s.Versions(t.Context(), owner, "notes", uid, func(item Item) (bool, error) {
		out = append(out, item)
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// restoreTo is the Change that makes an earlier version the current one.
func restoreTo(version int64) Change {
	return func(tx Tx, current *Item) (Next, error) {
		before, err := tx.Version("notes", *current, version)
		return Next{Payload: before.Payload, Operation: OpRestore}, err
	}
}

// Any sequence of writes, deletes, restores and wipes ends where a model says that holds every
// state in full, and a search finds what lives and nothing else.
func TestVersionsAreWhatWasWritten(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		for seed := range int64(3) {
			r := rand.New(rand.NewSource(seed))
			s := open(t, newClock().Now)
			s.Retain(Retention{PerItem: 6, Age: time.Hour, Bytes: 1 << 20})
			_, owner := person(t, s)
			model := map[string][]Item{} // every state of each item
			word := func(n int) string { return fmt.Sprintf("word%d", n) }
			for n := range 160 {
				uid := newUID()
				if known := slices.Sorted(maps.Keys(model)); len(known) >= 5 {
					uid = known[r.Intn(len(known))]
				}
				states := model[uid]
				change := put(
					fmt.Sprintf(
						`{"n":%d,"text":%q}`,
						n,
						word(n)+strings.Repeat(" more words", r.Intn(200)),
					),
				)
				switch k := r.Intn(8); {
				case k == 0:
					change = func(_ Tx, current *Item) (Next, error) {
						if current == nil {
							return Next{Payload: []byte(`{}`)}, nil
						}
						return Next{Payload: current.Payload, Delete: true}, nil
					}
				case k <= 2 && len(states) > 1:
					back := max(int64(1), int64(len(states)-r.Intn(6)))
					change = restoreTo(back)
				case k == 3 && n%40 == 39:
					epoch, _, err := s.Wipe(t.Context(), owner.ID, "me")
					if err != nil {
						t.Fatal(err)
					}
					owner.Epoch = epoch
					clear(model)
					continue
				}
				model[uid] = append(states, write(t, s, owner, uid, change))
			}
			live := 0
			for uid, states := range model {
				got := versionsOf(t, s, owner.ID, uid)
				want := slices.Clone(states)
				slices.Reverse(want)
				want = want[:min(len(want), 7)]
				if len(got) != len(want) {
					t.Fatalf(
						"seed %d: %d versions of %d, want %d",
						seed,
						len(got),
						len(states),
						len(want),
					)
				}
				for n := range got {
					g, w := got[n], want[n]
					if g.Version != w.Version || string(g.Payload) != string(w.Payload) ||
						g.Updated != w.Updated ||
						g.Deleted != w.Deleted ||
						g.Created != w.Created ||
						g.Operation != w.Operation {
						t.Fatalf("seed %d: version %d is %+v, want %+v", seed, n, g, w)
					}
				}
				if want[0].Deleted == 0 {
					live++
				}
			}
			for n := range 160 {
				q := Search{
					Query:  parsed(t, word(n)),
					Filter: search.Filter{States: []search.State{search.Live}},
					Order:  Newest,
					Limit:  10,
				}
				got, _ := walkSearch(t, s, owner.ID, q)
				var want []string
				for uid, states := range model {
					last := states[len(states)-1]
					if last.Deleted == 0 && wordIs(last.Payload, word(n)) {
						want = append(want, uid)
					}
				}
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Fatalf("seed %d: %s is found in %v, want %v", seed, word(n), got, want)
				}
			}
			q := Search{
				Filter: search.Filter{States: []search.State{search.Live}},
				Order:  Newest,
				Limit:  50,
			}
			if _, total := walkSearch(t, s, owner.ID, q); total != int64(live) {
				t.Errorf("seed %d: %d live items are found, want %d", seed, total, live)
			}
		}
	})
}

func wordIs(payload []byte, word string) bool {
	return slices.Contains(
		strings.FieldsFunc(
			string(payload),
			func(r rune) bool { return strings.ContainsRune(`" {}:,`, r) },
		),
		word,
	)
}

// A text of which each version differs in one word does not take the space of as many texts, and
// versions that have nothing in common end at the bound.
func TestSpaceOfVersions(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		s := open(t, newClock().Now)
		s.Retain(Retention{PerItem: 50, Age: time.Hour, Bytes: 300_000})
		_, owner := person(t, s)
		r := rand.New(rand.NewSource(1))
		noise := func() string {
			text := make([]byte, 100_000)
			for n := range text {
				text[n] = 'a' + byte(r.Intn(26))
			}
			return string(text)
		}
		same, uid, other := noise(), newUID(), newUID()
		for n := range 60 {
			write(t, s, owner, uid, put(fmt.Sprintf(`{"a":%q,"n":%d,"b":%q}`, same, n, same)))
			write(t, s, owner, other, put(fmt.Sprintf(`{"a":%q}`, noise())))
		}
		var bytes int64
		size := statement{
			"test.size",
			"SELECT COALESCE(SUM(LENGTH(delta)), 0) FROM versions WHERE owner = $1 AND uid = $2",
		}
		for _, c := range []struct {
			uid         string
			count       int
			least, most int64
		}{{uid, 51, 50, 50 * 30}, {other, 5, 200_000, 300_000}} {
			err := one(t.Context(), commonOf(s).db, size, []any{owner.ID, c.uid}, &bytes)
			if err != nil {
				t.Fatal(err)
			}
			got := len(versionsOf(t, s, owner.ID, c.uid))
			if got != c.count || bytes < c.least || bytes > c.most {
				t.Errorf(
					"%d versions in %d bytes, want %d in %d to %d",
					got,
					bytes,
					c.count,
					c.least,
					c.most,
				)
			}
		}
	})
}

// Old versions are swept in steps, while writers go on; those that are young enough stay.
func TestOldVersionsAreSwept(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		c := newClock()
		s := open(t, c.Now)
		_, owner := person(t, s)
		uids := make([]string, 10)
		for n := range uids {
			uids[n] = newUID()
			for range 31 {
				write(t, s, owner, uids[n], put(`{"old":true}`))
			}
		}
		c.Move(DefaultRetention.Age + time.Minute)
		for _, uid := range uids[:5] {
			write(t, s, owner, uid, put(`{"new":true}`))
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			for range 30 {
				_, err := s.Write(t.Context(), owner, "notes", uids[9], put(`{"meanwhile":true}`))
				if err != nil {
					t.Error(err)
				}
			}
		})
		steps, all := 0, int64(0)
		for {
			removed, err := s.SweepVersions(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if removed == 0 {
				break
			}
			steps, all = steps+1, all+removed
		}
		wg.Wait()
		// The writer may have removed some of the last item's itself, which has more than may be
		// kept.
		if steps < 2 || all > 300 || all < 280 {
			t.Errorf("%d versions in %d steps", all, steps)
		}
		for n, uid := range uids[:9] {
			want := 1
			if n < 5 {
				want = 2 // the one that was just replaced
			}
			if got := versionsOf(t, s, owner.ID, uid); len(got) != want {
				t.Errorf("item %d has %d versions, want %d", n, len(got), want)
			}
		}
	})
}

// Without versions nothing is kept; with them again, a history ends where it was interrupted.
func TestVersionsMayBeOff(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		s := open(t, newClock().Now)
		_, owner := person(t, s)
		uid := newUID()
		for n := range 6 {
			r := DefaultRetention
			if n == 3 {
				r.PerItem = 0
			}
			s.Retain(r)
			write(t, s, owner, uid, put(fmt.Sprintf(`{"n":%d}`, n)))
		}
		// The third write in turn was not kept when the fourth was made.
		if got := versionsOf(t, s, owner.ID, uid); len(got) != 3 || got[2].Version != 4 {
			t.Errorf("%d versions", len(got))
		}
		_, err := s.Write(t.Context(), owner, "notes", uid, restoreTo(2))
		if !errors.Is(err, ErrNoVersion) {
			t.Errorf("a version behind the gap: %v", err)
		}
		_, err = s.Write(t.Context(), owner, "notes", uid, restoreTo(7))
		if !errors.Is(err, ErrNoVersion) {
			t.Errorf("a version to come: %v", err)
		}
	})
}

// Versions are of one user, and go with a wipe.
func TestVersionsAreIsolatedAndWiped(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		s := open(t, newClock().Now)
		_, mine := person(t, s)
		_, theirs := person(t, s)
		uid := newUID()
		for range 3 {
			write(t, s, mine, uid, put(`{"mine":true}`))
			write(t, s, theirs, uid, put(`{"theirs":true}`))
		}
		for who, word := range map[int64]string{mine.ID: "mine", theirs.ID: "theirs"} {
			got := versionsOf(t, s, who, uid)
			for _, item := range got {
				if string(item.Payload) != `{"`+word+`":true}` {
					t.Errorf("%s: %s", word, item.Payload)
				}
			}
			if len(got) != 3 {
				t.Errorf("%s: %d versions", word, len(got))
			}
		}
		if _, _, err := s.Wipe(t.Context(), mine.ID, "me"); err != nil {
			t.Fatal(err)
		}
		left := statement{"test.left", "SELECT COUNT(*) FROM versions WHERE owner = $1"}
		var rows int
		err := one(t.Context(), commonOf(s).db, left, []any{mine.ID}, &rows)
		if err != nil || rows != 0 {
			t.Errorf("%d rows after a wipe, %v", rows, err)
		}
		err = s.Versions(
			t.Context(),
			mine.ID,
			"notes",
			uid,
			func(Item) (bool, error) { return true, nil },
		)
		if !errors.Is(err, ErrNoItem) {
			t.Errorf("after a wipe: %v", err)
		}
		again := write(t, s, Owner{mine.ID, mine.Epoch + 1}, uid, put(`{"again":true}`))
		if got := versionsOf(t, s, mine.ID, uid); len(got) != 1 || again.Version != 1 {
			t.Errorf("%d versions after a wipe", len(got))
		}
		got := versionsOf(t, s, theirs.ID, uid)
		if len(got) != 3 || !strings.Contains(string(got[2].Payload), "theirs") {
			t.Errorf("another user has %d versions", len(got))
		}
	})
}
