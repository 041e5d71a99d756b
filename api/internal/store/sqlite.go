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
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

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
	db *sqliteDB
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
	if err := db.prepareWrites(ctx); err != nil {
		db.close()
		return nil, err
	}
	return &sqliteStore{common: common{db: db, index: sqliteIndex{}, now: now, retention: DefaultRetention}, memorySessions: newMemorySessions(now), db: db}, nil
}

// openMemory opens one connection, for reads too: each connection to memory would be a database of
// its own.
func openMemory(ctx context.Context, path string) (*sqliteDB, error) {
	only, err := openPool(path, 1)
	if err != nil {
		return nil, err
	}
	if err := migrate(ctx, goose.DialectSQLite3, "sqlite", only.db); err != nil {
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
	writes, err := openPool(path, 1)
	if err != nil {
		return nil, err
	}
	if err := migrateSQLiteFile(ctx, path, writes.db); err != nil {
		writes.close()
		return nil, err
	}
	reads, err := openPool(path, max(4, runtime.NumCPU()))
	if err != nil {
		writes.close()
		return nil, err
	}
	return &sqliteDB{reads: reads, writes: writes}, nil
}

// prepareWrites prepares what a write runs. Within its transaction it would be too late: preparing
// for the pool waits for the connection that the transaction holds.
func (d *sqliteDB) prepareWrites(ctx context.Context) error {
	for _, s := range append(sqliteIndexWrites, clockMove, itemGet, itemLives, itemInsert, itemUpdate,
		versionPut, versionTrim, versionList, clockMoves, repeatFind, repeatPut) {
		if _, err := d.writes.prepare(ctx, s); err != nil {
			return fmt.Errorf("prepare %s: %w", s.name, err)
		}
	}
	return nil
}

func (d *sqliteDB) close() {
	d.reads.close()
	d.writes.close()
}

// createPrivately makes the file before SQLite does, which would let every user of the machine read
// it. Its companions (-wal, -shm) take over its mode.
func createPrivately(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return file.Close()
}

// migrateSQLiteFile holds a lock beside the file: SQLite itself locks single migrations, not the
// question which are due.
func migrateSQLiteFile(ctx context.Context, path string, db *sql.DB) error {
	lock := flock.New(path + ".lock")
	if _, err := lock.TryLockContext(ctx, 50*time.Millisecond); err != nil {
		return fmt.Errorf("lock for migrations: %w", err)
	}
	defer func() { _ = lock.Unlock() }()
	return migrate(ctx, goose.DialectSQLite3, "sqlite", db)
}

func (s *sqliteStore) OpenSession(ctx context.Context, who Person) (Session, error) {
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

func (s *sqliteStore) Wipe(ctx context.Context, owner int64, by string) (int64, map[string]int64, error) {
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
	tx, err := d.writes.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := w.do(ctx, sqliteTx{d.writes, tx}); err != nil {
		_ = tx.Rollback() // the first error is the one that counts
		return err
	}
	err = tx.Commit()
	if errors.Is(err, sql.ErrTxDone) && ctx.Err() != nil {
		return ctx.Err() // database/sql rolled it back when the caller left or time ran out
	}
	return err
}

// do is all of the work, step by step: here no step is far.
func (w work) do(ctx context.Context, tx connection) error {
	for _, q := range w.first {
		if err := each(ctx, tx, q.statement, q.args, q.scan); err != nil {
			return err
		}
	}
	last, err := w.then(tx)
	if err != nil {
		return err
	}
	for _, c := range last {
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
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR,
		sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return true
	}
	return false
}

// pool is a set of connections that remembers prepared statements.
type pool struct {
	db       *sql.DB
	prepared sync.Map // SQL text → *sql.Stmt
}

func openPool(path string, size int) (*pool, error) {
	options := url.Values{}
	options.Set("_txlock", "immediate") // a transaction here always writes
	// FULL: what was acknowledged survives the loss of power.
	for _, pragma := range []string{"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)"} {
		options.Add("_pragma", pragma)
	}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+options.Encode())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return &pool{db: db}, nil
}

func (s *sqliteStore) Pools() []telemetry.Pool {
	if s.db.reads == s.db.writes {
		return []telemetry.Pool{s.db.writes.now("all")}
	}
	return []telemetry.Pool{s.db.reads.now("reads"), s.db.writes.now("writes")}
}

func (p *pool) now(name string) telemetry.Pool {
	now := p.db.Stats()
	return telemetry.Pool{Name: name, InUse: now.InUse, Idle: now.Idle, Max: now.MaxOpenConnections, Waits: now.WaitCount, Waited: now.WaitDuration}
}

func (p *pool) close() { _ = p.db.Close() }

func (p *pool) prepare(ctx context.Context, s statement) (*sql.Stmt, error) {
	if known, ok := p.prepared.Load(s.sql); ok {
		return known.(*sql.Stmt), nil
	}
	// Prepared for the pool's whole life, so not with the context of the request that came first.
	stmt, err := p.db.PrepareContext(context.WithoutCancel(ctx), s.sql)
	if err != nil {
		return nil, err
	}
	if known, raced := p.prepared.LoadOrStore(s.sql, stmt); raced {
		_ = stmt.Close()
		return known.(*sql.Stmt), nil
	}
	return stmt, nil
}

func (p *pool) query(ctx context.Context, s statement, args ...any) (rows, error) {
	stmt, err := p.prepare(ctx, s)
	if err != nil {
		return nil, err
	}
	return sqlRows(stmt.QueryContext(ctx, args...))
}

// sqliteTx is a transaction on the writing connection.
type sqliteTx struct {
	pool *pool
	tx   *sql.Tx
}

// stmt takes what prepareWrites has made; what is run rarely is prepared for this transaction
// alone.
func (t sqliteTx) stmt(ctx context.Context, s statement) (*sql.Stmt, error) {
	if known, ok := t.pool.prepared.Load(s.sql); ok {
		return t.tx.StmtContext(ctx, known.(*sql.Stmt)), nil
	}
	return t.tx.PrepareContext(ctx, s.sql)
}

func (t sqliteTx) query(ctx context.Context, s statement, args ...any) (rows, error) {
	stmt, err := t.stmt(ctx, s)
	if err != nil {
		return nil, err
	}
	return sqlRows(stmt.QueryContext(ctx, args...))
}

func (t sqliteTx) exec(ctx context.Context, s statement, args ...any) (int64, error) {
	stmt, err := t.stmt(ctx, s)
	if err != nil {
		return 0, err
	}
	result, err := stmt.ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// closingRows drops the error of closing: whatever matters has come out of Err before.
type closingRows struct{ *sql.Rows }

func (r closingRows) Close() { _ = r.Rows.Close() }

func sqlRows(r *sql.Rows, err error) (rows, error) {
	if err != nil {
		return nil, err
	}
	return closingRows{r}, nil
}
