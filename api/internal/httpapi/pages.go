package httpapi

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/toolbridge/toolbridge-mcp/api/internal/entity"
	"github.com/toolbridge/toolbridge-mcp/api/internal/store"
)

const (
	defaultPage = 500
	maxPage     = 1000
	// pageBytes ends a page early, so that a thousand large items are not held in memory at once.
	pageBytes = 8 << 20
)

func (i items) list(w http.ResponseWriter, r *http.Request) error {
	c := callOf(r.Context())
	var page store.Page
	var found []store.Item
	var more bool
	var err error
	if c.ahead != nil {
		page, found, more, err = c.ahead.Page, c.ahead.Items, c.ahead.More, c.ahead.Err
	} else {
		if page, err = i.readPage(r); err != nil {
			return err
		}
		// A page always has one item, of any size, so that it is never empty because of memory.
		if err := i.reserve(r, i.itemBytes()); err != nil {
			return err
		}
		page.Reserve = i.reserveItems(c)
		found, more, err = i.Store.List(r.Context(), c.session.Owner, i.kind.Name, page)
	}
	if err != nil {
		return err
	}
	held := int64(0)
	for _, item := range found {
		held += payloadBytes(item)
	}
	next := ""
	if more {
		last := found[len(found)-1]
		next = i.cursor(page, page.PositionOf(last))
		query := url.Values{"cursor": {next}, "limit": {strconv.Itoa(page.Limit)}}
		if page.IncludeDeleted {
			query.Set("includeDeleted", "true")
		}
		if page.Newest {
			query.Set("order", "newest")
		}
		if page.Parent != "" {
			query.Set(i.kind.Parent.UIDField, page.Parent)
		}
		w.Header().Set("Link", fmt.Sprintf(`</v1/%s?%s>; rel="next"`, i.kind.Name, query.Encode()))
	}
	c.memory.Shrink(held)
	writePage(w, found, next)
	return nil
}

// reserveItems reserves memory for one item of a page after another.
func (i items) reserveItems(c *call) func(store.Item) bool {
	held := int64(0)
	return func(item store.Item) bool {
		more := held + payloadBytes(item) - max(held, i.itemBytes())
		if more > 0 && c.memory.Grow(more) != nil {
			return false
		}
		held += payloadBytes(item)
		return true
	}
}

// aheadOfList is nil where a request is not a good one, or has to wait for its memory.
func (i items) aheadOfList(r *http.Request) *store.Ahead {
	if r.Method != http.MethodGet {
		return nil
	}
	page, err := i.readPage(r)
	if err != nil || !i.reserveNow(r, i.itemBytes()) {
		return nil
	}
	page.Reserve = i.reserveItems(callOf(r.Context()))
	return &store.Ahead{Kind: i.kind.Name, Page: page}
}

func (i items) readPage(r *http.Request) (store.Page, error) {
	page := store.Page{Limit: defaultPage, MaxBytes: pageBytes}
	query, err := readQuery(r)
	if err != nil {
		return page, err
	}
	if text := query.Get("limit"); text != "" {
		// Out of range it returns the largest number, which is clamped like any other that is too
		// large.
		limit, err := strconv.ParseUint(text, 10, 64)
		if limit == 0 || err != nil && !errors.Is(err, strconv.ErrRange) {
			return page, badRequest(
				fmt.Sprintf("limit must be a whole number from 1 to %d", maxPage),
			)
		}
		page.Limit = int(min(limit, maxPage))
	}
	switch text := query.Get("order"); text {
	case "", "oldest":
	case "newest":
		page.Newest = true
	default:
		return page, badRequest("order must be newest or oldest")
	}
	if page.Parent, err = i.parentInQuery(query); err != nil {
		return page, err
	}
	page.After = page.Start()
	if text := query.Get("cursor"); text != "" {
		after, ok := i.parseCursor(page, text)
		if !ok {
			return page, badRequest(
				"broken cursor: send nextCursor of the page before, unchanged, or none",
			)
		}
		page.After = after
	}
	page.IncludeDeleted, err = queryFlag(query, "includeDeleted")
	return page, err
}

// parentInQuery is the parent whose items are asked for. The parameter is named as the payload's
// field is.
func (i items) parentInQuery(query url.Values) (string, error) {
	for _, kind := range entity.All {
		if kind.Parent == nil || !query.Has(kind.Parent.UIDField) {
			continue
		}
		field := kind.Parent.UIDField
		if i.kind.Parent == nil || i.kind.Parent.UIDField != field {
			return "", badRequest(fmt.Sprintf("%s: a %s has none", field, i.kind.Label))
		}
		uid, ok := entity.ParseUID(query.Get(field))
		if !ok {
			return "", badRequest(field + " must be a UUID")
		}
		return uid, nil
	}
	return "", nil
}

// cursor is opaque to clients but not secret: it is bound to a list, not to a user, and a forged
// one reveals nothing.
func (i items) cursor(page store.Page, p store.Position) string {
	return base64.RawURLEncoding.EncodeToString(
		fmt.Appendf(nil, "%s|%d|%s", i.listName(page), p.At, p.UID),
	)
}

// listName distinguishes lists whose positions have different meanings.
func (i items) listName(page store.Page) string {
	name := i.kind.Name
	if page.Newest {
		name += " newest"
	}
	if page.Parent != "" {
		name += " of " + page.Parent
	}
	return name
}

func (i items) parseCursor(page store.Page, text string) (store.Position, bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return store.Position{}, false
	}
	parts := strings.Split(string(raw), "|")
	if len(parts) != 3 || parts[0] != i.listName(page) {
		return store.Position{}, false
	}
	at, err := strconv.ParseUint(parts[1], 10, 63)
	uid, ok := entity.ParseUID(parts[2])
	return store.Position{At: int64(at), UID: uid}, err == nil && ok
}
