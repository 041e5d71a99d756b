package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/toolbridge/toolbridge-mcp/api/internal/search"
)

// holdWrites begins a write, and returns when it is within its change.
func holdWrites(t *testing.T, s Store, owner Owner) (release func()) {
	t.Helper()
	began, goOn, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := s.Write(t.Context(), owner, "notes", newUID(), func(Tx, *Item) (Next, error) {
			close(began)
			<-goOn
			return Next{Payload: []byte(`{}`)}, nil
		})
		done <- err
	}()
	<-began
	return func() {
		close(goOn)
		if err := <-done; err != nil {
			t.Errorf("the first write: %v", err)
		}
	}
}

func (g *writeGroups[K]) await(t *testing.T, owner K, want int) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Millisecond) {
		g.mu.Lock()
		n := len(g.waiting[owner])
		g.mu.Unlock()
		if n == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d writes wait, want %d", n, want)
		}
	}
}

// below is a child of a note, or the given error.
func below(parent string, orphan error) Change {
	return func(tx Tx, _ *Item) (Next, error) {
		live, err := tx.IsLive("notes", parent)
		if err == nil && !live {
			err = orphan
		}
		return Next{Payload: []byte(`{}`)}, err
	}
}

// Writes that wait are made in one transaction. What happens to one of them is its own.
func TestWritesInAGroup(t *testing.T) {
	onGroups(t, testWritesInAGroup)
}

// groupsOf is what a test sees of the groups of a store.
type groupsOf struct {
	await func(t *testing.T, owner Owner, want int) // until so many writes wait
	keys  func() int
}

// onGroups runs a test on both databases.
func onGroups(t *testing.T, test func(*testing.T, Store, groupsOf)) {
	t.Run("sqlite", func(t *testing.T) {
		s := openSQLite(t, filepath.Join(t.TempDir(), "x.db"), time.Now)
		g := s.(*sqliteStore).groups
		await := func(t *testing.T, _ Owner, want int) { g.await(t, oneFile{}, want) }
		test(t, s, groupsOf{await, func() int { return len(g.waiting) }})
	})
	t.Run("postgres", func(t *testing.T) {
		s := openedPostgres(t)
		test(t, s, groupsOf{s.groups.await, func() int { return len(s.groups.waiting) }})
	})
}

func openedPostgres(t *testing.T) *postgresStore {
	t.Helper()
	opened, err := OpenPostgres(t.Context(), freshPostgres(t), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(opened.Close)
	return opened.(*postgresStore)
}

func testWritesInAGroup(t *testing.T, s Store, groups groupsOf) {
	_, owner := person(t, s)
	existing := newUID()
	write(t, s, owner, existing, put(`{}`))
	ended := newUID()
	write(t, s, owner, ended, put(`{}`))
	for _, panics := range []bool{false, true} {
		release := holdWrites(t, s, owner)
		refused := errors.New("refused")
		var wg sync.WaitGroup
		var mu sync.Mutex
		errs, seen := make(map[string]error), make(map[int64]bool)
		queued := 0
		start := func(name string, do func() (Item, error)) {
			queued++
			wg.Go(func() {
				var item Item
				var err error
				func() {
					defer func() {
						if p := recover(); p != nil {
							err = fmt.Errorf("panicked: %v", p)
						}
					}()
					item, err = do()
				}()
				mu.Lock()
				defer mu.Unlock()
				errs[name] = err
				if err == nil && seen[item.Updated] {
					t.Errorf("%s has the time of another write", name)
				}
				seen[item.Updated] = true
			})
			groups.await(t, owner, queued)
		}
		for n := range 5 {
			start(fmt.Sprint("write ", n), func() (Item, error) {
				return s.Write(t.Context(), owner, "notes", newUID(), put(`{"title":"words"}`))
			})
		}
		start("create", func() (Item, error) {
			return s.Create(t.Context(), owner, "notes", newUID(), Next{Payload: []byte(`{}`)})
		})
		start("exists", func() (Item, error) {
			return s.Create(t.Context(), owner, "notes", existing, Next{Payload: []byte(`{}`)})
		})
		start("the same item", func() (Item, error) {
			return s.Write(t.Context(), owner, "notes", existing, put(`{}`))
		})
		orphan := errors.New("no parent")
		if !panics { // after a panic each is made by itself, in any order
			ends := newUID()
			start("parent", func() (Item, error) {
				return s.Write(t.Context(), owner, "notes", ends, put(`{}`))
			})
			start("child of the new", func() (Item, error) {
				return s.Write(t.Context(), owner, "comments", newUID(), below(ends, orphan))
			})
			start("end", func() (Item, error) {
				return s.Write(t.Context(), owner, "notes", ended, func(Tx, *Item) (Next, error) {
					return Next{Payload: []byte(`{}`), Delete: true}, nil
				})
			})
			start("orphan", func() (Item, error) {
				return s.Write(t.Context(), owner, "comments", newUID(), below(ended, orphan))
			})
		}
		start("refused", func() (Item, error) {
			return s.Write(t.Context(), owner, "notes", newUID(), func(Tx, *Item) (Next, error) {
				return Next{}, refused
			})
		})
		start("child", func() (Item, error) {
			return s.Write(t.Context(), owner, "comments", newUID(), below(existing, orphan))
		})
		if panics {
			start("panic", func() (Item, error) {
				return s.Write(
					t.Context(),
					owner,
					"notes",
					newUID(),
					func(Tx, *Item) (Next, error) {
						panic("no good")
					},
				)
			})
		}
		cancelled, cancel := context.WithCancel(t.Context())
		start("cancelled", func() (Item, error) {
			return s.Write(cancelled, owner, "notes", newUID(), put(`{}`))
		})
		cancel()
		groups.await(t, owner, queued-1)
		release()
		wg.Wait()
		for name, err := range errs {
			switch name {
			case "orphan":
				if !errors.Is(err, orphan) {
					t.Errorf("%s: %v", name, err)
				}
			case "exists":
				if !errors.Is(err, ErrExists) {
					t.Errorf("%s: %v", name, err)
				}
			case "refused":
				if !errors.Is(err, refused) {
					t.Errorf("%s: %v", name, err)
				}
			case "cancelled":
				if !errors.Is(err, context.Canceled) {
					t.Errorf("%s: %v", name, err)
				}
			case "panic":
				if err == nil || err.Error() != "panicked: no good" {
					t.Errorf("%s: %v", name, err)
				}
			default:
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		if n := groups.keys(); n != 0 {
			t.Errorf("%d keys are kept", n)
		}
	}
	report, err := s.CheckIndex(t.Context())
	if err != nil || len(report.Faults) != 0 || report.Missing != 0 {
		t.Errorf("%+v, %v", report, err)
	}
	items, _, err := s.List(t.Context(), owner.ID, "notes",
		Page{After: Beginning, Limit: 100, MaxBytes: 1 << 20})
	if err != nil || len(items) != 1+2*(1+5+1)+1 {
		t.Errorf("%d notes, %v", len(items), err)
	}
}

// Writes of a transaction that failed are made in the order in which they came, and do not take a
// connection each.
func TestWritesOfAFailedGroupKeepTheirOrder(t *testing.T) {
	onGroups(t, testOrderOfAFailedGroup)
}

func testOrderOfAFailedGroup(t *testing.T, s Store, groups groupsOf) {
	_, owner := person(t, s)
	release := holdWrites(t, s, owner)
	var mu sync.Mutex
	var made []int // by the latest try of each
	tried := make(map[int]int)
	var wg sync.WaitGroup
	const writes = 8
	for n := range writes {
		wg.Go(func() {
			_, err := s.Write(t.Context(), owner, "notes", newUID(), func(Tx, *Item) (Next, error) {
				mu.Lock()
				defer mu.Unlock()
				if tried[n]++; tried[n] == 2 {
					made = append(made, n)
				}
				return Next{Payload: []byte(`{}`)}, nil
			})
			if err != nil {
				t.Errorf("%d: %v", n, err)
			}
		})
		groups.await(t, owner, n+1)
	}
	wg.Go(func() {
		defer func() { _ = recover() }()
		_, _ = s.Write(t.Context(), owner, "notes", newUID(), func(Tx, *Item) (Next, error) {
			panic("no good")
		})
	})
	groups.await(t, owner, writes+1)
	release()
	wg.Wait()
	if want := []int{0, 1, 2, 3, 4, 5, 6, 7}; !slices.Equal(made, want) {
		t.Errorf("made in the order %v", made)
	}
}

// On SQLite writes of several persons share a transaction. Each is made for its own person, with
// that person's clock and epoch.
func TestWritesOfSeveralPersonsInAGroup(t *testing.T) {
	s := openSQLite(t, filepath.Join(t.TempDir(), "x.db"), time.Now)
	groups := s.(*sqliteStore).groups
	_, first := person(t, s)
	_, second := person(t, s)
	_, wiped := person(t, s)
	if _, _, err := s.Wipe(t.Context(), wiped.ID, "test"); err != nil {
		t.Fatal(err)
	}
	release := holdWrites(t, s, first)
	persons := []struct {
		name  string
		owner Owner
	}{{"first", first}, {"second", second}, {"wiped", wiped}}
	uids, errs := make(map[string]string), make(map[string]error)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for n, p := range persons {
		uid := newUID()
		uids[p.name] = uid
		payload := `{"title":"` + p.name + `"}`
		wg.Go(func() {
			_, err := s.Write(t.Context(), p.owner, "notes", uid, put(payload))
			mu.Lock()
			defer mu.Unlock()
			errs[p.name] = err
		})
		groups.await(t, oneFile{}, n+1)
	}
	release()
	wg.Wait()
	if errs["first"] != nil || errs["second"] != nil || !errors.Is(errs["wiped"], ErrStaleEpoch) {
		t.Fatalf("%v", errs)
	}
	for _, p := range persons {
		for name, uid := range uids {
			want := ""
			if name == p.name && name != "wiped" {
				want = `{"title":"` + name + `"}`
			}
			item, err := s.Get(t.Context(), p.owner.ID, "notes", uid)
			if string(item.Payload) != want || (want == "") != errors.Is(err, ErrNoItem) {
				t.Errorf("%s has %s of %s, %v", p.name, item.Payload, name, err)
			}
		}
		found, err := s.Search(t.Context(), p.owner.ID, Search{
			Query: parsed(t, "first OR second OR wiped"), Limit: 10,
			Filter: search.Filter{States: []search.State{search.Live}},
		})
		if (p.name == "wiped") != (found.Total == 0) || found.Total > 1 || err != nil {
			t.Errorf("%s finds %d, %v", p.name, found.Total, err)
		}
	}
}

// A panic that is not a write's own leaves no other write of the group waiting.
func TestAPanicOfATransactionEndsTheGroup(t *testing.T) {
	c := &common{db: &sqliteDB{}}
	g := newWriteGroups[int](c, func(
		_ *queuedWrite,
		take func() (context.Context, []*queuedWrite),
	) error {
		take()
		panic("no good")
	})
	held, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		q := queued(t.Context(), Owner{}, "notes", newUID(), nil)
		_, _ = g.write(1, q, func() (Item, error) {
			close(held)
			<-release
			return Item{}, nil
		})
	})
	<-held
	var panics, unknown atomic.Int64
	for n := range 3 {
		wg.Go(func() {
			defer func() {
				if recover() != nil {
					panics.Add(1)
				}
			}()
			q := queued(t.Context(), Owner{}, "notes", newUID(), nil)
			_, err := g.write(1, q, func() (Item, error) { return Item{}, nil })
			if errors.Is(err, ErrOutcomeUnknown) {
				unknown.Add(1)
			}
		})
		g.await(t, 1, n+1)
	}
	close(release)
	wg.Wait()
	if panics.Load() != 1 || unknown.Load() != 2 {
		t.Errorf("%d panicked, %d do not know the outcome", panics.Load(), unknown.Load())
	}
}

// While a batch is made, callers of the next group may leave, and their writes are not made.
func TestACallerLeavesWhileAGroupWaitsForTheConnection(t *testing.T) {
	s := openSQLite(t, filepath.Join(t.TempDir(), "x.db"), time.Now)
	pool, g := s.(*sqliteStore).db.writes, s.(*sqliteStore).groups
	_, owner := person(t, s)
	batch, err := pool.acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first := make(chan error, 1)
	go func() {
		_, err := s.Write(t.Context(), owner, "notes", newUID(), put(`{}`))
		first <- err
	}()
	for pool.now("").Waits == 0 { // it is alone, and waits for the connection
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithCancel(t.Context())
	stays, leaves, left := newUID(), newUID(), make(chan error, 2)
	for n, uid := range []string{stays, leaves} {
		c := t.Context()
		if uid == leaves {
			c = ctx
		}
		go func() {
			_, err := s.Write(c, owner, "notes", uid, put(`{}`))
			left <- err
		}()
		g.await(t, oneFile{}, n+1)
	}
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("left: %v", err)
	}
	pool.release(batch)
	if err := errors.Join(<-first, <-left); err != nil {
		t.Error(err)
	}
	if _, err := s.Get(t.Context(), owner.ID, "notes", leaves); !errors.Is(err, ErrNoItem) {
		t.Errorf("the write of the caller who left: %v", err)
	}
}

// A caller with little time does not shorten that of others.
func TestACallerWithLittleTimeIsInNoGroup(t *testing.T) {
	s := openSQLite(t, filepath.Join(t.TempDir(), "x.db"), time.Now)
	g := s.(*sqliteStore).groups
	_, owner := person(t, s)
	release := holdWrites(t, s, owner)
	var wg sync.WaitGroup
	var tries atomic.Int64
	const others = 8
	for n := range others {
		wg.Go(func() {
			_, err := s.Write(t.Context(), owner, "notes", newUID(), func(Tx, *Item) (Next, error) {
				tries.Add(1)
				time.Sleep(5 * time.Millisecond)
				return Next{Payload: []byte(`{}`)}, nil
			})
			if err != nil {
				t.Error(err)
			}
		})
		g.await(t, oneFile{}, n+1)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	wg.Go(func() { _, _ = s.Write(ctx, owner, "notes", newUID(), put(`{}`)) })
	release()
	wg.Wait()
	if tries.Load() != others {
		t.Errorf("%d writes were tried %d times", others, tries.Load())
	}
}

// A write that changes much is made by itself: what it needs is kept until its transaction ends.
func TestWritesOfLargeItemsAreInNoGroup(t *testing.T) {
	onGroups(t, testLargeWrites)
}

func testLargeWrites(t *testing.T, s Store, groups groupsOf) {
	_, owner := person(t, s)
	large := `{"content":"` + strings.Repeat("x", maxGroupBytes/2) + `"}`
	var uids []string
	for range 6 {
		uid := newUID()
		uids = append(uids, uid)
		write(t, s, owner, uid, put(large))
	}
	release := holdWrites(t, s, owner)
	var wg sync.WaitGroup
	var now, most atomic.Int64 // writes that hold memory
	for n, uid := range uids {
		wg.Go(func() {
			_, err := s.Write(t.Context(), owner, "notes", uid, func(Tx, *Item) (Next, error) {
				most.Store(max(most.Load(), now.Add(1)))
				return Next{Payload: []byte(`{}`)}, nil
			})
			now.Add(-1)
			if err != nil {
				t.Error(err)
			}
		})
		groups.await(t, owner, n+1)
	}
	release()
	wg.Wait()
	if most.Load() > 2 {
		t.Errorf("%d writes held their memory at once", most.Load())
	}
}
