// Package search turns texts and queries into the same normalised words. Both databases index what
// it makes and are asked with what it makes, so that both find the same items.
//
// A text becomes a stream of words: case, accents and width are folded; hyphens, dots and other
// punctuation separate; scripts that write without spaces become overlapping pairs of characters; a
// symbol such as an emoji is a word of its own. See document.go for what is indexed and query.go
// for the query language.
package search

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Version changes when the same text would be indexed differently. Stores rebuild their index
// then.
const Version = 2

// maxWord is how much of a word counts, in characters. Longer runs are data rather than words.
const maxWord = 64

type segmentKind int

const (
	word   segmentKind = iota
	run                // of a script without spaces between words
	symbol             // an emoji or the like
)

// segment is a part of a text that is a word, or that words are made of.
type segment struct {
	kind       segmentKind
	text       string // folded, never empty
	start, end int    // in bytes of the original text
	glue       rune   // what joins it to the one before: a mark of punctuation, or glued
}

// glued is the glue of segments that follow each other directly, such as a word and an emoji.
const glued = -1

// segments cuts a text.
func segments(text string) []segment {
	return appendSegments(make([]segment, 0, min(len(text)/wordBytes+1, 1<<12)), text)
}

// appendSegments adds the segments of a text to a slice that is empty.
func appendSegments(out []segment, text string) []segment {
	for at := 0; at < len(text); {
		r, size := utf8.DecodeRuneInString(text[at:])
		kind, ok := kindOf(r)
		if !ok {
			at += size
			continue
		}
		end, cut := at+size, at+size
		switch kind {
		case symbol:
			end = symbolEnd(text, at)
			cut = end
		case run:
			for end < len(text) {
				next, n := utf8.DecodeRuneInString(text[end:])
				if k, ok := kindOf(next); !(ok && k == run) && !isIgnorable(next) {
					break
				}
				end += n
			}
			cut = end
		case word:
			end, cut = wordEnd(text, at)
		}
		folded := ""
		switch kind {
		case symbol:
			folded = foldSymbol(text[at:cut])
		case run:
			folded = foldLetters(text[at:cut])
		case word:
			folded = cutWord(foldLetters(text[at:cut]))
		}
		if folded != "" {
			s := segment{kind: kind, text: folded, start: at, end: cut}
			if len(out) > 0 {
				s.glue = glueBetween(text[out[len(out)-1].end:at])
			}
			out = append(out, s)
		}
		at = end
	}
	return out
}

// glueBetween reads what stands between two segments.
func glueBetween(text string) rune {
	if text == "" {
		return glued
	}
	r, size := utf8.DecodeRuneInString(text)
	if size != len(text) {
		if strings.Trim(text, "'’sS") == "" { // a possessive, which is dropped
			return glued
		}
		return 0
	}
	switch r {
	case '-', '‐', '‑':
		return '-'
	case '_', '.', '@', '/', '\\', '+', ':', '&', '#', '=', ',', '\'', '’', '~', '%':
		return r
	}
	return 0
}

func kindOf(r rune) (segmentKind, bool) {
	switch {
	case r < utf8.RuneSelf:
		return word, isPlainByte(byte(r))
	case isIgnorable(r):
		return word, false
	case unspaced(r):
		return run, true
	case unicode.IsLetter(r), unicode.IsNumber(r), unicode.IsMark(r):
		return word, true
	case unicode.Is(unicode.So, r):
		return symbol, true
	}
	return word, false
}

// unspaced reports whether a character is of a script that does not write spaces between words.
func unspaced(r rune) bool {
	switch {
	case r < 0x0E00:
		return false
	case r == '々', r == 'ー', r == 'ｰ', r == '\u3099', r == '\u309A', r == 'ﾞ', r == 'ﾟ':
		return true
	}
	return unicode.In(
		r,
		unicode.Han,
		unicode.Hiragana,
		unicode.Katakana,
		unicode.Hangul,
		unicode.Bopomofo,
		unicode.Thai,
		unicode.Lao,
		unicode.Khmer,
		unicode.Myanmar,
	) &&
		!unicode.Is(unicode.So, r)
}

// isIgnorable is for what may stand inside a word without changing it: soft hyphens, joiners,
// variation selectors.
func isIgnorable(r rune) bool {
	switch {
	case r == '\u200B': // zero-width space: it separates
		return false
	case r >= 0xFE00 && r <= 0xFE0F, r >= 0xE0100 && r <= 0xE01EF, r >= 0xE0020 && r <= 0xE007F:
		return true
	}
	return r >= utf8.RuneSelf && unicode.Is(unicode.Cf, r)
}

// wordEnd is where a word ends, and where the part of it ends that counts: a possessive s does not.
func wordEnd(text string, start int) (end, cut int) {
	at := start
	for at < len(text) && isPlainByte(text[at]) {
		at++
	}
	if at == len(text) || text[at] < utf8.RuneSelf && text[at] != '\'' {
		return at, at // most words end here
	}
	letters := at - start
	for at < len(text) {
		r, size := utf8.DecodeRuneInString(text[at:])
		if r == '\'' || r == '’' {
			next, n := utf8.DecodeRuneInString(text[at+size:])
			after, _ := utf8.DecodeRuneInString(text[at+size+n:])
			k, ok := kindOf(next)
			inWord := ok && k == word && unicode.IsLetter(next)
			ak, aok := kindOf(after)
			ends := at+size+n == len(text) || !aok || ak != word
			switch {
			case inWord && (next == 's' || next == 'S') && ends:
				return at + size + n, at
			case inWord && letters > 2: // don't; but l'été is two words
				at += size
				continue
			}
			return at, at
		}
		k, ok := kindOf(r)
		if !(ok && k == word) && !isIgnorable(r) {
			return at, at
		}
		letters++
		at += size
	}
	return len(text), len(text)
}

// symbolEnd is where one symbol ends, with what modifies it.
func symbolEnd(text string, start int) int {
	first, size := utf8.DecodeRuneInString(text[start:])
	at := start + size
	if next, n := utf8.DecodeRuneInString(text[at:]); isRegional(first) && isRegional(next) {
		at += n
	}
	for at < len(text) {
		r, n := utf8.DecodeRuneInString(text[at:])
		if !isIgnorable(r) && !isSkinTone(r) && r != '\u20E3' {
			break
		}
		at += n
	}
	return at
}

func isRegional(r rune) bool { return r >= 0x1F1E6 && r <= 0x1F1FF }
func isSkinTone(r rune) bool { return r >= 0x1F3FB && r <= 0x1F3FF }

// foldSymbol leaves out what only changes the look of a symbol.
func foldSymbol(text string) string {
	return strings.Map(func(r rune) rune {
		if isIgnorable(r) || isSkinTone(r) || r == '\u20E3' {
			return -1
		}
		return r
	}, text)
}

// foldLetters removes what two spellings of one word differ in: case, accents, width, ligatures.
// What is left are letters, numbers and marks.
func foldLetters(text string) string {
	if isPlain(text) {
		return strings.ToLower(text)
	}
	var b strings.Builder
	for _, r := range norm.NFKD.String(text) {
		for _, lower := range foldRune(r) {
			if (unicode.IsLetter(lower) || unicode.IsNumber(lower) || unicode.IsMark(lower)) &&
				!isAccent(lower) &&
				!isIgnorable(lower) {
				b.WriteRune(lower)
			}
		}
	}
	return norm.NFC.String(b.String())
}

func isPlain(text string) bool {
	for i := range len(text) {
		if !isPlainByte(text[i]) {
			return false
		}
	}
	return true
}

func isPlainByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func cutWord(text string) string {
	if len(text) <= maxWord {
		return text
	}
	n := 0
	for i := range text {
		if n++; n > maxWord {
			return text[:i]
		}
	}
	return text
}

// foldRune lowers a character. Some letters have no decomposition and are still written without
// their stroke.
func foldRune(r rune) string {
	switch r {
	case 'ß', 'ẞ':
		return "ss"
	case 'Æ', 'æ':
		return "ae"
	case 'Œ', 'œ':
		return "oe"
	case 'Ø', 'ø':
		return "o"
	case 'Đ', 'đ', 'Ð', 'ð':
		return "d"
	case 'Þ', 'þ':
		return "th"
	case 'Ł', 'ł':
		return "l"
	case 'ı':
		return "i"
	case 'ς':
		return "σ"
	}
	return string(unicode.ToLower(unicode.ToUpper(r)))
}

// isAccent is for marks over and under letters. Marks that are letters of their script are none.
func isAccent(r rune) bool {
	switch {
	case r < 0x0300:
		return false
	case r <= 0x036F,
		// Cyrillic
		r >= 0x0483 && r <= 0x0489,
		// Hebrew points
		r >= 0x0591 && r <= 0x05C7,
		// Arabic
		r >= 0x0610 && r <= 0x061A, r >= 0x064B && r <= 0x065F, r == 0x0670,
		r >= 0x06D6 && r <= 0x06ED,
		// of several scripts
		r >= 0x1AB0 && r <= 0x1AFF, r >= 0x1DC0 && r <= 0x1DFF, r >= 0x20D0 && r <= 0x20FF,
		r >= 0xFE20 && r <= 0xFE2F:
		return true
	}
	return false
}
