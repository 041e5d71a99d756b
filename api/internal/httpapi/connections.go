package httpapi

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// Connections tracks the connections of a server, and whether a complete request is in progress on
// each: one whose body has been read, or that has none. A shutdown waits for those only, so an
// incomplete request cannot delay it.
type Connections struct {
	mu       sync.Mutex
	open     map[net.Conn]bool // whether a complete request is in progress
	deadline time.Time         // for the other connections, once the server shuts down
}

type connectionKey struct{}

// Watch must be called before the server serves.
func (c *Connections) Watch(server *http.Server) {
	c.open = map[net.Conn]bool{}
	server.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		return context.WithValue(ctx, connectionKey{}, conn)
	}
	server.ConnState = func(conn net.Conn, state http.ConnState) {
		c.mu.Lock()
		defer c.mu.Unlock()
		switch state {
		case http.StateNew, http.StateActive, http.StateIdle:
			c.set(conn, false)
		case http.StateClosed, http.StateHijacked:
			delete(c.open, conn)
		}
	}
	server.Handler = c.watchBodies(server.Handler)
}

// ExpireIncomplete gives connections without a complete request this time to send one.
func (c *Connections) ExpireIncomplete(within time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = time.Now().Add(within)
	for conn, working := range c.open {
		if !working {
			_ = conn.SetReadDeadline(c.deadline)
		}
	}
}

func (c *Connections) set(conn net.Conn, working bool) {
	c.open[conn] = working
	if c.deadline.IsZero() {
		return
	}
	if working {
		_ = conn.SetReadDeadline(time.Time{})
	} else {
		_ = conn.SetReadDeadline(c.deadline)
	}
}

func (c *Connections) works(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set(conn, true)
}

func (c *Connections) watchBodies(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if conn, ok := r.Context().Value(connectionKey{}).(net.Conn); ok {
			if framed, ok := conn.(*framedConn); ok && framed.last.Load() {
				w.Header().Set("Connection", "close")
			}
			if r.Body == nil || r.Body == http.NoBody {
				c.works(conn)
			} else {
				r.Body = &watchedBody{r.Body, func() { c.works(conn) }}
			}
		}
		next.ServeHTTP(w, r)
	})
}

type watchedBody struct {
	io.ReadCloser
	ended func()
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.ended()
	}
	return n, err
}
