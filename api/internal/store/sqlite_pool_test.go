package store

import (
	"context"
	"errors"
	"testing"
	"time"
)

// Who waits for a connection when the pool is closed gets an error, and not a connection that is
// none.
func TestAWaitEndsWithThePool(t *testing.T) {
	p, err := openPool("file:/closed?vfs=memdb", 1)
	if err != nil {
		t.Fatal(err)
	}
	taken, err := p.acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	type acquired struct {
		c   *sqliteConnection
		err error
	}
	got := make(chan acquired, 1)
	go func() {
		c, err := p.acquire(context.Background())
		got <- acquired{c, err}
	}()
	for p.now("").Waits == 0 {
		time.Sleep(time.Millisecond)
	}
	p.close()
	if out := <-got; !errors.Is(out.err, errPoolClosed) {
		t.Errorf("got %v and %v", out.c, out.err)
	}
	p.release(taken)
	if p.now("").InUse != 0 {
		t.Errorf("%d are open", p.now("").InUse)
	}
}
