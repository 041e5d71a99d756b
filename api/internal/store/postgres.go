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
	// Opening is one round trip. The epoch is read here and compared by FindSession with the one
	// that is then in force, so a wipe at the same moment does no harm.
	sessionOpen = statement{"session.open", `
		INSERT INTO sessions (id, owner, epoch, created, expires)
		SELECT $3, id, epoch, $4, $5 FROM users WHERE tenant = $1 AND subject = $2
		RETURNING owner, epoch`}
	sessionFind = statement{"session.find", `
		SELECT u.tenant, u.subject, s.owner, s.epoch, u.epoch, s.created, s.expires
		FROM sessions s JOIN users u ON u.id = s.owner WHERE s.id = $1 AND s.expires > $2`}
	sessionEnd = statement{"session.end", `
		DELETE FROM sessions s USING users u
		WHERE s.id = $1 AND s.expires > $2 AND u.id = s.owner AND u.tenant = $3 AND u.subject = $4`}
	sessionEndAll = statement{"session.end_all", `DELETE FROM sessions WHERE owner = $1`}
	sessionSweep  = statement{"session.sweep", `DELETE FROM sessions WHERE expires <= $1`}
	sessionCount  = statement{"session.count", `SELECT COUNT(*) FROM sessions`}
)

type postgresDB struct{ pool *pgxpool.Pool }

type postgresStore struct {
	common
	pool   *pgxpool.Pool
	groups *writeGroups[Owner]
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
	config.AfterConnect = plan
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	if err := migratePostgres(ctx, pool); err != nil {
		pool.Close()
		return nil, err
	}
	s := &postgresStore{
		common: common{
			db:        &postgresDB{pool},
			index:     postgresIndex{},
			now:       now,
			retention: DefaultRetention,
		},
		pool: pool,
	}
	s.groups = newWriteGroups[Owner](&s.common, s.writeGroup)
	return s, nil
}

// plan sets what the planner cannot know. Every query here has an index; reading a whole table
// looks cheap to the planner, which does not count the words and payloads that are kept apart from
// the rows. To compile a query takes longer than to run it.
func plan(ctx context.Context, c *pgx.Conn) error {
	_, err := c.Exec(
		ctx,
		"SET enable_seqscan = off; SET jit = off",
		pgx.QueryExecModeSimpleProtocol,
	)
	return err
}

// migratePostgres holds an advisory lock, so that of several replicas that start at once one
// migrates and the others wait.
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
	session := Session{
		ID:      uuid.NewString(),
		Person:  who,
		Created: created,
		Expires: created.Add(SessionLifetime),
	}
	args := []any{
		who.Tenant,
		who.Subject,
		session.ID,
		session.Created.UnixMilli(),
		session.Expires.UnixMilli(),
	}
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
	if !isCanonicalID(id) {
		return Session{}, ErrNoSession
	}
	ask := s.askSession(id, s.now().UnixMilli())
	var found Session
	err := each(ctx, s.db, ask.statement, ask.args, ask.into(&found))
	if err == nil && found.ID == "" {
		return Session{}, ErrNoSession
	}
	return found, s.mark(err)
}

type sessionQuestion struct {
	statement
	args []any
	id   string
}

func (s *postgresStore) askSession(id string, now int64) sessionQuestion {
	return sessionQuestion{sessionFind, []any{id, now}, id}
}

func (q sessionQuestion) into(found *Session) func(rows) error {
	return func(r rows) error {
		var created, expires int64
		err := r.Scan(&found.Person.Tenant, &found.Person.Subject, &found.Owner, &found.Epoch,
			&found.ServerEpoch, &created, &expires)
		found.Created, found.Expires = time.UnixMilli(created), time.UnixMilli(expires)
		found.ID = q.id
		return err
	}
}

// isCanonicalID takes one spelling only: PostgreSQL would take several for the same id.
func isCanonicalID(id string) bool {
	parsed, err := uuid.Parse(id)
	return err == nil && parsed.String() == id
}

func (s *postgresStore) EndSession(ctx context.Context, id string, who Person) error {
	if !isCanonicalID(id) {
		return ErrNoSession
	}
	ended, err := run(
		ctx,
		pgxConnection{s.pool},
		sessionEnd,
		id,
		s.now().UnixMilli(),
		who.Tenant,
		who.Subject,
	)
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
		Name: "all", Max: int(now.MaxConns()),
		InUse: int(now.AcquiredConns()), Idle: int(now.IdleConns()),
		Waits: now.EmptyAcquireCount(), Waited: now.EmptyAcquireWaitTime(),
	}}
}

func (s *postgresStore) Wipe(
	ctx context.Context,
	owner int64,
	by string,
) (int64, map[string]int64, error) {
	return s.wipe(ctx, owner, by, func(tx connection) error {
		_, err := run(ctx, tx, sessionEndAll, owner)
		return err
	})
}

func (s *postgresStore) Ping(ctx context.Context) error { return s.mark(s.pool.Ping(ctx)) }

func (s *postgresStore) Close() { s.pool.Close() }

// write needs two round trips where w.then asks for no more. Each statement sees what was committed
// when it began, as if it had been sent by itself, so what follows the lock is read under it.
func (d *postgresDB) write(ctx context.Context, w work) error {
	c, err := d.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	defer endTransaction(ctx, c)
	return d.transact(ctx, c, w)
}

// endTransaction rolls back what was not committed. A lost connection is not given back.
func endTransaction(ctx context.Context, c *pgxpool.Conn) {
	if c.Conn().PgConn().TxStatus() != txIdle && !c.Conn().IsClosed() {
		_, _ = c.Exec(
			context.WithoutCancel(ctx),
			"rollback",
		) // the first error is the one that counts
	}
}

const txIdle = 'I' // PostgreSQL's word for: in no transaction

func (d *postgresDB) transact(ctx context.Context, c *pgxpool.Conn, w work) error {
	begin := &pgx.Batch{}
	begin.Queue("begin")
	for _, q := range w.first {
		begin.Queue(q.sql, q.args...)
	}
	answers := c.SendBatch(ctx, begin)
	_, err := answers.Exec()
	for _, q := range w.first {
		if err == nil {
			err = each(ctx, batched{answers, func() {}}, q.statement, q.args, q.scan)
		}
	}
	if closeErr := answers.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	last, err := w.then(pgxConnection{c})
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err // nothing has been asked for that could not be undone
	}
	return d.finish(ctx, c, last)
}

// finish runs the last commands and commits. From here on, losing the database means not knowing.
func (d *postgresDB) finish(ctx context.Context, c *pgxpool.Conn, last []command) error {
	end := &pgx.Batch{}
	for _, l := range last {
		end.Queue(l.sql, l.args...)
	}
	end.Queue("commit")
	return confirmed(ctx, c.SendBatch(ctx, end), last, nil)
}

// confirmed reads the answers to the last commands and the commit, unless there was an error before
// them.
func confirmed(
	ctx context.Context,
	answers pgx.BatchResults,
	last []command,
	err error,
) error {
	for _, l := range last {
		if err == nil {
			_, err = run(ctx, batched{answers, func() {}}, l.statement)
		}
	}
	var committed pgconn.CommandTag
	if err == nil {
		committed, err = answers.Exec()
	}
	_ = answers.Close() // a database that is lost after it has confirmed has confirmed
	var refused *pgconn.PgError
	switch {
	case err == nil && committed.String() != "COMMIT":
		return pgx.ErrTxCommitRollback
	case err == nil, errors.As(err, &refused):
		return err // the server has refused it
	case pgconn.SafeToRetry(err):
		return err // nothing was sent
	}
	return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
}

func (d *postgresDB) query(ctx context.Context, s statement, args ...any) (rows, error) {
	if !s.onePlan() {
		args = append([]any{pgx.QueryExecModeCacheDescribe}, args...)
	}
	return pgxConnection{d.pool}.query(ctx, s, args...)
}

func (d *postgresDB) unavailable(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	// Every error of a connection attempt means that there is no connection.
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
		// A read-only transaction: a standby, or a full disk's emergency mode.
		return e.Code == "25006"
	}
	var network net.Error
	return errors.As(err, &network) || pgconn.SafeToRetry(err) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		strings.Contains(err.Error(), "conn closed") // pgx has no type for it
}

// failedStatement reports whether an error is the database's, after which it does nothing more in
// the transaction.
func failedStatement(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused)
}

// pgxConnection is a pool or a transaction of pgx.
type pgxConnection struct {
	c interface {
		Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
		Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	}
}

func (p pgxConnection) query(ctx context.Context, s statement, args ...any) (rows, error) {
	ctx, cancel := context.WithCancel(ctx)
	found, err := p.c.Query(ctx, s.sql, args...)
	if err != nil {
		cancel()
		return nil, err
	}
	return pgxRows{found, cancel}, nil
}

// pgxRows are rows whose query can be ended early. It is cancelled then: without that, pgx would
// read the rest of it first. That costs the connection, which the pool replaces; it is cheaper than
// reading a thousand large items to drop them.
type pgxRows struct {
	pgx.Rows
	cancel context.CancelFunc
}

func (r pgxRows) stop() { r.cancel() }

func (r pgxRows) Close() {
	r.Rows.Close()
	r.cancel()
}

func (p pgxConnection) exec(ctx context.Context, s statement, args ...any) (int64, error) {
	tag, err := p.c.Exec(ctx, s.sql, args...)
	return tag.RowsAffected(), err
}

// batched gives the answers to statements that were sent together, in their order.
type batched struct {
	answers pgx.BatchResults
	cancel  context.CancelFunc // ends the batch early
}

func (b batched) query(context.Context, statement, ...any) (rows, error) {
	found, err := b.answers.Query()
	if err != nil {
		return nil, err
	}
	return batchedRows{found, b.cancel}, nil
}

type batchedRows struct {
	pgx.Rows
	cancel context.CancelFunc
}

func (r batchedRows) stop() { r.cancel() }

func (b batched) exec(context.Context, statement, ...any) (int64, error) {
	tag, err := b.answers.Exec()
	return tag.RowsAffected(), err
}
