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
	page, err := i.readPage(r)
	if err != nil {
		return err
	}
	// One item of any size is there always, so that a page never is empty for want of memory.
	if err := i.reserve(r, i.itemBytes()); err != nil {
		return err
	}
	held := int64(0)
	page.Reserve = func(item store.Item) bool {
		more := held + payloadBytes(item) - max(held, i.itemBytes())
		if more > 0 && callOf(r.Context()).memory.Grow(more) != nil {
			return false
		}
		held += payloadBytes(item)
		return true
	}
	found, more, err := i.Store.List(r.Context(), callOf(r.Context()).session.Owner, i.kind.Name, page)
	if err != nil {
		return err
	}
	next := ""
	if more {
		last := found[len(found)-1]
		next = i.cursor(store.Position{Updated: last.Updated, UID: last.UID})
		query := url.Values{"cursor": {next}, "limit": {strconv.Itoa(page.Limit)}}
		if page.IncludeDeleted {
			query.Set("includeDeleted", "true")
		}
		w.Header().Set("Link", fmt.Sprintf(`</v1/%s?%s>; rel="next"`, i.kind.Name, query.Encode()))
	}
	callOf(r.Context()).memory.Shrink(held)
	writePage(w, found, next)
	return nil
}

func (i items) readPage(r *http.Request) (store.Page, error) {
	page := store.Page{After: store.Beginning, Limit: defaultPage, MaxBytes: pageBytes}
	query, err := readQuery(r)
	if err != nil {
		return page, err
	}
	if text := query.Get("limit"); text != "" {
		// Out of range it returns the largest number, which is clamped like any other that is too large.
		limit, err := strconv.ParseUint(text, 10, 64)
		if limit == 0 || err != nil && !errors.Is(err, strconv.ErrRange) {
			return page, badRequest(fmt.Sprintf("limit must be a whole number from 1 to %d", maxPage))
		}
		page.Limit = int(min(limit, maxPage))
	}
	if text := query.Get("cursor"); text != "" {
		after, ok := i.parseCursor(text)
		if !ok {
			return page, badRequest("broken cursor: send nextCursor of the page before, unchanged, or none")
		}
		page.After = after
	}
	page.IncludeDeleted, err = queryFlag(query, "includeDeleted")
	return page, err
}

// cursor is opaque to callers, but it is no secret: it is bound to no one, and whoever makes one up gains nothing.
func (i items) cursor(p store.Position) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%s|%d|%s", i.kind.Name, p.Updated, p.UID))
}

func (i items) parseCursor(text string) (store.Position, bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return store.Position{}, false
	}
	parts := strings.Split(string(raw), "|")
	if len(parts) != 3 || parts[0] != i.kind.Name {
		return store.Position{}, false
	}
	updated, err := strconv.ParseUint(parts[1], 10, 63)
	uid, ok := entity.ParseUID(parts[2])
	return store.Position{Updated: int64(updated), UID: uid}, err == nil && ok
}
