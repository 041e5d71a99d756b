package delta

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"testing"
)

const most = 1 << 21

func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte(`{"a":1}`), []byte(`{"a":2}`))
	f.Add([]byte(strings.Repeat("some words ", 300)), []byte(strings.Repeat("other words ", 300)))
	f.Add([]byte("aaa"), []byte("aaaa"))
	f.Add([]byte{}, []byte("x"))
	f.Fuzz(func(t *testing.T, text, base []byte) {
		got, err := Decode(Encode(text, base), base, most)
		if err != nil || !bytes.Equal(got, text) {
			t.Fatalf("%q by %q: %q, %v", text, base, got, err)
		}
	})
}

// What is damaged is refused, or decodes to something of a bounded length.
func FuzzDecode(f *testing.F) {
	base := []byte(strings.Repeat("some words that were written ", 40))
	f.Add(Encode([]byte("some other words"), base))
	f.Add(Encode([]byte(strings.Repeat("words that are other ", 60)), base))
	f.Add([]byte("p\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00"))
	f.Fuzz(func(t *testing.T, delta []byte) {
		const bound = 4096
		got, err := Decode(delta, base, bound)
		if err != nil && !errors.Is(err, ErrBroken) || len(got) > bound {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	})
}

// A change costs about what it changes, whatever the length of the text around it.
func TestSizeOfSmallChanges(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	var b strings.Builder
	for b.Len() < 900_000 {
		fmt.Fprintf(&b, "word%d ", r.Intn(5000))
	}
	text := b.String()
	for name, c := range map[string]struct {
		changed string
		most    int
	}{
		"a line added":       {text + "one more line", 20},
		"a word replaced":    {strings.Replace(text, "word77 ", "seventy-seven ", 1), 20},
		"a beginning":        {"# A title\n" + text, 20},
		"a paragraph gone":   {text[:400_000] + text[401_000:], 1100},
		"two places":         {"x" + strings.TrimSuffix(text, "word1") + "x", 400_000},
		"nothing in common":  {strings.Repeat("z", 900_000), 400_000},
		"the same":           {text, 20},
		"a field of a small": {`{"status":"done"}`, 400_000},
	} {
		if got := len(Encode([]byte(text), []byte(c.changed))); got > c.most {
			t.Errorf("%s: %d bytes, at most %d", name, got, c.most)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	words := strings.Repeat("Some words that somebody wrote. ", 6)
	for name, c := range map[string][2]string{
		"status of 200 bytes": {
			`{"c":"` + words + `","status":"open"}`, `{"c":"` + words + `","status":"done"}`,
		},
		"rewritten 200 bytes": {`{"c":"` + words + `"}`, `{"c":"` + strings.ToUpper(words) + `"}`},
		"status of 1 MB": {
			strings.Repeat(words, 5000) + "a", strings.Repeat(words, 5000) + "b",
		},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				Encode([]byte(c[0]), []byte(c[1]))
			}
		})
	}
}
