package contract

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	startTimeout = 30 * time.Second
	stopTimeout  = 20 * time.Second
)

// settings are environment variables for a server; an empty value leaves the variable out.
type settings map[string]string

// A server is the thing under test: a base URL and the two secrets.
type server struct {
	base         string
	jwtSecret    string
	tenantSecret string // empty: tenant headers are not checked
	remote       bool   // not started by this run

	backend *backend
	env     settings
	process *exec.Cmd
	log     *logLines
	exited  chan struct{}
}

// launch starts a server for one test and stops it when the test ends.
func launch(t *testing.T, b *backend, env settings) *server {
	t.Helper()
	s, err := startServer(b, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
			return
		}
		if t.Failed() || s.killed() {
			return
		}
		if out, err := checkIndex(s.env); err != nil {
			t.Errorf("check --index: %v\n%s", err, out)
		}
	})
	return s
}

// startServer starts the built binary on a free port and waits until it says that it listens.
func startServer(b *backend, env settings) (*server, error) {
	all := settings{
		"HTTP_ADDR":            "127.0.0.1:0",
		"METRICS_ADDR":         "off",
		"JWT_HS256_SECRET":     randomHex(32),
		"TENANT_HEADER_SECRET": randomHex(32),
	}
	for name, value := range env {
		all[name] = value
	}
	if all["DATABASE_URL"] == "" {
		url, err := b.database()
		if err != nil {
			return nil, err
		}
		all["DATABASE_URL"] = url
	}
	s := &server{
		jwtSecret:    all["JWT_HS256_SECRET"],
		tenantSecret: all["TENANT_HEADER_SECRET"],
		backend:      b,
		env:          all,
		process:      serverCommand(all),
		log:          &logLines{listening: make(chan string, 1)},
		exited:       make(chan struct{}),
	}
	s.process.Stdout, s.process.Stderr = s.log, s.log
	if err := s.process.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = s.process.Wait() // ProcessState holds the outcome
		close(s.exited)
	}()
	select {
	case addr := <-s.log.listening:
		s.base = "http://" + addr
		return s, nil
	case <-s.exited:
		return nil, fmt.Errorf("server ended at once: %v\n%s", s.process.ProcessState, s.log)
	case <-time.After(startTimeout):
		s.kill()
		return nil, fmt.Errorf("server did not listen within %s\n%s", startTimeout, s.log)
	}
}

// plainBuild, as a setting, starts the server without the race detector, which takes several times
// the memory and the time. The server itself does not know it.
const plainBuild = "CONTRACT_PLAIN_BUILD"

// serverCommand is the binary with nothing of this process's environment but PATH.
func serverCommand(env settings) *exec.Cmd {
	program := binary
	if env[plainBuild] != "" {
		program = plain
	}
	cmd := exec.Command(program)
	cmd.Dir = scratch
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	for name, value := range env {
		if value != "" {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	return cmd
}

// checkIndex compares a stopped server's items with its search index.
func checkIndex(env settings) ([]byte, error) {
	env = maps.Clone(env)
	env[plainBuild] = "1"
	cmd := serverCommand(env)
	cmd.Args = append(cmd.Args, "check", "--index")
	return cmd.CombinedOutput()
}

// stop ends the server as a supervisor would, and expects exit code 0 and a log without panics.
func (s *server) stop() error {
	select {
	case <-s.exited:
		if s.process.ProcessState.Success() || s.killed() {
			return nil
		}
		return fmt.Errorf("server ended on its own: %v\n%s", s.process.ProcessState, s.log)
	default:
	}
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil &&
		!errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-s.exited:
	case <-time.After(stopTimeout):
		s.kill()
		return fmt.Errorf("server still ran %s after SIGTERM\n%s", stopTimeout, s.log)
	}
	if code := s.process.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("exit code %d after SIGTERM, want 0\n%s", code, s.log)
	}
	for _, alarm := range []string{"panic", "DATA RACE"} {
		if line := s.log.find(alarm); line != "" {
			return fmt.Errorf("the server's log mentions %q: %s\n%s", alarm, line, s.log)
		}
	}
	return nil
}

// kill ends the server without giving it time for anything.
func (s *server) kill() {
	_ = s.process.Process.Kill()
	<-s.exited
}

func (s *server) killed() bool {
	status, ok := s.process.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// logLines collects a server's output, line by line.
type logLines struct {
	sync.Mutex
	lines     []string
	partial   []byte
	listening chan string
}

func (l *logLines) Write(p []byte) (int, error) {
	l.Lock()
	defer l.Unlock()
	l.partial = append(l.partial, p...)
	for {
		line, rest, found := bytes.Cut(l.partial, []byte("\n"))
		if !found {
			return len(p), nil
		}
		l.lines = append(l.lines, string(line))
		var entry struct{ Msg, Address string }
		if json.Unmarshal(line, &entry) == nil && entry.Msg == "listening" {
			select {
			case l.listening <- entry.Address:
			default:
			}
		}
		l.partial = rest
	}
}

func (l *logLines) all() []string {
	l.Lock()
	defer l.Unlock()
	return append([]string(nil), l.lines...)
}

func (l *logLines) find(text string) string {
	for _, line := range l.all() {
		if strings.Contains(line, text) {
			return line
		}
	}
	return ""
}

// String is the end of the log, for failure messages.
func (l *logLines) String() string {
	lines := l.all()
	return "--- end of the server's log\n" + strings.Join(lines[max(0, len(lines)-40):], "\n")
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// until waits for a line that has this text.
func (l *logLines) until(t *testing.T, text string) {
	t.Helper()
	deadline := time.Now().Add(startTimeout)
	for ; l.find(text) == ""; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no line has %q\n%s", text, l)
		}
	}
}
