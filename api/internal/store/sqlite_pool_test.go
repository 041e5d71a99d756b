package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

func (p *pool) awaitWaiting(t *testing.T, want int) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Millisecond) {
		p.mu.Lock()
		n := len(p.waiting)
		p.mu.Unlock()
		if n == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d wait, want %d", n, want)
		}
	}
}

// Connections are handed on in the order of those who wait. One who leaves is passed over, and the
// end of the pool ends every wait.
func TestWaitingForAConnection(t *testing.T) {
	p, err := openPool(fileURI(filepath.Join(t.TempDir(), "a b.db")), 1)
	if err != nil {
		t.Fatal(err)
	}
	first, err := p.acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	type got struct {
		name string
		c    *sqliteConnection
		err  error
	}
	results := make(chan got)
	wait := func(name string, ctx context.Context, already int) {
		go func() {
			c, err := p.acquire(ctx)
			results <- got{name, c, err}
		}()
		p.awaitWaiting(t, already+1)
	}
	wait("cancelled", cancelled, 0)
	for n := range 4 {
		wait(fmt.Sprint(n), t.Context(), n+1)
	}
	cancel()
	if r := <-results; r.name != "cancelled" || !errors.Is(r.err, context.Canceled) || r.c != nil {
		t.Fatalf("%+v", r)
	}
	p.awaitWaiting(t, 4)
	p.release(first)
	for n := range 3 {
		r := <-results
		if r.name != fmt.Sprint(n) || r.err != nil || r.c != first {
			t.Fatalf("%+v instead of %d", r, n)
		}
		if n < 2 {
			p.release(r.c)
		}
	}
	if now := p.now("x"); now.InUse != 1 || now.Max != 1 || now.Waits != 5 || now.Waited == 0 {
		t.Errorf("%+v", now)
	}
	p.close()
	if r := <-results; r.err == nil || r.c != nil {
		t.Errorf("after the end: %+v", r)
	}
	p.release(first)
	if _, err := p.acquire(t.Context()); err == nil {
		t.Error("a connection after the end")
	}
}

// The statements of searches are put together: a connection does not keep all of them.
func TestPreparedStatementsAreBounded(t *testing.T) {
	p, err := openPool(fileURI(filepath.Join(t.TempDir(), "x.db")), 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	for n := range 3 * maxPrepared {
		var seen int
		s := statement{"numbers", fmt.Sprintf("SELECT $2 - $1 + %d", n)}
		err := one(t.Context(), p, s, []any{1, 2}, &seen)
		if err != nil || seen != n+1 {
			t.Fatalf("%d: %d, %v", n, seen, err)
		}
		if kept := len(p.idle[0].prepared); kept > maxPrepared+1 {
			t.Fatalf("%d statements are kept", kept)
		}
	}
}

// A statement that takes long ends with its caller, and the connection serves the next one.
func TestALongStatementEndsWithItsCaller(t *testing.T) {
	p, err := openPool(fileURI(filepath.Join(t.TempDir(), "x.db")), 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	endless := statement{"endless", `
		WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) SELECT COUNT(*) FROM n`}
	var n int
	if err := one(ctx, p, endless, nil, &n); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if err := one(t.Context(), p, statement{"one", "SELECT 1"}, nil, &n); err != nil || n != 1 {
		t.Errorf("afterwards: %d, %v", n, err)
	}
}
