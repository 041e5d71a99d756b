package search

import (
	"sync"

	"github.com/blevesearch/snowballstem"
	"github.com/blevesearch/snowballstem/english"
	"github.com/blevesearch/snowballstem/german"
)

// stems are the stems of a folded word, in English and in German: no text says in which language it
// is. Two words that have a stem in common are forms of one word.
func stems(folded string) []string {
	if !stemmable(folded) {
		return []string{folded}
	}
	if known, ok := cached.get(folded); ok {
		return known
	}
	out := []string{stem(folded, english.Stem)}
	if other := stem(folded, german.Stem); other != out[0] {
		out = append(out, other)
	}
	cached.put(folded, out)
	return out
}

// stemmable is for words of Latin letters that are long enough to have an ending. After folding
// these are a to z.
func stemmable(folded string) bool {
	if len(folded) < 3 {
		return false
	}
	for i := range len(folded) {
		if folded[i] < 'a' || folded[i] > 'z' {
			return false
		}
	}
	return true
}

func stem(folded string, by func(*snowballstem.Env) bool) string {
	env := snowballstem.NewEnv(folded)
	by(env)
	if out := env.Current(); out != "" {
		return out
	}
	return folded
}

// cached holds the stems of common words, since stemming costs more than everything else that is
// done to a word.
var cached stemCache

type stemCache struct {
	mu    sync.RWMutex
	stems map[string][]string
}

// maxCached bounds the cache to a few megabytes. It is cleared when it is full, which costs as
// much as one long text.
const maxCached = 1 << 15

func (c *stemCache) get(word string) ([]string, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	known, ok := c.stems[word]
	return known, ok
}

func (c *stemCache) put(word string, stems []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stems == nil || len(c.stems) >= maxCached {
		c.stems = make(map[string][]string)
	}
	c.stems[word] = stems
}
