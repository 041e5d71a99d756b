package store

import (
	"database/sql"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// onEachOld runs a test on databases that are of an earlier schema, and then on what this release
// makes of them.
func onEachOld(
	t *testing.T,
	version int64,
	fill func(t *testing.T, db *sql.DB),
	test func(t *testing.T, s Store),
) {
	t.Run("sqlite", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "old.db")
		db, err := openForMigrations(fileURI(path))
		if err != nil {
			t.Fatal(err)
		}
		migrateTo(t, version, goose.DialectSQLite3, "sqlite", db)
		fill(t, db)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		test(t, openSQLite(t, path, time.Now))
	})
	t.Run("postgres", func(t *testing.T) {
		address := freshPostgres(t)
		config, err := pgx.ParseConfig(address)
		if err != nil {
			t.Fatal(err)
		}
		db := stdlib.OpenDB(*config)
		migrateTo(t, version, goose.DialectPostgres, "postgres", db)
		fill(t, db)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		s, err := OpenPostgres(t.Context(), address, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		test(t, s)
	})
}

func migrateTo(
	t *testing.T,
	version int64,
	dialect goose.Dialect,
	folder string,
	db *sql.DB,
) {
	t.Helper()
	files, err := fs.Sub(migrations, "migrations/"+folder)
	if err != nil {
		t.Fatal(err)
	}
	provider, err := goose.NewProvider(
		dialect,
		db,
		files,
		goose.WithGoMigrations(fillCreated),
		goose.WithDisableGlobalRegistry(true),
	)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.UpTo(t.Context(), version); err != nil {
		t.Fatal(err)
	}
}

const (
	oldNote    = "11111111-1111-4111-8111-111111111111"
	oldChanged = "0196f0a0-0000-7000-8000-000000000000" // of 2025-05-21, says its uid
	oldMessage = "22222222-2222-4222-8222-222222222222"
	oldChat    = "33333333-3333-4333-8333-333333333333"
)

func fillOld(t *testing.T, db *sql.DB) {
	t.Helper()
	insert := func(kind, uid string, version, updated int64, payload string) {
		_, err := db.Exec(
			`INSERT INTO items (owner, kind, uid, version, updated, payload)
				VALUES (1, $1, $2, $3, $4, $5)`,
			kind, uid, version, updated, payload,
		)
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := db.Exec(`INSERT INTO users (tenant, subject, created) VALUES ('t', 's', 0)`)
	if err != nil {
		t.Fatal(err)
	}
	insert("notes", oldNote, 1, 1763636400000, `{"title":"An old note about batteries"}`)
	insert("notes", oldChanged, 4, 1763636400001, `{"title":"x"}`)
	insert(
		"chat_messages",
		oldMessage,
		2,
		1763636400002,
		`{"odd":"\u0000","chatUid":"33333333-3333-4333-8333-333333333333"}`,
	)
}

func TestItemsOfTheFirstSchemaGetTheirCreationAndTheirParent(t *testing.T) {
	onEachOld(t, 1, fillOld, func(t *testing.T, s Store) {
		for _, c := range []struct {
			kind, uid string
			created   int64
		}{
			{"notes", oldNote, 1763636400000},
			{"notes", oldChanged, 0x0196f0a00000},
			{"chat_messages", oldMessage, 1763636400002},
		} {
			item, err := s.Get(t.Context(), 1, c.kind, c.uid)
			if err != nil || item.Created != c.created {
				t.Errorf(
					"%s %s: created %d, want %d (%v)",
					c.kind,
					c.uid,
					item.Created,
					c.created,
					err,
				)
			}
		}
		page := Page{After: Beginning, Limit: 10, MaxBytes: 1 << 20, Parent: oldChat}
		items, _, err := s.List(t.Context(), 1, "chat_messages", page)
		if err != nil || len(items) != 1 || items[0].UID != oldMessage {
			t.Errorf("messages of the old chat: %+v, %v", items, err)
		}
	})
}
