// Package delta describes a text by what it differs in from another one, so that keeping the text
// before a small change costs about as much as the change.
package delta

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"io"
	"sync"
)

// ErrBroken means a delta that was not made by Encode, or not for this text.
var ErrBroken = errors.New("a delta does not fit its text")

// What the first byte of a delta says of its middle, the part in which the two texts differ.
const (
	plain    = 'p'
	deflated = 'd'
)

const (
	// smallest is the length from which a middle is compressed.
	smallest = 128
	// window is how far back DEFLATE finds a repetition.
	window = 32 << 10
)

// Encode describes text by base. Both share their beginning and their end as a rule; what lies in
// between is compressed, with the same part of base as a dictionary.
func Encode(text, base []byte) []byte {
	head := commonPrefix(text, base)
	tail := commonSuffix(text[head:], base[head:])
	middle := text[head : len(text)-tail]
	out := append(make([]byte, 0, 16+min(len(middle), smallest)), plain)
	out = binary.AppendUvarint(out, uint64(head))
	out = binary.AppendUvarint(out, uint64(tail))
	out = binary.AppendUvarint(out, uint64(len(middle)))
	if len(middle) >= smallest {
		if packed := deflate(middle, dictionary(base, head, tail)); len(packed) < len(middle) {
			out[0] = deflated
			return append(out, packed...)
		}
	}
	return append(out, middle...)
}

// Decode is the text that Encode has described by base. most bounds its length.
func Decode(delta, base []byte, most int) ([]byte, error) {
	if len(delta) == 0 {
		return nil, ErrBroken
	}
	kind, rest := delta[0], delta[1:]
	var numbers [3]int
	for n := range numbers {
		value, size := binary.Uvarint(rest)
		if size <= 0 || value > uint64(most) {
			return nil, ErrBroken
		}
		numbers[n], rest = int(value), rest[size:]
	}
	head, tail, length := numbers[0], numbers[1], numbers[2]
	if head+tail > len(base) || head+tail+length > most {
		return nil, ErrBroken
	}
	out := append(make([]byte, 0, head+length+tail), base[:head]...)
	switch kind {
	case plain:
		if len(rest) != length {
			return nil, ErrBroken
		}
		out = append(out, rest...)
	case deflated:
		reader := flate.NewReaderDict(bytes.NewReader(rest), dictionary(base, head, tail))
		out = out[:head+length]
		if _, err := io.ReadFull(reader, out[head:]); err != nil {
			return nil, ErrBroken
		}
	default:
		return nil, ErrBroken
	}
	return append(out, base[len(base)-tail:]...), nil
}

// dictionary is the part of base that a middle stands in place of, or as much as is of use.
func dictionary(base []byte, head, tail int) []byte {
	middle := base[head : len(base)-tail]
	return middle[:min(len(middle), window)]
}

// packer is a writer of DEFLATE that takes a dictionary each time: flate.NewWriterDict makes
// hundreds of kilobytes of tables for each.
type packer struct {
	flate *flate.Writer
	out   bytes.Buffer
	drop  bool
}

func (p *packer) Write(b []byte) (int, error) {
	if p.drop {
		return len(b), nil
	}
	return p.out.Write(b)
}

var packers = sync.Pool{New: func() any {
	p := &packer{}
	p.flate, _ = flate.NewWriter(p, flate.BestSpeed) // the level is valid
	return p
}}

// deflate compresses a text as what follows a dictionary, whose own output is dropped.
func deflate(text, dictionary []byte) []byte {
	p := packers.Get().(*packer)
	defer packers.Put(p)
	p.out.Reset()
	p.flate.Reset(p)
	p.drop = true
	_, _ = p.flate.Write(dictionary) // a packer takes everything
	_ = p.flate.Flush()
	p.drop = false
	_, _ = p.flate.Write(text)
	_ = p.flate.Close()
	out := bytes.Clone(p.out.Bytes())
	if p.out.Cap() > keptBytes {
		p.out = bytes.Buffer{}
	}
	return out
}

// keptBytes is the largest output whose memory is kept for the next one.
const keptBytes = 64 << 10

func commonPrefix(a, b []byte) int {
	most := min(len(a), len(b))
	n := 0
	for n+64 <= most && bytes.Equal(a[n:n+64], b[n:n+64]) {
		n += 64
	}
	for n < most && a[n] == b[n] {
		n++
	}
	return n
}

func commonSuffix(a, b []byte) int {
	most := min(len(a), len(b))
	n := 0
	for n+64 <= most && bytes.Equal(a[len(a)-n-64:len(a)-n], b[len(b)-n-64:len(b)-n]) {
		n += 64
	}
	for n < most && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	return n
}
