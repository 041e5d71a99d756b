package contract

import (
	"strings"
	"testing"
)

// An entity is one row of the table that most tests run through; a new entity is one more row.
type entity struct {
	name     string // in paths
	key      string // in the answer of a wipe
	singular string // in messages
	actions  []action
	archive  effect
	// parent makes a live parent and returns the members that a payload needs to name it.
	parent func(t testing.TB, u *user) string
}

// An action of the process route.
type action struct {
	name string
	effect
}

// An effect is a member of the payload after an action or an archive, as JSON.
type effect struct{ member, value string }

var entities = []entity{
	{
		name: "notes", key: "note", singular: "note",
		actions: []action{
			{"pin", effect{"pinned", `true`}},
			{"unpin", effect{"pinned", `false`}},
			{"archive", effect{"status", `"archived"`}},
			{"unarchive", effect{"status", `"active"`}},
		},
		archive: effect{"status", `"archived"`},
		parent:  noParent,
	},
	{
		name: "tasks", key: "task", singular: "task",
		actions: []action{
			{"start", effect{"status", `"in_progress"`}},
			{"complete", effect{"status", `"completed"`}},
			{"reopen", effect{"status", `"open"`}},
		},
		archive: effect{"status", `"archived"`},
		parent:  noParent,
	},
	{
		name: "comments", key: "comment", singular: "comment",
		actions: []action{
			{"resolve", effect{"status", `"resolved"`}},
			{"reopen", effect{"status", `"open"`}},
		},
		archive: effect{"status", `"archived"`},
		parent: func(t testing.TB, u *user) string {
			return commentOn("note", u.note(t))
		},
	},
	{
		name: "chats", key: "chat", singular: "chat",
		actions: []action{
			{"resolve", effect{"status", `"resolved"`}},
			{"reopen", effect{"status", `"active"`}},
		},
		archive: effect{"archived", `true`},
		parent:  noParent,
	},
	{
		name: "chat_messages", key: "chat_message", singular: "chat message",
		actions: []action{
			{"mark_read", effect{"read", `true`}},
			{"mark_delivered", effect{"delivered", `true`}},
		},
		archive: effect{"archived", `true`},
		parent: func(t testing.TB, u *user) string {
			return messageIn(u.chat(t))
		},
	},
}

func noParent(testing.TB, *user) string { return "" }

func commentOn(kind, uid string) string {
	return `"parentType":"` + kind + `","parentUid":"` + uid + `"`
}

func messageIn(chat string) string { return `"chatUid":"` + chat + `"` }

// note, task and chat make an item and return its uid, for those who need a parent.
func (u *user) note(t testing.TB) string { t.Helper(); return u.made(t, "/v1/notes") }
func (u *user) task(t testing.TB) string { t.Helper(); return u.made(t, "/v1/tasks") }
func (u *user) chat(t testing.TB) string { t.Helper(); return u.made(t, "/v1/chats") }

func (u *user) made(t testing.TB, path string) string {
	t.Helper()
	return u.call(t, "POST", path, `{"title":"parent"}`).want(t, 201).item(t).UID
}

func entityNamed(name string) entity {
	for _, e := range entities {
		if e.name == name {
			return e
		}
	}
	panic("no entity " + name)
}

func (e entity) path(rest ...string) string { return "/v1/" + e.name + strings.Join(rest, "") }

// object joins members into a JSON object; empty ones fall away.
func object(members ...string) string {
	var present []string
	for _, m := range members {
		if m != "" {
			present = append(present, m)
		}
	}
	return "{" + strings.Join(present, ",") + "}"
}

// create makes an item with the given members, and a parent of its own where one is needed.
func (u *user) create(t testing.TB, e entity, members ...string) item {
	t.Helper()
	body := object(append(members, e.parent(t, u))...)
	return u.call(t, "POST", e.path(), body).want(t, 201).item(t)
}

func (u *user) get(t testing.TB, e entity, uid string) item {
	t.Helper()
	return u.call(t, "GET", e.path("/", uid), nil).want(t, 200).item(t)
}

func (u *user) remove(t testing.TB, e entity, uid string) item {
	t.Helper()
	return u.call(t, "DELETE", e.path("/", uid), nil).want(t, 200).item(t)
}

// raw is the item's body as the server sends it, tombstones included, to see that nothing changed.
func (u *user) raw(t testing.TB, e entity, uid string) string {
	t.Helper()
	return string(u.call(t, "GET", e.path("/", uid, "?includeDeleted=true"), nil).want(t, 200).body)
}

// A route of an entity, with a body that the server would accept.
type route struct {
	name, method, path, body string
}

func (r route) call(t testing.TB, u *user, edits ...edit) *answer {
	t.Helper()
	if r.body == "" {
		return u.call(t, r.method, r.path, nil, edits...)
	}
	return u.call(t, r.method, r.path, r.body, edits...)
}

// itemRoutes are all routes of one item; parent is what its payload needs.
func (e entity) itemRoutes(uid, parent string) []route {
	path := e.path("/", uid)
	return []route{
		{"get", "GET", path, ""},
		{"put", "PUT", path, object(`"title":"changed"`, parent)},
		{"patch", "PATCH", path, object(`"title":"changed"`)},
		{"delete", "DELETE", path, ""},
		{"archive", "POST", path + "/archive", ""},
		{"process", "POST", path + "/process", `{"action":"` + e.actions[0].name + `"}`},
	}
}

// writeRoutes are the routes that change one item, deleting last.
func (e entity) writeRoutes(uid, parent string) []route {
	var last, writes []route
	for _, r := range e.itemRoutes(uid, parent) {
		switch r.name {
		case "get":
		case "delete":
			last = append(last, r)
		default:
			writes = append(writes, r)
		}
	}
	return append(writes, last...)
}

// routes are all routes of the entity.
func (e entity) routes(uid, parent string) []route {
	return append([]route{
		{"list", "GET", e.path(), ""},
		{"create", "POST", e.path(), object(`"title":"made"`, parent)},
	}, e.itemRoutes(uid, parent)...)
}
