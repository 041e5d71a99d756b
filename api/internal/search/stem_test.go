package search

import (
	"math/rand"
	"testing"
)

// A matcher looks at the stems of those words only that begin as a word of the query does.
func TestStemsBeginAsTheirWord(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	words := []string{
		"skis",
		"dying",
		"lying",
		"tying",
		"idly",
		"yes",
		"ying",
		"ueber",
		"aeon",
		"ies",
		"sss",
	}
	endings := []string{
		"",
		"s",
		"es",
		"ies",
		"ing",
		"ed",
		"ly",
		"ern",
		"en",
		"er",
		"heit",
		"isch",
		"ation",
	}
	for range 200_000 {
		word := make([]byte, 1+r.Intn(8))
		for n := range word {
			word[n] = 'a' + byte(r.Intn(26))
		}
		words = append(words, string(word)+endings[r.Intn(len(endings))])
	}
	for _, word := range words {
		for _, stem := range stems(word) {
			if stem[0] != word[0] {
				t.Errorf("the stem of %q is %q", word, stem)
			}
		}
	}
}
