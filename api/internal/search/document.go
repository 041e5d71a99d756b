package search

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/toolbridge/toolbridge-mcp/api/internal/entity"
	"github.com/toolbridge/toolbridge-mcp/api/internal/payload"
)

// State is what a search leaves out unless it is asked for.
type State string

const (
	Live     State = "l"
	Archived State = "a"
	Deleted  State = "d"
)

// Each term of the index begins with a letter that says what it is.
const (
	classWord     = "w" // a word of the text, in the stream
	classStem     = "s" // a stem that is not a word of the text
	classTitle    = "t" // a word of the title, or a stem of one
	classAll      = "a" // in every document
	classKind     = "k"
	classTag      = "g"
	classStatus   = "u"
	classPriority = "r"
	classParent   = "p"
	classBreak    = "b" // in the stream: what is before and after does not follow each other
)

// maxTerms bounds the different words of one document, in bytes. PostgreSQL's tsvector holds 1 MiB;
// words beyond the bound are not found, on either database. A long book stays far below it.
const maxTerms = 900_000

// Document is an item as the index knows it.
type Document struct {
	State      State
	Kind       string // as a key: "chat_message"
	Title      string // "" when there is none
	Status     string
	Priority   string
	Due        *int64 // Unix milliseconds
	DueText    string // as it was written
	Tags       []string
	ParentKind string // as a key
	Parent     string // uid
	Unread     bool   // a message that is not marked as read
	Stream     []string
	Terms      []string // all but those of the stream; each once
}

// Text is a part of a payload in which words are looked for.
type Text struct {
	Field string // of the payload
	Value string
}

// unsearched are fields whose values are no text.
var unsearched = func() map[string]bool {
	out := map[string]bool{"status": true, "priority": true, "dueDate": true}
	for _, field := range entity.ServerFields {
		out[field] = true
	}
	for _, kind := range entity.All {
		if p := kind.Parent; p != nil {
			out[p.UIDField] = true
			if p.TypeField != "" {
				out[p.TypeField] = true
			}
		}
	}
	return out
}()

// titleFields are the fields that may hold a title, best first.
var titleFields = []string{"title", "name", "subject"}

// Parse reads a payload. One that is not an object, which no server stores, has no text.
func Parse(kind entity.Kind, text []byte, deleted bool) (Document, []Text) {
	object, err := payload.Parse(text)
	if err != nil {
		object = &payload.Object{}
	}
	d := Document{State: Live, Kind: kind.Key}
	status, _ := object.Text("status")
	priority, _ := object.Text("priority")
	d.Status, d.Priority = storable(status), storable(priority)
	archived, _ := object.Get("archived")
	switch {
	case deleted:
		d.State = Deleted
	case d.Status == "archived" || string(archived) == "true":
		d.State = Archived
	}
	titleField := ""
	for _, field := range titleFields {
		if title, ok := object.Text(field); ok && strings.TrimSpace(title) != "" {
			d.Title, titleField = title, field
			break
		}
	}
	if text, ok := object.Text("dueDate"); ok {
		if due, _, ok := ParseTime(text); ok {
			ms := due.UnixMilli()
			d.Due, d.DueText = &ms, text
		}
	}
	if tags, ok := object.Get("tags"); ok && tags[0] == '[' {
		var all []string
		_ = json.Unmarshal(tags, &all) // those that are no list of strings are no tags
		for _, tag := range all {
			tag = storable(tag)
			if tag != "" && !slices.Contains(d.Tags, tag) && len(d.Tags) < maxTags {
				d.Tags = append(d.Tags, tag)
			}
		}
	}
	if kind.Parent != nil {
		if ref, err := kind.Parent.Ref(object); err == nil {
			d.Parent, d.ParentKind = ref.UID, entity.KeyOf(ref.Kind)
		}
	}
	if kind.Key == "chat_message" {
		read, _ := object.Get("read")
		d.Unread = string(read) != "true"
	}
	var texts []Text
	if titleField != "" {
		texts = append(texts, Text{titleField, d.Title})
	}
	object.Each(func(name string, value json.RawMessage) {
		if unsearched[name] || name == titleField {
			return
		}
		payload.Texts(value, func(text string) { texts = append(texts, Text{name, text}) })
	})
	return d, texts
}

// maxTags bounds what one item can add to the groups of a search.
const maxTags = 200

// storable leaves out NUL, which PostgreSQL's text does not hold.
func storable(text string) string { return strings.ReplaceAll(text, "\x00", "") }

// Index makes a document of a payload.
func Index(kind entity.Kind, text []byte, deleted bool) Document {
	d, texts := Parse(kind, text, deleted)
	size := 0
	for _, text := range texts {
		size += len(text.Value)
	}
	b := builders.Get().(*builder)
	defer b.release()
	b.stream = make([]string, 0, min(size/wordBytes, 1<<12))
	b.term(classAll)
	b.term(classKind + d.Kind)
	b.facet(classStatus, d.Status)
	b.facet(classPriority, d.Priority)
	if d.Parent != "" {
		b.term(classParent + d.Parent)
	}
	for _, tag := range d.Tags {
		b.facet(classTag, tag)
	}
	for n, text := range texts {
		b.text(text.Value, n == 0 && d.Title != "")
	}
	d.Stream, d.Terms = b.stream, b.terms
	return d
}

// wordBytes is about what a word takes in a text.
const wordBytes = 6

// builder collects terms.
type builder struct {
	stream []string
	terms  []string
	words  map[string]bool // of the stream
	seen   map[string]bool // the other terms
	parsed []segment       // of one text
	bytes  int
}

// builders keeps what is used again for the next document.
var builders = sync.Pool{New: func() any {
	return &builder{words: make(map[string]bool), seen: make(map[string]bool)}
}}

// maxKept bounds what a builder may hold to be used again: clearing takes as long as it is large.
const maxKept = 1 << 10

func (b *builder) release() {
	if len(b.words) > maxKept || len(b.seen) > maxKept || cap(b.parsed) > maxKept {
		return
	}
	clear(b.words)
	clear(b.seen)
	clear(b.parsed[:cap(b.parsed)]) // or it would hold the text
	*b = builder{words: b.words, seen: b.seen, parsed: b.parsed[:0]}
	builders.Put(b)
}

// reserve counts another term of this length, and reports whether it may be added. The count allows
// for the prefix that a store adds.
func (b *builder) reserve(length int) bool {
	size := length + 12
	if b.bytes+size > maxTerms {
		return false
	}
	b.bytes += size
	return true
}

func (b *builder) term(term string) {
	if !b.seen[term] && b.reserve(len(term)) {
		b.seen[term] = true
		b.terms = append(b.terms, term)
	}
}

func (b *builder) facet(class, value string) {
	if value != "" {
		b.term(class + facetValue(value))
	}
}

// facetValue makes of any text a short term that is the same for spellings that differ only in
// case.
func facetValue(value string) string {
	sum := sha256.Sum256([]byte(strings.ToLower(strings.TrimSpace(value))))
	return hex.EncodeToString(sum[:16])
}

func (b *builder) text(text string, title bool) {
	parts := appendSegments(b.parsed[:0], text)
	b.parsed = parts
	b.parts(parts, title)
	for from := range parts {
		if to := versionEnd(parts, from); to > from {
			b.parts(versionOf(parts[from:to]), title)
		}
	}
}

func (b *builder) parts(parts []segment, title bool) {
	b.breakStream()
	for n, s := range parts {
		switch s.kind {
		case run:
			for _, pair := range pairs(s.text) {
				b.push(pair, title)
			}
		default:
			b.push(s.text, title)
			if joined, ok := joinedAt(parts, n); ok {
				b.stems(joined, title)
			}
		}
	}
}

func (b *builder) breakStream() {
	if len(b.stream) > 0 && b.stream[len(b.stream)-1] != "" {
		b.stream = append(b.stream, "")
	}
}

func (b *builder) push(word string, title bool) {
	known := b.words[word]
	if !known && !b.reserve(len(classWord)+len(word)) {
		b.breakStream()
		return
	}
	b.stream = append(b.stream, word)
	if known && !title {
		return // the title comes first, so all that follows is there
	}
	b.words[word] = true
	b.stems(word, title)
	if title {
		b.term(classTitle + word)
	}
}

func (b *builder) stems(word string, title bool) {
	for _, stem := range stems(word) {
		if !b.words[stem] { // or it is found as a word
			b.term(classStem + stem)
		}
		if title {
			b.term(classTitle + stem)
		}
	}
}

// pairs are the overlapping pairs of a run's characters, and the last character alone, so that
// every character begins one of them.
func pairs(run string) []string {
	var out []string
	last := -1
	for at := range run {
		if last >= 0 {
			_, size := utf8.DecodeRuneInString(run[at:])
			out = append(out, run[last:at+size])
		}
		last = at
	}
	return append(out, run[last:])
}

// joinedAt is the hyphenated word that ends at a segment, without its hyphens.
func joinedAt(parts []segment, end int) (string, bool) {
	if parts[end].glue != '-' || parts[end].kind != word ||
		end+1 < len(parts) && parts[end+1].glue == '-' {
		return "", false
	}
	start := end
	for start > 0 && parts[start].glue == '-' && parts[start-1].kind == word {
		start--
	}
	var b strings.Builder
	for _, s := range parts[start : end+1] {
		b.WriteString(s.text)
	}
	joined := b.String()
	return joined, start < end && cutWord(joined) == joined
}

// versionEnd is where a version number such as v2.10.3 ends that begins at a segment; from when
// none does.
func versionEnd(parts []segment, from int) int {
	if !isVersion(parts[from].text) {
		return from
	}
	to := from + 1
	for to < len(parts) && parts[to].glue == '.' && parts[to].kind == word &&
		startsWithDigit(parts[to].text) {
		to++
	}
	if to == from+1 {
		return from
	}
	return to
}

// versionOf is a version number without its v, so that 2.10 and v2.10 find each other.
func versionOf(parts []segment) []segment {
	out := append([]segment(nil), parts...)
	out[0].text = out[0].text[1:]
	return out
}

func isVersion(word string) bool {
	return len(word) > 1 && word[0] == 'v' && strings.Trim(word[1:], "0123456789") == ""
}

func startsWithDigit(word string) bool { return word[0] >= '0' && word[0] <= '9' }

// ParseTime reads RFC 3339 or a date, which is midnight in UTC.
func ParseTime(text string) (at time.Time, isDate, ok bool) {
	if at, err := time.Parse(time.DateOnly, text); err == nil {
		return at, true, inRange(at)
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	return at, false, err == nil && inRange(at)
}

func inRange(at time.Time) bool { return at.Year() >= 1 && at.Year() <= 9999 }

// Scope is whose documents and which of them a term belongs to. It begins every term, so that the
// lists of one person hold nothing of another's.
func Scope(owner int64, state State) string {
	return strconv.FormatInt(owner, 10) + string(state) + ":"
}

// FTS5 is the document as the texts of a row, for a tokenizer that splits at spaces. Stems are the
// same terms as words, in a column of their own: one look-up finds both, and a phrase asks for the
// other column only.
func (d *Document) FTS5(owner int64) (words, terms string) {
	scope := Scope(owner, d.State)
	var b strings.Builder
	b.Grow(termsSize(scope+classWord, d.Stream))
	for _, word := range d.Stream {
		b.WriteString(scope)
		if word == "" {
			b.WriteString(classBreak)
		} else {
			b.WriteString(classWord)
			b.WriteString(word)
		}
		b.WriteByte(' ')
	}
	words = b.String()
	b.Reset()
	b.Grow(termsSize(scope, d.Terms))
	for _, term := range d.Terms {
		b.WriteString(scope)
		if stem, ok := strings.CutPrefix(term, classStem); ok {
			b.WriteString(classWord)
			term = stem
		}
		b.WriteString(term)
		b.WriteByte(' ')
	}
	return words, b.String()
}

// termsSize is what terms take with something before each and a space behind.
func termsSize(before string, terms []string) int {
	size := 0
	for _, term := range terms {
		size += len(before) + len(term) + 1
	}
	return size
}

// Lexemes are the document's terms for PostgreSQL, each once.
func (d *Document) Lexemes(owner int64) []string {
	scope := Scope(owner, d.State)
	out := make([]string, 0, len(d.Terms)+len(d.Stream))
	for _, term := range d.Terms {
		out = append(out, scope+term)
	}
	seen := make(map[string]bool, len(d.Stream))
	for _, word := range d.Stream {
		if word != "" && !seen[word] {
			seen[word] = true
			out = append(out, scope+classWord+word)
		}
	}
	return out
}

// streamBreak is what Words has between words that do not follow each other. No word is like it.
const streamBreak = "|"

// Words is the stream as one text, in which a phrase is a substring.
func (d *Document) Words() string {
	size := 1
	for _, word := range d.Stream {
		size += len(word) + 2
	}
	var b strings.Builder
	b.Grow(size)
	b.WriteByte(' ')
	for _, word := range d.Stream {
		if word == "" {
			word = streamBreak
		}
		b.WriteString(word)
		b.WriteByte(' ')
	}
	return b.String()
}
