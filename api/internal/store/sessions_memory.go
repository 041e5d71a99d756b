package store

import (
	"container/list"
	"context"
	"sync"
	"time"

	"github.com/google/uuid"
)

// memorySessions keeps sessions in this process. That is enough for SQLite, which a single process owns.
//
// All sessions live equally long, so the order of opening is the order of expiry, and sweeping looks at expired ones only.
type memorySessions struct {
	now func() time.Time

	mu      sync.Mutex
	byID    map[string]*list.Element // of *Session
	byOwner map[int64]map[string]*list.Element
	inOrder *list.List // oldest first
}

func newMemorySessions(now func() time.Time) *memorySessions {
	return &memorySessions{
		now:     now,
		byID:    make(map[string]*list.Element),
		byOwner: make(map[int64]map[string]*list.Element),
		inOrder: list.New(),
	}
}

func (m *memorySessions) open(who Person, owner Owner) Session {
	id := uuid.NewString()
	m.mu.Lock()
	defer m.mu.Unlock()
	created := m.now()
	s := &Session{
		ID: id, Person: who, Owner: owner.ID, Epoch: owner.Epoch, ServerEpoch: owner.Epoch,
		Created: created, Expires: created.Add(SessionLifetime),
	}
	e := m.inOrder.PushBack(s)
	m.byID[id] = e
	if m.byOwner[s.Owner] == nil {
		m.byOwner[s.Owner] = make(map[string]*list.Element)
	}
	m.byOwner[s.Owner][id] = e
	return *s
}

// FindSession returns a session that lives. Its epoch is the server's: a wipe ends the person's sessions, so none with an older one is left.
func (m *memorySessions) FindSession(_ context.Context, id string) (Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.byID[id]
	if !ok {
		return Session{}, ErrNoSession
	}
	s := e.Value.(*Session)
	if !m.now().Before(s.Expires) {
		return Session{}, ErrNoSession
	}
	return *s, nil
}

func (m *memorySessions) EndSession(_ context.Context, id string) error {
	if !m.end(id) {
		return ErrNoSession
	}
	return nil
}

func (m *memorySessions) end(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.byID[id]
	if ok {
		m.remove(e)
	}
	return ok
}

func (m *memorySessions) endAll(owner int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.byOwner[owner] {
		m.remove(e)
	}
}

func (m *memorySessions) SweepSessions(context.Context) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var swept int64
	for e := m.inOrder.Front(); e != nil && !m.now().Before(e.Value.(*Session).Expires); e = m.inOrder.Front() {
		m.remove(e)
		swept++
	}
	return swept, nil
}

func (m *memorySessions) CountSessions(context.Context) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return int64(len(m.byID)), nil
}

func (m *memorySessions) remove(e *list.Element) {
	s := e.Value.(*Session)
	m.inOrder.Remove(e)
	delete(m.byID, s.ID)
	delete(m.byOwner[s.Owner], s.ID)
	if len(m.byOwner[s.Owner]) == 0 {
		delete(m.byOwner, s.Owner)
	}
}
