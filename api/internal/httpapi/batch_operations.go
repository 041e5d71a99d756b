package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/toolbridge/toolbridge-mcp/api/internal/entity"
	"github.com/toolbridge/toolbridge-mcp/api/internal/payload"
	"github.com/toolbridge/toolbridge-mcp/api/internal/store"
	"github.com/toolbridge/toolbridge-mcp/api/internal/textedit"
)

// maxTagsMoved bounds the tags that one operation adds, and those that it removes.
const maxTagsMoved = 100

// operation is one operation of a batch, checked as far as that is possible without the item.
type operation struct {
	items
	op, uid string
	change  store.Change
}

// operationMemory is the memory for one operation after the other: what one has released the next
// may use.
type operationMemory struct {
	a          *API
	r          *http.Request
	used, most int64
}

func (m *operationMemory) begin() { m.used = 0 }

func (m *operationMemory) need(bytes int64) error {
	m.used += bytes
	if m.used <= m.most {
		return nil
	}
	if err := m.a.growInside(m.r, m.used-m.most); err != nil {
		return err
	}
	m.most = m.used
	return nil
}

// operationMembers are those that some operation has. A member that is null counts as absent.
var operationMembers = []string{
	"op",
	"kind",
	"uid",
	"fields",
	"updates",
	"addTags",
	"removeTags",
	"action",
	"text",
	"operation",
	"find",
	"heading",
	"field",
	"ifMatch",
	"toVersion",
}

func (a *API) readOperation(
	text json.RawMessage,
	b *batchCall,
	memory *operationMemory,
) (op operation, err error) {
	object, err := b.object(text)
	if err != nil {
		return op, err
	}
	m := &members{Object: object, known: make(map[string]bool)}
	for _, name := range operationMembers {
		if raw, ok := object.Get(name); ok && string(raw) == "null" {
			m.known[name] = true
		}
	}
	names := []string{"create", "patch", "tag", "edit", "process", "archive", "delete", "restore"}
	op.op = m.oneOf("op", "", names...)
	m.of = op.op
	kind, ok := entity.ByKey(m.text("kind"))
	switch {
	case m.err != nil:
		return op, m.err
	case op.op == "":
		return op, invalidMember("op", "is required: one of %s", strings.Join(names, ", "))
	case !ok:
		return op, invalidMember("kind", "must be one of %s", strings.Join(entity.Keys(), ", "))
	}
	op.items = items{a, kind}
	uid := m.text("uid")
	if uid == "" && op.op == "create" {
		op.uid = uuid.Must(uuid.NewV7()).String()
	} else if op.uid, ok = entity.ParseUID(uid); !ok {
		m.fail("uid", "must be a UUID")
	}
	expected := int64(0)
	if op.op != "create" {
		expected = m.version("ifMatch")
	}
	change, err := op.read(m, b, expected, memory)
	if err != nil {
		return op, err
	}
	if m.unknown(); m.err != nil {
		return op, m.err
	}
	op.change = func(tx store.Tx, current *store.Item) (store.Next, error) {
		memory.begin()
		return change(tx, current)
	}
	return op, nil
}

// object reads an object of a batch, and counts its members.
func (b *batchCall) object(text json.RawMessage) (*payload.Object, error) {
	object, err := payload.Parse(text)
	if errors.Is(err, payload.ErrNotObject) {
		return nil, badRequest("must be an object")
	} else if err != nil {
		return nil, badRequest(err.Error())
	}
	if b.members += object.Len(); b.members > payload.MaxMembers {
		return nil, &problem{
			status: http.StatusRequestEntityTooLarge,
			message: fmt.Sprintf(
				"too many members in all operations: at most %d",
				payload.MaxMembers,
			),
		}
	}
	return object, nil
}

// read makes the change of an operation. Mistakes of members are left in m.
func (op *operation) read(
	m *members,
	b *batchCall,
	expected int64,
	memory *operationMemory,
) (store.Change, error) {
	part := func(name string) (*payload.Object, error) {
		raw, ok := m.get(name)
		if !ok || raw[0] != '{' {
			return nil, invalidMember(name, "is required: an object")
		}
		return b.object(raw)
	}
	live := func(do edit) store.Change { return op.live(expected, memory.need, do) }
	switch op.op {
	case "create":
		fields, err := part("fields")
		if err != nil {
			return nil, err
		}
		return op.created(fields), nil
	case "patch":
		updates, err := part("updates")
		if err != nil {
			return nil, err
		}
		return live(op.merged(updates)), nil
	case "tag":
		add, remove := m.list("addTags", maxTagsMoved), m.list("removeTags", maxTagsMoved)
		if len(add)+len(remove) == 0 {
			m.fail("addTags", "or removeTags is required: a list of strings")
		}
		return live(op.tagged(add, remove)), nil
	case "edit":
		e := textedit.Edit{
			Operation: m.oneOf("operation", "", textedit.Operations...),
			Text:      m.text("text"),
		}
		switch e.Operation {
		case "":
			m.fail("operation", "is required: one of %s", strings.Join(textedit.Operations, ", "))
		case textedit.Replace, textedit.InsertAfter:
			if e.Find = m.text("find"); e.Find == "" {
				m.fail("find", "is required: the text to look for")
			}
		case textedit.ReplaceSection:
			if e.Heading = m.text("heading"); e.Heading == "" {
				m.fail("heading", "is required: the title of the section")
			}
		}
		return live(op.edited(e, m.text("field"), memory)), nil
	case "process":
		m.known["action"] = true
		effect, err := op.action(m.Object)
		if err != nil {
			return nil, err
		}
		return live(applied(effect, store.OpProcess)), nil
	case "archive":
		return live(applied(op.kind.Archive, store.OpArchive)), nil
	case "delete":
		return live(deleted), nil
	}
	restore := op.restored(expected, m.version("toVersion"))
	return func(tx store.Tx, current *store.Item) (store.Next, error) {
		if err := memory.need(versionCopies * op.itemBytes()); err != nil {
			return store.Next{}, err
		}
		return restore(tx, current)
	}, nil
}

func unusable(field, format string, args ...any) *problem {
	p := invalidMember(field, format, args...)
	p.status = http.StatusUnprocessableEntity
	return p
}

// tagged adds and removes tags, and leaves the others and their order as they are.
func (i items) tagged(add, remove []string) edit {
	return func(_ store.Tx, current *payload.Object) (store.Next, error) {
		var tags []json.RawMessage
		if raw, ok := current.Get("tags"); ok && json.Unmarshal(raw, &tags) != nil {
			return store.Next{}, unusable("tags", "of the %s are not a list", i.kind.Label)
		}
		var kept [][]byte
		has := make(map[string]bool)
		for _, raw := range tags {
			var tag string
			if json.Unmarshal(raw, &tag) == nil {
				if slices.Contains(remove, tag) && !slices.Contains(add, tag) {
					continue
				}
				has[tag] = true
			}
			kept = append(kept, raw)
		}
		for _, tag := range add {
			if !has[tag] {
				has[tag] = true
				kept = append(kept, jsonText(tag))
			}
		}
		current.Set("tags", slices.Concat([]byte("["), bytes.Join(kept, []byte(",")), []byte("]")))
		if err := i.checkSize(current); err != nil {
			return store.Next{}, err
		}
		return store.Next{Payload: current.JSON(), Operation: store.OpTag}, nil
	}
}

// jsonText is a string as JSON, with no more escaped than must be.
func jsonText(text string) json.RawMessage {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // a string always encodes
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

// edited changes a place of a field's text: that of field, or else of the item's main text.
func (i items) edited(e textedit.Edit, field string, memory *operationMemory) edit {
	return func(tx store.Tx, current *payload.Object) (store.Next, error) {
		name := field
		if name == "" {
			name = i.kind.MainField(current)
		}
		if slices.Contains(entity.ServerFields, name) {
			return store.Next{}, unusable("field", "must not be one that the server writes")
		}
		text := ""
		if raw, ok := current.Get(name); ok && string(raw) != "null" {
			if text, ok = current.Text(name); !ok {
				return store.Next{}, unusable("field", "%s is not a text", shorten(name))
			}
			if strings.ContainsRune(text, '\uFFFD') &&
				bytes.Contains(bytes.ToLower(raw), []byte(`\ud`)) {
				return store.Next{}, unusable(
					"field",
					"%s has half of a character, which an edit would lose",
					shorten(name),
				)
			}
		}
		// The text as it was and as it is, each once more as JSON.
		if err := memory.need(2 * copies * int64(len(text)+len(e.Text))); err != nil {
			return store.Next{}, err
		}
		changed, err := e.Apply(text)
		var mismatch *textedit.MatchError
		if errors.As(err, &mismatch) {
			p := unusable(
				mismatch.Argument,
				"%s",
				strings.TrimPrefix(mismatch.Error(), mismatch.Argument+" "),
			)
			p.fields["count"] = mismatch.Count
			return store.Next{}, p
		} else if err != nil {
			return store.Next{}, err
		}
		current.Set(name, jsonText(changed))
		if err := i.checkSize(current); err != nil {
			return store.Next{}, err
		}
		if i.kind.Parent != nil &&
			(name == i.kind.Parent.UIDField || name == i.kind.Parent.TypeField) {
			return i.whole(tx, current, store.OpEdit)
		}
		return store.Next{Payload: current.JSON(), Operation: store.OpEdit}, nil
	}
}
