package store

import (
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// The connection that writes is replaced between writes; none is lost or left open.
func TestTheWriterIsReopenedAmongWrites(t *testing.T) {
	s := openSQLite(t, filepath.Join(t.TempDir(), "x.db"), time.Now)
	_, owner := person(t, s)
	db := s.(*sqliteStore).db
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 30 {
				_, err := s.Write(t.Context(), owner, "notes", newUID(), put(`{"title":"w"}`))
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 3 {
		wg.Go(func() {
			for range 10 {
				if err := db.writes.reopen(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if now := db.writes.now(""); now.InUse != 0 || now.Idle != 1 {
		t.Errorf("%+v", now)
	}
	checkIndexAtEnd(t, s)
	c, err := db.writes.acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before, got := db.writes.now("").Waits, make(chan error)
	go func() { got <- db.writes.reopen(t.Context()) }()
	for db.writes.now("").Waits == before {
		time.Sleep(time.Millisecond)
	}
	s.Close()
	db.writes.release(c)
	if err := <-got; err == nil {
		t.Error("reopened after the end")
	}
	if db.writes.open != 0 {
		t.Errorf("%d open", db.writes.open)
	}
}
