package contract

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestTheCorrelationIDIsEchoedOrMadeUp(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		u := api.user(t)
		e := entityNamed("notes")
		// One call for each place that an answer can come from; that body and header agree is
		// checked for every call.
		places := []struct {
			name   string
			status int
			call   func(edits ...edit) *answer
		}{
			{
				"success",
				200,
				func(edits ...edit) *answer { return u.call(t, "GET", e.path(), nil, edits...) },
			},
			{
				"health",
				200,
				func(edits ...edit) *answer {
					return api.anonymous(t, "GET", "/healthz", edits...)
				},
			},
			{
				"readiness",
				200,
				func(edits ...edit) *answer { return api.anonymous(t, "GET", "/readyz", edits...) },
			},
			{
				"info",
				200,
				func(edits ...edit) *answer {
					return api.anonymous(t, "GET", "/v1/sync/info", edits...)
				},
			},
			{"token", 401, func(edits ...edit) *answer {
				return u.call(t, "GET", e.path(), nil, append(edits, without("Authorization"))...)
			}},
			{"session", 428, func(edits ...edit) *answer {
				return u.call(t, "GET", e.path(), nil, append(edits, without("X-Sync-Session"))...)
			}},
			{"epoch", 409, func(edits ...edit) *answer {
				return u.call(t, "GET", e.path(), nil, append(edits, without("X-Sync-Epoch"))...)
			}},
			{
				"unknown path",
				404,
				func(edits ...edit) *answer {
					return u.call(t, "GET", "/v1/nothing", nil, edits...)
				},
			},
			{
				"unknown item",
				404,
				func(edits ...edit) *answer {
					return u.call(t, "GET", e.path("/", newUID()), nil, edits...)
				},
			},
			{
				"method",
				405,
				func(edits ...edit) *answer { return u.call(t, "PUT", e.path(), `{}`, edits...) },
			},
			{
				"body",
				400,
				func(edits ...edit) *answer { return u.call(t, "POST", e.path(), `[]`, edits...) },
			},
		}
		for _, place := range places {
			for _, id := range []string{
				"a", "Req-1.2_3:4", strings.Repeat("x", 128),
				"00000000-0000-0000-0000-000000000000",
			} {
				a := place.call(with("X-Correlation-ID", id)).want(t, place.status)
				if got := a.header.Get("X-Correlation-ID"); got != id {
					t.Errorf("%s: %q was echoed as %q", place.name, id, got)
				}
			}
			seen := map[string]bool{}
			for _, unusable := range []string{
				"", strings.Repeat("x", 129), "two words", "a/b", "ümlaut", "a,b", "{}", "a\tb",
				"<script>", strings.Repeat("y", 20_000),
			} {
				a := place.call(with("X-Correlation-ID", unusable)).want(t, place.status)
				got := a.header.Get("X-Correlation-ID")
				if got == unusable || seen[got] {
					t.Errorf(
						"%s: for the unusable %q the id %q was made up; want a fresh one",
						place.name,
						abbreviated([]byte(unusable)),
						got,
					)
				}
				seen[got] = true
			}
			if got := place.call().want(t, place.status).header.Get("X-Correlation-ID"); seen[got] {
				t.Errorf("%s: the made-up id %q comes a second time", place.name, got)
			}
		}
	})
}

func TestAnUnknownPathIs404(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		u := api.user(t)
		it := u.create(t, entityNamed("notes"))
		for _, path := range []string{
			"/", "/v1", "/v1/", "/v2/notes", "/notes", "/v1/note", "/v1/Notes", "/v1/users",
			"/v1/sync", "/v1/sync/nothing",
			"/v1/notes/" + it.UID + "/nothing", "/v1/notes/" + it.UID + "/archive/more",
			"/v1/notes/" + it.UID + "/process/pin",
			"/v1/sync/sessions/" + u.session + "/more", "/healthz/more", "/metrics",
			"/debug/pprof/", "/.env", "/favicon.ico",
			"/v1/chat-messages", "/v1/notes.json",
		} {
			for _, method := range []string{"GET", "POST", "DELETE"} {
				u.call(t, method, path, nil).check(t, 404)
			}
		}
	})
}

func TestPathTricksLeadNowhere(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		u := api.user(t)
		e := entityNamed("notes")
		it := u.create(t, e)
		before := u.raw(t, e, it.UID)
		for _, path := range []string{
			"//v1/notes", "/v1//notes", "/v1/notes//" + it.UID, "/v1/notes/",
			"/v1/notes/" + it.UID + "/",
			"/v1/./notes", "/v1/x/../notes", "/v1/notes/..", "/v1/notes/../tasks",
			"/v1/notes/%2e%2e", "/v1/notes/%2e%2e/tasks",
			"/v1/notes/%2E%2E%2Ftasks", "/v1/notes%2f" + it.UID, "/v1%2fnotes",
			"/v1/notes/" + it.UID + "%2farchive",
			"/v1/notes/" + it.UID + "/%61rchive/", "/v1/notes/" + it.UID + "//archive",
			"/v1/notes/" + it.UID + "/archive/",
			"/v1/notes/" + it.UID + ";x=1", "/v1/notes;x=1",
			"/v1/notes/" + it.UID + "%3fincludeDeleted=true",
			"/v1/sync/../notes", "/healthz/../v1/notes", "/v1/sync/info/../../notes/" + it.UID,
			"/v1\\notes", "/v1/notes/%00",
			"/v1/notes/%5c..%5ctasks", "/v1/notes%20", "/V1/notes", "/v1/NOTES/" + it.UID,
		} {
			for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
				a := u.call(t, method, path, `{"title":"trick"}`)
				// A path that an upstream might read otherwise may be no route (404), no uid (400),
				// or no such method (405).
				a.check(t, 400, 404, 405)
			}
		}
		if after := u.raw(t, e, it.UID); after != before {
			t.Errorf("a path trick changed the item\n%s\n%s", before, after)
		}
		if n := len(u.list(t, e, "includeDeleted=true").items); n != 1 {
			t.Errorf("%d notes, want 1", n)
		}
		// The tricks do not open what needs credentials.
		for _, path := range []string{
			"/healthz/../v1/notes", "/v1/sync/info/../../notes", "/v1/sync/info/..%2f..%2fnotes",
			"/readyz/%2e%2e/v1/notes",
		} {
			api.anonymous(t, "GET", path).check(t, 400, 401, 404)
		}
	})
}

func TestAWrongMethodIs405AndSaysWhatIsAllowed(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		u := api.user(t)
		type row struct {
			path    string
			allowed []string
		}
		rows := []row{
			{"/healthz", []string{"GET"}},
			{"/readyz", []string{"GET"}},
			{"/v1/sync/info", []string{"GET"}},
			{"/v1/sync/sessions", []string{"POST"}},
			{"/v1/sync/sessions/" + u.session, []string{"GET", "DELETE"}},
			{"/v1/sync/wipe", []string{"POST"}},
			{"/v1/sync/state", []string{"GET"}},
		}
		for _, e := range entities {
			uid := u.create(t, e).UID
			rows = append(rows,
				row{e.path(), []string{"GET", "POST"}},
				row{e.path("/", uid), []string{"GET", "PUT", "PATCH", "DELETE"}},
				row{e.path("/", uid, "/archive"), []string{"POST"}},
				row{e.path("/", uid, "/process"), []string{"POST"}},
			)
		}
		for _, r := range rows {
			for _, method := range []string{
				"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "BREW", "get",
			} {
				if slices.Contains(r.allowed, method) {
					continue
				}
				a := u.call(t, method, r.path, nil)
				if !a.check(t, 405) {
					continue
				}
				var allow []string
				allowed := strings.Join(a.header.Values("Allow"), ",")
				for _, name := range strings.Split(allowed, ",") {
					// HEAD and OPTIONS are the server's own affair.
					if name = strings.TrimSpace(name); name != "" && name != "HEAD" &&
						name != "OPTIONS" {
						allow = append(allow, name)
					}
				}
				slices.Sort(allow)
				want := slices.Sorted(slices.Values(r.allowed))
				if !slices.Equal(allow, want) {
					t.Errorf("Allow %q, want %q\n%s", allow, want, a)
				}
			}
			head := u.call(t, "HEAD", r.path, nil)
			head.check(t, 200, 405)
			if len(head.body) > 0 {
				t.Errorf("HEAD was answered with a body\n%s", head)
			}
			u.call(t, "OPTIONS", r.path, nil).check(t, 200, 204, 405)
		}
	})
}

func TestABodyAtTheLimitIsTakenAndOneByteMoreIs413(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		parent := e.parent(t, u)
		it := u.create(t, e)
		limit := api.info(t).Limits.MaxBodyBytes
		padded := func(size int, members ...string) string {
			empty := object(append(members, `"text":""`)...)
			return object(append(members, `"text":"`+strings.Repeat("x", size-len(empty))+`"`)...)
		}
		process := `"action":"` + e.actions[0].name + `"`
		for _, r := range []struct {
			name, method, path, members string
			status                      int
		}{
			{"create", "POST", e.path(), parent, 201},
			{"put", "PUT", e.path("/", it.UID), parent, 200},
			{"patch", "PATCH", e.path("/", it.UID), "", 200},
			{"process", "POST", e.path("/", it.UID, "/process"), process, 200},
		} {
			good, bad := padded(limit, r.members), padded(limit+1, r.members)
			if len(good) != limit || len(bad) != limit+1 {
				t.Fatalf(
					"bodies of %d and %d bytes, want %d and one more",
					len(good),
					len(bad),
					limit,
				)
			}
			u.call(t, r.method, r.path, good).want(t, r.status).item(t)
			before := u.raw(t, e, it.UID)
			u.call(t, r.method, r.path, bad).check(t, 413)
			u.call(t, r.method, r.path, chunked{strings.NewReader(bad)}).
				check(t, 413)
				// no Content-Length
			u.call(t, r.method, r.path, strings.Repeat("[", 2*limit)).
				check(t, 413)
				// too large to be read as JSON
			u.call(t, r.method, r.path, good[:limit-1]+" "+good[limit-1:]).
				check(t, 413)
				// white space counts
			u.call(t, r.method, r.path, bad, with("Expect", "100-continue")).
				check(t, 413)
				// asked before sent
			if after := u.raw(t, e, it.UID); after != before {
				t.Errorf("%s: a refused body changed the item", r.name)
			}
		}
		if n := len(u.list(t, e, "").items); n != 2 {
			t.Errorf("%d items, want 2", n)
		}
	})
}

// chunked hides the length of a body, so that it is sent in chunks.
type chunked struct{ *strings.Reader }

func (c chunked) Read(p []byte) (int, error) { return c.Reader.Read(p) }

func TestHugeHeadersAreRefusedAndTheServerLives(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		u := api.user(t)
		huge := strings.Repeat("a", 3<<20)
		for _, name := range []string{
			"Authorization", "X-TB-Tenant-ID", "X-TB-Signature", "X-Sync-Session",
			"X-Correlation-ID", "X-Other", "traceparent",
		} {
			a, err := u.try("GET", "/v1/notes", nil, with(name, huge))
			// A server may close the connection before the client has sent everything.
			if a.status != http.StatusRequestHeaderFieldsTooLarge && a.status != 0 {
				t.Errorf("%s of 3 MiB: want 431 or a closed connection (%v)\n%s", name, err, a)
			}
		}
		large := strings.Repeat("a", 64<<10)
		u.call(t, "GET", "/v1/notes", nil, with("Authorization", "Bearer "+large)).
			check(t, 401, 431)
		u.call(t, "GET", "/v1/notes", nil, with("X-Sync-Session", large)).check(t, 428, 431)
		u.call(t, "GET", "/v1/notes", nil, with("X-Sync-Epoch", large)).check(t, 409, 431)
		u.call(t, "GET", "/v1/notes", nil, with("traceparent", large)).check(t, 200, 431)
		u.call(t, "GET", "/v1/notes", nil).want(t, 200)
	})
}

func TestATraceContextOfAnyShapeIsHarmless(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		u := api.user(t)
		for _, value := range []string{
			"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "", "garbage", "00-0-0-0",
			"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
			"00-00000000000000000000000000000000-0000000000000000-00",
		} {
			u.call(t, "GET", "/v1/notes", nil, with("traceparent", value)).check(t, 200)
		}
	})
}
