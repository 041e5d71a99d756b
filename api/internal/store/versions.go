package store

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/toolbridge/toolbridge-mcp/api/internal/delta"
)

// Retention says which versions of an item are kept beside the current one.
type Retention struct {
	PerItem int           // at most so many; 0 keeps none
	Age     time.Duration // since they were replaced
	Bytes   int64         // of one item, as they are stored; the latest is kept whatever its size
}

// DefaultRetention is that of a store until Retain is called.
var DefaultRetention = Retention{PerItem: 50, Age: 90 * 24 * time.Hour, Bytes: 8 << 20}

// Operations that make a version, as a history shows them.
const (
	OpCreate  = "create"
	OpReplace = "replace"
	OpPatch   = "patch"
	OpDelete  = "delete"
	OpArchive = "archive"
	OpProcess = "process"
	OpTag     = "tag"
	OpEdit    = "edit"
	// OpRestore is followed by a space and the version, unless it only brought back what was
	// deleted.
	OpRestore = "restore"
)

// maxPayload bounds a payload that is made of a delta. No release has stored one that is larger.
const maxPayload = 256 << 20

var (
	versionPut = statement{"version.put", `
		INSERT INTO versions
			(owner, kind, uid, version, updated, replaced, deleted, operation, kept, delta)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`}
	versionTrim = statement{"version.trim", `
		DELETE FROM versions
		WHERE owner = $1 AND kind = $2 AND uid = $3 AND version < $4
			AND (version <= $5 OR kept < $6)`}
	versionList = statement{"version.list", `
		SELECT version, updated, deleted, operation, delta FROM versions
		WHERE owner = $1 AND kind = $2 AND uid = $3 AND version < $4 ORDER BY version DESC`}
	versionWipe = statement{"version.wipe", `
		DELETE FROM versions WHERE owner = $1`}
	// In no transaction of a writer, and few at a time.
	versionSweep = statement{"version.sweep", `
		DELETE FROM versions WHERE (owner, kind, uid, version) IN (
			SELECT owner, kind, uid, version FROM versions WHERE replaced < $1
			ORDER BY replaced LIMIT 200)`}
)

// Retain sets which versions are kept from now on. It is called before the store is used.
func (c *common) Retain(r Retention) { c.retention = r }

// Versions walks through the versions of an item, from the current one to the oldest that is kept.
func (c *common) Versions(
	ctx context.Context,
	owner int64,
	kind, uid string,
	visit func(Item) (bool, error),
) error {
	current, err := getItem(ctx, c.db, owner, kind, uid)
	if err == nil {
		err = walkVersions(ctx, c.db, owner, kind, current, visit)
	}
	return c.mark(err)
}

// walkVersions ends when visit returns false. Rows of versions do not change, so a walk that began
// with one state of an item ends as it would have at that moment, or earlier where versions are
// removed meanwhile.
func walkVersions(
	ctx context.Context,
	c reader,
	owner int64,
	kind string,
	item Item,
	visit func(Item) (bool, error),
) error {
	if more, err := visit(item); !more || err != nil {
		return err
	}
	return each(
		ctx,
		c,
		versionList,
		[]any{owner, kind, item.UID, item.Version},
		func(r rows) error {
			before := Item{UID: item.UID, Created: item.Created}
			var d []byte
			err := r.Scan(
				&before.Version, &before.Updated, &before.Deleted, &before.Operation, &d,
			)
			if err != nil {
				return err
			}
			if before.Version != item.Version-1 {
				return errStop // versions were not kept for a while
			}
			if before.Payload, err = delta.Decode(d, item.Payload, maxPayload); err != nil {
				return fmt.Errorf("version %d of %s %s: %w", before.Version, kind, item.UID, err)
			}
			item = before
			more, err := visit(before)
			if err == nil && !more {
				err = errStop
			}
			return err
		},
	)
}

// ErrNoVersion means that a version is not kept, or has never been.
var ErrNoVersion = fmt.Errorf("no such version")

// findVersion looks for one version among those of an item.
func findVersion(
	ctx context.Context,
	c reader,
	owner int64,
	kind string,
	current Item,
	version int64,
) (Item, error) {
	var found *Item
	if version > current.Version || version < 1 {
		return Item{}, ErrNoVersion
	}
	err := walkVersions(ctx, c, owner, kind, current, func(item Item) (bool, error) {
		if item.Version == version {
			found = &item
		}
		return found == nil, nil
	})
	if err == nil && found == nil {
		err = ErrNoVersion
	}
	if err != nil {
		return Item{}, err
	}
	return *found, nil
}

// SweepVersions removes some of the versions that are too old, and returns how many it removed. The
// caller goes on until there are none.
func (c *common) SweepVersions(ctx context.Context) (int64, error) {
	oldest := int64(math.MinInt64)
	if c.retention.PerItem > 0 {
		oldest = c.now().Add(-c.retention.Age).UnixMilli()
	} else {
		oldest = math.MaxInt64 // none is kept
	}
	var removed int64
	err := c.db.write(ctx, work{then: func(tx connection) ([]command, error) {
		var err error
		removed, err = run(ctx, tx, versionSweep, oldest)
		return nil, err
	}})
	return removed, c.mark(err)
}
