package httpapi

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/toolbridge/toolbridge-mcp/api/internal/entity"
	"github.com/toolbridge/toolbridge-mcp/api/internal/payload"
	"github.com/toolbridge/toolbridge-mcp/api/internal/search"
	"github.com/toolbridge/toolbridge-mcp/api/internal/store"
	"github.com/toolbridge/toolbridge-mcp/api/internal/telemetry"
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

// invalidMember is a member of the body that cannot be used.
func invalidMember(field, format string, args ...any) *problem {
	return &problem{
		status:  http.StatusBadRequest,
		message: field + " " + fmt.Sprintf(format, args...),
		fields:  map[string]any{"field": field},
	}
}

func (a *API) search(w http.ResponseWriter, r *http.Request) error {
	body, err := a.readObject(w, r)
	if err != nil {
		return err
	}
	c := callOf(r.Context())
	s, err := readSearch(body, c)
	if err != nil {
		return err
	}
	// The item as it is stored, and its texts.
	s.Reserve = func(item store.Item) error { return a.grow(r, 2*payloadBytes(item)) }
	found, err := a.Store.Search(r.Context(), c.session.Owner, s.Search)
	if broad := search.BroadPrefix(s.Query); broad != "" && errors.Is(err, store.ErrSearchSlow) {
		return tooBroad(broad)
	} else if err != nil {
		return err
	}
	out, err := a.findings(r, s, found)
	if err != nil {
		return err
	}
	if found.Total == 0 {
		out.Hints = a.hints(r, s)
	}
	writeJSON(w, http.StatusOK, out)
	return nil
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
	keys := kindKeys()
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

type parentBody struct {
	Kind  string `json:"kind"`
	UID   string `json:"uid"`
	Title string `json:"title,omitempty"`
}

type resultBody struct {
	ID        string      `json:"id"`
	Kind      string      `json:"kind"`
	UID       string      `json:"uid"`
	Title     string      `json:"title"`
	TitleFrom string      `json:"titleFrom,omitempty"` // "parent" where the item itself has none
	Snippet   string      `json:"snippet"`
	URL       string      `json:"url"`
	Version   int64       `json:"version"`
	CreatedAt string      `json:"createdAt"`
	UpdatedAt string      `json:"updatedAt"`
	DeletedAt string      `json:"deletedAt,omitempty"`
	Archived  bool        `json:"archived,omitempty"`
	Status    string      `json:"status,omitempty"`
	Priority  string      `json:"priority,omitempty"`
	DueDate   string      `json:"dueDate,omitempty"`
	Tags      []string    `json:"tags,omitempty"`
	Parent    *parentBody `json:"parent,omitempty"`
}

type groupBody struct {
	Value *string `json:"value"` // null where items have none
	Count int64   `json:"count"`
}

type progressBody struct {
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
}

type findingsBody struct {
	Results       []resultBody  `json:"results"`
	Total         int64         `json:"total"`
	NextCursor    string        `json:"nextCursor,omitempty"`
	Groups        []groupBody   `json:"groups,omitempty"`
	GroupsOmitted int64         `json:"groupsOmitted,omitempty"`
	Indexed       *progressBody `json:"indexed,omitempty"`
	Hints         []hintBody    `json:"hints,omitempty"`
}

func (a *API) findings(r *http.Request, s searchCall, found store.Findings) (findingsBody, error) {
	out := findingsBody{
		Results:       make([]resultBody, 0, len(found.Items)),
		Total:         found.Total,
		GroupsOmitted: found.OmittedGroups,
	}
	matcher := search.NewMatcher(s.Query)
	for _, f := range found.Items {
		out.Results = append(out.Results, result(matcher, f, s.detail))
	}
	if err := a.nameParents(r, out.Results); err != nil {
		return out, err
	}
	if found.Next != nil {
		out.NextCursor = s.cursor(*found.Next)
	}
	if found.Progress != nil {
		out.Indexed = &progressBody{found.Progress.Done, found.Progress.Total}
	}
	for _, g := range found.Groups {
		body := groupBody{Count: g.Count}
		if value := g.Value; value != "" {
			if s.GroupBy == "kind" {
				value = entity.KeyOf(value)
			}
			body.Value = &value
		}
		out.Groups = append(out.Groups, body)
	}
	slices.SortStableFunc(out.Groups, func(a, b groupBody) int {
		if a.Value == nil || b.Value == nil {
			return cmp.Compare(b.Count, a.Count)
		}
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(*a.Value, *b.Value))
	})
	return out, nil
}

// Limits of what a result repeats of its item, so that ten results stay small.
const (
	titleLength = 120
	tagsShown   = 10
	tagLength   = 40
)

func result(matcher *search.Matcher, f store.Found, length int) resultBody {
	kind := entity.ByName(f.Kind)
	read := f.Read
	if read == nil {
		read = &store.Reading{}
		read.Document, read.Texts = search.Parse(kind, f.Item.Payload, f.Item.Deleted != 0)
		read.Matches = matcher.Match(read.Texts, read.Document.Title != "")
	}
	d := &read.Document
	out := resultBody{
		ID:        kind.Key + "/" + f.Item.UID,
		Kind:      kind.Key,
		UID:       f.Item.UID,
		Title:     cut(d.Title, titleLength),
		Snippet:   matcher.ShowFound(read.Texts, d.Title != "", length, read.Matches),
		URL:       "toolbridge://" + kind.Key + "/" + f.Item.UID,
		Version:   f.Item.Version,
		CreatedAt: formatMillis(f.Item.Created),
		UpdatedAt: formatMillis(f.Item.Updated),
		Archived:  d.State == search.Archived,
		Status:    cut(d.Status, tagLength),
		Priority:  cut(d.Priority, tagLength),
	}
	if f.Item.Deleted != 0 {
		out.DeletedAt = formatMillis(f.Item.Deleted)
	}
	if d.Due != nil {
		out.DueDate = cut(d.DueText, tagLength)
	}
	for _, tag := range d.Tags[:min(len(d.Tags), tagsShown)] {
		out.Tags = append(out.Tags, cut(tag, tagLength))
	}
	if d.Parent != "" {
		out.Parent = &parentBody{Kind: d.ParentKind, UID: d.Parent}
	}
	return out
}

func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

// nameParents adds the titles of parents, and uses them for results without a title.
func (a *API) nameParents(r *http.Request, results []resultBody) error {
	wanted := make(map[string][]string) // uids by kind
	for _, res := range results {
		if p := res.Parent; p != nil && !slices.Contains(wanted[p.Kind], p.UID) {
			wanted[p.Kind] = append(wanted[p.Kind], p.UID)
		}
	}
	for key, uids := range wanted {
		kind, _ := entity.ByKey(key)
		parents, err := a.Store.GetMany(
			r.Context(),
			callOf(r.Context()).session.Owner,
			kind.Name,
			uids,
		)
		if err != nil {
			return err
		}
		for n := range results {
			res := &results[n]
			if res.Parent == nil || res.Parent.Kind != key {
				continue
			}
			item, ok := parents[res.Parent.UID]
			if !ok {
				continue
			}
			d, _ := search.Parse(kind, item.Payload, false)
			res.Parent.Title = cut(d.Title, titleLength)
			if res.Title == "" && res.Parent.Title != "" {
				res.Title, res.TitleFrom = res.Parent.Title, "parent"
			}
		}
	}
	return nil
}

// hintBody says why a search found nothing, and what to try.
type hintBody struct {
	Reason     string `json:"reason"`
	Message    string `json:"message"`
	Count      int64  `json:"count,omitempty"`
	Suggestion string `json:"suggestion,omitempty"`
}

// hintTexts is how many items are searched for a word of similar spelling.
const hintTexts = 50

// hintTime limits the time for hints. Those that are not found by then are omitted.
const hintTime = time.Second

// hints says why nothing was found, looking at one condition after the other.
func (a *API) hints(r *http.Request, s searchCall) []hintBody {
	ctx, cancel := context.WithTimeout(r.Context(), hintTime)
	defer cancel()
	out, err := a.findHints(r.WithContext(ctx), s)
	if err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrSearchSlow) {
		a.Log.Warn(
			"hints of a search failed",
			telemetry.CorrelationID,
			callOf(r.Context()).correlationID,
			telemetry.Error,
			err.Error(),
		)
	}
	return out
}

func (a *API) findHints(r *http.Request, s searchCall) ([]hintBody, error) {
	owner := callOf(r.Context()).session.Owner
	count := func(change func(*store.Search)) (int64, error) {
		other := s.Search
		other.Limit, other.After, other.GroupBy = 0, nil, ""
		change(&other)
		found, err := a.Store.Search(r.Context(), owner, other)
		return found.Total, err
	}
	var out []hintBody
	add := func(n int64, err error, h hintBody) error {
		if err == nil && n > 0 {
			h.Count = n
			out = append(out, h)
		}
		return err
	}
	has := func(state search.State) bool { return slices.Contains(s.Filter.States, state) }
	if !has(search.Archived) && !has(search.Deleted) {
		n, err := count(func(o *store.Search) { o.Filter.States = []search.State{search.Archived} })
		h := hintBody{
			Reason:  "archived",
			Message: "archived items match: set includeArchived to true",
		}
		if err := add(n, err, h); err != nil {
			return out, err
		}
	}
	if !has(search.Deleted) {
		n, err := count(func(o *store.Search) { o.Filter.States = []search.State{search.Deleted} })
		h := hintBody{Reason: "deleted", Message: "deleted items match: set deleted to include"}
		if err := add(n, err, h); err != nil {
			return out, err
		}
	}
	for _, tag := range s.Filter.Tags {
		n, err := count(func(o *store.Search) {
			o.Query, o.Updated, o.Due = nil, store.Range{}, store.Range{}
			o.Filter = search.Filter{States: s.Filter.States, Tags: []string{tag}}
		})
		if err != nil {
			return out, err
		}
		if n == 0 {
			like, err := a.likeTag(r, tag)
			if err != nil {
				return out, err
			}
			out = append(
				out,
				hintBody{
					Reason:     "unknown_tag",
					Message:    fmt.Sprintf("no item has the tag %q", cut(tag, tagLength)),
					Suggestion: like,
				},
			)
		}
	}
	if s.Query != nil && filtered(s.Search) {
		n, err := count(func(o *store.Search) {
			o.Updated, o.Due, o.Filter = store.Range{}, store.Range{}, search.Filter{
				States: s.Filter.States,
			}
		})
		h := hintBody{Reason: "filters", Message: "the query alone matches: leave filters out"}
		if err := add(n, err, h); err != nil {
			return out, err
		}
	}
	words, err := a.unknownWords(r, s)
	return append(out, words...), err
}

func filtered(s store.Search) bool {
	f := s.Filter
	return len(f.Kinds)+len(f.Tags) > 0 || f.Parent+f.Status+f.Priority != "" ||
		s.Updated != store.Range{} ||
		s.Due != store.Range{}
}

// likeTag is a tag of the caller's items with a similar spelling.
func (a *API) likeTag(r *http.Request, tag string) (string, error) {
	found, err := a.Store.Search(r.Context(), callOf(r.Context()).session.Owner, store.Search{
		Filter: search.Filter{States: []search.State{search.Live}}, GroupBy: "tag"})
	if err != nil {
		return "", err
	}
	var texts []string
	for _, g := range found.Groups {
		texts = append(texts, g.Value)
	}
	return search.LikeText(tag, texts), nil
}

// unknownWords are the words of a query that match nothing by themselves, each with one of similar
// spelling.
func (a *API) unknownWords(r *http.Request, s searchCall) ([]hintBody, error) {
	owner := callOf(r.Context()).session.Owner
	var out []hintBody
	for _, word := range search.Words(s.Query) {
		if len(out) == 3 {
			break
		}
		alone := store.Search{Query: word.Node, Filter: search.Filter{States: s.Filter.States}}
		found, err := a.Store.Search(r.Context(), owner, alone)
		if err != nil {
			return out, err
		}
		if found.Total > 0 {
			continue
		}
		hint := hintBody{
			Reason:  "unknown_word",
			Message: fmt.Sprintf("no item has the word %q", word.Text),
		}
		if word.Begins != nil {
			alone.Query, alone.Limit, alone.Order = word.Begins, hintTexts, store.Newest
			if found, err = a.Store.Search(r.Context(), owner, alone); err != nil {
				return out, err
			}
			var texts []string
			for _, f := range found.Items {
				_, all := search.Parse(entity.ByName(f.Kind), f.Item.Payload, false)
				for _, text := range all {
					texts = append(texts, text.Value)
				}
			}
			hint.Suggestion = search.Closest(word.Text, texts)
		}
		out = append(out, hint)
	}
	return out, nil
}

// tooBroad is no outage: the same search would take as long again.
func tooBroad(prefix string) *problem {
	p := invalidMember(
		"query",
		"is too broad: too many words begin with %s; use three characters or more",
		prefix,
	)
	return p.withReason("search_broad", nil)
}

// searchProblem maps the errors of searches to responses; nil for all others.
func searchProblem(err error) *problem {
	switch {
	case errors.Is(err, store.ErrSearchSlow):
		p := unavailable("the search took too long: use longer words, or more of them")
		return p.withReason("search_slow", err)
	case errors.Is(err, store.ErrSearchChanged):
		return invalidMember(
			"cursor",
			"is too old: %s; search again without it",
			store.ErrSearchChanged,
		)
	}
	return nil
}
