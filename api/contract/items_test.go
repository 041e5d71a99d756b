package contract

import (
	"strings"
	"testing"
	"time"
)

// Each write answers with the whole item, and the version rises by one with each of them.
func TestEveryKindOfWriteRaisesTheVersionByOne(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		parent := e.parent(t, u)
		before := time.Now().Add(-time.Minute)
		it := u.call(t, "POST", e.path(), object(`"title":"first","keep":[1,2]`, parent)).
			want(t, 201).
			item(t)
		if it.Version != 1 {
			t.Fatalf("version %d after create, want 1", it.Version)
		}
		if at := instant(it.UpdatedAt); at.Before(before) || at.After(time.Now().Add(time.Minute)) {
			t.Errorf("updatedAt %s is not now", it.UpdatedAt)
		}
		writes := []route{
			{"put", "PUT", e.path("/", it.UID), object(`"title":"second"`, parent)},
			{"patch", "PATCH", e.path("/", it.UID), `{"more":true}`},
			{"empty patch", "PATCH", e.path("/", it.UID), `{}`},
			{"archive", "POST", e.path("/", it.UID, "/archive"), ""},
			{"archive again", "POST", e.path("/", it.UID, "/archive"), ""},
		}
		for _, act := range e.actions {
			writes = append(
				writes,
				route{
					act.name,
					"POST",
					e.path("/", it.UID, "/process"),
					`{"action":"` + act.name + `"}`,
				},
			)
		}
		writes = append(writes, route{"delete", "DELETE", e.path("/", it.UID), ""})
		for _, w := range writes {
			next := w.call(t, u).want(t, 200).item(t)
			if next.UID != it.UID {
				t.Errorf("%s answered with uid %s, want %s", w.name, next.UID, it.UID)
			}
			if next.Version != it.Version+1 {
				t.Errorf("%s took version %d to %d", w.name, it.Version, next.Version)
			}
			if !instant(next.UpdatedAt).After(instant(it.UpdatedAt)) {
				t.Errorf(
					"%s: updatedAt %s does not come after %s",
					w.name,
					next.UpdatedAt,
					it.UpdatedAt,
				)
			}
			if (next.DeletedAt != nil) != (w.name == "delete") {
				t.Errorf("%s: deletedAt present is %v", w.name, next.DeletedAt != nil)
			}
			it = next
		}
	})
}

func TestWhatAWriteAnswersIsWhatAReadSees(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		parent := e.parent(t, u)
		created := u.call(t, "POST", e.path(), object(`"title":"x"`, parent)).want(t, 201)
		uid := created.item(t).UID
		if got := u.raw(t, e, uid); got != string(created.body) {
			t.Errorf("create answered\n%s\nget\n%s", created.body, got)
		}
		for _, w := range e.writeRoutes(uid, parent) {
			answer := w.call(t, u).want(t, 200)
			if got := u.raw(t, e, uid); got != string(answer.body) {
				t.Errorf("%s answered\n%s\nget\n%s", w.name, answer.body, got)
			}
			listed := u.list(t, e, "includeDeleted=true")
			if n := len(listed.items); n != 1 || spelled(listed.Items[0]) != spelled(answer.body) {
				t.Errorf(
					"%s answered\n%s\nthe list has %d items: %s",
					w.name,
					answer.body,
					n,
					listed.Items,
				)
			}
		}
	})
}

func TestUpdateTimesStrictlyIncreaseOverAllItemsOfAUser(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		u := api.user(t)
		last := instant("2000-01-01T00:00:00.000Z")
		after := func(what string, it item) {
			t.Helper()
			if !instant(it.UpdatedAt).After(last) {
				t.Errorf(
					"%s: %s does not come after %s",
					what,
					it.UpdatedAt,
					last.Format(time.RFC3339Nano),
				)
			}
			last = instant(it.UpdatedAt)
		}
		for range 5 {
			for _, e := range entities {
				parent := e.parent(t, u)
				it := u.call(t, "POST", e.path(), object(parent)).want(t, 201).item(t)
				after("create "+e.name, it)
				for _, w := range e.writeRoutes(it.UID, parent) {
					after(w.name+" "+e.name, w.call(t, u).want(t, 200).item(t))
				}
			}
		}
	})
}

func TestCreateTakesTheCallersUIDWhenItIsAUUID(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		parent := e.parent(t, u)
		create := func(t *testing.T, uid string) item {
			t.Helper()
			return u.call(t, "POST", e.path(), object(`"uid":`+uid, parent)).want(t, 201).item(t)
		}
		uid := newUID()
		if got := create(t, `"`+uid+`"`); got.UID != uid {
			t.Errorf("uid %s became %s", uid, got.UID)
		}
		upper := newUID()
		if got := create(t, `"`+strings.ToUpper(upper)+`"`); got.UID != upper {
			t.Errorf("uid %s became %s, want it in lower case", strings.ToUpper(upper), got.UID)
		}
		seen := map[string]bool{}
		for _, other := range []string{
			`"abc"`, `""`, `17`, `null`, `{}`, `["` + newUID() + `"]`, `true`,
			`"` + newUID() + `x"`, `"../../etc"`,
		} {
			got := create(t, other)
			if seen[got.UID] || strings.Contains(other, got.UID) {
				t.Errorf("uid %s is not a UUID, so a new one is due; got %s", other, got.UID)
			}
			seen[got.UID] = true
		}
		// The short and long spellings that some libraries read are refused in paths, so they are
		// not UUIDs here either.
		for _, form := range []string{"{%s}", "urn:uuid:%s"} {
			inner := newUID()
			if got := create(t, `"`+strings.Replace(form, "%s", inner, 1)+`"`); got.UID == inner {
				t.Errorf("uid in the form %q was read as a UUID", form)
			}
		}
	})
}

func TestAUsedUIDIsRefusedDeletedOrNot(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		parent := e.parent(t, u)
		uid := newUID()
		body := object(`"uid":"`+uid+`","title":"mine"`, parent)
		u.call(t, "POST", e.path(), body).want(t, 201)
		before := u.raw(t, e, uid)
		u.call(t, "POST", e.path(), body).wantError(t, 409, "already_exists")
		u.call(t, "POST", e.path(), strings.Replace(body, uid, strings.ToUpper(uid), 1)).
			wantError(t, 409, "already_exists")
		if after := u.raw(t, e, uid); after != before {
			t.Errorf("a refused create changed the item\n%s\n%s", before, after)
		}
		u.remove(t, e, uid)
		u.call(t, "POST", e.path(), body).wantError(t, 409, "already_exists")
		u.call(t, "GET", e.path("/", uid), nil).want(t, 410)

		// The uid is taken for this entity only.
		for _, other := range entities {
			if other.name != e.name {
				u.call(t, "POST", other.path(), object(`"uid":"`+uid+`"`, other.parent(t, u))).
					want(t, 201)
			}
		}
	})
}

func TestPutReplacesTheWholePayload(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		parent := e.parent(t, u)
		it := u.call(t, "POST", e.path(), object(`"title":"old","gone":1`, parent)).
			want(t, 201).
			item(t)
		want := object(`"z":1,"a":{"deep":null}`, parent)
		u.call(t, "PUT", e.path("/", it.UID), want).want(t, 200)
		if got := u.get(t, e, it.UID); own(t, got.Payload) != own(t, []byte(want)) {
			t.Errorf(
				"after PUT the payload is\n%s\nwant\n%s",
				own(t, got.Payload),
				own(t, []byte(want)),
			)
		}
	})
}

func TestPatchMergesTopLevelKeys(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		it := u.create(
			t,
			e,
			`"title":"old","n":12345678901234567890123,"nested":{"a":1,"b":2},"list":[1,2,3],`+
				`"stay":1.0`,
		)
		patched := u.call(
			t, "PATCH", e.path("/", it.UID),
			`{"title":"new","nested":{"c":3},"list":null,"added":"é"}`,
		).want(t, 200).item(t)
		for name, value := range map[string]string{
			"title": `"new"`, "nested": `{"c":3}`, "list": `null`, "added": `"é"`,
			"n": `12345678901234567890123`, "stay": `1.0`,
		} {
			patched.wantMember(t, name, value)
		}
		again := u.call(t, "PATCH", e.path("/", it.UID), `{"list":7}`).want(t, 200).item(t)
		again.wantMember(t, "list", `7`)
		again.wantMember(t, "title", `"new"`)
	})
}

func TestServerMembersSentByTheCallerAreOverwritten(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		parent := e.parent(t, u)
		forged := `"uid":"` + newUID() +
			`","updatedTs":"1999-01-01T00:00:00.000Z","sync":{"version":99,"isDeleted":true,` +
			`"deletedAt":"1999-01-01T00:00:00.000Z","x":1}`
		created := u.call(t, "POST", e.path(), object(forged, parent)).
			want(t, 201).
			item(t)
			// item() compares with the envelope
		it := created
		for _, method := range []string{"PUT", "PATCH"} {
			other := strings.Replace(forged, it.UID, newUID(), 1)
			next := u.call(t, method, e.path("/", it.UID), object(other, parent)).
				want(t, 200).
				item(t)
			if next.UID != created.UID || next.Version != it.Version+1 || next.DeletedAt != nil {
				t.Errorf("%s with forged members: %+v", method, next)
			}
			it = next
		}
		// Nonsense in their place is no error either.
		u.call(t, "PATCH", e.path("/", it.UID), `{"uid":7,"updatedTs":{},"sync":"no"}`).
			want(t, 200).
			item(t)
		u.call(
			t, "PUT", e.path("/", it.UID), object(`"uid":null,"updatedTs":[],"sync":[]`, parent),
		).want(t, 200).item(t)
		listed := u.list(t, e, "").items
		if len(listed) != 1 || listed[0].Version != 5 {
			t.Errorf("want one item at version 5, got %+v", listed)
		}
		if strings.Contains(string(listed[0].Payload), "1999-01-01T") ||
			strings.Contains(string(listed[0].Payload), `"x"`) {
			t.Errorf("forged members were kept: %s", listed[0].Payload)
		}
	})
}

func TestAnItemThatNeverExistedIs404(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		for _, r := range e.itemRoutes(newUID(), e.parent(t, u)) {
			r.call(t, u).check(t, 404)
		}
		u.call(t, "GET", e.path("/", newUID(), "?includeDeleted=true"), nil).want(t, 404)
		// The uid of an item of another entity is unknown here.
		other := entityNamed("tasks")
		if e.name == "tasks" {
			other = entityNamed("notes")
		}
		u.call(t, "GET", e.path("/", u.create(t, other).UID), nil).want(t, 404)
	})
}

func TestAnInvalidUIDIs400(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		it := u.create(t, e)
		for _, uid := range []string{
			"x", "123", "null", it.UID[:35], it.UID + "0", strings.ReplaceAll(it.UID, "-", ""),
			"%7B" + it.UID + "%7D", "urn:uuid:" + it.UID, it.UID[:35] + "g", "%20" + it.UID,
			it.UID + "%20", it.UID + "%00",
			"%F0%9F%98%80", strings.Repeat("a", 2000), "'%20OR%201=1--",
			strings.ReplaceAll(it.UID, "-", "%E2%80%90"),
		} {
			for _, r := range e.itemRoutes(uid, "") {
				r.call(t, u).check(t, 400)
			}
		}
	})
}

func TestAUIDInUpperCaseIsTheSameItem(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		parent := e.parent(t, u)
		it := u.call(
			t, "POST", e.path(), object(`"uid":"abcdef00-1234-4abc-8def-`+randomHex(6)+`"`, parent),
		).want(t, 201).item(t)
		upper := strings.ToUpper(it.UID)
		for _, r := range e.itemRoutes(upper, parent) {
			if r.name == "delete" {
				continue
			}
			if got := r.call(t, u).want(t, 200).item(t); got.UID != it.UID {
				t.Errorf("%s of %s answered %s", r.name, upper, got.UID)
			}
		}
		if got := u.remove(t, e, upper); got.UID != it.UID {
			t.Errorf("delete of %s answered %s", upper, got.UID)
		}
	})
}
