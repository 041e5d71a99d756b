package contract

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

type outcomes struct {
	Atomic, DryRun bool
	Done, Failed   int
	Results        []struct {
		Index     int
		Op        string
		Kind      string
		UID       string
		Status    int
		Version   int64
		UpdatedAt string
		DeletedAt string
		Error     string
		Field     string
		Count     int
	}
}

// batch sends operations, and further members of the body.
func (u *user) batch(t testing.TB, operations []string, rest string, edits ...edit) *answer {
	t.Helper()
	return u.call(
		t,
		"POST",
		"/v1/batch",
		object(`"operations":[`+strings.Join(operations, ",")+`]`, rest),
		edits...)
}

func (a *answer) outcomes(t testing.TB) outcomes {
	t.Helper()
	var o outcomes
	a.want(t, 200).decode(t, &o)
	return o
}

func key(k string) edit { return with("Idempotency-Key", k) }

// counts of all items of a user, deleted ones too.
func (u *user) everything(t testing.TB) string {
	t.Helper()
	var all []string
	for _, e := range entities {
		all = append(
			all,
			string(
				u.call(t, "GET", e.path("?limit=1000&includeDeleted=true"), nil).want(t, 200).body,
			),
		)
	}
	return strings.Join(all, "\n")
}

// Every operation does what its route does, in the order of the list, and sees what those before it
// did.
func TestABatchDoesWhatItsOperationsSay(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		wantFeature(t, api, "batch")
		u := api.user(t)
		old, gone, back := u.note(t), u.task(t), u.note(t)
		u.remove(t, entityNamed("notes"), back)
		note, comment, chat, message := newUID(), newUID(), newUID(), newUID()
		text := `# One\r\na\r\n## Two\r\nb\r\n`
		o := u.batch(t, []string{
			`{"op":"create","kind":"note","uid":"` + note +
				`","fields":{"title":"N","n":1.0,"content":"` + text + `","tags":["x","<y>"]}}`,
			`{"op":"create","kind":"comment","uid":"` + comment +
				`","fields":{"parentType":"note","parentUid":"` + note + `"}}`,
			`{"op":"create","kind":"chat","uid":"` + chat + `","fields":{}}`,
			`{"op":"create","kind":"chat_message","uid":"` + message + `","fields":{"chatUid":"` +
				chat + `","content":"hi"},"text":null}`,
			`{"op":"patch","kind":"note","uid":"` + note +
				`","updates":{"extra":null},"ifMatch":1}`,
			`{"op":"tag","kind":"note","uid":"` + note +
				`","addTags":["z","x"],"removeTags":["<y>","none"]}`,
			`{"op":"edit","kind":"note","uid":"` + note + `","operation":"append","text":"c & d"}`,
			`{"op":"edit","kind":"note","uid":"` + note +
				`","operation":"replace_section","heading":"Two","text":"new"}`,
			`{"op":"edit","kind":"note","uid":"` + note +
				`","operation":"replace","find":"N","text":"M","field":"title"}`,
			`{"op":"process","kind":"note","uid":"` + note + `","action":"pin"}`,
			`{"op":"process","kind":"chat_message","uid":"` + message + `","action":"mark_read"}`,
			`{"op":"archive","kind":"comment","uid":"` + comment + `"}`,
			`{"op":"delete","kind":"task","uid":"` + gone + `"}`,
			`{"op":"restore","kind":"note","uid":"` + back + `"}`,
			`{"op":"patch","kind":"note","uid":"` + old + `","updates":{"title":"changed"}}`,
			`{"op":"restore","kind":"note","uid":"` + old + `","toVersion":1}`,
			`{"op":"create","kind":"task","fields":{"title":"no uid"}}`,
		}, "").outcomes(t)
		if !o.Atomic || o.DryRun || o.Done != 17 || o.Failed != 0 || len(o.Results) != 17 {
			t.Fatalf("%+v", o)
		}
		versions := []int64{1, 1, 1, 1, 2, 3, 4, 5, 6, 7, 2, 2, 2, 3, 2, 3, 1}
		for n, r := range o.Results {
			if r.Index != n || r.Version != versions[n] ||
				(r.Status != 200) != (r.Op == "create") ||
				(r.DeletedAt != "") != (r.Op == "delete") {
				t.Errorf("operation %d: %+v", n, r)
			}
			if n > 0 && !instant(r.UpdatedAt).After(instant(o.Results[n-1].UpdatedAt)) {
				t.Errorf(
					"operation %d has the time %s, the one before it %s",
					n,
					r.UpdatedAt,
					o.Results[n-1].UpdatedAt,
				)
			}
		}
		notes := entityNamed("notes")
		got := u.get(t, notes, note)
		got.wantMember(t, "title", `"M"`)
		got.wantMember(t, "n", `1.0`)
		got.wantMember(t, "extra", `null`)
		got.wantMember(t, "tags", `["x","z"]`)
		got.wantMember(t, "content", `"# One\r\na\r\n## Two\r\nnew"`)
		got.wantMember(t, "pinned", `true`)
		u.get(t, notes, old).wantMember(t, "title", `"parent"`)
		u.get(t, notes, back)
		u.call(t, "GET", "/v1/tasks/"+gone, nil).want(t, 410)
		u.get(t, entityNamed("chat_messages"), message).wantMember(t, "read", `true`)
		u.get(t, entityNamed("comments"), comment).wantMember(t, "status", `"archived"`)
		u.get(t, entityNamed("tasks"), o.Results[16].UID).wantMember(t, "title", `"no uid"`)
		if f := u.search(t, arguments{"query": "new", "tags": []string{"z"}}); f.Total != 1 {
			t.Errorf("found %d times", f.Total)
		}
		var operations []string
		for _, v := range u.versions(t, notes, note, "").Versions {
			operations = append(operations, v.Operation)
		}
		want := []string{"process", "edit", "edit", "edit", "tag", "patch", "create"}
		if !slices.Equal(operations, want) {
			t.Errorf("versions %v", operations)
		}
	})
}

// One refused operation undoes all of an atomic batch, and is named; without atomic, only that one
// is left out. A dry run says the same and changes nothing.
func TestARefusedOperation(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		wantFeature(t, api, "batch")
		u := api.user(t)
		note, dead := u.note(t), u.note(t)
		u.remove(t, entityNamed("notes"), dead)
		fine := `{"op":"create","kind":"note","fields":{"title":"fine"}}`
		of := func(op, uid, rest string) string {
			return object(`"op":"`+op+`","kind":"note","uid":"`+uid+`"`, rest)
		}
		for _, c := range []struct {
			operation string
			status    int
			field     string
		}{
			{of("patch", newUID(), `"updates":{}`), 404, ""},
			{of("delete", dead, ""), 410, ""},
			{of("patch", note, `"updates":{},"ifMatch":7`), 412, ""},
			{of("create", note, `"fields":{}`), 409, ""},
			{of("restore", note, ""), 400, "toVersion"},
			{of("restore", note, `"toVersion":9`), 404, "toVersion"},
			{
				of(
					"edit", note,
					`"operation":"replace","find":"nowhere","text":"x","field":"title"`,
				),
				422,
				"find",
			},
			{
				of("edit", note, `"operation":"replace","find":"r","text":"x","field":"title"`),
				0,
				"",
			},
			{
				of("edit", note, `"operation":"replace","find":"e","text":"x","field":"uid"`),
				422,
				"field",
			},
			{
				`{"op":"create","kind":"comment","fields":{"parentType":"note","parentUid":"` +
					dead + `"}}`,
				422,
				"parentUid",
			},
			{`{"op":"create","kind":"comment","fields":{}}`, 422, "parentType"},
			{of("patch", note, `"updates":{"big":"`+strings.Repeat("x", 900_000)+`"}`), 0, ""},
		} {
			before := u.everything(t)
			operations := []string{fine, c.operation, fine}
			dry := u.batch(t, operations, `"dryRun":true,"atomic":false`).outcomes(t)
			if dry.Done != 3-dry.Failed || !dry.DryRun || dry.Atomic {
				t.Errorf("dry run: %+v", dry)
			}
			if c.status == 0 {
				if dry.Failed != 0 {
					t.Errorf("%.200s: %+v", c.operation, dry)
				}
				u.batch(t, operations, `"dryRun":true`).outcomes(t)
			} else {
				for _, rest := range []string{"", `"dryRun":true`} {
					a := u.batch(t, operations, rest).want(t, 422)
					if a.field(t, "index") != "1" ||
						a.field(t, "operationStatus") != fmt.Sprint(c.status) ||
						c.field != "" && a.field(t, "field") != `"`+c.field+`"` {
						t.Errorf("%s\n%s", c.operation, a)
					}
				}
				if r := dry.Results[1]; r.Status != c.status || r.Field != c.field ||
					r.Error == "" {
					t.Errorf("%s: %+v", c.operation, r)
				}
			}
			if after := u.everything(t); after != before {
				t.Errorf("%.200s: something was changed", c.operation)
			}
			if c.status != 0 {
				o := u.batch(t, operations, `"atomic":false`).outcomes(t)
				if o.Done != 2 || o.Failed != 1 || o.Results[0].Status != 201 ||
					o.Results[2].Status != 201 {
					t.Errorf("%s: %+v", c.operation, o)
				}
			}
		}
	})
}

// What is wrong with a batch itself is 400 with its index, atomic or not.
func TestAMalformedBatch(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		wantFeature(t, api, "batch")
		u := api.user(t)
		note := u.note(t)
		before := u.everything(t)
		fine := `{"op":"create","kind":"note","fields":{}}`
		of := func(op, rest string) string {
			return object(`"op":"`+op+`","kind":"note","uid":"`+note+`"`, rest)
		}
		for _, operation := range []string{
			`7`, `null`, `[]`, `{}`, `{"op":"explode","kind":"note"}`,
			`{"op":"create","kind":"notes","fields":{}}`,
			`{"op":"create","kind":"note"}`, `{"op":"create","kind":"note","fields":[]}`,
			`{"op":"create","kind":"note","fields":{},"uid":"x"}`,
			`{"op":"patch","kind":"note","updates":{}}`,
			`{"op":"create","kind":"note","fields":{},"ifMatch":1}`,
			of("patch", ""), of("patch", `"updates":{},"fields":{}`),
			of("patch", `"updates":{},"ifMatch":0`),
			of("tag", ""), of("tag", `"addTags":"x"`), of("tag", `"addTags":[7]`), of("edit", ""),
			of("edit", `"operation":"cut"`), of("edit", `"operation":"replace","text":"x"`),
			of("edit", `"operation":"replace_section","text":"x"`),
			of("edit", `"operation":"append","text":7`),
			of("process", ""), of("process", `"action":"explode"`), of("delete", `"action":"pin"`),
			of("restore", `"toVersion":"1"`), of("delete", `"unknown":1`),
		} {
			for _, rest := range []string{"", `"atomic":false`} {
				a := u.batch(t, []string{fine, operation}, rest)
				if a.check(t, 400) && a.field(t, "index") != "1" {
					t.Errorf("%s\n%s", operation, a)
				}
			}
		}
		for _, body := range []string{
			`{}`, `{"operations":[]}`, `{"operations":{}}`, `{"operations":null}`,
			`{"operations":[` + fine + `],"atomic":"no"}`,
			`{"operations":[` + fine + `],"more":1}`, ``, `[]`,
			`{"operations":[` + strings.Repeat(fine+",", 100) + fine + `]}`,
		} {
			u.call(t, "POST", "/v1/batch", body).check(t, 400)
		}
		members := `{"op":"create","kind":"note","fields":{`
		for n := range 200 {
			members += fmt.Sprintf(`"m%d":1,`, n)
		}
		members = strings.TrimSuffix(members, ",") + `}}`
		u.call(t, "POST", "/v1/batch", `{"operations":[`+strings.Repeat(members+",", 60)+fine+`]}`).
			check(t, 413)
		for _, edits := range [][]edit{
			{key("")}, {key("a b")}, {key("é")}, {key(strings.Repeat("k", 256))},
			{with("Idempotency-Key", "a", "a")},
		} {
			u.batch(t, []string{fine}, "", edits...).check(t, 400)
		}
		if after := u.everything(t); after != before {
			t.Error("something was changed")
		}
		u.call(t, "POST", "/v1/batch", `{"operations":[`+strings.Repeat(fine+",", 99)+fine+`]}`).
			want(t, 200)
	})
}

// The answer to a key is given again, byte for byte, also by a server that was restarted after a
// kill; another batch with the key, and another user's, are other things.
func TestALostAnswerIsGivenAgain(t *testing.T) {
	onEachOurs(t, func(t *testing.T, b *backend) {
		api, err := startServer(b, settings{"RATE_LIMIT_PER_MINUTE": "0"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(api.kill)
		u := api.userOf(t, freshName("tenant"), freshName("user"))
		operations := []string{
			`{"op":"create","kind":"note","fields":{"title":"once"}}`,
			`{"op":"patch","kind":"note","uid":"` + newUID() + `","updates":{}}`,
		}
		first := u.batch(t, operations, `"atomic":false`, key("k1"))
		o := first.outcomes(t)
		if o.Done != 1 || o.Failed != 1 || first.header.Get("Idempotent-Replayed") != "" {
			t.Fatalf("%+v", o)
		}
		repeat := func(u *user) {
			t.Helper()
			again := u.batch(t, operations, `"atomic":false`, key("k1")).want(t, 200)
			if string(again.body) != string(first.body) ||
				again.header.Get("Idempotent-Replayed") != "true" {
				t.Errorf("first\n%s\nagain\n%s", first, again)
			}
			if n := len(u.list(t, entityNamed("notes"), "").items); n != 1 {
				t.Errorf("%d notes", n)
			}
		}
		repeat(u)
		u.batch(t, operations, "", key("k1")).wantError(t, 409, "idempotency_key_reused")
		u.batch(t, operations[:1], `"dryRun":true`, key("k1")).want(t, 200) // it needs no memory
		// What was refused is tried again.
		u.batch(t, operations, "", key("k2")).want(t, 422)
		u.batch(t, operations[:1], "", key("k2")).want(t, 200)
		other := api.userOf(t, u.tenant, freshName("user"))
		theirs := other.batch(t, operations, `"atomic":false`, key("k1")).want(t, 200)
		if string(theirs.body) == string(first.body) {
			t.Error("another user has the answer")
		}
		u.call(t, "DELETE", "/v1/notes/"+first.outcomes(t).Results[0].UID, nil).want(t, 200)

		api.kill()
		again, err := startServer(b, api.env)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(again.kill)
		u = again.userOf(t, u.tenant, u.sub)
		repeat(u)
		u.call(t, "POST", "/v1/sync/wipe", `{"confirm":"WIPE"}`).want(t, 200)
		u.open(t)
		wiped := u.batch(t, operations, `"atomic":false`, key("k1")).want(t, 200)
		if string(wiped.body) == string(first.body) {
			t.Error("a wipe leaves the answer")
		}
		if err := again.stop(); err != nil {
			t.Error(err)
		}
	})
}

// Of many who send the same key at once, one writes.
func TestTheSameKeyAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		wantFeature(t, api, "batch")
		u := api.user(t)
		bodies := map[string]int{}
		for _, a := range allAtOnce(writers, func(int) *answer {
			return u.batch(
				t, []string{`{"op":"create","kind":"note","fields":{}}`}, "", key("same"),
			)
		})[200] {
			bodies[string(a.body)]++
		}
		if len(bodies) != 1 || len(u.list(t, entityNamed("notes"), "").items) != 1 {
			t.Errorf(
				"%d answers, %d notes",
				len(bodies),
				len(u.list(t, entityNamed("notes"), "").items),
			)
		}
	})
}

// Batches and single writes by many writers lose nothing: each adds a member of its own to shared
// items, and what is refused has changed nothing.
func TestBatchesAmongSingleWrites(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		wantFeature(t, api, "batch")
		u := api.user(t)
		notes := entityNamed("notes")
		shared := []string{u.note(t), u.note(t), u.note(t)}
		var writes atomic.Int64
		inParallel(writers, writers*3, func(n int) {
			patch := func(k int) string {
				return fmt.Sprintf(
					`{"op":"patch","kind":"note","uid":%q,"updates":{"by%d":%d}}`,
					shared[k],
					n,
					n,
				)
			}
			switch n % 3 {
			case 0:
				u.batch(t, []string{patch(0), patch(1), patch(2)}, "").check(t, 200)
				writes.Add(1)
			case 1:
				gone := fmt.Sprintf(`{"op":"delete","kind":"note","uid":%q}`, newUID())
				u.batch(t, []string{patch(2), gone}, "").check(t, 422)
			default:
				for k := range shared {
					fields := fmt.Sprintf(`{"by%d":%d}`, n, n)
					u.call(t, "PATCH", notes.path("/", shared[k]), fields).check(t, 200)
				}
				writes.Add(1)
			}
		})
		times := map[string]bool{}
		for _, uid := range shared {
			it := u.get(t, notes, uid)
			if it.Version != writes.Load()+1 {
				t.Errorf("version %d after %d writes", it.Version, writes.Load())
			}
			if times[it.UpdatedAt] {
				t.Error("two items have the same time")
			}
			times[it.UpdatedAt] = true
			var payload map[string]json.RawMessage
			if err := json.Unmarshal(it.Payload, &payload); err != nil {
				t.Fatal(err)
			}
			for n := range writers * 3 {
				if _, ok := payload[fmt.Sprintf("by%d", n)]; ok != (n%3 != 1) {
					t.Errorf("by%d is there: %v", n, ok)
				}
			}
		}
	})
}

// A batch gives up at its caller's deadline as a whole.
func TestABatchOfOthersAndLateOnes(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		wantFeature(t, api, "batch")
		users := fourUsers(t, api)
		for name, u := range users {
			uid := u.note(t)
			for other, o := range users {
				if other == name {
					continue
				}
				for _, op := range []string{
					`"op":"patch","updates":{}`, `"op":"delete"`, `"op":"restore","toVersion":1`,
					`"op":"tag","addTags":["x"]`, `"op":"archive"`,
					`"op":"process","action":"pin"`,
					`"op":"edit","operation":"append","text":"x"`,
				} {
					a := o.batch(t, []string{object(op, `"kind":"note","uid":"`+uid+`"`)}, "")
					if a.check(t, 422) && a.field(t, "operationStatus") != "404" {
						t.Errorf("%s", a)
					}
				}
			}
			if got := u.version(t, entityNamed("notes"), uid); got != 1 {
				t.Errorf("%s: version %d", name, got)
			}
		}
	})
}

// Edits of large texts in one batch stay within the memory of one user.
func TestABatchOfLargeItemsStaysWithinTheMemory(t *testing.T) {
	onOwn(
		t,
		settings{"RATE_LIMIT_PER_MINUTE": "0", plainBuild: "1"},
		func(t *testing.T, api *server) {
			u := api.user(t)
			largeNotes(t, u)
			var operations []string
			for _, it := range u.walk(t, entityNamed("notes"), nil) {
				operations = append(
					operations,
					fmt.Sprintf(
						`{"op":"edit","kind":"note","uid":%q,"operation":"append","text":"x",`+
							`"field":"text"}`,
						it.UID,
					),
					fmt.Sprintf(`{"op":"tag","kind":"note","uid":%q,"addTags":["a"]}`, it.UID),
					fmt.Sprintf(`{"op":"restore","kind":"note","uid":%q,"toVersion":1}`, it.UID),
				)
			}
			inParallel(4, 8, func(int) {
				deadline := time.Now().Add(2 * time.Minute)
				for ; time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
					a := u.batch(t, operations, "")
					if !refusedForMemory(a.status, a.header) {
						a.check(t, 200)
						return
					}
				}
				t.Error("a batch never got its memory")
			})
			if peak := api.peakMemory(t); peak > mostResident {
				t.Errorf("the server had %d MiB", peak>>20)
			}
		},
	)
}

// A batch cannot grow an item beyond what a PATCH could.
func TestABatchDoesNotGrowAnItemWithoutLimit(t *testing.T) {
	onOwn(
		t,
		settings{"RATE_LIMIT_PER_MINUTE": "0", "MAX_BODY_BYTES": "4096"},
		func(t *testing.T, api *server) {
			u := api.user(t)
			uid := u.create(
				t, entityNamed("notes"), `"content":"`+strings.Repeat("x", 3000)+`"`,
			).UID
			of := func(op, rest string) string {
				return object(`"op":"`+op+`","kind":"note","uid":"`+uid+`"`, rest)
			}
			text := strings.Repeat("y", 3000)
			u.batch(t, []string{of("edit", `"operation":"append","text":"`+text+`"`)}, "").
				want(t, 200)
			for _, operation := range []string{
				of("edit", `"operation":"append","text":"`+text+`"`),
				of("tag", `"addTags":["`+text+`"]`), of("patch", `"updates":{"z":"`+text+`"}`),
			} {
				a := u.batch(t, []string{operation}, "").want(t, 422)
				if a.field(t, "operationStatus") != "413" {
					t.Errorf("%s", a)
				}
			}
			if got := u.version(t, entityNamed("notes"), uid); got != 2 {
				t.Errorf("version %d", got)
			}
			u.call(
				t, "POST", "/v1/batch",
				`{"operations":[`+of("patch", `"updates":{"z":"`+text+text+`"}`)+`]}`,
			).want(t, 413)
		},
	)
}
