// Package entity describes the five kinds of items, as a table. The functions below read the table;
// they handle payloads, and depend on neither HTTP nor the database.
//
// A new kind needs a row here and no other code in the API. Tasks, chats and messages are known by
// name to the overview (store/overview.go, httpapi/overview.go), and messages to
// search/document.go, which reports whether they are unread. The fields that all kinds have in
// common, such as titles and due dates, are in search/document.go.
package entity

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/toolbridge/toolbridge-mcp/api/internal/payload"
)

// Kind is one kind of item.
type Kind struct {
	Name    string // in routes and in the database: "chat_messages"
	Key     string // one of them, as a key: "chat_message"
	Label   string // one of them, in messages: "chat message"
	Archive Effect
	Actions []Action
	Parent  *Parent
	// Main is the field of the main text of an item that has none yet.
	Main string
}

// Action is a state change that POST …/process makes.
type Action struct {
	Name   string
	Effect Effect
}

// Effect sets one field of a payload.
type Effect struct {
	Field string
	Value string // JSON text
}

// Parent says which live item an item belongs to.
type Parent struct {
	UIDField  string
	TypeField string // "" when there is only one type
	// type → name of its kind; the key is "" when there is no type field
	Kinds map[string]string
}

func status(value string) Effect { return Effect{"status", `"` + value + `"`} }
func flag(field string) Effect   { return Effect{field, "true"} }

// All is every kind, in the order in which they are shown.
var All = []Kind{
	{
		Name: "notes", Key: "note", Label: "note",
		Main:    "content",
		Archive: status("archived"),
		Actions: []Action{
			{"pin", flag("pinned")},
			{"unpin", Effect{"pinned", "false"}},
			{"archive", status("archived")},
			{"unarchive", status("active")},
		},
	},
	{
		Name: "tasks", Key: "task", Label: "task",
		Main:    "description",
		Archive: status("archived"),
		Actions: []Action{
			{"start", status("in_progress")},
			{"complete", status("completed")},
			{"reopen", status("open")},
		},
	},
	{
		Name: "comments", Key: "comment", Label: "comment",
		Main:    "content",
		Archive: status("archived"),
		Actions: []Action{
			{"resolve", status("resolved")},
			{"reopen", status("open")},
		},
		Parent: &Parent{
			UIDField:  "parentUid",
			TypeField: "parentType",
			Kinds:     map[string]string{"note": "notes", "task": "tasks"},
		},
	},
	{
		Name: "chats", Key: "chat", Label: "chat",
		Main:    "content",
		Archive: flag("archived"),
		Actions: []Action{
			{"resolve", status("resolved")},
			{"reopen", status("active")},
		},
	},
	{
		Name: "chat_messages", Key: "chat_message", Label: "chat message",
		Main:    "content",
		Archive: flag("archived"),
		Actions: []Action{
			{"mark_read", flag("read")},
			{"mark_delivered", flag("delivered")},
		},
		Parent: &Parent{
			UIDField: "chatUid",
			Kinds:    map[string]string{"": "chats"},
		},
	},
}

// ServerFields are the payload fields that only the server writes.
var ServerFields = []string{"uid", "updatedTs", "sync"}

// Apply makes the effect on a payload.
func (e Effect) Apply(p *payload.Object) { p.Set(e.Field, json.RawMessage(e.Value)) }

// Action finds an action by name.
func (k Kind) Action(name string) (Effect, bool) {
	for _, a := range k.Actions {
		if a.Name == name {
			return a.Effect, true
		}
	}
	return Effect{}, false
}

// MainField is the field of the main text of an item, which may be called as with another kind.
func (k Kind) MainField(current *payload.Object) string {
	for _, name := range []string{"content", "description"} {
		if _, ok := current.Text(name); ok {
			return name
		}
	}
	return k.Main
}

// Ref points at an item.
type Ref struct{ Kind, UID string }

// FieldError says which field of a payload is wrong, and how.
type FieldError struct{ Field, Problem string }

func (e *FieldError) Error() string { return e.Field + " " + e.Problem }

// ByName finds a kind by its name. There is one for every name in the database.
func ByName(name string) Kind {
	for _, k := range All {
		if k.Name == name {
			return k
		}
	}
	return Kind{Name: name, Key: name, Label: name}
}

// KeyOf is the key of the kind with a name.
func KeyOf(name string) string { return ByName(name).Key }

// Keys are the keys of all kinds.
func Keys() []string {
	keys := make([]string, 0, len(All))
	for _, k := range All {
		keys = append(keys, k.Key)
	}
	return keys
}

// ByKey finds a kind by its key.
func ByKey(key string) (Kind, bool) {
	for _, k := range All {
		if k.Key == key {
			return k, true
		}
	}
	return Kind{}, false
}

// Names reports whether a payload has a field of its parent.
func (p *Parent) Names(body *payload.Object) bool {
	for _, field := range []string{p.UIDField, p.TypeField} {
		if _, ok := body.Get(field); ok && field != "" {
			return true
		}
	}
	return false
}

// Ref reads the parent out of a payload.
func (p *Parent) Ref(body *payload.Object) (Ref, error) {
	var ref Ref
	kind := ""
	if p.TypeField != "" {
		var ok bool
		if kind, ok = body.Text(p.TypeField); !ok {
			return ref, &FieldError{p.TypeField, "is required: " + p.types()}
		}
	}
	name, ok := p.Kinds[kind]
	if !ok {
		return ref, &FieldError{p.TypeField, "must be " + p.types()}
	}
	text, ok := body.Text(p.UIDField)
	if !ok {
		return ref, &FieldError{p.UIDField, "is required: the uid of a live " + p.label(kind)}
	}
	uid, ok := ParseUID(text)
	if !ok {
		return ref, &FieldError{p.UIDField, "must be a UUID"}
	}
	return Ref{Kind: name, UID: uid}, nil
}

// NotLive is the error for a missing or deleted parent.
func (p *Parent) NotLive(ref Ref) error {
	return &FieldError{p.UIDField, fmt.Sprintf("names no live %s", labelOf(ref.Kind))}
}

func (p *Parent) types() string {
	var names []string
	for _, k := range All { // the order of the table, not of the map
		if _, ok := p.Kinds[k.Key]; ok {
			names = append(names, k.Key)
		}
	}
	return strings.Join(names, " or ")
}

func (p *Parent) label(kind string) string { return labelOf(p.Kinds[kind]) }

func labelOf(name string) string {
	for _, k := range All {
		if k.Name == name {
			return k.Label
		}
	}
	return name
}

// ParseUID takes a UUID in its usual form and returns it in lower case. The other forms that UUID
// libraries take (braces, urn:, no hyphens) would give one item several addresses.
func ParseUID(text string) (string, bool) {
	if len(text) != 36 {
		return "", false
	}
	id, err := uuid.Parse(text)
	if err != nil {
		return "", false
	}
	return id.String(), true
}
