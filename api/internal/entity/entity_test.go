package entity

import (
	"encoding/json"
	"testing"

	"github.com/toolbridge/toolbridge-mcp/api/internal/payload"
)

func TestTheTableIsWhole(t *testing.T) {
	names := map[string]bool{}
	for _, k := range All {
		names[k.Name] = true
	}
	for _, k := range All {
		if k.Name == "" || k.Key == "" || k.Label == "" || k.Main == "" ||
			k.Archive.Field == "" || len(k.Actions) == 0 {
			t.Errorf("%s: a column is empty", k.Name)
		}
		for _, e := range append([]Action{{"archive route", k.Archive}}, k.Actions...) {
			if !json.Valid([]byte(e.Effect.Value)) {
				t.Errorf("%s %s: effect is not JSON: %s", k.Name, e.Name, e.Effect.Value)
			}
		}
		if k.Parent != nil {
			for _, parent := range k.Parent.Kinds {
				if !names[parent] {
					t.Errorf("%s: its parent %q is no kind", k.Name, parent)
				}
			}
		}
	}
}

func TestMainField(t *testing.T) {
	for _, c := range []struct{ kind, payload, want string }{
		{"note", `{}`, "content"},
		{"task", `{}`, "description"},
		{"note", `{"description":"d"}`, "description"},
		{"task", `{"content":"c","description":"d"}`, "content"},
		{"task", `{"content":null}`, "description"},
	} {
		kind, _ := ByKey(c.kind)
		current, err := payload.Parse([]byte(c.payload))
		if err != nil {
			t.Fatal(err)
		}
		if got := kind.MainField(current); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.kind, c.payload, got, c.want)
		}
	}
}

func TestParseUID(t *testing.T) {
	for text, want := range map[string]string{
		"0191d3a4-1111-7abc-8def-0123456789ab":          "0191d3a4-1111-7abc-8def-0123456789ab",
		"0191D3A4-1111-7ABC-8DEF-0123456789AB":          "0191d3a4-1111-7abc-8def-0123456789ab",
		"{0191d3a4-1111-7abc-8def-0123456789ab}":        "",
		"urn:uuid:0191d3a4-1111-7abc-8def-0123456789ab": "",
		"0191d3a411117abc8def0123456789ab":              "",
		"0191d3a4-1111-7abc-8def-0123456789aX":          "",
		"0191d3a4-1111-7abc-8def-0123456789ab ":         "",
		"0191d3a4_1111-7abc-8def-0123456789ab":          "",
		"":                                              "",
	} {
		got, ok := ParseUID(text)
		if got != want || ok != (want != "") {
			t.Errorf("%q: got %q, %v", text, got, ok)
		}
	}
}

func TestParentRef(t *testing.T) {
	const uid = "0191d3a4-1111-7abc-8def-0123456789ab"
	kind := func(name string) *Parent {
		for _, k := range All {
			if k.Name == name {
				return k.Parent
			}
		}
		return nil
	}
	for _, c := range []struct {
		kind, body, field string
		ref               Ref
	}{
		{"comments", `{"parentType":"note","parentUid":"` + uid + `"}`, "", Ref{"notes", uid}},
		{"comments", `{"parentType":"task","parentUid":"` + uid + `"}`, "", Ref{"tasks", uid}},
		{"comments", `{"parentType":"chat","parentUid":"` + uid + `"}`, "parentType", Ref{}},
		{"comments", `{"parentUid":"` + uid + `"}`, "parentType", Ref{}},
		{"comments", `{"parentType":7,"parentUid":"` + uid + `"}`, "parentType", Ref{}},
		{"comments", `{"parentType":"","parentUid":"` + uid + `"}`, "parentType", Ref{}},
		{"comments", `{"parentType":"note"}`, "parentUid", Ref{}},
		{"comments", `{"parentType":"note","parentUid":"x"}`, "parentUid", Ref{}},
		{"chat_messages", `{"chatUid":"` + uid + `"}`, "", Ref{"chats", uid}},
		{"chat_messages", `{}`, "chatUid", Ref{}},
		{"chat_messages", `{"chatUid":null}`, "chatUid", Ref{}},
	} {
		body, err := payload.Parse([]byte(c.body))
		if err != nil {
			t.Fatal(err)
		}
		ref, err := kind(c.kind).Ref(body)
		field := ""
		if fe, ok := err.(*FieldError); ok {
			field = fe.Field
		}
		if ref != c.ref || field != c.field {
			t.Errorf("%s %s: got %v, %v", c.kind, c.body, ref, err)
		}
	}
}
