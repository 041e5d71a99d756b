package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"strings"

	"github.com/pressly/goose/v3"

	"github.com/toolbridge/toolbridge-mcp/api/internal/entity"
	"github.com/toolbridge/toolbridge-mcp/api/internal/search"
)

// fillCreated gives the items of earlier releases their time of creation and their parent. It is Go
// because the parent is in the payload, whose text PostgreSQL cannot always read as JSON (it
// refuses \u0000).
var fillCreated = goose.NewGoMigration(
	3,
	&goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE items SET created = updated WHERE version = 1")
		if err != nil {
			return err
		}
		for after := (key{}); ; {
			rows, err := readForCreated(ctx, tx, after)
			if err != nil || len(rows) == 0 {
				return err
			}
			for _, r := range rows {
				_, err := tx.ExecContext(
					ctx,
					"UPDATE items SET created = $4, parent = $5 "+
						"WHERE owner = $1 AND kind = $2 AND uid = $3",
					r.owner,
					r.kind,
					r.item.UID,
					createdOf(r.item),
					parentOf(r.kind, r.item.Payload),
				)
				if err != nil {
					return err
				}
			}
			last := rows[len(rows)-1]
			after = key{last.owner, last.kind, last.item.UID}
		}
	}},
	nil,
)

type key struct {
	owner     int64
	kind, uid string
}

type ownedItem struct {
	owner int64
	kind  string
	item  Item
}

func readForCreated(ctx context.Context, tx *sql.Tx, after key) ([]ownedItem, error) {
	if after.uid == "" {
		after.uid = Beginning.UID
	}
	found, err := tx.QueryContext(ctx, `
		SELECT owner, kind, uid, version, updated, payload FROM items
		WHERE (owner, kind, uid) > ($1, $2, $3)
			AND (version > 1 OR kind IN ('comments', 'chat_messages'))
		ORDER BY owner, kind, uid LIMIT 500`, after.owner, after.kind, after.uid)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	var out []ownedItem
	for found.Next() {
		var r ownedItem
		i := &r.item
		err := found.Scan(&r.owner, &r.kind, &i.UID, &i.Version, &i.Updated, &i.Payload)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, found.Err()
}

// createdOf is the best that is known of an item that was written before times of creation were
// kept: the time in its uid (UUID version 7, which the server makes), else its last change.
func createdOf(item Item) int64 {
	if item.Version == 1 || len(item.UID) != 36 || item.UID[14] != '7' {
		return item.Updated
	}
	digits, err := hex.DecodeString(strings.ReplaceAll(item.UID, "-", "")[:12])
	if err != nil {
		return item.Updated
	}
	var ms int64
	for _, b := range digits {
		ms = ms<<8 | int64(b)
	}
	if ms == 0 || ms > item.Updated {
		return item.Updated
	}
	return ms
}

// parentOf is the uid of the item that a payload of this kind belongs to; nil when there is none.
func parentOf(kind string, text []byte) *string {
	if entity.ByName(kind).Parent == nil {
		return nil
	}
	d, _ := search.Parse(entity.ByName(kind), text, false)
	return optional(d.Parent)
}
