package search

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of a query. They are far above what anybody writes, and low enough that no query is slow
// to take apart.
const (
	MaxQueryBytes = 4096
	MaxQueryWords = 64
	maxDepth      = 16
)

// SyntaxError says what is wrong with a query, for its author.
type SyntaxError struct{ Problem string }

func (e *SyntaxError) Error() string { return "query: " + e.Problem }

func syntaxError(format string, args ...any) error {
	return &SyntaxError{fmt.Sprintf(format, args...)}
}

// Node is a condition that a document meets or does not meet.
type Node interface{ node() }

type (
	// And is met where all of its nodes are; Or where one of them is.
	And []Node
	Or  []Node
	// Not is met where its node is not.
	Not struct{ Node Node }
	// Word is met by any form of a word.
	Word struct {
		Text  string // folded
		Stems []string
	}
	// Phrase is met by words that follow each other, as they are written. With Prefix the last one
	// only has to begin so.
	Phrase struct {
		Words  []string
		Prefix bool
	}
	// facet is met by documents with a term, which is not a word.
	facet string
)

func (And) node()    {}
func (Or) node()     {}
func (Not) node()    {}
func (Word) node()   {}
func (Phrase) node() {}
func (facet) node()  {}

// ParseQuery reads what a person or a model writes: words that must all match, "a phrase", OR,
// -word, pre*, parentheses. It returns nil for a query of blanks.
func ParseQuery(text string) (Node, error) {
	if len(text) > MaxQueryBytes {
		return nil, syntaxError("is too long: at most %d bytes", MaxQueryBytes)
	}
	if !utf8.ValidString(text) {
		return nil, syntaxError("is not valid UTF-8")
	}
	for _, r := range text {
		if unicode.IsControl(r) && !unicode.IsSpace(r) {
			return nil, syntaxError("holds a control character (U+%04X)", r)
		}
	}
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	p := &parser{rest: []rune(text)}
	out, err := p.or(0)
	if err != nil {
		return nil, err
	}
	if p.at < len(p.rest) { // only a parenthesis ends an expression early
		return nil, syntaxError(
			"the closing parenthesis at character %d has no opening one",
			p.at+1,
		)
	}
	if out == nil {
		return nil, syntaxError("has no word to look for, only punctuation")
	}
	return out, nil
}

type parser struct {
	rest  []rune
	at    int
	words int
}

// or reads operands with OR between them. It returns nil where nothing but punctuation was written.
func (p *parser) or(depth int) (Node, error) {
	if depth > maxDepth {
		return nil, syntaxError("has parentheses in more than %d levels", maxDepth)
	}
	var out Or
	for {
		operand, any, err := p.and(depth)
		if err != nil {
			return nil, err
		}
		more := p.operator("OR")
		if !any && (more || len(out) > 0) {
			return nil, syntaxError("OR needs something to look for on both sides")
		}
		if operand != nil {
			out = append(out, operand)
		}
		if !more {
			break
		}
		if p.blank(); p.at == len(p.rest) || p.rest[p.at] == ')' {
			return nil, syntaxError("OR needs something to look for on both sides")
		}
	}
	switch len(out) {
	case 0:
		return nil, nil
	case 1:
		return out[0], nil
	}
	return out, nil
}

// and reads operands up to OR, a closing parenthesis or the end. any reports whether there was one,
// even of punctuation.
func (p *parser) and(depth int) (_ Node, any bool, err error) {
	var out And
	for {
		p.blank()
		if p.operator("AND") {
			continue
		}
		if p.at == len(p.rest) || p.rest[p.at] == ')' || p.atOperator("OR") {
			break
		}
		negative := p.negation()
		operand, err := p.operand(depth)
		if err != nil {
			return nil, false, err
		}
		any = true
		switch {
		case operand == nil:
		case negative:
			out = append(out, Not{operand})
		default:
			out = append(out, operand)
		}
	}
	switch len(out) {
	case 0:
		return nil, any, nil
	case 1:
		return out[0], any, nil
	}
	return out, any, nil
}

func (p *parser) operand(depth int) (Node, error) {
	if p.at == len(p.rest) {
		return nil, nil // a minus at the end
	}
	switch start := p.at; {
	case p.rest[p.at] == '(':
		p.at++
		inner, err := p.or(depth + 1)
		if err != nil {
			return nil, err
		}
		if p.at == len(p.rest) {
			return nil, syntaxError("the parenthesis at character %d is not closed", start+1)
		}
		p.at++
		return inner, nil
	case p.rest[p.at] == ')':
		return nil, nil
	case isQuote(p.rest[p.at]):
		for p.at++; p.at < len(p.rest); p.at++ {
			if isQuote(p.rest[p.at]) {
				p.at++
				return p.phrase(string(p.rest[start+1 : p.at-1]))
			}
		}
		return nil, syntaxError("the quotation mark at character %d is not closed", start+1)
	default:
		for p.at < len(p.rest) && !unicode.IsSpace(p.rest[p.at]) && !isQuote(p.rest[p.at]) &&
			p.rest[p.at] != '(' && p.rest[p.at] != ')' {
			p.at++
		}
		return p.term(string(p.rest[start:p.at]))
	}
}

func isQuote(r rune) bool {
	return r == '"' || r == '“' || r == '”' || r == '„' || r == '«' || r == '»'
}

func (p *parser) blank() {
	for p.at < len(p.rest) && unicode.IsSpace(p.rest[p.at]) {
		p.at++
	}
}

// atOperator reports whether an operator stands here, as a word of its own.
func (p *parser) atOperator(name string) bool {
	end := p.at + len(name)
	if end > len(p.rest) || string(p.rest[p.at:end]) != name {
		return false
	}
	return end == len(p.rest) || unicode.IsSpace(p.rest[end]) || p.rest[end] == '(' ||
		p.rest[end] == ')' ||
		isQuote(p.rest[end])
}

func (p *parser) operator(name string) bool {
	if !p.atOperator(name) {
		return false
	}
	p.at += len(name)
	return true
}

// negation reads a minus that stands before something, or NOT. Several count as one.
func (p *parser) negation() bool {
	negative := false
	for {
		switch {
		case p.operator("NOT"):
			p.blank()
		case p.at+1 < len(p.rest) && p.rest[p.at] == '-' && !unicode.IsSpace(p.rest[p.at+1]):
			p.at++
		default:
			return negative
		}
		negative = true
	}
}

// count bounds the words of a query.
func (p *parser) count(n int) error {
	if p.words += n; p.words > MaxQueryWords {
		return syntaxError("has too many words: at most %d", MaxQueryWords)
	}
	return nil
}

// term is what stands between blanks. Where punctuation divides it, its parts must follow each
// other.
func (p *parser) term(text string) (Node, error) {
	prefix := strings.HasSuffix(text, "*")
	parts := segments(text)
	if err := p.count(len(parts)); err != nil {
		return nil, err
	}
	if prefix && len(parts) > 0 {
		last := parts[len(parts)-1]
		if rest := strings.TrimRight(text, "*"); last.end != len(rest) {
			prefix = false // the asterisk follows punctuation
		} else if last.kind == word && utf8.RuneCountInString(last.text) < 2 {
			return nil, syntaxError(
				"%s*: at least two characters are needed before an asterisk",
				last.text,
			)
		}
	}
	if len(parts) == 1 && parts[0].kind != run && !prefix {
		return wordNode(parts[0].text), nil
	}
	if len(parts) > 0 && versionEnd(parts, 0) > 0 {
		parts = versionOf(parts)
	}
	out := phrases(parts, prefix)
	if joined, ok := allJoined(parts); ok && !prefix {
		return Or{out, wordNode(joined)}, nil
	}
	return out, nil
}

func (p *parser) phrase(text string) (Node, error) {
	parts := segments(text)
	if err := p.count(len(parts)); err != nil {
		return nil, err
	}
	return phrases(parts, false), nil
}

func wordNode(folded string) Node { return Word{Text: folded, Stems: stems(folded)} }

func allJoined(parts []segment) (string, bool) {
	if len(parts) < 2 {
		return "", false
	}
	for n, s := range parts {
		if n > 0 && s.glue != '-' || s.kind != word {
			return "", false
		}
	}
	return joinedAt(parts, len(parts)-1)
}

// phrases are the words of segments that follow each other. A run of characters without spaces is a
// phrase of its own.
func phrases(parts []segment, prefix bool) Node {
	var out And
	var words []string
	flush := func(prefix bool) {
		if len(words) > 0 {
			out = append(out, Phrase{Words: words, Prefix: prefix})
			words = nil
		}
	}
	for _, s := range parts {
		if s.kind != run {
			words = append(words, s.text)
			continue
		}
		flush(false)
		words = pairs(s.text)
		if len(words) > 1 {
			words = words[:len(words)-1]
			flush(false) // a longer run begins with the same pairs
		} else {
			flush(true) // one character begins a pair, or is the last of a run
		}
	}
	flush(prefix)
	switch len(out) {
	case 0:
		return nil
	case 1:
		return out[0]
	}
	return out
}

// BroadPrefix is a prefix of a query that is so short that any number of words may begin with it;
// "" when there is none.
func BroadPrefix(n Node) string {
	var nodes []Node
	switch n := n.(type) {
	case And:
		nodes = n
	case Or:
		nodes = n
	case Not:
		nodes = []Node{n.Node}
	case Phrase:
		if last := n.Words[len(n.Words)-1]; n.Prefix && utf8.RuneCountInString(last) < 3 {
			return last + "*"
		}
	}
	for _, child := range nodes {
		if broad := BroadPrefix(child); broad != "" {
			return broad
		}
	}
	return ""
}
