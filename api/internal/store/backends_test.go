package store

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// clock is a clock that only the test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.UnixMilli(1763636400000)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// opener opens the same fresh database again and again.
type opener func(t *testing.T, now func() time.Time) Store

// onEach runs a test on every kind of database that is at hand. scripts/test sees to it that
// PostgreSQL is.
func onEach(t *testing.T, test func(t *testing.T, open opener)) {
	t.Run("memory", func(t *testing.T) {
		test(
			t,
			func(t *testing.T, now func() time.Time) Store { return checkedSQLite(t, Memory, now) },
		)
	})
	t.Run("sqlite", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "new folder", "a?b#c.db")
		test(
			t,
			func(t *testing.T, now func() time.Time) Store { return checkedSQLite(t, path, now) },
		)
	})
	t.Run("postgres", func(t *testing.T) {
		address := freshPostgres(t)
		test(t, func(t *testing.T, now func() time.Time) Store {
			s, err := OpenPostgres(t.Context(), address, now)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Close)
			t.Cleanup(func() { checkIndexAtEnd(t, s) })
			return s
		})
	})
}

// checkIndexAtEnd holds whatever a test did to the rule that the index says what the items say.
func checkIndexAtEnd(t testing.TB, s Store) {
	report, err := s.CheckIndex(context.Background()) // the test's own context has ended
	if err != nil && strings.Contains(err.Error(), "closed") {
		return // by the test, to open it again
	}
	if err != nil || len(report.Faults) > 0 {
		t.Errorf("the index after the test: %+v, %v", report, err)
	}
}

func checkedSQLite(t testing.TB, path string, now func() time.Time) Store {
	t.Helper()
	s := openSQLite(t, path, now)
	t.Cleanup(func() { checkIndexAtEnd(t, s) })
	return s
}

func openSQLite(t testing.TB, path string, now func() time.Time) Store {
	t.Helper()
	s, err := OpenSQLite(t.Context(), path, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// freshPostgres makes a database that is dropped after the test.
func freshPostgres(t testing.TB) string {
	t.Helper()
	server := os.Getenv("TEST_POSTGRES_URL")
	if server == "" {
		if os.Getenv("TOOLBRIDGE_REQUIRE_POSTGRES") != "" {
			t.Fatal("TEST_POSTGRES_URL is unset, and TOOLBRIDGE_REQUIRE_POSTGRES wants PostgreSQL")
		}
		t.Skip("no PostgreSQL: run through scripts/postgres")
	}
	name := "test_" + uuid.NewString()
	admin(t, server, fmt.Sprintf(`CREATE DATABASE "%s"`, name))
	t.Cleanup(func() { admin(t, server, fmt.Sprintf(`DROP DATABASE "%s" WITH (FORCE)`, name)) })
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

func admin(t testing.TB, server, sql string) {
	t.Helper()
	ctx := context.Background()
	c, err := pgx.Connect(ctx, server)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	if _, err := c.Exec(ctx, sql); err != nil {
		t.Fatal(err)
	}
}

// person opens a session for a user of this test only.
func person(t testing.TB, s Store) (Session, Owner) {
	t.Helper()
	session, err := s.OpenSession(t.Context(), Person{"tenant", uuid.NewString()})
	if err != nil {
		t.Fatal(err)
	}
	return session, Owner{session.Owner, session.Epoch}
}

// put is the Change that makes an item what it is told, whatever it was.
func put(payload string) Change {
	return func(Tx, *Item) (Next, error) { return Next{Payload: []byte(payload)}, nil }
}

func remove(_ Tx, current *Item) (Next, error) {
	return Next{Payload: current.Payload, Delete: true}, nil
}

func write(t testing.TB, s Store, owner Owner, uid string, change Change) Item {
	t.Helper()
	item, err := s.Write(t.Context(), owner, "notes", uid, change)
	if err != nil {
		t.Fatal(err)
	}
	return item
}

func newUID() string { return uuid.Must(uuid.NewV7()).String() }
