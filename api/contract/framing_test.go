package contract

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// A body of which two headers say where it ends could be cut differently by a proxy, and what one
// takes for its rest be another's next request.
func TestABodyWithTwoLengthsIs400(t *testing.T) {
	onEachOurs(t, func(t *testing.T, b *backend) {
		api := b.shared
		u := api.user(t)
		head := func(method, path string, more ...string) string {
			text := method + " " + path + " HTTP/1.1\r\nHost: x\r\n"
			for name, values := range u.headers(nil) {
				text += name + ": " + values[0] + "\r\n"
			}
			return text + strings.Join(append(more, "", ""), "\r\n")
		}
		body := `{"title":"hidden"}`
		chunks := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
		length := fmt.Sprintf("Content-Length: %d", len(chunks))
		coding := "Transfer-Encoding: chunked"
		good := head("GET", "/v1/notes")
		post := head("POST", "/v1/notes", fmt.Sprintf("Content-Length: %d", len(body))) + body
		for name, c := range map[string]struct {
			stream string
			before int // answers of 2xx before the refusal
		}{
			"length first": {head("POST", "/v1/notes", length, coding) + chunks, 0},
			"coding first": {head("POST", "/v1/notes", coding, length) + chunks, 0},
			"no number for a length": {
				head("POST", "/v1/notes", "Content-Length: x", coding) + chunks, 0,
			},
			"a folded line": {
				head("POST", "/v1/notes", coding, "X: y\r\n "+length) + chunks, 0,
			},
			"with another behind": {
				head("POST", "/v1/notes", length, coding) + chunks + post, 0,
			},
			"in pieces after others": {good + post + good, 3},
		} {
			conn, err := net.Dial("tcp", strings.TrimPrefix(api.base, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			for _, piece := range []string{c.stream[:len(c.stream)/2], c.stream[len(c.stream)/2:]} {
				_, _ = io.WriteString(conn, piece)
			}
			in := bufio.NewReader(conn)
			for range c.before {
				res, err := http.ReadResponse(in, nil)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if _, _ = io.Copy(io.Discard, res.Body); res.StatusCode >= 300 {
					t.Errorf("%s: a good request is answered %d", name, res.StatusCode)
				}
			}
			if c.before > 0 { // now on the same connection
				_, _ = io.WriteString(conn, head("POST", "/v1/notes", length, coding)+chunks)
			}
			res, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if _, _ = io.Copy(io.Discard, res.Body); res.StatusCode != 400 || !res.Close {
				t.Errorf(
					"%s: status %d, closed %t; want 400 and true",
					name,
					res.StatusCode,
					res.Close,
				)
			}
			_ = conn.Close()
		}
		if n := len(u.list(t, entityNamed("notes"), "").items); n != 1 {
			t.Errorf("%d notes, want 1", n)
		}
	})
}
