package store

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/toolbridge/toolbridge-mcp/api/internal/telemetry"
)

// pool is a set of connections to one database. Callers get one in the order in which they asked.
// The one that was given back last is given out first, since its cache is warm.
type pool struct {
	uri string
	max int

	mu      sync.Mutex
	idle    []*sqliteConnection
	open    int
	waiting []chan *sqliteConnection
	waits   int64
	waited  time.Duration
	closed  bool
}

var errPoolClosed = errors.New("the database is closed")

// openPool opens one connection; the others are opened when they are needed.
func openPool(uri string, size int) (*pool, error) {
	first, err := openConnection(uri)
	if err != nil {
		return nil, err
	}
	return &pool{uri: uri, max: size, idle: []*sqliteConnection{first}, open: 1}, nil
}

func (p *pool) acquire(ctx context.Context) (*sqliteConnection, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, errPoolClosed
	}
	if last := len(p.idle) - 1; last >= 0 {
		c := p.idle[last]
		p.idle = p.idle[:last]
		p.mu.Unlock()
		return c, nil
	}
	if p.open < p.max {
		p.open++
		p.mu.Unlock()
		return p.another()
	}
	waiter := make(chan *sqliteConnection, 1)
	p.waiting = append(p.waiting, waiter)
	p.waits++
	p.mu.Unlock()
	return p.await(ctx, waiter)
}

// another opens a connection that has been counted.
func (p *pool) another() (*sqliteConnection, error) {
	c, err := openConnection(p.uri)
	if err != nil {
		p.mu.Lock()
		p.open--
		p.mu.Unlock()
	}
	return c, err
}

// reopen puts a new connection in the place of one.
func (p *pool) reopen(ctx context.Context) error {
	c, err := p.acquire(ctx)
	if err != nil {
		return err
	}
	another, err := openConnection(p.uri)
	if err != nil {
		p.release(c)
		return err
	}
	c.close()
	p.release(another)
	return nil
}

func (p *pool) await(
	ctx context.Context,
	waiter chan *sqliteConnection,
) (*sqliteConnection, error) {
	began := time.Now()
	var c *sqliteConnection
	select {
	case c = <-waiter:
	case <-ctx.Done():
	}
	p.mu.Lock()
	p.waited += time.Since(began)
	switch {
	case c != nil:
		p.mu.Unlock()
		return c, nil
	case p.closed:
		p.mu.Unlock()
		return nil, errPoolClosed
	}
	if n := slices.Index(p.waiting, waiter); n >= 0 {
		p.waiting = slices.Delete(p.waiting, n, n+1)
		p.mu.Unlock()
		return nil, ctx.Err()
	}
	p.mu.Unlock()
	if c = <-waiter; c != nil { // it was given in the meantime
		p.release(c)
	}
	return nil, ctx.Err()
}

func (p *pool) release(c *sqliteConnection) {
	c.tidy()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		p.open--
		c.close()
	case len(p.waiting) > 0:
		waiter := p.waiting[0]
		p.waiting = p.waiting[1:]
		waiter <- c
	default:
		p.idle = append(p.idle, c)
	}
}

// close closes the connections; one that is in use is closed when it is given back.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, c := range p.idle {
		p.open--
		c.close()
	}
	p.idle = nil
	for _, waiter := range p.waiting {
		close(waiter)
	}
	p.waiting = nil
}

// query reads on a connection of its own.
func (p *pool) query(ctx context.Context, s statement, args ...any) (rows, error) {
	c, err := p.acquire(ctx)
	if err != nil {
		return nil, err
	}
	if !brief[s.name] {
		c.watch(ctx)
	}
	found, err := c.query(ctx, s.sql, args, func() { p.release(c) })
	if err != nil {
		p.release(c)
		return nil, err
	}
	return found, nil
}

// brief statements read one row by its key, so nothing is won by interrupting them.
var brief = map[string]bool{
	itemGet.name: true, itemLive.name: true, userFind.name: true, userState.name: true,
	userIndexed.name: true,
}

func (p *pool) now(name string) telemetry.Pool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return telemetry.Pool{
		Name: name, InUse: p.open - len(p.idle), Idle: len(p.idle), Max: p.max,
		Waits: p.waits, Waited: p.waited,
	}
}
