package httpapi

import (
	"errors"
	"net/http"
	"time"

	"github.com/toolbridge/toolbridge-mcp/api/internal/budget"
	"github.com/toolbridge/toolbridge-mcp/api/internal/store"
	"github.com/toolbridge/toolbridge-mcp/api/internal/telemetry"
)

// MemoryWait limits how long a request waits for memory. It is shorter than a client's timeout, and
// long enough for the requests before it.
const MemoryWait = 5 * time.Second

const (
	// copies is how often a body is in memory at once, at most: as it was read, compacted, as the
	// item's new payload, and as the text that the database driver sends.
	copies = 4
	// perMember is what a top-level member costs beside its text, in the body and in the payload
	// that is made of it.
	perMember = 256
	// smallestMember is the length of `"":0,`.
	smallestMember = 5
)

// reserve acquires memory for a request, whose end releases it. It may wait, so it comes before
// anything is read or built, and once.
func (a *API) reserve(r *http.Request, bytes int64) error {
	c := callOf(r.Context())
	hold, err := a.Memory.Acquire(r.Context(), c.person, bytes)
	c.memory = hold
	return a.outOfMemory(err)
}

// reserveNow is reserve that does not wait.
func (a *API) reserveNow(r *http.Request, bytes int64) bool {
	c := callOf(r.Context())
	hold, ok := a.Memory.TryAcquire(c.person, bytes)
	c.memory = hold
	return ok
}

// grow adds to what the request has reserved. It does not wait.
func (a *API) grow(r *http.Request, bytes int64) error {
	return a.outOfMemory(callOf(r.Context()).memory.Grow(bytes))
}

// growInside is grow within a write's transaction, for which the user's other writes wait.
func (a *API) growInside(r *http.Request, bytes int64) error {
	return a.outOfMemory(callOf(r.Context()).memory.GrowFromReserve(bytes))
}

// outOfMemory turns a refusal of the budget into its response: 429 if the user's own requests hold
// too much, and 503 otherwise.
func (a *API) outOfMemory(err error) error {
	switch {
	case errors.Is(err, budget.ErrPersonExhausted):
		a.Metrics.MemoryRefusals.WithLabelValues(telemetry.MemoryPerson).Inc()
		p := &problem{
			status:  http.StatusTooManyRequests,
			headers: map[string]string{"Retry-After": "1"},
			message: "too many large requests at once; nothing was changed; try again soon",
		}
		return p.withReason(err.Error(), nil)
	case errors.Is(err, budget.ErrTotalExhausted):
		a.Metrics.MemoryRefusals.WithLabelValues(telemetry.MemoryTotal).Inc()
		p := unavailable("too many large requests at once; nothing was changed; try again soon")
		return p.withReason(err.Error(), nil)
	}
	return err
}

// itemBytes is what is reserved for an item before its size is known: the most that a payload may
// have.
func (a *API) itemBytes() int64 { return 2*a.MaxBody + overhead }

func payloadBytes(item store.Item) int64 { return int64(len(item.Payload)) + overhead }
