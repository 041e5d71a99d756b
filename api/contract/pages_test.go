package contract

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

func TestAPageHoldsLimitItems(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		if p := u.list(t, e, ""); len(p.items) != 0 || (p.NextCursor != nil && !family) {
			t.Errorf(
				"an empty list has %d items and a cursor: %v",
				len(p.items),
				p.NextCursor != nil,
			)
		}
		parent := e.parent(t, u)
		var uids []string
		for range 7 {
			uids = append(
				uids,
				u.call(t, "POST", e.path(), object(parent)).want(t, 201).item(t).UID,
			)
		}
		for _, limit := range []int{1, 2, 3, 6, 7, 8, 1000, 1001, 5000, 1 << 40} {
			p := u.list(t, e, "limit="+strconv.Itoa(limit))
			if want := min(limit, 7); len(p.items) != want {
				t.Errorf("limit=%d gives %d items, want %d", limit, len(p.items), want)
			}
			if more := p.NextCursor != nil; more != (limit < 7) && !family {
				t.Errorf("limit=%d of 7 items: nextCursor present is %v", limit, more)
			}
			var got []string
			for _, it := range u.walk(t, e, url.Values{"limit": {strconv.Itoa(limit)}}) {
				got = append(got, it.UID)
			}
			if !slices.Equal(got, uids) {
				t.Errorf("limit=%d: a walk gives %v, want %v", limit, got, uids)
			}
		}
		// Larger is clamped, whatever its size.
		if n := len(u.list(t, e, "limit=99999999999999999999").items); n != 7 {
			t.Errorf("an enormous limit gives %d items, want 7", n)
		}
		for _, bad := range []string{
			"0", "-1", "abc", "1.5", "1e2", "0x10", "%20", "1;2", "five", "NaN",
			"-99999999999999999999",
		} {
			u.call(t, "GET", e.path("?limit=", bad), nil).check(t, 400)
		}
	})
}

func TestAChangeMovesAnItemToTheEnd(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		parent := e.parent(t, u)
		first := u.call(t, "POST", e.path(), object(parent)).want(t, 201).item(t)
		second := u.call(t, "POST", e.path(), object(parent)).want(t, 201).item(t)
		for _, w := range e.writeRoutes(first.UID, parent) {
			w.call(t, u).want(t, 200)
			items := u.list(t, e, "includeDeleted=true").items
			if len(items) != 2 || items[0].UID != second.UID || items[1].UID != first.UID {
				t.Errorf("after %s the changed item must be last: %+v", w.name, items)
			}
			u.call(t, "PATCH", e.path("/", second.UID), `{}`).want(t, 200)
			if w.name == "delete" {
				continue
			}
			u.call(t, "PATCH", e.path("/", first.UID), `{}`).want(t, 200)
			u.call(t, "PATCH", e.path("/", second.UID), `{}`).want(t, 200)
		}
	})
}

func TestABrokenCursorIs400(t *testing.T) {
	oursOnly(t, "a broken cursor starts from the beginning")
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		parent := e.parent(t, u)
		for range 3 {
			u.call(t, "POST", e.path(), object(parent)).want(t, 201)
		}
		cursor := *u.list(t, e, "limit=1").NextCursor
		for _, broken := range []string{
			"x", "garbage", "null", "{}", "0", "1", "-", "AAAA", "====", "😀", "\x00", "\xff\xfe",
			"' OR 1=1--", "2024-01-01T00:00:00.000Z",
			strings.Repeat("A", 10_000), cursor[:len(cursor)/2], cursor[1:], cursor + cursor, "..",
			"e30", "W10", "bnVsbA",
		} {
			u.call(t, "GET", e.path("?cursor=", url.QueryEscape(broken)), nil).check(t, 400)
		}
		// Any other change of a cursor is refused or read as some position; it never breaks the
		// server.
		for i := range cursor {
			for _, c := range "A9_-z" {
				changed := cursor[:i] + string(c) + cursor[i+1:]
				u.call(t, "GET", e.path("?limit=1&cursor=", url.QueryEscape(changed)), nil).
					check(t, 200, 400)
			}
		}
	})
}

// Of two values, a proxy and the server could each take another.
func TestAParameterThatComesTwiceIs400(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		oursOnly(t, "others take the first or the last")
		u := api.user(t)
		uid := u.note(t)
		for _, path := range []string{
			"/v1/notes?limit=1&limit=2", "/v1/notes?cursor=&cursor=x",
			"/v1/notes?includeDeleted=true&includeDeleted=true",
			"/v1/notes/" + uid + "?includeDeleted=true&includeDeleted=false",
			"/v1/notes?limit=1&%6cimit=1",
		} {
			u.call(t, "GET", path, nil).check(t, 400)
		}
		u.call(t, "GET", "/v1/notes?x=1&x=2", nil).check(t, 200)
	})
}

func TestACursorOfSomethingElseShowsNothingForeign(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		u := api.user(t)
		foreign := []*user{api.userOf(t, u.tenant, freshName("user"))}
		if api.tenantSecret != "" {
			foreign = append(foreign, api.userOf(t, freshName("tenant"), u.sub))
		}
		for _, e := range entities {
			for range 3 {
				u.create(t, e)
			}
			var cursors []string
			for _, them := range foreign {
				for range 3 {
					them.create(t, e)
				}
				cursors = append(cursors, *them.list(t, e, "limit=1").NextCursor)
			}
			for _, other := range entities {
				if other.name != e.name {
					u.create(t, other)
					u.create(t, other)
					cursors = append(cursors, *u.list(t, other, "limit=1").NextCursor)
				}
			}
			for _, cursor := range cursors {
				a := u.call(t, "GET", e.path("?cursor=", url.QueryEscape(cursor)), nil)
				if !a.check(t, 200, 400) || a.status == 400 {
					continue
				}
				for _, it := range a.page(t).items {
					if u.call(t, "GET", e.path("/", it.UID), nil).status != 200 {
						t.Errorf(
							"a foreign cursor showed %s, which is not this user's\n%s",
							it.UID,
							a,
						)
					}
				}
			}
		}
	})
}

func TestTheNextLinkLeadsToTheNextPage(t *testing.T) {
	oursOnly(t, "Link rel=next")
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		parent := e.parent(t, u)
		want := 0
		for i := range 5 {
			uid := u.call(t, "POST", e.path(), object(parent)).want(t, 201).item(t).UID
			if i == 2 {
				u.remove(t, e, uid)
			}
			want++
		}
		path, seen := e.path("?limit=2&includeDeleted=true"), map[string]bool{}
		for range want + 1 {
			a := u.call(t, "GET", path, nil).want(t, 200)
			p := a.page(t)
			for _, it := range p.items {
				seen[it.UID] = true
			}
			link := nextLink(a.header)
			if link == "" {
				break
			}
			base, err := url.Parse(api.base + path)
			if err != nil {
				t.Fatal(err)
			}
			target, err := base.Parse(link)
			if err != nil {
				t.Fatalf("Link target %q: %v", link, err)
			}
			if got := target.Query().Get("cursor"); target.Path != e.path() ||
				got != *p.NextCursor {
				t.Errorf(
					"Link %q does not lead to %s with cursor %s",
					link,
					e.path(),
					*p.NextCursor,
				)
			}
			if len(p.items) != 2 {
				t.Errorf("following the link forgot limit=2\n%s", a)
			}
			path = target.RequestURI()
		}
		if len(seen) != want {
			t.Errorf(
				"following the links shows %d items, want %d with the tombstone",
				len(seen),
				want,
			)
		}
	})
}

func TestAPageEndsEarlyAt8MiBOfPayloads(t *testing.T) {
	oursOnly(t, "pages end early at 8 MiB")
	onEach(t, func(t *testing.T, api *server) {
		u := api.user(t)
		e := entityNamed("notes")
		const size, count = 1_000_000, 10
		body := object(`"text":"` + strings.Repeat("x", size) + `"`)
		want := map[string]bool{}
		for range count {
			want[u.call(t, "POST", e.path(), body).want(t, 201).item(t).UID] = true
		}
		first := u.list(t, e, "")
		if n := len(first.items); n == 0 || n > 9 || first.NextCursor == nil {
			t.Errorf(
				"a page of %d items of 1 MB, cursor present: %v; want it to end at 8 MiB",
				n,
				first.NextCursor != nil,
			)
		}
		for _, it := range u.walk(t, e, url.Values{}) {
			if !want[it.UID] {
				t.Errorf("%s appears twice or was never made", it.UID)
			}
			delete(want, it.UID)
		}
		if len(want) > 0 {
			t.Errorf("the walk missed %d of %d items", len(want), count)
		}
	})
}

const (
	walkItems  = 2_500
	walkWrites = 900
)

// Every unchanged item appears exactly once, and whatever was committed before the last
// page was read appears with at least that version, however much is written in between.
func TestAWalkMissesNothingWhileOthersWrite(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		for _, c := range []struct {
			name           string
			entity         string
			limit          string
			includeDeleted bool
		}{
			{"small pages", "notes", "17", true},
			{"default pages", "tasks", "", false},
			{"clamped pages", "chats", "5000", true},
			{"medium pages of messages", "chat_messages", "100", false},
		} {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				values := url.Values{}
				if c.limit != "" {
					values.Set("limit", c.limit)
				}
				if c.includeDeleted {
					values.Set("includeDeleted", "true")
				}
				walkAmongWriters(t, api.user(t), entityNamed(c.entity), values)
			})
		}
	})
}

func walkAmongWriters(t *testing.T, u *user, e entity, values url.Values) {
	parent := e.parent(t, u)
	uids := make([]string, walkItems)
	inParallel(8, walkItems, func(i int) {
		uids[i] = newUID()
		u.call(t, "POST", e.path(), object(`"uid":"`+uids[i]+`"`, parent)).check(t, 201)
	})
	if t.Failed() {
		t.FailNow()
	}

	// Every fourth item is changed and deleted in turn. The others stay as they are.
	var untouched, touched []string
	for i, uid := range uids {
		if i%4 == 3 {
			touched = append(touched, uid)
		} else {
			untouched = append(untouched, uid)
		}
	}

	var committed struct { // what the server has acknowledged
		sync.Mutex
		versions map[string]int64
		deleted  map[string]bool
	}
	committed.versions, committed.deleted = map[string]int64{}, map[string]bool{}
	acknowledge := func(a *answer, deleted bool) {
		it, err := readItem(a.body)
		if err != nil {
			t.Errorf("%v\n%s", err, a)
			return
		}
		committed.Lock()
		defer committed.Unlock()
		committed.versions[it.UID] = max(committed.versions[it.UID], it.Version)
		committed.deleted[it.UID] = committed.deleted[it.UID] || deleted
	}

	// Writers work whenever the walk lets them: each page read allows some more writes, which then
	// happen while the next pages are read.
	permits := make(chan int, walkWrites)
	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			for n := range permits {
				victim := touched[n%len(touched)]
				switch n % 3 {
				case 0:
					a := u.call(t, "POST", e.path(), object(`"title":"new"`, parent))
					if a.check(t, 201) {
						acknowledge(a, false)
					}
				case 1:
					a := u.call(t, "PATCH", e.path("/", victim), fmt.Sprintf(`{"n":%d}`, n))
					if a.check(t, 200, 410) && a.status == 200 {
						acknowledge(a, false)
					}
				case 2:
					if a := u.call(t, "DELETE", e.path("/", victim), nil); a.check(t, 200, 410) &&
						a.status == 200 {
						acknowledge(a, true)
					}
				}
			}
		})
	}
	issued := 0
	permit := func(upTo int) {
		for ; issued < min(upTo, walkWrites); issued++ {
			permits <- issued
		}
	}
	finish := sync.OnceFunc(func() { close(permits); writers.Wait() })
	defer finish()

	pageSize := 500
	if limit, err := strconv.Atoi(values.Get("limit")); err == nil {
		pageSize = min(limit, 1000)
	}
	perPage := walkWrites*pageSize/walkItems + 1
	maxPages := (walkItems+2*walkWrites)/pageSize + 3

	var walked []item
	var before map[string]int64 // acknowledged before the last page was asked for
	pages := 0
	for {
		permit((pages + 1) * perPage)
		committed.Lock()
		before = maps.Clone(committed.versions)
		committed.Unlock()
		a := u.call(t, "GET", e.path("?", values.Encode()), nil).want(t, 200)
		p := a.page(t)
		walked = append(walked, p.items...)
		if len(p.items) > pageSize {
			t.Fatalf("a page of %d items, want at most %d", len(p.items), pageSize)
		}
		if pages++; pages > maxPages {
			t.Fatalf("no end after %d pages", pages)
		}
		if p.NextCursor == nil || (family && len(p.items) == 0) {
			break
		}
		values.Set("cursor", *p.NextCursor)
	}
	finish()
	t.Logf("%d pages, %d rows, %d writes meanwhile", pages, len(walked), issued)

	seen, newest := map[string]int{}, map[string]int64{}
	for i, it := range walked {
		seen[it.UID]++
		if it.Version <= newest[it.UID] {
			t.Errorf("%s appears again with version %d", it.UID, it.Version)
		}
		newest[it.UID] = it.Version
		if i > 0 && !inOrder(walked[i-1], it) {
			t.Errorf(
				"row %d (%s %s) comes after (%s %s)",
				i,
				it.UpdatedAt,
				it.UID,
				walked[i-1].UpdatedAt,
				walked[i-1].UID,
			)
		}
		if it.DeletedAt != nil && values.Get("includeDeleted") != "true" {
			t.Errorf("tombstone %s in a list without includeDeleted", it.UID)
		}
	}
	for _, uid := range untouched {
		if seen[uid] != 1 {
			t.Errorf("%s was not touched and appears %d times", uid, seen[uid])
		}
	}
	for _, uid := range touched {
		if seen[uid] == 0 && (values.Get("includeDeleted") == "true" || !committed.deleted[uid]) {
			t.Errorf("%s was touched and does not appear", uid)
		}
	}
	for uid, version := range before {
		if newest[uid] < version &&
			(values.Get("includeDeleted") == "true" || !committed.deleted[uid]) {
			t.Errorf(
				"%s had version %d before the last page was read; the walk saw version %d",
				uid,
				version,
				newest[uid],
			)
		}
	}

	// Without other writers, a list holds each item once.
	values.Del("cursor")
	values.Set("includeDeleted", "true")
	all := map[string]bool{}
	for _, it := range u.walk(t, e, values) {
		if all[it.UID] {
			t.Errorf("%s appears twice", it.UID)
		}
		all[it.UID] = true
	}
	for _, uid := range uids {
		if !all[uid] {
			t.Errorf("%s is missing", uid)
		}
	}
	for uid := range committed.versions {
		if !all[uid] {
			t.Errorf("%s was acknowledged and is missing", uid)
		}
	}
}

func inOrder(a, b item) bool {
	if at, bt := instant(a.UpdatedAt), instant(b.UpdatedAt); !at.Equal(bt) {
		return at.Before(bt)
	}
	return a.UID < b.UID
}

// inParallel runs do for 0 … n-1 on some goroutines.
func inParallel(goroutines, n int, do func(i int)) {
	work := make(chan int)
	var group sync.WaitGroup
	for range goroutines {
		group.Go(func() {
			for i := range work {
				do(i)
			}
		})
	}
	for i := range n {
		work <- i
	}
	close(work)
	group.Wait()
}

// allAtOnce starts n calls together and returns their answers by status.
func allAtOnce(n int, do func(i int) *answer) map[int][]*answer {
	start := make(chan struct{})
	answers := make([]*answer, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			<-start
			answers[i] = do(i)
		})
	}
	close(start)
	group.Wait()
	byStatus := map[int][]*answer{}
	for _, a := range answers {
		byStatus[a.status] = append(byStatus[a.status], a)
	}
	return byStatus
}

func counts(byStatus map[int][]*answer) string {
	var parts []string
	for _, status := range slices.Sorted(maps.Keys(byStatus)) {
		parts = append(
			parts,
			fmt.Sprintf("%d× %d %s", len(byStatus[status]), status, http.StatusText(status)),
		)
	}
	return strings.Join(parts, ", ")
}
