// Package store keeps users, their items and their sessions, in SQLite or in PostgreSQL.
//
// SQL that both databases understand is written once, in the file of what it is about (items.go,
// versions.go, users.go, search.go). What differs is in files that are named after the database:
// how to connect (sqlite.go, postgres.go), the search index (search_sqlite.go, search_postgres.go),
// and how writes share a transaction (write_groups_*.go). Sessions are kept in memory with SQLite
// (sessions_memory.go), and in a table with PostgreSQL (postgres.go), which creates an item in one
// round trip (create_postgres.go).
//
// Every write of a user first moves that user's clock, one row in users. The row stays locked until
// the transaction ends, so a user's writes happen one after another, and their update times are
// unique and rise in the order of the commits. From this follow, without further locks: two writers
// of one item never get the same version, a parent that was live when it was read is live until its
// child is written, a wipe and a write never interleave, and a reader who pages by update time
// never passes an item that is still being committed. docs/adr/0002 has the reasons.
package store

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/toolbridge/toolbridge-mcp/api/internal/telemetry"
)

var (
	// ErrStaleEpoch means that the user's data was wiped after the session was opened.
	ErrStaleEpoch = errors.New("stale epoch")
	// ErrNoSession means an unknown, ended or expired session.
	ErrNoSession = errors.New("no such session")
	// ErrNoItem means that there is no such item, not even a deleted one.
	ErrNoItem = errors.New("no such item")
	// ErrExists means that there is such an item already, perhaps a deleted one.
	ErrExists = errors.New("the item exists")
	// ErrUnavailable means that the database cannot be reached, or cannot be written. Nothing was
	// changed.
	ErrUnavailable = errors.New("storage unavailable")
	// ErrOutcomeUnknown means that the database was lost while it confirmed a commit: the write may
	// have happened.
	ErrOutcomeUnknown = errors.New("the database did not confirm the write")
)

// SessionLifetime is how long a session lives.
const SessionLifetime = 30 * time.Minute

// Person is a user of a tenant. Every read and write has one.
type Person struct{ Tenant, Subject string }

// Owner is a user's row in the database, at the epoch of the session in use.
type Owner struct{ ID, Epoch int64 }

// Session allows a caller to use their items for a while.
type Session struct {
	ID          string
	Person      Person
	Owner       int64
	Epoch       int64 // when it was opened
	ServerEpoch int64 // now
	Created     time.Time
	Expires     time.Time
}

// Item is one stored item. The payload is the caller's part of it.
type Item struct {
	UID     string
	Version int64
	Created int64 // Unix milliseconds
	Updated int64 // the same
	Deleted int64 // the same; 0 while it is live
	Payload []byte
	// Operation made this version; "" where that is not known.
	Operation string
	kept      int64 // bytes of all versions that were ever kept of it
}

// State says how often a user's data was wiped.
type State struct {
	Epoch      int64
	LastWipe   int64 // Unix milliseconds; 0 = never
	LastWipeBy string
}

// Change decides inside a write's transaction what an item becomes. current is nil when there is
// none. Whatever error it returns undoes the transaction and comes back from Write as it is.
type Change func(tx Tx, current *Item) (Next, error)

// Next is the new state of an item. The store adds version and times.
type Next struct {
	Payload   []byte
	Delete    bool
	Operation string // for the history
}

// Tx is what a Change may read.
type Tx interface {
	// IsLive reports whether the same user has this item and has not deleted it.
	IsLive(kind, uid string) (bool, error)
	// Version reads a version of an item, whose current one is given. It returns ErrNoVersion where
	// that is not kept.
	Version(kind string, current Item, version int64) (Item, error)
}

// Page is a part of a list, oldest change first. With a parent, items are in the order of their
// creation instead, so that a chat reads as it was written, whatever was marked as read since.
type Page struct {
	After Position // in the direction of the list
	Limit int
	// MaxBytes of payloads end a page early; it always holds at least one item.
	MaxBytes       int
	IncludeDeleted bool
	Newest         bool   // first
	Parent         string // uid of the item that all of them belong to; "" for all
	// Reserve is asked for the memory of each item, unless it is nil. Where there is none, the page
	// ends early too.
	Reserve func(Item) bool
}

// Position is where a page ended.
type Position struct {
	At  int64 // when the item was changed or, in a list of one parent, created
	UID string
}

// Beginning is before every item, End after them.
var (
	Beginning = Position{At: -1, UID: "00000000-0000-0000-0000-000000000000"}
	End       = Position{At: math.MaxInt64, UID: "ffffffff-ffff-ffff-ffff-ffffffffffff"}
)

// Start is where the list of a page begins.
func (p Page) Start() Position {
	if p.Newest {
		return End
	}
	return Beginning
}

// PositionOf is where a page that ends with an item ended.
func (p Page) PositionOf(item Item) Position {
	if p.Parent != "" {
		return Position{At: item.Created, UID: item.UID}
	}
	return Position{At: item.Updated, UID: item.UID}
}

// Store is the API's interface to the database.
type Store interface {
	Get(ctx context.Context, owner int64, kind, uid string) (Item, error)
	// List returns a page and whether there is more.
	List(
		ctx context.Context,
		owner int64,
		kind string,
		page Page,
	) (items []Item, more bool, err error)
	Write(ctx context.Context, owner Owner, kind, uid string, change Change) (Item, error)
	// Create writes an item that is new and depends on no other, or returns ErrExists.
	Create(ctx context.Context, owner Owner, kind, uid string, first Next) (Item, error)
	// WriteBatch makes several writes in one transaction. Where the answer to an earlier batch with
	// the same key is remembered, it returns that and writes nothing.
	WriteBatch(
		ctx context.Context,
		owner Owner,
		b Batch,
	) (outcomes []Outcome, remembered []byte, err error)
	// SweepRepeats forgets some of the answers that are too old, and returns how many.
	SweepRepeats(ctx context.Context) (int64, error)
	// Versions calls visit for each version of an item, from the current one to the oldest that is
	// kept, until it returns false. Deleted items have versions, too.
	Versions(
		ctx context.Context,
		owner int64,
		kind, uid string,
		visit func(Item) (more bool, err error),
	) error
	// SweepVersions removes some of the versions that are too old, and returns how many.
	SweepVersions(ctx context.Context) (int64, error)
	// Retain sets which versions are kept. It is called before the store is used.
	Retain(Retention)
	// Wipe deletes all of a user's items and their versions, raises the epoch and ends all of their
	// sessions.
	Wipe(
		ctx context.Context,
		owner int64,
		by string,
	) (epoch int64, deleted map[string]int64, err error)
	State(ctx context.Context, owner int64) (State, error)

	// Search finds items of an owner. The index is always up to date: it is written in the item's
	// transaction.
	Search(ctx context.Context, owner int64, s Search) (Findings, error)
	// Overview counts what an owner has; the times are the beginnings of days, in Unix
	// milliseconds.
	Overview(ctx context.Context, owner, today, tomorrow, nextWeek int64) (Overview, error)
	// GetMany reads the live ones of some items, by uid.
	GetMany(ctx context.Context, owner int64, kind string, uids []string) (map[string]Item, error)
	// IndexSome brings a batch of items into the index that an earlier release has written.
	IndexSome(ctx context.Context, at IndexCursor) (next IndexCursor, done bool, err error)
	// TidyIndex does some of the work that makes searches fast again after many writes, and returns
	// whether there is more of it.
	TidyIndex(ctx context.Context) (more bool, err error)
	// CheckIndex compares every item with its part of the index.
	CheckIndex(ctx context.Context) (IndexReport, error)

	OpenSession(ctx context.Context, who Person) (Session, error)
	FindSession(ctx context.Context, id string) (Session, error)
	// ReadsAhead reports whether FindSessionAhead saves a round trip.
	ReadsAhead() bool
	// FindSessionAhead is FindSession that also reads what the session's owner is about to ask for.
	FindSessionAhead(ctx context.Context, id string, ahead *Ahead) (Session, error)
	// EndSession ends a session of who. Another user's session counts as missing.
	EndSession(ctx context.Context, id string, who Person) error
	// SweepSessions removes expired sessions and returns how many it removed.
	SweepSessions(ctx context.Context) (int64, error)
	CountSessions(ctx context.Context) (int64, error)

	// Pools returns the state of the connection pools.
	Pools() []telemetry.Pool
	// Ping checks that the database answers.
	Ping(ctx context.Context) error
	Close()
}
