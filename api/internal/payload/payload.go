// Package payload handles a JSON object without interpreting it.
//
// A payload belongs to the caller: key order, the digits of numbers and the escapes of strings come
// back as they were sent. So nothing here decodes a value into a Go type and encodes it again. It
// validates and compacts the text once with encoding/json, then cuts the top level
// into raw pieces; cutting text that is known to be valid needs no error handling.
//
// Every JSON text that comes from outside is read here first: bodies, the parts of a token and the
// answers of key servers. So all of them have the same limits, whatever decodes them afterwards.
package payload

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// MaxDepth bounds nesting: readers in other languages stop at 64 (.NET) or 128 (serde_json) levels,
// and an unreadable item would be lost.
const MaxDepth = 64

// MaxMembers bounds the top level of an object, whose members cost much more memory than their
// text.
const MaxMembers = 10_000

var (
	// ErrEmpty means that there was no body where an object is needed.
	ErrEmpty = errors.New("body is empty, a JSON object is needed")
	// ErrNotObject means valid JSON of another type.
	ErrNotObject = errors.New("body must be a JSON object")
	// ErrTooDeep means more than MaxDepth levels.
	ErrTooDeep = fmt.Errorf("body is nested too deeply: at most %d levels", MaxDepth)
	// ErrTooManyMembers means more than MaxMembers at the top level.
	ErrTooManyMembers = fmt.Errorf("body has too many members: at most %d", MaxMembers)
	// ErrLoneSurrogate means a key with half of a character that takes two escapes. All such halves
	// become the same replacement character when they are decoded, and different keys one.
	ErrLoneSurrogate = errors.New("body has a key with a lone surrogate, which is no character")
	// ErrMemberTwice means an object that has a member twice.
	ErrMemberTwice = errors.New("an object has a member twice")
	// ErrNotUTF8 means bytes that are not UTF-8, which no JSON text may hold.
	ErrNotUTF8 = errors.New("body is not valid UTF-8")
)

// Object is a JSON object whose values are raw text. The zero value is an empty object.
type Object struct {
	fields []field
	index  map[string]int
}

type field struct {
	key   string // as text in JSON: quoted and escaped the way the caller did
	name  string // the key, decoded
	value json.RawMessage
}

// Parse reads one JSON object. A key that comes twice counts once: in its first place, with its
// last value, which is what nearly every reader makes of it.
func Parse(body []byte) (*Object, error) {
	o, outline, err := parse(body)
	switch {
	case err != nil:
		return nil, err
	case outline.members > MaxMembers:
		return nil, ErrTooManyMembers
	case outline.loneSurrogate:
		return nil, ErrLoneSurrogate
	}
	return o, nil
}

// ParseUnique is Parse for what a proof is made of, such as a token: a member that comes twice at
// the top level is an error there, since two readers could take different ones.
func ParseUnique(text []byte) (*Object, error) {
	o, outline, err := parse(text)
	switch {
	case err != nil:
		return nil, err
	case outline.members != o.Len():
		return nil, ErrMemberTwice
	case outline.members > MaxMembers:
		return nil, ErrTooManyMembers
	case outline.loneSurrogate:
		return nil, ErrLoneSurrogate
	}
	return o, nil
}

// ParseStored reads what Parse has let in, here or in an earlier release, which allowed more.
func ParseStored(text []byte) (*Object, error) {
	o, _, err := parse(text)
	return o, err
}

func parse(body []byte) (*Object, outline, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, outline{}, ErrEmpty
	}
	if !utf8.Valid(body) {
		return nil, outline{}, ErrNotUTF8
	}
	var compact bytes.Buffer
	compact.Grow(len(body))
	if err := json.Compact(&compact, body); err != nil {
		return nil, outline{}, fmt.Errorf("body is not JSON: %w", err)
	}
	text := compact.Bytes()
	if text[0] != '{' {
		return nil, outline{}, ErrNotObject
	}
	seen := outlineOf(text)
	if seen.depth > MaxDepth {
		return nil, outline{}, ErrTooDeep
	}
	o := sized(seen.members)
	for rest := text[1:]; rest[0] != '}'; {
		key := value(rest)
		rest = rest[len(key)+1:] // the colon
		val := value(rest)
		rest = rest[len(val):]
		if rest[0] == ',' {
			rest = rest[1:]
		}
		o.put(string(key), unquote(key), json.RawMessage(val))
	}
	return o, seen, nil
}

func sized(members int) *Object {
	return &Object{fields: make([]field, 0, members), index: make(map[string]int, members)}
}

// Len is the number of members.
func (o *Object) Len() int { return len(o.fields) }

// Get returns the raw text of a value.
func (o *Object) Get(name string) (json.RawMessage, bool) {
	i, ok := o.index[name]
	if !ok {
		return nil, false
	}
	return o.fields[i].value, true
}

// Text returns a value that is a JSON string.
func (o *Object) Text(name string) (string, bool) {
	raw, ok := o.Get(name)
	if !ok || raw[0] != '"' {
		return "", false
	}
	return unquote(raw), true
}

// Set puts a value in the place that the key has, or at the end.
func (o *Object) Set(name string, value json.RawMessage) {
	key, _ := json.Marshal(name) // a string always encodes
	o.put(string(key), name, value)
}

// Merge sets every field of other.
func (o *Object) Merge(other *Object) {
	for _, f := range other.fields {
		o.put(f.key, f.name, f.value)
	}
}

// Without returns the object less the named fields.
func (o *Object) Without(names ...string) *Object {
	out := sized(len(o.fields))
fields:
	for _, f := range o.fields {
		for _, name := range names {
			if f.name == name {
				continue fields
			}
		}
		out.put(f.key, f.name, f.value)
	}
	return out
}

// JSON is the object as compact text.
func (o *Object) JSON() []byte {
	out := append(make([]byte, 0, o.Size()), '{')
	for i, f := range o.fields {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, f.key...)
		out = append(out, ':')
		out = append(out, f.value...)
	}
	return append(out, '}')
}

// Size is the length of JSON.
func (o *Object) Size() int {
	size := len("{}") + max(0, len(o.fields)-1)
	for _, f := range o.fields {
		size += len(f.key) + len(f.value) + len(":")
	}
	return size
}

func (o *Object) put(key, name string, value json.RawMessage) {
	if i, ok := o.index[name]; ok {
		o.fields[i].value = value
		return
	}
	if o.index == nil {
		o.index = make(map[string]int)
	}
	o.index[name] = len(o.fields)
	o.fields = append(o.fields, field{key: key, name: name, value: value})
}

// value cuts the first value off text, which is valid compact JSON from a value's start.
func value(text []byte) []byte {
	level := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i += stringEnd(text[i:])
			if level == 0 {
				return text[:i+1]
			}
		case '{', '[':
			level++
		case '}', ']':
			if level == 0 {
				return text[:i] // the value was a number or a word, and the object around it ends
			}
			if level--; level == 0 {
				return text[:i+1]
			}
		case ',':
			if level == 0 {
				return text[:i]
			}
		}
	}
	return text
}

// stringEnd is the offset of the closing quote of the string that text starts with.
func stringEnd(text []byte) int {
	for i := 1; ; i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
}

func unquote(raw []byte) string {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1])
	}
	var s string
	_ = json.Unmarshal(raw, &s) // valid by construction
	return s
}

// outline is what a text has, seen without decoding it.
type outline struct {
	depth         int
	members       int  // of the top level, doubles included
	loneSurrogate bool // in a key, at any level
}

func outlineOf(text []byte) (seen outline) {
	level := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			end := i + stringEnd(text[i:])
			if end+1 < len(text) && text[end+1] == ':' && hasLoneSurrogate(text[i+1:end]) {
				seen.loneSurrogate = true
			}
			i = end
		case '{', '[':
			level++
			seen.depth = max(seen.depth, level)
		case '}', ']':
			level--
		case ':':
			if level == 1 {
				seen.members++
			}
		}
	}
	return seen
}

// hasLoneSurrogate looks at a valid string's text, without its quotes.
func hasLoneSurrogate(text []byte) bool {
	for {
		at := bytes.IndexByte(text, '\\')
		if at < 0 {
			return false
		}
		text = text[at:]
		switch unit := escapedUnit(text); {
		case unit < 0xd800 || unit > 0xdfff:
			text = text[len(`\n`):] // what follows \u are digits, which are passed over
		case unit >= 0xdc00:
			return true
		default:
			text = text[len(`\ud800`):]
			if second := escapedUnit(text); second < 0xdc00 || second > 0xdfff {
				return true
			}
			text = text[len(`\udc00`):]
		}
	}
}

// escapedUnit is the number of a \u escape at the beginning of a text, or 0.
func escapedUnit(text []byte) uint64 {
	if len(text) < len(`\u0000`) || text[0] != '\\' || text[1] != 'u' {
		return 0
	}
	unit, _ := strconv.ParseUint(string(text[2:6]), 16, 16)
	return unit
}

// Each calls do for every field, in order.
func (o *Object) Each(do func(name string, value json.RawMessage)) {
	for _, f := range o.fields {
		do(f.name, f.value)
	}
}

// Texts calls do for every string and number in a value, at any depth. It takes values of a parsed
// object only.
func Texts(raw json.RawMessage, do func(text string)) {
	switch raw[0] {
	case '"':
		do(unquote(raw))
	case '[':
		for rest := raw[1:]; rest[0] != ']'; {
			element := value(rest)
			Texts(element, do)
			if rest = rest[len(element):]; rest[0] == ',' {
				rest = rest[1:]
			}
		}
	case '{':
		for rest := raw[1:]; rest[0] != '}'; {
			key := value(rest)
			rest = rest[len(key)+1:] // the colon
			element := value(rest)
			Texts(element, do)
			if rest = rest[len(element):]; rest[0] == ',' {
				rest = rest[1:]
			}
		}
	case 't', 'f', 'n':
	default:
		do(string(raw))
	}
}
