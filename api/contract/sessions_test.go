package contract

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

type syncSession struct {
	ID, UserID, CreatedAt, ExpiresAt string
	Epoch                            int64
}

func TestASessionIsOpenedReadAndEnded(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		u := api.withoutSession(freshName("tenant"), freshName("user"))
		for _, body := range []any{nil, `{}`} {
			a := u.call(t, "POST", "/v1/sync/sessions", body).want(t, 201)
			var s syncSession
			a.decode(t, &s)
			if a.header.Get("X-Sync-Epoch") != "1" || s.Epoch != 1 {
				t.Errorf("epochs start at 1\n%s", a)
			}
			if s.UserID != u.sub {
				t.Errorf("userId %q, want the token's sub %q", s.UserID, u.sub)
			}
			for _, text := range []string{s.CreatedAt, s.ExpiresAt} {
				if err := checkTime(text); err != nil {
					t.Errorf("%v\n%s", err, a)
				}
			}
			if lives := instant(s.ExpiresAt).Sub(instant(s.CreatedAt)); lives != 30*time.Minute {
				t.Errorf("a session lives %s, want 30 minutes\n%s", lives, a)
			}
			if age := time.Since(instant(s.CreatedAt)); age.Abs() > time.Minute {
				t.Errorf("createdAt is %s ago\n%s", age, a)
			}

			path := "/v1/sync/sessions/" + s.ID
			got := u.call(t, "GET", path, nil).want(t, 200)
			if spelled(got.body) != spelled(a.body) {
				t.Errorf("opening answered\n%s\nreading\n%s", a, got)
			}
			session := []edit{with("X-Sync-Session", s.ID), with("X-Sync-Epoch", "1")}
			u.call(t, "GET", "/v1/notes", nil, session...).want(t, 200)

			if ended := u.call(t, "DELETE", path, nil).want(t, 204); len(ended.body) > 0 {
				t.Errorf("204 with a body\n%s", ended)
			}
			u.call(t, "GET", path, nil).want(t, 404)
			u.call(t, "DELETE", path, nil).want(t, 404)
			u.call(t, "GET", "/v1/notes", nil, session...).want(t, 428)
		}
	})
}

func TestASessionCanBeEndedAfterItsTokensTimeAndNothingElse(t *testing.T) {
	oursOnly(t, "they end no session with a token that has expired")
	onEach(t, func(t *testing.T, api *server) {
		u := api.user(t)
		expired := func(sub string, minutes int64) edit {
			return with(
				"Authorization",
				"Bearer "+signHS256(
					api.jwtSecret,
					goodClaims(sub).and("exp", time.Now().Unix()-minutes*60),
				),
			)
		}
		path := "/v1/sync/sessions/" + u.session
		for _, r := range []route{
			{"", "GET", path, ""},
			{"", "POST", "/v1/sync/sessions", ""},
			{"", "GET", "/v1/notes", ""},
			{"", "DELETE", "/v1/notes/0192f0c8-7b1a-7cc0-8a1e-3f2b6f0d9a11", ""},
		} {
			if a := r.call(t, u, expired(u.sub, 5)); a.status != 401 {
				t.Errorf("a token that has expired is taken\n%s", a)
			}
		}
		u.call(t, "DELETE", path, nil, expired(u.sub, 32)).want(t, 401)
		u.call(t, "DELETE", path, nil, expired(freshName("user"), 5)).want(t, 403)
		u.call(t, "GET", "/v1/notes", nil).want(t, 200)
		u.call(t, "DELETE", path, nil, expired(u.sub, 29)).want(t, 204)
		u.call(t, "GET", "/v1/notes", nil).want(t, 428)
	})
}

func TestAUserMayHaveSeveralSessions(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		u := api.user(t)
		first := u.session
		u.open(t)
		if first == u.session {
			t.Fatal("two sessions with one id")
		}
		u.call(t, "DELETE", "/v1/sync/sessions/"+first, nil).want(t, 204)
		u.call(t, "GET", "/v1/notes", nil, with("X-Sync-Session", first)).want(t, 428)
		u.call(t, "GET", "/v1/notes", nil).want(t, 200)
	})
}

func TestAnEntityCallWithoutALiveSessionIs428(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		parent := e.parent(t, u)
		it := u.create(t, e)
		before := u.raw(t, e, it.UID)
		for _, r := range e.routes(it.UID, parent) {
			r.call(t, u, without("X-Sync-Session")).check(t, 428)
			for _, id := range []string{
				"", "x", newUID(), u.session + "x", u.session[:len(u.session)-1], "null",
				"../" + u.session, "' OR 1=1--", "%00", "é",
				strings.Repeat("a", 5000),
			} {
				r.call(t, u, with("X-Sync-Session", id)).check(t, 428)
			}
		}
		if after := u.raw(t, e, it.UID); after != before {
			t.Errorf("refused calls changed the item\n%s\n%s", before, after)
		}
	})
}

func TestASessionOfAnotherUserIs403(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		owner := api.user(t)
		others := []*user{api.userOf(t, owner.tenant, freshName("user"))}
		if api.tenantSecret != "" {
			others = append(
				others,
				api.userOf(t, freshName("tenant"), owner.sub),
			) // same sub, so still another user
		}
		for _, other := range others {
			for _, e := range entities {
				for _, r := range e.routes(newUID(), `"parentType":"note"`) {
					r.call(t, other, with("X-Sync-Session", owner.session)).check(t, 403)
				}
			}
			path := "/v1/sync/sessions/" + owner.session
			other.call(t, "GET", path, nil).check(t, 403)
			other.call(t, "DELETE", path, nil).check(t, 403)
			other.call(t, "GET", "/v1/sync/state", nil, with("X-Sync-Session", owner.session)).
				check(t, 403)
		}
		owner.call(t, "GET", "/v1/notes", nil).want(t, 200)
		owner.call(t, "GET", "/v1/sync/sessions/"+owner.session, nil).want(t, 200)
	})
}

func TestAnUnknownSessionIs404(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		u := api.user(t)
		for _, id := range []string{
			newUID(), "x", "0", "null", "%20", "%00", "%C3%A9", "'--", u.session + "0",
			strings.Repeat("a", 3000),
		} {
			u.call(t, "GET", "/v1/sync/sessions/"+id, nil).check(t, 404)
			u.call(t, "DELETE", "/v1/sync/sessions/"+id, nil).check(t, 404)
		}
		u.call(t, "GET", "/v1/notes", nil).want(t, 200)
	})
}

func TestAnotherEpochIs409AndTheServersIsTold(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		u.wipe(t)
		u.open(t)
		if u.epoch != 2 {
			t.Fatalf("epoch %d after one wipe, want 2", u.epoch)
		}
		parent := e.parent(t, u)
		it := u.create(t, e)
		before := u.raw(t, e, it.UID)
		for _, r := range e.routes(it.UID, parent) {
			for _, epoch := range [][]string{
				{"1"}, {"0"}, nil, {"3"}, {"9223372036854775807"}, {"99999999999999999999"}, {""},
				{"-2"}, {"x"}, {"2.0"}, {"2e0"},
				{"0x2"}, {`"2"`}, {"2 2"}, {"2,2"}, {"２"}, {"null"}, {"+2"}, {"02"}, {"2", "2"},
			} {
				a := r.call(t, u, with("X-Sync-Epoch", epoch...))
				if !a.check(t, 409) {
					continue
				}
				var body struct {
					Error string
					Epoch int64
				}
				a.decode(t, &body)
				if body.Error != "epoch_mismatch" || body.Epoch != 2 ||
					a.header.Get("X-Sync-Epoch") != "2" {
					t.Errorf("want epoch_mismatch with epoch 2 in body and header\n%s", a)
				}
			}
		}
		if after := u.raw(t, e, it.UID); after != before {
			t.Errorf("refused calls changed the item\n%s\n%s", before, after)
		}
	})
}

// wipe removes all that the user has; its sessions end with it.
func (u *user) wipe(t testing.TB) *answer {
	t.Helper()
	return u.call(t, "POST", "/v1/sync/wipe", `{"confirm":"WIPE"}`, without("X-Sync-Epoch")).
		want(t, 200)
}

func TestWipeDeletesEverythingOfOneUser(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		u := api.user(t)
		bystanders := []*user{
			api.userOf(t, u.tenant, freshName("user")),
			api.userOf(t, freshName("tenant"), freshName("user")),
		}
		if api.tenantSecret != "" {
			bystanders = append(bystanders, api.userOf(t, freshName("tenant"), u.sub))
		}
		theirs := map[*user]map[string]string{}
		for _, b := range bystanders {
			theirs[b] = map[string]string{}
			for _, e := range entities {
				theirs[b][e.name] = b.create(t, e).UID
			}
		}
		before := map[*user]map[string]string{}
		for b, uids := range theirs {
			before[b] = map[string]string{}
			for name, uid := range uids {
				before[b][name] = b.raw(t, entityNamed(name), uid)
			}
		}

		mine := map[string][]string{}
		want := map[string]int{"note": 1, "chat": 1} // the parents below
		comment := entityNamed("comments").parent(t, u)
		message := entityNamed("chat_messages").parent(t, u)
		for i, e := range entities {
			for range i + 2 {
				parent := ""
				switch e.name {
				case "comments":
					parent = comment
				case "chat_messages":
					parent = message
				}
				mine[e.name] = append(
					mine[e.name],
					u.call(t, "POST", e.path(), object(parent)).want(t, 201).item(t).UID,
				)
				want[e.key]++
			}
		}
		second := *u
		second.open(t)

		var result struct {
			Epoch   int64
			Deleted map[string]int
		}
		u.wipe(t).decode(t, &result)
		if result.Epoch != 2 {
			t.Errorf("epoch %d after the first wipe, want 2", result.Epoch)
		}
		for _, e := range entities {
			if n, there := result.Deleted[e.key]; !there || n != want[e.key] {
				t.Errorf("deleted.%s is %d, want %d", e.key, n, want[e.key])
			}
		}

		// All of the user's sessions are over.
		for _, session := range []*user{u, &second} {
			session.call(t, "GET", "/v1/notes", nil).want(t, 428)
			session.call(t, "GET", "/v1/sync/sessions/"+session.session, nil).want(t, 404)
		}
		u.open(t)
		if u.epoch != 2 {
			t.Errorf("a session after the wipe has epoch %d, want 2", u.epoch)
		}
		for _, e := range entities {
			if n := len(u.list(t, e, "includeDeleted=true").items); n != 0 {
				t.Errorf("%d %s are left after the wipe", n, e.name)
			}
			u.call(t, "GET", e.path("/", mine[e.name][0]), nil).want(t, 404)
		}
		// The rows are gone, so their uids are free again.
		u.call(t, "POST", "/v1/notes", `{"uid":"`+mine["notes"][0]+`"}`).want(t, 201)

		for b, uids := range theirs {
			for name, uid := range uids {
				if after := b.raw(t, entityNamed(name), uid); after != before[b][name] {
					t.Errorf(
						"the wipe changed %s of someone else\n%s\n%s",
						name,
						before[b][name],
						after,
					)
				}
			}
			b.call(t, "GET", "/v1/sync/state", nil).want(t, 200)
		}

		// A second wipe finds what came after the first.
		u.wipe(t).decode(t, &result)
		if result.Epoch != 3 || result.Deleted["note"] != 1 || result.Deleted["task"] != 0 {
			t.Errorf("second wipe: %+v", result)
		}
	})
}

func TestWipeNeedsConfirmation(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		u := api.user(t)
		note := entityNamed("notes")
		it := u.create(t, note)
		before := u.raw(t, note, it.UID)
		for _, body := range []any{
			nil, "", `{}`, `{"confirm":""}`, `{"confirm":"wipe"}`, `{"confirm":"WIPE "}`,
			`{"confirm":true}`, `{"confirm":null}`,
			`{"confirm":["WIPE"]}`, `{"confirm":"YES"}`, `"WIPE"`, `WIPE`, `["WIPE"]`, `null`,
			`{"confirm":"WIPE"`, `{"confirm":"WIPE"} x`,
			`{"CONFIRM":"WIPE"}`,
		} {
			u.call(t, "POST", "/v1/sync/wipe", body).check(t, 400)
		}
		if after := u.raw(t, note, it.UID); after != before {
			t.Errorf("a refused wipe changed the item\n%s\n%s", before, after)
		}
		got := u.call(t, "GET", "/v1/sync/state", nil).want(t, 200).field(t, "epoch")
		if got != "1" {
			t.Errorf("epoch %s after refused wipes, want 1", got)
		}
	})
}

func TestStateTellsTheEpochAndTheLastWipe(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		u := api.user(t)
		type state struct {
			Epoch                  int64
			LastWipeAt, LastWipeBy *string
		}
		read := func(edits ...edit) (s state, a *answer) {
			t.Helper()
			a = u.call(t, "GET", "/v1/sync/state", nil, edits...).want(t, 200)
			a.decode(t, &s)
			return s, a
		}
		if s, a := read(); s.Epoch != 1 || s.LastWipeAt != nil || s.LastWipeBy != nil {
			t.Errorf("a new user has epoch 1 and no wipe\n%s", a)
		}
		for round := int64(2); round < 5; round++ {
			u.wipe(t)
			u.open(t)
			// Neither needs an epoch, and a wrong one does no harm.
			for _, e := range []edit{
				without("X-Sync-Epoch"), with("X-Sync-Epoch", "1"), with("X-Sync-Epoch", "x"),
			} {
				s, a := read(e)
				if s.Epoch != round || s.LastWipeAt == nil || s.LastWipeBy == nil ||
					*s.LastWipeBy == "" {
					t.Fatalf("want epoch %d, lastWipeAt and lastWipeBy\n%s", round, a)
				}
				if err := checkTime(*s.LastWipeAt); err != nil {
					t.Errorf("%v\n%s", err, a)
				}
				if age := time.Since(instant(*s.LastWipeAt)); age.Abs() > time.Minute {
					t.Errorf("lastWipeAt is %s ago\n%s", age, a)
				}
			}
		}
		u.call(t, "POST", "/v1/sync/wipe", `{"confirm":"WIPE"}`, with("X-Sync-Epoch", "garbage")).
			want(t, 200)
		u.open(t)
		if s, a := read(); s.Epoch != 5 {
			t.Errorf("want epoch 5\n%s", a)
		}
	})
}

// However many wipes run at once, each one that succeeds raises the epoch by one.
func TestConcurrentWipesRaiseTheEpochOneByOne(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		u := api.user(t)
		sessions := make([]user, 8)
		for i := range sessions {
			sessions[i] = *u
			sessions[i].open(t)
		}
		results := allAtOnce(len(sessions), func(i int) *answer {
			return sessions[i].call(t, "POST", "/v1/sync/wipe", `{"confirm":"WIPE"}`)
		})
		wiped := len(results[200])
		if wiped < 1 || wiped+len(results[428]) != len(sessions) {
			t.Errorf("want 200 at least once and else 428, got %s", counts(results))
		}
		epochs := map[string]bool{}
		for _, a := range results[200] {
			epochs[a.field(t, "epoch")] = true
		}
		u.open(t)
		if len(epochs) != wiped || u.epoch != int64(1+wiped) ||
			!epochs[strconv.FormatInt(u.epoch, 10)] {
			t.Errorf("%d wipes gave the epochs %v and left %d", wiped, epochs, u.epoch)
		}
	})
}

// A write that runs into a wipe comes before it and is wiped, or is refused; it never outlives the
// wipe.
func TestNoWriteOfAnOldEpochOutlivesAWipe(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		u := api.user(t)
		for range 5 {
			old := *u
			results := allAtOnce(32, func(i int) *answer {
				if i == 16 {
					return old.call(t, "POST", "/v1/sync/wipe", `{"confirm":"WIPE"}`)
				}
				return old.call(t, "POST", "/v1/notes", `{}`)
			})
			if len(results[200]) != 1 ||
				1+len(results[201])+len(results[409])+len(results[428]) != 32 {
				t.Fatalf(
					"want one 200, and 201, 409 or 428 from all others, got %s",
					counts(results),
				)
			}
			u.open(t)
			left := u.list(t, entityNamed("notes"), "includeDeleted=true").items
			if len(left) != 0 {
				t.Errorf("%d notes of epoch %d are left in epoch %d", len(left), old.epoch, u.epoch)
			}
		}
	})
}
