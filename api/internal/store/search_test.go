package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/stdlib"

	"github.com/toolbridge/toolbridge-mcp/api/internal/entity"
	"github.com/toolbridge/toolbridge-mcp/api/internal/search"
)

var everyState = []search.State{search.Live, search.Archived, search.Deleted}

func parsed(t testing.TB, query string) search.Node {
	t.Helper()
	node, err := search.ParseQuery(query)
	if err != nil {
		t.Fatalf("%q: %v", query, err)
	}
	return node
}

// walkSearch follows places to the end, and holds every page to the same total.
func walkSearch(t testing.TB, s Store, owner int64, q Search) (uids []string, total int64) {
	t.Helper()
	for n := 0; ; n++ {
		found, err := s.Search(t.Context(), owner, q)
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 && found.Total != total {
			t.Fatalf("total %d on page %d, %d before", found.Total, n, total)
		}
		total = found.Total
		for _, f := range found.Items {
			uids = append(uids, f.Item.UID)
		}
		if found.Next == nil {
			return uids, total
		}
		if len(found.Items) == 0 && n > 0 {
			t.Fatal("an empty page in the middle")
		}
		if !found.Next.Fits(q.Order) {
			t.Fatalf("position %+v does not fit %s", found.Next, q.Order)
		}
		q.After = found.Next
	}
}

// model is what was written through a store, and what the index should say of it.
type model struct {
	s     Store
	items map[string]Found // by uid
	docs  map[string]search.Document
}

var vocabulary = []string{
	"battery",
	"batteries",
	"Café",
	"e-mail",
	"email",
	"v2.10.3",
	"2.10",
	"東京都",
	"京都",
	"👍🏽",
	"Rechnung",
	"Rechnungen",
	"anna@example.com",
	"the",
	"x1",
}

func randomPayload(r *rand.Rand, parent string) string {
	fields := map[string]any{"n": r.Intn(5)}
	text := func(n int) string {
		var words []string
		for range r.Intn(n) {
			words = append(words, vocabulary[r.Intn(len(vocabulary))])
		}
		return strings.Join(words, []string{" ", ", ", "\n"}[r.Intn(3)])
	}
	fields["title"], fields["content"] = text(4), text(10)
	if r.Intn(2) == 0 {
		fields["status"] = []string{"open", "Open", "archived", "done"}[r.Intn(4)]
	}
	if r.Intn(3) == 0 {
		fields["archived"] = true
	}
	if r.Intn(2) == 0 {
		fields["tags"] = []string{"a b", "A b", "ü"}[:r.Intn(4)]
		fields["dueDate"] = fmt.Sprintf("2026-01-0%d", 1+r.Intn(9))
	}
	if parent != "" {
		fields["chatUid"] = parent
	}
	out, _ := json.Marshal(fields)
	return string(out)
}

func (w *model) write(t testing.TB, owner Owner, kind, uid string, change Change) {
	t.Helper()
	item, err := w.s.Write(t.Context(), owner, kind, uid, change)
	if err != nil {
		t.Fatal(err)
	}
	w.items[uid] = Found{Kind: kind, Item: item}
	w.docs[uid] = search.Index(entity.ByName(kind), item.Payload, item.Deleted != 0)
}

func (w *model) matching(owner int64, q Search) []string {
	e := search.Compile(owner, q.Query, q.Filter)
	var out []string
	for uid, d := range w.docs {
		at := w.items[uid].Item.Updated
		in := func(r Range, at *int64) bool {
			return r.open() ||
				at != nil && (r.From == nil || *at >= *r.From) &&
					(r.Before == nil || *at < *r.Before)
		}
		if e.Matches(&d) && in(q.Updated, &at) && in(q.Due, d.Due) {
			out = append(out, uid)
		}
	}
	updated := func(uid string) int64 { return w.items[uid].Item.Updated }
	slices.SortFunc(out, func(a, b string) int {
		switch newer := int(updated(b) - updated(a)); {
		case q.Order == Oldest:
			return -newer
		case q.Order == Due:
			due := func(uid string) int64 {
				if d := w.docs[uid].Due; d != nil {
					return *d
				}
				return 1 << 62
			}
			if due(a) != due(b) {
				if due(a) < due(b) {
					return -1
				}
				return 1
			}
			return newer
		default:
			return newer
		}
	})
	return out
}

// Both databases find exactly the items that the words themselves say, after any sequence of
// writes.
func TestASearchFindsExactlyWhatMatches(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		s := open(t, newClock().Now)
		_, owner := person(t, s)
		_, other := person(t, s)
		mine := &model{s, map[string]Found{}, map[string]search.Document{}}
		theirs := &model{s, map[string]Found{}, map[string]search.Document{}}
		r := rand.New(rand.NewSource(7))
		chat := newUID()
		for n := range 260 {
			w, who := mine, owner
			if n%5 == 0 {
				w, who = theirs, other
			}
			kind, parent := []string{"notes", "tasks", "chats", "chat_messages"}[r.Intn(4)], ""
			if kind == "chat_messages" {
				parent = chat
			}
			uid := newUID()
			if known := slices.Sorted(maps.Keys(w.items)); len(known) > 20 && r.Intn(3) == 0 {
				uid = known[r.Intn(len(known))]
				kind = w.items[uid].Kind
			}
			if r.Intn(10) == 0 && w.items[uid].Kind != "" {
				w.write(t, who, kind, uid, remove)
			} else {
				w.write(t, who, kind, uid, put(randomPayload(r, parent)))
			}
		}
		queries := []string{
			"",
			"battery",
			"batteries the",
			`"the battery"`,
			"battery OR café",
			"-battery",
			"the -battery",
			`-"the battery"`,
			"batt*",
			"bat* -e-mail",
			"email",
			"e-mail",
			"2.10",
			"v2.10",
			"東",
			"京都",
			"東京",
			`"東京都 the"`,
			"👍",
			"rechnung",
			"anna@example.com",
			"(battery OR rechnung) -(the OR x1)",
			`"battery the" OR "the battery"`,
			`(the -"battery the") OR 京都`,
			"nothing",
			"-nothing",
			`x1 OR -"the x1"`,
		}
		filters := []search.Filter{
			{States: []search.State{search.Live}},
			{States: []search.State{search.Live, search.Archived}},
			{States: everyState},
			{States: []search.State{search.Deleted}},
			{States: everyState, Kinds: []string{"note", "chat"}},
			{States: everyState, Tags: []string{"A B", "ü"}},
			{States: everyState, Status: "OPEN", Kinds: []string{"task"}},
			{States: everyState, Parent: chat},
		}
		from, before := int64(1763636400050), int64(1763636400150)
		due, dueBefore := int64(1767398400000), int64(1767830400000)
		for _, query := range queries {
			for n, filter := range filters {
				q := Search{
					Query:  parsed(t, query),
					Filter: filter,
					Order:  []Order{Newest, Oldest, Due}[n%3],
					Limit:  7,
				}
				switch n % 4 {
				case 2:
					q.Updated = Range{&from, &before}
				case 3:
					q.Due = Range{&due, &dueBefore}
				}
				for who, w := range map[int64]*model{owner.ID: mine, other.ID: theirs} {
					want := w.matching(who, q)
					got, total := walkSearch(t, s, who, q)
					if !slices.Equal(got, want) || total != int64(len(want)) {
						t.Fatalf(
							"%q %+v %s:\n%d of %d %v\nwant %d %v",
							query,
							filter,
							q.Order,
							len(got),
							total,
							got,
							len(want),
							want,
						)
					}
					if q.Query == nil {
						continue
					}
					// By relevance it is the same items, each once.
					q := q
					q.Order = Relevance
					got, _ = walkSearch(t, s, who, q)
					slices.Sort(got)
					slices.Sort(want)
					if !slices.Equal(got, want) {
						t.Fatalf("%q %+v by relevance: %v, want %v", query, filter, got, want)
					}
				}
			}
		}
		for _, field := range GroupFields {
			found, err := s.Search(
				t.Context(),
				owner.ID,
				Search{Filter: search.Filter{States: everyState}, GroupBy: field},
			)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]int64{}
			for uid, d := range mine.docs {
				month := time.UnixMilli(mine.items[uid].Item.Updated).UTC().Format("2006-01")
				values := map[string][]string{
					"kind":     {mine.items[uid].Kind},
					"status":   {d.Status},
					"priority": {d.Priority},
					"parent":   {d.Parent},
					"tag":      d.Tags,
					"month":    {month},
				}[field]
				for _, value := range values {
					want[value]++
				}
			}
			got := map[string]int64{}
			for _, g := range found.Groups {
				got[g.Value] = g.Count
			}
			if !maps.Equal(got, want) {
				t.Errorf("by %s: %v, want %v", field, got, want)
			}
		}
		checkIndex(t, s)
		if _, _, err := s.Wipe(t.Context(), owner.ID, "me"); err != nil {
			t.Fatal(err)
		}
		q := Search{Filter: search.Filter{States: everyState}, Limit: 5}
		if found, err := s.Search(t.Context(), owner.ID, q); err != nil || found.Total != 0 {
			t.Errorf("after a wipe: %+v, %v", found, err)
		}
		q = Search{Filter: search.Filter{States: everyState}, Order: Newest, Limit: 50}
		if _, total := walkSearch(t, s, other.ID, q); total != int64(len(theirs.items)) {
			t.Errorf("a wipe took %d of another's items", int64(len(theirs.items))-total)
		}
		checkIndex(t, s)
	})
}

// Whatever is asked, SQLite takes it and finds what the words themselves say.
func FuzzQueryOnSQLite(f *testing.F) {
	for _, query := range []string{
		`a "b c" OR -d (e* OR f)`, "battery -the", "-(-a)", "東* -京", "v2.1 OR e-mail", `-"a b"`,
		"the* -(x1 OR -a)", "NEAR(a b)",
		"text:a", "^a", "a + b", "{a b} : c", "ａ*", "\x00", "'; DROP", "👍*", "half\u00a0width",
	} {
		f.Add(query)
	}
	s := openSQLite(f, Memory, newClock().Now)
	session, err := s.OpenSession(context.Background(), Person{"t", "s"})
	if err != nil {
		f.Fatal(err)
	}
	r := rand.New(rand.NewSource(3))
	docs := map[string]search.Document{}
	for range 60 {
		text := randomPayload(r, "")
		item, err := s.Write(
			context.Background(),
			Owner{session.Owner, session.Epoch},
			"notes",
			newUID(),
			put(text),
		)
		if err != nil {
			f.Fatal(err)
		}
		docs[item.UID] = search.Index(entity.ByName("notes"), item.Payload, false)
	}
	f.Fuzz(func(t *testing.T, query string) {
		node, err := search.ParseQuery(query)
		if err != nil {
			return
		}
		for _, order := range []Order{Newest, Relevance} {
			q := Search{
				Query:  node,
				Filter: search.Filter{States: everyState},
				Order:  order,
				Limit:  50,
			}
			if node == nil && order == Relevance {
				continue
			}
			found, err := s.Search(t.Context(), session.Owner, q)
			if err != nil {
				t.Fatalf("%q: %v", query, err)
			}
			want := int64(0)
			for _, d := range docs {
				if search.Compile(session.Owner, node, q.Filter).Matches(&d) {
					want++
				}
			}
			if found.Total != want {
				t.Fatalf("%q: %d, want %d", query, found.Total, want)
			}
		}
	})
}

func checkIndex(t testing.TB, s Store) {
	t.Helper()
	report, err := s.CheckIndex(t.Context())
	if err != nil || len(report.Faults) > 0 {
		t.Errorf("the index: %+v, %v", report, err)
	}
}

// Of many hits those come first whose title matches.
func TestManyHits(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		s := open(t, time.Now)
		_, owner := person(t, s)
		titled := 0
		for n := range 2*rankedHits + 50 {
			title := "Something"
			if n%60 == 0 {
				title = "A harbour"
				titled++
			}
			write(
				t,
				s,
				owner,
				newUID(),
				put(fmt.Sprintf(`{"title":%q,"content":"the harbour of %d"}`, title, n)),
			)
		}
		for _, limit := range []int{3, titled, 50} {
			q := Search{
				Query:  parsed(t, "harbour"),
				Filter: search.Filter{States: []search.State{search.Live}},
				Order:  Relevance,
				Limit:  limit,
			}
			uids, total := walkSearch(t, s, owner.ID, q)
			if total != 2*rankedHits+50 || int64(len(uids)) != total {
				t.Fatalf("limit %d: %d of %d", limit, len(uids), total)
			}
			seen := map[string]bool{}
			for n, uid := range uids {
				item, err := s.Get(t.Context(), owner.ID, "notes", uid)
				if err != nil || seen[uid] ||
					strings.Contains(string(item.Payload), "A harbour") != (n < titled) {
					t.Fatalf(
						"limit %d: hit %d is %s, seen %v (%v)",
						limit,
						n,
						item.Payload,
						seen[uid],
						err,
					)
				}
				seen[uid] = true
			}
		}
	})
}

// Writes leave the index of SQLite in many parts; tidied it is in few, and says the same.
func TestATidyIndexSaysTheSame(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		s := open(t, newClock().Now)
		_, owner := person(t, s)
		for n := range 63 {
			uid := newUID()
			write(t, s, owner, uid, put(fmt.Sprintf(`{"content":"battery %d"}`, n)))
			if n < 10 {
				write(t, s, owner, uid, remove)
			}
		}
		parts := func() (n int) {
			if _, ok := s.(*sqliteStore); ok {
				st := statement{"test.parts", "SELECT COUNT(DISTINCT segid) FROM search_text_idx"}
				if err := one(t.Context(), commonOf(s).db, st, nil, &n); err != nil {
					t.Fatal(err)
				}
			}
			return n
		}
		before, steps := parts(), 0
		for more := true; more; steps++ {
			var err error
			if more, err = s.TidyIndex(t.Context()); err != nil || steps > 100 {
				t.Fatalf("step %d: %v", steps, err)
			}
		}
		if after := parts(); after > 2 || after > 0 && (before < 4 || steps < 2) {
			t.Errorf("%d parts before, %d after %d steps", before, after, steps)
		}
		q := Search{
			Query:  parsed(t, "battery"),
			Filter: search.Filter{States: []search.State{search.Live}},
			Order:  Newest,
			Limit:  50,
		}
		if _, total := walkSearch(t, s, owner.ID, q); total != 53 {
			t.Errorf("%d items are found", total)
		}
	})
}

// What was written before there was an index comes into it in batches, whatever interrupts that.
func TestItemsOfTheFirstSchemaAreIndexed(t *testing.T) {
	many := func(t *testing.T, db *sql.DB) {
		fillOld(t, db)
		for n := range 450 {
			_, err := db.Exec(
				`INSERT INTO items (owner, kind, uid, version, updated, payload)
					VALUES (1, 'tasks', $1, 1, $2, $3)`,
				fmt.Sprintf("44444444-4444-4444-8444-%012d", n),
				1763636500000+n,
				`{"title":"old battery"}`,
			)
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	onEachOld(t, 1, many, func(t *testing.T, s Store) {
		q := Search{
			Query:  parsed(t, "batteries"),
			Filter: search.Filter{States: []search.State{search.Live}},
			Order:  Newest,
			Limit:  50,
		}
		found, err := s.Search(t.Context(), 1, q)
		if err != nil || found.Total != 0 || found.Progress == nil ||
			*found.Progress != (Progress{0, 453}) {
			t.Fatalf("before: %+v %+v, %v", found, found.Progress, err)
		}
		at, done, err := s.IndexSome(t.Context(), IndexCursor{})
		if err != nil || done {
			t.Fatalf("%v %v", done, err)
		}
		found, err = s.Search(t.Context(), 1, q)
		if err != nil || found.Progress == nil || found.Progress.Done == 0 ||
			found.Progress.Done >= 453 {
			t.Fatalf("meanwhile: %+v %+v, %v", found.Total, found.Progress, err)
		}
		// An indexed item and one that is not are changed, and a new one is created.
		owner := Owner{1, 1}
		change := func(uid string) {
			_, err := s.Write(t.Context(), owner, "tasks", uid, put(`{"title":"new"}`))
			if err != nil {
				t.Fatal(err)
			}
		}
		change("44444444-4444-4444-8444-000000000000")
		change("44444444-4444-4444-8444-000000000449")
		change(newUID())
		// A stopped context changes nothing.
		stopped, stop := context.WithCancel(t.Context())
		stop()
		if _, _, err := s.IndexSome(stopped, at); !errors.Is(err, context.Canceled) {
			t.Fatalf("stopped: %v", err)
		}
		indexAll(t, s) // the process was killed
		found, err = s.Search(t.Context(), 1, q)
		if err != nil || found.Total != 449 || found.Progress != nil {
			t.Errorf("afterwards: %d hits, %+v, %v", found.Total, found.Progress, err)
		}
		checkIndex(t, s)
	})
}

// indexAll indexes what is not, or not by the rules of this release.
func indexAll(t *testing.T, s Store) {
	t.Helper()
	var at IndexCursor
	for n, done := 0, false; !done; n++ {
		var err error
		if at, done, err = s.IndexSome(t.Context(), at); err != nil || n > 20 {
			t.Fatalf("round %d: %v", n, err)
		}
	}
}

// The release before had another index, with all items in it.
func TestAnIndexOfTheReleaseBeforeIsReplaced(t *testing.T) {
	const uid = "44444444-4444-4444-8444-000000000001"
	fill := func(t *testing.T, db *sql.DB) {
		statements := []string{
			`INSERT INTO users (tenant, subject, created, indexed) VALUES ('t', 'u', 0, 1)`,
			`INSERT INTO items (owner, kind, uid, version, created, updated, payload)
				VALUES (1, 'notes', '` + uid + `', 1, 5, 5, '{"title":"Data-bases"}')`,
		}
		if _, postgres := db.Driver().(*stdlib.Driver); postgres {
			statements = append(statements, `INSERT INTO search_docs
				(owner, updated, kind, uid, state, unread, terms, words)
				VALUES (1, 5, 'notes', '`+uid+`', 'l', false,
					array_to_tsvector('{1l:wdata,1l:wbases,1l:a}'), ' data bases ')`)
		} else {
			statements = append(statements, `INSERT INTO search_docs
				(id, owner, updated, kind, uid, state, unread)
				VALUES (1 << 43 | 5, 1, 5, 'notes', '`+uid+`', 'l', 0)`,
				`INSERT INTO search_text (rowid, text)
					VALUES (1 << 43 | 5, '1l:wdata 1l:wbases 1l:a')`)
		}
		for _, sql := range statements {
			if _, err := db.Exec(sql); err != nil {
				t.Fatal(err)
			}
		}
	}
	onEachOld(t, 8, fill, func(t *testing.T, s Store) {
		q := Search{
			Query:  parsed(t, "database"),
			Filter: search.Filter{States: []search.State{search.Live}},
			Order:  Relevance,
			Limit:  5,
		}
		found, err := s.Search(t.Context(), 1, q)
		if err != nil || found.Progress == nil || *found.Progress != (Progress{0, 1}) {
			t.Fatalf("before: %+v, %v", found.Progress, err)
		}
		indexAll(t, s)
		found, err = s.Search(t.Context(), 1, q)
		if err != nil || found.Total != 1 || found.Progress != nil {
			t.Errorf("%+v, %v", found, err)
		}
		checkIndex(t, s)
	})
}

// A release whose rules differ, and whose tables do not, leaves documents to be replaced.
func TestDocumentsOfOtherRulesAreReplaced(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		s := open(t, time.Now)
		_, owner := person(t, s)
		write(t, s, owner, newUID(), put(`{"title":"a lamp"}`))
		write(t, s, owner, newUID(), put(`{"title":"a chair"}`))
		c := commonOf(s)
		err := c.db.write(t.Context(), work{then: func(connection) ([]command, error) {
			return []command{
				{indexMark, []any{owner.ID, search.Version + 1}},
				{statement{"test", "UPDATE search_docs SET status = 'of other rules'"}, nil},
			}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		indexAll(t, s)
		checkIndex(t, s)
	})
}

// Writers, one who wipes, and one who searches: a search never shows what is not there.
func TestSearchesAmongWriters(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		s := open(t, time.Now)
		_, owner := person(t, s)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				uid := newUID()
				for n := range 60 {
					change := put(fmt.Sprintf(`{"content":"round %d of all"}`, n))
					if n%7 == 6 {
						change = remove
					}
					if _, err := s.Write(t.Context(), owner, "notes", uid, change); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		q := Search{
			Query:  parsed(t, "round all"),
			Filter: search.Filter{States: []search.State{search.Live}},
			Order:  Relevance,
			Limit:  10,
		}
		for range 60 {
			found, err := s.Search(t.Context(), owner.ID, q)
			if err != nil || found.Total > 4 {
				t.Fatalf("%d hits, %v", found.Total, err)
			}
		}
		wg.Wait()
		checkIndex(t, s)
	})
}

// The check sees a document that is missing, one too many, and one that says something else.
func TestTheCheckOfTheIndexSeesFaults(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		for name, damage := range map[string]func(c *common, owner int64, item Item) []command{
			"missing": func(c *common, owner int64, item Item) []command {
				return c.index.drop(owner, item.Updated)
			},
			"of nothing": func(c *common, owner int64, item Item) []command {
				item.Updated++
				d := search.Index(entity.ByName("notes"), item.Payload, false)
				return c.index.put(owner, item, "notes", &d)
			},
			"other words": func(c *common, owner int64, item Item) []command {
				d := search.Index(entity.ByName("notes"), []byte(`{"title":"else"}`), false)
				return append(
					c.index.drop(owner, item.Updated), c.index.put(owner, item, "notes", &d)...,
				)
			},
			"other facts": func(c *common, owner int64, item Item) []command {
				d := search.Index(entity.ByName("notes"), item.Payload, false)
				d.Tags = []string{"other"}
				return append(
					c.index.drop(owner, item.Updated), c.index.put(owner, item, "notes", &d)...,
				)
			},
		} {
			s := open(t, time.Now)
			_, owner := person(t, s)
			item := write(t, s, owner, newUID(), put(`{"title":"A title","content":"some words"}`))
			checkIndex(t, s)
			c := commonOf(s)
			change := func(commands []command) {
				err := c.db.write(
					t.Context(),
					work{then: func(connection) ([]command, error) { return commands, nil }},
				)
				if err != nil {
					t.Fatal(err)
				}
			}
			change(damage(c, owner.ID, item))
			if report, err := s.CheckIndex(t.Context()); err != nil || len(report.Faults) == 0 {
				t.Errorf("%s: %+v, %v", name, report, err)
			}
			change(append(c.index.dropAll(owner.ID), command{itemWipe, []any{owner.ID}}))
		}
	})
}

// Many hits, and after them more documents without the words than are looked at one by one.
func TestHitsBehindManyOtherDocuments(t *testing.T) {
	s, err := OpenPostgres(t.Context(), freshPostgres(t), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	_, owner := person(t, s)
	const hits, others = denseHits + 10, walked + 10
	for _, sql := range []string{
		fmt.Sprintf(
			`INSERT INTO search_docs (owner, updated, kind, uid, state, unread, terms, words)
			SELECT %[1]d, n, 'notes', gen_random_uuid(), 'l', false,
				array_to_tsvector(ARRAY['%[1]dl:a', '%[1]dl:' ||
					CASE WHEN n <= %[2]d THEN 'wold' ELSE 'wnew' END]), ''
			FROM generate_series(1, %[3]d) n`,
			owner.ID,
			hits,
			hits+others,
		),
		`INSERT INTO items (owner, kind, uid, version, created, updated, payload)
			SELECT owner, kind, uid, 1, updated, updated, '{}' FROM search_docs`,
	} {
		if _, err := s.(*postgresStore).pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	q := Search{
		Query:  parsed(t, "old"),
		Filter: search.Filter{States: []search.State{search.Live}},
		Limit:  3,
	}
	updatedOf := func(s []Found) (out []int64) {
		for _, f := range s {
			out = append(out, f.Item.Updated)
		}
		return out
	}
	for _, page := range []struct {
		order Order
		want  []int64
	}{
		{Newest, []int64{hits, hits - 1, hits - 2}},
		{Newest, []int64{hits - 3, hits - 4, hits - 5}},
		{Oldest, []int64{1, 2, 3}},
		{Oldest, []int64{4, 5, 6}},
		{Relevance, []int64{hits, hits - 1, hits - 2}},
	} {
		if q.Order != page.order {
			q.After = nil
		}
		q.Order = page.order
		found, err := s.Search(t.Context(), owner.ID, q)
		if got := updatedOf(found.Items); err != nil || found.Total != hits ||
			!slices.Equal(got, page.want) {
			t.Errorf("%s: %d hits, %v instead of %v, %v",
				page.order, found.Total, got, page.want, err)
		}
		q.After = found.Next
	}
}
