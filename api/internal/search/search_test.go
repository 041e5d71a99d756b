package search

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/toolbridge/toolbridge-mcp/api/internal/entity"
)

func note(t testing.TB, fields map[string]any) *Document {
	t.Helper()
	text, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	d := Index(entity.ByName("notes"), text, false)
	return &d
}

func finds(t testing.TB, query string, d *Document) bool {
	t.Helper()
	node, err := ParseQuery(query)
	if err != nil {
		t.Fatalf("%q: %v", query, err)
	}
	return Compile(1, node, Filter{States: []State{Live}}).Matches(d)
}

func TestWhatFindsWhat(t *testing.T) {
	for _, c := range []struct {
		text string
		yes  []string
		no   []string
	}{
		{"The batteries of the car", []string{
			"battery", "BATTERIES", "batter*", "car batteries", `"batteries of the car"`,
			"car -truck",
		},
			[]string{"truck", "battery truck", `"batteries of car"`, "car -battery", "cars*"}},
		{"running organizations", []string{"run", "runs", "organization"}, []string{"organ*z"}},
		{
			"Die Rechnungen der Häuser", []string{"Rechnung", "haus", "HÄUSER", "Hauser"},
			[]string{"rech"},
		},
		{"Straße nach Łódź", []string{"strasse", "STRASSE", "lodz", "Łódź"}, []string{"str"}},
		{"Café Übermut naïve", []string{"cafe", "ubermut", "naive", "cafe\u0301"}, nil},
		{"ΣΊΣΥΦΟΣ Дом", []string{"σίσυφος", "ДОМ", "дом"}, nil},
		{
			"a well-known e-mail",
			[]string{
				"e-mail", "email", "well known", "wellknown", `"well-known e-mail"`, "well-known",
			},
			[]string{"wellk"},
		},
		{"our email", []string{"e-mail", "email"}, nil},
		{
			"write to anna.b@mail.example.com!",
			[]string{"anna.b@mail.example.com", "example.com", "ANNA.B", "mail"},
			[]string{"example.org", "b.anna"},
		},
		{
			"released v2.10.3 today", []string{"2.10.3", "v2.10.3", "2.10", "v2.10", "10.3"},
			[]string{"2.1", "2.103", "v2.1", "3.10"},
		},
		{"version 2.10.3", []string{"v2.10", "2.10"}, []string{"v10.2"}},
		{
			"see report_final-v2.PDF and main.go",
			[]string{
				"report_final-v2.pdf", "report", "final", "pdf", "report_final", "main.go",
				`"main go"`,
			},
			[]string{"final.pdf"},
		},
		{
			"東京都に行きました", []string{"東京", "京都", "東", "都", "行きました", "た", `"東京都"`},
			[]string{"京東", "大阪", "東都"},
		},
		{"こんにちはタワー", []string{"タワー", "ﾀﾜｰ", "にちは"}, []string{"かんに"}},
		{"안녕하세요 세계", []string{"안녕", "세계", "하세"}, []string{"녕안"}},
		{"สวัสดีครับ", []string{"สวัสดี"}, []string{"ดีสวัส"}},
		{
			"ship it 🚀👍🏽 ❤️ 🇩🇪", []string{"🚀", "👍", "👍🏿", "❤", "❤️", "🇩🇪", "ship 🚀"},
			[]string{"🎉", "🇫🇷"},
		},
		{
			"Anna's book, don't l'été", []string{"anna", "Anna’s", "don't", "dont", "été", "l'ete"},
			nil,
		},
		{
			"soft\u00adhyphen zero\u200bwidth", []string{"softhyphen", "zero", "width"},
			[]string{"hyphen"},
		},
		{"ＦＵＬＬ ｗｉｄｔｈ ﬁne", []string{"full", "width", "fine"}, nil},
		{"हिन्दी में कुत्ता", []string{"हिन्दी", "कुत्ता"}, []string{"हन्द"}},
		{
			"one two three",
			[]string{
				"one OR four", "(one OR four) three", "four OR two", "-four", "one AND two",
				"one NOT four", "(((two)))", `"one two" OR nine`, `-"two one"`,
				"one -(four OR five)",
			},
			[]string{
				"four OR five", "one -two", `"two one"`, "-one", "-(one OR nine)", "NOT one",
			},
		},
	} {
		d := note(t, map[string]any{"content": c.text})
		for _, query := range c.yes {
			if !finds(t, query, d) {
				t.Errorf("%q does not find %q", query, c.text)
			}
		}
		for _, query := range c.no {
			if finds(t, query, d) {
				t.Errorf("%q finds %q", query, c.text)
			}
		}
	}
}

func TestAllTextsOfAnItemAreSearched(t *testing.T) {
	d := note(
		t,
		map[string]any{
			"title":   "Alpha",
			"content": "beta",
			"custom":  map[string]any{"deep": []any{"gamma", 4711, map[string]any{"x": "delta"}}},
			"tags":    []string{"epsilon tag"},
			"status":  "zeta",
			"uid":     "theta",
		},
	)
	for _, query := range []string{"alpha beta gamma delta", "4711", "epsilon", `"epsilon tag"`} {
		if !finds(t, query, d) {
			t.Errorf("%q finds nothing", query)
		}
	}
	// A phrase does not reach from one text into the next, and what is no text is not searched.
	for _, query := range []string{`"alpha beta"`, `"gamma 4711"`, "zeta", "theta"} {
		if finds(t, query, d) {
			t.Errorf("%q finds something", query)
		}
	}
}

func TestARefusedQuerySaysWhy(t *testing.T) {
	for query, part := range map[string]string{
		`"open`:                       "quotation mark at character 1",
		`a "b" "c`:                    "quotation mark at character 7",
		"(a":                          "parenthesis at character 1 is not closed",
		"a)":                          "closing parenthesis at character 2",
		"a OR":                        "OR needs",
		"OR a":                        "OR needs",
		"OR":                          "OR needs",
		"a OR OR b":                   "OR needs",
		"(OR)":                        "OR needs",
		"!!! ???":                     "only punctuation",
		"()":                          "only punctuation",
		"AND":                         "only punctuation",
		"-":                           "only punctuation",
		`""`:                          "only punctuation",
		"a\x00b":                      "U+0000",
		"\x1b[31m":                    "U+001B",
		"\xff":                        "UTF-8",
		strings.Repeat("a ", 65):      "too many words",
		strings.Repeat("a ", 10_000):  "too long",
		strings.Repeat("(", 20) + "a": "levels",
		"a*":                          "two characters",
	} {
		_, err := ParseQuery(query)
		var wrong *SyntaxError
		if !errors.As(err, &wrong) || !strings.Contains(wrong.Problem, part) {
			t.Errorf("%.40q: %v, want %q", query, err, part)
		}
	}
	for _, query := range []string{
		"", "  \n\t", "the", "a", "* a", "a - b", "--a", "OR-gate", "ORANGE", "a & b",
	} {
		if _, err := ParseQuery(query); err != nil {
			t.Errorf("%q: %v", query, err)
		}
	}
}

func TestDocumentFacts(t *testing.T) {
	d := note(
		t,
		map[string]any{
			"title":    " ",
			"name":     "The name",
			"status":   "archived",
			"priority": "high",
			"dueDate":  "2026-03-01",
			"tags":     []string{"A b"},
		},
	)
	if d.State != Archived || d.Title != "The name" || d.Priority != "high" || d.Due == nil ||
		*d.Due != 1772323200000 ||
		!slices.Equal(d.Tags, []string{"A b"}) {
		t.Errorf("%+v", d)
	}
	for _, c := range []struct {
		filter Filter
		yes    bool
	}{
		{Filter{States: []State{Archived}}, true},
		{Filter{States: []State{Live}}, false},
		{
			Filter{
				States:   []State{Live, Archived},
				Tags:     []string{"a B"},
				Priority: "HIGH",
				Kinds:    []string{"task", "note"},
			},
			true,
		},
		{Filter{States: []State{Archived}, Tags: []string{"a"}}, false},
		{Filter{States: []State{Archived}, Kinds: []string{"task"}}, false},
	} {
		if got := Compile(1, nil, c.filter).Matches(d); got != c.yes {
			t.Errorf("%+v: %v", c.filter, got)
		}
	}
	for _, odd := range []string{
		`{"tags":"x","dueDate":7,"status":null,"title":[],"archived":"true"}`, `{}`, `[]`, `x`,
	} {
		d := Index(entity.ByName("notes"), []byte(odd), false)
		if d.State != Live || d.Due != nil || d.Title != "" || d.Tags != nil {
			t.Errorf("%s: %+v", odd, d)
		}
	}
}

// A document of nothing but different words stays within what PostgreSQL can hold.
func TestADocumentIsBounded(t *testing.T) {
	var b strings.Builder
	for n := range 300_000 {
		fmt.Fprintf(&b, "w%dx ", n)
	}
	d := note(t, map[string]any{"content": b.String()})
	size := 0
	for _, lexeme := range d.Lexemes(123456789) {
		size += len(lexeme)
	}
	if size > 1<<20-1 || size < 600_000 {
		t.Errorf("lexemes of %d bytes", size)
	}
	if !finds(t, "w5x", d) || finds(t, "w299999x", d) {
		t.Error("the first words are found, and the last are not")
	}
}

func TestSnippets(t *testing.T) {
	long := strings.Repeat("Some words that were written before. ", 30) +
		"Here the needle is\n\n hidden. " +
		strings.Repeat("And some that came after it. ", 30)
	for _, c := range []struct {
		query, text, want string
		length            int
	}{
		{"needle", "A short needle.", "A short needle.", 200},
		{"", "A short\n text.", "A short text.", 200},
		{"needles", long, "the needle is hidden.", 200},
		{"needle hidden", long, "the needle is hidden.", 1500},
		{"", long, "Some words that were written before.", 200},
		{"東京", strings.Repeat("あ", 500) + "東京" + strings.Repeat("い", 500), "東京", 200},
	} {
		node, err := ParseQuery(c.query)
		if err != nil {
			t.Fatal(err)
		}
		got := NewMatcher(node).Show(
			[]Text{{"title", "A title with needle"}, {"content", c.text}}, true, c.length,
		)
		if n := utf8.RuneCountInString(got); n > c.length || !strings.Contains(got, c.want) {
			t.Errorf("%q in a text of %d: %d characters: %q", c.query, len(c.text), n, got)
		}
	}
}

func TestRanking(t *testing.T) {
	node, _ := ParseQuery("solar battery")
	m := NewMatcher(node)
	rate := func(fields ...[]Text) []int64 {
		var all []ItemMatches
		for _, texts := range fields {
			all = append(all, m.Match(texts, texts[0].Field == "title"))
		}
		return m.Scores(all)
	}
	filler := strings.Repeat("something else entirely ", 100)
	scores := rate(
		[]Text{{"title", "Solar battery"}, {"content", "x"}},
		[]Text{{"content", "the solar battery is here"}},
		[]Text{{"content", "a battery that is not at all solar"}},
		[]Text{{"content", filler + "solar" + filler + "batteries"}},
	)
	if !slices.IsSortedFunc(scores, func(a, b int64) int { return int(b - a) }) ||
		slices.Contains(scores[1:], scores[0]) {
		t.Errorf("scores %v", scores)
	}
}

func TestClosest(t *testing.T) {
	texts := []string{"Batteries and battery", "The better part"}
	for wanted, want := range map[string]string{
		"battrey": "battery", "baterie": "batteries", "beter": "better", "xyz": "", "part": "",
	} {
		if got := Closest(wanted, texts); got != want {
			t.Errorf("%s: %q, want %q", wanted, got, want)
		}
	}
}

// Each word of a text finds it, and no word holds what means something to a database.
func FuzzText(f *testing.F) {
	for _, s := range []string{
		"Batteries", "東京都", "v2.10.3", "e-mail", "a.b@c.d", "👍🏽🇩🇪", "l'été", "ﷺ ½ ㎏", "İıſK",
		"a\u0301\u200d", "ﾊﾟｶﾞ", "\xff",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parts := segments(text)
		for _, s := range parts {
			if s.text == "" || s.start < 0 || s.end > len(text) || s.start >= s.end {
				t.Fatalf("segment %+v of %q", s, text)
			}
			if strings.ContainsAny(s.text, "\"'\\ |:*()&!\x00") || !utf8.ValidString(s.text) {
				t.Fatalf("segment %q of %q holds syntax", s.text, text)
			}
		}
		if !utf8.ValidString(text) {
			return
		}
		encoded, _ := json.Marshal(map[string]string{"content": text})
		d := Index(entity.ByName("notes"), encoded, false)
		for n, s := range parts {
			if n > 20 {
				break
			}
			node := phrases([]segment{s}, false)
			if !Compile(1, node, Filter{States: []State{Live}}).Matches(&d) {
				t.Fatalf("%q is in %q and is not found", s.text, text)
			}
		}
	})
}

func TestBroadPrefixes(t *testing.T) {
	for query, want := range map[string]string{
		"sa*":           "sa*",
		"san*":          "",
		"sa":            "",
		"a (b OR -sa*)": "sa*",
		`"sa"`:          "",
		"note-ve*":      "ve*",
		"東*":            "東*",
		"東京*":           "",
	} {
		node, err := ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if got := BroadPrefix(node); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
}

func FuzzQuery(f *testing.F) {
	for _, s := range []string{
		`a "b c" OR -d (e* OR f)`, "((a)", `"`, "NOT NOT a", "-(-a)", "OR", "東* -京",
		"v2.1 OR e-mail", "()()", "a OR (b) c", "-\"a b\"",
	} {
		f.Add(s)
	}
	d := Index(entity.ByName("notes"), []byte(`{"content":"a b c d e f"}`), false)
	f.Fuzz(func(t *testing.T, query string) {
		node, err := ParseQuery(query)
		if err != nil {
			var wrong *SyntaxError
			if !errors.As(err, &wrong) {
				t.Fatal(err)
			}
			return
		}
		e := Compile(7, node, Filter{States: []State{Live, Archived}})
		e.Matches(&d)
		for _, x := range []Expression{e, e.TitleOnly(), e.ButTitle()} {
			if text := x.FTS5(); strings.Count(text, `"`)%2 != 0 ||
				strings.Count(text, "(") != strings.Count(text, ")") {
				t.Fatalf("%q: %s", query, text)
			}
			x.TSQuery()
			x.Exact("terms", "words", 3)
			x.Matches(&d)
		}
		NewMatcher(node).Show([]Text{{"content", "a b c d"}}, false, 200)
	})
}

// A note as it is created.
func BenchmarkIndex(b *testing.B) {
	text := []byte(`{"title":"A note","content":"` +
		strings.Repeat("Some words that somebody wrote. ", 6) + `","tags":["a","b"]}`)
	b.ReportAllocs()
	for b.Loop() {
		d := Index(entity.ByName("notes"), text, false)
		d.FTS5(1)
	}
}
