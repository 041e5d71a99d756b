package textedit

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
)

// TestVectors are the edits that the MCP server's tests make too.
func TestVectors(t *testing.T) {
	raw, err := os.ReadFile("../../../tests/vectors/text-edits.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Vectors []struct {
			Name, Text, Operation, New, Find, Heading string
			Want                                      *string
			Count                                     int
		}
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Vectors) < 100 {
		t.Fatalf("%d vectors", len(file.Vectors))
	}
	for _, v := range file.Vectors {
		got, err := Edit{v.Operation, v.New, v.Find, v.Heading}.Apply(v.Text)
		var mismatch *MatchError
		switch {
		case v.Want != nil && (err != nil || got != *v.Want):
			t.Errorf("%s: %q, %v; want %q", v.Name, got, err, *v.Want)
		case v.Want == nil && (!errors.As(err, &mismatch) || mismatch.Count != v.Count):
			t.Errorf("%s: %q, %v; want %d places", v.Name, got, err, v.Count)
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
		found, to, err := section(text, heading)
		if err != nil || !strings.HasPrefix(got, text[:found.end]) ||
			!strings.HasSuffix(got, text[to:]) {
			t.Fatalf("%q below %q of %q: %q", body, heading, text, got)
		}
	})
}
