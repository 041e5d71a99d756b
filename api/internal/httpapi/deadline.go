package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/toolbridge/toolbridge-mcp/api/internal/store"
)

const (
	headerTimeout  = "X-Tb-Timeout-Ms"
	longestTimeout = 10 * time.Minute
)

// errTimeIsUp marks the end of the time that a caller gave, as opposed to that of the store's own patience.
var errTimeIsUp = errors.New("the caller waits no longer")

// requestTimeout bounds a request by the time in X-TB-Timeout-Ms. The store has a limit of its own, so
// this can only shorten it.
func (a *API) requestTimeout(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, ok := givenTime(r.Header)
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		ctx, cancel := context.WithTimeoutCause(r.Context(), given, errTimeIsUp)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// givenTime takes plain digits within bounds, once. Anything else counts for nothing, as with a correlation id: without it the
// request is served within the usual limits, which is better than not at all.
func givenTime(h http.Header) (time.Duration, bool) {
	text, ok := single(h, headerTimeout)
	if !ok {
		return 0, false
	}
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return 0, false // ParseInt would take a sign
		}
	}
	ms, err := strconv.ParseInt(text, 10, 32)
	given := time.Duration(ms) * time.Millisecond
	return given, err == nil && given > 0 && given <= longestTimeout
}

// endedByCaller says whether an error is only that the caller's time is up: the database is well, and nothing was changed. A commit that was
// under way is not that, but an unknown outcome.
func endedByCaller(ctx context.Context, err error) bool {
	return errors.Is(context.Cause(ctx), errTimeIsUp) && errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, store.ErrOutcomeUnknown)
}
