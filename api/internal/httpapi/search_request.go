package httpapi

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/toolbridge/toolbridge-mcp/api/internal/entity"
	"github.com/toolbridge/toolbridge-mcp/api/internal/payload"
	"github.com/toolbridge/toolbridge-mcp/api/internal/search"
	"github.com/toolbridge/toolbridge-mcp/api/internal/store"
)

const (
	defaultHits = 10
	maxHits     = 50
	maxTagsSent = 20
)

// searchCall is a search as its caller sent it, checked.
type searchCall struct {
	store.Search
	query    string
	detail   int // characters of a snippet
	identity string
}

func readSearch(body *payload.Object, c *call) (searchCall, error) {
	m := &members{Object: body, known: make(map[string]bool), of: "a search"}
	var s searchCall
	s.query = m.text("query")
	node, err := search.ParseQuery(s.query)
	if err != nil {
		p := badRequest(err.Error())
		p.fields = map[string]any{"field": "query"}
		return s, p
	}
	s.Query = node
	keys := entity.Keys()
	s.Filter.Kinds = m.list("kinds", len(keys))
	for _, kind := range s.Filter.Kinds {
		if !slices.Contains(keys, kind) {
			m.fail("kinds", "must be some of %s, not %s", strings.Join(keys, ", "), shorten(kind))
		}
	}
	if parent := m.text("parentUid"); parent != "" {
		uid, ok := entity.ParseUID(parent)
		if !ok {
			m.fail("parentUid", "must be a UUID")
		}
		s.Filter.Parent = uid
	}
	for _, tag := range m.list("tags", maxTagsSent) {
		if strings.TrimSpace(tag) == "" {
			m.fail("tags", "must not be empty")
		}
		s.Filter.Tags = append(s.Filter.Tags, tag)
	}
	s.Filter.Status, s.Filter.Priority = m.text("status"), m.text("priority")
	s.Updated, s.Due = m.between("updatedAfter", "updatedBefore"), m.between(
		"dueAfter",
		"dueBefore",
	)
	archivedToo := m.flag("includeArchived") || strings.EqualFold(s.Filter.Status, "archived")
	s.Filter.States = states(
		archivedToo,
		m.oneOf("deleted", "exclude", "exclude", "only", "include"),
	)
	fallback := store.Newest
	if s.Query != nil {
		fallback = store.Relevance
	}
	s.Order = store.Order(
		m.oneOf("order", string(fallback), "relevance", "newest", "oldest", "due"),
	)
	if s.Order == store.Relevance && s.Query == nil {
		m.fail("order", "can only be relevance where there is a query")
	}
	s.GroupBy = m.oneOf("groupBy", "", store.GroupFields...)
	s.detail = search.SnippetLength
	if m.oneOf("detail", "snippet", "snippet", "passage") == "passage" {
		s.detail = search.PassageLength
	} else if s.Query == nil {
		s.detail = search.BeginningLength
	}
	s.Limit = m.number("limit", defaultHits, 0, maxHits)
	cursor := m.text("cursor")
	m.unknown()
	if m.err != nil {
		return s, m.err
	}
	s.identity = identity(c, body)
	if cursor != "" {
		if s.After, err = s.parseCursor(cursor); err != nil {
			return s, err
		}
	}
	return s, nil
}

func states(archivedToo bool, deleted string) []search.State {
	if deleted == "only" {
		return []search.State{search.Deleted}
	}
	out := []search.State{search.Live}
	if archivedToo {
		out = append(out, search.Archived)
	}
	if deleted == "include" {
		out = append(out, search.Deleted)
	}
	return out
}

// identity identifies one search of one user: a cursor of another one is invalid. The size of a
// page and the detail may change from page to page.
func identity(c *call, body *payload.Object) string {
	h := sha256.New()
	for _, part := range []string{c.person.Tenant, c.person.Subject} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	same := body.Without("cursor", "limit", "detail")
	var names []string
	same.Each(func(name string, _ json.RawMessage) { names = append(names, name) })
	slices.Sort(names)
	for _, name := range names {
		raw, _ := same.Get(name)
		fmt.Fprintf(h, "%q:%s", name, raw)
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:15])
}

// cursor says where a page ended. It is not secret, and bound to its search: a forged one leads to
// another position in the results of the same user and search.
func (s searchCall) cursor(p store.SearchPosition) string {
	return base64.RawURLEncoding.EncodeToString(
		fmt.Appendf(nil, "%s|%s|%d|%d", s.identity, p.Mode, p.Key, p.Updated),
	)
}

func (s searchCall) parseCursor(text string) (*store.SearchPosition, error) {
	broken := invalidMember(
		"cursor",
		"is broken: send nextCursor of the page before, unchanged, or none",
	)
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, broken
	}
	parts := strings.Split(string(raw), "|")
	if len(parts) != 4 {
		return nil, broken
	}
	if parts[0] != s.identity {
		return nil, invalidMember(
			"cursor",
			"is of another search: send the arguments that it was given for, or no cursor",
		)
	}
	p := store.SearchPosition{Mode: parts[1]}
	var errKey, errUpdated error
	p.Key, errKey = strconv.ParseInt(parts[2], 10, 64)
	p.Updated, errUpdated = strconv.ParseInt(parts[3], 10, 64)
	if errKey != nil || errUpdated != nil || p.Updated < 0 || !p.Fits(s.Order) ||
		s.cursor(p) != text {
		return nil, broken
	}
	return &p, nil
}
