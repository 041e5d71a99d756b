package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// line is a TCP line to a database. It counts the round trips, and can be told to break when
// lastWords have been sent.
type line struct {
	net.Listener
	to    string
	armed atomic.Bool
	late  bool // break only when the commit has been confirmed
	trips atomic.Int64
	delay time.Duration // of what is sent to the database
}

// lastWords are part of a payload, which travels with the commit.
const lastWords = "famous last words"

// newLine returns the address of the database by way of the line.
func newLine(t testing.TB, address string) (*line, string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{Listener: listener, to: u.Host}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go l.carry(client)
		}
	}()
	u.Host = listener.Addr().String()
	return l, u.String()
}

func (l *line) carry(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", l.to)
	if err != nil {
		return
	}
	defer server.Close()
	var cut atomic.Bool
	go func() {
		defer client.Close()
		for {
			message, err := readMessage(server)
			if err != nil ||
				cut.Load() && !l.late { // the commit is made, and its answer is lost
				return
			}
			if message[0] == 'Z' { // ready for the next query
				l.trips.Add(1)
			}
			_, _ = client.Write(message)
			if cut.Load() && bytes.Contains(message, []byte("COMMIT")) {
				return
			}
		}
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		if bytes.Contains(buffer[:n], []byte(lastWords)) && l.armed.CompareAndSwap(true, false) {
			cut.Store(true)
		}
		time.Sleep(l.delay)
		_, _ = server.Write(buffer[:n])
	}
}

// readMessage reads what PostgreSQL says: a letter, a length that counts itself, and the rest.
func readMessage(from io.Reader) ([]byte, error) {
	message := make([]byte, 5)
	if _, err := io.ReadFull(from, message); err != nil {
		return nil, err
	}
	message = append(message, make([]byte, binary.BigEndian.Uint32(message[1:])-4)...)
	_, err := io.ReadFull(from, message[5:])
	return message, err
}

// A client that is told "nothing was changed" repeats the write. So that may only be said when it
// is true.
func TestALostCommitIsNotCalledAFailure(t *testing.T) {
	broken, address := newLine(t, freshPostgres(t))
	through, err := OpenPostgres(t.Context(), address, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(through.Close)
	_, owner := person(t, through)
	const text = `{"s":"` + lastWords + `"}`
	for name, make := range map[string]func(uid string) error{
		"write": func(uid string) error {
			_, err := through.Write(t.Context(), owner, "notes", uid, put(text))
			return err
		},
		"create": func(uid string) error {
			_, err := through.Create(t.Context(), owner, "notes", uid, Next{Payload: []byte(text)})
			return err
		},
	} {
		uid := newUID()
		broken.armed.Store(true)
		if err := make(uid); !errors.Is(err, ErrOutcomeUnknown) || errors.Is(err, ErrUnavailable) {
			t.Fatalf("%s: got %v", name, err)
		}
		item, err := through.Get(t.Context(), owner.ID, "notes", uid)
		if err != nil || item.Version != 1 {
			t.Errorf("%s: it was made all the same: %+v, %v", name, item, err)
		}
	}
}

func TestAConfirmedCommitIsNoFailure(t *testing.T) {
	broken, address := newLine(t, freshPostgres(t))
	broken.late = true
	through, err := OpenPostgres(t.Context(), address, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(through.Close)
	_, owner := person(t, through)

	broken.armed.Store(true)
	if item := write(t, through, owner, newUID(), put(`{"s":"`+lastWords+`"}`)); item.Version != 1 {
		t.Errorf("got %+v", item)
	}
	if broken.armed.Load() {
		t.Error("the line did not break")
	}
	write(t, through, owner, newUID(), put(`{}`)) // by another connection
}

// A database is seldom on the same machine, and then it is round trips that a request waits for.
func TestRoundTrips(t *testing.T) {
	line, address := newLine(t, freshPostgres(t))
	s, err := OpenPostgres(t.Context(), address+"&pool_max_conns=1", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	session, owner := person(t, s)
	uid := newUID()
	write(t, s, owner, uid, put(`{}`))
	ctx := t.Context()
	child := func(tx Tx, _ *Item) (Next, error) {
		_, err := tx.IsLive("notes", uid)
		return Next{Payload: []byte(`{}`)}, err
	}
	refuse := func(Tx, *Item) (Next, error) { return Next{}, errors.New("refused") }
	for _, c := range []struct {
		name string
		want int64
		call func() error
	}{
		{"find a session", 1, func() error {
			_, err := s.FindSession(ctx, session.ID)
			return err
		}},
		{"read", 1, func() error { _, err := s.Get(ctx, owner.ID, "notes", uid); return err }},
		{"list", 1, func() error {
			_, _, err := s.List(
				ctx, owner.ID, "notes", Page{After: Beginning, Limit: 1, MaxBytes: 1},
			)
			return err
		}},
		{"find a session and read", 1, func() error {
			ahead := &Ahead{Kind: "notes", UID: uid}
			_, err := s.FindSessionAhead(ctx, session.ID, ahead)
			return errors.Join(err, ahead.Err)
		}},
		{"find a session and list", 1, func() error {
			ahead := &Ahead{Kind: "notes", Page: Page{After: Beginning, Limit: 1, MaxBytes: 1}}
			_, err := s.FindSessionAhead(ctx, session.ID, ahead)
			return errors.Join(err, ahead.Err)
		}},
		{"create at once", 1, func() error {
			_, err := s.Create(ctx, owner, "notes", newUID(), Next{Payload: []byte(`{}`)})
			return err
		}},
		{"create", 2, func() error {
			_, err := s.Write(ctx, owner, "notes", newUID(), put(`{}`))
			return err
		}},
		{"change", 2, func() error {
			_, err := s.Write(ctx, owner, "notes", uid, put(`{}`))
			return err
		}},
		{"create with a parent", 3, func() error {
			_, err := s.Write(ctx, owner, "comments", newUID(), child)
			return err
		}},
		{"refuse", 2, func() error {
			_, _ = s.Write(ctx, owner, "notes", uid, refuse)
			return nil
		}},
		{"open and end a session", 2, func() error {
			opened, err := s.OpenSession(ctx, session.Person)
			return errors.Join(err, s.EndSession(ctx, opened.ID, session.Person))
		}},
	} {
		// The first call prepares statements, and a connection that has rested is asked whether it
		// lives: the least of several counts.
		least := int64(math.MaxInt64)
		for range 5 {
			before := line.trips.Load()
			if err := c.call(); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			least = min(least, line.trips.Load()-before)
		}
		if least != c.want {
			t.Errorf("%s: %d round trips, want %d", c.name, least, c.want)
		}
	}
}

func TestCallersWhoLeaveAreNoOutage(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		s := open(t, time.Now)
		_, owner := person(t, s)
		ctx, cancel := context.WithCancel(t.Context())
		_, err := s.Write(ctx, owner, "notes", newUID(), func(Tx, *Item) (Next, error) {
			cancel()
			return Next{Payload: []byte(`{}`)}, nil
		})
		if !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnavailable) {
			t.Errorf("got %v", err)
		}
		write(t, s, owner, newUID(), put(`{}`))
	})
}

func TestEveryCallIsBounded(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		s := open(t, time.Now)
		session, owner := person(t, s)
		hasty := WithDeadline(s, time.Nanosecond)
		ctx := t.Context()
		for name, call := range map[string]func() error{
			"get": func() error {
				_, err := hasty.Get(ctx, owner.ID, "notes", newUID())
				return err
			},
			"list": func() error {
				_, _, err := hasty.List(ctx, owner.ID, "notes", Page{After: Beginning, Limit: 1})
				return err
			},
			"write": func() error {
				_, err := hasty.Write(ctx, owner, "notes", newUID(), put(`{}`))
				return err
			},
			"wipe":  func() error { _, _, err := hasty.Wipe(ctx, owner.ID, "ada"); return err },
			"state": func() error { _, err := hasty.State(ctx, owner.ID); return err },
			"open":  func() error { _, err := hasty.OpenSession(ctx, session.Person); return err },
		} {
			if err := call(); !errors.Is(err, ErrUnavailable) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestTheFileIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s := openSQLite(t, path, time.Now)
	_, owner := person(t, s)
	write(t, s, owner, newUID(), put(`{}`))
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode != 0o600 {
			t.Errorf("%s has mode %o", filepath.Base(name), mode)
		}
	}
}
