package store

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// benchmarks run through scripts/postgres on both databases: go test -bench . ./internal/store
var benchmarks = []struct {
	name string
	// call is what is measured. uids are of notes that the owner has.
	call func(b *testing.B, s Store, who Session, uids []string)
}{
	{"Get", func(b *testing.B, s Store, who Session, uids []string) {
		if _, err := s.Get(b.Context(), who.Owner, "notes", uids[0]); err != nil {
			b.Error(err)
		}
	}},
	{"List50", func(b *testing.B, s Store, who Session, _ []string) {
		page := Page{After: Beginning, Limit: 50, MaxBytes: 1 << 20}
		if items, _, err := s.List(b.Context(), who.Owner, "notes", page); err != nil ||
			len(items) != 50 {
			b.Error(len(items), err)
		}
	}},
	{"Create", func(b *testing.B, s Store, who Session, _ []string) {
		write(b, s, Owner{who.Owner, who.Epoch}, newUID(), put(benchPayload))
	}},
	{"Change", func(b *testing.B, s Store, who Session, uids []string) {
		write(b, s, Owner{who.Owner, who.Epoch}, uids[0], put(benchPayload))
	}},
	{"FindSession", func(b *testing.B, s Store, who Session, _ []string) {
		if _, err := s.FindSession(b.Context(), who.ID); err != nil {
			b.Error(err)
		}
	}},
	{"OpenAndEndSession", func(b *testing.B, s Store, who Session, _ []string) {
		opened, err := s.OpenSession(b.Context(), who.Person)
		if err == nil {
			err = s.EndSession(b.Context(), opened.ID, who.Person)
		}
		if err != nil {
			b.Error(err)
		}
	}},
}

var benchPayload = `{"title":"A note","content":"` +
	strings.Repeat("Some words that somebody wrote. ", 6) + `"}`

func BenchmarkStore(b *testing.B) {
	postgres := func(b *testing.B, address string) Store {
		s, err := OpenPostgres(b.Context(), address, time.Now)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(s.Close)
		return s
	}
	for _, database := range []struct {
		name string
		open func(b *testing.B) Store
	}{
		{"sqlite", func(b *testing.B) Store {
			return openSQLite(b, filepath.Join(b.TempDir(), "x.db"), time.Now)
		}},
		{"postgres", func(b *testing.B) Store { return postgres(b, freshPostgres(b)) }},
		{"postgres 1 ms away", func(b *testing.B) Store {
			line, address := newLine(b, freshPostgres(b))
			line.delay = time.Millisecond
			return postgres(b, address)
		}},
	} {
		b.Run(database.name, func(b *testing.B) {
			s := WithDeadline(database.open(b), time.Minute)
			who, owner := person(b, s)
			uids := make([]string, 200)
			for n := range uids {
				uids[n] = newUID()
				write(b, s, owner, uids[n], put(benchPayload))
			}
			for _, m := range benchmarks {
				b.Run(m.name, func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						m.call(b, s, who, uids)
					}
				})
			}
		})
	}
}
