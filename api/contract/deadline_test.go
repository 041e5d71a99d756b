package contract

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Whatever a caller writes there, a request that needs no time is served.
func TestAnOddTimeoutIsNoReasonToRefuse(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		u := api.user(t)
		for _, odd := range []string{
			"0", "-1", "soon", "1.5", "600001", "99999999999999999999", "60000",
		} {
			u.call(t, "GET", entityNamed("notes").path(), nil, with("X-TB-Timeout-Ms", odd)).
				check(t, 200)
		}
		u.call(t, "GET", entityNamed("notes").path(), nil, with("X-TB-Timeout-Ms", "1", "1")).
			check(t, 200)
	})
}

// A write that waits for a lock is given up when the time of its caller is over: the caller is told
// that nothing was changed, and that is so.
func TestAWriteEndsWithTheTimeOfItsCaller(t *testing.T) {
	onBlocked(t, func(t *testing.T, api *server, block *blockade) {
		u := api.user(t)
		note := u.create(t, entityNamed("notes"))
		path := "/v1/notes/" + note.UID
		release := block.writes(t, u)
		a := u.call(t, "PATCH", path, `{"title":"late"}`, with("X-TB-Timeout-Ms", "200")).
			want(t, 503)
		if text := a.errorText(t); !strings.Contains(text, "nothing was changed") {
			t.Errorf("the caller reads %q", text)
		}
		block.waitForNoWaiter(t)
		release()
		if now := u.call(t, "GET", path, nil).want(t, 200).item(t); now.Version != 1 {
			t.Errorf("version %d", now.Version)
		}
		u.call(t, "PATCH", path, `{"title":"in time"}`, with("X-TB-Timeout-Ms", "60000")).
			want(t, 200)
		api.log.until(t, "deadline_exceeded")
		if line := api.log.find("storage_unavailable"); line != "" {
			t.Errorf("the database is blamed: %s", line)
		}
	})
}

// When a caller hangs up, its request is given up at once, not at the end of the API's own time
// limit.
func TestAWriteEndsWhenItsCallerHangsUp(t *testing.T) {
	onBlocked(t, func(t *testing.T, api *server, block *blockade) {
		u := api.user(t)
		note := u.create(t, entityNamed("notes"))
		path := "/v1/notes/" + note.UID
		release := block.writes(t, u)
		ctx, cancel := context.WithCancel(t.Context())
		hungUp := make(chan error, 1)
		go func() {
			request, err := http.NewRequestWithContext(
				ctx,
				"PATCH",
				api.base+path,
				strings.NewReader(`{"title":"gone"}`),
			)
			if err != nil {
				hungUp <- err
				return
			}
			request.Header = u.headers(nil)
			_, err = httpClient.Do(request)
			hungUp <- err
		}()
		block.waitForWaiter(t)
		cancel()
		if err := <-hungUp; !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
		block.waitForNoWaiter(t)
		api.log.until(t, "client_gone")
		release()
		if now := u.call(t, "GET", path, nil).want(t, 200).item(t); now.Version != 1 {
			t.Errorf("version %d", now.Version)
		}
	})
}

// A blockade keeps the writes of one user waiting in PostgreSQL, and sees whether any wait. SQLite
// runs in the API itself, and has its test in package httpapi.
type blockade struct {
	api     *server
	address string
}

func onBlocked(t *testing.T, test func(*testing.T, *server, *blockade)) {
	oursOnly(t, "X-TB-Timeout-Ms is ignored")
	onEachOurs(t, func(t *testing.T, b *backend) {
		if b.name != "postgres" {
			t.Skip("a lock of this database cannot be held from outside the API")
		}
		address, err := b.database()
		if err != nil {
			t.Fatal(err)
		}
		api := launch(t, b, settings{"DATABASE_URL": address})
		test(t, api, &blockade{api, address})
	})
}

// writes holds the lock that a write of the user needs first, until it is released.
func (b *blockade) writes(t *testing.T, u *user) (release func()) {
	t.Helper()
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, b.address)
	if err == nil {
		_, err = conn.Exec(ctx, "BEGIN")
	}
	if err == nil {
		_, err = conn.Exec(ctx, "SELECT 1 FROM users WHERE subject = $1 FOR UPDATE", u.sub)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() { _ = conn.Close(ctx) }
}

func (b *blockade) waitForWaiter(t *testing.T) { b.until(t, true) }

func (b *blockade) waitForNoWaiter(t *testing.T) { b.until(t, false) }

func (b *blockade) until(t *testing.T, waits bool) {
	t.Helper()
	deadline := time.Now().Add(startTimeout)
	for ; b.waiting(t) != waits; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("a write waits: still %v\n%s", !waits, b.api.log)
		}
	}
}

func (b *blockade) waiting(t *testing.T) bool {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), b.address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	var waiting int
	err = conn.QueryRow(
		t.Context(),
		`SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock'`,
	).Scan(&waiting)
	if err != nil {
		t.Fatal(err)
	}
	return waiting > 0
}
