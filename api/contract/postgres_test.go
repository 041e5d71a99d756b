package contract

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
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

// A line carries TCP connections to a database and can be cut.
type line struct {
	sync.Mutex
	addr, target string
	listener     net.Listener
	open         map[net.Conn]bool
}

// newLine lays a line to a database and returns the URL that leads through it.
func newLine(t *testing.T, databaseURL string) (*line, string) {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	if u.Hostname() == "" {
		leaveOut(t, "TEST_POSTGRES_URL names no host whose connections could be cut")
	}
	port := u.Port()
	if port == "" {
		port = "5432"
	}
	l := &line{
		addr:   "127.0.0.1:0",
		target: net.JoinHostPort(u.Hostname(), port),
		open:   map[net.Conn]bool{},
	}
	if err := l.restore(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.cut() })
	u.Host = l.addr
	return l, u.String()
}

// restore listens, on the same port each time.
func (l *line) restore() error {
	listener, err := net.Listen("tcp", l.addr)
	if err != nil {
		return err
	}
	l.Lock()
	l.listener, l.addr = listener, listener.Addr().String()
	l.Unlock()
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return // cut
			}
			far, err := net.Dial("tcp", l.target)
			if err != nil {
				near.Close()
				continue
			}
			l.Lock()
			l.open[near], l.open[far] = true, true
			l.Unlock()
			go carry(near, far)
			go carry(far, near)
		}
	}()
	return nil
}

func carry(from, to net.Conn) {
	_, _ = io.Copy(to, from)
	from.Close()
	to.Close()
}

// cut ends all connections, and new ones are refused.
func (l *line) cut() error {
	l.Lock()
	defer l.Unlock()
	err := l.listener.Close()
	for conn := range l.open {
		conn.Close()
	}
	l.open = map[net.Conn]bool{}
	return err
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
