package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/toolbridge/toolbridge-mcp/api/internal/entity"
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

// Progress is how far the index is with the items of a person.
type Progress struct{ Done, Total int64 }

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
	// order makes the order of time part of a query; dense says that a part of its hits can be
	// found by walking in that order.
	order(q *query, s Search, dense bool)
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
	inner := q.statement("", "d.owner, d.kind, d.uid", " LIMIT "+strconv.Itoa(rankedHits+1))
	st := statement{"search.few_found", `
		SELECT h.kind, i.uid, i.version, i.created, i.updated, i.deleted, i.payload
		FROM (` + inner.sql + `) h
		JOIN items i ON i.owner = h.owner AND i.kind = h.kind AND i.uid = h.uid`}
	return c.read(ctx, st, q.args, rankedHits, rankedBytes, s.Reserve)
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
	st := q.statement(
		"search.few",
		"f.rowid",
		" ORDER BY f.rowid DESC LIMIT "+strconv.Itoa(rankedHits+1),
	)
	err = each(ctx, c.db, st, q.args, func(r rows) error {
		var id int64
		err := r.Scan(&id)
		ids = append(ids, id)
		return err
	})
	return ids, len(ids) <= rankedHits, err
}

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

// Fits says whether a position can be one of a search in this order.
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
func (c *common) find(
	ctx context.Context,
	owner int64,
	s Search,
	e search.Expression,
	limit, bytes int,
	dense bool,
) ([]Found, bool, error) {
	q := c.index.hits(owner, s, e)
	if s.After != nil {
		c.index.after(q, owner, s)
	}
	read := c.pageStatement(q, s, limit, dense)
	return c.read(ctx, read, q.args, limit, bytes, s.Reserve)
}

// pageStatement reads the items of a page, and one more. They are read for the rows of the page
// only, not for all that were looked at.
func (c *common) pageStatement(q *query, s Search, limit int, dense bool) statement {
	c.index.order(q, s, dense)
	inner := q.statement(
		"",
		"d.owner, d.kind, d.uid, d.updated, d.due",
		" ORDER BY "+q.orderBy+" LIMIT CAST("+q.arg(limit+1)+" AS BIGINT)",
	)
	outer := strings.NewReplacer("f.rowid", "h.updated", "d.", "h.").Replace(q.orderBy)
	return statement{"search.page", `
		SELECT h.kind, i.uid, i.version, i.created, i.updated, i.deleted, i.payload
		FROM (` + inner.sql + `) h
		JOIN items i ON i.owner = h.owner AND i.kind = h.kind AND i.uid = h.uid ORDER BY ` + outer}
}

// scan reads a row of kind, uid, version, created, updated, deleted and payload.
func (f *Found) scan(r rows) error {
	i := &f.Item
	return r.Scan(&f.Kind, &i.UID, &i.Version, &i.Created, &i.Updated, &i.Deleted, &i.Payload)
}

// read reads at most limit items, and says whether there are more.
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

// GetMany reads those of some items that live, by uid.
func (c *common) GetMany(
	ctx context.Context,
	owner int64,
	kind string,
	uids []string,
) (map[string]Item, error) {
	out := make(map[string]Item, len(uids))
	for _, uid := range uids {
		item, err := findItem(ctx, c.db, owner, kind, uid)
		if err != nil {
			return nil, c.mark(err)
		}
		if item != nil && item.Deleted == 0 {
			out[uid] = *item
		}
	}
	return out, nil
}

var (
	userIndexed = statement{"user.indexed", `SELECT indexed FROM users WHERE id = $1`}
	itemTotal   = statement{"item.total", `SELECT COUNT(*) FROM items WHERE owner = $1`}
)

// progress is nil when all items of an owner are indexed. That does not change back while this
// program runs.
func (c *common) progress(ctx context.Context, owner int64) (*Progress, error) {
	if _, done := c.complete.Load(owner); done {
		return nil, nil
	}
	var version int64
	if err := one(ctx, c.db, userIndexed, []any{owner}, &version); err != nil {
		return nil, err
	}
	if version == search.Version {
		c.complete.Store(owner, true)
		return nil, nil
	}
	var p Progress
	if err := one(ctx, c.db, itemTotal, []any{owner}, &p.Total); err != nil {
		return nil, err
	}
	states := []search.State{search.Live, search.Archived, search.Deleted}
	q := c.index.hits(
		owner,
		Search{Filter: search.Filter{States: states}},
		search.Compile(owner, nil, search.Filter{States: states}),
	)
	err := one(ctx, c.db, q.statement("search.count", "COUNT(*)", ""), q.args, &p.Done)
	p.Done = min(p.Done, p.Total) // items are written meanwhile
	return &p, err
}

var (
	unindexedOwner = statement{"index.owner", `
		SELECT id FROM users WHERE indexed <> $1 AND id > $2 ORDER BY id LIMIT 1`}
	// Takes the person's lock without moving their clock.
	indexLock = statement{"index.lock", `
		UPDATE users SET indexed = indexed WHERE id = $1 RETURNING indexed`}
	indexMark = statement{"index.mark", `
		UPDATE users SET indexed = $2 WHERE id = $1`}
)

// indexKeys finds the next items without a document. docOf is the condition that d is the document
// of i.
func indexKeys(docOf string) statement {
	return statement{"index.keys", `
		SELECT i.kind, i.uid, LENGTH(i.payload) FROM items i
		WHERE i.owner = $1 AND (i.kind, i.uid) > ($2, $3)
			AND NOT EXISTS (SELECT 1 FROM search_docs d WHERE ` + docOf + `)
		ORDER BY i.kind, i.uid LIMIT 200`}
}

// IndexCursor is where the indexing of older items stands. Nothing is lost with it: items that are
// indexed are looked at again and left as they are.
type IndexCursor struct {
	after     int64 // this owner and those before are done
	owner     int64 // whose items are being indexed; 0 = the next one's
	kind, uid string
}

// batchBytes bounds what one batch of IndexSome reads.
const batchBytes = 2 << 20

// IndexSome indexes a batch of the items that an earlier release has written. It is done when there
// are no more.
func (c *common) IndexSome(
	ctx context.Context,
	at IndexCursor,
) (next IndexCursor, done bool, err error) {
	if at.owner == 0 {
		err := one(ctx, c.db, unindexedOwner, []any{search.Version, at.after}, &at.owner)
		if errors.Is(err, sql.ErrNoRows) {
			return at, true, nil
		} else if err != nil {
			return at, false, c.mark(err)
		}
		at.kind, at.uid = "", Beginning.UID
	}
	next = at
	var version int64
	err = c.db.write(ctx, work{
		first: []question{
			{indexLock, []any{at.owner}, func(r rows) error { return r.Scan(&version) }},
		},
		then: func(tx connection) (commands []command, err error) {
			switch version {
			case search.Version: // another process was here
				next = IndexCursor{after: at.owner}
			case 0:
				commands, next, err = c.indexBatch(ctx, tx, at)
			default: // indexed by the rules of another release
				commands = append(c.index.dropAll(at.owner), command{indexMark, []any{at.owner, 0}})
			}
			return commands, err
		},
	})
	if err != nil {
		return at, false, c.mark(err)
	}
	return next, false, nil
}

// indexBatch is called with the person's lock held.
func (c *common) indexBatch(
	ctx context.Context,
	tx connection,
	at IndexCursor,
) ([]command, IndexCursor, error) {
	type keyed struct {
		kind, uid string
		size      int
	}
	var keys []keyed
	err := each(ctx, tx, c.index.keys(), []any{at.owner, at.kind, at.uid}, func(r rows) error {
		var k keyed
		err := r.Scan(&k.kind, &k.uid, &k.size)
		keys = append(keys, k)
		return err
	})
	if err != nil {
		return nil, at, err
	}
	if len(keys) == 0 {
		return []command{
				{indexMark, []any{at.owner, search.Version}},
			}, IndexCursor{
				after: at.owner,
			}, nil
	}
	var commands []command
	size := 0
	for _, k := range keys {
		if size += k.size; size > batchBytes && len(commands) > 0 {
			break
		}
		item, err := getItem(ctx, tx, at.owner, k.kind, k.uid)
		if err != nil {
			return nil, at, err
		}
		d := search.Index(entity.ByName(k.kind), item.Payload, item.Deleted != 0)
		commands = append(commands, c.index.put(at.owner, item, k.kind, &d)...)
		at.kind, at.uid = k.kind, k.uid
	}
	return commands, at, nil
}

func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
