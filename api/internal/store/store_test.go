package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestWriteThenRead(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		c := newClock()
		s := open(t, c.Now)
		_, owner := person(t, s)
		uid := newUID()
		if _, err := s.Get(t.Context(), owner.ID, "notes", uid); !errors.Is(err, ErrNoItem) {
			t.Fatalf("before the first write: %v", err)
		}
		const payload = `{"n":1.0,"s":"\u0000 é"}`
		first := write(t, s, owner, uid, put(payload))
		// The clock stands still, and goes back: update times rise all the same.
		second := write(t, s, owner, uid, put(payload))
		c.Move(-time.Hour)
		third := write(t, s, owner, uid, remove)
		if first.Version != 1 || second.Version != 2 || third.Version != 3 {
			t.Errorf("versions %d %d %d", first.Version, second.Version, third.Version)
		}
		if first.Updated != 1763636400000 || second.Updated <= first.Updated ||
			third.Updated <= second.Updated {
			t.Errorf("times %d %d %d", first.Updated, second.Updated, third.Updated)
		}
		got, err := s.Get(t.Context(), owner.ID, "notes", uid)
		if err != nil || got.Deleted != third.Updated || string(got.Payload) != payload {
			t.Errorf("read %+v, %v", got, err)
		}
		if _, err := s.Get(t.Context(), owner.ID, "tasks", uid); !errors.Is(err, ErrNoItem) {
			t.Errorf("the uid is found among another kind: %v", err)
		}
		_, otherUser := person(t, s)
		if _, err := s.Get(t.Context(), otherUser.ID, "notes", uid); !errors.Is(err, ErrNoItem) {
			t.Errorf("another user reads it: %v", err)
		}
	})
}

func TestAFailedChangeLeavesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		c := newClock()
		s := open(t, c.Now)
		_, owner := person(t, s)
		uid := newUID()
		refused := errors.New("refused")
		_, err := s.Write(
			t.Context(),
			owner,
			"notes",
			uid,
			func(Tx, *Item) (Next, error) { return Next{}, refused },
		)
		if !errors.Is(err, refused) {
			t.Fatalf("got %v", err)
		}
		if _, err := s.Get(t.Context(), owner.ID, "notes", uid); !errors.Is(err, ErrNoItem) {
			t.Errorf("it is there: %v", err)
		}
		if item := write(t, s, owner, uid, put(`{}`)); item.Updated != c.Now().UnixMilli() {
			t.Errorf("the failed write moved the clock to %d", item.Updated)
		}
	})
}

func TestConcurrentWritersOfOneItem(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		s := open(t, time.Now)
		_, owner := person(t, s)
		uid := newUID()
		const writers, each = 16, 10
		seen := make([][]Item, writers)
		var wg sync.WaitGroup
		for w := range writers {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for range each {
					item, err := s.Write(
						t.Context(),
						owner,
						"notes",
						uid,
						func(_ Tx, current *Item) (Next, error) {
							text := "x"
							if current != nil {
								text = string(current.Payload) + "x"
							}
							return Next{Payload: []byte(text)}, nil
						},
					)
					if err != nil {
						t.Error(err)
						return
					}
					seen[w] = append(seen[w], item)
				}
			}()
		}
		wg.Wait()
		byVersion := map[int64]int64{}
		for _, items := range seen {
			for _, item := range items {
				if _, twice := byVersion[item.Version]; twice {
					t.Fatalf("version %d was won twice", item.Version)
				}
				byVersion[item.Version] = item.Updated
				if len(item.Payload) != int(item.Version) {
					t.Fatalf(
						"version %d was made of %d writes: an update was lost",
						item.Version,
						len(item.Payload),
					)
				}
			}
		}
		for v := int64(2); v <= writers*each; v++ {
			if byVersion[v] <= byVersion[v-1] {
				t.Fatalf("version %d is not younger than the one before", v)
			}
		}
	})
}

// A reader who walks the pages while others write must meet every item that was written.
func TestPagesSkipNothing(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		s := open(t, time.Now)
		_, owner := person(t, s)
		const writers, each = 8, 40
		done := make(chan struct{})
		var wg sync.WaitGroup
		for range writers {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for range each {
					write(t, s, owner, newUID(), put(`{}`))
				}
			}()
		}
		go func() { wg.Wait(); close(done) }()
		seen := map[string]bool{}
		after := Beginning
		for finished := false; ; {
			select {
			case <-done:
				finished = true
			default:
			}
			items, _, err := s.List(
				t.Context(),
				owner.ID,
				"notes",
				Page{After: after, Limit: 7, MaxBytes: 1 << 20},
			)
			if err != nil {
				t.Fatal(err)
			}
			for _, item := range items {
				seen[item.UID] = true
				after = Position{item.Updated, item.UID}
			}
			if finished && len(items) == 0 {
				break
			}
		}
		if len(seen) != writers*each {
			t.Errorf("met %d of %d", len(seen), writers*each)
		}
	})
}

func TestList(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		s := open(t, time.Now)
		_, owner := person(t, s)
		big := `{"s":"` + strings.Repeat("x", 993) + `"}` // 1,000 bytes
		var uids []string
		for range 10 {
			uid := newUID()
			uids = append(uids, uid)
			write(t, s, owner, uid, put(big))
		}
		write(t, s, owner, uids[0], remove)
		write(t, s, owner, uids[1], put(`{}`))
		for _, c := range []struct {
			name string
			page Page
			want []string
			more bool
		}{
			{
				"living ones", Page{Limit: 100, MaxBytes: 1 << 20},
				append(append([]string{}, uids[2:]...), uids[1]), false,
			},
			{
				"tombstones too", Page{Limit: 100, MaxBytes: 1 << 20, IncludeDeleted: true},
				append(append([]string{}, uids[2:]...), uids[0], uids[1]), false,
			},
			{
				"exactly all", Page{Limit: 9, MaxBytes: 1 << 20},
				append(append([]string{}, uids[2:]...), uids[1]), false,
			},
			{"one less", Page{Limit: 8, MaxBytes: 1 << 20}, uids[2:], true},
			{"too many bytes", Page{Limit: 100, MaxBytes: 2500}, uids[2:5], true},
			{"one is too large already", Page{Limit: 100, MaxBytes: 1}, uids[2:3], true},
		} {
			c.page.After = Beginning
			items, more, err := s.List(t.Context(), owner.ID, "notes", c.page)
			var got []string
			for _, item := range items {
				got = append(got, item.UID)
			}
			if err != nil || more != c.more || fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("%s: got %v, more %v, %v", c.name, got, more, err)
			}
		}
	})
}

func TestIsLive(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		s := open(t, time.Now)
		_, owner := person(t, s)
		_, otherUser := person(t, s)
		live, deleted, foreign := newUID(), newUID(), newUID()
		write(t, s, owner, live, put(`{}`))
		write(t, s, owner, deleted, put(`{}`))
		write(t, s, owner, deleted, remove)
		write(t, s, otherUser, foreign, put(`{}`))
		write(t, s, owner, newUID(), func(tx Tx, _ *Item) (Next, error) {
			for uid, want := range map[string]bool{
				live: true, deleted: false, foreign: false, newUID(): false,
			} {
				if got, err := tx.IsLive("notes", uid); got != want || err != nil {
					t.Errorf("%s: got %v, %v", uid, got, err)
				}
			}
			return Next{Payload: []byte(`{}`)}, nil
		})
	})
}

func TestWipe(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		c := newClock()
		s := open(t, c.Now)
		session, owner := person(t, s)
		other, _ := s.OpenSession(t.Context(), session.Person)
		bystander, theirs := person(t, s)
		kept := newUID()
		write(t, s, theirs, kept, put(`{}`))
		write(t, s, owner, newUID(), put(`{}`))
		gone := newUID()
		last := write(t, s, owner, gone, put(`{}`))
		write(t, s, owner, gone, remove)
		epoch, deleted, err := s.Wipe(t.Context(), owner.ID, "ada")
		if err != nil || epoch != 2 || deleted["notes"] != 2 {
			t.Fatalf("got epoch %d, %v, %v", epoch, deleted, err)
		}
		for _, id := range []string{session.ID, other.ID} {
			if _, err := s.FindSession(t.Context(), id); !errors.Is(err, ErrNoSession) {
				t.Errorf("a session outlived the wipe: %v", err)
			}
		}
		if _, err := s.FindSession(t.Context(), bystander.ID); err != nil {
			t.Errorf("a bystander's session: %v", err)
		}
		if _, err := s.Get(t.Context(), theirs.ID, "notes", kept); err != nil {
			t.Errorf("a bystander's note: %v", err)
		}
		_, err = s.Write(t.Context(), owner, "notes", newUID(), put(`{}`))
		if !errors.Is(err, ErrStaleEpoch) {
			t.Errorf("a write of before the wipe: %v", err)
		}
		state, err := s.State(t.Context(), owner.ID)
		if err != nil || state != (State{2, c.Now().UnixMilli(), "ada"}) {
			t.Errorf("state %+v, %v", state, err)
		}
		again, err := s.OpenSession(t.Context(), session.Person)
		if err != nil || again.Epoch != 2 || again.Owner != owner.ID {
			t.Fatalf("a session after the wipe: %+v, %v", again, err)
		}
		item := write(t, s, Owner{again.Owner, again.Epoch}, gone, put(`{}`))
		if item.Version != 1 ||
			item.Updated <= last.Updated {
			t.Errorf("after the wipe a uid starts anew, later than before: %+v", item)
		}
	})
}

// A session that is opened during a wipe works, or is reported as stale;
// never one that writes with the old epoch.
func TestOpeningDuringAWipe(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		s := open(t, time.Now)
		session, _ := person(t, s)
		var wg sync.WaitGroup
		for range 4 {
			wg.Add(2)
			go func() {
				defer wg.Done()
				for range 5 {
					if _, _, err := s.Wipe(t.Context(), session.Owner, "ada"); err != nil {
						t.Error(err)
					}
				}
			}()
			go func() {
				defer wg.Done()
				for range 20 {
					opened, err := s.OpenSession(t.Context(), session.Person)
					if err != nil {
						t.Error(err)
						return
					}
					found, err := s.FindSession(t.Context(), opened.ID)
					if errors.Is(err, ErrNoSession) {
						continue
					}
					if err != nil || found.Epoch != opened.Epoch {
						t.Errorf("opened %+v, found %+v, %v", opened, found, err)
					}
				}
			}()
		}
		wg.Wait()
		final, err := s.OpenSession(t.Context(), session.Person)
		if err != nil || final.Epoch != 21 {
			t.Errorf("after twenty wipes: %+v, %v", final, err)
		}
	})
}

func TestSessions(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		c := newClock()
		s := open(t, c.Now)
		first, _ := person(t, s)
		c.Move(10 * time.Minute)
		second, _ := person(t, s)
		if got, err := s.FindSession(t.Context(), first.ID); err != nil ||
			got.Person != first.Person ||
			got.Expires.UnixMilli() != first.Created.Add(SessionLifetime).UnixMilli() ||
			got.ServerEpoch != 1 {
			t.Errorf("found %+v, %v", got, err)
		}
		for _, id := range []string{"", "x", newUID(), "' OR 1=1 --"} {
			if _, err := s.FindSession(t.Context(), id); !errors.Is(err, ErrNoSession) {
				t.Errorf("%q: %v", id, err)
			}
		}
		c.Move(20*time.Minute - time.Millisecond)
		if _, err := s.FindSession(t.Context(), first.ID); err != nil {
			t.Errorf("a millisecond before its end: %v", err)
		}
		c.Move(time.Millisecond)
		if _, err := s.FindSession(t.Context(), first.ID); !errors.Is(err, ErrNoSession) {
			t.Errorf("at its end: %v", err)
		}
		if err := s.EndSession(t.Context(), first.ID, first.Person); !errors.Is(err, ErrNoSession) {
			t.Errorf("ended after its end: %v", err)
		}
		if n, err := s.SweepSessions(t.Context()); n != 1 || err != nil {
			t.Errorf("swept %d, %v", n, err)
		}
		if n, err := s.CountSessions(t.Context()); n != 1 || err != nil {
			t.Errorf("%d left, %v", n, err)
		}
		for _, id := range []string{"", "x", newUID(), strings.ToUpper(second.ID), first.ID} {
			if err := s.EndSession(t.Context(), id, second.Person); !errors.Is(err, ErrNoSession) {
				t.Errorf("ended %q: %v", id, err)
			}
		}
		err := s.EndSession(t.Context(), second.ID, first.Person)
		if !errors.Is(err, ErrNoSession) {
			t.Errorf("another user ended it: %v", err)
		}
		if err := s.EndSession(t.Context(), second.ID, second.Person); err != nil {
			t.Error(err)
		}
		err = s.EndSession(t.Context(), second.ID, second.Person)
		if !errors.Is(err, ErrNoSession) {
			t.Errorf("ended twice: %v", err)
		}
		if n, _ := s.CountSessions(t.Context()); n != 0 {
			t.Errorf("%d left at the end", n)
		}
	})
}

func TestFirstSightOfAPersonFromManySides(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		s := open(t, time.Now)
		owners := make(chan int64, 20)
		var wg sync.WaitGroup
		for range cap(owners) {
			wg.Add(1)
			go func() {
				defer wg.Done()
				session, err := s.OpenSession(t.Context(), Person{"tenant", "new"})
				if err != nil {
					t.Error(err)
				}
				owners <- session.Owner
			}()
		}
		wg.Wait()
		close(owners)
		first := <-owners
		for o := range owners {
			if o != first {
				t.Fatalf("one person became owners %d and %d", first, o)
			}
		}
		same, _ := s.OpenSession(t.Context(), Person{"other", "new"})
		if same.Owner == first {
			t.Error("the same subject in another tenant is the same owner")
		}
	})
}

// Replicas that start at once on an empty database all come up, and see each other's writes.
func TestStartingAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		const replicas = 4
		stores := make([]Store, replicas)
		var wg sync.WaitGroup
		for r := range replicas {
			wg.Add(1)
			go func() {
				defer wg.Done()
				stores[r] = open(t, time.Now)
			}()
		}
		wg.Wait()
		if strings.HasSuffix(t.Name(), "/memory") {
			return // each has a database of its own
		}
		_, owner := person(t, stores[0])
		uid := newUID()
		for r := range replicas * 5 {
			if item := write(t, stores[r%replicas], owner, uid, put(`{}`)); item.Version != int64(
				r+1,
			) {
				t.Fatalf("replica %d wrote version %d", r%replicas, item.Version)
			}
		}
	})
}

func TestReplicasShareSessions(t *testing.T) {
	address := freshPostgres(t)
	var replicas [2]Store
	for r := range replicas {
		s, err := OpenPostgres(t.Context(), address, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		replicas[r] = s
	}
	session, _ := person(t, replicas[0])
	if found, err := replicas[1].FindSession(t.Context(), session.ID); err != nil ||
		found.Owner != session.Owner {
		t.Errorf("found %+v, %v", found, err)
	}
	if err := replicas[1].EndSession(t.Context(), session.ID, session.Person); err != nil {
		t.Error(err)
	}
	if _, err := replicas[0].FindSession(t.Context(), session.ID); !errors.Is(err, ErrNoSession) {
		t.Errorf("ended elsewhere: %v", err)
	}
}

func TestDataOutlivesTheProcess(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		if strings.HasSuffix(t.Name(), "/memory") {
			t.Skip("memory is meant to forget")
		}
		s := open(t, time.Now)
		session, owner := person(t, s)
		uid := newUID()
		write(t, s, owner, uid, put(`{"kept":true}`))
		s.Close()
		again := open(t, time.Now)
		back, err := again.OpenSession(t.Context(), session.Person)
		if err != nil || back.Owner != owner.ID {
			t.Fatalf("%+v, %v", back, err)
		}
		if item, err := again.Get(t.Context(), owner.ID, "notes", uid); err != nil ||
			string(item.Payload) != `{"kept":true}` {
			t.Errorf("%+v, %v", item, err)
		}
	})
}

func TestTimeoutsCountAsUnavailable(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		s := open(t, time.Now)
		_, owner := person(t, s)
		ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
		defer cancel()
		if _, err := s.Get(ctx, owner.ID, "notes", newUID()); !errors.Is(err, ErrUnavailable) {
			t.Errorf("read: %v", err)
		}
		_, err := s.Write(ctx, owner, "notes", newUID(), put(`{}`))
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("write: %v", err)
		}
		write(t, s, owner, newUID(), put(`{}`)) // and it works again
	})
}

func TestPoolsTellHowTheyStand(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		s := open(t, time.Now)
		if _, err := s.OpenSession(t.Context(), Person{"tenant", "pools"}); err != nil {
			t.Fatal(err)
		}
		connections, all := 0, s.Pools()
		for _, pool := range all {
			connections += pool.InUse + pool.Idle
			if pool.Name == "" || pool.Max < 1 || pool.InUse+pool.Idle > pool.Max {
				t.Errorf("%+v", pool)
			}
		}
		if connections == 0 {
			t.Errorf("nothing is open: %+v", all)
		}
	})
}
