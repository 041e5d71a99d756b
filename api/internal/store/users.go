package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/toolbridge/toolbridge-mcp/api/internal/search"
)

var (
	userFind = statement{"user.find", `
		SELECT id, epoch FROM users WHERE tenant = $1 AND subject = $2`}
	userAdd = statement{"user.add", `
		INSERT INTO users (tenant, subject, created, indexed) VALUES ($1, $2, $3, $4)
		ON CONFLICT (tenant, subject) DO NOTHING`}
	userState = statement{"user.state", `
		SELECT epoch, last_wipe, last_wipe_by FROM users WHERE id = $1`}
	userWipe = statement{"user.wipe", `
		UPDATE users SET epoch = epoch + 1, last_wipe = $2, last_wipe_by = $3
		WHERE id = $1 RETURNING epoch`}
)

// owner finds a user, or adds a new one.
func (c *common) owner(ctx context.Context, who Person) (Owner, error) {
	for range 2 {
		var o Owner
		err := one(ctx, c.db, userFind, []any{who.Tenant, who.Subject}, &o.ID, &o.Epoch)
		if !errors.Is(err, sql.ErrNoRows) {
			return o, err
		}
		if err := c.addUser(ctx, who); err != nil {
			return Owner{}, err
		}
	}
	return Owner{}, fmt.Errorf("a user that was just added is not there")
}

func (c *common) addUser(ctx context.Context, who Person) error {
	add := command{userAdd, []any{who.Tenant, who.Subject, c.now().UnixMilli(), search.Version}}
	return c.db.write(
		ctx,
		work{then: func(connection) ([]command, error) { return []command{add}, nil }},
	)
}

func (c *common) State(ctx context.Context, owner int64) (State, error) {
	var s State
	err := one(ctx, c.db, userState, []any{owner}, &s.Epoch, &s.LastWipe, &s.LastWipeBy)
	return s, c.mark(err)
}
