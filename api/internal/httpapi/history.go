package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/toolbridge/toolbridge-mcp/api/internal/payload"
	"github.com/toolbridge/toolbridge-mcp/api/internal/store"
)

const (
	defaultVersions = 20
	maxVersions     = 100
	// namesShown is how many changed fields a version names.
	namesShown = 20
)

type versionBody struct {
	Version     int64    `json:"version"`
	UpdatedAt   string   `json:"updatedAt"`
	Operation   string   `json:"operation,omitempty"` // "" where it is not known
	FromVersion int64    `json:"fromVersion,omitempty"`
	DeletedAt   string   `json:"deletedAt,omitempty"`
	Bytes       int      `json:"bytes"`
	Changed     []string `json:"changed,omitempty"`
	ChangedMore int      `json:"changedMore,omitempty"` // how many it does not name
}

type versionsBody struct {
	Versions   []versionBody `json:"versions"`
	NextBefore int64         `json:"nextBefore,omitempty"`
}

// eachVersion visits the versions of an item of the caller, newest first, while visit returns true.
func (i items) eachVersion(
	r *http.Request,
	uid string,
	visit func(store.Item) (bool, error),
) error {
	return i.Store.Versions(r.Context(), callOf(r.Context()).session.Owner, i.kind.Name, uid, visit)
}

// versions lists the versions of an item, newest first.
func (i items) versions(w http.ResponseWriter, r *http.Request) error {
	uid, err := pathUID(r)
	if err != nil {
		return err
	}
	query, err := readQuery(r)
	if err != nil {
		return err
	}
	limit, err := wholeNumber(query.Get("limit"), "limit", defaultVersions)
	if err != nil {
		return err
	}
	before, err := wholeNumber(query.Get("before"), "before", 0)
	if err != nil {
		return err
	}
	if err := i.reserve(r, versionCopies*i.itemBytes()); err != nil {
		return err
	}
	out := versionsBody{Versions: []versionBody{}}
	last := store.Item{} // whose changes are known once the version before it is
	var lastFields *payload.Object
	full := false
	err = i.eachVersion(r, uid,
		func(item store.Item) (bool, error) {
			if before != 0 && item.Version >= before {
				return true, nil
			}
			fields, err := payload.ParseStored(item.Payload)
			if err != nil {
				return false, fmt.Errorf(
					"payload of version %d of %s %s: %w",
					item.Version,
					i.kind.Name,
					uid,
					err,
				)
			}
			if last.Version != 0 {
				out.Versions[len(out.Versions)-1].compare(lastFields, fields)
			}
			if full = int64(len(out.Versions)) == min(limit, maxVersions); full {
				return false, nil
			}
			out.Versions = append(out.Versions, showVersion(item))
			last, lastFields = item, fields
			return true, nil
		},
	)
	if errors.Is(err, store.ErrNoItem) {
		return notFound(i.kind.Label)
	} else if err != nil {
		return err
	}
	if full {
		out.NextBefore = last.Version
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

// versionCopies is how often a payload is in memory while versions are read: two that follow each
// other, each as text and as an object.
const versionCopies = 4

func showVersion(item store.Item) versionBody {
	operation, from, _ := strings.Cut(item.Operation, " ")
	v := versionBody{
		Version:   item.Version,
		UpdatedAt: formatMillis(item.Updated),
		Operation: operation,
		Bytes:     len(item.Payload),
	}
	v.FromVersion, _ = strconv.ParseInt(from, 10, 64) // 0 where there is none
	if item.Deleted != 0 {
		v.DeletedAt = formatMillis(item.Deleted)
	}
	return v
}

// compare names the fields that differ from those of the version before.
func (v *versionBody) compare(now, before *payload.Object) {
	var names []string
	now.Each(func(name string, value json.RawMessage) {
		if old, ok := before.Get(name); !ok || !bytes.Equal(old, value) {
			names = append(names, name)
		}
	})
	before.Each(func(name string, _ json.RawMessage) {
		if _, ok := now.Get(name); !ok {
			names = append(names, name)
		}
	})
	slices.Sort(names)
	shown := min(len(names), namesShown)
	v.ChangedMore = len(names) - shown
	for _, name := range names[:shown] {
		v.Changed = append(v.Changed, shorten(name))
	}
}

// version returns an item as it was.
func (i items) version(w http.ResponseWriter, r *http.Request) error {
	uid, err := pathUID(r)
	if err != nil {
		return err
	}
	wanted, err := wholeNumber(chi.URLParam(r, "version"), "version", 0)
	if err != nil {
		return err
	}
	if err := i.reserve(r, 2*i.itemBytes()); err != nil {
		return err
	}
	var found *store.Item
	err = i.eachVersion(r, uid,
		func(item store.Item) (bool, error) {
			if item.Version == wanted {
				found = &item
			}
			return item.Version > wanted, nil
		},
	)
	switch {
	case errors.Is(err, store.ErrNoItem):
		return notFound(i.kind.Label)
	case err != nil:
		return err
	case found == nil:
		return noVersion(wanted)
	}
	return i.answer(w, r, http.StatusOK, *found)
}

func noVersion(version int64) *problem {
	return &problem{
		status:  http.StatusNotFound,
		message: fmt.Sprintf("version %d is not kept", version),
		fields:  map[string]any{"field": "version"},
	}
}

// restore brings back a deleted item, or an earlier version as a new one.
func (i items) restore(w http.ResponseWriter, r *http.Request) error {
	// Not within the write's transaction, since a version may be larger than the current one.
	body, err := i.readOptional(w, r, versionCopies*i.itemBytes())
	if err != nil {
		return err
	}
	if body == nil {
		body = &payload.Object{}
	}
	m := &members{Object: body, known: make(map[string]bool), of: "a restore"}
	to := m.version("toVersion")
	if m.unknown(); m.err != nil {
		return m.err
	}
	return i.write(w, r, func(expected int64) store.Change { return i.restored(expected, to) })
}

// restored is the change that a restore makes; to is 0 where the last state before a deletion is
// wanted.
func (i items) restored(expected, to int64) store.Change {
	return func(tx store.Tx, current *store.Item) (store.Next, error) {
		if err := i.expect(current, expected); err != nil {
			return store.Next{}, err
		}
		return i.broughtBack(tx, current, to)
	}
}

func (i items) broughtBack(tx store.Tx, current *store.Item, to int64) (store.Next, error) {
	wanted, operation := *current, store.OpRestore
	switch {
	case to == 0 && current.Deleted == 0:
		return store.Next{}, invalidMember(
			"toVersion",
			"is required: the %s is not deleted",
			i.kind.Label,
		)
	case to != 0:
		var err error
		if wanted, err = tx.Version(i.kind.Name, *current, to); errors.Is(err, store.ErrNoVersion) {
			p := noVersion(to)
			p.fields["field"] = "toVersion"
			return store.Next{}, p
		} else if err != nil {
			return store.Next{}, err
		}
		if wanted.Deleted != 0 {
			return store.Next{}, invalidMember(
				"toVersion",
				"must not be a deletion, as version %d is",
				to,
			)
		}
		operation += " " + strconv.FormatInt(to, 10)
	}
	fields, err := payload.ParseStored(wanted.Payload)
	if err != nil {
		return store.Next{}, fmt.Errorf(
			"payload of version %d of %s %s: %w",
			wanted.Version,
			i.kind.Name,
			current.UID,
			err,
		)
	}
	return i.whole(tx, fields, operation)
}

func wholeNumber(text, name string, otherwise int64) (int64, error) {
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || n == 0 {
		return 0, badRequest(name + " must be a whole number from 1 on")
	}
	return int64(n), nil
}
