package contract

import (
	"strings"
	"testing"
)

// Payloads that must come back as they were sent, written as members of an object.
var faithful = []struct{ name, members string }{
	{"empty", ``},
	{"key order", `"z":1,"a":2,"m":{"y":1,"b":2,"a":[{"q":1,"c":2}]},"B":3,"0":4`},
	{
		"numbers",
		`"one":1.0,"zero":-0,"exp":1E+2,"small":0.1000,"tiny":1e-400,` +
			`"pi":3.14159265358979323846264338327950288`,
	},
	{
		"big numbers",
		`"int":12345678901234567890123,"huge":1e400,"negative":-9223372036854775809,` +
			`"edge":9007199254740993`,
	},
	{"unicode", `"text":"Grüße, 世界, שלום, ﷽","kéy":"välue","ключ":1`},
	{"emoji", `"text":"👩‍👩‍👧‍👦 🏳️‍🌈","👍":"👎"`},
	{
		"escapes",
		`"nul":"a\u0000b","all":"\"\\\/\b\f\n\r\t\u001f","pair":"\ud83d\ude00",` +
			`"bmp":"\u00e9\u2028\u2029","html":"<a href='x'>&amp;</a>"`,
	},
	{"escaped keys", `"a\u0000b":1,"\n":2,"":3,"\"":4,"\u003c":5`},
	{"literals", `"t":true,"f":false,"n":null,"o":{},"a":[],"deep":[[[]],{}]`},
	{
		"strings like other things",
		`"num":"1.0","null":"null","date":"2024-01-01T00:00:00Z","sql":"'; DROP TABLE items; ` +
			`--","tpl":"{{.}} ${x} %s"`,
	},
	{
		"names of columns",
		`"version":"mine","deletedAt":"mine","updatedAt":"mine","payload":{"sync":1,"uid":2},` +
			`"tenant_id":"x","user_id":"y"`,
	},
	{"white space", "\n\t \"a\" :\r\n [ 1 , 2 ]  , \"b\" : { \"c\" : \"  \" } "},
	{"long", `"text":"` + strings.Repeat("lorem ipsum ☃ ", 2000) + `"`},
	{"many keys", manyKeys(2000)},
}

func manyKeys(n int) string {
	var keys []string
	for i := range n {
		keys = append(
			keys,
			`"k`+randomHex(4)+`_`+strings.Repeat("x", i%5)+`":`+strings.Repeat("7", 1+i%30),
		)
	}
	return strings.Join(keys, ",")
}

func TestThePayloadIsKeptAsSent(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		parent := e.parent(t, u)
		replaced := u.create(t, e).UID
		for _, p := range faithful {
			sent := object(p.members, parent)
			want := own(t, []byte(sent))
			same := func(what string, it item) {
				t.Helper()
				if got := own(t, it.Payload); got != want {
					t.Errorf(
						"%s: after %s the payload is\n%s\nwant\n%s",
						p.name,
						what,
						abbreviated([]byte(got)),
						abbreviated([]byte(want)),
					)
				}
			}
			created := u.call(t, "POST", e.path(), sent).want(t, 201).item(t)
			same("create", created)
			same("get", u.get(t, e, created.UID))
			same("put", u.call(t, "PUT", e.path("/", replaced), sent).want(t, 200).item(t))
			same(
				"patch with nothing",
				u.call(t, "PATCH", e.path("/", created.UID), `{}`).want(t, 200).item(t),
			)
			same("delete", u.remove(t, e, created.UID))
		}
	})
}

func TestAPatchedMemberIsKeptAsSent(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		u := api.user(t)
		e := entityNamed("notes")
		for _, p := range faithful {
			it := u.create(t, e)
			patched := u.call(t, "PATCH", e.path("/", it.UID), object(p.members)).
				want(t, 200).
				item(t)
			want := own(t, []byte(object(p.members)))
			if got := own(t, patched.Payload); got != want {
				t.Errorf(
					"%s: a patch of {} gave\n%s\nwant\n%s",
					p.name,
					abbreviated([]byte(got)),
					abbreviated([]byte(want)),
				)
			}
		}
	})
}

// A value with half a character is kept as it was sent, escape for escape.
func TestLoneSurrogatesInValuesAreKeptAsSent(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		oursOnly(t, "some refuse or replace them")
		u := api.user(t)
		const members = `"text":"a\uD800b","list":["\udc00\ud83d",{"x":"\ud83d\uDE00\ud83d"}]`
		it := u.call(t, "POST", "/v1/notes", object(members)).want(t, 201).item(t)
		if raw := u.raw(t, entityNamed("notes"), it.UID); !strings.Contains(raw, members) {
			t.Errorf("sent %s, got %s", members, raw)
		}
	})
}

// Bodies that are 400 on every route that reads one.
var malformed = []struct{ name, body string }{
	{"nothing", ""},
	{"white space", " \n\t "},
	{"an array", `[]`},
	{"an array of objects", `[{"title":"x"}]`},
	{"null", `null`},
	{"a string", `"title"`},
	{"a number", `7`},
	{"true", `true`},
	{"half an object", `{"title":"x"`},
	{"an open string", `{"title":"x}`},
	{"trailing garbage", `{"title":"x"} x`},
	{"two objects", `{"title":"x"}{"title":"y"}`},
	{"trailing bracket", `{"title":"x"}}`},
	{"trailing comma", `{"title":"x",}`},
	{"single quotes", `{'title':'x'}`},
	{"bare keys", `{title:"x"}`},
	{"comment", `{"title":"x"/* c */}`},
	{"NaN", `{"n":NaN}`},
	{"leading zero", `{"n":01}`},
	{"plus sign", `{"n":+1}`},
	{"bare dot", `{"n":.5}`},
	{"hexadecimal", `{"n":0x1}`},
	{"raw control character", "{\"title\":\"a\nb\"}"},
	{"raw NUL", "{\"title\":\"a\x00b\"}"},
	{"bad escape", `{"title":"\x41"}`},
	{"byte order mark", "\xef\xbb\xbf{\"title\":\"x\"}"},
	{"UTF-16", "\xff\xfe{\x00}\x00"},
	{"invalid UTF-8 in a value", "{\"title\":\"a\xffb\"}"},
	{"invalid UTF-8 in a key", "{\"a\xc3\":1}"},
	{"overlong UTF-8", "{\"title\":\"\xc0\xaf\"}"},
	{"a surrogate in UTF-8", "{\"title\":\"\xed\xa0\x80\"}"},
	{"a form", `title=x&body=y`},
	{"a lone surrogate in a key", `{"\ud800":1}`},
	{"two lone surrogates in keys", `{"\ud800":1,"\ud801":2}`},
	{"a lone surrogate in a nested key", `{"a":[{"x\udfff":1}]}`},
	{"surrogates in the wrong order in a key", `{"\ude00\ud83d":1}`},
	{"too many members", "{" + manyKeys(10_001) + "}"},
	{"very deep arrays", strings.Repeat("[", 100_000)},
	{"very deep objects", strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000)},
}

func TestABodyThatIsNotAnObjectIs400(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		it := u.create(t, e)
		before := u.raw(t, e, it.UID)
		for _, m := range malformed {
			for _, r := range []route{
				{"create", "POST", e.path(), ""},
				{"put", "PUT", e.path("/", it.UID), ""},
				{"patch", "PATCH", e.path("/", it.UID), ""},
				{"process", "POST", e.path("/", it.UID, "/process"), ""},
			} {
				if a := u.call(t, r.method, r.path, m.body); a.status != 400 {
					t.Errorf("%s with %s: want status 400\n%s", r.name, m.name, a)
				}
			}
		}
		if after := u.raw(t, e, it.UID); after != before {
			t.Errorf("refused bodies changed the item\n%s\n%s", before, after)
		}
		if n := len(u.list(t, e, "").items); n != 1 {
			t.Errorf("refused bodies left %d items, want 1", n)
		}
	})
}

func TestAPayloadMayNest64Levels(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		parent := e.parent(t, u)
		it := u.create(t, e)
		for _, nested := range []func(levels int) string{
			func(levels int) string { // the object itself is the first level
				return `{"a":` + strings.Repeat("[", levels-1) + strings.Repeat("]", levels-1) + `}`
			},
			func(levels int) string {
				return strings.Repeat(`{"a":`, levels-1) + "{}" + strings.Repeat("}", levels-1)
			},
		} {
			good, bad := nested(64), nested(65)
			for _, r := range []struct {
				method, path string
				status       int
			}{
				{"POST", e.path(), 201}, {"PUT", e.path("/", it.UID), 200},
				{"PATCH", e.path("/", it.UID), 200},
			} {
				insert := func(body string) string {
					if parent == "" {
						return body
					}
					return "{" + parent + "," + body[1:]
				}
				got := u.call(t, r.method, r.path, insert(good)).want(t, r.status).item(t)
				got.wantMember(t, "a", good[len(`{"a":`):len(good)-1])
				u.call(t, r.method, r.path, insert(bad)).check(t, 400)
			}
			u.get(t, e, it.UID).wantMember(t, "a", good[len(`{"a":`):len(good)-1])
		}
	})
}

// The contract does not say what becomes of these; it does say that the server answers, in JSON,
// with no 5xx.
func TestOddPayloadsAreKeptOrRefusedButNeverBreakTheServer(t *testing.T) {
	onEachEntity(t, func(t *testing.T, api *server, e entity) {
		u := api.user(t)
		parent := e.parent(t, u)
		for _, odd := range []string{
			`"a":1,"a":2`,
			`"uid":"` + newUID() + `","uid":"` + newUID() + `"`,
			`"sync":1,"sync":{"version":7}`,
			`"o":{"a":1,"a":{"a":1}}`,
			`"\u0061":1,"a":2`,
			`"lone":"\ud800"`,
			`"lone":"\udc00x\ud800"`,
			`"\udfff":1`,
			`"UID":"` + newUID() + `","Sync":1,"UPDATEDTS":2`,
			`"__proto__":{"x":1},"constructor":1`,
			`"digits":` + strings.Repeat("9", 50_000),
			`"exponent":1e999999999999`,
			`"noncharacter":"\uffff\ufffe"`,
		} {
			a := u.call(t, "POST", e.path(), object(odd, parent))
			if !a.check(t, 201, 400) || a.status == 400 {
				continue
			}
			it := a.item(t)
			read := u.call(t, "GET", e.path("/", it.UID), nil).want(t, 200)
			if string(read.body) != string(a.body) {
				t.Errorf("create answered\n%s\nget\n%s", a, read)
			}
			u.call(t, "PATCH", e.path("/", it.UID), `{"b":1}`).want(t, 200).item(t)
		}
		u.list(t, e, "")
	})
}
