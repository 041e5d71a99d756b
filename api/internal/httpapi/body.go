package httpapi

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/toolbridge/toolbridge-mcp/api/internal/payload"
	"github.com/toolbridge/toolbridge-mcp/api/internal/store"
	"github.com/toolbridge/toolbridge-mcp/api/internal/tenantsig"
)

// readObject reads a request's body, which must be the one that was signed, and a JSON object of at
// most MaxBody bytes. The memory for it and for what is built from it is reserved before.
func (a *API) readObject(w http.ResponseWriter, r *http.Request) (*payload.Object, error) {
	object, err := a.readOptional(w, r, 0)
	if err == nil && object == nil {
		err = badRequest(payload.ErrEmpty.Error())
	}
	return object, err
}

// readOptional is readObject where there may be no body: it then returns nil. It also reserves
// spare bytes for what the request does afterwards.
func (a *API) readOptional(
	w http.ResponseWriter,
	r *http.Request,
	spare int64,
) (*payload.Object, error) {
	text, err := a.readBody(w, r, spare)
	if err != nil {
		return nil, err
	}
	if hash := callOf(r.Context()).contentHash; hash != "" {
		if err := tenantsig.CheckBody(hash, text); err != nil {
			a.Metrics.AuthFailures.WithLabelValues(err.Error()).Inc()
			return nil, tenantRefused(err.Error())
		}
	}
	object, err := payload.Parse(text)
	if errors.Is(err, payload.ErrEmpty) {
		return nil, nil
	} else if err != nil {
		return nil, badRequest(err.Error())
	}
	callOf(r.Context()).memory.Shrink(
		copies*int64(len(text)) + perMember*int64(object.Len()) + spare,
	)
	return object, nil
}

func (a *API) readBody(w http.ResponseWriter, r *http.Request, spare int64) ([]byte, error) {
	size := r.ContentLength
	if size > a.MaxBody {
		return nil, &http.MaxBytesError{Limit: a.MaxBody}
	}
	if size < 0 {
		size = a.MaxBody // the length is not declared
	}
	members := min(size/smallestMember, payload.MaxMembers)
	if err := a.reserve(r, copies*size+perMember*members+spare); err != nil {
		return nil, err
	}
	body := http.MaxBytesReader(w, r.Body, a.MaxBody)
	var text []byte
	var err error
	if r.ContentLength >= 0 {
		text = make([]byte, size)
		_, err = io.ReadFull(body, text)
	} else {
		text, err = io.ReadAll(body)
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, err
	case err != nil: // the caller stopped in the middle
		return nil, badRequest("body could not be read to its end")
	}
	return text, nil
}

func writeItem(w http.ResponseWriter, status int, item store.Item) {
	w.Header().Set("ETag", `"`+strconv.FormatInt(item.Version, 10)+`"`)
	t := newText(item)
	t.item(item)
	t.writeTo(w, status)
}

func writePage(w http.ResponseWriter, items []store.Item, nextCursor string) {
	page(items, nextCursor).writeTo(w, http.StatusOK)
}

func page(items []store.Item, nextCursor string) *text {
	t := newText(items...)
	t.add(`{"items":[`)
	for n, item := range items {
		if n > 0 {
			t.add(`,`)
		}
		t.item(item)
	}
	t.add(`]`)
	if nextCursor != "" { // base64, so it needs no escaping
		t.add(`,"nextCursor":"`, nextCursor, `"`)
	}
	t.add(`}`)
	return t
}

// overhead is the approximate size of an item's response without its payload.
const overhead = 320

// text is a response in pieces. A large payload is a piece of its own, so that it is in memory
// once.
type text struct {
	pieces [][]byte
	last   []byte // a piece that is still being written
	size   int
}

const (
	largePayload = 1 << 10
	// Pieces are combined into writes of this size, because each write is a system call.
	writeBytes = 32 << 10
)

func newText(items ...store.Item) *text {
	size := overhead
	for _, item := range items {
		size += overhead
		if len(item.Payload) < largePayload {
			size += len(item.Payload)
		}
	}
	return &text{last: make([]byte, 0, size)}
}

func (t *text) add(texts ...string) {
	for _, s := range texts {
		t.last = append(t.last, s...)
	}
}

// insert adds bytes that must not change until the text has been written.
func (t *text) insert(piece []byte) {
	if len(piece) < largePayload {
		t.last = append(t.last, piece...)
		return
	}
	t.end()
	t.pieces = append(t.pieces, piece)
	t.size += len(piece)
}

// end begins another piece in the same memory.
func (t *text) end() {
	t.pieces = append(t.pieces, t.last)
	t.size += len(t.last)
	t.last = t.last[len(t.last):]
}

func (t *text) writeTo(w http.ResponseWriter, status int) {
	t.end()
	writeHead(w, status, t.size)
	if len(t.pieces) == 1 {
		_, _ = w.Write(t.pieces[0]) // the client may have disconnected
		return
	}
	out := bufio.NewWriterSize(w, min(t.size, writeBytes))
	for _, piece := range t.pieces {
		_, _ = out.Write(piece)
	}
	_ = out.Flush()
}

// item writes an item around and into its payload, whose text stays as the caller sent it.
func (t *text) item(item store.Item) {
	t.add(`{"uid":"`, item.UID, `","version":`)
	t.last = strconv.AppendInt(t.last, item.Version, 10)
	t.time(`,"createdAt":"`, item.Created)
	t.time(`,"updatedAt":"`, item.Updated)
	t.deleted(item)
	t.add(`,"payload":`)
	t.insert(item.Payload[:len(item.Payload)-1]) // without the closing brace
	if len(item.Payload) > len(`{}`) {
		t.add(`,`)
	}
	t.add(`"uid":"`, item.UID)
	t.time(`","updatedTs":"`, item.Updated)
	t.add(`,"sync":{"version":`)
	t.last = strconv.AppendInt(t.last, item.Version, 10)
	t.add(`,"isDeleted":`)
	t.last = strconv.AppendBool(t.last, item.Deleted != 0)
	t.deleted(item)
	t.add(`}}}`)
}

func (t *text) deleted(item store.Item) {
	if item.Deleted != 0 {
		t.time(`,"deletedAt":"`, item.Deleted)
	}
}

// time writes a time, and the quote that ends it.
func (t *text) time(before string, ms int64) {
	t.last = append(appendMillis(append(t.last, before...), ms), '"')
}
