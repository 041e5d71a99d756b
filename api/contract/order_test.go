package contract

import (
	"strconv"
	"testing"
)

// JWT (401), tenant headers (401, then 403), session (428, 403), epoch (409), then the route. The
// place of the rate limit in this order is shown with the rate limit itself.
func TestOrderOfChecks(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		u := api.user(t)
		other := api.userOf(t, u.tenant, freshName("user"))
		sessionless := api.withoutSession(u.tenant, u.sub)
		e := entityNamed("notes")

		noToken := without("Authorization")
		badTenant := with("X-TB-Signature", "00")
		otherTenant := with(
			"Authorization",
			"Bearer "+signHS256(api.jwtSecret, goodClaims(u.sub).and("tenant_id", "another")),
		)
		noSession := without("X-Sync-Session")
		othersSession := with("X-Sync-Session", other.session)
		badEpoch := with("X-Sync-Epoch", strconv.FormatInt(u.epoch+7, 10))

		places := []route{
			{"list", "GET", e.path(), ""},
			{"create", "POST", e.path(), `{"title":"x"}`},
			{"malformed body", "POST", e.path(), `[`},
			{"bad limit", "GET", e.path("?limit=x"), ""},
			{"invalid uid", "GET", e.path("/x"), ""},
			{"unknown item", "GET", e.path("/", newUID()), ""},
			{"wrong method", "PUT", e.path(), `{}`},
			{"wrong method of an item", "POST", e.path("/", newUID()), `{}`},
		}
		if !family {
			places = append(
				places,
				route{"search", "POST", "/v1/search", `{"query":"x"}`},
				route{"malformed search", "POST", "/v1/search", `{"query":"("}`},
				route{"overview", "GET", "/v1/overview", ""},
			)
		}
		tokenText := u.call(t, "GET", e.path(), nil, noToken).want(t, 401).errorText(t)
		for _, place := range places {
			if a := place.call(t, u, noToken, badTenant, noSession, badEpoch); a.check(t, 401) &&
				a.errorText(t) != tokenText {
				t.Errorf(
					"%s: with no token and bad tenant headers, the token comes first (%q)\n%s",
					place.name,
					tokenText,
					a,
				)
			}
			if api.tenantSecret != "" {
				place.call(t, u, badTenant, otherTenant, noSession, badEpoch).check(t, 401)
				place.call(t, u, otherTenant, noSession, badEpoch).check(t, 403)
				place.call(t, u, badTenant, othersSession, badEpoch).check(t, 401)
			}
			place.call(t, u, noSession, badEpoch).check(t, 428)
			place.call(t, u, othersSession, badEpoch).check(t, 403)
			place.call(t, u, badEpoch).check(t, 409)
		}
		statuses := []int{200, 201, 400, 400, 400, 404, 405, 405, 200, 400, 200}
		for i, status := range statuses[:len(places)] {
			places[i].call(t, u).check(t, status)
		}

		// The routes of sessions need the token and the tenant, and wipe and state a session,
		// before anything else.
		for _, r := range []route{
			{"", "POST", "/v1/sync/sessions", ""},
			{"", "GET", "/v1/sync/sessions/" + u.session, ""},
			{"", "DELETE", "/v1/sync/sessions/" + u.session, ""},
			{"", "GET", "/v1/sync/state", ""},
			{"", "POST", "/v1/sync/wipe", `{"confirm":"WIPE"}`},
			{"", "GET", "/v1/nothing", ""},
		} {
			r.call(t, u, noToken).check(t, 401)
			if api.tenantSecret != "" {
				r.call(t, u, badTenant, otherTenant).check(t, 401)
				r.call(t, u, otherTenant).check(t, 403)
			}
		}
		for _, body := range []string{`{"confirm":"WIPE"}`, `{}`, `[`} {
			sessionless.call(t, "POST", "/v1/sync/wipe", body).check(t, 428)
			u.call(t, "POST", "/v1/sync/wipe", body, othersSession).check(t, 403)
		}
		sessionless.call(t, "GET", "/v1/sync/state", nil).check(t, 428)
		u.call(t, "GET", "/v1/sync/state", nil, othersSession).check(t, 403)
	})
}

// Path and body (400, 413), existence (404, 410), If-Match (412), parent (422).
func TestOrderOfChecksOfOneItem(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		parent := e.parent(t, u)
		live := u.create(t, e)
		dead := u.create(t, e)
		u.remove(t, e, dead.UID)
		wrong := ifMatch(77)

		for _, uid := range []string{newUID(), dead.UID} {
			for _, method := range []string{"PUT", "PATCH"} {
				u.call(t, method, e.path("/", uid), `[]`, wrong).check(t, 400)
				u.call(t, method, e.path("/", uid), `{`, wrong).check(t, 400)
			}
			u.call(t, "POST", e.path("/", uid, "/process"), `{"action":"explode"}`, wrong).
				wantError(t, 400, "invalid action: explode")
			u.call(
				t, "POST", e.path("/", uid, "/process"),
				`{"action":"`+e.actions[0].name+`","metadata":[]}`,
			).check(t, 400)
		}
		u.call(t, "PUT", e.path("/x"), `[]`, wrong).check(t, 400)

		// Existence comes before If-Match, and both before the parent, which these bodies name
		// wrongly.
		badParent := `{"parentType":"chat","parentUid":"x","chatUid":"x"}`
		for _, method := range []string{"PUT", "PATCH"} {
			u.call(t, method, e.path("/", newUID()), badParent, wrong).check(t, 404)
			u.call(t, method, e.path("/", dead.UID), badParent, wrong).check(t, 410)
			u.call(t, method, e.path("/", live.UID), badParent, wrong).check(t, 412)
			if parent != "" {
				u.call(t, method, e.path("/", live.UID), badParent, ifMatch(1)).
					wantParent(t, "parentType", "parentUid", "chatUid")
			}
		}
		for _, r := range e.writeRoutes(newUID(), parent) {
			r.call(t, u, wrong).check(t, 404)
		}
		for _, r := range e.writeRoutes(dead.UID, parent) {
			r.call(t, u, wrong).check(t, 410)
		}
		if got := u.get(t, e, live.UID); got.Version != 1 {
			t.Errorf("refused writes raised the version to %d", got.Version)
		}
	})
}
