package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"
	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // for migrations
	"zombiezen.com/go/sqlite"

	"github.com/toolbridge/toolbridge-mcp/api/internal/telemetry"
)

// Memory is the path of a database that lives as long as the process.
const Memory = ":memory:"

// sqliteDB is one database file: one connection that writes, several that read.
//
// SQLite has a single writer. Letting writers queue for one connection here, where waiting is fair
// and ends with the request, is better than letting them collide on the file's lock.
type sqliteDB struct{ reads, writes *pool }

type sqliteStore struct {
	common
	*memorySessions
	db     *sqliteDB
	groups *writeGroups[oneFile]
}

// OpenSQLite opens a file, or Memory. now is the clock.
func OpenSQLite(ctx context.Context, path string, now func() time.Time) (Store, error) {
	open := openFile
	if path == Memory {
		open = openMemory
	}
	db, err := open(ctx, path)
	if err != nil {
		return nil, err
	}
	s := &sqliteStore{
		common:         common{db: db, index: sqliteIndex{}, now: now, retention: DefaultRetention},
		memorySessions: newMemorySessions(now),
		db:             db,
	}
	s.groups = newWriteGroups[oneFile](&s.common, s.writeGroup)
	return s, nil
}

// memories numbers the databases in memory.
var memories atomic.Int64

// openMemory opens one connection, for reads too: it then works like a file's, one after another.
func openMemory(ctx context.Context, _ string) (*sqliteDB, error) {
	uri := fmt.Sprintf("file:/toolbridge-%d?vfs=memdb", memories.Add(1))
	// The database lives as long as a connection to it.
	only, err := openPool(uri, 1)
	if err != nil {
		return nil, err
	}
	if err := migrateSQLite(ctx, uri); err != nil {
		only.close()
		return nil, err
	}
	return &sqliteDB{reads: only, writes: only}, nil
}

func openFile(ctx context.Context, path string) (*sqliteDB, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("folder of the database: %w", err)
	}
	if err := createPrivately(path); err != nil {
		return nil, fmt.Errorf("file of the database: %w", err)
	}
	uri := fileURI(path)
	if err := migrateSQLiteFile(ctx, path, uri); err != nil {
		return nil, err
	}
	writes, err := openPool(uri, 1)
	if err != nil {
		return nil, err
	}
	reads, err := openPool(uri, max(4, runtime.NumCPU()))
	if err != nil {
		writes.close()
		return nil, err
	}
	return &sqliteDB{reads: reads, writes: writes}, nil
}

func fileURI(path string) string { return "file:" + (&url.URL{Path: path}).EscapedPath() }

func (d *sqliteDB) close() {
	d.reads.close()
	d.writes.close()
}

// createPrivately makes the file before SQLite does, which would let every user of the machine read
// it. The files beside it (-wal, -shm) get its mode.
func createPrivately(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return file.Close()
}

// migrateSQLiteFile holds a lock beside the file: SQLite itself locks single migrations, not the
// question which are due.
func migrateSQLiteFile(ctx context.Context, path, uri string) error {
	lock := flock.New(path + ".lock")
	if _, err := lock.TryLockContext(ctx, 50*time.Millisecond); err != nil {
		return fmt.Errorf("lock for migrations: %w", err)
	}
	defer func() { _ = lock.Unlock() }()
	return migrateSQLite(ctx, uri)
}

func migrateSQLite(ctx context.Context, uri string) error {
	db, err := openForMigrations(uri)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	return migrate(ctx, goose.DialectSQLite3, "sqlite", db)
}

// openForMigrations opens a connection of database/sql, which the migrations need.
func openForMigrations(uri string) (*sql.DB, error) {
	options := url.Values{"_txlock": {"immediate"}, "_pragma": {
		fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()),
		"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
	}}
	separator := "?"
	if strings.Contains(uri, "?") {
		separator = "&"
	}
	db, err := sql.Open("sqlite", uri+separator+options.Encode())
	if err == nil {
		db.SetMaxOpenConns(1)
	}
	return db, err
}

func (s *sqliteStore) OpenSession(ctx context.Context, who Person) (Session, error) {
	if err := ctx.Err(); err != nil {
		return Session{}, s.mark(err)
	}
	if session, ok := s.openKnown(who); ok {
		return session, nil
	}
	for {
		before := s.wipes()
		owner, err := s.owner(ctx, who)
		if err != nil {
			return Session{}, s.mark(err)
		}
		if session, ok := s.open(who, owner, before); ok {
			return session, nil
		}
	}
}

func (s *sqliteStore) Wipe(
	ctx context.Context,
	owner int64,
	by string,
) (int64, map[string]int64, error) {
	epoch, deleted, err := s.wipe(ctx, owner, by, func(connection) error { return nil })
	if err == nil {
		s.endAll(owner)
	}
	return epoch, deleted, err
}

func (s *sqliteStore) Ping(ctx context.Context) error {
	var answer int
	return s.mark(one(ctx, s.db.reads, statement{"ping", "SELECT 1"}, nil, &answer))
}

func (s *sqliteStore) Close() { s.db.close() }

func (d *sqliteDB) query(ctx context.Context, s statement, args ...any) (rows, error) {
	return d.reads.query(ctx, s, args...)
}

func (d *sqliteDB) write(ctx context.Context, w work) error {
	c, err := d.writes.acquire(ctx)
	if err != nil {
		return err
	}
	defer d.writes.release(c)
	return c.transact(ctx, w)
}

// transact does work in a transaction of its own.
func (c *sqliteConnection) transact(ctx context.Context, w work) error {
	defer func() {
		c.unwatch()
		if !c.conn.AutocommitEnabled() {
			_ = c.once("ROLLBACK") // the first error is the one that counts
		}
	}()
	if err := c.once("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	c.watch(ctx)
	if err := w.do(ctx, sqliteTx{c}); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c.unwatch() // the end is not interrupted
	return c.once("COMMIT")
}

// do is all of the work, step by step: no step needs a round trip.
func (w work) do(ctx context.Context, tx connection) error {
	if err := askAll(ctx, tx, w.first); err != nil {
		return err
	}
	last, err := w.then(tx)
	if err != nil {
		return err
	}
	return runAll(ctx, tx, last)
}

func askAll(ctx context.Context, tx connection, all []question) error {
	for _, q := range all {
		if err := each(ctx, tx, q.statement, q.args, q.scan); err != nil {
			return err
		}
	}
	return nil
}

func runAll(ctx context.Context, tx connection, all []command) error {
	for _, c := range all {
		if _, err := run(ctx, tx, c.statement, c.args...); err != nil {
			return err
		}
	}
	return nil
}

func (d *sqliteDB) unavailable(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultBusy, sqlite.ResultLocked, sqlite.ResultFull, sqlite.ResultIOErr,
		sqlite.ResultReadOnly, sqlite.ResultCantOpen, sqlite.ResultCorrupt, sqlite.ResultNotADB:
		return true
	}
	return false
}

// Pools counts writes that waited for others in the same way as those that waited for a connection.
func (s *sqliteStore) Pools() []telemetry.Pool {
	if s.db.reads == s.db.writes {
		return []telemetry.Pool{s.groups.counted(s.db.writes.now("all"))}
	}
	return []telemetry.Pool{
		s.db.reads.now("reads"), s.groups.counted(s.db.writes.now("writes")),
	}
}

// sqliteTx is a transaction on the writing connection.
type sqliteTx struct{ c *sqliteConnection }

func (t sqliteTx) query(ctx context.Context, s statement, args ...any) (rows, error) {
	found, err := t.c.query(ctx, s.sql, args, func() {})
	if err != nil {
		return nil, err
	}
	return found, nil
}

func (t sqliteTx) exec(ctx context.Context, s statement, args ...any) (int64, error) {
	return t.c.exec(ctx, s.sql, args)
}
