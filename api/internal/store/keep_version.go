package store

import "github.com/toolbridge/toolbridge-mcp/api/internal/delta"

// keepVersion are the commands that keep the version that a write replaces. It is a file of its own
// for benches/api/versions.py, which measures what it costs.
func (c *common) keepVersion(owner int64, kind string, before Item, now *Item) []command {
	now.kept = before.kept
	if c.retention.PerItem == 0 {
		return nil
	}
	d := delta.Encode(before.Payload, now.Payload)
	now.kept += int64(len(d)) + versionOverhead
	out := []command{
		{
			versionPut,
			[]any{
				owner,
				kind,
				before.UID,
				before.Version,
				before.Updated,
				now.Updated,
				before.Deleted,
				before.Operation,
				before.kept,
				d,
			},
		},
	}
	// Of versions that were kept, those that go are the oldest, which no other is described by.
	last, enough := before.Version-int64(c.retention.PerItem), now.kept-c.retention.Bytes
	if last > 0 || enough > 0 {
		out = append(
			out,
			command{versionTrim, []any{owner, kind, before.UID, before.Version, last, enough}},
		)
	}
	return out
}

// versionOverhead is about what a row and its index entries take beside the delta.
const versionOverhead = 200
