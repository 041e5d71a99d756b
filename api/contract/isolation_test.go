package contract

import (
	"strings"
	"testing"
)

// Two tenants with the same two subs each: four users that have nothing in common.
func fourUsers(t *testing.T, api *server) map[string]*user {
	tenants := [2]string{freshName("tenant"), freshName("tenant")}
	subs := [2]string{freshName("user"), freshName("user")}
	users := map[string]*user{
		"tenant A, user 1": api.userOf(t, tenants[0], subs[0]),
		"tenant A, user 2": api.userOf(t, tenants[0], subs[1]),
	}
	if api.tenantSecret == "" {
		omit(t.Name() + ": one tenant only, the server does not check tenant headers")
		return users
	}
	users["tenant B, user 1"] = api.userOf(t, tenants[1], subs[0])
	users["tenant B, user 2"] = api.userOf(t, tenants[1], subs[1])
	return users
}

func TestItemsOfOthersAreNotFound(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		users := fourUsers(t, api)
		type ownItems struct{ live, dead, parent, liveRaw, deadRaw string }
		has := map[string]ownItems{}
		for name, u := range users {
			p := ownItems{parent: e.parent(t, u)}
			p.live = u.call(t, "POST", e.path(), object(`"title":"of `+name+`"`, p.parent)).
				want(t, 201).
				item(t).
				UID
			p.dead = u.call(t, "POST", e.path(), object(`"title":"late, of `+name+`"`, p.parent)).
				want(t, 201).
				item(t).
				UID
			u.remove(t, e, p.dead)
			p.liveRaw, p.deadRaw = u.raw(t, e, p.live), u.raw(t, e, p.dead)
			has[name] = p
		}
		for attacker, u := range users {
			for victim, theirs := range has {
				if attacker == victim {
					continue
				}
				for _, uid := range []string{
					theirs.live, theirs.dead, strings.ToUpper(theirs.live),
				} {
					for _, r := range e.itemRoutes(uid, has[attacker].parent) {
						r.call(t, u).check(t, 404)
						if r.method != "GET" {
							r.call(t, u, ifMatch(1)).check(t, 404)
							r.call(t, u, ifMatch(9)).check(t, 404)
						}
					}
					u.call(t, "GET", e.path("/", uid, "?includeDeleted=true"), nil).check(t, 404)
				}
				// Tenant and user cannot be talked into being others by what a caller may write
				// freely.
				if api.tenantSecret != "" {
					u.call(
						t, "GET", e.path("/", theirs.live), nil,
						with("X-Tenant-ID", users[victim].tenant),
						with("X-User-ID", users[victim].sub),
						with("X-TB-User-ID", users[victim].sub),
					).check(t, 404)
				}
			}
		}
		for name, u := range users {
			if got := u.raw(t, e, has[name].live); got != has[name].liveRaw {
				t.Errorf("the item of %s changed\n%s\n%s", name, has[name].liveRaw, got)
			}
			if got := u.raw(t, e, has[name].dead); got != has[name].deadRaw {
				t.Errorf("the tombstone of %s changed\n%s\n%s", name, has[name].deadRaw, got)
			}
			for _, query := range []string{
				"", "includeDeleted=true", "limit=1000&includeDeleted=true",
			} {
				want := map[string]bool{has[name].live: true, has[name].dead: query != ""}
				for _, it := range u.list(t, e, query).items {
					if !want[it.UID] {
						t.Errorf("list?%s of %s shows %s", query, name, it.UID)
					}
					delete(want, it.UID)
				}
				if want[has[name].live] || want[has[name].dead] {
					t.Errorf("list?%s of %s misses %v", query, name, want)
				}
			}
		}
	})
}

func TestTheSameUIDMayBeUsedByEveryUser(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		users := fourUsers(t, api)
		uid := newUID()
		parents := map[string]string{}
		for name, u := range users {
			parents[name] = e.parent(t, u)
			u.call(
				t, "POST", e.path(), object(`"uid":"`+uid+`","title":"of `+name+`"`, parents[name]),
			).want(t, 201)
		}
		for name, u := range users {
			u.get(t, e, uid).wantMember(t, "title", `"of `+name+`"`)
		}
		// Each writes their own, and finds it at the version that their own writes gave it.
		for name, u := range users {
			for _, w := range e.writeRoutes(uid, parents[name]) {
				w.call(t, u, ifMatch(u.version(t, e, uid))).want(t, 200)
			}
			u.call(t, "GET", e.path("/", uid), nil).want(t, 410)
			want := int64(1 + len(e.writeRoutes(uid, "")))
			if got := u.version(t, e, uid); got != want {
				t.Errorf("%s ends at version %d, want %d", name, got, want)
			}
		}
	})
}

func (u *user) version(t testing.TB, e entity, uid string) int64 {
	t.Helper()
	return u.call(t, "GET", e.path("/", uid, "?includeDeleted=true"), nil).
		want(t, 200).
		item(t).
		Version
}

func TestATokenOfAnotherTenantIs403(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		if api.tenantSecret == "" {
			leaveOut(t, "the server does not check tenant headers")
		}
		u := api.user(t)
		claim := func(value any) edit {
			return with(
				"Authorization",
				"Bearer "+signHS256(api.jwtSecret, goodClaims(u.sub).and("tenant_id", value)),
			)
		}
		// The claim may be there, and must then agree.
		u.call(t, "GET", "/v1/notes", nil, claim(u.tenant)).want(t, 200)
		for _, other := range []any{
			"another", u.tenant + " ", u.tenant + "x", u.tenant[:len(u.tenant)-1],
			strings.ToUpper(u.tenant),
		} {
			for _, e := range entities {
				for _, r := range e.routes(newUID(), "") {
					r.call(t, u, claim(other)).check(t, 403)
				}
			}
			for _, r := range []route{
				{"", "POST", "/v1/sync/sessions", ""},
				{"", "GET", "/v1/sync/sessions/" + u.session, ""},
				{"", "DELETE", "/v1/sync/sessions/" + u.session, ""},
				{"", "GET", "/v1/sync/state", ""},
				{"", "POST", "/v1/sync/wipe", `{"confirm":"WIPE"}`},
			} {
				r.call(t, u, claim(other)).check(t, 403)
			}
		}
		// A claim that is no text cannot agree with a header. Whether the token or the tenant is at
		// fault, it is refused.
		for _, odd := range []any{7, []string{u.tenant}, map[string]any{"id": u.tenant}, true} {
			u.call(t, "GET", "/v1/notes", nil, claim(odd)).check(t, 401, 403)
		}
		u.call(t, "GET", "/v1/sync/sessions/"+u.session, nil).want(t, 200)
	})
}
