package contract

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// The databases that this run created on the server of TEST_POSTGRES_URL, by name.
var created struct {
	sync.Mutex
	names []string
}

// newPostgres makes an empty database and returns its URL.
func newPostgres() (string, error) {
	name := "toolbridge_contract_" + randomHex(8)
	if err := asAdmin("CREATE DATABASE " + name); err != nil {
		return "", err
	}
	created.Lock()
	created.names = append(created.names, name)
	created.Unlock()

	u, err := url.Parse(os.Getenv("TEST_POSTGRES_URL"))
	if err != nil {
		return "", err
	}
	u.Path = "/" + name
	return u.String(), nil
}

func dropDatabases() error {
	created.Lock()
	defer created.Unlock()
	var errs []error
	for _, name := range created.names {
		errs = append(errs, asAdmin("DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"))
	}
	return errors.Join(errs...)
}

// closeDatabase makes a database unreachable: new connections are refused and existing ones cut.
func closeDatabase(databaseURL string) error {
	name := databaseName(databaseURL)
	return asAdmin(
		"ALTER DATABASE "+name+" WITH ALLOW_CONNECTIONS false",
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+name+"'",
	)
}

func openDatabase(databaseURL string) error {
	return asAdmin("ALTER DATABASE " + databaseName(databaseURL) + " WITH ALLOW_CONNECTIONS true")
}

func databaseName(databaseURL string) string {
	name, _, _ := strings.Cut(databaseURL, "?")
	return name[strings.LastIndex(name, "/")+1:]
}

// asAdmin runs statements on the database that TEST_POSTGRES_URL itself names.
func asAdmin(statements ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, os.Getenv("TEST_POSTGRES_URL"))
	if err != nil {
		return fmt.Errorf("PostgreSQL of TEST_POSTGRES_URL: %w", err)
	}
	defer conn.Close(ctx)
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}
