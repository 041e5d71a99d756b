package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

type searchResult struct {
	ID        string   `json:"id"`
	Kind      string   `json:"kind"`
	UID       string   `json:"uid"`
	Title     string   `json:"title"`
	TitleFrom string   `json:"titleFrom"`
	Snippet   string   `json:"snippet"`
	URL       string   `json:"url"`
	Version   int64    `json:"version"`
	CreatedAt string   `json:"createdAt"`
	UpdatedAt string   `json:"updatedAt"`
	DeletedAt string   `json:"deletedAt"`
	Archived  bool     `json:"archived"`
	Status    string   `json:"status"`
	Priority  string   `json:"priority"`
	DueDate   string   `json:"dueDate"`
	Tags      []string `json:"tags"`
	Parent    *struct {
		Kind  string `json:"kind"`
		UID   string `json:"uid"`
		Title string `json:"title"`
	} `json:"parent"`
}

type searchHint struct {
	Reason, Message, Suggestion string
	Count                       int64
}

type findings struct {
	Results       []searchResult `json:"results"`
	Total         int64          `json:"total"`
	NextCursor    string         `json:"nextCursor"`
	Groups        []searchGroup  `json:"groups"`
	GroupsOmitted int64          `json:"groupsOmitted"`
	Indexed       *struct {
		Done, Total int64
	} `json:"indexed"`
	Hints []searchHint `json:"hints"`
}

type searchGroup struct {
	Value *string `json:"value"`
	Count int64   `json:"count"`
}

// arguments of a search; JSON text for what is not a string.
type arguments map[string]any

func (u *user) search(t testing.TB, args arguments) findings {
	t.Helper()
	a := u.call(t, "POST", "/v1/search", args).want(t, 200)
	var f findings
	decoder := json.NewDecoder(bytes.NewReader(a.body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&f); err != nil || f.Results == nil {
		t.Fatalf("not the result of a search: %v\n%s", err, a)
	}
	for _, r := range f.Results {
		if r.ID != r.Kind+"/"+r.UID || r.URL != "toolbridge://"+r.ID || r.Version < 1 ||
			checkTime(r.CreatedAt) != nil ||
			checkTime(r.UpdatedAt) != nil {
			t.Errorf("result %+v", r)
		}
		if utf8.RuneCountInString(r.Snippet) > 200 && args["detail"] != "passage" ||
			utf8.RuneCountInString(r.Snippet) > 1500 {
			t.Errorf("a snippet of %d characters", utf8.RuneCountInString(r.Snippet))
		}
	}
	return f
}

// searchAll follows cursors to the end.
func (u *user) searchAll(t testing.TB, args arguments) []searchResult {
	t.Helper()
	all := arguments{}
	for name, value := range args {
		all[name] = value
	}
	var out []searchResult
	for range 1000 {
		f := u.search(t, all)
		out = append(out, f.Results...)
		if f.NextCursor == "" {
			if f.Total != int64(len(out)) {
				t.Errorf("%v: a walk shows %d items of %d", args, len(out), f.Total)
			}
			return out
		}
		all["cursor"] = f.NextCursor
	}
	t.Fatal("the walk does not end")
	return nil
}

func foundUIDs(results []searchResult) []string {
	out := []string{}
	for _, r := range results {
		out = append(out, r.UID)
	}
	return out
}

// library is one set of items that the queries below are asked of.
var library = []struct{ name, kind, body string }{
	{
		"solar",
		"notes",
		`{"title":"Solar power","content":"The batteries store what the panels make. See ` +
			`docs/solar_plan-v2.pdf.","tags":["home","energy"]}`,
	},
	{
		"camping",
		"notes",
		`{"title":"Camping list","content":"Tent, stove, spare battery, e-mail to Anna ` +
			`<anna.b@example.com>","tags":["home"]}`,
	},
	{
		"release",
		"notes",
		`{"title":"Release notes v2.10.3","content":"Fixes in the parser: naïve café handling, ` +
			`🚀 faster."}`,
	},
	{"japan", "notes", `{"title":"東京都の旅行","content":"京都にも行きたいです。スカイツリー","tags":["Reise"]}`},
	{
		"german",
		"notes",
		`{"title":"Rechnungen","content":"Die Häuser in der Straße der Bücher","tags":["Reise",` +
			`"home"],"status":"active"}`,
	},
	{
		"pump",
		"tasks",
		`{"title":"Repair the pump","description":"Order a battery first","status":"open",` +
			`"priority":"high","dueDate":"2026-03-05","tags":["home"]}`,
	},
	{
		"tax",
		"tasks",
		`{"title":"File taxes","status":"in_progress","priority":"low",` +
			`"dueDate":"2026-02-01T10:00:00Z"}`,
	},
	{"paint", "tasks", `{"title":"Paint the fence","status":"open"}`},
	{"old", "tasks", `{"title":"Replace the old battery","status":"archived","tags":["attic"]}`},
	{"chat", "chats", `{"title":"Weekend plans"}`},
	{
		"message",
		"chat_messages",
		`{"chatUid":"{chat}","content":"Shall I bring the batteries for the camping stove?"}`,
	},
	{
		"comment",
		"comments",
		`{"parentType":"task","parentUid":"{pump}","content":"The pump of the neighbours runs ` +
			`on a solar panel"}`,
	},
	{"gone", "notes", `{"title":"Deleted thoughts about a battery"}`},
	{
		"plain",
		"chats",
		`{"name":"Kanal","custom":{"deep":["needle-in-a-haystack",4711]},"archived":true}`,
	},
}

// stock writes the library and returns the uids by name, and the names by uid.
func (u *user) stock(t testing.TB) (uids, names map[string]string) {
	t.Helper()
	uids, names = map[string]string{}, map[string]string{}
	for _, l := range library {
		body := l.body
		for name, uid := range uids {
			body = strings.ReplaceAll(body, "{"+name+"}", uid)
		}
		uid := u.call(t, "POST", "/v1/"+l.kind, body).want(t, 201).item(t).UID
		uids[l.name], names[uid] = uid, l.name
	}
	u.remove(t, entityNamed("notes"), uids["gone"])
	return uids, names
}

func TestSearch(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		wantFeature(t, api, "search")
		u := api.user(t)
		uids, names := u.stock(t)
		for _, c := range []struct {
			args arguments
			want string // names, in any order unless the arguments name one
		}{
			{arguments{"query": "battery"}, "solar camping pump message"},
			{arguments{"query": "BATTERIES"}, "solar camping pump message"},
			{arguments{"query": "battery stove"}, "camping message"},
			{arguments{"query": `"spare battery"`}, "camping"},
			{arguments{"query": `"spare batteries"`}, ""},
			{arguments{"query": "tent OR panels"}, "camping solar comment"},
			{arguments{"query": "battery -stove"}, "solar pump"},
			{arguments{"query": "battery -(stove OR order)"}, "solar"},
			{arguments{"query": "(solar OR camping) -panels"}, "camping message"},
			{arguments{"query": "sol*"}, "solar comment"},
			{arguments{"query": "e-mail"}, "camping"},
			{arguments{"query": "email"}, "camping"},
			{arguments{"query": "anna.b@example.com"}, "camping"},
			{arguments{"query": "example.com"}, "camping"},
			{arguments{"query": "v2.10"}, "release"},
			{arguments{"query": "2.10.3"}, "release"},
			{arguments{"query": "2.1"}, ""},
			{arguments{"query": "solar_plan-v2.pdf"}, "solar"},
			{arguments{"query": "cafe naive"}, "release"},
			{arguments{"query": "🚀"}, "release"},
			{arguments{"query": "東京"}, "japan"},
			{arguments{"query": "京都"}, "japan"},
			{arguments{"query": "行きたい"}, "japan"},
			{arguments{"query": "ｽｶｲﾂﾘｰ"}, "japan"},
			{arguments{"query": "rechnung haus"}, "german"},
			{arguments{"query": "STRASSE buch"}, "german"},
			{arguments{"query": "4711", "includeArchived": true}, "plain"},
			{arguments{"query": "haystack", "includeArchived": true}, "plain"},
			{
				arguments{"query": "battery", "includeArchived": true},
				"solar camping pump message old",
			},
			{
				arguments{"query": "battery", "deleted": "include"},
				"solar camping pump message gone",
			},
			{arguments{"query": "battery", "deleted": "only"}, "gone"},
			{
				arguments{"query": "battery", "kinds": []string{"task", "chat_message"}},
				"pump message",
			},
			{arguments{"query": "battery", "tags": []string{"home"}}, "solar camping pump"},
			{arguments{"tags": []string{"HOME", "reise"}}, "german"},
			{arguments{"status": "open"}, "pump paint"},
			{arguments{"status": "archived"}, "old"},
			{arguments{"priority": "high", "status": "open"}, "pump"},
			{arguments{"dueAfter": "2026-02-02"}, "pump"},
			{arguments{"dueAfter": "2026-02-01", "dueBefore": "2026-03-05"}, "tax"},
			{arguments{"dueBefore": "2026-03-05T00:00:01Z", "order": "due"}, "tax pump"},
			{arguments{"kinds": []string{"task"}, "order": "due"}, "tax pump paint"},
			{arguments{"kinds": []string{"task"}, "order": "newest"}, "paint tax pump"},
			{arguments{"kinds": []string{"task"}, "order": "oldest"}, "pump tax paint"},
			{arguments{"parentUid": uids["chat"]}, "message"},
			{arguments{"parentUid": strings.ToUpper(uids["pump"]), "query": "solar"}, "comment"},
			{arguments{"updatedBefore": "2020-01-01"}, ""},
			{arguments{"updatedAfter": "2020-01-01", "kinds": []string{"chat"}}, "chat"},
			{arguments{"query": "the"}, "solar message comment pump paint release"},
			{arguments{"query": "-the -a", "kinds": []string{"task"}}, "tax"},
			{
				arguments{
					"query":  nil,
					"kinds":  nil,
					"tags":   []string{},
					"limit":  nil,
					"status": "open",
					"cursor": "",
				},
				"pump paint",
			},
		} {
			got := u.searchAll(t, c.args)
			var found []string
			for _, r := range got {
				found = append(found, names[r.UID])
			}
			want := strings.Fields(c.want)
			if c.args["order"] == nil {
				slices.Sort(found)
				slices.Sort(want)
			}
			if !slices.Equal(found, want) {
				t.Errorf("%v: %v, want %v", c.args, found, want)
			}
			// In pages of one it is the same, and a count is a count.
			one := arguments{"limit": 1}
			zero := arguments{"limit": 0}
			for name, value := range c.args {
				if name != "limit" {
					one[name], zero[name] = value, value
				}
			}
			if paged := u.searchAll(t, one); !slices.Equal(foundUIDs(paged), foundUIDs(got)) {
				t.Errorf(
					"%v in pages of one: %v, want %v",
					c.args,
					foundUIDs(paged),
					foundUIDs(got),
				)
			}
			f := u.search(t, zero)
			if f.Total != int64(len(got)) || len(f.Results) != 0 || f.NextCursor != "" {
				t.Errorf("%v with limit 0: %+v", c.args, f)
			}
		}
	})
}

func TestResultsOfASearch(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		wantFeature(t, api, "search")
		u := api.user(t)
		uids, _ := u.stock(t)
		one := func(args arguments) searchResult {
			f := u.search(t, args)
			if len(f.Results) != 1 {
				t.Fatalf("%v: %d results, want one", args, len(f.Results))
			}
			return f.Results[0]
		}
		pump := one(arguments{"query": "repair pump"})
		it := u.get(t, entityNamed("tasks"), uids["pump"])
		if pump.ID != "task/"+uids["pump"] || pump.Title != "Repair the pump" ||
			pump.TitleFrom != "" || pump.Snippet != "Order a battery first" ||
			pump.Status != "open" || pump.Priority != "high" || pump.DueDate != "2026-03-05" ||
			!slices.Equal(pump.Tags, []string{"home"}) ||
			pump.Version != it.Version ||
			pump.UpdatedAt != it.UpdatedAt ||
			pump.CreatedAt != it.CreatedAt ||
			pump.Parent != nil ||
			pump.Archived {
			t.Errorf("%+v", pump)
		}
		comment := one(arguments{"query": "neighbours"})
		if comment.Title != "Repair the pump" || comment.TitleFrom != "parent" ||
			comment.Parent == nil ||
			comment.Parent.Kind != "task" ||
			comment.Parent.UID != uids["pump"] ||
			comment.Parent.Title != "Repair the pump" {
			t.Errorf("%+v", comment)
		}
		message := one(arguments{"query": "shall"})
		if message.Title != "Weekend plans" || message.TitleFrom != "parent" ||
			message.Parent.Kind != "chat" {
			t.Errorf("%+v", message)
		}
		old := one(arguments{"query": "replace", "includeArchived": true})
		if !old.Archived || old.Status != "archived" {
			t.Errorf("%+v", old)
		}
		gone := one(arguments{"deleted": "only"})
		if gone.DeletedAt == "" || checkTime(gone.DeletedAt) != nil {
			t.Errorf("%+v", gone)
		}
		// The title decides the order, and the words of a long text are shown where they are.
		if f := u.search(t, arguments{"query": "solar"}); f.Results[0].UID != uids["solar"] {
			t.Errorf("the item with the word in its title comes first: %+v", f.Results)
		}
		filler := strings.Repeat("Nothing of interest is said in this sentence.\n", 400)
		u.call(t, "POST", "/v1/notes", map[string]string{
			"title": "Long", "content": filler + "The hidden treasure is here. " + filler,
		}).want(t, 201)
		long := one(arguments{"query": "treasure"})
		if !strings.Contains(long.Snippet, "The hidden treasure is here.") {
			t.Errorf("%q", long.Snippet)
		}
		passage := one(arguments{"query": "treasure", "detail": "passage"})
		n := utf8.RuneCountInString(passage.Snippet)
		if !strings.Contains(passage.Snippet, "treasure") || n < 1000 {
			t.Errorf("a passage of %d characters", n)
		}
	})
}

func TestGroupsOfASearch(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		wantFeature(t, api, "search")
		u := api.user(t)
		uids, _ := u.stock(t)
		month := u.get(t, entityNamed("tasks"), uids["pump"]).UpdatedAt[:7]
		for by, want := range map[string]string{
			"kind":     "note=5 task=3 chat=1 chat_message=1 comment=1",
			"status":   "=7 open=2 active=1 in_progress=1",
			"priority": "=9 high=1 low=1",
			"tag":      "home=4 Reise=2 energy=1",
			"month":    month + "=11",
		} {
			f := u.search(t, arguments{"groupBy": by, "limit": 0})
			var got []string
			for _, g := range f.Groups {
				value := ""
				if g.Value != nil {
					value = *g.Value
				}
				got = append(got, fmt.Sprintf("%s=%d", value, g.Count))
			}
			if strings.Join(got, " ") != want {
				t.Errorf("by %s: %v, want %s", by, got, want)
			}
		}
		f := u.search(t, arguments{"groupBy": "parent", "kinds": []string{"comment"}})
		if len(f.Groups) != 1 || *f.Groups[0].Value != uids["pump"] || len(f.Results) != 1 {
			t.Errorf("by parent: %+v", f)
		}
	})
}

func TestASearchThatCannotBeMeantIsRefused(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		wantFeature(t, api, "search")
		u := api.user(t)
		for body, field := range map[string]string{
			`{"query":"\"open"}`:      "query",
			`{"query":"(a"}`:          "query",
			`{"query":"a)"}`:          "query",
			`{"query":"OR"}`:          "query",
			`{"query":"a OR"}`:        "query",
			`{"query":"!!! ... ---"}`: "query",
			`{"query":"a\u0000b"}`:    "query",
			`{"query":"` + strings.Repeat("x ", 100) + `"}`:  "query",
			`{"query":"` + strings.Repeat("x ", 1e4) + `"}`:  "query",
			`{"query":"` + strings.Repeat("(", 1000) + `x"}`: "query",
			`{"query":7}`:         "query",
			`{"kinds":["notes"]}`: "kinds",
			`{"kinds":"note"}`:    "kinds",
			`{"kinds":["note","note","note","note","note","note"]}`: "kinds",
			`{"parentUid":"x"}`: "parentUid",
			`{"tags":[""]}`:     "tags",
			`{"tags":[1]}`:      "tags",
			`{"tags":["` + strings.Repeat(`x","`, 30) + `x"]}`: "tags",
			`{"status":[]}`:                                      "status",
			`{"updatedAfter":"yesterday"}`:                       "updatedAfter",
			`{"dueBefore":"2026-13-01"}`:                         "dueBefore",
			`{"dueAfter":"2026-03-01","dueBefore":"2026-02-01"}`: "dueBefore",
			`{"includeArchived":"yes"}`:                          "includeArchived",
			`{"deleted":true}`:                                   "deleted",
			`{"deleted":"all"}`:                                  "deleted",
			`{"order":"random"}`:                                 "order",
			`{"order":"relevance"}`:                              "order",
			`{"groupBy":"colour"}`:                               "groupBy",
			`{"detail":"all"}`:                                   "detail",
			`{"limit":51}`:                                       "limit",
			`{"limit":-1}`:                                       "limit",
			`{"limit":"5"}`:                                      "limit",
			`{"limit":1.5}`:                                      "limit",
			`{"cursor":"x"}`:                                     "cursor",
			`{"cursor":5}`:                                       "cursor",
			`{"q":"battery"}`:                                    "q",
		} {
			a := u.call(t, "POST", "/v1/search", body)
			if !a.check(t, 400) {
				continue
			}
			if got := a.field(t, "field"); got != `"`+field+`"` {
				t.Errorf("field %s, want %q\n%s", got, field, a)
			}
		}
		for _, body := range []string{``, `[]`, `{`, `null`, `"battery"`} {
			u.call(t, "POST", "/v1/search", body).check(t, 400)
		}
		u.call(t, "GET", "/v1/search", nil).check(t, 405)
		// Hostile, and still an answer.
		for _, query := range []string{
			"NEAR(a b)", "text:a", "a^b", "a:*", "a & b | !c", "';--", "{a b}", "a + b", "*", "^a",
			"\\", "a\tb\nc", "🏳️‍🌈 👨‍👩‍👧", "\u202eabc", strings.Repeat("the ", 60),
			strings.Repeat("(", 16) + "a" + strings.Repeat(")", 16), "'a' <-> 'b'", "aaaa*", "%",
			"_ _", "a\\'b", strings.Repeat("x", 4000),
		} {
			u.call(t, "POST", "/v1/search", arguments{"query": query}).check(t, 200, 400)
		}
	})
}

func TestACursorBelongsToItsSearch(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		wantFeature(t, api, "search")
		u := api.user(t)
		u.stock(t)
		other := api.userOf(t, u.tenant, freshName("user"))
		other.stock(t)
		args := arguments{"query": "battery", "limit": 1}
		cursor := u.search(t, args).NextCursor
		if cursor == "" {
			t.Fatal("no cursor")
		}
		refused := func(u *user, args arguments) {
			t.Helper()
			a := u.call(t, "POST", "/v1/search", args)
			if a.check(t, 400) && a.field(t, "field") != `"cursor"` {
				t.Errorf("%s", a)
			}
		}
		refused(other, arguments{"query": "battery", "limit": 1, "cursor": cursor})
		refused(u, arguments{"query": "batteries", "cursor": cursor})
		refused(u, arguments{"query": "battery", "order": "newest", "cursor": cursor})
		refused(u, arguments{"query": "battery", "kinds": []string{"note"}, "cursor": cursor})
		refused(u, arguments{"cursor": cursor})
		for i := range cursor {
			for _, c := range "A9_-" {
				changed := cursor[:i] + string(c) + cursor[i+1:]
				u.call(t, "POST", "/v1/search", arguments{"query": "battery", "cursor": changed}).
					check(t, 200, 400)
			}
		}
		for _, broken := range []string{
			"AAAA", "====", "é", cursor + cursor, cursor[1:], strings.Repeat("A", 10_000),
		} {
			refused(u, arguments{"query": "battery", "cursor": broken})
		}
		// The size of a page and what is shown may change.
		u.call(
			t, "POST", "/v1/search",
			arguments{"query": "battery", "limit": 5, "detail": "passage", "cursor": cursor},
		).want(t, 200)
		// A list's cursor is none.
		list := *u.list(t, entityNamed("notes"), "limit=1").NextCursor
		refused(u, arguments{"query": "battery", "cursor": list})
		u.call(t, "GET", "/v1/notes?cursor="+url.QueryEscape(cursor), nil).check(t, 400)
	})
}

// Items without changes appear exactly once in a walk, however much is written meanwhile.
func TestAWalkThroughASearchAmongWriters(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		wantFeature(t, api, "search")
		for _, order := range []string{"newest", "oldest", "relevance", "due"} {
			u := api.user(t)
			e := entityNamed("notes")
			var untouched, touched []string
			for n := range 90 {
				uid := u.call(t, "POST", e.path(), fmt.Sprintf(
					`{"title":"Walk %d","content":"steady words","dueDate":"2026-01-%02d"}`, n,
					1+n%28,
				)).want(t, 201).item(t).UID
				if n%3 == 0 {
					touched = append(touched, uid)
				} else {
					untouched = append(untouched, uid)
				}
			}
			seen := map[string]int{}
			args := arguments{"query": "steady", "order": order, "limit": 7}
			for n := 0; ; n++ {
				f := u.search(t, args)
				for _, r := range f.Results {
					seen[r.UID]++
				}
				if f.NextCursor == "" {
					break
				}
				args["cursor"] = f.NextCursor
				u.call(t, "PATCH", e.path("/", touched[n%len(touched)]), `{"x":1}`).
					check(t, 200, 410)
				u.call(t, "DELETE", e.path("/", touched[(n*2+1)%len(touched)]), nil).
					check(t, 200, 410)
				u.call(t, "POST", e.path(), `{"content":"steady and new"}`).check(t, 201)
			}
			for _, uid := range untouched {
				if seen[uid] != 1 {
					t.Errorf("%s: %s was not touched and appears %d times", order, uid, seen[uid])
				}
			}
		}
	})
}

func TestSearchKeepsPeopleApart(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		wantFeature(t, api, "search")
		users := fourUsers(t, api)
		shared := newUID()
		for name, u := range users {
			word := strings.Map(func(r rune) rune {
				if r == ' ' || r == ',' {
					return -1
				}
				return r
			}, name)
			u.stock(t)
			u.call(t, "POST", "/v1/notes", fmt.Sprintf(
				`{"uid":%q,"title":"Secret of %s","content":"battery","tags":["tag%s"]}`, shared,
				word, word,
			)).want(t, 201)
		}
		for name, u := range users {
			own := "Secret of " + strings.NewReplacer(" ", "", ",", "").Replace(name)
			f := u.search(
				t,
				arguments{
					"query":           "secret",
					"deleted":         "include",
					"includeArchived": true,
					"groupBy":         "tag",
				},
			)
			if f.Total != 1 || f.Results[0].Title != own || len(f.Groups) != 1 {
				t.Errorf("%s finds %+v", name, f)
			}
			if f := u.search(t, arguments{"query": "battery", "groupBy": "kind"}); f.Total != 5 {
				t.Errorf("%s counts %d hits, want 5", name, f.Total)
			}
			for other := range users {
				word := strings.NewReplacer(" ", "", ",", "").Replace(other)
				if other == name {
					continue
				}
				for _, args := range []arguments{
					{"query": word}, {"query": word + "*"}, {"tags": []string{"tag" + word}},
				} {
					f := u.search(t, args)
					if f.Total != 0 ||
						strings.Contains(fmt.Sprint(f.Hints), "tag"+word[:4]) &&
							args["tags"] == nil {
						t.Errorf("%s finds %v of %s: %+v", name, args, other, f)
					}
				}
			}
		}
		// A wipe empties one person's index and no other.
		for name, u := range users {
			u.wipe(t)
			u.open(t)
			f := u.search(t, arguments{"deleted": "include", "includeArchived": true})
			if f.Total != 0 {
				t.Errorf("%s has %d hits after a wipe", name, f.Total)
			}
			delete(users, name)
			for _, rest := range users {
				if f := rest.search(t, arguments{"query": "secret"}); f.Total != 1 {
					t.Errorf("another's wipe left %d hits", f.Total)
				}
			}
		}
	})
}

func TestAnEmptyResultSaysWhy(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		wantFeature(t, api, "search")
		u := api.user(t)
		u.stock(t)
		for _, c := range []struct {
			args               arguments
			reason, suggestion string
			count              int64
		}{
			{arguments{"query": "replace"}, "archived", "", 1},
			{arguments{"query": "thoughts"}, "deleted", "", 1},
			{arguments{"tags": []string{"hmoe"}}, "unknown_tag", "home", 0},
			{arguments{"query": "battery", "tags": []string{"Nonsense"}}, "unknown_tag", "", 0},
			{arguments{"query": "battery", "kinds": []string{"chat"}}, "filters", "", 4},
			{arguments{"query": "batery"}, "unknown_word", "battery", 0},
			{arguments{"query": "campnig tent"}, "unknown_word", "camping", 0},
			{arguments{"query": "qqqqqq"}, "unknown_word", "", 0},
		} {
			f := u.search(t, c.args)
			i := slices.IndexFunc(f.Hints, func(h searchHint) bool { return h.Reason == c.reason })
			if f.Total != 0 || i < 0 || f.Hints[i].Suggestion != c.suggestion ||
				f.Hints[i].Count != c.count ||
				f.Hints[i].Message == "" {
				t.Errorf("%v: total %d, hints %+v, want %+v", c.args, f.Total, f.Hints, c)
			}
		}
		if f := u.search(t, arguments{"query": "battery"}); f.Hints != nil {
			t.Errorf("hits and hints: %+v", f.Hints)
		}
	})
}

// Whatever is written is found by its words; whatever is deleted, archived or changed is not found
// by what it was.
func TestWritesAreSearchedAtOnce(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		wantFeature(t, api, "search")
		u := api.user(t)
		parent := e.parent(t, u)
		r := rand.New(rand.NewSource(int64(len(e.name))))
		word := func() string {
			letters := []rune("abcdefghijklmnoprstuvwzäöüß日本語데이터жщ")
			out := []rune("w")
			for range 4 + r.Intn(8) {
				out = append(out, letters[r.Intn(len(letters))])
			}
			return string(out)
		}
		for range 8 {
			first, second := word(), word()
			hits := func(w string, more arguments) bool {
				args := arguments{"query": `"` + w + `"`}
				for name, value := range more {
					args[name] = value
				}
				return u.search(t, args).Total == 1
			}
			it := u.call(
				t, "POST", e.path(),
				object(fmt.Sprintf(`"content":"before %s after"`, first), parent),
			).want(t, 201).item(t)
			if !hits(first, nil) {
				t.Errorf("%q was written and is not found", first)
			}
			u.call(t, "PATCH", e.path("/", it.UID), fmt.Sprintf(`{"content":%q}`, second)).
				want(t, 200)
			if hits(first, nil) || !hits(second, nil) {
				t.Errorf("after a change from %q to %q", first, second)
			}
			u.call(t, "PUT", e.path("/", it.UID), object(fmt.Sprintf(`"title":%q`, first), parent)).
				want(t, 200)
			if !hits(first, nil) || hits(second, nil) {
				t.Errorf("after a replacement of %q by %q", second, first)
			}
			u.call(t, "POST", e.path("/", it.UID, "/archive"), nil).want(t, 200)
			if hits(first, nil) || !hits(first, arguments{"includeArchived": true}) {
				t.Errorf("%q is archived", first)
			}
			u.remove(t, e, it.UID)
			if hits(first, arguments{"includeArchived": true}) ||
				!hits(first, arguments{"deleted": "only"}) {
				t.Errorf("%q is deleted", first)
			}
		}
	})
}
