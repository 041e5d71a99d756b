package httpapi

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/toolbridge/toolbridge-mcp/api/internal/budget"
	"github.com/toolbridge/toolbridge-mcp/api/internal/store"
)

// Changes of large items that wait for the writer at the same time succeed: each needs its memory
// only while it is made, for which there is a reserve. The limits are those of the defaults.
func TestChangesOfLargeItemsThatWaitTogether(t *testing.T) {
	for _, c := range []struct{ persons, each, bytes int }{
		{1, 8, 1 << 20},
		{1, 16, 512 << 10},
		{16, 1, 1 << 20},
	} {
		name := fmt.Sprint(c.persons, " persons, ", c.each, " items of ", c.bytes)
		t.Run(name, func(t *testing.T) { changeLargeItems(t, c.persons, c.each, c.bytes) })
	}
}

func changeLargeItems(t *testing.T, persons, each, bytes int) {
	h := newFixture(t)
	const perPerson = 24 << 20
	h.api.Memory = budget.New[store.Person](48<<20, perPerson, perPerson/3, MemoryWait)
	payload := []byte(`{"content":"` + strings.Repeat("x", bytes-20) + `"}`)
	var last store.Session
	var archive []*http.Request
	for n := range persons {
		who := store.Person{Tenant: "acme", Subject: fmt.Sprint("person ", n)}
		session, err := h.db.OpenSession(t.Context(), who)
		if err != nil {
			t.Fatal(err)
		}
		last = session
		owner := store.Owner{ID: session.Owner, Epoch: session.Epoch}
		claims := jwt.MapClaims{"sub": who.Subject, "exp": time.Now().Add(time.Hour).Unix()}
		token := h.sign(t, claims)
		for range each {
			uid := uuid.NewString()
			put := func(store.Tx, *store.Item) (store.Next, error) {
				return store.Next{Payload: payload}, nil
			}
			if _, err := h.db.Write(t.Context(), owner, "notes", uid, put); err != nil {
				t.Fatal(err)
			}
			target := h.url + "/v1/notes/" + uid + "/archive"
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+token)
			r.Header.Set(headerSession, session.ID)
			r.Header.Set(headerEpoch, "1")
			archive = append(archive, r)
		}
	}
	release := h.holdWriter(t, last)
	before := h.waits()
	var wg sync.WaitGroup
	var mu sync.Mutex
	statuses := make(map[int]int)
	for _, r := range archive {
		wg.Go(func() {
			a, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			_ = a.Body.Close()
			mu.Lock()
			defer mu.Unlock()
			statuses[a.StatusCode]++
		})
	}
	for h.waits() < before+int64(len(archive)) {
		time.Sleep(time.Millisecond)
	}
	release()
	wg.Wait()
	if statuses[http.StatusOK] != len(archive) {
		t.Errorf("statuses: %v", statuses)
	}
}
