package search

import (
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Matcher finds the words of a query in texts, to rank items and to show where they match. It is
// for one goroutine.
type Matcher struct {
	leaves  []Node
	phrases bool      // among the leaves
	first   [256]bool // what the first byte of a word may be that a leaf of one word finds
	parts   []segment // memory for the text at hand, as the next two
	words   []token
	stream  []string
}

// NewMatcher takes a query, which may be nil.
func NewMatcher(query Node) *Matcher {
	m := &Matcher{}
	m.collect(query)
	for _, leaf := range m.leaves {
		if w, ok := leaf.(Word); ok {
			// A stem begins as its word does.
			m.first[w.Text[0]] = true
		} else {
			m.phrases = true
		}
	}
	return m
}

func (m *Matcher) collect(n Node) {
	switch n := n.(type) {
	case And:
		for _, child := range n {
			m.collect(child)
		}
	case Or:
		for _, child := range n {
			m.collect(child)
		}
	case Word, Phrase:
		m.leaves = append(m.leaves, n)
	}
}

// Ranks reports whether the query has anything to rank by.
func (m *Matcher) Ranks() bool { return len(m.leaves) > 0 }

// match is where a leaf was found in a text.
type match struct {
	leaf, word int // word is its number in the text
	start, end int
	exact      bool // as it was written in the query
}

// token is a word of a text's stream, and where it stands.
type token struct {
	text       string
	start, end int
}

// tokenize reads a text into the memory of the matcher.
func (m *Matcher) tokenize(text string) {
	m.parts, m.words, m.stream = appendSegments(m.parts[:0], text), m.words[:0], m.stream[:0]
	for _, s := range m.parts {
		if s.kind != run {
			m.words = append(m.words, token{s.text, s.start, s.end})
			continue
		}
		original := text[s.start:s.end]
		same := utf8.RuneCountInString(original) == utf8.RuneCountInString(s.text)
		at := s.start
		for _, pair := range pairs(s.text) {
			t := token{pair, s.start, s.end}
			if same {
				_, size := utf8.DecodeRuneInString(text[at:])
				t.start, t.end = at, at+size
				if utf8.RuneCountInString(pair) > 1 {
					_, next := utf8.DecodeRuneInString(text[at+size:])
					t.end += next
				}
				at += size
			}
			m.words = append(m.words, t)
		}
	}
	if m.phrases {
		for _, w := range m.words {
			m.stream = append(m.stream, w.text)
		}
	}
}

// find is every match in a text, in the text's order, and how many words it has.
func (m *Matcher) find(text string) ([]match, int) {
	if len(m.leaves) == 0 {
		return nil, 0
	}
	m.tokenize(text)
	var out []match
	for n, w := range m.words {
		if !m.phrases && !m.first[w.text[0]] {
			continue
		}
		var forms []string
		for k, leaf := range m.leaves {
			switch leaf := leaf.(type) {
			case Word:
				if leaf.Text[0] != w.text[0] {
					continue
				}
				if leaf.Text == w.text {
					out = append(out, match{k, n, w.start, w.end, true})
					continue
				}
				if forms == nil {
					forms = stems(w.text)
				}
				if leaf.hasStemOf(forms) || slices.Contains(leaf.Stems, w.text) {
					out = append(out, match{k, n, w.start, w.end, false})
				}
			case Phrase:
				if leaf.at(m.stream, n) {
					out = append(out, match{k, n, w.start, m.words[n+len(leaf.Words)-1].end, true})
				}
			}
		}
	}
	for n, s := range m.parts {
		if s.glue != '-' {
			continue
		}
		joined, ok := joinedAt(m.parts, n)
		if !ok {
			continue
		}
		for k, leaf := range m.leaves {
			if leaf, ok := leaf.(Word); ok && leaf.hasStemOf(stems(joined)) {
				out = append(out, match{k, n, s.start, s.end, leaf.Text == joined})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b match) int { return a.start - b.start })
	return out, len(m.words)
}

// hasStemOf reports whether a word has one of some stems.
func (w Word) hasStemOf(stems []string) bool {
	return slices.ContainsFunc(stems, func(s string) bool { return slices.Contains(w.Stems, s) })
}

// ItemMatches are the matches of a query in one item.
type ItemMatches struct {
	found    []float64 // per leaf: how often, times the weights below
	adjacent int       // how often two words of the query follow each other as they do there
	length   int
	matches  [][]match // of each text
}

const (
	titleWeight = 5
	otherForm   = 0.7 // weight of a word in another form than the query's
)

// Match looks for the query in an item. The first text is the title when titled.
func (m *Matcher) Match(texts []Text, titled bool) ItemMatches {
	e := ItemMatches{found: make([]float64, len(m.leaves)), matches: make([][]match, len(texts))}
	for n, text := range texts {
		found, length := m.find(text.Value)
		e.matches[n] = found
		e.length += length
		weight := 1.0
		if n == 0 && titled {
			weight = titleWeight
		}
		for k, f := range found {
			w := weight
			if !f.exact {
				w *= otherForm
			}
			e.found[f.leaf] += w
			if k > 0 && found[k-1].word == f.word-1 && found[k-1].leaf == f.leaf-1 {
				e.adjacent++
			}
		}
	}
	return e
}

// Scores rates items by how much of the query is in them, as BM25 does, with a bonus for words that
// stand together.
func (m *Matcher) Scores(all []ItemMatches) []int64 {
	const k1, b, usual = 1.2, 0.4, 120
	having := make([]float64, len(m.leaves))
	for _, e := range all {
		for k, f := range e.found {
			if f > 0 {
				having[k]++
			}
		}
	}
	scores := make([]int64, len(all))
	for n, e := range all {
		sum := 0.0
		for k, f := range e.found {
			rarity := 1 + math.Log(1+(float64(len(all))-having[k]+0.5)/(having[k]+0.5))
			sum += rarity * f * (k1 + 1) / (f + k1*(1-b+b*float64(e.length)/usual))
		}
		sum += float64(min(e.adjacent, 3))
		scores[n] = int64(math.Round(sum * 1000))
	}
	return scores
}

// Sizes of what Show returns, in characters.
const (
	SnippetLength   = 200
	PassageLength   = 1500
	BeginningLength = 80 // of a snippet without a query, which shows no match
)

// Show returns the part of an item's texts that tells most about the match: at most length
// characters. The first text is the title when titled; it is shown only where there is no other.
func (m *Matcher) Show(texts []Text, titled bool, length int) string {
	return m.ShowFound(texts, titled, length, m.Match(texts, titled))
}

// ShowFound is Show of texts that Match has already read.
func (m *Matcher) ShowFound(texts []Text, titled bool, length int, found ItemMatches) string {
	matches := found.matches
	if titled && len(texts) > 1 {
		texts, matches = texts[1:], matches[1:]
	}
	best, bestLeaves, bestAt := "", 0, 0
	for n, text := range texts {
		leaves, at := m.densest(matches[n], length)
		switch {
		case leaves > bestLeaves:
			best, bestLeaves, bestAt = text.Value, leaves, at
		case bestLeaves == 0 && len(text.Value) > len(best):
			best, bestAt = text.Value, 0
		}
	}
	return excerpt(best, bestAt, length)
}

// densest is how many leaves are found close together, and where the first of them stands.
func (m *Matcher) densest(found []match, length int) (leaves, at int) {
	if len(found) > 0 && len(m.leaves) == 1 {
		return 1, found[0].start
	}
	for n, first := range found {
		seen := map[int]bool{}
		for _, other := range found[n:] {
			if other.end-first.start > length*3/4 {
				break
			}
			seen[other.leaf] = true
		}
		if len(seen) > leaves {
			leaves, at = len(seen), first.start
		}
		if n > 200 {
			break
		}
	}
	return leaves, at
}

// excerpt is a text around a byte of it, on one line, with dots where it was cut.
func excerpt(text string, at, length int) string {
	// What is far from the place cannot be shown: a large text is cut before it is taken apart.
	from, to := max(0, at-8*length), min(len(text), at+8*length)
	for from > 0 && !utf8.RuneStart(text[from]) {
		from--
	}
	for to < len(text) && !utf8.RuneStart(text[to]) {
		to++
	}
	before := clean(text[from:at], at-from)
	after := clean(text[at:to], length+1) // more is not shown
	if len(before)+len(after) <= length && from == 0 && to == len(text) {
		return strings.TrimSpace(string(before) + string(after))
	}
	lead := min(len(before), length/4)
	if room := length - 2 - len(after); room > lead {
		lead = min(len(before), room)
	}
	start := len(before) - lead
	cutBefore := start > 0 || from > 0
	if cutBefore {
		start = nextWord(before, start)
	}
	shown := append(slices.Clone(before[start:]), after...)
	room := length
	if cutBefore {
		room--
	}
	cutAfter := to < len(text)
	if len(shown) > room {
		shown, cutAfter = shown[:lastWord(shown, room-1)], true
	} else if cutAfter && len(shown) == room {
		shown = shown[:room-1]
	}
	out := strings.TrimSpace(string(shown))
	if cutBefore {
		out = "…" + out
	}
	if cutAfter {
		out += "…"
	}
	return out
}

// nextWord is the start of the first word after a place, if one starts soon.
func nextWord(text []rune, at int) int {
	for n := at; n < len(text) && n < at+24; n++ {
		if n > 0 && text[n-1] == ' ' {
			return n
		}
	}
	return at
}

// lastWord is the end of the last whole word before a place, if one ends soon.
func lastWord(text []rune, at int) int {
	for n := at; n > 0 && n > at-24; n-- {
		if text[n] == ' ' {
			return n
		}
	}
	return at
}

// clean puts a text on one line and leaves out what cannot be seen. It ends after most characters.
func clean(text string, most int) []rune {
	out := make([]rune, 0, min(len(text), most))
	space := false
	for _, r := range text {
		if len(out) >= most {
			break
		}
		switch {
		case r > ' ' && r < 0x7F:
			out, space = append(out, r), false
		case unicode.IsSpace(r):
			if !space {
				out = append(out, ' ')
			}
			space = true
		case unicode.IsControl(r):
		default:
			out, space = append(out, r), false
		}
	}
	return out
}

// Closest is the word of some texts that is most like one that was not found, if one is alike: a
// letter or two apart.
func Closest(wanted string, texts []string) string {
	most := 1
	if utf8.RuneCountInString(wanted) > 5 {
		most = 2
	}
	best, bestDistance := "", most+1
	for _, text := range texts {
		for _, s := range segments(text) {
			if s.kind != word || s.text == wanted {
				continue
			}
			d := distance(wanted, s.text, most)
			if d < bestDistance || d == bestDistance && d <= most && s.text < best {
				best, bestDistance = s.text, d
			}
		}
	}
	return best
}

// LikeText is the text of some that is most like another: the same but for case and accents, or a
// letter or two apart.
func LikeText(wanted string, texts []string) string {
	plain := func(text string) string {
		var words []string
		for _, s := range segments(text) {
			words = append(words, s.text)
		}
		return strings.Join(words, " ")
	}
	best, bestDistance := "", 3
	for _, text := range texts {
		if d := distance(plain(wanted), plain(text), 2); d < bestDistance {
			best, bestDistance = text, d
		}
	}
	return best
}

// QueryWord is a word that a query asks for.
type QueryWord struct {
	Text   string
	Node   Node
	Begins Node // met by words that begin as this one does; nil when it is too short
}

// Words are the words that a query asks for, without those that it must not find. Phrases count as
// one word each.
func Words(n Node) []QueryWord {
	switch n := n.(type) {
	case And:
		var out []QueryWord
		for _, child := range n {
			out = append(out, Words(child)...)
		}
		return out
	case Or:
		var out []QueryWord
		for _, child := range n {
			out = append(out, Words(child)...)
		}
		return out
	case Word:
		w := QueryWord{Text: n.Text, Node: n}
		switch runes := []rune(n.Text); {
		case len(runes) >= 6: // a longer beginning leaves fewer items to look at
			w.Begins = Phrase{Words: []string{string(runes[:3])}, Prefix: true}
		case len(runes) >= 4:
			w.Begins = Phrase{Words: []string{string(runes[:2])}, Prefix: true}
		}
		return []QueryWord{w}
	case Phrase:
		return []QueryWord{{Text: strings.Join(n.Words, " "), Node: n}}
	}
	return nil
}

// distance counts the letters to change, add, leave out or swap; beyond most it is only more than
// that.
func distance(a, b string, most int) int {
	x, y := []rune(a), []rune(b)
	if len(x)-len(y) > most || len(y)-len(x) > most {
		return most + 1
	}
	before, row, next := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(x); i++ {
		next[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row, next = row, next, before
	}
	return row[len(y)]
}
