package store

import (
	"container/list"
	"context"
	"sync"
	"time"

	"github.com/google/uuid"
)

// memorySessions keeps sessions in this process. That is enough for SQLite, which a single process
// owns.
//
// All sessions live equally long, so the order of opening is the order of expiry, and sweeping
// looks at expired ones only.
type memorySessions struct {
	now func() time.Time

	mu      sync.Mutex
	byID    map[string]*list.Element // of *Session
	byOwner map[int64]map[string]*list.Element
	inOrder *list.List // oldest first
	wiped   uint64     // number of wipes, which end sessions
	// owners are users with their epoch, which a wipe alone changes. All are forgotten with it, and
	// when there are many.
	owners map[Person]Owner
}

// maxOwners bounds the remembered owners, of some 200 bytes each.
const maxOwners = 4096

func newMemorySessions(now func() time.Time) *memorySessions {
	return &memorySessions{
		now:     now,
		byID:    make(map[string]*list.Element),
		byOwner: make(map[int64]map[string]*list.Element),
		inOrder: list.New(),
		owners:  make(map[Person]Owner),
	}
}

// sessionsInMemory marks a store whose sessions take no time.
func (m *memorySessions) sessionsInMemory() {}

// openKnown opens a session of a user who is remembered.
func (m *memorySessions) openKnown(who Person) (Session, bool) {
	id := uuid.NewString()
	m.mu.Lock()
	defer m.mu.Unlock()
	owner, ok := m.owners[who]
	if !ok {
		return Session{}, false
	}
	return m.add(id, who, owner), true
}

// wipes is what open needs to know from before the owner was looked up.
func (m *memorySessions) wipes() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wiped
}

// open opens nothing if there was a wipe since before: the owner's epoch may be an old one, and
// that wipe would not have seen this session.
func (m *memorySessions) open(who Person, owner Owner, before uint64) (Session, bool) {
	id := uuid.NewString()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.wiped != before {
		return Session{}, false
	}
	if len(m.owners) >= maxOwners {
		clear(m.owners)
	}
	m.owners[who] = owner
	return m.add(id, who, owner), true
}

// add requires the lock.
func (m *memorySessions) add(id string, who Person, owner Owner) Session {
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

// FindSession returns a session that has not ended. Its epoch is the server's: a wipe ends the
// person's sessions, so none with an older one is left.
func (m *memorySessions) FindSession(_ context.Context, id string) (Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.living(id); e != nil {
		return *e.Value.(*Session), nil
	}
	return Session{}, ErrNoSession
}

func (m *memorySessions) EndSession(_ context.Context, id string, who Person) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.living(id)
	if e == nil || e.Value.(*Session).Person != who {
		return ErrNoSession
	}
	m.remove(e)
	return nil
}

// living is the session's element, or nil. The caller holds the lock.
func (m *memorySessions) living(id string) *list.Element {
	if e, ok := m.byID[id]; ok && m.now().Before(e.Value.(*Session).Expires) {
		return e
	}
	return nil
}

func (m *memorySessions) endAll(owner int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wiped++
	clear(m.owners)
	for _, e := range m.byOwner[owner] {
		m.remove(e)
	}
}

func (m *memorySessions) SweepSessions(context.Context) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var swept int64
	for {
		e := m.inOrder.Front()
		if e == nil || m.now().Before(e.Value.(*Session).Expires) {
			break
		}
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
