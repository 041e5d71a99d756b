package store

import (
	"context"
	"errors"
	"time"

	"github.com/toolbridge/toolbridge-mcp/api/internal/search"
)

// WithDeadline bounds each call of a store. It is the store that is bounded and not the request, so
// that a caller who is slow to send a body is not mistaken for a database that hangs.
func WithDeadline(s Store, limit time.Duration) Store {
	_, inMemory := s.(interface{ sessionsInMemory() })
	return &bounded{Store: s, limit: limit, inMemory: inMemory}
}

type bounded struct {
	Store    // Close, and what runs in the background with a context of its own
	limit    time.Duration
	inMemory bool // sessions, which then need no limit
}

func within[T any](
	ctx context.Context,
	limit time.Duration,
	do func(context.Context) (T, error),
) (T, error) {
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= limit {
		return do(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return do(ctx)
}

func (b *bounded) Get(ctx context.Context, owner int64, kind, uid string) (Item, error) {
	return within(
		ctx,
		b.limit,
		func(ctx context.Context) (Item, error) { return b.Store.Get(ctx, owner, kind, uid) },
	)
}

func (b *bounded) List(
	ctx context.Context,
	owner int64,
	kind string,
	page Page,
) (items []Item, more bool, err error) {
	items, err = within(ctx, b.limit, func(ctx context.Context) (found []Item, err error) {
		found, more, err = b.Store.List(ctx, owner, kind, page)
		return found, err
	})
	return items, more, err
}

func (b *bounded) Write(
	ctx context.Context,
	owner Owner,
	kind, uid string,
	change Change,
) (Item, error) {
	return within(
		ctx,
		b.limit,
		func(ctx context.Context) (Item, error) {
			return b.Store.Write(ctx, owner, kind, uid, change)
		},
	)
}

func (b *bounded) Create(
	ctx context.Context,
	owner Owner,
	kind, uid string,
	first Next,
) (Item, error) {
	return within(ctx, b.limit, func(ctx context.Context) (Item, error) {
		return b.Store.Create(ctx, owner, kind, uid, first)
	})
}

func (b *bounded) WriteBatch(
	ctx context.Context,
	owner Owner,
	batch Batch,
) (outcomes []Outcome, remembered []byte, err error) {
	outcomes, err = within(ctx, b.limit, func(ctx context.Context) (out []Outcome, err error) {
		out, remembered, err = b.Store.WriteBatch(ctx, owner, batch)
		return out, err
	})
	return outcomes, remembered, err
}

func (b *bounded) Versions(
	ctx context.Context,
	owner int64,
	kind, uid string,
	visit func(Item) (bool, error),
) error {
	_, err := within(ctx, b.limit, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, b.Store.Versions(ctx, owner, kind, uid, visit)
	})
	return err
}

func (b *bounded) Wipe(
	ctx context.Context,
	owner int64,
	by string,
) (epoch int64, deleted map[string]int64, err error) {
	epoch, err = within(ctx, b.limit, func(ctx context.Context) (epoch int64, err error) {
		epoch, deleted, err = b.Store.Wipe(ctx, owner, by)
		return epoch, err
	})
	return epoch, deleted, err
}

func (b *bounded) State(ctx context.Context, owner int64) (State, error) {
	return within(
		ctx,
		b.limit,
		func(ctx context.Context) (State, error) { return b.Store.State(ctx, owner) },
	)
}

// searchLimit is shorter than that of other calls: a search that takes longer is of no use to its
// caller, and costs others what it reads.
const searchLimit = 5 * time.Second

// broadLimit is that of a search for a prefix that half of all words may begin with.
const broadLimit = 2 * time.Second

func (b *bounded) Search(ctx context.Context, owner int64, s Search) (Findings, error) {
	limit := searchLimit
	if search.BroadPrefix(s.Query) != "" {
		limit = broadLimit
	}
	out, err := within(
		ctx,
		min(b.limit, limit),
		func(ctx context.Context) (Findings, error) { return b.Store.Search(ctx, owner, s) },
	)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = ErrSearchSlow
	}
	return out, err
}

func (b *bounded) Overview(
	ctx context.Context,
	owner, today, tomorrow, nextWeek int64,
) (Overview, error) {
	return within(ctx, b.limit, func(ctx context.Context) (Overview, error) {
		return b.Store.Overview(ctx, owner, today, tomorrow, nextWeek)
	})
}

func (b *bounded) GetMany(
	ctx context.Context,
	owner int64,
	kind string,
	uids []string,
) (map[string]Item, error) {
	return within(
		ctx,
		b.limit,
		func(ctx context.Context) (map[string]Item, error) {
			return b.Store.GetMany(ctx, owner, kind, uids)
		},
	)
}

func (b *bounded) OpenSession(ctx context.Context, who Person) (Session, error) {
	return within(
		ctx,
		b.limit,
		func(ctx context.Context) (Session, error) { return b.Store.OpenSession(ctx, who) },
	)
}

func (b *bounded) FindSession(ctx context.Context, id string) (Session, error) {
	if b.inMemory {
		return b.Store.FindSession(ctx, id)
	}
	return within(
		ctx,
		b.limit,
		func(ctx context.Context) (Session, error) { return b.Store.FindSession(ctx, id) },
	)
}

func (b *bounded) FindSessionAhead(
	ctx context.Context,
	id string,
	ahead *Ahead,
) (Session, error) {
	return within(ctx, b.limit, func(ctx context.Context) (Session, error) {
		return b.Store.FindSessionAhead(ctx, id, ahead)
	})
}

func (b *bounded) EndSession(ctx context.Context, id string, who Person) error {
	if b.inMemory {
		return b.Store.EndSession(ctx, id, who)
	}
	_, err := within(
		ctx,
		b.limit,
		func(ctx context.Context) (struct{}, error) {
			return struct{}{}, b.Store.EndSession(ctx, id, who)
		},
	)
	return err
}
