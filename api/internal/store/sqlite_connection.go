package store

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"zombiezen.com/go/sqlite"
)

// sqliteConnection is one connection to a database, with the statements that were prepared on it.
// It is used by one goroutine at a time.
type sqliteConnection struct {
	conn     *sqlite.Conn
	prepared map[string]*sqlite.Stmt
	watched  bool // by a context that can end it
}

// maxPrepared bounds the prepared statements of an idle connection: those of searches are put
// together.
const maxPrepared = 200

// busyTimeout is how long a connection waits for another program that holds the file.
const busyTimeout = 5 * time.Second

func openConnection(uri string) (*sqliteConnection, error) {
	conn, err := sqlite.OpenConn(uri, sqlite.OpenReadWrite|sqlite.OpenCreate|sqlite.OpenURI)
	if err != nil {
		return nil, err
	}
	conn.SetBusyTimeout(busyTimeout)
	c := &sqliteConnection{conn: conn, prepared: make(map[string]*sqlite.Stmt)}
	// FULL: what was acknowledged survives the loss of power.
	pragmas := []string{"journal_mode = WAL", "synchronous = FULL", "foreign_keys = 1"}
	for _, pragma := range pragmas {
		if err := c.once("PRAGMA " + pragma); err != nil {
			c.close()
			return nil, fmt.Errorf("PRAGMA %s: %w", pragma, err)
		}
	}
	return c, nil
}

func (c *sqliteConnection) close() { _ = c.conn.Close() }

// once runs a statement that has no parameters.
func (c *sqliteConnection) once(sql string) error {
	s, err := c.prepare(sql)
	if err != nil {
		return err
	}
	for more := true; more && err == nil; {
		more, err = s.Step()
	}
	reset(s)
	return err
}

var numbered = regexp.MustCompile(`\$(\d+)`)

func (c *sqliteConnection) prepare(sql string) (*sqlite.Stmt, error) {
	if s, ok := c.prepared[sql]; ok {
		return s, nil
	}
	// SQLite takes $2 for a name, and numbers names as they come.
	s, err := c.conn.Prepare(numbered.ReplaceAllString(sql, "?$1"))
	if err == nil {
		c.prepared[sql] = s
	}
	return s, err
}

// tidy is called when nothing runs on the connection.
func (c *sqliteConnection) tidy() {
	c.unwatch()
	if len(c.prepared) > maxPrepared {
		for _, s := range c.prepared {
			_ = s.Finalize()
		}
		clear(c.prepared)
	}
}

// reset ends a statement and lets go of its arguments, which may be large.
func reset(s *sqlite.Stmt) {
	_ = s.Reset() // the error of its last step, if any
	_ = s.ClearBindings()
}

// watch ends what runs on the connection with ctx, until unwatch. It costs a goroutine, so what
// takes microseconds does without it.
func (c *sqliteConnection) watch(ctx context.Context) {
	if ctx.Done() != nil {
		c.conn.SetInterrupt(ctx.Done())
		c.watched = true
	}
}

func (c *sqliteConnection) unwatch() {
	if c.watched {
		c.conn.SetInterrupt(nil)
		c.watched = false
	}
}

// query begins a statement. done is called when its rows are closed.
func (c *sqliteConnection) query(
	ctx context.Context,
	sql string,
	args []any,
	done func(),
) (*sqliteRows, error) {
	s, err := c.bind(sql, args)
	if err != nil {
		return nil, ended(ctx, err)
	}
	return &sqliteRows{ctx: ctx, stmt: s, done: done}, nil
}

func (c *sqliteConnection) exec(ctx context.Context, sql string, args []any) (int64, error) {
	s, err := c.bind(sql, args)
	if err != nil {
		return 0, ended(ctx, err)
	}
	for more := true; more && err == nil; {
		more, err = s.Step()
	}
	changes := c.conn.Changes()
	reset(s)
	return int64(changes), ended(ctx, err)
}

func (c *sqliteConnection) bind(sql string, args []any) (*sqlite.Stmt, error) {
	s, err := c.prepare(sql)
	if err != nil {
		return nil, err
	}
	for n, arg := range args {
		if err := bindOne(s, n+1, arg); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func bindOne(s *sqlite.Stmt, n int, arg any) error {
	switch v := arg.(type) {
	case nil:
		s.BindNull(n)
	case int64:
		s.BindInt64(n, v)
	case int:
		s.BindInt64(n, int64(v))
	case bool:
		s.BindBool(n, v)
	case string:
		s.BindText(n, v)
	case []byte:
		s.BindBytes(n, v)
	case *string:
		if v == nil {
			s.BindNull(n)
		} else {
			s.BindText(n, *v)
		}
	case *int64:
		if v == nil {
			s.BindNull(n)
		} else {
			s.BindInt64(n, *v)
		}
	default:
		return fmt.Errorf("argument %d is of a type that is not stored: %T", n, arg)
	}
	return nil
}

// ended replaces the error of an interrupted statement by the reason for it.
func ended(ctx context.Context, err error) error {
	if err != nil && sqlite.ErrCode(err).ToPrimary() == sqlite.ResultInterrupt && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// sqliteRows are the rows of a statement.
type sqliteRows struct {
	ctx  context.Context
	stmt *sqlite.Stmt
	err  error
	done func()
}

func (r *sqliteRows) Next() bool {
	if r.err != nil {
		return false
	}
	if r.err = r.ctx.Err(); r.err != nil {
		return false
	}
	more, err := r.stmt.Step()
	r.err = ended(r.ctx, err)
	return more
}

var errColumns = errors.New("a row has another number of columns than are read")

func (r *sqliteRows) Scan(into ...any) error {
	if len(into) != r.stmt.ColumnCount() {
		return errColumns
	}
	for n, to := range into {
		if err := r.column(n, to); err != nil {
			return err
		}
	}
	return nil
}

func (r *sqliteRows) column(n int, into any) error {
	s := r.stmt
	switch to := into.(type) {
	case *string:
		*to = s.ColumnText(n)
	case *int64:
		*to = s.ColumnInt64(n)
	case *int:
		*to = s.ColumnInt(n)
	case *bool:
		*to = s.ColumnBool(n)
	case *[]byte:
		*to = nil
		if !s.ColumnIsNull(n) {
			*to = make([]byte, s.ColumnLen(n))
			s.ColumnBytes(n, *to)
		}
		return nil
	case **int64:
		*to = nil
		if !s.ColumnIsNull(n) {
			value := s.ColumnInt64(n)
			*to = &value
		}
		return nil
	default:
		return fmt.Errorf("column %d is read into a type that is not stored: %T", n, into)
	}
	return nil
}

func (r *sqliteRows) Err() error { return r.err }

func (r *sqliteRows) Close() {
	if r.done == nil {
		return
	}
	reset(r.stmt)
	r.done()
	r.done = nil
}
