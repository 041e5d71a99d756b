package httpapi

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// scanned is a stream after the scanner has seen it in parts of a size.
func scanned(stream string, size int) string {
	var s headScanner
	out := []byte(stream)
	for rest := out; len(rest) > 0; {
		part := rest[:min(size, len(rest))]
		s.scan(part)
		rest = rest[len(part):]
	}
	return string(out)
}

const (
	lengthAndCoding = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
	plainGet        = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	plainPost       = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n{\"a\":"
)

func TestHeadsThatTwoReadersCouldCutDifferently(t *testing.T) {
	post := "POST / HTTP/1.1\r\nHost: x\r\n"
	inBody := "\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n folded\r\n\r\n"
	bodyHead := "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 60"
	if len(inBody) != 60 {
		t.Fatalf("the body has %d bytes", len(inBody))
	}
	for name, c := range map[string]struct {
		stream string
		good   bool
	}{
		"nothing else": {plainGet, true},
		"a body":       {plainPost, true},
		"several":      {plainGet + plainPost + plainPost + plainGet, true},
		"bare line feeds": {
			strings.ReplaceAll(plainGet+plainPost+plainGet, "\r", ""), true,
		},
		"line ends after a body": {plainPost + "\r\n" + plainGet, true},
		"chunks": {
			post + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", true,
		},
		"after chunks nothing is known": {
			post + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + post + lengthAndCoding, true,
		},
		"a body that looks like heads": {bodyHead + "\r\n\r\n" + inBody + plainGet, true},
		"the same, length sent twice": {
			bodyHead + "\r\nContent-Length: 60\r\n\r\n" + inBody + plainGet, true,
		},
		"the same, spaces around": {
			strings.Replace(bodyHead, ": 60", ":\t 060 ", 1) + "\r\n\r\n" + inBody, true,
		},
		"names that only begin like it": {
			post + "Content-Length-X: 5\r\nTransfer-Encodings: chunked\r\nTransfer: x\r\n\r\n" +
				plainGet,
			true,
		},
		"values that look like names": {
			post + "X: Content-Length: 5\r\nY: Transfer-Encoding: chunked\r\n\r\n" + plainGet, true,
		},
		"both": {post + lengthAndCoding, false},
		"both, the other way round": {
			post + "transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n", false,
		},
		"both, in capitals": {post + strings.ToUpper(lengthAndCoding), false},
		"both, something in between": {
			post + "Content-Length: 5\r\nX: " + strings.Repeat("y", 9000) +
				"\r\nTransfer-Encoding: chunked\r\n\r\n",
			false,
		},
		"both, bare line feeds": {
			strings.ReplaceAll(post+lengthAndCoding, "\r", ""), false,
		},
		"both, in HTTP/1.0":      {"POST / HTTP/1.0\r\n" + lengthAndCoding, false},
		"both, after a good one": {plainGet + post + lengthAndCoding, false},
		"both, after a body":     {plainPost + post + lengthAndCoding, false},
		"both, after line ends":  {plainPost + "\r\n\r\n" + post + lengthAndCoding, false},
		"both, after a body like a head": {
			bodyHead + "\r\n\r\n" + inBody + post + lengthAndCoding, false,
		},
		"both, the length no number": {
			post + "Content-Length: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false,
		},
		"both, the length too long": {
			post + "Content-Length: " + strings.Repeat("0", 40) +
				"5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
			false,
		},
		"an empty length":   {post + "Content-Length:\r\n\r\n", false},
		"a folded line":     {post + "X: y\r\n z\r\n\r\n", false},
		"a folded length":   {post + "Content-Length:\r\n\t5\r\n\r\n01234", false},
		"a line of a space": {post + "X: y\r\n \r\n\r\n", false},
	} {
		for _, size := range []int{1, 2, 3, 7, 64, 1 << 20} {
			got := scanned(c.stream, size)
			if c.good != (got == c.stream) {
				t.Errorf("%s, in parts of %d: unchanged %t\n%q", name, size, got == c.stream, got)
			}
			if got != scanned(c.stream, 1) {
				t.Errorf("%s: what comes out depends on the parts", name)
			}
			if !c.good && !refuses(got) {
				t.Errorf("%s: net/http takes %q", name, got)
			}
		}
	}
}

// refuses reports whether net/http finds a request in a stream that it cannot read.
func refuses(stream string) bool {
	in := bufio.NewReader(strings.NewReader(stream))
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return err != io.EOF
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return false
		}
	}
}

var bothOrFolded = regexp.MustCompile(
	`(?im)^[ \t]|^content-length:[^\0]*^transfer-encoding:|` +
		`^transfer-encoding:[^\0]*^content-length:`,
)

// What net/http reads from a stream it reads unchanged, unless a head is one of those that are
// refused.
func FuzzScannerAndServerAgree(f *testing.F) {
	for _, stream := range []string{
		plainGet, plainPost, plainPost + plainGet + plainPost, plainPost + "\r\n" + plainGet,
		"POST / HTTP/1.1\nHost: x\nContent-Length: 2\nContent-Length:  02 \n\n\r\n" + plainPost,
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" + plainPost +
			"POST / HTTP/1.1\r\n" + lengthAndCoding,
		"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + plainPost,
		plainPost + "\r\n\r\n\r\n\r\n" + plainPost,
	} {
		f.Add(stream, 3)
	}
	f.Fuzz(func(t *testing.T, stream string, size int) {
		out := scanned(stream, 1+max(0, size)%100)
		if out != scanned(stream, 1<<20) {
			t.Fatalf("what comes out depends on the parts: %q", stream)
		}
		source := strings.NewReader(stream)
		in := bufio.NewReader(source)
		read := func() int { return len(stream) - source.Len() - in.Buffered() }
		post := false
		for {
			if post { // as the server does
				peek, _ := in.Peek(4)
				_, _ = in.Discard(numLeadingLineEnds(peek))
			}
			begun := read()
			r, err := http.ReadRequest(in)
			if err != nil || len(r.TransferEncoding) > 0 {
				return
			}
			post = r.Method == "POST"
			head := stream[begun:read()]
			if bothOrFolded.MatchString(head) {
				return
			}
			// HTTP/1.0 has no transfer codings, so ReadRequest does not tell of one; the request is
			// the last.
			if regexp.MustCompile(`(?im)^transfer-encoding:`).MatchString(head) {
				return
			}
			_, bodyErr := io.Copy(io.Discard, r.Body)
			if got := out[begun:read()]; got != stream[begun:read()] {
				t.Fatalf("net/http takes %q, the scanner made %q of it", stream[begun:read()], got)
			}
			if bodyErr != nil {
				return
			}
		}
	})
}

func numLeadingLineEnds(p []byte) int { return len(p) - len(bytes.TrimLeft(p, "\r\n")) }

// A request in chunks is the last one of its connection.
func TestAConnectionEndsAfterChunks(t *testing.T) {
	var connections Connections
	server := NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
	}))
	connections.Watch(server)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(CheckFraming(listener)) }()
	defer server.Close()
	for name, c := range map[string]struct{ sent, want string }{
		"chunks": {
			"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n" +
				plainPost,
			"200",
		},
		"chunks, old": {
			"POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n" +
				plainPost,
			"200",
		},
		"both": {"POST / HTTP/1.1\r\nHost: x\r\n" + lengthAndCoding + plainPost, "400"},
		"several, a last": {
			plainPost + strings.Replace(plainPost, "Host: x", "Host: x\r\nConnection: close", 1),
			"200 200",
		},
	} {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, c.sent); err != nil {
			t.Fatal(err)
		}
		answers, err := io.ReadAll(conn)
		_ = conn.Close()
		var statuses []string
		status := regexp.MustCompile(`HTTP/1\.[01] (\d+)`)
		for _, line := range status.FindAllStringSubmatch(string(answers), -1) {
			statuses = append(statuses, line[1])
		}
		if got := strings.Join(statuses, " "); got != c.want {
			t.Errorf("%s: answered %s (%v), want %s", name, got, err, c.want)
		}
	}
}
