package contract

import (
	"net/url"
	"slices"
	"testing"
)

func uidsOf(items []item) []string {
	var out []string
	for _, it := range items {
		out = append(out, it.UID)
	}
	return out
}

func reversed(uids []string) []string {
	out := slices.Clone(uids)
	slices.Reverse(out)
	return out
}

func wantFeature(t *testing.T, api *server, name string) {
	t.Helper()
	if !slices.Contains(api.info(t).Features, name) {
		if api.remote {
			leaveOut(t, "the server does not have the feature "+name)
		}
		t.Fatalf("features lack %q", name)
	}
}

func TestAnItemKeepsItsTimeOfCreation(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		wantFeature(t, api, "created")
		u := api.user(t)
		parent := e.parent(t, u)
		first := u.call(t, "POST", e.path(), object(`"createdAt":"mine"`, parent)).
			want(t, 201).
			item(t)
		if first.CreatedAt != first.UpdatedAt {
			t.Errorf("created at %s, changed at %s", first.CreatedAt, first.UpdatedAt)
		}
		for _, w := range e.writeRoutes(first.UID, parent) {
			if it := w.call(t, u).want(t, 200).item(t); it.CreatedAt != first.CreatedAt {
				t.Errorf("after %s createdAt is %s, want %s", w.name, it.CreatedAt, first.CreatedAt)
			}
		}
	})
}

func TestListsInBothOrders(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		wantFeature(t, api, "order")
		u := api.user(t)
		parent := e.parent(t, u)
		var uids []string
		for range 7 {
			uids = append(
				uids,
				u.call(t, "POST", e.path(), object(parent)).want(t, 201).item(t).UID,
			)
		}
		u.call(t, "PATCH", e.path("/", uids[2]), `{"x":1}`).
			want(t, 200)
			// a change moves an item to the end
		uids = []string{uids[0], uids[1], uids[3], uids[4], uids[5], uids[6], uids[2]}
		tombstone := uids[1]
		u.remove(t, e, tombstone)
		uids = slices.Delete(uids, 1, 2)
		withTombstone := append(slices.Clone(uids), tombstone)
		for _, limit := range []string{"1", "2", "6", "100"} {
			for order, want := range map[string][]string{
				"": uids, "oldest": uids, "newest": reversed(uids),
			} {
				got := uidsOf(u.walk(t, e, url.Values{"limit": {limit}, "order": {order}}))
				if !slices.Equal(got, want) {
					t.Errorf("order=%s limit=%s: %v, want %v", order, limit, got, want)
				}
			}
			all := uidsOf(
				u.walk(
					t,
					e,
					url.Values{"limit": {limit}, "order": {"newest"}, "includeDeleted": {"true"}},
				),
			)
			if !slices.Equal(all, reversed(withTombstone)) {
				t.Errorf("newest with tombstones: %v, want %v", all, reversed(withTombstone))
			}
		}
		for _, bad := range []string{"NEWEST", "new", "x", "newest,oldest"} {
			u.call(t, "GET", e.path("?order=", url.QueryEscape(bad)), nil).check(t, 400)
		}
		// A cursor belongs to its order.
		cursor := *u.list(t, e, "limit=2").NextCursor
		u.call(t, "GET", e.path("?order=newest&cursor=", url.QueryEscape(cursor)), nil).
			check(t, 400)
		cursor = *u.list(t, e, "limit=2&order=newest").NextCursor
		u.call(t, "GET", e.path("?cursor=", url.QueryEscape(cursor)), nil).check(t, 400)
	})
}

// Items of one parent come in the order of their creation, whatever has been changed since.
func TestListsOfOneParent(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		wantFeature(t, api, "order")
		for _, c := range []struct{ kind, field, parentKind, extra string }{
			{"chat_messages", "chatUid", "chats", ""},
			{"comments", "parentUid", "notes", `"parentType":"note"`},
			{"comments", "parentUid", "tasks", `"parentType":"task"`},
		} {
			u := api.user(t)
			e := entityNamed(c.kind)
			parents := []string{
				u.create(t, entityNamed(c.parentKind)).UID,
				u.create(t, entityNamed(c.parentKind)).UID,
			}
			byParent := map[string][]string{}
			for n := range 10 {
				p := parents[n%2]
				it := u.call(t, "POST", e.path(), object(`"`+c.field+`":"`+p+`"`, c.extra)).
					want(t, 201).
					item(t)
				byParent[p] = append(byParent[p], it.UID)
			}
			p := parents[0]
			mine := byParent[p]
			u.call(t, "PATCH", e.path("/", mine[1]), `{"read":true}`).want(t, 200)
			u.remove(t, e, mine[3])
			live := slices.Delete(slices.Clone(mine), 3, 4)
			for _, limit := range []string{"1", "3", "50"} {
				values := url.Values{"limit": {limit}, c.field: {p}}
				if got := uidsOf(u.walk(t, e, values)); !slices.Equal(got, live) {
					t.Errorf("%s of a parent: %v, want %v", c.kind, got, live)
				}
				values.Set("order", "newest")
				if got := uidsOf(u.walk(t, e, values)); !slices.Equal(got, reversed(live)) {
					t.Errorf(
						"%s of a parent, newest first: %v, want %v",
						c.kind,
						got,
						reversed(live),
					)
				}
				values.Set("includeDeleted", "true")
				if got := uidsOf(u.walk(t, e, values)); !slices.Equal(got, reversed(mine)) {
					t.Errorf(
						"%s of a parent with tombstones: %v, want %v",
						c.kind,
						got,
						reversed(mine),
					)
				}
			}
			// A PUT may move an item to another parent.
			u.call(
				t, "PUT", e.path("/", mine[0]), object(`"`+c.field+`":"`+parents[1]+`"`, c.extra),
			).want(t, 200)
			if got := uidsOf(u.list(t, e, c.field+"="+p).items); slices.Contains(got, mine[0]) {
				t.Errorf("%s is still listed under its old parent", mine[0])
			}
			moved := uidsOf(u.list(t, e, c.field+"="+parents[1]).items)
			if !slices.Contains(moved, mine[0]) {
				t.Errorf("%s is not listed under its new parent", mine[0])
			}
			// Another parent's cursor, no UUID, and a parent of another kind are refused; another
			// user's parent yields an empty list.
			cursor := *u.list(t, e, "limit=1&"+c.field+"="+p).NextCursor
			u.call(
				t, "GET",
				e.path("?", c.field, "=", parents[1], "&cursor=", url.QueryEscape(cursor)), nil,
			).check(t, 400)
			u.call(t, "GET", e.path("?cursor=", url.QueryEscape(cursor)), nil).check(t, 400)
			for _, bad := range []string{"", "x", "1"} {
				u.call(t, "GET", e.path("?", c.field, "=", bad), nil).check(t, 400)
			}
			u.call(t, "GET", entityNamed("notes").path("?", c.field, "=", p), nil).check(t, 400)
			other := api.userOf(t, u.tenant, freshName("user"))
			if len(other.list(t, e, c.field+"="+p).items) != 0 {
				t.Errorf("another user sees the %s of this parent", c.kind)
			}
		}
	})
}
