package store

import (
	"context"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/toolbridge/toolbridge-mcp/api/internal/entity"
	"github.com/toolbridge/toolbridge-mcp/api/internal/search"
)

// benchItems is how many items the searched person has: SEARCH_BENCH_ITEMS=100000 for the figures
// of docs/PERFORMANCE.md.
func benchItems() int {
	if n, err := strconv.Atoi(os.Getenv("SEARCH_BENCH_ITEMS")); err == nil {
		return n
	}
	return 5_000
}

// benchText is some words, common ones more often. Every second text has the word "half", one of
// five thousand "rare".
func benchText(r *rand.Rand, n int) string {
	words := make([]string, 0, 40)
	for range 34 {
		words = append(words, fmt.Sprintf("w%c%do", 'a'+rune(r.Intn(26)), int(r.ExpFloat64()*40)))
	}
	if n%2 == 0 {
		words = append(words, "half")
	}
	if n%5000 == 0 {
		words = append(words, "rare")
	}
	return fmt.Sprintf(
		`{"title":"Note number %d","content":"%s","tags":["t%d"]}`,
		n,
		strings.Join(words, " "),
		n%20,
	)
}

func BenchmarkSearch(b *testing.B) {
	for _, database := range []struct {
		name string
		open func(b *testing.B) Store
	}{
		{"sqlite", func(b *testing.B) Store {
			return openSQLite(b, filepath.Join(b.TempDir(), "x.db"), time.Now)
		}},
		{"postgres", func(b *testing.B) Store {
			s, err := OpenPostgres(b.Context(), freshPostgres(b), time.Now)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(s.Close)
			return s
		}},
	} {
		b.Run(database.name, func(b *testing.B) {
			s := database.open(b)
			who, owner := person(b, s)
			r := rand.New(rand.NewSource(1))
			var uids []string
			for range benchItems() {
				uids = append(uids, newUID())
			}
			fillBench(b, s, owner.ID, uids, r)
			if p, ok := s.(*postgresStore); ok {
				if _, err := p.pool.Exec(context.Background(), "VACUUM ANALYZE"); err != nil {
					b.Fatal(err)
				}
				if os.Getenv("SEARCH_BENCH_EXPLAIN") != "" {
					explainBench(b, p, owner.ID)
				}
			}
			live := search.Filter{States: []search.State{search.Live}}
			b.Run("Get", func(b *testing.B) {
				for b.Loop() {
					_, err := s.Get(b.Context(), who.Owner, "notes", uids[len(uids)/2])
					if err != nil {
						b.Fatal(err)
					}
				}
			})
			for _, m := range []struct {
				name, query string
				s           Search
			}{
				{"Rare", "rare", Search{Order: Relevance}},
				{"Half", "half", Search{Order: Relevance}},
				{"HalfNewest", "half", Search{Order: Newest}},
				{"HalfCount", "half", Search{Order: Newest, Limit: -1}},
				{"HalfByKind", "half", Search{Order: Newest, GroupBy: "kind"}},
				{
					"HalfOfATag",
					"half",
					Search{Order: Newest, Filter: search.Filter{
						States: live.States, Tags: []string{"t4"},
					}},
				},
				{"Phrase", `"half number"`, Search{Order: Relevance}},
				{"Prefix", "wq1*", Search{Order: Relevance}},
				{"TwoCommon", "half note", Search{Order: Relevance}},
				{"All", "", Search{Order: Newest}},
				{"AllByTag", "", Search{Order: Newest, GroupBy: "tag"}},
			} {
				b.Run(m.name, func(b *testing.B) {
					q := m.s
					q.Query = parsed(b, m.query)
					if q.Filter.States == nil {
						q.Filter = live
					}
					q.Limit = max(0, q.Limit+10*(1+q.Limit))
					for b.Loop() {
						if _, err := s.Search(b.Context(), who.Owner, q); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
			b.Run("Create", func(b *testing.B) {
				for b.Loop() {
					write(b, s, owner, newUID(), put(benchPayload))
				}
			})
			b.Run("Change", func(b *testing.B) {
				for b.Loop() {
					write(b, s, owner, uids[0], put(benchPayload))
				}
			})
			b.Run("Wipe", func(b *testing.B) {
				for b.Loop() { // the first one deletes everything: run it with -benchtime 1x
					if _, _, err := s.Wipe(b.Context(), owner.ID, "x"); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// commonOf is the part of a store that both databases have.
func commonOf(s Store) *common {
	switch s := s.(type) {
	case *sqliteStore:
		return &s.common
	case *postgresStore:
		return &s.common
	}
	return nil
}

// fillBench writes items in large transactions, which the API has no way to do.
func fillBench(b *testing.B, s Store, owner int64, uids []string, r *rand.Rand) {
	b.Helper()
	c := commonOf(s)
	kind := entity.ByName("notes")
	for from := 0; from < len(uids); from += 500 {
		var commands []command
		for n := from; n < min(from+500, len(uids)); n++ {
			item := Item{
				UID:     uids[n],
				Version: 1,
				Created: int64(1700000000000 + n),
				Updated: int64(1700000000000 + n),
				Payload: []byte(benchText(r, n)),
			}
			d := search.Index(kind, item.Payload, false)
			commands = append(
				commands,
				command{
					itemInsert,
					[]any{
						owner,
						kind.Name,
						item.UID,
						1,
						item.Created,
						item.Updated,
						0,
						string(item.Payload),
						nil,
						"",
						0,
					},
				},
			)
			commands = append(commands, c.index.put(owner, item, kind.Name, &d)...)
		}
		err := c.db.write(
			b.Context(), work{then: func(connection) ([]command, error) { return commands, nil }},
		)
		if err != nil {
			b.Fatal(err)
		}
	}
}

// explainBench logs how PostgreSQL carries out some searches.
func explainBench(b *testing.B, p *postgresStore, owner int64) {
	b.Helper()
	live := search.Filter{States: []search.State{search.Live}}
	for _, query := range []string{"rare", "half", "half note", `"half number"`} {
		s := Search{Query: parsed(b, query), Filter: live, Order: Newest}
		e := search.Compile(owner, s.Query, s.Filter)
		for _, dense := range []bool{false, true} {
			q := p.index.hits(owner, s, e)
			st := q.statement("search.count", "COUNT(*)", "")
			if dense {
				p.index.order(q, s, dense)
				st = q.statement("search.page", "d.kind, d.uid", " ORDER BY "+q.orderBy+" LIMIT 11")
			}
			for range 2 {
				rows, err := p.pool.Query(
					b.Context(),
					"EXPLAIN (ANALYZE, BUFFERS) "+st.sql,
					q.args...)
				if err != nil {
					b.Fatal(err)
				}
				plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
				if err != nil {
					b.Fatal(err)
				}
				b.Logf("%s, dense %v:\n%s", query, dense, strings.Join(plan, "\n"))
			}
		}
	}
}
