package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// A member of a JSON object, in the order in which it was written.
type member struct {
	name  string
	value json.RawMessage
}

// members reads the top level of an object in order, duplicates included.
func members(raw []byte) ([]member, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return nil, fmt.Errorf("not an object: %.80q (%v)", raw, err)
	}
	var all []member
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		m := member{name: name.(string)}
		if err := decoder.Decode(&m.value); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

// own is what the caller wrote of a payload: everything but the three members that belong to the
// server, spelled so that two payloads are the same text exactly when keys and their order,
// strings, and numbers to the last digit agree.
func own(t testing.TB, payload []byte) string {
	t.Helper()
	all, err := members(payload)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, m := range all {
		if m.name == "uid" || m.name == "updatedTs" || m.name == "sync" {
			continue
		}
		fmt.Fprintf(&b, "%q: %s\n", m.name, spelled(m.value))
	}
	return b.String()
}

// spelled writes a JSON value in one way: no white space, strings by their content, numbers as they
// were written.
func spelled(raw []byte) string {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var b strings.Builder
	for {
		token, err := decoder.Token()
		if err != nil {
			return b.String()
		}
		switch v := token.(type) {
		case json.Number:
			b.WriteString(v.String())
		case string:
			b.WriteString(strconv.Quote(v))
		default:
			fmt.Fprint(&b, v)
		}
		b.WriteByte(' ')
	}
}

// payloadMember is a top-level member of an item's payload as JSON text; "" when it is absent.
func (it item) payloadMember(t testing.TB, name string) string {
	t.Helper()
	all, err := members(it.Payload)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if m.name == name {
			return string(m.value)
		}
	}
	return ""
}

func (it item) wantMember(t testing.TB, name, value string) {
	t.Helper()
	if got := it.payloadMember(t, name); spelled([]byte(got)) != spelled([]byte(value)) {
		t.Errorf("payload.%s is %s, want %s", name, orAbsent(got), orAbsent(value))
	}
}

func orAbsent(text string) string {
	if text == "" {
		return "absent"
	}
	return text
}
