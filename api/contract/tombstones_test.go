package contract

import "testing"

func TestADeletedItemIs410OnEveryRoute(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		parent := e.parent(t, u)
		it := u.create(t, e, `"title":"was here"`)
		gone := u.remove(t, e, it.UID)
		gone.wantMember(t, "title", `"was here"`)
		before := u.raw(t, e, it.UID)
		for _, r := range e.itemRoutes(it.UID, parent) {
			a := r.call(t, u)
			if !a.check(t, 410) {
				continue
			}
			var body struct{ DeletedAt string }
			a.decode(t, &body)
			if !sameInstant(body.DeletedAt, *gone.DeletedAt) {
				t.Errorf("deletedAt %q, want %q\n%s", body.DeletedAt, *gone.DeletedAt, a)
			} else if err := checkTime(body.DeletedAt); err != nil {
				t.Errorf("%v\n%s", err, a)
			}
		}
		u.call(t, "GET", e.path("/", it.UID, "?includeDeleted=false"), nil).want(t, 410)
		if after := u.raw(t, e, it.UID); after != before {
			t.Errorf("refused calls changed the tombstone\n%s\n%s", before, after)
		}
	})
}

func TestIncludeDeletedReadsThroughATombstone(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		live, dead := u.create(t, e), u.create(t, e)
		deleted := u.call(t, "DELETE", e.path("/", dead.UID), nil).want(t, 200)
		read := u.call(t, "GET", e.path("/", dead.UID, "?includeDeleted=true"), nil).want(t, 200)
		if string(read.body) != string(deleted.body) {
			t.Errorf("delete answered\n%s\nget\n%s", deleted, read)
		}
		if got := read.item(t); got.DeletedAt == nil || got.Version != 2 {
			t.Errorf("a tombstone has deletedAt and version 2\n%s", read)
		}
		got := u.call(t, "GET", e.path("/", live.UID, "?includeDeleted=true"), nil).
			want(t, 200).
			item(t)
		if got.DeletedAt != nil {
			t.Errorf("a live item has no deletedAt: %s", *got.DeletedAt)
		}
		for query, want := range map[string][]string{
			"":                     {live.UID},
			"includeDeleted=false": {live.UID},
			"includeDeleted=true":  {live.UID, dead.UID}, // deleting was the last change
		} {
			var got []string
			for _, it := range u.list(t, e, query).items {
				got = append(got, it.UID)
			}
			if len(got) != len(want) || got[0] != want[0] || got[len(got)-1] != want[len(want)-1] {
				t.Errorf("list?%s gives %v, want %v", query, got, want)
			}
		}
	})
}
