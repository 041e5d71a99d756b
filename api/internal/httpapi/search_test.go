package httpapi

import (
	"encoding/base64"
	"errors"
	"testing"

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
	for _, p := range []store.Place{{Mode: "s", Key: 5, Updated: 7}, {Mode: "h", Updated: 9}, {Mode: "t", Updated: 1}, {Mode: "s", Updated: -1}} {
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

func TestASearchOfAnotherPersonHasAnotherIdentity(t *testing.T) {
	body, err := payload.Parse([]byte(`{"query":"a"}`))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, who := range []store.Person{{Tenant: "t", Subject: "s"}, {Tenant: "ts", Subject: ""}, {Tenant: "", Subject: "ts"}, {Tenant: "t", Subject: "s2"}} {
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
