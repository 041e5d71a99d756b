package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"

	"github.com/toolbridge/toolbridge-mcp/api/internal/entity"
	"github.com/toolbridge/toolbridge-mcp/api/internal/payload"
	"github.com/toolbridge/toolbridge-mcp/api/internal/store"
)

// items are the handlers of one kind of item.
type items struct {
	*API
	kind entity.Kind
}

func (i items) get(w http.ResponseWriter, r *http.Request) error {
	uid, deletedToo, err := readGet(r)
	if err != nil {
		return err
	}
	item, err := i.read(r, uid)
	if errors.Is(err, store.ErrNoItem) {
		return notFound(i.kind.Label)
	} else if err != nil {
		return err
	}
	if item.Deleted != 0 && !deletedToo {
		return gone(i.kind.Label, item)
	}
	// More than that has been stored under a larger MAX_BODY_BYTES.
	if err := i.grow(r, payloadBytes(item)-i.itemBytes()); err != nil {
		return err
	}
	return i.answer(w, r, http.StatusOK, item)
}

func readGet(r *http.Request) (uid string, deletedToo bool, err error) {
	if uid, err = pathUID(r); err != nil {
		return "", false, err
	}
	query, err := readQuery(r)
	if err != nil {
		return "", false, err
	}
	deletedToo, err = queryFlag(query, "includeDeleted")
	return uid, deletedToo, err
}

func (i items) read(r *http.Request, uid string) (store.Item, error) {
	c := callOf(r.Context())
	if c.ahead != nil {
		return c.ahead.Item, c.ahead.Err
	}
	if err := i.reserve(r, i.itemBytes()); err != nil {
		return store.Item{}, err
	}
	return i.Store.Get(r.Context(), c.session.Owner, i.kind.Name, uid)
}

// aheadOfGet is nil where a request is not a good one, or has to wait for its memory.
func (i items) aheadOfGet(r *http.Request) *store.Ahead {
	if r.Method != http.MethodGet {
		return nil
	}
	uid, _, err := readGet(r)
	if err != nil || !i.reserveNow(r, i.itemBytes()) {
		return nil
	}
	return &store.Ahead{Kind: i.kind.Name, UID: uid}
}

// answer writes an item, and first releases the reserved memory that it does not need.
func (i items) answer(w http.ResponseWriter, r *http.Request, status int, item store.Item) error {
	callOf(r.Context()).memory.Shrink(payloadBytes(item))
	writeItem(w, status, item)
	return nil
}

func (i items) create(w http.ResponseWriter, r *http.Request) error {
	body, err := i.readObject(w, r)
	if err != nil {
		return err
	}
	uid := newItemUID(body)
	var item store.Item
	if i.kind.Parent == nil {
		item, err = i.Store.Create(r.Context(), i.owner(r), i.kind.Name, uid, first(body))
	} else {
		item, err = i.Store.Write(r.Context(), i.owner(r), i.kind.Name, uid, i.created(body))
	}
	if errors.Is(err, store.ErrExists) {
		return alreadyExists()
	} else if err != nil {
		return i.lost(r, err)
	}
	w.Header().Set("Location", "/v1/"+i.kind.Name+"/"+uid)
	return i.answer(w, r, http.StatusCreated, item)
}

// newItemUID is the client's uid, if it is one, or else a new one.
func newItemUID(body *payload.Object) string {
	text, _ := body.Text("uid")
	uid, ok := entity.ParseUID(text)
	if !ok {
		uid = uuid.Must(uuid.NewV7()).String()
	}
	return uid
}

func (i items) created(body *payload.Object) store.Change {
	return func(tx store.Tx, current *store.Item) (store.Next, error) {
		if current != nil {
			return store.Next{}, alreadyExists()
		}
		return i.whole(tx, body, store.OpCreate)
	}
}

func (i items) replace(w http.ResponseWriter, r *http.Request) error {
	body, err := i.readObject(w, r)
	if err != nil {
		return err
	}
	return i.change(w, r, func(tx store.Tx, _ *payload.Object) (store.Next, error) {
		return i.whole(tx, body, store.OpReplace)
	})
}

func (i items) merge(w http.ResponseWriter, r *http.Request) error {
	body, err := i.readObject(w, r)
	if err != nil {
		return err
	}
	return i.change(w, r, i.merged(body))
}

func (i items) delete(w http.ResponseWriter, r *http.Request) error {
	return i.change(w, r, deleted)
}

func (i items) archive(w http.ResponseWriter, r *http.Request) error {
	return i.change(w, r, applied(i.kind.Archive, store.OpArchive))
}

func (i items) process(w http.ResponseWriter, r *http.Request) error {
	body, err := i.readObject(w, r)
	if err != nil {
		return err
	}
	effect, err := i.action(body)
	if err != nil {
		return err
	}
	metadata, ok := body.Get("metadata")
	if ok && metadata[0] != '{' && string(metadata) != "null" {
		return badRequest("metadata must be an object")
	}
	return i.change(w, r, applied(effect, store.OpProcess))
}

func (i items) action(body *payload.Object) (entity.Effect, error) {
	name, ok := body.Text("action")
	if !ok {
		return entity.Effect{}, badRequest("action is required: a string")
	}
	effect, ok := i.kind.Action(name)
	if !ok {
		return effect, badRequest("invalid action: " + shorten(name))
	}
	return effect, nil
}

// edit is what becomes of the payload of a live item.
type edit func(store.Tx, *payload.Object) (store.Next, error)

func (i items) merged(body *payload.Object) edit {
	patch := body.Without(entity.ServerFields...)
	return func(tx store.Tx, current *payload.Object) (store.Next, error) {
		current.Merge(patch)
		if err := i.checkSize(current); err != nil {
			return store.Next{}, err
		}
		// A patch that does not name the parent may change an orphan.
		if i.kind.Parent != nil && i.kind.Parent.Names(patch) {
			return i.whole(tx, current, store.OpPatch)
		}
		return store.Next{Payload: current.JSON(), Operation: store.OpPatch}, nil
	}
}

func deleted(_ store.Tx, current *payload.Object) (store.Next, error) {
	return store.Next{Payload: current.JSON(), Delete: true, Operation: store.OpDelete}, nil
}

func applied(effect entity.Effect, operation string) edit {
	return func(_ store.Tx, current *payload.Object) (store.Next, error) {
		effect.Apply(current)
		return store.Next{Payload: current.JSON(), Operation: operation}, nil
	}
}

// change is the common part of all writes of a live item.
func (i items) change(w http.ResponseWriter, r *http.Request, do edit) error {
	reserve := func(bytes int64) error { return i.growInside(r, bytes) }
	return i.write(w, r, func(expected int64) store.Change { return i.live(expected, reserve, do) })
}

// live is the change that an edit makes. It reserves memory for the item with reserve.
func (i items) live(expected int64, reserve func(int64) error, do edit) store.Change {
	return func(tx store.Tx, current *store.Item) (store.Next, error) {
		if current != nil && current.Deleted != 0 {
			return store.Next{}, gone(i.kind.Label, *current)
		}
		if err := i.expect(current, expected); err != nil {
			return store.Next{}, err
		}
		if err := reserve(copies * payloadBytes(*current)); err != nil {
			return store.Next{}, err
		}
		stored, err := payload.ParseStored(current.Payload)
		if err != nil {
			return store.Next{}, fmt.Errorf(
				"stored payload of %s %s: %w",
				i.kind.Name,
				current.UID,
				err,
			)
		}
		if err := reserve(perMember * int64(stored.Len())); err != nil {
			return store.Next{}, err
		}
		return do(tx, stored)
	}
}

// expect checks that there is an item, in the version that is expected; 0 is any.
func (i items) expect(current *store.Item, expected int64) error {
	if current == nil {
		return notFound(i.kind.Label)
	}
	if expected != 0 && expected != current.Version {
		return versionMismatch(expected, current.Version)
	}
	return nil
}

// write changes an existing item. The change is made for the version in If-Match.
func (i items) write(
	w http.ResponseWriter,
	r *http.Request,
	change func(expected int64) store.Change,
) error {
	uid, err := pathUID(r)
	if err != nil {
		return err
	}
	expected, err := ifMatch(r)
	if err != nil {
		return err
	}
	if callOf(r.Context()).memory == nil { // there was no body
		if err := i.reserve(r, overhead); err != nil {
			return err
		}
	}
	item, err := i.Store.Write(r.Context(), i.owner(r), i.kind.Name, uid, change(expected))
	if err != nil {
		return i.lost(r, err)
	}
	return i.answer(w, r, http.StatusOK, item)
}

// whole checks a complete payload: it must name a live parent, if its kind has parents.
func (i items) whole(tx store.Tx, body *payload.Object, operation string) (store.Next, error) {
	if parent := i.kind.Parent; parent != nil {
		ref, err := parent.Ref(body)
		if err != nil {
			return store.Next{}, err
		}
		live, err := tx.IsLive(ref.Kind, ref.UID)
		if err != nil {
			return store.Next{}, err
		}
		if !live {
			return store.Next{}, parent.NotLive(ref)
		}
	}
	next := first(body)
	next.Operation = operation
	return next, nil
}

// first is what a payload is stored as when it is created.
func first(body *payload.Object) store.Next {
	return store.Next{
		Payload:   body.Without(entity.ServerFields...).JSON(),
		Operation: store.OpCreate,
	}
}

// checkSize keeps many small patches from growing an item without limit. The limit is above MaxBody
// because a patch of the largest size must still fit beside the item's other members.
func (i items) checkSize(body *payload.Object) error {
	if size, most := int64(body.Size()), 2*i.MaxBody; size > most {
		return &problem{
			status: http.StatusRequestEntityTooLarge,
			message: fmt.Sprintf(
				"the patched item would be too large: %d bytes, at most %d",
				size,
				most,
			),
		}
	}
	if body.Len() > payload.MaxMembers {
		return &problem{
			status: http.StatusRequestEntityTooLarge,
			message: fmt.Sprintf(
				"the patched item would have too many members: %d, at most %d",
				body.Len(),
				payload.MaxMembers,
			),
		}
	}
	return nil
}

func (a *API) owner(r *http.Request) store.Owner {
	s := callOf(r.Context()).session
	return store.Owner{ID: s.Owner, Epoch: s.ServerEpoch}
}

// lost is the error of a write if a wipe has happened since its session was checked.
func (a *API) lost(r *http.Request, err error) error {
	if !errors.Is(err, store.ErrStaleEpoch) {
		return err
	}
	state, stateErr := a.Store.State(r.Context(), callOf(r.Context()).session.Owner)
	if stateErr != nil {
		return stateErr
	}
	return epochMismatch(state.Epoch)
}

func pathUID(r *http.Request) (string, error) {
	uid, ok := entity.ParseUID(chi.URLParam(r, "uid"))
	if !ok {
		return "", badRequest("invalid uid: a UUID is needed")
	}
	return uid, nil
}

// ifMatch is the expected version, 0 for any. Versions are the only entity tags here, and they are
// strong ones.
func ifMatch(r *http.Request) (int64, error) {
	values := r.Header.Values("If-Match")
	if len(values) == 0 || len(values) == 1 && values[0] == "*" {
		return 0, nil
	}
	text := values[0]
	if len(text) > 2 && strings.HasPrefix(text, `"`) && strings.HasSuffix(text, `"`) {
		text = text[1 : len(text)-1]
	}
	version, err := strconv.ParseUint(text, 10, 63)
	if err != nil || version == 0 || len(values) > 1 {
		return 0, badRequest(`If-Match must be one version, like 3 or "3"`)
	}
	return int64(version), nil
}

// readQuery is strict, while URL.Query drops what it cannot read: a dropped limit would yield a
// page of another size.
func readQuery(r *http.Request) (url.Values, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badRequest("malformed query string")
	}
	for _, name := range []string{"limit", "cursor", "includeDeleted", "before"} {
		if len(query[name]) > 1 {
			return nil, badRequest(name + " comes twice")
		}
	}
	return query, nil
}

func queryFlag(query url.Values, name string) (bool, error) {
	switch text := query.Get(name); text {
	case "", "false", "0":
		return false, nil
	case "true", "1":
		return true, nil
	default:
		return false, badRequest(name + " must be true or false")
	}
}

func shorten(text string) string {
	const most = 64
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}
