package store

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// line is a TCP line to a database that can be told to break when a commit has been sent.
type line struct {
	net.Listener
	to    string
	armed atomic.Bool
}

func newLine(t *testing.T, to string) *line {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{Listener: listener, to: to}
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
	return l
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
		buffer := make([]byte, 64<<10)
		for {
			n, err := server.Read(buffer)
			if err != nil || cut.Load() { // the commit has been carried out, and nobody hears of it
				_ = client.Close()
				return
			}
			_, _ = client.Write(buffer[:n])
		}
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		if bytes.Contains(buffer[:n], []byte("commit")) && l.armed.CompareAndSwap(true, false) {
			cut.Store(true)
		}
		_, _ = server.Write(buffer[:n])
	}
}

// Whoever is told "nothing was changed" repeats the write. So that may only be said when it is true.
func TestALostCommitIsNotCalledAFailure(t *testing.T) {
	address := freshPostgres(t)
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	broken := newLine(t, u.Host)
	u.Host = broken.Addr().String()
	through, err := OpenPostgres(t.Context(), u.String(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(through.Close)
	_, owner := person(t, through)
	uid := newUID()

	broken.armed.Store(true)
	_, err = through.Write(t.Context(), owner, "notes", uid, put(`{}`))
	if !errors.Is(err, ErrOutcomeUnknown) || errors.Is(err, ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	if item, err := through.Get(t.Context(), owner.ID, "notes", uid); err != nil || item.Version != 1 {
		t.Errorf("it was made all the same: %+v, %v", item, err)
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
			"get": func() error { _, err := hasty.Get(ctx, owner.ID, "notes", newUID()); return err },
			"list": func() error {
				_, _, err := hasty.List(ctx, owner.ID, "notes", Page{After: Beginning, Limit: 1})
				return err
			},
			"write": func() error { _, err := hasty.Write(ctx, owner, "notes", newUID(), put(`{}`)); return err },
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
