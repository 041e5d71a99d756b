package store

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/toolbridge/toolbridge-mcp/api/internal/search"
)

// postgresIndex is the index in PostgreSQL: a tsvector of normalised words. It has no positions,
// which PostgreSQL keeps of the first 16,383 words only; phrases are looked for in the words
// themselves.
type postgresIndex struct{}

// TidyIndex has nothing to do: the index is in one part.
func (s *postgresStore) TidyIndex(context.Context) (bool, error) { return false, nil }

var (
	postgresDocPut = statement{"index.doc_put", `
		INSERT INTO search_docs
			(owner, updated, kind, uid, state, status, priority, due, tags,
			parent_kind, parent, unread, terms, words)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, array_to_tsvector($13), $14)`}
	postgresDocDrop = statement{
		"index.doc_drop",
		`DELETE FROM search_docs WHERE owner = $1 AND updated = $2`,
	}
	postgresDocWipe   = statement{"index.doc_wipe", `DELETE FROM search_docs WHERE owner = $1`}
	postgresIndexKeys = indexKeys("d.owner = i.owner AND d.updated = i.updated")
)

func (postgresIndex) put(owner int64, item Item, kind string, d *search.Document) []command {
	return []command{
		{
			postgresDocPut,
			[]any{
				owner,
				item.Updated,
				kind,
				item.UID,
				string(d.State),
				optional(d.Status),
				optional(
					d.Priority,
				),
				d.Due,
				d.Tags,
				optional(d.ParentKind),
				optional(d.Parent),
				d.Unread,
				d.Lexemes(owner),
				d.Words(),
			},
		},
	}
}

func (postgresIndex) drop(owner, updated int64) []command {
	return []command{{postgresDocDrop, []any{owner, updated}}}
}

func (postgresIndex) dropAll(owner int64) []command {
	return []command{{postgresDocWipe, []any{owner}}}
}

func (postgresIndex) fewItems() statement { return statement{} }

var postgresUnread = overviewUnread("unread")

func (postgresIndex) unread() statement { return postgresUnread }

func (postgresIndex) keys() statement { return postgresIndexKeys }

const (
	// indexedTerms begins the condition that the index of words is for.
	indexedTerms = "d.terms @@ "
	// ofOwner begins the condition on the owner. ownerAside does so where it must not lead to an
	// index: the words of one owner are found by the index of words, however many others there are.
	ofOwner    = "d.owner = "
	ownerAside = "d.owner + 0 = "
)

// onePlan reports whether PostgreSQL can plan a statement once. The plans of searches depend on
// their values, a day or a year, unless only the index of words can serve them.
func (s statement) onePlan() bool {
	return !strings.HasPrefix(s.name, "search.") || strings.Contains(s.sql, ownerAside)
}

func (postgresIndex) hits(owner int64, s Search, e search.Expression) *query {
	q := &query{from: "search_docs d"}
	text := e.TSQuery()
	condition := ofOwner
	if text != "" && !e.HasPhrase() && s.Updated.open() && s.Due.open() {
		condition = ownerAside
	}
	q.and(condition + q.arg(owner))
	states := make([]string, 0, len(s.Filter.States))
	for _, state := range s.Filter.States {
		states = append(states, string(state))
	}
	q.and("d.state = ANY(" + q.arg(states) + ")")
	if text != "" {
		q.and(indexedTerms + "CAST(CAST(" + q.arg(text) + " AS text) AS tsquery)")
	}
	if exact, args := e.Exact("d.terms", "d.words", len(q.args)+1); exact != "" {
		q.and(exact)
		q.args = append(q.args, args...)
	}
	if s.Updated.From != nil {
		q.and("d.updated >= " + q.arg(*s.Updated.From))
	}
	if s.Updated.Before != nil {
		q.and("d.updated < " + q.arg(*s.Updated.Before))
	}
	dueBetween(q, s.Due)
	return q
}

// walked is how many documents are looked at without the index of words before it is used after
// all. Looking at one takes less than a microsecond; the index takes tens of milliseconds for each
// 100,000 hits, which it can only return all at once.
const walked = 5_000

func (postgresIndex) order(q *query, s Search, dense bool) bool {
	direction := " DESC"
	if s.Order == Oldest {
		direction = ""
	}
	switch {
	case s.Order == Due:
		q.orderBy = "d.due IS NULL, d.due, d.updated DESC"
		return false
	case dense:
		q.orderBy = "d.updated" + direction
		q.walk()
		return true
	}
	// The sum keeps the planner from walking through a person's documents in the order of time
	// where few of them match.
	q.orderBy = "d.updated + 0" + direction
	return false
}

// walk has a query look at the first documents only, one after another.
func (q *query) walk() {
	var of, rest []string
	for _, condition := range q.where {
		if number, ok := strings.CutPrefix(condition, ownerAside); ok {
			condition = ofOwner + number
		}
		switch {
		case strings.HasPrefix(condition, ofOwner), strings.HasPrefix(condition, "d.updated "):
			of = append(of, condition)
		case strings.HasPrefix(condition, indexedTerms):
			rest = append(rest, "COALESCE("+condition+", FALSE)")
		default:
			rest = append(rest, condition)
		}
	}
	q.from = "(SELECT d.* FROM search_docs d WHERE " + strings.Join(of, " AND ") +
		" ORDER BY " + q.orderBy + " LIMIT " + strconv.Itoa(walked) + ") d"
	q.where = rest
}

func (postgresIndex) after(q *query, _ int64, s Search) {
	switch at := s.After.Updated; {
	case s.Order == Due:
		afterDue(q, *s.After)
	case s.Order == Oldest:
		q.and("d.updated > " + q.arg(at))
	case at < math.MaxInt64:
		q.and("d.updated < " + q.arg(at))
	}
}

func (postgresIndex) group(q *query, field string) string {
	switch field {
	case "tag":
		q.from += " CROSS JOIN unnest(d.tags) t(value)"
		return `t.value COLLATE "C"`
	case "month":
		return "to_char(to_timestamp(d.updated / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM')"
	case "parent":
		return "CAST(d.parent AS text)"
	}
	return "d." + field + ` COLLATE "C"`
}

var postgresDocGet = statement{"check.doc", `
	SELECT kind, uid, state, COALESCE(status, ''), COALESCE(priority, ''), due,
		COALESCE(tags, '{}'),
		COALESCE(parent_kind, ''), COALESCE(CAST(parent AS text), ''), unread,
		tsvector_to_array(terms), words
	FROM search_docs WHERE owner = $1 AND updated = $2`}

func (postgresIndex) check(
	ctx context.Context,
	c reader,
	owner int64,
	kind string,
	item Item,
	d *search.Document,
) (bool, []string, error) {
	var gotKind, uid, state, status, priority, parentKind, parent, words string
	var due *int64
	var tags, terms []string
	var unread bool
	err := one(
		ctx,
		c,
		postgresDocGet,
		[]any{owner, item.Updated},
		&gotKind,
		&uid,
		&state,
		&status,
		&priority,
		&due,
		&tags,
		&parentKind,
		&parent,
		&unread,
		&terms,
		&words,
	)
	if errors.Is(err, sql.ErrNoRows) {
		return false, []string{"is not in the index"}, nil
	} else if err != nil {
		return false, nil, err
	}
	var wrong []string
	if gotKind != kind || uid != item.UID || state != string(d.State) ||
		status != d.Status || priority != d.Priority ||
		(due == nil) != (d.Due == nil) || due != nil && *due != *d.Due ||
		!slices.Equal(tags, d.Tags) ||
		parentKind != d.ParentKind || parent != d.Parent ||
		unread != d.Unread ||
		words != d.Words() {
		wrong = append(wrong, "differs from its document")
	}
	if text := differing(d.Lexemes(owner), terms); text != "" {
		wrong = append(wrong, text)
	}
	return true, wrong, nil
}

// checkAll has nothing to do: words and documents are the same rows.
func (postgresIndex) checkAll(context.Context, reader, int64) ([]string, error) { return nil, nil }
