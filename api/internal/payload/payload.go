// Package payload handles a JSON object without understanding it.
//
// A payload belongs to the caller: key order, the digits of numbers and the escapes of strings come back as they
// were sent. So nothing here decodes a value into a Go type and encodes it again. Its one trick is to
// validate and compact the text once with encoding/json, then cut the top level into raw pieces; cutting
// text that is known to be valid needs no error handling.
package payload

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// MaxDepth bounds nesting: readers in other languages give up at 64 (.NET) or 128 (serde_json) levels, and an
// item that nobody can read is an item lost.
const MaxDepth = 64

var (
	// ErrEmpty means that there was no body where an object is needed.
	ErrEmpty = errors.New("body is empty, a JSON object is needed")
	// ErrNotObject means valid JSON of another type.
	ErrNotObject = errors.New("body must be a JSON object")
	// ErrTooDeep means more than MaxDepth levels.
	ErrTooDeep = fmt.Errorf("body is nested too deeply: at most %d levels", MaxDepth)
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
	name  string // what the key says
	value json.RawMessage
}

// Parse reads one JSON object. A key that comes twice counts once: in its first place, with its last value, which
// is what nearly every reader makes of it.
func Parse(body []byte) (*Object, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, ErrEmpty
	}
	if !utf8.Valid(body) {
		return nil, ErrNotUTF8
	}
	var compact bytes.Buffer
	compact.Grow(len(body))
	if err := json.Compact(&compact, body); err != nil {
		return nil, fmt.Errorf("body is not JSON: %w", err)
	}
	text := compact.Bytes()
	if text[0] != '{' {
		return nil, ErrNotObject
	}
	if depth(text) > MaxDepth {
		return nil, ErrTooDeep
	}
	o := &Object{}
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
	return o, nil
}

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
	out := &Object{}
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
	size := 2
	for _, f := range o.fields {
		size += len(f.key) + len(f.value) + 2
	}
	out := append(make([]byte, 0, size), '{')
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

func depth(text []byte) int {
	level, deepest := 0, 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i += stringEnd(text[i:])
		case '{', '[':
			level++
			deepest = max(deepest, level)
		case '}', ']':
			level--
		}
	}
	return deepest
}

// Each calls do for every field, in order.
func (o *Object) Each(do func(name string, value json.RawMessage)) {
	for _, f := range o.fields {
		do(f.name, f.value)
	}
}

// Texts calls do for every string and number in a value, at any depth. It takes values of a parsed object only.
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
