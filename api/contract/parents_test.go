package contract

import "testing"

// A wrong way to name a parent, and the fields that the refusal may name.
type badParent struct {
	why, members string
	fields       []string
}

// badParents lists every wrong parent that a comment or a chat message of u can have.
func badParents(t *testing.T, u *user, e entity) []badParent {
	t.Helper()
	others := []*user{u.api.userOf(t, u.tenant, freshName("user"))}
	if u.api.tenantSecret != "" {
		others = append(others, u.api.userOf(t, freshName("tenant"), u.sub))
	}
	note, task, chat := u.note(t), u.task(t), u.chat(t)
	deadNote, deadTask, deadChat := u.note(t), u.task(t), u.chat(t)
	u.remove(t, entityNamed("notes"), deadNote)
	u.remove(t, entityNamed("tasks"), deadTask)
	u.remove(t, entityNamed("chats"), deadChat)

	uid := func(why, members string) badParent {
		return badParent{why, members, []string{"parentUid"}}
	}
	kind := func(why, members string) badParent {
		return badParent{why, members, []string{"parentType"}}
	}
	in := func(why, members string) badParent {
		return badParent{why, members, []string{"chatUid"}}
	}
	var rows []badParent
	switch e.name {
	case "comments":
		comment := u.call(t, "POST", e.path(), object(commentOn("note", note))).
			want(t, 201).
			item(t).
			UID
		rows = []badParent{
			{"both missing", ``, []string{"parentType", "parentUid"}},
			{
				"both null",
				`"parentType":null,"parentUid":null`,
				[]string{"parentType", "parentUid"},
			},
			kind("type missing", `"parentUid":"`+note+`"`),
			kind("type null", `"parentType":null,"parentUid":"`+note+`"`),
			kind("type empty", commentOn("", note)),
			kind("type a number", `"parentType":1,"parentUid":"`+note+`"`),
			kind("type a list", `"parentType":["note"],"parentUid":"`+note+`"`),
			kind("a chat", commentOn("chat", chat)),
			kind("a comment", commentOn("comment", comment)),
			kind("plural type", commentOn("notes", note)),
			kind("type in upper case", commentOn("Note", note)),
			kind("type with a space", commentOn("note ", note)),
			uid("uid missing", `"parentType":"note"`),
			uid("uid null", `"parentType":"note","parentUid":null`),
			uid("uid empty", commentOn("note", "")),
			uid("uid a number", `"parentType":"note","parentUid":7`),
			uid("uid an object", `"parentType":"note","parentUid":{"uid":"`+note+`"}`),
			uid("no UUID", commentOn("note", "x")),
			uid("unknown note", commentOn("note", newUID())),
			uid("unknown task", commentOn("task", newUID())),
			uid("deleted note", commentOn("note", deadNote)),
			uid("deleted task", commentOn("task", deadTask)),
			uid("a task as a note", commentOn("note", task)),
			uid("a note as a task", commentOn("task", note)),
			uid("a chat as a note", commentOn("note", chat)),
			uid("a comment as a note", commentOn("note", comment)),
		}
		for _, other := range others {
			rows = append(rows,
				uid("another user's note", commentOn("note", other.note(t))),
				uid("another user's task", commentOn("task", other.task(t))))
		}
	case "chat_messages":
		message := u.call(t, "POST", e.path(), object(messageIn(chat))).want(t, 201).item(t).UID
		rows = []badParent{
			in("missing", ``),
			in("null", `"chatUid":null`),
			in("empty", messageIn("")),
			in("a number", `"chatUid":7`),
			in("a list", `"chatUid":["`+chat+`"]`),
			in("no UUID", messageIn("x")),
			in("unknown chat", messageIn(newUID())),
			in("deleted chat", messageIn(deadChat)),
			in("a note", messageIn(note)),
			in("a message", messageIn(message)),
			in("named as a comment's parent", commentOn("note", note)),
		}
		for _, other := range others {
			rows = append(rows, in("another user's chat", messageIn(other.chat(t))))
		}
	}
	return rows
}

func onEachChild(t *testing.T, test func(t *testing.T, api *server, e entity)) {
	t.Helper()
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		if e.parent(t, api.user(t)) == "" {
			t.SkipNow() // has no parent
		}
		test(t, api, e)
	})
}

func TestAMissingOrDeadParentIs422NamingTheField(t *testing.T) {
	onEachChild(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		it := u.create(t, e, `"title":"stays"`)
		before := u.raw(t, e, it.UID)
		items := len(u.list(t, e, "").items)
		for i, row := range badParents(t, u, e) {
			if i == 0 {
				items = len(u.list(t, e, "").items) // badParents made one too
			}
			t.Run(row.why, func(t *testing.T) {
				u.call(t, "POST", e.path(), object(`"title":"x"`, row.members)).
					wantParent(t, row.fields...)
				u.call(t, "PUT", e.path("/", it.UID), object(`"title":"x"`, row.members)).
					wantParent(t, row.fields...)
			})
		}
		if after := u.raw(t, e, it.UID); after != before {
			t.Errorf("refused writes changed the item\n%s\n%s", before, after)
		}
		if n := len(u.list(t, e, "").items); n != items {
			t.Errorf("refused creates left %d items, want %d", n, items)
		}
	})
}

func TestAPatchIsHeldToTheParentWhenItNamesIt(t *testing.T) {
	onEachChild(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		it := u.create(t, e)
		before := u.raw(t, e, it.UID)
		for _, row := range badParents(t, u, e) {
			// What a patch leaves out stays as it was; so only rows that name what is wrong are
			// wrong here.
			switch row.why {
			case "both missing",
				"type missing",
				"uid missing",
				"missing",
				"named as a comment's parent":
				continue
			}
			t.Run(row.why, func(t *testing.T) {
				u.call(t, "PATCH", e.path("/", it.UID), object(`"title":"x"`, row.members)).
					wantParent(t, row.fields...)
			})
		}
		if after := u.raw(t, e, it.UID); after != before {
			t.Errorf("refused patches changed the item\n%s\n%s", before, after)
		}
		u.call(t, "PATCH", e.path("/", it.UID), `{"title":"y"}`).want(t, 200)
	})
}

// A patch that names half of a comment's parent is judged together with the half that is stored.
func TestAPatchOfHalfAParentIsJudgedWithTheOtherHalf(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		u := api.user(t)
		comments := entityNamed("comments")
		it := u.call(t, "POST", comments.path(), object(commentOn("note", u.note(t)))).
			want(t, 201).
			item(t)
		path := comments.path("/", it.UID)
		u.call(t, "PATCH", path, `{"parentType":"task"}`).wantParent(t, "parentUid", "parentType")
		u.call(t, "PATCH", path, `{"parentUid":"`+u.task(t)+`"}`).
			wantParent(t, "parentUid", "parentType")
		other := u.note(t)
		u.call(t, "PATCH", path, `{"parentUid":"`+other+`"}`).
			want(t, 200).
			item(t).
			wantMember(t, "parentUid", `"`+other+`"`)
		u.call(t, "PATCH", path, `{"parentType":"note"}`).want(t, 200)
	})
}

func TestAChildMayMoveToAnotherLiveParent(t *testing.T) {
	onEachChild(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		it := u.create(t, e)
		for _, method := range []string{"PUT", "PATCH"} {
			parent := e.parent(t, u)
			moved := u.call(t, method, e.path("/", it.UID), object(parent)).want(t, 200).item(t)
			named, err := members([]byte(object(parent)))
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range named {
				moved.wantMember(t, m.name, string(m.value))
			}
		}
	})
}

func TestCommentsMayHangOnNotesAndTasks(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		u := api.user(t)
		comments := entityNamed("comments")
		for _, parent := range []string{
			commentOn("note", u.note(t)), commentOn("task", u.task(t)),
		} {
			it := u.call(t, "POST", comments.path(), object(parent)).want(t, 201).item(t)
			u.call(t, "PUT", comments.path("/", it.UID), object(`"title":"x"`, parent)).want(t, 200)
		}
	})
}

func TestAnOrphanMayBeDeletedArchivedAndProcessedButNotRewritten(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		for _, row := range []struct{ child, parent, kind string }{
			{"comments", "notes", "note"}, {"comments", "tasks", "task"},
			{"chat_messages", "chats", ""},
		} {
			u := api.user(t)
			e, holder := entityNamed(row.child), entityNamed(row.parent)
			parentUID := u.create(t, holder).UID
			names, fields := messageIn(parentUID), []string{"chatUid"}
			if row.kind != "" {
				names, fields = commentOn(row.kind, parentUID), []string{"parentUid"}
			}
			it := u.call(t, "POST", e.path(), object(`"title":"x"`, names)).want(t, 201).item(t)

			// An archived parent is alive.
			u.call(t, "POST", holder.path("/", parentUID, "/archive"), nil).want(t, 200)
			u.call(t, "PUT", e.path("/", it.UID), object(names)).want(t, 200)

			u.remove(t, holder, parentUID)
			if got := u.get(t, e, it.UID); got.Version != 2 || got.DeletedAt != nil {
				t.Errorf("deleting the parent changed the child: %+v", got)
			}
			u.call(t, "POST", e.path(), object(names)).wantParent(t, fields...)
			u.call(t, "PUT", e.path("/", it.UID), object(names)).wantParent(t, fields...)
			u.call(t, "PATCH", e.path("/", it.UID), object(names)).wantParent(t, fields...)

			u.call(t, "PATCH", e.path("/", it.UID), `{"title":"y"}`).want(t, 200)
			u.call(t, "POST", e.path("/", it.UID, "/archive"), nil).want(t, 200)
			for _, act := range e.actions {
				u.call(t, "POST", e.path("/", it.UID, "/process"), `{"action":"`+act.name+`"}`).
					want(t, 200)
			}
			u.remove(t, e, it.UID)
		}
	})
}

// A parent is deleted while children are written: no child is accepted after the deletion.
func TestNothingIsWrittenBelowAParentAfterItsEnd(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		u := api.user(t)
		for _, row := range []struct{ child, parent string }{
			{"comments", "notes"}, {"chat_messages", "chats"},
		} {
			e, holder := entityNamed(row.child), entityNamed(row.parent)
			for range 5 {
				parentUID := u.create(t, holder).UID
				names := messageIn(parentUID)
				if row.child == "comments" {
					names = commentOn("note", parentUID)
				}
				results := allAtOnce(24, func(i int) *answer {
					if i == 12 {
						return u.call(t, "DELETE", holder.path("/", parentUID), nil)
					}
					return u.call(t, "POST", e.path(), object(names))
				})
				if len(results[200]) != 1 ||
					len(results[200])+len(results[201])+len(results[422])+len(results[500]) != 24 {
					t.Fatalf(
						"want one 200, and 201 or 422 from all others, got %s",
						counts(results),
					)
				}
				ended := results[200][0].item(t)
				for _, a := range results[201] {
					if made := a.item(t); instant(made.UpdatedAt).After(instant(ended.UpdatedAt)) {
						t.Errorf(
							"%s was made at %s below a parent that ended at %s",
							made.UID,
							made.UpdatedAt,
							ended.UpdatedAt,
						)
					}
				}
			}
		}
	})
}
