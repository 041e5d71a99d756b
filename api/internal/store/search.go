package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/toolbridge/toolbridge-mcp/api/internal/search"
)

// Order is the order of what a search finds.
type Order string

// The orders. Relevance needs a query.
const (
	Relevance Order = "relevance"
	Newest    Order = "newest"
	Oldest    Order = "oldest"
	Due       Order = "due"
)

// Search is what to look for.
type Search struct {
	Query   search.Node // nil: the filters alone
	Filter  search.Filter
	Updated Range
	Due     Range
	Order   Order
	GroupBy string          // "" or one of GroupFields
	Limit   int             // 0 only counts
	After   *SearchPosition // where the page before ended
	// Reserve is asked for the memory of each item that is read, unless it is nil. Its error ends
	// the search.
	Reserve func(Item) error
}

// Range is of Unix milliseconds; a nil end is open. From is within it, Before is not.
type Range struct{ From, Before *int64 }

func (r Range) open() bool { return r.From == nil && r.Before == nil }

// Found is an item that a search found.
type Found struct {
	Kind string
	Item Item
	Read *Reading // nil where finding it did not take its texts
}

// Reading is what was read of an item to rank it.
type Reading struct {
	Document search.Document
	Texts    []search.Text
	Matches  search.ItemMatches
}

// Group is how many items have a value; "" is none.
type Group struct {
	Value string
	Count int64
}

// GroupFields are what can be grouped by.
var GroupFields = []string{"kind", "status", "priority", "tag", "parent", "month"}

// MaxGroups is how many groups a search returns, largest first.
const MaxGroups = 100

// Findings are the answer to a search.
type Findings struct {
	Items         []Found
	Total         int64
	Next          *SearchPosition // nil when there is no more
	Groups        []Group
	OmittedGroups int64
	Progress      *Progress // nil when everything is indexed
}

// rankedHits is up to how many hits are ranked by their texts. Of more than that, those whose title
// matches come first.
const (
	rankedHits = 200
	// denseHits is from how many hits on they are looked for in the order of time, without an index
	// of words.
	denseHits   = 20_000
	rankedBytes = 4 << 20
	// foundBytes ends a page early, as that of a list.
	foundBytes = 8 << 20
)

// ErrSearchChanged means that so much was written since the first page that the search must start
// over.
var (
	ErrSearchChanged = errors.New("what is searched has changed too much since the first page")
	// ErrSearchSlow means that a search was given up.
	ErrSearchSlow = errors.New("the search took too long")
)

// searchIndex is the part of searching that differs between the databases.
type searchIndex interface {
	// put writes the document of an item.
	put(owner int64, item Item, kind string, d *search.Document) []command
	// drop removes the document of an item as it was; dropAll all documents of an owner.
	drop(owner, updated int64) []command
	dropAll(owner int64) []command
	// check compares the stored document of an item with what it should be; checkAll looks for what
	// belongs to no item.
	check(
		ctx context.Context,
		c reader,
		owner int64,
		kind string,
		item Item,
		d *search.Document,
	) (there bool, wrong []string, err error)
	checkAll(ctx context.Context, c reader, documents int64) (wrong []string, err error)
	// keys finds the next items without a document.
	keys() statement
	// fewItems reads the items of ids, a JSON list; it is empty for a database that finds hits more
	// slowly than it counts.
	fewItems() statement
	// unread counts the unread messages of chats.
	unread() statement
	// hits is the part of a query from FROM on that finds the documents, as d, of a search.
	hits(owner int64, s Search, e search.Expression) *query
	// order makes the order of time part of a query. dense says that there are many hits: it may
	// then look at some documents only, those that come first, and returns true.
	order(q *query, s Search, dense bool) (some bool)
	// after makes a position part of a query.
	after(q *query, owner int64, s Search)
	// group makes a field part of a query, and returns its value.
	group(q *query, field string) (value string)
}

// query collects the parts of a SELECT.
type query struct {
	from    string
	where   []string
	args    []any
	orderBy string
}

func (q *query) arg(value any) string {
	q.args = append(q.args, value)
	return fmt.Sprintf("$%d", len(q.args))
}

func (q *query) and(condition string) { q.where = append(q.where, condition) }

func (q *query) statement(name, columns, rest string) statement {
	return statement{
		name,
		"SELECT " + columns + " FROM " + q.from + " WHERE " + strings.Join(q.where, " AND ") + rest,
	}
}

func (c *common) Search(ctx context.Context, owner int64, s Search) (Findings, error) {
	out, err := c.search(ctx, owner, s)
	return out, c.mark(err)
}

func (c *common) search(ctx context.Context, owner int64, s Search) (out Findings, err error) {
	if out.Progress, err = c.progress(ctx, owner); err != nil {
		return out, err
	}
	e := search.Compile(owner, s.Query, s.Filter)
	if c.index.fewItems().sql == "" && s.Order == Relevance && s.After == nil && s.GroupBy == "" &&
		s.Limit > 0 {
		found, more, err := c.fewFound(ctx, owner, s, e)
		if err != nil {
			return out, err
		}
		if !more {
			out.Total = int64(len(found))
			out.Items, out.Next = rank(s, found)
			return out, nil
		}
	}
	few, isFew, err := c.few(ctx, owner, s, e)
	if err != nil {
		return out, err
	}
	if out.Total = int64(len(few)); !isFew {
		q := c.index.hits(owner, s, e)
		count := q.statement("search.count", "COUNT(*)", "")
		if err := one(ctx, c.db, count, q.args, &out.Total); err != nil {
			return out, err
		}
	}
	if s.GroupBy != "" && out.Total > 0 {
		if out.Groups, out.OmittedGroups, err = c.groups(ctx, owner, s, e); err != nil {
			return out, err
		}
	}
	if s.Limit == 0 || out.Total == 0 {
		return out, nil
	}
	if isFew {
		list, _ := json.Marshal(few) // numbers encode
		found, more, err := c.read(
			ctx,
			c.index.fewItems(),
			[]any{string(list)},
			rankedHits,
			rankedBytes,
			s.Reserve,
		)
		if err != nil {
			return out, err
		}
		if !more {
			out.Total = int64(len(found)) // an item may have been changed in between
			out.Items, out.Next = rank(s, found)
			return out, nil
		}
	}
	out.Items, out.Next, err = c.page(ctx, owner, s, e, out.Total)
	return out, err
}

// fewFound reads some hits in any order, which are all of them if there are not more. It is one
// question to a database for which finding and counting would be two.
func (c *common) fewFound(
	ctx context.Context,
	owner int64,
	s Search,
	e search.Expression,
) ([]Found, bool, error) {
	q := c.index.hits(owner, s, e)
	return c.read(ctx, fewFoundStatement(q), q.args, rankedHits, rankedBytes, s.Reserve)
}

func fewFoundStatement(q *query) statement {
	inner := q.statement("", "d.owner, d.kind, d.uid", " LIMIT "+strconv.Itoa(rankedHits+1))
	return statement{"search.few_found", foundItems(inner)}
}

// few are the hits of a search by relevance, for a database that finds them as fast as it counts
// them. They are not few when there are too many to be ranked.
func (c *common) few(
	ctx context.Context,
	owner int64,
	s Search,
	e search.Expression,
) (ids []int64, isFew bool, err error) {
	if s.Order != Relevance || s.After != nil || c.index.fewItems().sql == "" {
		return nil, false, nil
	}
	q := c.index.hits(owner, s, e)
	err = each(ctx, c.db, fewStatement(q), q.args, func(r rows) error {
		var id int64
		err := r.Scan(&id)
		ids = append(ids, id)
		return err
	})
	return ids, len(ids) <= rankedHits, err
}

func fewStatement(q *query) statement {
	return q.statement(
		"search.few",
		"f.rowid",
		" ORDER BY f.rowid DESC LIMIT "+strconv.Itoa(rankedHits+1),
	)
}

func (c *common) groups(
	ctx context.Context,
	owner int64,
	s Search,
	e search.Expression,
) (groups []Group, omitted int64, err error) {
	q := c.index.hits(owner, s, e)
	value := c.index.group(q, s.GroupBy)
	st := q.statement(
		"search.groups",
		"COALESCE("+value+", ''), COUNT(*)",
		" GROUP BY 1 ORDER BY 2 DESC, 1",
	)
	err = each(ctx, c.db, st, q.args, func(r rows) error {
		if len(groups) == MaxGroups {
			omitted++
			return nil
		}
		var g Group
		err := r.Scan(&g.Value, &g.Count)
		groups = append(groups, g)
		return err
	})
	return groups, omitted, err
}
