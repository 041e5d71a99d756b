package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/toolbridge/toolbridge-mcp/api/internal/entity"
	"github.com/toolbridge/toolbridge-mcp/api/internal/search"
)

// IndexReport is what a check of the index found.
type IndexReport struct {
	Items   int64 // that were compared
	Missing int64 // that are not indexed yet, of people whose older items are still being indexed
	Faults  []string
}

// maxFaults is how many faults a report names.
const maxFaults = 50

var (
	checkItems = statement{"check.items", `
		SELECT owner, kind, uid, version, created, updated, deleted, payload FROM items
		WHERE (owner, kind, uid) > ($1, $2, $3) ORDER BY owner, kind, uid LIMIT 100`}
	checkOwner = statement{"check.owner", `SELECT indexed FROM users WHERE id = $1`}
	checkCount = statement{"check.count", `SELECT COUNT(*) FROM search_docs`}
)

// CheckIndex compares each item with what the index holds of it, by building its document again. It
// is meant for a store without writers.
func (c *common) CheckIndex(ctx context.Context) (IndexReport, error) {
	report, err := c.checkIndex(ctx)
	return report, c.mark(err)
}

func (c *common) checkIndex(ctx context.Context) (report IndexReport, err error) {
	fault := func(format string, args ...any) {
		if len(report.Faults) < maxFaults {
			report.Faults = append(report.Faults, fmt.Sprintf(format, args...))
		}
	}
	complete := make(map[int64]bool)
	var documents int64
	for at := (key{uid: Beginning.UID}); ; {
		var batch []ownedItem
		err := each(ctx, c.db, checkItems, []any{at.owner, at.kind, at.uid}, func(r rows) error {
			var o ownedItem
			err := r.Scan(
				&o.owner,
				&o.kind,
				&o.item.UID,
				&o.item.Version,
				&o.item.Created,
				&o.item.Updated,
				&o.item.Deleted,
				&o.item.Payload,
			)
			batch = append(batch, o)
			return err
		})
		if err != nil {
			return report, err
		}
		if len(batch) == 0 {
			break
		}
		for _, o := range batch {
			at = key{o.owner, o.kind, o.item.UID}
			report.Items++
			if _, known := complete[o.owner]; !known {
				var version int64
				if err := one(ctx, c.db, checkOwner, []any{o.owner}, &version); err != nil {
					return report, err
				}
				complete[o.owner] = version == search.Version
			}
			d := search.Index(entity.ByName(o.kind), o.item.Payload, o.item.Deleted != 0)
			there, wrong, err := c.index.check(ctx, c.db, o.owner, o.kind, o.item, &d)
			switch {
			case err != nil:
				return report, err
			case there:
				documents++
			case !complete[o.owner]:
				report.Missing++
				continue
			}
			for _, w := range wrong {
				fault("%s %s of owner %d: %s", o.kind, o.item.UID, o.owner, w)
			}
		}
	}
	var all int64
	if err := one(ctx, c.db, checkCount, nil, &all); err != nil {
		return report, err
	}
	if all != documents {
		fault("the index has %d documents, of which %d belong to an item", all, documents)
	}
	extra, err := c.index.checkAll(ctx, c.db, all)
	report.Faults = append(report.Faults, extra...)
	return report, err
}

// differing compares what a document should be with what is stored.
func differing(want, got []string) string {
	slices.Sort(want)
	slices.Sort(got)
	if slices.Equal(want, got) {
		return ""
	}
	return fmt.Sprintf("has %d terms in the index, and should have %d", len(got), len(want))
}
