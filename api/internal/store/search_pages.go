package store

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"

	"github.com/toolbridge/toolbridge-mcp/api/internal/entity"
	"github.com/toolbridge/toolbridge-mcp/api/internal/search"
)

// SearchPosition is where a page of a search ended.
type SearchPosition struct {
	Mode    string // how the page was ordered
	Key     int64  // a score or a due time
	Updated int64
}

// Modes of a position.
const (
	atTime   = "t" // newest or oldest
	atDue    = "d"
	atNoDue  = "n" // in the order of due times, after all that have one
	atScore  = "s" // few hits: ranked by their texts
	atTitled = "h" // many hits: those whose title matches, newest first
	atOthers = "o" // many hits: the rest, newest first
)

func (c *common) page(
	ctx context.Context,
	owner int64,
	s Search,
	e search.Expression,
	total int64,
) ([]Found, *SearchPosition, error) {
	if s.Order != Relevance {
		found, more, err := c.find(ctx, owner, s, e, s.Limit, foundBytes, total > denseHits)
		if !more || err != nil {
			return found, nil, err
		}
		return found, s.positionOf(found[len(found)-1]), nil
	}
	if s.After == nil && total <= rankedHits || s.After != nil && s.After.Mode == atScore {
		found, next, ok, err := c.ranked(ctx, owner, s, e)
		if ok || err != nil {
			return found, next, err
		}
	}
	return c.tiers(ctx, owner, s, e, total)
}

// ranked reads all hits and rates them. It is not ok when their texts are too large for that.
func (c *common) ranked(
	ctx context.Context,
	owner int64,
	s Search,
	e search.Expression,
) (_ []Found, _ *SearchPosition, ok bool, err error) {
	// A walk that was begun is ended the same way, though there may be some more hits by now.
	limit, bytes := rankedHits, rankedBytes
	if s.After != nil {
		limit, bytes = 5*rankedHits, 5*rankedBytes
	}
	all := s
	all.After, all.Order = nil, Newest
	found, more, err := c.find(ctx, owner, all, e, limit, bytes, false)
	switch {
	case err != nil:
		return nil, nil, false, err
	case more && s.After != nil:
		return nil, nil, false, ErrSearchChanged
	case more:
		return nil, nil, false, nil
	}
	out, next := rank(s, found)
	return out, next, true, nil
}

// rank rates items and returns the page that a search asks for.
func rank(s Search, found []Found) ([]Found, *SearchPosition) {
	type rated struct {
		Found
		score int64
	}
	all := make([]rated, len(found))
	matches := make([]search.ItemMatches, len(found))
	matcher := search.NewMatcher(s.Query)
	for n, f := range found {
		d, texts := search.Parse(entity.ByName(f.Kind), f.Item.Payload, f.Item.Deleted != 0)
		matches[n] = matcher.Match(texts, d.Title != "")
		f.Read = &Reading{d, texts, matches[n]}
		all[n].Found = f
	}
	for n, score := range matcher.Scores(matches) {
		all[n].score = score
	}
	slices.SortFunc(all, func(a, b rated) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(b.Item.Updated, a.Item.Updated))
	})
	var out []Found
	for n, f := range all {
		if p := s.After; p != nil &&
			(f.score > p.Key || f.score == p.Key && f.Item.Updated >= p.Updated) {
			continue
		}
		if len(out) == s.Limit {
			last := all[n-1]
			return out, &SearchPosition{atScore, last.score, last.Item.Updated}
		}
		out = append(out, f.Found)
	}
	return out, nil
}

// tiers finds those first whose title matches, and then the others, newest first in each.
func (c *common) tiers(
	ctx context.Context,
	owner int64,
	s Search,
	e search.Expression,
	total int64,
) ([]Found, *SearchPosition, error) {
	var out []Found
	after := s.After
	s.Order = Newest
	if after == nil || after.Mode == atTitled {
		found, more, err := c.find(ctx, owner, s, e.TitleOnly(), s.Limit, foundBytes, false)
		if err != nil {
			return nil, nil, err
		}
		if more {
			last := found[len(found)-1]
			return found, &SearchPosition{Mode: atTitled, Updated: last.Item.Updated}, nil
		}
		out, s.After = found, nil
	}
	if len(out) == s.Limit {
		return out, &SearchPosition{Mode: atOthers, Updated: math.MaxInt64}, nil
	}
	found, more, err := c.find(
		ctx,
		owner,
		s,
		e.ButTitle(),
		s.Limit-len(out),
		foundBytes,
		total > denseHits,
	)
	if err != nil {
		return nil, nil, err
	}
	out = append(out, found...)
	if !more {
		return out, nil, nil
	}
	return out, &SearchPosition{Mode: atOthers, Updated: found[len(found)-1].Item.Updated}, nil
}

func (s Search) positionOf(last Found) *SearchPosition {
	position := SearchPosition{Mode: atTime, Updated: last.Item.Updated}
	if s.Order == Due {
		d, _ := search.Parse(entity.ByName(last.Kind), last.Item.Payload, false)
		if position.Mode = atNoDue; d.Due != nil {
			position.Mode, position.Key = atDue, *d.Due
		}
	}
	return &position
}

// Fits reports whether a position can be one of a search in this order.
func (p SearchPosition) Fits(order Order) bool {
	switch order {
	case Relevance:
		return p.Mode == atScore || p.Mode == atTitled || p.Mode == atOthers
	case Due:
		return p.Mode == atDue || p.Mode == atNoDue
	}
	return p.Mode == atTime
}

// find reads a page of items, and whether there is more. It ends early when it has read many bytes.
// dense says that there are many hits.
func (c *common) find(
	ctx context.Context,
	owner int64,
	s Search,
	e search.Expression,
	limit, bytes int,
	dense bool,
) ([]Found, bool, error) {
	for {
		q := c.index.hits(owner, s, e)
		if s.After != nil {
			c.index.after(q, owner, s)
		}
		read, some := c.pageStatement(q, s, limit, dense)
		found, more, err := c.read(ctx, read, q.args, limit, bytes, s.Reserve)
		if more || err != nil || !some {
			return found, more, err
		}
		dense = false // the hits are not among what was looked at
	}
}

// pageStatement reads the items of a page, and one more. They are read for the rows of the page
// only, not for all that were looked at. some is that of searchIndex.order.
func (c *common) pageStatement(
	q *query,
	s Search,
	limit int,
	dense bool,
) (st statement, some bool) {
	some = c.index.order(q, s, dense)
	inner := q.statement(
		"",
		"d.owner, d.kind, d.uid, d.updated, d.due",
		" ORDER BY "+q.orderBy+" LIMIT CAST("+q.arg(limit+1)+" AS BIGINT)",
	)
	outer := strings.NewReplacer("f.rowid", "h.updated", "d.", "h.").Replace(q.orderBy)
	return statement{"search.page", foundItems(inner) + " ORDER BY " + outer}, some
}

// foundItems reads the items of documents, which another statement reads as owner, kind and uid.
func foundItems(documents statement) string {
	return `
		SELECT h.kind, i.uid, i.version, i.created, i.updated, i.deleted, i.payload
		FROM (` + documents.sql + `) h
		JOIN items i ON i.owner = h.owner AND i.kind = h.kind AND i.uid = h.uid`
}

// scan reads a row of kind, uid, version, created, updated, deleted and payload.
func (f *Found) scan(r rows) error {
	i := &f.Item
	return r.Scan(&f.Kind, &i.UID, &i.Version, &i.Created, &i.Updated, &i.Deleted, &i.Payload)
}

// read reads at most limit items, and reports whether there are more.
func (c *common) read(
	ctx context.Context,
	st statement,
	args []any,
	limit, bytes int,
	reserve func(Item) error,
) ([]Found, bool, error) {
	var found []Found
	more, size := false, 0
	err := each(ctx, c.db, st, args, func(r rows) error {
		if len(found) == limit {
			more = true // the last row of the query, so it has ended by itself
			return nil
		}
		if size >= bytes && len(found) > 0 {
			more = true
			return errStop
		}
		var f Found
		err := f.scan(r)
		if err == nil && reserve != nil {
			err = reserve(f.Item)
		}
		size += len(f.Item.Payload)
		found = append(found, f)
		return err
	})
	return found, more, err
}
