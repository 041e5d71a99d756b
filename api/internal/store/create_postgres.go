package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// createLockTimeout is how long a creation waits for the person's row. The commit has been sent
	// by then, so the wait must not end with the connection: the outcome would be unknown.
	createLockTimeout = "2s"
	// createTime is what a caller must have left to wait so long and then write the other way.
	createTime = 5 * time.Second
)

var (
	createLock = statement{"create.lock", "SET LOCAL lock_timeout = '" + createLockTimeout + "'"}
	// The clock has been moved in the same transaction. Without the epoch there is none, and what
	// is NOT NULL refuses the row and with it the transaction.
	movedClock = func(epoch string) string {
		return "(SELECT clock FROM users WHERE id = $1 AND epoch = " + epoch + ")"
	}
	itemCreate = statement{"item.create", `
		INSERT INTO items
			(owner, kind, uid, version, created, updated, deleted, payload, parent, operation, kept)
		VALUES ($1, $2, $3, 1, ` + movedClock("$4") + `, ` + movedClock("$4") + `,
			0, $5, $6, $7, 0)`}
	postgresDocCreate = statement{"index.doc_create", `
		INSERT INTO search_docs
			(owner, updated, kind, uid, state, status, priority, due, tags,
			parent_kind, parent, unread, terms, words)
		VALUES ($1, ` + movedClock("$2") + `, $3, $4, $5, $6, $7, $8, $9,
			$10, $11, $12, array_to_tsvector($13), $14)`}
)

// Create is made at once unless another write of the same person is in progress.
func (s *postgresStore) Create(
	ctx context.Context,
	owner Owner,
	kind, uid string,
	first Next,
) (Item, error) {
	alone := func() (Item, error) { return s.createAlone(ctx, owner, kind, uid, first) }
	return s.groups.write(owner, queued(ctx, owner, kind, uid, creation(first)), alone)
}

// createAlone sends the whole transaction at once, so that the person's row is locked for as long
// as the database needs for it, and not for a round trip. What another way is needed for takes it.
func (s *postgresStore) createAlone(
	ctx context.Context,
	owner Owner,
	kind, uid string,
	first Next,
) (Item, error) {
	if end, ok := ctx.Deadline(); ok && time.Until(end) < createTime {
		return s.common.Write(ctx, owner, kind, uid, creation(first))
	}
	item := Item{UID: uid, Version: 1, Payload: first.Payload, Operation: first.Operation}
	index, parent := s.indexed(owner.ID, kind, nil, item)
	commands := []command{{itemCreate, []any{
		owner.ID, kind, uid, owner.Epoch, string(item.Payload), parent, item.Operation,
	}}}
	for _, do := range index {
		args := slices.Clone(do.args)
		args[1] = owner.Epoch // in place of the time
		commands = append(commands, command{postgresDocCreate, args})
	}
	c, err := s.pool.Acquire(ctx)
	if err != nil {
		return Item{}, s.mark(err)
	}
	item.Updated, err = createAtOnce(ctx, c, owner, s.now().UnixMilli(), commands)
	endTransaction(ctx, c)
	c.Release()
	item.Created = item.Updated
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		switch refused.Code {
		case "23505": // unique_violation
			return Item{}, ErrExists
		case "23502": // not_null_violation
			return Item{}, ErrStaleEpoch
		case "55P03": // lock_not_available
			return s.common.Write(ctx, owner, kind, uid, creation(first))
		}
	}
	return item, s.mark(err)
}

// createAtOnce returns the time of the write.
func createAtOnce(
	ctx context.Context,
	c *pgxpool.Conn,
	owner Owner,
	now int64,
	commands []command,
) (at int64, err error) {
	batch := &pgx.Batch{}
	batch.Queue("begin")
	batch.Queue(createLock.sql)
	batch.Queue(clockMove.sql, owner.ID, now, owner.Epoch)
	for _, do := range commands {
		batch.Queue(do.sql, do.args...)
	}
	batch.Queue("commit")
	answers := c.SendBatch(ctx, batch)
	_, err = answers.Exec()
	if err == nil {
		_, err = answers.Exec()
	}
	if err == nil {
		err = each(ctx, batched{answers, func() {}}, clockMove, nil, func(r rows) error {
			return r.Scan(&at)
		})
	}
	return at, confirmed(ctx, answers, commands, err)
}
