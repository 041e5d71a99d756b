package httpapi

import (
	"bytes"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
)

// CheckFraming refuses what two readers of a connection could cut into different requests, and
// what net/http accepts without showing it to handlers: a head with both Content-Length and
// Transfer-Encoding (RFC 9112, section 6.1), and folded header lines (section 5.2).
//
// Such a head is made invalid on its way to net/http, which then answers 400 and closes the
// connection. To know where heads are, a connection is followed through its bodies. That is easy
// with Content-Length. After a head with Transfer-Encoding it is not tried: that request is the
// connection's last (see Connections.Watch).
func CheckFraming(listener net.Listener) net.Listener { return framingListener{listener} }

type framingListener struct{ net.Listener }

func (l framingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &framedConn{Conn: conn}, nil
}

type framedConn struct {
	net.Conn
	scanner headScanner // of the one goroutine that reads
	last    atomic.Bool // no request can follow the one that was read last
}

func (c *framedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.scanner.scan(p[:n])
	if c.scanner.state == followNoMore {
		c.last.Store(true)
	}
	return n, err
}

// CloseWrite is what net/http calls before it closes a connection whose client still sends.
func (c *framedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

type scanState int

const (
	beforeHead    scanState = iota // line ends before a request line are skipped, as net/http does
	inRequestLine                  // its content is for net/http alone
	atLineStart                    // of a header line
	inName                         // of a header
	inLength                       // the value of Content-Length
	inValue                        // of another header
	inBody                         // of which the length is known
	followNoMore                   // the rest of the connection is not looked at
)

// headScanner follows the bytes of a connection, however they are cut. It holds no more of them
// than the beginning of one header line.
type headScanner struct {
	state      scanState
	name       []byte // of the header, at most maxName bytes
	value      []byte // of Content-Length, at most maxLength bytes
	hasLength  bool
	hasCoding  bool
	bodyLength int64
}

const (
	maxName   = len("transfer-encoding")
	maxLength = 32
	// invalid is a byte that may not be in a header line.
	invalid = 0
)

// scan may change bytes of p, to make a head invalid.
func (s *headScanner) scan(p []byte) {
	for len(p) > 0 && s.state != followNoMore {
		p = p[s.step(p):]
	}
}

// step returns how many bytes it has dealt with, which is at least one.
func (s *headScanner) step(p []byte) int {
	switch s.state {
	case beforeHead:
		if p[0] == '\r' || p[0] == '\n' {
			return 1
		}
		s.hasLength, s.hasCoding, s.bodyLength = false, false, 0
		s.state = inRequestLine
		return s.skipLine(p)
	case inRequestLine, inValue:
		return s.skipLine(p)
	case atLineStart:
		return s.startLine(p)
	case inName:
		return s.readName(p)
	case inLength:
		return s.readLength(p)
	case inBody:
		n := int(min(int64(len(p)), s.bodyLength))
		if s.bodyLength -= int64(n); s.bodyLength == 0 {
			s.state = beforeHead
		}
		return n
	}
	return len(p)
}

func (s *headScanner) skipLine(p []byte) int {
	end := bytes.IndexByte(p, '\n')
	if end < 0 {
		return len(p)
	}
	s.state, s.name = atLineStart, s.name[:0]
	return end + 1
}

func (s *headScanner) startLine(p []byte) int {
	switch p[0] {
	case ' ', '\t':
		p[0] = invalid // a folded line
		s.state = followNoMore
	case '\n':
		s.endHead()
	case '\r': // a line of nothing else ends the head; net/http refuses any other
		if len(s.name) > 0 {
			s.state = inValue
			return 1
		}
		s.name = append(s.name, '\r')
	default:
		if len(s.name) > 0 { // after a carriage return
			s.state = inValue
			return 1
		}
		s.state = inName
		return s.readName(p)
	}
	return 1
}

func (s *headScanner) readName(p []byte) int {
	switch c := p[0]; {
	case c == '\n':
		s.state, s.name = atLineStart, s.name[:0]
	case c == ':':
		s.endName(p)
	case len(s.name) >= maxName:
		s.state = inValue // too long for the names that count
	default:
		s.name = append(s.name, c)
	}
	return 1
}

func (s *headScanner) endName(p []byte) {
	s.state = inValue
	switch strings.ToLower(string(s.name)) {
	case "content-length":
		s.hasLength = true
		s.state, s.value = inLength, s.value[:0]
	case "transfer-encoding":
		s.hasCoding = true
	}
	if s.hasLength && s.hasCoding {
		p[0] = invalid // in place of the colon
		s.state = followNoMore
	}
}

func (s *headScanner) readLength(p []byte) int {
	if p[0] != '\n' {
		if len(s.value) < maxLength {
			s.value = append(s.value, p[0])
		}
		return 1
	}
	length, err := strconv.ParseUint(strings.Trim(string(s.value), " \t\r"), 10, 63)
	if err != nil || len(s.value) == maxLength {
		p[0] = invalid // no length: net/http itself would not look at it beside Transfer-Encoding
		s.state = followNoMore
		return 1
	}
	s.bodyLength = int64(length)
	s.state, s.name = atLineStart, s.name[:0]
	return 1
}

func (s *headScanner) endHead() {
	s.name = s.name[:0]
	switch {
	case s.hasCoding:
		s.state = followNoMore
	case s.bodyLength > 0:
		s.state = inBody
	default:
		s.state = beforeHead
	}
}
