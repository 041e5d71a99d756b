package contract

import (
	"strconv"
	"testing"
	"time"
)

// number is a header that must be a whole number.
func (a *answer) number(t *testing.T, name string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(a.header.Get(name), 10, 64)
	if err != nil {
		t.Errorf("%s is %q, want a whole number\n%s", name, a.header.Get(name), a)
	}
	return n
}

// Sessions live for half an hour, so opening them has a bucket of its own.
func TestOpeningSessionsIsLimitedToo(t *testing.T) {
	onOwn(
		t,
		settings{"RATE_LIMIT_PER_MINUTE": "4", "RATE_LIMIT_BURST": "3"},
		func(t *testing.T, api *server) {
			if family {
				leaveOut(t, "the limit of opening sessions")
			}
			u := api.user(t) // opens one
			for range 2 {
				u.call(t, "POST", "/v1/sync/sessions", nil).want(t, 201)
			}
			a := u.call(t, "POST", "/v1/sync/sessions", nil).want(t, 429)
			if after := a.number(t, "Retry-After"); after < 1 || after > 15 {
				t.Errorf("Retry-After %d, want 1 to 15\n%s", after, a)
			}
			u.call(t, "GET", "/v1/notes", nil).want(t, 200)
			u.call(t, "DELETE", "/v1/sync/sessions/"+u.session, nil).want(t, 204)
			api.user(t) // other users are not affected
		},
	)
}

func TestTheRateLimitIsATokenBucketPerUser(t *testing.T) {
	const perMinute, burst = 4, 6 // a token every 15 seconds
	onOwn(
		t,
		settings{"RATE_LIMIT_PER_MINUTE": "4", "RATE_LIMIT_BURST": "6"},
		func(t *testing.T, api *server) {
			u := api.user(t)
			neighbour := api.userOf(t, u.tenant, freshName("user"))
			namesake := api.userOf(t, freshName("tenant"), u.sub)

			// The routes of sessions and the state are not limited, so they take no token.
			for range 2 * burst {
				u.call(t, "GET", "/v1/sync/state", nil).want(t, 200)
				u.call(t, "GET", "/v1/sync/sessions/"+u.session, nil).want(t, 200)
			}
			// All entities and methods draw on one bucket.
			started := time.Now()
			uid := u.note(t)
			for i := range burst - 1 {
				entities[i%len(entities)].routes(uid, "")[0].call(t, u).want(t, 200)
			}
			limited := func(edits ...edit) *answer {
				t.Helper()
				return u.call(t, "PATCH", "/v1/notes/"+uid, `{"title":"never"}`, edits...)
			}
			a := limited().want(t, 429)
			for _, e := range entities {
				for _, r := range e.routes(uid, "") {
					r.call(t, u).check(t, 429)
				}
			}
			if spent := time.Since(started); spent > 14*time.Second {
				leaveOut(t, "this machine took "+spent.String()+"; tokens may have come back")
			}

			if got := a.number(t, "X-RateLimit-Limit"); got != perMinute {
				t.Errorf("X-RateLimit-Limit %d, want %d\n%s", got, perMinute, a)
			}
			if got := a.number(t, "X-RateLimit-Burst"); got != burst {
				t.Errorf("X-RateLimit-Burst %d, want %d\n%s", got, burst, a)
			}
			if got := a.number(t, "X-RateLimit-Remaining"); got != 0 {
				t.Errorf("X-RateLimit-Remaining %d, want 0\n%s", got, a)
			}
			if got := a.number(t, "Retry-After"); got < 1 || got > 15 {
				t.Errorf(
					"Retry-After %d, want 1 to 15 seconds: one token comes every 15\n%s",
					got,
					a,
				)
			}
			// Reset may be a number of seconds or a Unix time; either way it lies ahead, no further
			// than a full bucket.
			reset := a.number(t, "X-RateLimit-Reset")
			if now := time.Now().Unix(); reset > now-3600 {
				reset -= now
			}
			if reset < 0 || reset > 15*burst+1 {
				t.Errorf(
					"X-RateLimit-Reset lies %d seconds ahead, want at most %d\n%s",
					reset,
					15*burst,
					a,
				)
			}

			// Order: token, tenant, session, then the rate limit, then the epoch and the route.
			limited(without("Authorization")).want(t, 401)
			limited(with("X-TB-Signature", "00")).want(t, 401)
			limited(without("X-Sync-Session")).want(t, 428)
			limited(with("X-Sync-Session", neighbour.session)).want(t, 403)
			limited(with("X-Sync-Epoch", "9")).want(t, 429)
			u.call(t, "GET", "/v1/notes?limit=x", nil).want(t, 429)
			u.call(t, "PATCH", "/v1/notes/x", `[`).want(t, 429)

			// What was refused changed nothing, and others are not limited by it.
			neighbour.call(t, "GET", "/v1/notes", nil).want(t, 200)
			namesake.call(t, "GET", "/v1/notes", nil).want(t, 200)
			u.call(t, "GET", "/v1/sync/state", nil).want(t, 200)
			api.anonymous(t, "GET", "/v1/sync/info").want(t, 200)
		},
	)
}

func TestTheRateLimitIs600AMinuteWithABurstOf120(t *testing.T) {
	onOwn(t, nil, func(t *testing.T, api *server) {
		u := api.user(t)
		started := time.Now()
		passed := 0
		for passed < 2_000 {
			a := u.call(t, "GET", "/v1/notes", nil)
			if a.status == 429 {
				limit, burst := a.number(t, "X-RateLimit-Limit"), a.number(t, "X-RateLimit-Burst")
				if limit != 600 ||
					burst != 120 {
					t.Errorf("limit %d and burst %d, want 600 and 120\n%s", limit, burst, a)
				}
				if got := a.number(t, "Retry-After"); got != 1 {
					t.Errorf("Retry-After %d, want 1: a token comes every 0.1 seconds\n%s", got, a)
				}
				break
			}
			a.want(t, 200)
			passed++
		}
		// Ten tokens a second came back while the bucket was emptied.
		if most := 121 + int(10*time.Since(started).Seconds()); passed < 120 || passed > most {
			t.Errorf("%d calls passed, want 120 to %d", passed, most)
		}
	})
}
