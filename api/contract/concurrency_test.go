package contract

import (
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
)

const writers = 32

// Writers that read, add one and write back with If-Match: one wins each version, and no addition
// is lost.
func TestOneWriterWinsEachVersion(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		const rounds = 2 // wins per writer
		u := api.user(t)
		parent := e.parent(t, u)
		it := u.call(t, "POST", e.path(), object(`"count":0`, parent)).want(t, 201).item(t)
		path := e.path("/", it.UID)
		won := make([][]int64, writers) // the versions that each writer made

		inParallel(writers, writers, func(i int) {
			for try := 0; len(won[i]) < rounds; try++ {
				if try > 5_000 {
					t.Errorf("writer %d does not get through", i)
					return
				}
				read := u.call(t, "GET", path, nil)
				if !read.check(t, 200) {
					return
				}
				var seen struct {
					Version int64
					Payload struct{ Count int }
				}
				if err := json.Unmarshal(read.body, &seen); err != nil {
					t.Errorf("%v\n%s", err, read)
					return
				}
				method, body := "PATCH", fmt.Sprintf(
					`{"count":%d,"by%d":true}`,
					seen.Payload.Count+1,
					i,
				)
				if i%2 == 0 { // half of the writers replace everything
					method, body = "PUT", object(
						fmt.Sprintf(`"count":%d`, seen.Payload.Count+1),
						parent,
					)
				}
				a := u.call(t, method, path, body, ifMatch(seen.Version))
				switch {
				case !a.check(t, 200, 412):
					return
				case a.status == 200:
					next, err := readItem(a.body)
					if err != nil || next.Version != seen.Version+1 {
						t.Errorf(
							"the winner of version %d made version %d (%v)",
							seen.Version,
							next.Version,
							err,
						)
					}
					won[i] = append(won[i], next.Version)
				}
			}
		})

		winners := map[int64]int{}
		for _, versions := range won {
			for _, v := range versions {
				winners[v]++
			}
		}
		for v := int64(2); v <= writers*rounds+1; v++ {
			if winners[v] != 1 {
				t.Errorf("version %d has %d winners", v, winners[v])
			}
		}
		final := u.get(t, e, it.UID)
		if final.Version != writers*rounds+1 {
			t.Errorf("final version %d, want %d", final.Version, writers*rounds+1)
		}
		final.wantMember(t, "count", strconv.Itoa(writers*rounds))
	})
}

// Writers that never look: each patch adds a key of its own, and all of them are there in the end.
func TestPatchesWithoutIfMatchAllArrive(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		it := u.create(t, e)
		path := e.path("/", it.UID)
		results := allAtOnce(writers, func(i int) *answer {
			if i%8 == 7 {
				return u.call(t, "POST", path+"/archive", nil)
			}
			return u.call(t, "PATCH", path, fmt.Sprintf(`{"key%d":%d}`, i, i))
		})
		if len(results[200]) != writers {
			t.Fatalf("%d writers: %s", writers, counts(results))
		}
		versions := map[int64]bool{}
		for _, a := range results[200] {
			versions[a.item(t).Version] = true
		}
		final := u.get(t, e, it.UID)
		if len(versions) != writers || final.Version != writers+1 {
			t.Errorf(
				"%d versions were answered, the final one is %d; want %d and %d",
				len(versions),
				final.Version,
				writers,
				writers+1,
			)
		}
		for i := range writers {
			if i%8 != 7 {
				final.wantMember(t, fmt.Sprintf("key%d", i), strconv.Itoa(i))
			}
		}
		final.wantMember(t, e.archive.member, e.archive.value)
	})
}

func TestOfConcurrentCreatesWithOneUIDOneSucceeds(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		parent := e.parent(t, u)
		uid := newUID()
		results := allAtOnce(writers, func(i int) *answer {
			return u.call(
				t,
				"POST",
				e.path(),
				object(fmt.Sprintf(`"uid":%q,"by":%d`, uid, i), parent),
			)
		})
		if len(results[201]) != 1 || len(results[409]) != writers-1 {
			t.Fatalf("want one 201 and else 409, got %s", counts(results))
		}
		for _, a := range results[409] {
			a.wantError(t, 409, "already_exists")
		}
		if got, want := u.raw(t, e, uid), string(results[201][0].body); got != want {
			t.Errorf("the winner was told\n%s\nthe item is\n%s", want, got)
		}
	})
}

func TestOfConcurrentDeletesOneSucceeds(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		it := u.create(t, e)
		results := allAtOnce(
			writers,
			func(int) *answer { return u.call(t, "DELETE", e.path("/", it.UID), nil) },
		)
		if len(results[200]) != 1 || len(results[410]) != writers-1 {
			t.Fatalf("want one 200 and else 410, got %s", counts(results))
		}
		if got := u.version(t, e, it.UID); got != 2 {
			t.Errorf("version %d after one delete, want 2", got)
		}
	})
}

// Update times are strictly increasing over a user's items however many are written at once.
func TestConcurrentWritesOfOneUserHaveDifferentTimes(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		u := api.user(t)
		const n = 200
		answers := make([]*answer, n)
		inParallel(16, n, func(i int) {
			path := entityNamed([]string{"notes", "tasks", "chats"}[i%3]).path()
			answers[i] = u.call(t, "POST", path, `{}`)
		})
		times := map[string]string{}
		for _, a := range answers {
			it := a.want(t, 201).item(t)
			if other := times[it.UpdatedAt]; other != "" {
				t.Errorf("%s and %s have the same time %s", it.UID, other, it.UpdatedAt)
			}
			times[it.UpdatedAt] = it.UID
		}
	})
}
