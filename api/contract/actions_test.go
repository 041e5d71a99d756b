package contract

import "testing"

func TestEveryActionHasItsEffectAndKeepsTheRest(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		sent := object(
			`"z":1.0,"title":"é","status":"draft","pinned":"no","read":0,"delivered":0,`+
				`"archived":0,"deep":{"b":[1e5],"a":null}`,
			e.parent(t, u),
		)
		for _, act := range e.actions {
			it := u.call(t, "POST", e.path(), sent).want(t, 201).item(t)
			got := u.call(t, "POST", e.path("/", it.UID, "/process"), object(
				`"action":"`+act.name+`","metadata":{"why":"because","nested":{"a":[1]}}`,
			)).want(t, 200).item(t)
			wantOnly(t, act.name, it, got, act.effect)
		}
		it := u.call(t, "POST", e.path(), sent).want(t, 201).item(t)
		wantOnly(
			t,
			"archive",
			it,
			u.call(t, "POST", e.path("/", it.UID, "/archive"), nil).want(t, 200).item(t),
			e.archive,
		)
		it = u.call(t, "POST", e.path(), sent).want(t, 201).item(t)
		wantOnly(
			t,
			"archive with {}",
			it,
			u.call(t, "POST", e.path("/", it.UID, "/archive"), `{}`).want(t, 200).item(t),
			e.archive,
		)
	})
}

// wantOnly expects that one member changed, and nothing else that the caller wrote.
func wantOnly(t *testing.T, what string, before, after item, effect effect) {
	t.Helper()
	after.wantMember(t, effect.member, effect.value)
	was, err := members(before.Payload)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, m := range was {
		if m.name == effect.member {
			m.value = []byte(effect.value)
		}
		want = append(want, `"`+m.name+`":`+string(m.value))
	}
	if got, want := own(t, after.Payload), own(t, []byte(object(want...))); got != want {
		t.Errorf("%s changed the payload to\n%s\nwant\n%s", what, got, want)
	}
}

func TestActionsAddTheirMemberWhenItIsMissing(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		for _, act := range e.actions {
			it := u.create(t, e)
			u.call(t, "POST", e.path("/", it.UID, "/process"), `{"action":"`+act.name+`"}`).
				want(t, 200).
				item(t).
				wantMember(t, act.member, act.value)
		}
		it := u.create(t, e)
		u.call(t, "POST", e.path("/", it.UID, "/archive"), nil).
			want(t, 200).
			item(t).
			wantMember(t, e.archive.member, e.archive.value)
		if n := len(u.list(t, e, "").items); n != len(e.actions)+1 {
			t.Errorf(
				"%d items are listed, want %d: archived ones are ordinary items",
				n,
				len(e.actions)+1,
			)
		}
	})
}

func TestAnInvalidActionIs400AndNamed(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		it := u.create(t, e)
		before := u.raw(t, e, it.UID)
		process := func(body string) *answer {
			return u.call(t, "POST", e.path("/", it.UID, "/process"), body)
		}

		known := map[string]bool{}
		for _, act := range e.actions {
			known[act.name] = true
		}
		wrong := []string{"explode", "PIN", "Start", "pin ", "delete", "wipe", "ünïcode", "a b"}
		for _, other := range entities {
			for _, act := range other.actions {
				if !known[act.name] {
					wrong = append(wrong, act.name)
				}
			}
		}
		for _, name := range wrong {
			process(`{"action":"`+name+`"}`).wantError(t, 400, "invalid action: "+name)
		}
		good := e.actions[0].name
		for _, body := range []string{
			`{}`, `{"action":""}`, `{"action":7}`, `{"action":null}`, `{"action":["` + good + `"]}`,
			`{"action":{}}`,
			`{"action":"` + good + `","metadata":[]}`, `{"action":"` + good + `","metadata":"x"}`,
			`{"action":"` + good + `","metadata":3}`, `{"action":"` + good + `","metadata":true}`,
		} {
			process(body).check(t, 400)
		}
		if after := u.raw(t, e, it.UID); after != before {
			t.Errorf("refused actions changed the item\n%s\n%s", before, after)
		}
	})
}
