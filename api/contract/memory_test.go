package contract

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// The machine of fly.toml has 256 MiB, of which the MCP server needs some.
	mostResident = 200 << 20
	// One person may have this many connections to the MCP server.
	mostConnections = 512
)

// peakMemory is the most physical memory that the server has had so far.
func (s *server) peakMemory(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.process.Process.Pid))
	if err != nil {
		leaveOut(t, "needs /proc")
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

// largeNotes gives a user nine notes of nearly 1 MB each, which is one page.
func largeNotes(t *testing.T, u *user) {
	t.Helper()
	for range 9 {
		u.call(t, "POST", "/v1/notes", `{"text":"`+strings.Repeat("x", 1_000_000)+`"}`).want(t, 201)
	}
}

// watchHealth asks for /healthz until the returned function is called, which gives the slowest
// answer.
func watchHealth(t *testing.T, api *server) (stop func() time.Duration) {
	over, slowest := make(chan struct{}), make(chan time.Duration)
	go func() {
		var most time.Duration
		for {
			began := time.Now()
			api.anonymous(t, "GET", "/healthz").check(t, 200)
			most = max(most, time.Since(began))
			select {
			case <-over:
				slowest <- most
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() time.Duration {
		close(over)
		return <-slowest
	}
}

// refusedForMemory reports whether an answer is the one for a request that got no memory.
func refusedForMemory(status int, h http.Header) bool {
	seconds, err := strconv.Atoi(h.Get("Retry-After"))
	return (status == 429 || status == 503) && err == nil && seconds >= 1
}

// Small requests with large answers, by clients that do not read them, on all the connections of
// one person.
func TestAnswersThatAreNotReadDoNotFillTheMemory(t *testing.T) {
	onOwn(
		t,
		settings{"RATE_LIMIT_PER_MINUTE": "0", plainBuild: "1"},
		func(t *testing.T, api *server) {
			u := api.user(t)
			largeNotes(t, u)
			head := "GET /v1/notes HTTP/1.1\r\nHost: x\r\n"
			for name, values := range u.headers(nil) {
				head += name + ": " + values[0] + "\r\n"
			}
			head += "\r\n"
			stop := watchHealth(t, api)
			var served, refused atomic.Int64
			var answered, group sync.WaitGroup
			read := make(chan struct{})
			answered.Add(mostConnections)
			for range mostConnections {
				group.Go(func() {
					done := sync.OnceFunc(answered.Done)
					defer done()
					conn, err := net.Dial("tcp", strings.TrimPrefix(api.base, "http://"))
					if err != nil {
						t.Error(err)
						return
					}
					defer conn.Close()
					if _, err := io.WriteString(conn, head); err != nil {
						t.Error(err)
						return
					}
					res, err := http.ReadResponse(bufio.NewReader(conn), nil)
					if err != nil {
						t.Error(err)
						return
					}
					done()
					<-read
					body, err := io.ReadAll(res.Body)
					switch {
					case err != nil:
						t.Error(err)
					case refusedForMemory(res.StatusCode, res.Header):
						refused.Add(1)
					case res.StatusCode != 200:
						t.Errorf("status %d: %s", res.StatusCode, body)
					default:
						served.Add(1)
					}
				})
			}
			answered.Wait()
			close(read)
			group.Wait()
			t.Logf("%d served, %d refused, peak %d MiB, slowest health %s",
				served.Load(), refused.Load(), api.peakMemory(t)>>20, stop())
			if served.Load() == 0 {
				t.Error("no request was served")
			}
			if peak := api.peakMemory(t); peak > mostResident {
				t.Errorf(
					"the server had %d MiB, at most %d MiB are allowed",
					peak>>20,
					mostResident>>20,
				)
			}
			u.list(t, entityNamed("notes"), "") // the memory is free again
		},
	)
}

// Forty writers with large bodies and eight readers of large pages, all of one person.
func TestLargeBodiesAndAnswersAtOnceStayWithinTheMemory(t *testing.T) {
	onOwn(
		t,
		settings{"RATE_LIMIT_PER_MINUTE": "0", plainBuild: "1"},
		func(t *testing.T, api *server) {
			u := api.user(t)
			largeNotes(t, u)
			uid := u.note(t)
			body := `{"text":"` + strings.Repeat("y", 1_000_000) + `"}`
			stop := watchHealth(t, api)
			var group sync.WaitGroup
			var done atomic.Int64
			within := func(method, path, body string, status int) {
				a, err := u.try(method, path, orNil(body))
				switch {
				case err != nil:
					t.Error(err)
				case a.status == status:
					done.Add(1)
				case !refusedForMemory(a.status, a.header):
					t.Error(a)
				}
			}
			for n := range 40 {
				group.Go(func() {
					for range 3 {
						switch n % 3 {
						case 0:
							within("POST", "/v1/notes", body, 201)
						case 1:
							within("PUT", "/v1/notes/"+uid, body, 200)
						default:
							within("PATCH", "/v1/notes/"+uid, body, 200)
						}
					}
				})
			}
			for range 8 {
				group.Go(func() {
					for range 3 {
						within("GET", "/v1/notes", "", 200)
					}
				})
			}
			group.Wait()
			peak := api.peakMemory(t)
			t.Logf(
				"%d of %d done, peak %d MiB, slowest health %s",
				done.Load(),
				48*3,
				peak>>20,
				stop(),
			)
			if done.Load() < 48 {
				t.Errorf("only %d requests were served", done.Load())
			}
			if peak > mostResident {
				t.Errorf(
					"the server had %d MiB, at most %d MiB are allowed",
					peak>>20,
					mostResident>>20,
				)
			}
		},
	)
}

// Members cost more memory than their text; a body of nothing else must cost no more than any
// other.
func TestABodyOfTinyMembersStaysWithinTheMemory(t *testing.T) {
	onOwn(
		t,
		settings{"RATE_LIMIT_PER_MINUTE": "0", plainBuild: "1"},
		func(t *testing.T, api *server) {
			u := api.user(t)
			var text strings.Builder
			text.WriteString("{")
			for n := 0; text.Len() < 1_000_000; n++ {
				fmt.Fprintf(&text, `"%x":1,`, n)
			}
			body := strings.TrimSuffix(text.String(), ",") + "}"
			var group sync.WaitGroup
			for range 40 {
				group.Go(func() { u.call(t, "POST", "/v1/notes", body).check(t, 400, 429, 503) })
			}
			group.Wait()
			if peak := api.peakMemory(t); peak > mostResident {
				t.Errorf(
					"the server had %d MiB, at most %d MiB are allowed",
					peak>>20,
					mostResident>>20,
				)
			}
		},
	)
}

func orNil(body string) any {
	if body == "" {
		return nil
	}
	return body
}
