package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

type overview struct {
	Today string `json:"today"`
	Kinds []struct {
		Kind     string `json:"kind"`
		Total    int64  `json:"total"`
		Archived int64  `json:"archived"`
		Statuses []struct {
			Status *string `json:"status"`
			Count  int64   `json:"count"`
		} `json:"statuses"`
	} `json:"kinds"`
	Overdue     overviewDue `json:"overdue"`
	DueToday    overviewDue `json:"dueToday"`
	DueThisWeek overviewDue `json:"dueThisWeek"`
	Unread      struct {
		Total int64 `json:"total"`
		Chats []struct {
			UID   string `json:"uid"`
			Title string `json:"title"`
			Count int64  `json:"count"`
		} `json:"chats"`
	} `json:"unread"`
	Latest []overviewItem `json:"latest"`
	Tags   []struct {
		Tag   string `json:"tag"`
		Count int64  `json:"count"`
	} `json:"tags"`
	Indexed *struct{ Done, Total int64 } `json:"indexed"`
}

type overviewDue struct {
	Count int64          `json:"count"`
	First []overviewItem `json:"first"`
}

type overviewItem struct {
	ID        string `json:"id"`
	Title     string `json:"title"`
	DueDate   string `json:"dueDate"`
	UpdatedAt string `json:"updatedAt"`
}

func (u *user) overview(t testing.TB, query string) overview {
	t.Helper()
	a := u.call(t, "GET", "/v1/overview"+query, nil).want(t, 200)
	var o overview
	decoder := json.NewDecoder(bytes.NewReader(a.body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&o); err != nil {
		t.Fatalf("not an overview: %v\n%s", err, a)
	}
	if len(a.body) > 3<<10 {
		t.Errorf("an overview of %d bytes", len(a.body))
	}
	return o
}

func TestOverview(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		wantFeature(t, api, "overview")
		u := api.user(t)
		o := u.overview(t, "")
		if len(o.Kinds) != 5 || o.Kinds[0].Total != 0 || len(o.Latest) != 0 || len(o.Tags) != 0 ||
			o.Overdue.Count != 0 {
			t.Errorf("of nothing: %+v", o)
		}
		uids, _ := u.stock(t)
		task := func(title, due, status string) string {
			return u.call(
				t, "POST", "/v1/tasks",
				fmt.Sprintf(`{"title":%q,"dueDate":%q,"status":%q}`, title, due, status),
			).want(t, 201).item(t).UID
		}
		task("Yesterday", "2026-02-28", "open")
		task("Finished", "2026-02-27", "completed")
		task("Archived", "2026-02-27", "archived")
		task("This morning", "2026-03-01T06:00:00Z", "open")
		task("Tonight", "2026-03-01T23:59:59.999Z", "in_progress")
		task("In seven days", "2026-03-08", "open")
		u.call(t, "POST", "/v1/chat_messages", `{"chatUid":"`+uids["chat"]+`","content":"second"}`).
			want(t, 201)
		read := u.call(
			t, "POST", "/v1/chat_messages", `{"chatUid":"`+uids["chat"]+`","content":"third"}`,
		).want(t, 201).item(t).UID
		u.call(t, "POST", "/v1/chat_messages/"+read+"/process", `{"action":"mark_read"}`).
			want(t, 200)
		dead := u.chat(t)
		u.call(
			t, "POST", "/v1/chat_messages", `{"chatUid":"`+dead+`","content":"of a deleted chat"}`,
		).want(t, 201)
		u.remove(t, entityNamed("chats"), dead)
		api.userOf(t, u.tenant, freshName("user")).stock(t) // another's, which must not be counted

		o = u.overview(t, "?today=2026-03-01")
		var kinds []string
		for _, k := range o.Kinds {
			line := fmt.Sprintf("%s %d+%d", k.Kind, k.Total, k.Archived)
			for _, s := range k.Statuses {
				name := "-"
				if s.Status != nil {
					name = *s.Status
				}
				line += fmt.Sprintf(" %s=%d", name, s.Count)
			}
			kinds = append(kinds, line)
		}
		want := "note 5+0 -=4 active=1; task 8+2 open=5 in_progress=2 completed=1; comment " +
			"1+0; chat 1+1; chat_message 4+0"
		if got := strings.Join(kinds, "; "); got != want {
			t.Errorf("kinds\n%s\nwant\n%s", got, want)
		}
		if o.Today != "2026-03-01" || o.Overdue.Count != 2 || o.DueToday.Count != 2 ||
			o.DueThisWeek.Count != 3 {
			t.Errorf("overdue %+v, today %+v, week %+v", o.Overdue, o.DueToday, o.DueThisWeek)
		}
		if f := o.Overdue.First; len(f) != 2 || f[0].ID != "task/"+uids["tax"] ||
			f[1].Title != "Yesterday" ||
			f[1].DueDate != "2026-02-28" {
			t.Errorf("overdue %+v", f)
		}
		if f := o.DueToday.First; len(f) != 2 || f[0].Title != "This morning" ||
			f[1].Title != "Tonight" {
			t.Errorf("today %+v", f)
		}
		if c := o.Unread.Chats; o.Unread.Total != 2 || len(c) != 1 || c[0].UID != uids["chat"] ||
			c[0].Title != "Weekend plans" ||
			c[0].Count != 2 {
			t.Errorf("unread %+v", o.Unread)
		}
		if l := o.Latest; len(l) != 5 || l[0].Title != "of a deleted chat" ||
			l[1].ID != "chat_message/"+read ||
			checkTime(l[0].UpdatedAt) != nil {
			t.Errorf("latest %+v", l)
		}
		if len(o.Tags) != 3 || o.Tags[0].Tag != "home" || o.Tags[0].Count != 4 {
			t.Errorf("tags %+v", o.Tags)
		}
		for _, bad := range []string{"x", "2026-03-01T00:00:00Z", "2026-02-30", "1", "%00"} {
			u.call(t, "GET", "/v1/overview?today="+bad, nil).check(t, 400)
		}
		u.call(t, "POST", "/v1/overview", `{}`).check(t, 405)
		u.wipe(t)
		u.open(t)
		o = u.overview(t, "")
		if o.Unread.Total != 0 || len(o.Latest) != 0 || o.Kinds[1].Total != 0 {
			t.Errorf("after a wipe: %+v", o)
		}
	})
}

// However much there is, and however long its names are, an overview stays short.
func TestAnOverviewStaysShort(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		wantFeature(t, api, "overview")
		u := api.user(t)
		long := strings.Repeat("東京\\\"", 200)
		for n := range 12 {
			encoded, _ := json.Marshal(fmt.Sprintf("%d %s", n, long))
			for _, kind := range []string{"notes", "tasks", "chats"} {
				chat := u.call(t, "POST", "/v1/"+kind, fmt.Sprintf(
					`{"title":%s,"status":%s,"dueDate":"2026-01-01","tags":[%s]}`, encoded, encoded,
					encoded,
				)).want(t, 201).item(t).UID
				if kind == "chats" {
					u.call(t, "POST", "/v1/chat_messages", fmt.Sprintf(
						`{"chatUid":%q,"content":%s,"status":%s}`, chat, encoded, encoded,
					)).want(t, 201)
				}
			}
		}
		for _, today := range []string{"2026-01-01", "2026-02-01"} {
			o := u.overview(t, "?today="+today)
			if o.Overdue.Count+o.DueToday.Count != 12 || o.Unread.Total != 12 {
				t.Errorf("%+v", o)
			}
		}
	})
}
