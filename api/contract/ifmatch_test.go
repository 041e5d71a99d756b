package contract

import (
	"fmt"
	"testing"
)

func TestIfMatchLetsTheExpectedVersionThrough(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		parent := e.parent(t, u)
		for _, form := range []string{`%d`, `"%d"`} {
			it := u.create(t, e)
			for _, w := range e.writeRoutes(it.UID, parent) {
				next := w.call(t, u, with("If-Match", fmt.Sprintf(form, it.Version))).
					want(t, 200).
					item(t)
				if next.Version != it.Version+1 {
					t.Errorf("%s took version %d to %d", w.name, it.Version, next.Version)
				}
				it = next
			}
		}
		// The ETag of an answer is the next If-Match.
		a := u.call(t, "POST", e.path(), object(parent)).want(t, 201)
		uid := a.item(t).UID
		for range 3 {
			a = u.call(t, "PATCH", e.path("/", uid), `{}`, with("If-Match", a.header.Get("ETag"))).
				want(t, 200)
		}
	})
}

func TestAnotherVersionIs412AndBothAreNamed(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		parent := e.parent(t, u)
		it := u.create(t, e)
		for range 3 {
			u.call(t, "PATCH", e.path("/", it.UID), `{}`).want(t, 200)
		}
		before := u.raw(t, e, it.UID)
		for _, w := range e.writeRoutes(it.UID, parent) {
			for _, expected := range []string{"3", "5", "1", "1000000"} {
				want := "version mismatch: expected " + expected + ", actual 4"
				w.call(t, u, with("If-Match", expected)).wantError(t, 412, want)
				w.call(t, u, with("If-Match", `"`+expected+`"`)).wantError(t, 412, want)
			}
		}
		if after := u.raw(t, e, it.UID); after != before {
			t.Errorf("refused writes changed the item\n%s\n%s", before, after)
		}
	})
}

// The star of RFC 9110 matches whatever is there, and nothing that is not.
func TestIfMatchStarMatchesAnyLivingItem(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		parent := e.parent(t, u)
		it := u.create(t, e)
		for _, w := range e.writeRoutes(it.UID, parent) {
			w.call(t, u, with("If-Match", "*")).want(t, 200)
		}
		// The last of them deleted it.
		for _, w := range e.writeRoutes(it.UID, parent) {
			w.call(t, u, with("If-Match", "*")).check(t, 410)
		}
	})
}

func TestABadIfMatchIs400(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		parent := e.parent(t, u)
		it := u.create(t, e)
		before := u.raw(t, e, it.UID)
		for _, bad := range []string{
			"abc", `"abc"`, `"1`, `1"`, `""`, "1.0", "1e0", "0x1", `W/"1"`, `"1", "2"`, "1,1",
			"1 1", `'1'`, "１", `""1""`, "v1",
		} {
			for _, w := range e.writeRoutes(it.UID, parent) {
				w.call(t, u, with("If-Match", bad)).check(t, 400)
			}
		}
		if after := u.raw(t, e, it.UID); after != before {
			t.Errorf("refused writes changed the item\n%s\n%s", before, after)
		}
	})
}
