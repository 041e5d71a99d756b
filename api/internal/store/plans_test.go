package store

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/toolbridge/toolbridge-mcp/api/internal/search"
)

// plans says by which indexes each statement of a request finds its rows. A statement that reads a
// table from end to end, or sorts what it has read, costs more the more there is.
var plans = []struct {
	statement
	args             string // for PostgreSQL; which ones does not matter
	sqlite, postgres []string
}{
	{
		userFind,
		"'t', 's'",
		[]string{"sqlite_autoindex_users_1"},
		[]string{"users_tenant_subject_key"},
	},
	{userState, "1", []string{"INTEGER PRIMARY KEY"}, []string{"users_pkey"}},
	{userWipe, "1, 1, 's'", []string{"INTEGER PRIMARY KEY"}, []string{"users_pkey"}},
	{clockMove, "1, 1, 1", []string{"INTEGER PRIMARY KEY"}, []string{"users_pkey"}},
	{itemGet, "1, 'notes'," + aUID, []string{"items_by_uid"}, []string{"items_by_uid"}},
	{itemLive, "1, 'notes'," + aUID, []string{"items_by_uid"}, []string{"items_by_uid"}},
	{
		itemUpdate,
		"1, 'notes'," + aUID + ", 1, 1, 1, 1, '{}', NULL, '', 1",
		[]string{"items_by_uid"},
		[]string{"items_by_uid"},
	},
	{
		itemLists[listing{}],
		"1, 'notes', 1, " + aUID + ", 10",
		[]string{"items_live_by_time"},
		[]string{"items_live_by_time"},
	},
	{
		itemLists[listing{newest: true}],
		"1, 'notes', 1, " + aUID + ", 10",
		[]string{"items_live_by_time"},
		[]string{"items_live_by_time"},
	},
	{
		itemLists[listing{deletedToo: true}],
		"1, 'notes', 1, " + aUID + ", 10",
		[]string{"items_by_time"},
		[]string{"items_by_time"},
	},
	{itemLists[listing{deletedToo: true, newest: true}], "1, 'notes', 1, " + aUID + ", 10",
		[]string{"items_by_time"}, []string{"items_by_time"}},
	{
		itemLists[listing{ofParent: true}],
		ofAParent,
		[]string{"items_live_by_parent"},
		[]string{"items_live_by_parent"},
	},
	{itemLists[listing{ofParent: true, newest: true}], ofAParent,
		[]string{"items_live_by_parent"}, []string{"items_live_by_parent"}},
	{
		itemLists[listing{ofParent: true, deletedToo: true}],
		ofAParent,
		[]string{"items_by_parent"},
		[]string{"items_by_parent"},
	},
	{itemLists[listing{ofParent: true, deletedToo: true, newest: true}], ofAParent,
		[]string{"items_by_parent"}, []string{"items_by_parent"}},
	{overviewDueCount, "1, 1, 2", []string{"search_docs_by_due"}, []string{"search_docs_by_due"}},
	{userIndexed, "1", []string{"INTEGER PRIMARY KEY"}, []string{"users_pkey"}},
	{itemTotal, "1", []string{"items_by_"}, []string{"items_by_"}},
	{
		versionTrim,
		"1, 'notes'," + aUID + ", 1, 1, 1",
		[]string{"versions_by_item"},
		[]string{"versions_by_item"},
	},
	{
		versionList,
		"1, 'notes'," + aUID + ", 1",
		[]string{"versions_by_item"},
		[]string{"versions_by_item"},
	},
	{versionWipe, "1", []string{"versions_by_item"}, []string{"versions_by_item"}},
	{
		versionSweep,
		"1",
		[]string{"versions_by_item", "versions_by_age"},
		[]string{"versions_by_age"},
	},
	{clockMoves, "1, 1, 1, 3", []string{"INTEGER PRIMARY KEY"}, []string{"users_pkey"}},
	{repeatFind, "1, 'k', 1", []string{"sqlite_autoindex_repeats_1"}, []string{"repeats_pkey"}},
	{repeatWipe, "1", []string{"repeats_"}, []string{"repeats_"}},
	{repeatTrim, "1, 8388608", []string{"repeats_by_kept"}, []string{"repeats_by_kept"}},
	{
		repeatSweep,
		"1",
		[]string{"sqlite_autoindex_repeats_1", "repeats_by_age"},
		[]string{"repeats_by_age"},
	},
	{itemCount, "1", []string{"items_by_"}, []string{"items_by_"}},
	{itemWipe, "1", []string{"items_by_"}, []string{"items_by_"}},
	{sessionOpen, "'t', 's'," + aUID + ", 1, 1", nil, []string{"users_tenant_subject_key"}},
	{sessionFind, aUID + ", 1", nil, []string{"sessions_pkey", "users_pkey"}},
	{sessionEnd, aUID + ", 1, 't', 's'", nil, []string{"sessions_pkey", "users_"}},
	{sessionEndAll, "1", nil, []string{"sessions_by_owner"}},
	{sessionSweep, "1", nil, []string{"sessions_by_expiry"}},
	{itemGetAhead, aUID + ", 1, 'notes', " + aUID, nil, []string{"sessions_pkey", "items_by_uid"}},
	{itemListsAhead[listing{}], aUID + ", 'notes', 1, " + aUID + ", 10, 1",
		nil, []string{"sessions_pkey", "items_live_by_time"}},
	{
		itemListsAhead[listing{deletedToo: true, newest: true}],
		aUID + ", 'notes', 1, " + aUID + ", 10, 1",
		nil,
		[]string{"sessions_pkey", "items_by_time"},
	},
	{itemListsAhead[listing{ofParent: true, newest: true}],
		aUID + ", 'chat_messages', 1, " + aUID + ", 10, " + aUID + ", 1",
		nil, []string{"sessions_pkey", "items_live_by_parent"}},
}

// searchPlans are the statements of searches, which are put together for each of them.
var searchPlans = []struct {
	name   string
	query  string
	order  Order
	filter search.Filter
	updated, due,
	dense bool
	postgres []string
}{
	{
		"by words",
		"7 -the",
		Newest,
		search.Filter{},
		false,
		false,
		false,
		[]string{"search_docs_by_terms", "items_by_uid"},
	},
	{"oldest", "7", Oldest, search.Filter{}, true, false, false, []string{"search_docs_by_terms"}},
	{"by phrase", `"7 8" OR 123*`, Newest, search.Filter{Tags: []string{"x"}}, false, false, false,
		[]string{"search_docs_by_terms"}},
	{"by filter", "", Newest, search.Filter{Parent: aParent}, false, false, false,
		[]string{"search_docs_by_terms"}},
	{"everything", "", Newest, search.Filter{}, false, false, true, []string{"search_docs_"}},
	{"due", "7", Due, search.Filter{}, false, true, false, []string{"search_docs_by_"}},
}

// searchPlan is the statement that reads a page of a search, and its arguments.
func (c *common) searchPlan(t *testing.T, n int, owner int64) (statement, []any) {
	p := searchPlans[n]
	p.filter.States = []search.State{search.Live}
	s := Search{Query: parsed(t, p.query), Filter: p.filter, Order: p.order}
	from, before := int64(1), int64(15000)
	if p.updated {
		s.Updated = Range{&from, &before}
	}
	if p.due {
		s.Due = Range{&from, &before}
	}
	q := c.index.hits(owner, s, search.Compile(owner, s.Query, s.Filter))
	st, _ := c.pageStatement(q, s, 10, p.dense)
	return st, q.args
}

const (
	aUID      = "'00000000-0000-0000-0000-000000000000'"
	aParent   = "11111111-1111-4111-8111-111111111111"
	ofAParent = "1, 'chat_messages', 1, " + aUID + ", 10, " + aUID
)

func judgePlan(t *testing.T, s statement, plan string, costly *regexp.Regexp, indexes []string) {
	t.Helper()
	if costly.MatchString(plan) {
		t.Errorf("%s reads or sorts what it does not need:\n%s", s.name, plan)
	}
	for _, index := range indexes {
		if !strings.Contains(plan, index) {
			t.Errorf("%s goes without %s:\n%s", s.name, index, plan)
		}
	}
}

// parameters is the highest number of a parameter.
func parameters(sql string) int {
	n := 0
	for strings.Contains(sql, fmt.Sprintf("$%d", n+1)) {
		n++
	}
	return n
}

// plan is how SQLite carries out a statement.
func (s *sqliteStore) plan(t *testing.T, st statement, args []any) string {
	t.Helper()
	var plan []string
	explain := statement{"explain", "EXPLAIN QUERY PLAN " + st.sql}
	err := each(t.Context(), s.db, explain, args, func(r rows) error {
		var id, parent, unused int
		var line string
		err := r.Scan(&id, &parent, &unused, &line)
		plan = append(plan, line)
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", st.name, err)
	}
	return strings.Join(plan, "\n")
}

func TestPlansOfSQLite(t *testing.T) {
	s := openSQLite(t, Memory, time.Now).(*sqliteStore)
	costly := regexp.MustCompile(`SCAN|TEMP B-TREE`)
	for _, p := range plans {
		if p.sqlite == nil {
			continue // sessions are in memory
		}
		plan := s.plan(t, p.statement, make([]any, parameters(p.sql)))
		judgePlan(t, p.statement, plan, costly, p.sqlite)
	}
	// FTS5 is scanned by its own index, and what a page has is sorted once more by the join with
	// its items.
	outside := regexp.MustCompile(`SCAN (d|i|items|search_docs)\b`)
	for n, p := range searchPlans {
		st, args := s.searchPlan(t, n, 1)
		plan := s.plan(t, st, args)
		want := []string{
			"f VIRTUAL TABLE INDEX",
			"SEARCH d USING INTEGER PRIMARY KEY",
			"SEARCH i USING INDEX items_by_uid",
		}
		judgePlan(t, statement{name: p.name}, plan, outside, want)
		if p.order == Newest || p.order == Oldest {
			// The index is in the order of time: nothing but the page itself may be sorted.
			if strings.Contains(plan, "TEMP B-TREE") &&
				strings.Index(plan, "TEMP B-TREE") < strings.Index(plan, "SEARCH i") {
				t.Errorf("%s sorts all hits:\n%s", p.name, plan)
			}
		}
	}
	q, sorts := s.rareWord(t, 1), regexp.MustCompile(`TEMP B-TREE`)
	judgePlan(t, statement{name: "rare"}, s.plan(t, fewStatement(q), q.args), sorts, []string{
		"f VIRTUAL TABLE INDEX",
	})
	judgePlan(t, sqliteFewItems, s.plan(t, sqliteFewItems, []any{"[]"}), outside, []string{
		"SEARCH d USING INTEGER PRIMARY KEY",
		"SEARCH i USING INDEX items_by_uid",
	})
}

// rareWord is the query of a search by relevance.
func (c *common) rareWord(t *testing.T, owner int64) *query {
	s := Search{
		Query:  parsed(t, "7"),
		Filter: search.Filter{States: []search.State{search.Live}},
		Order:  Relevance,
	}
	return c.index.hits(owner, s, search.Compile(owner, s.Query, s.Filter))
}

// PostgreSQL chooses by what is in its tables, so there has to be something, and it has to know.
func TestPlansOfPostgreSQL(t *testing.T) {
	address := freshPostgres(t)
	s, err := OpenPostgres(t.Context(), address, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	c, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	for _, sql := range []string{
		`INSERT INTO users (tenant, subject, created)
			SELECT 't', n, 0 FROM generate_series(1, 500) n`,
		`INSERT INTO items (owner, kind, uid, version, updated, payload)
			SELECT id, kind, gen_random_uuid(), 1, n, '{}'
			FROM users, generate_series(1, 20) n, unnest('{notes,tasks}'::text[]) kind`,
		`INSERT INTO items (owner, kind, uid, version, created, updated, payload, parent)
			SELECT id, 'chat_messages', gen_random_uuid(), 1, n, n, '{}', chat
			FROM (SELECT id, gen_random_uuid() chat FROM users) u, generate_series(1, 20) n`,
		`INSERT INTO search_docs (owner, updated, kind, uid, state, due, unread, terms, words)
			SELECT id, n, 'tasks', gen_random_uuid(), 'l', n, false,
				array_to_tsvector(ARRAY[id || 'l:w' || n % 500, id || 'l:a']), ' x '
			FROM users, generate_series(1, CASE id WHEN 250 THEN 20000 ELSE 20 END) n`,
		// Most have few items, so that a plan for any owner would read all items of one.
		`INSERT INTO search_docs (owner, updated, kind, uid, state, unread, terms, words)
			SELECT n, 1, 'notes', gen_random_uuid(), 'l', false,
				array_to_tsvector(ARRAY[n || 'l:w1', n || 'l:a']), ' x '
			FROM generate_series(1000, 30000) n`,
		`INSERT INTO versions
				(owner, kind, uid, version, updated, replaced, deleted, operation, kept, delta)
			SELECT owner, kind, uid, n, n, n + version, 0, '', 0, ''
			FROM items, generate_series(1, 2) n`,
		`INSERT INTO repeats (owner, key, created, body, answer)
			SELECT id, n, n, '', '' FROM users, generate_series(1, 20) n`,
		`INSERT INTO sessions (id, owner, epoch, created, expires)
			SELECT gen_random_uuid(), id, 1, n, n FROM users, generate_series(1, 20) n`,
		`ANALYZE`,
		`SET plan_cache_mode = force_generic_plan`,
		`SET enable_seqscan = off`, // as in plan
		`SET jit = off`,
	} {
		if _, err := c.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	costly := regexp.MustCompile(`Seq Scan|Sort  `)
	for n, p := range plans {
		if _, err := c.Exec(t.Context(), fmt.Sprintf("PREPARE p%d AS %s", n, p.sql)); err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
		rows, err := c.Query(t.Context(), fmt.Sprintf("EXPLAIN EXECUTE p%d(%s)", n, p.args))
		if err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
		plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
		judgePlan(t, p.statement, strings.Join(plan, "\n"), costly, p.postgres)
	}
	x := common{index: postgresIndex{}}
	scans := regexp.MustCompile(`Seq Scan`)
	for n, p := range searchPlans {
		st, args := x.searchPlan(t, n, 250)
		judgePlan(t, statement{name: p.name}, postgresPlan(t, c, st, args), scans, p.postgres)
	}
	q := x.rareWord(t, 250)
	for _, st := range []statement{
		fewFoundStatement(q), q.statement("search.count", "COUNT(*)", ""),
	} {
		plan := postgresPlan(t, c, st, q.args)
		judgePlan(t, st, plan, costly, []string{"search_docs_by_terms"})
	}
}

// postgresPlan is how PostgreSQL carries out the statement of a search.
func postgresPlan(t *testing.T, c *pgx.Conn, st statement, args []any) string {
	t.Helper()
	explain, mode := "EXPLAIN "+st.sql, pgx.QueryExecModeCacheDescribe
	if st.onePlan() {
		numbers := make([]string, len(args))
		for n := range args {
			numbers[n] = fmt.Sprintf("$%d", n+1)
		}
		for _, sql := range []string{"DEALLOCATE ALL", "PREPARE planned AS " + st.sql} {
			if _, err := c.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
				t.Fatalf("%s: %v", st.name, err)
			}
		}
		explain = "EXPLAIN EXECUTE planned(" + strings.Join(numbers, ", ") + ")"
		mode = pgx.QueryExecModeSimpleProtocol
	}
	rows, err := c.Query(t.Context(), explain, append([]any{mode}, args...)...)
	if err != nil {
		t.Fatalf("%s: %v", st.name, err)
	}
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%s: %v", st.name, err)
	}
	return strings.Join(plan, "\n")
}
