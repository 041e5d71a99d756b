package textedit

import (
	"errors"
	"strings"
	"testing"
)

func TestEdits(t *testing.T) {
	const page = "# A\none\n## B\ntwo\n```\n# not a heading\n```\n## C ##\nthree\n# D\nfour"
	for _, c := range []struct {
		text string
		edit Edit
		want string
	}{
		{"a", Edit{Operation: Append, Text: "b"}, "a\nb"},
		{"a\n", Edit{Operation: Append, Text: "b"}, "a\nb"},
		{"", Edit{Operation: Append, Text: "b"}, "b"},
		{"x\r\na", Edit{Operation: Append, Text: "b"}, "x\r\na\r\nb"},
		{"a", Edit{Operation: Prepend, Text: "b"}, "b\na"},
		{"x\r\na", Edit{Operation: Prepend, Text: "b"}, "b\r\nx\r\na"},
		{"a b c", Edit{Operation: Replace, Find: "b", Text: "B"}, "a B c"},
		{"a b c", Edit{Operation: Replace, Find: " b", Text: ""}, "a c"},
		{"a b c", Edit{Operation: InsertAfter, Find: "b", Text: "!"}, "a b! c"},
		{page, Edit{Operation: ReplaceSection, Heading: "B", Text: "new"},
			"# A\none\n## B\nnew\n## C ##\nthree\n# D\nfour"},
		{page, Edit{Operation: ReplaceSection, Heading: "## C", Text: ""},
			"# A\none\n## B\ntwo\n```\n# not a heading\n```\n## C ##\n# D\nfour"},
		{page, Edit{Operation: ReplaceSection, Heading: "A", Text: "all\n"}, "# A\nall\n# D\nfour"},
		{page, Edit{Operation: ReplaceSection, Heading: "D", Text: "end"}, strings.Replace(page, "four", "end", 1)},
		{"# A", Edit{Operation: ReplaceSection, Heading: "A", Text: "x"}, "# A\nx"},
		{"# A\r\nb\r\n# C\r\n", Edit{Operation: ReplaceSection, Heading: "A", Text: "x"}, "# A\r\nx\r\n# C\r\n"},
		{"~~~~\n# A\n~~~\n# A\n~~~~\n# A\nb", Edit{Operation: ReplaceSection, Heading: "A", Text: "c"},
			"~~~~\n# A\n~~~\n# A\n~~~~\n# A\nc"},
		{"#no\n    # no\n# A", Edit{Operation: ReplaceSection, Heading: "A", Text: "c"}, "#no\n    # no\n# A\nc"},
	} {
		got, err := c.edit.Apply(c.text)
		if err != nil || got != c.want {
			t.Errorf("%+v of %q: %q, %v; want %q", c.edit, c.text, got, err, c.want)
		}
	}
}

func TestAPlaceMustBeOne(t *testing.T) {
	for _, c := range []struct {
		text  string
		edit  Edit
		count int
	}{
		{"a b", Edit{Operation: Replace, Find: "c"}, 0},
		{"a a a", Edit{Operation: Replace, Find: "a"}, 3},
		{"aaa", Edit{Operation: InsertAfter, Find: "aa"}, 2},
		{"# A\n# B\n## A", Edit{Operation: ReplaceSection, Heading: "A"}, 2},
		{"```\n# A\n```", Edit{Operation: ReplaceSection, Heading: "A"}, 0},
		{"```\n# A", Edit{Operation: ReplaceSection, Heading: "A"}, 0},
	} {
		_, err := c.edit.Apply(c.text)
		var place *PlaceError
		if !errors.As(err, &place) || place.Count != c.count {
			t.Errorf("%+v of %q: %v, want %d places", c.edit, c.text, err, c.count)
		}
	}
}

func FuzzSection(f *testing.F) {
	f.Add("# A\nb\n## C\n```\n# D\n```\n", "A", "x")
	f.Add("# A\r\n", "A", "")
	f.Fuzz(func(t *testing.T, text, heading, body string) {
		got, err := Edit{Operation: ReplaceSection, Heading: heading, Text: body}.Apply(text)
		if err != nil {
			return
		}
		from, to, err := section(text, heading)
		if err != nil || !strings.HasPrefix(got, text[:from]) ||
			!strings.HasSuffix(got, text[to:]) ||
			!strings.Contains(got, body) {
			t.Fatalf("%q below %q of %q: %q", body, heading, text, got)
		}
	})
}
