package contract

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

type versions struct {
	Versions []struct {
		Version     int64
		UpdatedAt   string
		Operation   string
		FromVersion int64
		DeletedAt   string
		Bytes       int
		Changed     []string
		ChangedMore int
	}
	NextBefore int64
}

func (u *user) versions(t testing.TB, e entity, uid, query string) versions {
	t.Helper()
	var v versions
	u.call(t, "GET", e.path("/", uid, "/versions", query), nil).want(t, 200).decode(t, &v)
	return v
}

func (u *user) restore(t testing.TB, e entity, uid, body string, edits ...edit) *answer {
	t.Helper()
	return u.call(t, "POST", e.path("/", uid, "/restore"), orNil(body), edits...)
}

// Every write leaves a version, which says what it did and is read as it was.
func TestEveryWriteLeavesAVersion(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		wantFeature(t, api, "versions")
		u := api.user(t)
		parent := e.parent(t, u)
		first := u.call(t, "POST", e.path(), object(`"title":"one","n":1.0`, parent)).want(t, 201)
		uid := first.item(t).UID
		states := []string{string(first.body)}
		for _, w := range []route{
			{"patch", "PATCH", e.path("/", uid), `{"title":"two","x":"é"}`},
			{"replace", "PUT", e.path("/", uid), object(`"title":"three"`, parent)},
			{"archive", "POST", e.path("/", uid, "/archive"), ""},
			{
				"process", "POST", e.path("/", uid, "/process"),
				`{"action":"` + e.actions[0].name + `"}`,
			},
			{"delete", "DELETE", e.path("/", uid), ""},
			{"restore", "POST", e.path("/", uid, "/restore"), ""},
			{"restore", "POST", e.path("/", uid, "/restore"), `{"toVersion":2}`},
		} {
			states = append(states, string(w.call(t, u).want(t, 200).body))
		}
		got := u.versions(t, e, uid, "")
		if len(got.Versions) != len(states) || got.NextBefore != 0 {
			t.Fatalf("%d versions of %d: %+v", len(got.Versions), len(states), got)
		}
		operations := []string{
			"restore",
			"restore",
			"delete",
			"process",
			"archive",
			"replace",
			"patch",
			"create",
		}
		for n, v := range got.Versions {
			want := int64(len(states) - n)
			if v.Version != want || v.Operation != operations[n] ||
				(v.DeletedAt != "") != (v.Version == 6) {
				t.Errorf("version %d: %+v", want, v)
			}
			if v.FromVersion != 0 != (v.Version == 8) {
				t.Errorf("from version: %+v", v)
			}
			a := u.call(
				t, "GET", e.path("/", uid, "/versions/", strconv.FormatInt(v.Version, 10)), nil,
			).want(t, 200)
			a.item(t)
			if want := states[v.Version-1]; string(a.body) != want {
				t.Errorf("version %d is\n%s\nwas\n%s", v.Version, a.body, want)
			}
		}
		if changed := got.Versions[6].Changed; !slices.Equal(changed, []string{"title", "x"}) {
			t.Errorf("the patch changed %q", changed)
		}
		if changed := got.Versions[5].Changed; !slices.Equal(changed, []string{"n", "title", "x"}) {
			t.Errorf("the replacement changed %q", changed)
		}
		u.get(t, e, uid).wantMember(t, "title", `"two"`)
		// In pages they are the same.
		var pages []int64
		for before := ""; ; {
			page := u.versions(t, e, uid, "?limit=3"+before)
			for n, v := range page.Versions {
				pages = append(pages, v.Version)
				if full := got.Versions[len(pages)-1]; !slices.Equal(v.Changed, full.Changed) {
					t.Errorf(
						"version %d of a page changed %q, %q in the whole list (%d)",
						v.Version,
						v.Changed,
						full.Changed,
						n,
					)
				}
			}
			if page.NextBefore == 0 {
				break
			}
			before = fmt.Sprintf("&before=%d", page.NextBefore)
		}
		if !slices.Equal(pages, []int64{8, 7, 6, 5, 4, 3, 2, 1}) {
			t.Errorf("pages have %v", pages)
		}
	})
}

// A restore of what was deleted has the same uid and creation time, and what belongs to it is
// there. Undone and redone, it ends where it was.
func TestARestoreBringsBackTheItemAndItsChildren(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		wantFeature(t, api, "versions")
		u := api.user(t)
		notes, comments := entityNamed("notes"), entityNamed("comments")
		note := u.create(t, notes, `"title":"a harbour"`)
		comment := u.call(
			t, "POST", comments.path(), object(`"content":"about it"`, commentOn("note", note.UID)),
		).want(t, 201).item(t)
		u.remove(t, notes, note.UID)
		if f := u.search(t, arguments{"query": "harbour"}); f.Total != 0 {
			t.Errorf("a deleted item is found")
		}
		back := u.restore(t, notes, note.UID, "").want(t, 200).item(t)
		if back.UID != note.UID || back.Version != 3 || back.CreatedAt != note.CreatedAt ||
			back.DeletedAt != nil {
			t.Errorf("restored: %+v", back)
		}
		if f := u.search(t, arguments{"query": "harbour"}); f.Total != 1 {
			t.Errorf("a restored item is found %d times", f.Total)
		}
		u.call(t, "PATCH", comments.path("/", comment.UID), object(commentOn("note", note.UID))).
			want(t, 200)
		page := u.list(t, comments, "parentUid="+note.UID)
		if len(page.items) != 1 {
			t.Errorf("%d comments after the restore", len(page.items))
		}
		// A restore is undone like any other write.
		u.call(t, "PATCH", notes.path("/", note.UID), `{"title":"b"}`).want(t, 200)
		u.restore(t, notes, note.UID, `{"toVersion":1}`).
			want(t, 200).
			item(t).
			wantMember(t, "title", `"a harbour"`)
		u.restore(t, notes, note.UID, `{"toVersion":4}`).
			want(t, 200).
			item(t).
			wantMember(t, "title", `"b"`)
	})
}

// What may not be restored changes nothing and says why.
func TestARestoreIsRefused(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		wantFeature(t, api, "versions")
		u := api.user(t)
		notes, comments := entityNamed("notes"), entityNamed("comments")
		note := u.create(t, notes, `"title":"a"`)
		comment := u.call(t, "POST", comments.path(), object(commentOn("note", note.UID))).
			want(t, 201).
			item(t)
		u.remove(t, comments, comment.UID)
		u.remove(t, notes, note.UID)
		u.restore(t, notes, note.UID, `{"toVersion":1}`, ifMatch(1)).
			wantError(t, 412, "version mismatch: expected 1, actual 2")
		u.restore(t, comments, comment.UID, "").wantParent(t, "parentUid")
		for body, field := range map[string]string{
			`{"toVersion":2}`:   "toVersion",
			`{"toVersion":0}`:   "toVersion",
			`{"toVersion":1.5}`: "toVersion",
			`{"toVersion":"1"}`: "toVersion",
			`{"tooVersion":1}`:  "tooVersion",
		} {
			a := u.restore(t, notes, note.UID, body).want(t, 400)
			if got := a.field(t, "field"); got != `"`+field+`"` {
				t.Errorf("%s: field %s", body, got)
			}
		}
		u.restore(t, notes, note.UID, `[]`).want(t, 400)
		u.restore(t, notes, note.UID, `{"toVersion":9}`).want(t, 404)
		u.restore(t, notes, newUID(), "").wantError(t, 404, "note not found")
		u.restore(t, notes, "x", "").want(t, 400)
		if got := u.version(t, notes, note.UID); got != 2 {
			t.Errorf("refused restores made version %d", got)
		}
		u.restore(t, notes, note.UID, `{"toVersion":null}`, ifMatch(2)).want(t, 200)
		u.restore(t, notes, note.UID, "").want(t, 400) // it lives
		u.restore(t, comments, comment.UID, "").want(t, 200)
		for _, query := range []string{
			"?limit=0", "?limit=x", "?before=0", "?before=-1", "?limit=1&limit=2",
		} {
			u.call(t, "GET", notes.path("/", note.UID, "/versions", query), nil).check(t, 400)
		}
		for _, version := range []string{"0", "x", "-1", "99999999999999999999"} {
			u.call(t, "GET", notes.path("/", note.UID, "/versions/", version), nil).check(t, 400)
		}
		u.call(t, "GET", notes.path("/", note.UID, "/versions/9"), nil).want(t, 404)
		u.call(t, "GET", notes.path("/", newUID(), "/versions"), nil).
			wantError(t, 404, "note not found")
		u.call(t, "GET", notes.path("/", newUID(), "/versions/1"), nil).
			wantError(t, 404, "note not found")
	})
}

// Versions of others are not found, by any route, and a wipe takes one's own.
func TestVersionsOfOthersAreNotFound(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		wantFeature(t, api, "versions")
		notes := entityNamed("notes")
		users := fourUsers(t, api)
		has := map[string]string{}
		for name, u := range users {
			has[name] = u.create(t, notes, `"title":"of `+name+`"`).UID
			u.call(t, "PATCH", notes.path("/", has[name]), `{"title":"late"}`).want(t, 200)
		}
		for attacker, u := range users {
			for victim, uid := range has {
				status := 404
				if attacker == victim {
					status = 200
				}
				u.call(t, "GET", notes.path("/", uid, "/versions"), nil).check(t, status)
				u.call(t, "GET", notes.path("/", uid, "/versions/1"), nil).check(t, status)
				u.restore(t, notes, uid, `{"toVersion":1}`).check(t, status)
			}
		}
		for name, u := range users {
			if got := u.version(t, notes, has[name]); got != 3 {
				t.Errorf("%s is at version %d", name, got)
			}
			u.call(t, "POST", "/v1/sync/wipe", `{"confirm":"WIPE"}`).want(t, 200)
			u.open(t)
			u.call(t, "GET", notes.path("/", has[name], "/versions"), nil).check(t, 404)
			u.restore(t, notes, has[name], "").check(t, 404)
			u.call(t, "POST", "/v1/notes", object(`"uid":"`+has[name]+`"`)).want(t, 201)
			if v := u.versions(t, notes, has[name], ""); len(v.Versions) != 1 {
				t.Errorf("%d versions after a wipe", len(v.Versions))
			}
		}
	})
}

// Writers, deleters and restorers of one item: every version is there, and none twice.
func TestVersionsAmongWriters(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		wantFeature(t, api, "versions")
		u := api.user(t)
		notes := entityNamed("notes")
		uid := u.create(t, notes, `"n":0`).UID
		results := allAtOnce(writers, func(n int) *answer {
			switch n % 4 {
			case 0:
				return u.call(t, "DELETE", notes.path("/", uid), nil)
			case 1:
				return u.restore(t, notes, uid, "")
			case 2:
				return u.restore(t, notes, uid, `{"toVersion":1}`)
			}
			return u.call(t, "PATCH", notes.path("/", uid), fmt.Sprintf(`{"n":%d}`, n))
		})
		for status := range results {
			if status != 200 && status != 400 && status != 410 {
				t.Errorf("status %d", status)
			}
		}
		got := u.versions(t, notes, uid, "?limit=100").Versions
		if len(got) != len(results[200])+1 {
			t.Errorf("%d versions after %d writes", len(got), len(results[200]))
		}
		for _, a := range results[200] {
			it, err := readItem(a.body)
			if err != nil {
				t.Fatal(err)
			}
			b := u.call(
				t, "GET", notes.path("/", uid, "/versions/", strconv.FormatInt(it.Version, 10)),
				nil,
			).want(t, 200)
			if string(b.body) != string(a.body) {
				t.Errorf("version %d is\n%s\nwas answered\n%s", it.Version, b.body, a.body)
			}
		}
	})
}

// A history of large texts is read within the memory of a request, and its size is bounded.
func TestVersionsOfALargeText(t *testing.T) {
	onOwn(
		t,
		settings{"RATE_LIMIT_PER_MINUTE": "0", "VERSIONS_PER_ITEM": "12", plainBuild: "1"},
		func(t *testing.T, api *server) {
			u := api.user(t)
			notes := entityNamed("notes")
			text := strings.Repeat("Some words that were written once. ", 27_000)
			uid := u.create(t, notes, `"text":"`+text+`"`).UID
			for n := range 20 {
				u.call(t, "PATCH", notes.path("/", uid), fmt.Sprintf(`{"n":%d}`, n)).want(t, 200)
			}
			v := u.versions(t, notes, uid, "?limit=100")
			if len(v.Versions) != 13 || v.Versions[0].Version != 21 {
				t.Errorf("%d versions from %d", len(v.Versions), v.Versions[0].Version)
			}
			got := u.restore(t, notes, uid, `{"toVersion":10}`).want(t, 200).item(t)
			got.wantMember(t, "n", "8")
			var payload struct{ Text string }
			if err := json.Unmarshal(got.Payload, &payload); err != nil || payload.Text != text {
				t.Errorf("the text is not as it was: %d bytes, %v", len(payload.Text), err)
			}
			u.restore(t, notes, uid, `{"toVersion":3}`).want(t, 404)
			if peak := api.peakMemory(t); peak > mostResident {
				t.Errorf("the server had %d MiB", peak>>20)
			}
		},
	)
}
