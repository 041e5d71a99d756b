package store

import (
	"github.com/toolbridge/toolbridge-mcp/api/internal/entity"
	"github.com/toolbridge/toolbridge-mcp/api/internal/search"
)

// indexed are the commands that keep the index up to date when an item is written, and the parent
// that it has found. It is a file of its own for benches/api/search.py, which measures what it
// costs.
func (c *common) indexed(
	owner int64,
	kind string,
	before *Item,
	now Item,
) (out []command, parent *string) {
	if before != nil {
		out = c.index.drop(owner, before.Updated)
	}
	d := search.Index(entity.ByName(kind), now.Payload, now.Deleted != 0)
	return append(out, c.index.put(owner, now, kind, &d)...), optional(d.Parent)
}
