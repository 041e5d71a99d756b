package store

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

func TestCreating(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		s := open(t, time.Now)
		_, owner := person(t, s)
		ctx, uid := t.Context(), newUID()
		first := Next{Payload: []byte(`{"title":"first words"}`), Operation: OpCreate}
		item, err := s.Create(ctx, owner, "notes", uid, first)
		if err != nil {
			t.Fatal(err)
		}
		stored, err := s.Get(ctx, owner.ID, "notes", uid)
		if err != nil || stored.Version != 1 || stored.Operation != OpCreate ||
			stored.Updated != item.Updated || stored.Created != item.Created ||
			stored.Created != stored.Updated || string(stored.Payload) != string(first.Payload) {
			t.Errorf("%+v, %v, created %+v", stored, err, item)
		}
		if _, err := s.Create(ctx, owner, "notes", uid, first); !errors.Is(err, ErrExists) {
			t.Errorf("a second time: %v", err)
		}
		gone := func(Tx, *Item) (Next, error) {
			return Next{Payload: []byte(`{}`), Delete: true}, nil
		}
		write(t, s, owner, uid, gone)
		if _, err := s.Create(ctx, owner, "notes", uid, first); !errors.Is(err, ErrExists) {
			t.Errorf("after its end: %v", err)
		}
		stale := Owner{owner.ID, owner.Epoch + 1}
		_, err = s.Create(ctx, stale, "notes", newUID(), first)
		if !errors.Is(err, ErrStaleEpoch) {
			t.Errorf("in another epoch: %v", err)
		}
		items, _, err := s.List(ctx, owner.ID, "notes",
			Page{After: Beginning, Limit: 10, MaxBytes: 1 << 20, IncludeDeleted: true})
		if err != nil || len(items) != 1 {
			t.Errorf("%d items, %v", len(items), err)
		}
	})
}

// Creations and other writes of one person have times of their own, and the index is true.
func TestCreatingBesideOtherWrites(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		s := open(t, time.Now)
		_, owner := person(t, s)
		var wg sync.WaitGroup
		var mu sync.Mutex
		seen := make(map[int64]bool)
		for n := range 8 {
			wg.Go(func() {
				for range 20 {
					var item Item
					var err error
					if n%2 == 0 {
						first := Next{Payload: []byte(`{"title":"some words"}`)}
						item, err = s.Create(t.Context(), owner, "notes", newUID(), first)
					} else {
						item, err = s.Write(t.Context(), owner, "notes", newUID(), put(`{}`))
					}
					mu.Lock()
					if err != nil || seen[item.Updated] {
						t.Errorf("%+v, %v", item, err)
					}
					seen[item.Updated] = true
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		report, err := s.CheckIndex(t.Context())
		if err != nil || report.Items != 160 || report.Missing != 0 || len(report.Faults) != 0 {
			t.Errorf("%+v, %v", report, err)
		}
	})
}

// A creation that waits for another write is made after it, and one without the time to wait says
// that nothing was changed.
func TestCreatingWaitsForTheRow(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		s := open(t, time.Now)
		_, owner := person(t, s)
		began, goOn, held := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		go func() {
			_, err := s.Write(t.Context(), owner, "notes", newUID(),
				func(Tx, *Item) (Next, error) {
					close(began)
					<-goOn
					return Next{Payload: []byte(`{}`)}, nil
				})
			held <- err
		}()
		<-began
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		first := Next{Payload: []byte(`{}`)}
		_, err := s.Create(ctx, owner, "notes", newUID(), first)
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("without time: %v", err)
		}
		created := make(chan error, 1)
		go func() {
			_, err := s.Create(t.Context(), owner, "notes", newUID(), first)
			created <- err
		}()
		close(goOn)
		if err := errors.Join(<-held, <-created); err != nil {
			t.Error(err)
		}
	})
}
