package payload

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestParseKeepsTheTextAsSent(t *testing.T) {
	for _, text := range []string{
		`{}`,
		`{"b":1,"a":2}`,
		`{"n":1.0,"big":123456789012345678901234567890,"exp":1E400,"neg":-0}`,
		`{"s":"\u0000\ud83d\ude00 é \/ <b>&","é\n":"x"}`,
		`{"deep":{"a":[{"b":[1,"]}",{}]}],"c":null}}`,
		`{"t":true,"f":false,"z":null}`,
		`{"":""}`,
	} {
		o, err := Parse([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if got := string(o.JSON()); got != text {
			t.Errorf("sent %s, got back %s", text, got)
		}
	}
}

func TestAnObjectHasOnlySoManyMembers(t *testing.T) {
	text := func(members int) []byte {
		return []byte("{" + strings.Repeat(`"a":{"b":1,"c":2},`, members-1) + `"z":[{"d":":"}]}`)
	}
	o, err := Parse(text(MaxMembers))
	if err != nil || o.Len() != 2 || o.Size() != len(o.JSON()) {
		t.Errorf("%v: %d members, size %d, want %d", err, o.Len(), o.Size(), len(o.JSON()))
	}
	if _, err := Parse(text(MaxMembers + 1)); !errors.Is(err, ErrTooManyMembers) {
		t.Errorf("got %v", err)
	}
	// What has been stored can still be changed.
	if _, err := ParseStored(text(MaxMembers + 1)); err != nil {
		t.Error(err)
	}
}

func TestAKeyMustBeText(t *testing.T) {
	for key, ok := range map[string]bool{
		`\ud800`: false, `\ud801`: false, `\udc00`: false, `a\uDFFFb`: false, `\udc00\ud800`: false,
		`\ud800\n`:           false,
		`\ud800\ud800\udc00`: false,
		`\ud800\u0041`:       false,
		`\ud800x\udc00`:      false,
		`\ud83d\ude00`:       true,
		`\uD83D\uDE00\u0000`: true,
		`\\ud800`:            true,
		`\\\\udc00`:          true,
		`\"\ue000`:           true,
		`\ufffd`:             true,
	} {
		for _, text := range []string{`{"%":1}`, `{"a":"","%" : {}}`, `{"a":[{"b":{"%":[]}}]}`} {
			text = strings.Replace(text, "%", key, 1)
			if _, err := Parse([]byte(text)); ok != (err == nil) ||
				!ok && !errors.Is(err, ErrLoneSurrogate) {
				t.Errorf("%s: got %v", text, err)
			}
		}
		// Values are kept as they were sent.
		text := `{"a":"` + key + `","b":["` + key + `",{"c":"` + key + `"}]}`
		o, err := Parse([]byte(text))
		if err != nil || string(o.JSON()) != text {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestAProofHasEachMemberOnce(t *testing.T) {
	for text, want := range map[string]error{
		`{"a":1,"b":{"c":1,"c":2}}`: nil,
		`{"a":1,"b":2,"a":1}`:       ErrMemberTwice,
		`{"a":1,"\u0061":2}`:        ErrMemberTwice,
		`{"\ud800":1}`:              ErrLoneSurrogate,
		`[]`:                        ErrNotObject,
		``:                          ErrEmpty,
		`{"a":` + strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth) + `}`: ErrTooDeep,
	} {
		if _, err := ParseUnique([]byte(text)); !errors.Is(err, want) {
			t.Errorf("%.60s: got %v, want %v", text, err, want)
		}
	}
}

func TestParseDropsWhiteSpaceOnlyBetweenValues(t *testing.T) {
	o, err := Parse([]byte(" {\n \"a b\" : \" c \" ,\t\"d\":[ 1 , 2 ] } "))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(o.JSON()), `{"a b":" c ","d":[1,2]}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestParseRefuses(t *testing.T) {
	nested := func(levels int) string {
		return `{"a":` + strings.Repeat("[", levels-1) + strings.Repeat("]", levels-1) + `}`
	}
	if _, err := Parse([]byte(nested(MaxDepth))); err != nil {
		t.Errorf("%d levels refused: %v", MaxDepth, err)
	}
	for text, want := range map[string]error{
		"":                   ErrEmpty,
		" \n":                ErrEmpty,
		"[]":                 ErrNotObject,
		"null":               ErrNotObject,
		`"{}"`:               ErrNotObject,
		nested(MaxDepth + 1): ErrTooDeep,
		"{\"a\":\"\xff\"}":   ErrNotUTF8,
	} {
		if _, err := Parse([]byte(text)); !errors.Is(err, want) {
			t.Errorf("%.40q: got %v, want %v", text, err, want)
		}
	}
	for _, text := range []string{
		`{"a":1}x`, `{"a":1,}`, `{'a':1}`, `{"a":01}`, "\ufeff{}", `{"a":"` + "\n" + `"}`, `{"a"}`,
		`{`,
	} {
		var syntax *json.SyntaxError
		if _, err := Parse([]byte(text)); !errors.As(err, &syntax) {
			t.Errorf("%q: got %v, want a syntax error", text, err)
		}
	}
}

func TestADoubledKeyCountsOnce(t *testing.T) {
	o, err := Parse([]byte(`{"a":1,"b":2,"\u0061":3}`))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(o.JSON()), `{"a":3,"b":2}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestSetMergeWithout(t *testing.T) {
	o, _ := Parse([]byte(`{"title":"x","status":"open"}`))
	patch, _ := Parse([]byte(`{"status":null,"new":[1]}`))
	o.Merge(patch)
	o.Set("pinned", json.RawMessage("true"))
	want := `{"title":"x","status":null,"new":[1],"pinned":true}`
	if got := string(o.JSON()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	want = `{"title":"x","pinned":true}`
	if got := string(o.Without("status", "new").JSON()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if s, ok := o.Text("title"); !ok || s != "x" {
		t.Errorf("Text(title) = %q, %v", s, ok)
	}
	if _, ok := o.Text("pinned"); ok {
		t.Error("true was taken for text")
	}
}

// What Parse takes must be exactly what encoding/json takes for an object, and must mean the same.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a":[1,{"b":"\"}"}],"c":-1.5e3}`, `{"a":1,"a":2}`, `[]`, `{"\ud800":1}`,
		"{\"\\\\\":\"\\\\\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		o, err := Parse(body)
		if err != nil {
			return
		}
		var before, after map[string]json.RawMessage
		if err := json.Unmarshal(body, &before); err != nil {
			t.Fatalf("took %q, encoding/json does not: %v", body, err)
		}
		text := o.JSON()
		if err := json.Unmarshal(text, &after); err != nil {
			t.Fatalf("%q became %q: %v", body, text, err)
		}
		if len(before) != len(after) {
			t.Fatalf("%q became %q: %d keys, then %d", body, text, len(before), len(after))
		}
		again, err := Parse(text)
		if err != nil || string(again.JSON()) != string(text) {
			t.Fatalf("%q is not stable: %v", text, err)
		}
	})
}

// A patch, as it is made: the stored text is parsed, a field is set, the text is written.
func BenchmarkMerge(b *testing.B) {
	content := strings.Repeat("Some words that somebody wrote. ", 6)
	stored := []byte(`{"title":"A note","content":"` + content + `","tags":["a","b"]}`)
	patch, err := Parse([]byte(`{"title":"Another"}`))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		o, err := Parse(stored)
		if err != nil {
			b.Fatal(err)
		}
		o.Merge(patch)
		o.JSON()
	}
}
