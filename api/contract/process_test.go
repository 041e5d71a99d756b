package contract

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Tests of the server as a process: what survives its end, what it says, and when it does not
// start.

// What was acknowledged before kill -9 is there after a restart on the same database.
func TestAKilledServerLosesNothingItAcknowledged(t *testing.T) {
	onEachOurs(t, func(t *testing.T, b *backend) {
		api, err := startServer(b, settings{"RATE_LIMIT_PER_MINUTE": "0"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(api.kill)
		u := api.withoutSession(freshName("tenant"), freshName("user"))
		u.open(t)
		u.wipe(t) // the epoch has to survive too
		u.open(t)
		e := entityNamed("notes")

		var acknowledged struct {
			sync.Mutex
			bodies  map[string][]byte
			pending map[string]bool // a write was under way when the server died
		}
		acknowledged.bodies, acknowledged.pending = map[string][]byte{}, map[string]bool{}
		var killed atomic.Bool
		const enough = 150
		kill := sync.OnceFunc(func() { killed.Store(true); api.kill() })
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				uid := newUID()
				for i := range 1_000 {
					method, path, body := "PATCH", e.path("/", uid), fmt.Sprintf(`{"n":%d}`, i)
					switch i % 5 {
					case 0:
						uid = newUID()
						method, path, body = "POST", e.path(), `{"uid":"`+uid+`"}`
					case 4:
						method = "DELETE"
					}
					acknowledged.Lock()
					acknowledged.pending[uid] = true
					acknowledged.Unlock()
					a, err := u.try(method, path, body)
					if err != nil || a.status >= 300 {
						if !killed.Load() {
							t.Errorf("%v\n%s", err, a)
						}
						return
					}
					acknowledged.Lock()
					acknowledged.bodies[uid] = a.body
					delete(acknowledged.pending, uid)
					n := len(acknowledged.bodies)
					acknowledged.Unlock()
					if n >= enough {
						kill()
						return
					}
				}
			})
		}
		group.Wait()
		if !killed.Load() {
			t.Fatalf("only %d items were written", len(acknowledged.bodies))
		}

		again := launch(t, b, api.env)
		u = again.userOf(t, u.tenant, u.sub)
		if u.epoch != 2 {
			t.Errorf("the epoch is %d after the restart, want 2", u.epoch)
		}
		for uid, body := range acknowledged.bodies {
			got := u.raw(t, e, uid)
			if got == string(body) {
				continue
			}
			was, err := readItem(body)
			if err != nil {
				t.Fatal(err)
			}
			// A write whose answer never came may have happened.
			if now := u.version(t, e, uid); !acknowledged.pending[uid] || now != was.Version+1 {
				t.Errorf("acknowledged\n%s\nafter the restart\n%s", body, got)
			}
		}
		u.note(t)
	})
}

// gate is a body that reports when it is first read, and ends on request.
type gate struct {
	begun, rest chan struct{}
	text        *strings.Reader
}

func (g *gate) Read(p []byte) (int, error) {
	if g.begun != nil {
		close(g.begun)
		g.begun = nil
		<-g.rest
	}
	return g.text.Read(p)
}

// A server that is told to stop finishes what it has begun.
func TestARequestThatIsHalfSentSurvivesTheSignal(t *testing.T) {
	onEachOurs(t, func(t *testing.T, b *backend) {
		api, err := startServer(b, settings{"RATE_LIMIT_PER_MINUTE": "0"})
		if err != nil {
			t.Fatal(err)
		}
		u := api.withoutSession(freshName("tenant"), freshName("user"))
		u.open(t)
		begun, rest, status := make(chan struct{}), make(chan struct{}), make(chan int, 1)
		req, err := http.NewRequest(
			"POST",
			api.base+"/v1/notes",
			&gate{begun, rest, strings.NewReader(`{"title":"late"}`)},
		)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = u.headers(nil)
		// The body is asked for only when the handler reads it.
		req.Header.Set("Expect", "100-continue")
		client := &http.Client{
			Transport: &http.Transport{ExpectContinueTimeout: time.Minute, DisableKeepAlives: true},
		}
		go func() {
			res, err := client.Do(req)
			if err != nil {
				t.Error(err)
				status <- 0
				return
			}
			_ = res.Body.Close()
			status <- res.StatusCode
		}()
		<-begun
		stopped := make(chan error, 1)
		go func() { stopped <- api.stop() }()
		api.untilRefused(t)
		close(rest)
		if got := <-status; got != 201 {
			t.Errorf("status %d, want 201", got)
		}
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
}

// Half a request, which needs no token, is no work: the server leaves in good order without it.
func TestIncompleteRequestsDoNotBlockOthers(t *testing.T) {
	onEachOurs(t, func(t *testing.T, b *backend) {
		api, err := startServer(b, settings{"SHUTDOWN_TIMEOUT_SECONDS": "8"})
		if err != nil {
			t.Fatal(err)
		}
		address := strings.TrimPrefix(api.base, "http://")
		for _, begun := range []string{
			"",
			"POST /v1/no",
			"POST /v1/notes HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{",
			"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{",
			"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
		} {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write([]byte(begun)); err != nil {
				t.Fatal(err)
			}
		}
		api.anonymous(t, "GET", "/healthz").
			check(t, 200)
			// whatever came before it has been taken in
		// What is held up until the limit ends with code 1.
		if err := api.stop(); err != nil {
			t.Error(err)
		}
	})
}

// A server that is told to stop says so before it hangs up: readiness first, and each answer closes
// its connection.
func TestNoticeIsGivenBeforeTheDoorCloses(t *testing.T) {
	onEachOurs(t, func(t *testing.T, b *backend) {
		api, err := startServer(b, nil)
		if err != nil {
			t.Fatal(err)
		}
		u := api.withoutSession(freshName("tenant"), freshName("user"))
		u.open(t)
		stopped := make(chan error, 1)
		go func() { stopped <- api.stop() }()
		for deadline := time.Now().Add(10 * time.Second); ; {
			a := api.anonymous(t, "GET", "/readyz")
			if a.status == 503 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("a server that was told to stop still calls itself ready")
			}
		}
		req, err := http.NewRequest(
			"POST",
			api.base+"/v1/notes",
			strings.NewReader(`{"title":"late"}`),
		)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = u.headers(nil)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatalf("during the notice a newcomer was turned away: %v", err)
		}
		_ = res.Body.Close()
		if res.StatusCode != 201 || !res.Close {
			t.Errorf(
				"status %d, connection closed: %t; want 201 and true",
				res.StatusCode,
				res.Close,
			)
		}
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
}

// untilRefused waits until the server takes no more connections.
func (s *server) untilRefused(t *testing.T) {
	t.Helper()
	address := strings.TrimPrefix(s.base, "http://")
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		_ = conn.Close()
	}
	t.Fatal("a server that was told to stop still takes connections")
}

func TestAStoppedServerLosesNothingEither(t *testing.T) {
	onEachOurs(t, func(t *testing.T, b *backend) {
		api, err := startServer(b, settings{"RATE_LIMIT_PER_MINUTE": "0"})
		if err != nil {
			t.Fatal(err)
		}
		u := api.withoutSession(freshName("tenant"), freshName("user"))
		u.open(t)
		bodies := map[string]string{}
		for _, e := range entities {
			a := u.call(t, "POST", e.path(), object(e.parent(t, u))).want(t, 201)
			bodies[e.name+"/"+a.item(t).UID] = string(a.body)
		}
		if err := api.stop(); err != nil {
			t.Fatal(err)
		}
		again := launch(t, b, api.env)
		u = again.userOf(t, u.tenant, u.sub)
		for place, body := range bodies {
			name, uid, _ := strings.Cut(place, "/")
			if got := u.raw(t, entityNamed(name), uid); got != body {
				t.Errorf("before the restart\n%s\nafter\n%s", body, got)
			}
		}
	})
}

// While the database is away everything that needs it is 503, and it comes back without a restart.
func TestADatabaseThatDisappearsIs503UntilItReturns(t *testing.T) {
	onEachOurs(t, func(t *testing.T, b *backend) {
		if b.name != "postgres" {
			t.Skip("an embedded database does not disappear")
		}
		t.Run("no listener", func(t *testing.T) {
			database, err := b.database()
			if err != nil {
				t.Fatal(err)
			}
			line, through := newLine(t, database)
			survives(
				t,
				launch(t, b, settings{"RATE_LIMIT_PER_MINUTE": "0", "DATABASE_URL": through}),
				line.cut,
				line.restore,
			)
		})
		t.Run("connections are refused", func(t *testing.T) {
			api := launch(t, b, settings{"RATE_LIMIT_PER_MINUTE": "0"})
			database := api.env["DATABASE_URL"]
			survives(
				t,
				api,
				func() error { return closeDatabase(database) },
				func() error { return openDatabase(database) },
			)
		})
	})
}

func survives(t *testing.T, api *server, takeAway, giveBack func() error) {
	u := api.user(t)
	it := u.create(t, entityNamed("notes"))
	before := u.raw(t, entityNamed("notes"), it.UID)

	giveBack = sync.OnceValue(giveBack)
	defer func() { _ = giveBack() }()
	if err := takeAway(); err != nil {
		t.Fatal(err)
	}
	unavailable := func(a *answer) {
		t.Helper()
		if a.check(t, 503) && a.number(t, "Retry-After") < 1 {
			t.Errorf("503 without a sensible Retry-After\n%s", a)
		}
	}
	for _, e := range entities {
		for _, r := range e.routes(it.UID, "") {
			unavailable(r.call(t, u))
		}
	}
	unavailable(u.call(t, "POST", "/v1/sync/sessions", nil))
	unavailable(u.call(t, "GET", "/v1/sync/sessions/"+u.session, nil))
	unavailable(u.call(t, "GET", "/v1/sync/state", nil))
	unavailable(u.call(t, "POST", "/v1/search", `{"query":"x"}`))
	unavailable(u.call(t, "GET", "/v1/overview", nil))
	unavailable(u.call(t, "POST", "/v1/sync/wipe", `{"confirm":"WIPE"}`))
	api.anonymous(t, "GET", "/readyz").check(t, 503)
	api.anonymous(t, "GET", "/healthz").check(t, 200)
	api.anonymous(t, "GET", "/v1/sync/info").check(t, 200)

	if err := giveBack(); err != nil {
		t.Fatal(err)
	}
	deadline, tick := time.After(10*time.Second), time.NewTicker(50*time.Millisecond)
	defer tick.Stop()
	for api.anonymous(t, "GET", "/readyz").status != 200 {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the server is not ready 10 s after the database came back")
		}
	}
	if after := u.raw(t, entityNamed("notes"), it.UID); after != before {
		t.Errorf("refused calls changed the item\n%s\n%s", before, after)
	}
	if n := len(u.list(t, entityNamed("notes"), "").items); n != 1 {
		t.Errorf("%d notes, want 1", n)
	}
}

// Without TENANT_HEADER_SECRET rows belong to the tenant that the token claims, or to TENANT_ID
// when it claims none.
func TestAnUnsignedServerTakesTheTenantFromTheToken(t *testing.T) {
	onOwn(
		t,
		settings{"TENANT_HEADER_SECRET": "", "TENANT_ID": "home", "RATE_LIMIT_PER_MINUTE": "0"},
		func(t *testing.T, api *server) {
			if api.info(t).TenantSignature.Required {
				t.Error("info says that the signature is required")
			}
			sub := freshName("user")
			claiming := func(tenant string) *user {
				u := api.withoutSession("", sub)
				if tenant != "" {
					u.token = signHS256(api.jwtSecret, goodClaims(sub).and("tenant_id", tenant))
				}
				u.open(t)
				return u
			}
			unclaimed, home, other := claiming(""), claiming("home"), claiming("other")
			uid := unclaimed.note(t)
			path := "/v1/notes/" + uid
			home.call(t, "GET", path, nil).want(t, 200) // the same tenant by claim
			other.call(t, "GET", path, nil).want(t, 404)

			// Tenant headers are never used, right or wrong, and never a reason to refuse.
			for _, tenant := range []string{"other", "home", ""} {
				signed := func(h http.Header) { signTenant(h, "", tenant, time.Now()) }
				unclaimed.call(t, "GET", path, nil, signed).want(t, 200)
				other.call(t, "GET", path, nil, signed).want(t, 404)
			}
			unclaimed.call(
				t, "GET", path, nil, with("X-TB-Tenant-ID", "other", "another"),
				with("X-TB-Timestamp", "x"),
			).want(t, 200)
		},
	)
}

func TestLogsNameTheRequestAndTellNoSecrets(t *testing.T) {
	onEachOurs(t, func(t *testing.T, b *backend) {
		address, err := b.database()
		if err != nil {
			t.Fatal(err)
		}
		const password = "a-word-that-opens"
		if at, err := url.Parse(address); err == nil && at.User != nil {
			// The server of the suite asks for none, so one more does no harm.
			if _, asked := at.User.Password(); !asked {
				at.User = url.UserPassword(at.User.Username(), password)
				address = at.String()
			}
		}
		api, err := startServer(
			b,
			settings{"RATE_LIMIT_PER_MINUTE": "0", "LOG_LEVEL": "debug", "DATABASE_URL": address},
		)
		if err != nil {
			t.Fatal(err)
		}
		stop := sync.OnceValue(api.stop)
		t.Cleanup(func() {
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
		u := api.withoutSession(freshName("tenant"), freshName("user"))
		u.open(t)
		diary := "diary-" + randomHex(8)
		it := u.create(t, entityNamed("notes"), `"title":"`+diary+`"`)
		forged := signHS256(randomHex(32), goodClaims(u.sub))
		signature := strings.Repeat("5a", 32)
		const search = "cursor-or-search-word"
		ids := map[string]*answer{}
		for name, call := range map[string]func(edit) *answer{
			"patched": func(e edit) *answer {
				return u.call(t, "PATCH", "/v1/notes/"+it.UID, `{"text":"`+diary+`"}`, e)
			},
			"body": func(e edit) *answer {
				return u.call(t, "POST", "/v1/notes", `["`+diary+`"]`, e)
			},
			"action": func(e edit) *answer {
				return u.call(t, "POST", "/v1/notes/"+it.UID+"/process", `{"action":7}`, e)
			},
			"token": func(e edit) *answer {
				return u.call(
					t, "GET", "/v1/notes", nil, e, with("Authorization", "Bearer "+forged),
				)
			},
			"tenant": func(e edit) *answer {
				return u.call(t, "GET", "/v1/notes", nil, e, with("X-TB-Signature", signature))
			},
			"query": func(e edit) *answer {
				return u.call(t, "GET", "/v1/notes?cursor="+search+"&q="+search, nil, e)
			},
			"session": func(e edit) *answer {
				return u.call(t, "GET", "/v1/sync/sessions/"+u.session, nil, e)
			},
			"unknown": func(e edit) *answer { return u.call(t, "GET", "/v1/unknown", nil, e) },
			"conflict": func(e edit) *answer {
				return u.call(t, "POST", "/v1/notes", `{"uid":"`+it.UID+`","t":"`+diary+`"}`, e)
			},
		} {
			id := freshName(name)
			ids[id] = call(with("X-Correlation-ID", id))
		}
		if err := stop(); err != nil { // all lines are written now
			t.Fatal(err)
		}
		for id, a := range ids {
			line := api.log.find(id)
			if line == "" {
				t.Errorf("no log line has the correlation id %s\n%s", id, a)
			} else if !strings.Contains(line, fmt.Sprint(a.status)) {
				t.Errorf("the log line does not have the status %d: %s", a.status, line)
			}
		}
		for what, text := range map[string]string{
			"the token":                 u.token,
			"a part of the token":       strings.Split(u.token, ".")[2],
			"a refused token":           strings.Split(forged, ".")[2],
			"a signature":               signature,
			"the JWT secret":            api.jwtSecret,
			"the tenant secret":         api.tenantSecret,
			"a payload":                 diary,
			"a cursor or a search word": search,
			"the id of a session":       u.session,
			"a database's password":     password,
		} {
			if line := api.log.find(text); line != "" {
				t.Errorf("the log tells %s: %s", what, line)
			}
		}
	})
}

// The same signal, words and time as the MCP server's.
func TestASignalMakesTheLogTalkativeAndQuietAgain(t *testing.T) {
	onOwn(t, nil, func(t *testing.T, api *server) {
		u := api.user(t)
		probe := func() string {
			id := freshName("probe")
			u.call(t, "GET", "/healthz", nil, with("X-Correlation-ID", id)).want(t, 200)
			return id
		}
		signal := func(sentence string) {
			t.Helper()
			if err := api.process.Process.Signal(syscall.SIGUSR1); err != nil {
				t.Fatal(err)
			}
			api.log.until(t, sentence)
		}
		before := probe()
		signal("SIGUSR1: logging at debug for 15 minutes; another one ends it")
		during := probe()
		signal("SIGUSR1: logging at info again")
		api.log.until(t, during)
		if line := api.log.find(before); line != "" {
			t.Errorf("logged before anybody asked: %s", line)
		}
	})
}

func TestConfigurationMistakesStopTheStartWithOneSentence(t *testing.T) {
	t.Parallel()
	if backends[0].database == nil {
		leaveOut(t, "needs a server that the suite starts itself")
	}
	secret := randomHex(16)
	for name, change := range map[string]settings{
		"no JWT secret":                 {"JWT_HS256_SECRET": ""},
		"short JWT secret":              {"JWT_HS256_SECRET": secret[:31]},
		"unknown database":              {"DATABASE_URL": "mysql://localhost/x"},
		"no database URL":               {"DATABASE_URL": "toolbridge.db"},
		"address":                       {"HTTP_ADDR": "nowhere"},
		"port":                          {"HTTP_ADDR": "127.0.0.1:99999"},
		"metrics address":               {"METRICS_ADDR": "nowhere"},
		"rate, a word":                  {"RATE_LIMIT_PER_MINUTE": "many"},
		"rate, negative":                {"RATE_LIMIT_PER_MINUTE": "-1"},
		"burst, a word":                 {"RATE_LIMIT_BURST": "x"},
		"burst, negative":               {"RATE_LIMIT_BURST": "-1"},
		"body limit, a word":            {"MAX_BODY_BYTES": "1MB"},
		"body limit, negative":          {"MAX_BODY_BYTES": "-1"},
		"skew, a word":                  {"TENANT_HEADER_MAX_SKEW_SECONDS": "5m"},
		"skew, negative":                {"TENANT_HEADER_MAX_SKEW_SECONDS": "-1"},
		"shutdown, a word":              {"SHUTDOWN_TIMEOUT_SECONDS": "soon"},
		"log level":                     {"LOG_LEVEL": "loud"},
		"log format":                    {"LOG_FORMAT": "xml"},
		"key set address":               {"JWT_JWKS_URL": "not a url"},
		"a number too large to be read": {"MAX_BODY_BYTES": "99999999999999999999"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := settings{
				"HTTP_ADDR":        "127.0.0.1:0",
				"METRICS_ADDR":     "off",
				"DATABASE_URL":     "sqlite://:memory:",
				"JWT_HS256_SECRET": secret, "TENANT_HEADER_SECRET": randomHex(32),
			}
			maps.Copy(env, change)
			ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
			defer cancel()
			ready := serverCommand(env)
			cmd := exec.CommandContext(ctx, ready.Path)
			cmd.Dir, cmd.Env = ready.Dir, ready.Env
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 64 {
				t.Fatalf("want exit code 64, got %v\n%s", err, out)
			}
			text := strings.TrimSpace(string(out))
			if text == "" || strings.Contains(text, "\n") || strings.Contains(text, "goroutine") {
				t.Errorf("want one sentence, got\n%s", text)
			}
			for variable, value := range change {
				if !strings.Contains(text, variable) {
					t.Errorf("the sentence does not name %s: %s", variable, text)
				}
				if strings.HasSuffix(variable, "SECRET") && value != "" &&
					strings.Contains(text, value) {
					t.Errorf("the sentence tells the secret: %s", text)
				}
			}
		})
	}
}

func TestTheSmallestConfigurationStarts(t *testing.T) {
	t.Parallel()
	if backends[0].database == nil {
		leaveOut(t, "needs a server that the suite starts itself")
	}
	for name, env := range map[string]settings{
		"secret of 32 bytes": {"JWT_HS256_SECRET": randomHex(16)},
		"database in memory": {"DATABASE_URL": "sqlite://:memory:"},
		"the documented limit": {
			"MAX_BODY_BYTES":                 "4096",
			"TENANT_HEADER_MAX_SKEW_SECONDS": "5",
			"SHUTDOWN_TIMEOUT_SECONDS":       "3",
			"LOG_LEVEL":                      "info",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := launch(t, &backend{name: "sqlite", database: newSQLite}, env)
			u := api.user(t)
			u.note(t)
			if limit := env["MAX_BODY_BYTES"]; limit != "" {
				if got := fmt.Sprint(api.info(t).Limits.MaxBodyBytes); got != limit {
					t.Errorf("info tells a body limit of %s, want %s", got, limit)
				}
				body := func(size int) string {
					return `{"t":"` + strings.Repeat("x", size-len(`{"t":""}`)) + `"}`
				}
				u.call(t, "POST", "/v1/notes", body(4096)).want(t, 201)
				u.call(t, "POST", "/v1/notes", body(4097)).want(t, 413)
				u.call(t, "GET", "/v1/notes", nil, func(h http.Header) {
					signTenant(h, api.tenantSecret, u.tenant, time.Now().Add(-10*time.Second))
				}).want(t, 401)
			}
		})
	}
}
