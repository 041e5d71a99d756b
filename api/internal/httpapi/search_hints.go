package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/toolbridge/toolbridge-mcp/api/internal/entity"
	"github.com/toolbridge/toolbridge-mcp/api/internal/search"
	"github.com/toolbridge/toolbridge-mcp/api/internal/store"
	"github.com/toolbridge/toolbridge-mcp/api/internal/telemetry"
)

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

// hints says why nothing was found, looking at one condition after the other. While items are being
// indexed, it does not say what they do not have.
func (a *API) hints(r *http.Request, s searchCall, indexed *store.Progress) []hintBody {
	ctx, cancel := context.WithTimeout(r.Context(), hintTime)
	defer cancel()
	out, err := a.findHints(r.WithContext(ctx), s, indexed)
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

func (a *API) findHints(
	r *http.Request,
	s searchCall,
	indexed *store.Progress,
) ([]hintBody, error) {
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
	if indexed != nil {
		out = append(out, hintBody{Reason: "indexing", Message: fmt.Sprintf(
			"only %d of %d items are indexed so far: search again later",
			indexed.Done,
			indexed.Total,
		)})
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
	if indexed == nil {
		tags, err := a.unknownTags(r, s)
		if out = append(out, tags...); err != nil {
			return out, err
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
	if indexed != nil {
		return out, nil
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

// unknownTags are the tags of a search that no item has, each with one of similar spelling.
func (a *API) unknownTags(r *http.Request, s searchCall) ([]hintBody, error) {
	owner := callOf(r.Context()).session.Owner
	var out []hintBody
	for _, tag := range s.Filter.Tags {
		alone := search.Filter{States: s.Filter.States, Tags: []string{tag}}
		found, err := a.Store.Search(r.Context(), owner, store.Search{Filter: alone})
		if err != nil {
			return out, err
		}
		if found.Total > 0 {
			continue
		}
		like, err := a.likeTag(r, tag)
		if err != nil {
			return out, err
		}
		out = append(out, hintBody{
			Reason:     "unknown_tag",
			Message:    fmt.Sprintf("no item has the tag %q", cut(tag, tagLength)),
			Suggestion: like,
		})
	}
	return out, nil
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
