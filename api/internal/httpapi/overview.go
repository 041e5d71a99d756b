package httpapi

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/toolbridge/toolbridge-mcp/api/internal/entity"
	"github.com/toolbridge/toolbridge-mcp/api/internal/search"
	"github.com/toolbridge/toolbridge-mcp/api/internal/store"
)

// overviewBytes bounds an overview, which a model reads at the start of many conversations.
const overviewBytes = 3 << 10

type statusBody struct {
	Status *string `json:"status"` // null where items have none
	Count  int64   `json:"count"`
}

type kindBody struct {
	Kind     string       `json:"kind"`
	Total    int64        `json:"total"` // without archived ones
	Archived int64        `json:"archived,omitempty"`
	Statuses []statusBody `json:"statuses,omitempty"`
}

type briefBody struct {
	ID        string `json:"id"`
	Title     string `json:"title"`
	DueDate   string `json:"dueDate,omitempty"`
	UpdatedAt string `json:"updatedAt,omitempty"`
}

type dueBody struct {
	Count int64       `json:"count"`
	First []briefBody `json:"first,omitempty"`
}

type chatBody struct {
	UID   string `json:"uid"`
	Title string `json:"title"`
	Count int64  `json:"count"`
}

type unreadBody struct {
	Total int64      `json:"total"`
	Chats []chatBody `json:"chats,omitempty"`
}

type tagBody struct {
	Tag   string `json:"tag"`
	Count int64  `json:"count"`
}

type overviewBody struct {
	Today       string        `json:"today"`
	Kinds       []kindBody    `json:"kinds"`
	Overdue     dueBody       `json:"overdue"`
	DueToday    dueBody       `json:"dueToday"`
	DueThisWeek dueBody       `json:"dueThisWeek"`
	Unread      unreadBody    `json:"unread"`
	Latest      []briefBody   `json:"latest"`
	Tags        []tagBody     `json:"tags"`
	Indexed     *progressBody `json:"indexed,omitempty"`
}

func (a *API) overview(w http.ResponseWriter, r *http.Request) error {
	query, err := readQuery(r)
	if err != nil {
		return err
	}
	today := a.Now().UTC().Truncate(24 * time.Hour)
	if text := query.Get("today"); text != "" {
		day, isDate, ok := search.ParseTime(text)
		if !ok || !isDate {
			return invalidMember("today", "must be a date like 2026-03-01")
		}
		today = day
	}
	owner := callOf(r.Context()).session.Owner
	o, err := a.Store.Overview(
		r.Context(),
		owner,
		today.UnixMilli(),
		today.AddDate(0, 0, 1).UnixMilli(),
		today.AddDate(0, 0, 7).UnixMilli(),
	)
	if err != nil {
		return err
	}
	body := overviewBody{
		Today: today.Format(time.DateOnly), Kinds: kindCounts(o.Counts),
		Overdue: due(o.Overdue), DueToday: due(o.DueToday), DueThisWeek: due(o.DueWeek),
		Unread: unreadBody{Total: o.Unread}, Latest: []briefBody{}, Tags: []tagBody{},
	}
	body.DueThisWeek.First = nil // a search finds the others
	if err := a.nameChats(r, o.Chats, &body.Unread); err != nil {
		return err
	}
	for _, f := range o.Latest {
		b := brief(f)
		b.UpdatedAt, b.DueDate = formatMillis(f.Item.Updated), ""
		body.Latest = append(body.Latest, b)
	}
	for _, g := range o.Tags {
		body.Tags = append(body.Tags, tagBody{cutBytes(g.Value), g.Count})
	}
	if o.Progress != nil {
		body.Indexed = &progressBody{o.Progress.Done, o.Progress.Total}
	}
	writeText(w, http.StatusOK, body.within(overviewBytes))
	return nil
}

// within leaves out examples, the least important ones first, until the text is short enough.
func (b overviewBody) within(most int) []byte {
	for {
		text, _ := json.Marshal(b) // strings and numbers encode
		if len(text) <= most || !b.shorten(3, 2, 1, 2, 5) && !b.shorten(0, 0, 0, 0, 1) {
			return text
		}
	}
}

// shorten leaves out one example of some part that has more than it should keep, and reports
// whether there was one.
func (b *overviewBody) shorten(tags, chats, tasks, statuses, latest int) bool {
	switch {
	case drop(&b.Tags, tags),
		drop(&b.Unread.Chats, chats),
		drop(&b.DueToday.First, tasks),
		drop(&b.Overdue.First, tasks):
		return true
	}
	for n := range b.Kinds {
		if drop(&b.Kinds[n].Statuses, statuses) {
			return true
		}
	}
	return drop(&b.Latest, latest)
}

func drop[T any](list *[]T, keep int) bool {
	if len(*list) <= keep {
		return false
	}
	*list = (*list)[:len(*list)-1]
	return true
}

// maxStatuses is how many statuses of a kind are counted one by one.
const maxStatuses = 6

func kindCounts(counts []store.StatusCount) []kindBody {
	out := []kindBody{}
	for _, kind := range entity.All {
		k := kindBody{Kind: kind.Key}
		for _, n := range counts {
			switch {
			case n.Kind != kind.Name:
			case n.Archived:
				k.Archived += n.Count
			default:
				k.Total += n.Count
				if len(k.Statuses) < maxStatuses {
					s := statusBody{Count: n.Count}
					if n.Status != "" {
						status := cutBytes(n.Status)
						s.Status = &status
					}
					k.Statuses = append(k.Statuses, s)
				}
			}
		}
		if len(k.Statuses) == 1 && k.Statuses[0].Status == nil {
			k.Statuses = nil // the total has the same information
		}
		out = append(out, k)
	}
	return out
}

func due(d store.DueTasks) dueBody {
	out := dueBody{Count: d.Count}
	for _, f := range d.First {
		out.First = append(out.First, brief(f))
	}
	return out
}

func brief(f store.Found) briefBody {
	kind := entity.ByName(f.Kind)
	d, texts := search.Parse(kind, f.Item.Payload, f.Item.Deleted != 0)
	title := d.Title
	if title == "" {
		title = search.NewMatcher(nil).Show(texts, false, 60)
	}
	out := briefBody{ID: kind.Key + "/" + f.Item.UID, Title: cutBytes(title)}
	if d.Due != nil {
		out.DueDate = cut(d.DueText, tagLength)
	}
	return out
}

func (a *API) nameChats(r *http.Request, chats []store.UnreadChat, into *unreadBody) error {
	var uids []string
	for _, chat := range chats {
		uids = append(uids, chat.UID)
	}
	kind, _ := entity.ByKey("chat")
	named, err := a.Store.GetMany(r.Context(), callOf(r.Context()).session.Owner, kind.Name, uids)
	if err != nil {
		return err
	}
	for _, chat := range chats {
		d, _ := search.Parse(kind, named[chat.UID].Payload, false)
		into.Chats = append(into.Chats, chatBody{chat.UID, cutBytes(d.Title), chat.Count})
	}
	return nil
}

// cutBytes shortens a text to fit into an overview.
func cutBytes(text string) string {
	const most = 80
	if len(text) <= most {
		return text
	}
	end := 0
	for n := range text {
		if n > most-len("…") {
			break
		}
		end = n
	}
	return text[:end] + "…"
}
