package httpapi

import (
	"cmp"
	"errors"
	"net/http"
	"slices"

	"github.com/toolbridge/toolbridge-mcp/api/internal/entity"
	"github.com/toolbridge/toolbridge-mcp/api/internal/search"
	"github.com/toolbridge/toolbridge-mcp/api/internal/store"
)

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
		out.Hints = a.hints(r, s, found.Progress)
	}
	writeJSON(w, http.StatusOK, out)
	return nil
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
