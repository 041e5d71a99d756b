package store

import (
	"context"
	"database/sql"
	"errors"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/toolbridge/toolbridge-mcp/api/internal/telemetry"
)

var tracer = otel.Tracer("toolbridge-api/store")

// statement is SQL with a name, for traces. Parameters are written $1, $2, …, which both databases
// take.
type statement struct{ name, sql string }

// reader is a database, or a transaction in one. It is as much of database/sql as database/sql and
// pgx have in common.
type reader interface {
	query(ctx context.Context, s statement, args ...any) (rows, error)
}

// connection is a reader that can write, too.
type connection interface {
	reader
	exec(ctx context.Context, s statement, args ...any) (affected int64, err error)
}

type rows interface {
	Next() bool
	Scan(into ...any) error
	Err() error
	Close()
}

// database is what sqlite.go and postgres.go provide under the common SQL.
type database interface {
	reader
	// write does work in a read-write transaction and commits if nothing of it fails.
	write(ctx context.Context, w work) error
	// unavailable reports whether an error means that the database cannot be reached, and not that
	// a statement is wrong.
	unavailable(err error) bool
}

// work is what a transaction does. It is cut so that a database across a network needs two round
// trips for it: what is asked first goes out together with the beginning, and what is done last
// together with the end.
type work struct {
	first []question
	then  func(connection) (last []command, err error)
}

type question struct {
	statement
	args []any
	scan func(rows) error // called for every row
}

// command is a statement that answers nothing.
type command struct {
	statement
	args []any
}

// each runs a query and calls scan for every row. scan may end the walk early by returning stop.
func each(
	ctx context.Context,
	c reader,
	s statement,
	args []any,
	scan func(rows) error,
) (err error) {
	ctx, span := startSpan(ctx, s)
	defer func() { endSpan(span, err) }()
	rs, err := c.query(ctx, s, args...)
	if err != nil {
		return err
	}
	defer rs.Close()
	for rs.Next() {
		if err := scan(rs); err != nil {
			if errors.Is(err, errStop) {
				if r, ok := rs.(interface{ stop() }); ok {
					r.stop()
				}
				return nil
			}
			return err
		}
	}
	return rs.Err()
}

var errStop = errors.New("stop")

// one reads a single row; without one it returns sql.ErrNoRows.
func one(ctx context.Context, c reader, s statement, args []any, into ...any) error {
	found := false
	err := each(ctx, c, s, args, func(r rows) error {
		found = true
		return r.Scan(into...)
	})
	if err == nil && !found {
		return sql.ErrNoRows
	}
	return err
}

func run(ctx context.Context, c connection, s statement, args ...any) (affected int64, err error) {
	ctx, span := startSpan(ctx, s)
	defer func() { endSpan(span, err) }()
	return c.exec(ctx, s, args...)
}

func startSpan(ctx context.Context, s statement) (context.Context, trace.Span) {
	if !telemetry.Tracing() {
		return ctx, nil
	}
	return tracer.Start(ctx, "sql "+s.name, trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String("db.operation.name", s.name)))
}

func endSpan(span trace.Span, err error) {
	if span == nil {
		return
	}
	if err != nil {
		span.SetStatus(codes.Error, "")
	}
	span.End()
}

func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
