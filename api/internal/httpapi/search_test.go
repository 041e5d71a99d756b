package httpapi

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/toolbridge/toolbridge-mcp/api/internal/entity"
	"github.com/toolbridge/toolbridge-mcp/api/internal/payload"
	"github.com/toolbridge/toolbridge-mcp/api/internal/store"
)

// A cursor that was not given for this very search is refused; whatever is taken means what it
// says.
func FuzzSearchCursor(f *testing.F) {
	body, err := payload.Parse([]byte(`{"query":"a b","kinds":["note"]}`))
	if err != nil {
		f.Fatal(err)
	}
	mine := &call{person: store.Person{Tenant: "t", Subject: "s"}}
	s, err := readSearch(body, mine)
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range []store.SearchPosition{
		{Mode: "s", Key: 5, Updated: 7}, {Mode: "h", Updated: 9}, {Mode: "t", Updated: 1},
		{Mode: "s", Updated: -1},
	} {
		f.Add(s.cursor(p))
	}
	f.Add(base64.RawURLEncoding.EncodeToString([]byte(s.identity + "|s|+5|7")))
	f.Add("")
	f.Add("====")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := s.parseCursor(text)
		if err != nil {
			var refused *problem
			if !errors.As(err, &refused) || refused.status != 400 ||
				refused.fields["field"] != "cursor" {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if s.cursor(*p) != text || !p.Fits(s.Order) || p.Updated < 0 {
			t.Fatalf("%q is taken for %+v", text, p)
		}
	})
}

// slowSearch is a store in which every search takes too long.
type slowSearch struct{ store.Store }

func (slowSearch) Search(context.Context, int64, store.Search) (store.Findings, error) {
	return store.Findings{}, store.ErrSearchSlow
}

// A search that was given up is worth another try, unless it is its own prefix that makes it slow.
func TestASlowSearchSaysWhatToChange(t *testing.T) {
	h := newFixtureOn(t, func(s store.Store) store.Store { return slowSearch{s} })
	session, err := h.db.OpenSession(t.Context(), store.Person{Tenant: "acme", Subject: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]struct {
		status int
		text   string
	}{
		"a sa* b": {400, "too many words begin with sa*"},
		"sandy":   {503, "took too long"},
	} {
		status, text, err := h.post(
			t.Context(),
			"/v1/search",
			`{"query":"`+query+`"}`,
			session.ID,
			"",
		)
		if err != nil || status != want.status || !strings.Contains(text, want.text) {
			t.Errorf("%s: %d %s, %v", query, status, text, err)
		}
	}
}

// A cursor of a list means what it says, and only in the list that it was given for.
func FuzzListCursor(f *testing.F) {
	notes, messages := items{kind: entity.All[0]}, items{kind: entity.All[4]}
	of := store.Page{Parent: "11111111-1111-4111-8111-111111111111"}
	f.Add(notes.cursor(store.Page{}, store.Position{At: 5, UID: of.Parent}))
	f.Add(notes.cursor(store.Page{Newest: true}, store.Position{At: 7, UID: of.Parent}))
	f.Add(messages.cursor(of, store.Position{At: 9, UID: of.Parent}))
	f.Add(base64.RawURLEncoding.EncodeToString([]byte("notes|+5|" + of.Parent)))
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		takers := 0
		for _, list := range []struct {
			items
			store.Page
		}{{notes, store.Page{}}, {notes, store.Page{Newest: true}}, {messages, store.Page{}}, {
			messages, of,
		}} {
			p, ok := list.parseCursor(list.Page, text)
			if !ok {
				continue
			}
			takers++
			again, ok := list.parseCursor(list.Page, list.cursor(list.Page, p))
			if p.At < 0 || !ok || again != p {
				t.Fatalf("%q is taken for %+v, then for %+v", text, p, again)
			}
		}
		if takers > 1 {
			t.Fatalf("%q is taken by %d lists", text, takers)
		}
	})
}

func TestASearchOfAnotherPersonHasAnotherIdentity(t *testing.T) {
	body, err := payload.Parse([]byte(`{"query":"a"}`))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, who := range []store.Person{
		{Tenant: "t", Subject: "s"}, {Tenant: "ts", Subject: ""}, {Tenant: "", Subject: "ts"},
		{Tenant: "t", Subject: "s2"},
	} {
		s, err := readSearch(body, &call{person: who})
		if err != nil {
			t.Fatal(err)
		}
		if seen[s.identity] {
			t.Errorf("%+v shares an identity", who)
		}
		seen[s.identity] = true
	}
}
