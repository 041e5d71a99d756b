package store

import (
	"context"
	"strconv"

	"github.com/toolbridge/toolbridge-mcp/api/internal/search"
)

// Overview is what a person has, in numbers and a few examples.
type Overview struct {
	Counts   []StatusCount
	Overdue  DueTasks
	DueToday DueTasks
	DueWeek  DueTasks // from today on, seven days
	Unread   int64
	Chats    []UnreadChat // with the most unread messages
	Latest   []Found      // changes
	Tags     []Group
	Progress *Progress // nil when everything is indexed
}

// StatusCount is how many items of a kind have a status; "" is none.
type StatusCount struct {
	Kind     string
	Archived bool
	Status   string
	Count    int64
}

// DueTasks are tasks that are not finished and due in some time, and the first of them.
type DueTasks struct {
	Count int64
	First []Found
}

// UnreadChat is a live chat, and how many of its messages are unread.
type UnreadChat struct {
	UID   string
	Count int64
}

// How many examples an overview has.
const (
	dueExamples   = 3
	chatExamples  = 5
	latestChanges = 5
	topTags       = 10
)

// The parts of an overview. A task with one of these statuses is finished; an archived or deleted
// one is not counted at all.
const finished = "'completed', 'done', 'closed', 'cancelled', 'canceled'"

var (
	overviewCounts = statement{"overview.counts", `
		SELECT kind, state, COALESCE(status, ''), COUNT(*) FROM search_docs
		WHERE owner = $1 AND state IN ('l', 'a') GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2, 3`}
	overviewDueCount = statement{"overview.due_count", `
		SELECT COUNT(*) FROM search_docs
		WHERE owner = $1 AND due IS NOT NULL AND due >= $2 AND due < $3
				AND kind = 'tasks' AND state = 'l'
			AND COALESCE(LOWER(status), '') NOT IN (` + finished + `)`}
	overviewDue = statement{"overview.due", `
		SELECT i.kind, i.uid, i.version, i.created, i.updated, i.deleted, i.payload FROM (
			SELECT owner, kind, uid, due, updated FROM search_docs
			WHERE owner = $1 AND due IS NOT NULL AND due >= $2 AND due < $3
				AND kind = 'tasks' AND state = 'l'
				AND COALESCE(LOWER(status), '') NOT IN (` + finished + `)
			ORDER BY due, updated LIMIT CAST($4 AS BIGINT)) d
		JOIN items i ON i.owner = d.owner AND i.kind = d.kind AND i.uid = d.uid
		ORDER BY d.due, d.updated`}
	overviewUnread = func(unread string) statement {
		return statement{"overview.unread", `
			SELECT g.parent, g.messages, CAST(SUM(g.messages) OVER () AS BIGINT) FROM (
				SELECT owner, parent, COUNT(*) AS messages FROM search_docs
				WHERE owner = $1 AND ` + unread + ` AND state = 'l' AND parent IS NOT NULL
				GROUP BY owner, parent) g
			JOIN items c ON c.owner = g.owner AND c.kind = 'chats' AND c.uid = g.parent
				AND c.deleted = 0
			ORDER BY 2 DESC, 1 LIMIT ` + strconv.Itoa(chatExamples)}
	}
)

// longAgo is before every due time.
const longAgo = -1 << 62

// Overview counts what an owner has. today and the others are the beginnings of days, in Unix
// milliseconds.
func (c *common) Overview(
	ctx context.Context,
	owner, today, tomorrow, nextWeek int64,
) (Overview, error) {
	out, err := c.overview(ctx, owner, today, tomorrow, nextWeek)
	return out, c.mark(err)
}

func (c *common) overview(
	ctx context.Context,
	owner, today, tomorrow, nextWeek int64,
) (out Overview, err error) {
	if out.Progress, err = c.progress(ctx, owner); err != nil {
		return out, err
	}
	err = each(ctx, c.db, overviewCounts, []any{owner}, func(r rows) error {
		var n StatusCount
		var state string
		err := r.Scan(&n.Kind, &state, &n.Status, &n.Count)
		n.Archived = state == string(search.Archived)
		out.Counts = append(out.Counts, n)
		return err
	})
	if err != nil {
		return out, err
	}
	for _, due := range []struct {
		into         *DueTasks
		from, before int64
	}{
		{&out.Overdue, longAgo, today},
		{&out.DueToday, today, tomorrow},
		{&out.DueWeek, today, nextWeek},
	} {
		if err := c.dueTasks(ctx, owner, due.from, due.before, due.into); err != nil {
			return out, err
		}
	}
	err = each(ctx, c.db, c.index.unread(), []any{owner}, func(r rows) error {
		var chat UnreadChat
		err := r.Scan(&chat.UID, &chat.Count, &out.Unread)
		out.Chats = append(out.Chats, chat)
		return err
	})
	if err != nil {
		return out, err
	}
	live := Search{
		Filter:  search.Filter{States: []search.State{search.Live}},
		Order:   Newest,
		GroupBy: "tag",
	}
	e := search.Compile(owner, nil, live.Filter)
	out.Latest, _, err = c.find(ctx, owner, live, e, latestChanges, foundBytes, true)
	if err != nil {
		return out, err
	}
	if out.Tags, _, err = c.groups(ctx, owner, live, e); err == nil && len(out.Tags) > topTags {
		out.Tags = out.Tags[:topTags]
	}
	return out, err
}

func (c *common) dueTasks(ctx context.Context, owner, from, before int64, into *DueTasks) error {
	err := one(ctx, c.db, overviewDueCount, []any{owner, from, before}, &into.Count)
	if err != nil || into.Count == 0 {
		return err
	}
	return each(
		ctx,
		c.db,
		overviewDue,
		[]any{owner, from, before, dueExamples},
		func(r rows) error {
			var f Found
			err := f.scan(r)
			into.First = append(into.First, f)
			return err
		},
	)
}
