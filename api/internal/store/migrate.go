package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

//go:embed migrations
var migrations embed.FS

// migrate brings the schema up to date. The caller makes sure that only one process does so at a
// time.
func migrate(
	ctx context.Context,
	dialect goose.Dialect,
	folder string,
	db *sql.DB,
	options ...goose.ProviderOption,
) error {
	files, err := fs.Sub(migrations, "migrations/"+folder)
	if err != nil {
		return err
	}
	options = append(
		options,
		goose.WithGoMigrations(fillCreated),
		goose.WithDisableGlobalRegistry(true),
	)
	provider, err := goose.NewProvider(dialect, db, files, options...)
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	there, known, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	if there > known {
		return fmt.Errorf(
			"its schema is of version %d, and this release knows versions up to %d: "+
				"a newer release has migrated it; run that one",
			there,
			known,
		)
	}
	return nil
}
