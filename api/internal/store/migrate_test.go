package store

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const aNewerReleaseWasHere = `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, `

func refusesANewerSchema(t *testing.T, err error) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), "a newer release has migrated it") {
		t.Errorf("a newer schema was opened: %v", err)
	}
}

// An older release must not write by rules that a newer one has given up.
func TestASchemaOfANewerReleaseIsRefused(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "a.db")
		openSQLite(t, path, time.Now).Close()
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(aNewerReleaseWasHere + "1)"); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		_, err = OpenSQLite(t.Context(), path, time.Now)
		refusesANewerSchema(t, err)
	})
	t.Run("postgres", func(t *testing.T) {
		address := freshPostgres(t)
		s, err := OpenPostgres(t.Context(), address, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		conn, err := pgx.Connect(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), aNewerReleaseWasHere+"true)"); err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err = OpenPostgres(t.Context(), address, time.Now)
		refusesANewerSchema(t, err)
	})
}
