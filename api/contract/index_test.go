package contract

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"
)

// forgetIndex makes a database one whose items were all written before there was an index. A
// running server takes note of it for users who have not searched yet.
func forgetIndex(t *testing.T, databaseURL string) {
	t.Helper()
	driver, address := "pgx", databaseURL
	statements := []string{"UPDATE users SET indexed = 0", "DELETE FROM search_docs"}
	if path, ok := strings.CutPrefix(databaseURL, "sqlite://"); ok {
		driver, address = "sqlite", path+"?_pragma=busy_timeout(60000)"
		statements = append(
			[]string{"DELETE FROM search_text WHERE rowid IN (SELECT id FROM search_docs)"},
			statements...)
	}
	db, err := sql.Open(driver, address)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// Items of an earlier release are indexed while the server runs. A search says how far that is, a
// server that is killed in the middle goes on, and what is written meanwhile is in the index as
// well.
func TestOlderItemsAreIndexedWhateverInterruptsIt(t *testing.T) {
	onEachOurs(t, func(t *testing.T, b *backend) {
		api, err := startServer(b, settings{"RATE_LIMIT_PER_MINUTE": "0"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(api.kill)
		u := api.userOf(t, freshName("tenant"), freshName("user"))
		const items = 1200
		inParallel(8, items, func(n int) {
			u.call(t, "POST", "/v1/notes", fmt.Sprintf(
				`{"title":"Older %d","content":%q}`, n, strings.Repeat("some words ", 30),
			)).check(t, 201)
		})
		if f := u.search(t, arguments{"query": "older"}); f.Total != items || f.Indexed != nil {
			t.Fatalf("before: %d items, %+v", f.Total, f.Indexed)
		}
		api.kill()
		forgetIndex(t, api.env["DATABASE_URL"])

		written := 0
		for round := range 4 {
			again, err := startServer(b, api.env)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(again.kill)
			u = again.userOf(t, u.tenant, u.sub)
			u.call(t, "POST", "/v1/notes", `{"title":"Older than the rest"}`).want(t, 201)
			written++
			if round < 3 {
				again.kill()
				continue
			}
			for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
				f := u.search(t, arguments{"query": "older"})
				if f.Indexed == nil {
					if want := int64(items + written); f.Total != want {
						t.Errorf("the index is complete with %d hits, want %d", f.Total, want)
					}
					break
				}
				if f.Indexed.Done > f.Indexed.Total || f.Indexed.Total != int64(items+written) ||
					time.Now().After(deadline) {
					t.Fatalf("indexed %+v", f.Indexed)
				}
			}
			if err := again.stop(); err != nil {
				t.Error(err)
			}
			agrees := fmt.Sprintf("agrees with %d items; 0 are", items+written)
			if out, err := checkIndex(again.env); err != nil ||
				!strings.Contains(string(out), agrees) {
				t.Errorf("check --index: %v\n%s", err, out)
			}
		}
	})
}

// While items are not indexed, an empty result does not claim that they lack anything.
func TestHintsWhileItemsAreIndexed(t *testing.T) {
	onEachOurs(t, func(t *testing.T, b *backend) {
		api, err := startServer(b, settings{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(api.kill)
		u := api.userOf(t, freshName("tenant"), freshName("user"))
		for range 3 {
			u.call(t, "POST", "/v1/notes", `{"title":"Older","tags":["home"]}`).check(t, 201)
		}
		forgetIndex(t, api.env["DATABASE_URL"])
		u.call(t, "POST", "/v1/notes", `{"title":"Newer","status":"archived"}`).check(t, 201)
		for _, c := range []struct {
			args    arguments
			reasons []string
		}{
			{arguments{"query": "older"}, []string{"indexing"}},
			{arguments{"query": "oldest", "tags": []string{"home"}}, []string{"indexing"}},
			{arguments{"query": "newer"}, []string{"indexing", "archived"}},
		} {
			f := u.search(t, c.args)
			var got []string
			for _, h := range f.Hints {
				got = append(got, h.Reason)
			}
			if f.Total != 0 || f.Indexed == nil || f.Indexed.Done != 1 || f.Indexed.Total != 4 ||
				!slices.Equal(got, c.reasons) ||
				f.Hints[0].Message != "only 1 of 4 items are indexed so far: search again later" {
				t.Errorf("%v: %d hits, indexed %+v, hints %+v", c.args, f.Total, f.Indexed, f.Hints)
			}
		}
	})
}
