package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/toolbridge/toolbridge-mcp/api/internal/telemetry"
)

var (
	// Opening is one round trip. The epoch is read here and compared by FindSession with the one that is then in force, so a wipe at the
	// same moment does no harm.
	sessionOpen = statement{"session.open", `
		INSERT INTO sessions (id, owner, epoch, created, expires)
		SELECT $3, id, epoch, $4, $5 FROM users WHERE tenant = $1 AND subject = $2 RETURNING owner, epoch`}
	sessionFind = statement{"session.find", `
		SELECT u.tenant, u.subject, s.owner, s.epoch, u.epoch, s.created, s.expires
		FROM sessions s JOIN users u ON u.id = s.owner WHERE s.id = $1 AND s.expires > $2`}
	sessionEnd    = statement{"session.end", `DELETE FROM sessions WHERE id = $1`}
	sessionEndAll = statement{"session.end_all", `DELETE FROM sessions WHERE owner = $1`}
	sessionSweep  = statement{"session.sweep", `DELETE FROM sessions WHERE expires <= $1`}
	sessionCount  = statement{"session.count", `SELECT COUNT(*) FROM sessions`}
)

type postgresDB struct{ pool *pgxpool.Pool }

type postgresStore struct {
	common
	pool *pgxpool.Pool
}

// OpenPostgres connects to url. now is the clock.
func OpenPostgres(ctx context.Context, url string, now func() time.Time) (Store, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = 3 * time.Second
	}
	if !strings.Contains(url, "pool_max_conns") {
		config.MaxConns = max(config.MaxConns, 10)
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	if err := migratePostgres(ctx, pool); err != nil {
		pool.Close()
		return nil, err
	}
	c := common{db: &postgresDB{pool}, now: now}
	return &postgresStore{common: c, pool: pool}, nil
}

// migratePostgres holds an advisory lock, so that of several replicas that start at once one migrates and the others wait.
func migratePostgres(ctx context.Context, pool *pgxpool.Pool) error {
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 60))
	if err != nil {
		return err
	}
	db := stdlib.OpenDBFromPool(pool)
	defer func() { _ = db.Close() }()
	return migrate(ctx, goose.DialectPostgres, "postgres", db, goose.WithSessionLocker(locker))
}

func (s *postgresStore) OpenSession(ctx context.Context, who Person) (Session, error) {
	created := s.now()
	session := Session{ID: uuid.NewString(), Person: who, Created: created, Expires: created.Add(SessionLifetime)}
	args := []any{who.Tenant, who.Subject, session.ID, session.Created.UnixMilli(), session.Expires.UnixMilli()}
	for range 2 {
		err := one(ctx, s.db, sessionOpen, args, &session.Owner, &session.Epoch)
		if err == nil {
			session.ServerEpoch = session.Epoch
			return session, nil
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return Session{}, s.mark(err)
		}
		if err := s.addUser(ctx, who); err != nil {
			return Session{}, s.mark(err)
		}
	}
	return Session{}, fmt.Errorf("a user that was just added is not there")
}

func (s *postgresStore) FindSession(ctx context.Context, id string) (Session, error) {
	// One spelling only: PostgreSQL would take several for the same id.
	if parsed, err := uuid.Parse(id); err != nil || parsed.String() != id {
		return Session{}, ErrNoSession
	}
	found := Session{ID: id}
	var created, expires int64
	err := one(ctx, s.db, sessionFind, []any{id, s.now().UnixMilli()},
		&found.Person.Tenant, &found.Person.Subject, &found.Owner, &found.Epoch, &found.ServerEpoch, &created, &expires)
	if errors.Is(err, sql.ErrNoRows) {
		return Session{}, ErrNoSession
	}
	found.Created, found.Expires = time.UnixMilli(created), time.UnixMilli(expires)
	return found, s.mark(err)
}

func (s *postgresStore) EndSession(ctx context.Context, id string) error {
	ended, err := run(ctx, pgxConnection{s.pool}, sessionEnd, id)
	if err == nil && ended == 0 {
		return ErrNoSession
	}
	return s.mark(err)
}

func (s *postgresStore) SweepSessions(ctx context.Context) (int64, error) {
	swept, err := run(ctx, pgxConnection{s.pool}, sessionSweep, s.now().UnixMilli())
	return swept, s.mark(err)
}

func (s *postgresStore) CountSessions(ctx context.Context) (int64, error) {
	var n int64
	err := one(ctx, s.db, sessionCount, nil, &n)
	return n, s.mark(err)
}

func (s *postgresStore) Pools() []telemetry.Pool {
	now := s.pool.Stat()
	return []telemetry.Pool{{
		Name: "all", InUse: int(now.AcquiredConns()), Idle: int(now.IdleConns()), Max: int(now.MaxConns()),
		Waits: now.EmptyAcquireCount(), Waited: now.EmptyAcquireWaitTime(),
	}}
}

func (s *postgresStore) Wipe(ctx context.Context, owner int64, by string) (int64, map[string]int64, error) {
	return s.wipe(ctx, owner, by, func(tx connection) error {
		_, err := run(ctx, tx, sessionEndAll, owner)
		return err
	})
}

func (s *postgresStore) Ping(ctx context.Context) error { return s.mark(s.pool.Ping(ctx)) }

func (s *postgresStore) Close() { s.pool.Close() }

func (d *postgresDB) write(ctx context.Context, do func(connection) error) error {
	tx, err := d.pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // after a commit this does nothing
	if err := do(pgxConnection{tx}); err != nil {
		return err
	}
	err = tx.Commit(ctx)
	var refused *pgconn.PgError
	if err == nil || errors.As(err, &refused) || errors.Is(err, pgx.ErrTxCommitRollback) {
		return err // the server has spoken
	}
	return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
}

func (d *postgresDB) query(ctx context.Context, s statement, args ...any) (rows, error) {
	return pgxConnection{d.pool}.query(ctx, s, args...)
}

func (d *postgresDB) unavailable(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	// Whatever the server says to somebody who wants to connect, they are not connected.
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		return true
	}
	var e *pgconn.PgError
	if errors.As(err, &e) {
		switch e.Code[:2] {
		case "08", // connection exception
			"53", // insufficient resources: disk full, too many connections
			"57", // operator intervention: shutting down, starting up
			"58": // system error
			return true
		}
		return e.Code == "25006" // read-only transaction: a standby, or a full disk's emergency mode
	}
	var network net.Error
	return errors.As(err, &network) || pgconn.SafeToRetry(err) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		strings.Contains(err.Error(), "conn closed") // pgx has no type for it
}

// pgxConnection is a pool or a transaction of pgx.
type pgxConnection struct {
	c interface {
		Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
		Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	}
}

func (p pgxConnection) query(ctx context.Context, s statement, args ...any) (rows, error) {
	return p.c.Query(ctx, s.sql, args...)
}

func (p pgxConnection) exec(ctx context.Context, s statement, args ...any) (int64, error) {
	tag, err := p.c.Exec(ctx, s.sql, args...)
	return tag.RowsAffected(), err
}
