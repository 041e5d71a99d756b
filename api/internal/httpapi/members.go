package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/toolbridge/toolbridge-mcp/api/internal/payload"
	"github.com/toolbridge/toolbridge-mcp/api/internal/search"
	"github.com/toolbridge/toolbridge-mcp/api/internal/store"
)

// invalidMember is a member of the body that cannot be used.
func invalidMember(field, format string, args ...any) *problem {
	return &problem{
		status:  http.StatusBadRequest,
		message: field + " " + fmt.Sprintf(format, args...),
		fields:  map[string]any{"field": field},
	}
}

// members reads a body member by member, and reports those that were not read.
type members struct {
	*payload.Object
	known map[string]bool
	of    string // what has the members, for errors
	err   error
}

// get returns a member; null counts as absent.
func (m *members) get(name string) (json.RawMessage, bool) {
	m.known[name] = true
	raw, ok := m.Object.Get(name)
	return raw, ok && string(raw) != "null"
}

func (m *members) fail(field, format string, args ...any) {
	if m.err == nil {
		m.err = invalidMember(field, format, args...)
	}
}

func (m *members) text(name string) string {
	raw, ok := m.get(name)
	if !ok {
		return ""
	}
	text, ok := m.Object.Text(name)
	if !ok {
		m.fail(name, "must be a string, not %s", shorten(string(raw)))
	}
	return text
}

func (m *members) oneOf(name, fallback string, allowed ...string) string {
	switch text := m.text(name); {
	case text == "":
		return fallback
	case slices.Contains(allowed, text):
		return text
	default:
		m.fail(name, "must be one of %s, not %s", strings.Join(allowed, ", "), shorten(text))
		return fallback
	}
}

func (m *members) list(name string, most int) []string {
	raw, ok := m.get(name)
	if !ok {
		return nil
	}
	var out []string
	if err := json.Unmarshal(raw, &out); err != nil {
		m.fail(name, "must be a list of strings")
	}
	if len(out) > most {
		m.fail(name, "has too many values: at most %d", most)
		return nil
	}
	return out
}

func (m *members) flag(name string) bool {
	raw, ok := m.get(name)
	switch {
	case !ok, string(raw) == "false":
		return false
	case string(raw) != "true":
		m.fail(name, "must be true or false")
	}
	return true
}

func (m *members) number(name string, fallback, least, most int) int {
	raw, ok := m.get(name)
	if !ok {
		return fallback
	}
	n, err := strconv.Atoi(string(raw))
	if err != nil || n < least || n > most {
		m.fail(name, "must be a whole number from %d to %d", least, most)
	}
	return n
}

// between reads a range of times. A date is that day's midnight in UTC, so "after" a date includes
// the day and "before" does not.
func (m *members) between(after, before string) store.Range {
	read := func(name string) *int64 {
		text := m.text(name)
		if text == "" {
			return nil
		}
		at, _, ok := search.ParseTime(text)
		if !ok {
			m.fail(name, "must be a date like 2026-03-01 or a time like 2026-03-01T12:00:00Z")
		}
		ms := at.UnixMilli()
		return &ms
	}
	r := store.Range{From: read(after), Before: read(before)}
	if r.From != nil && r.Before != nil && *r.From >= *r.Before {
		m.fail(before, "must be later than %s", after)
	}
	return r
}

// unknown names a member that nothing has asked for.
func (m *members) unknown() {
	m.Object.Each(func(name string, _ json.RawMessage) {
		if !m.known[name] {
			m.fail(shorten(name), "is not an argument of %s", m.of)
		}
	})
}

func (m *members) version(name string) int64 {
	raw, ok := m.get(name)
	if !ok {
		return 0
	}
	version, err := strconv.ParseUint(string(raw), 10, 63)
	if err != nil || version == 0 {
		m.fail(name, "must be a version: a whole number from 1 on")
	}
	return int64(version)
}
