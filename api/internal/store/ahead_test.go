package store

import (
	"errors"
	"reflect"
	"testing"
	"time"
)

// What is read with a session is what its owner would read afterwards, and nothing without one.
func TestReadingAheadIsReading(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		s := open(t, time.Now)
		session, owner := person(t, s)
		ctx, parent := t.Context(), newUID()
		uids := []string{newUID(), newUID(), newUID()}
		write(t, s, owner, parent, put(`{}`))
		for _, uid := range uids {
			write(t, s, owner, uid, put(`{"title":"`+uid+`"}`))
		}
		end := func(id string) {
			t.Helper()
			if err := s.EndSession(ctx, id, session.Person); err != nil {
				t.Fatal(err)
			}
		}
		for _, uid := range append(uids, newUID()) {
			want, wantErr := s.Get(ctx, owner.ID, "notes", uid)
			ahead := &Ahead{Kind: "notes", UID: uid}
			found, err := s.FindSessionAhead(ctx, session.ID, ahead)
			if err != nil || found.Person != session.Person || found.ServerEpoch != session.Epoch {
				t.Fatalf("%+v, %v", found, err)
			}
			if !errors.Is(ahead.Err, wantErr) || !reflect.DeepEqual(ahead.Item, want) {
				t.Errorf("got %+v, %v, want %+v, %v", ahead.Item, ahead.Err, want, wantErr)
			}
		}
		full := func(Item) bool { return false }
		for name, page := range map[string]Page{
			"all":     {After: Beginning, Limit: 10, MaxBytes: 1 << 20},
			"few":     {After: Beginning, Limit: 2, MaxBytes: 1 << 20},
			"small":   {After: Beginning, Limit: 10, MaxBytes: 1},
			"full":    {After: Beginning, Limit: 10, MaxBytes: 1 << 20, Reserve: full},
			"newest":  {After: End, Limit: 3, MaxBytes: 1 << 20, Newest: true},
			"parent":  {After: Beginning, Limit: 3, MaxBytes: 1 << 20, Parent: parent},
			"deleted": {After: Beginning, Limit: 3, MaxBytes: 1 << 20, IncludeDeleted: true},
		} {
			want, wantMore, err := s.List(ctx, owner.ID, "notes", page)
			if err != nil {
				t.Fatal(err)
			}
			ahead := &Ahead{Kind: "notes", Page: page}
			if _, err := s.FindSessionAhead(ctx, session.ID, ahead); err != nil ||
				ahead.Err != nil {
				t.Fatalf("%s: %v, %v", name, err, ahead.Err)
			}
			if ahead.More != wantMore || !reflect.DeepEqual(ahead.Items, want) {
				t.Errorf("%s: got %+v, want %+v", name, ahead.Items, want)
			}
		}
		end(session.ID)
		for _, id := range []string{session.ID, newUID(), "no uuid"} {
			ahead := &Ahead{Kind: "notes", UID: uids[0]}
			_, err := s.FindSessionAhead(ctx, id, ahead)
			if !errors.Is(err, ErrNoSession) || ahead.Item.UID != "" {
				t.Errorf("%s: %+v, %v", id, ahead.Item, err)
			}
		}
	})
}
