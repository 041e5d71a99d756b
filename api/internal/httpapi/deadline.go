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

// errTimeIsUp marks the caller's deadline, as opposed to the store's own limit.
var errTimeIsUp = errors.New("the caller waits no longer")

// requestTimeout bounds a request by the time in X-TB-Timeout-Ms. The store has a limit of its own,
// so this can only shorten it.
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

// givenTime accepts one value of plain digits within bounds. Anything else is ignored, as with a
// correlation id: the request is then served within the usual limits.
func givenTime(h http.Header) (time.Duration, bool) {
	text, ok := single(h, headerTimeout)
	if !ok {
		return 0, false
	}
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return 0, false // ParseInt would accept a sign
		}
	}
	ms, err := strconv.ParseInt(text, 10, 32)
	given := time.Duration(ms) * time.Millisecond
	return given, err == nil && given > 0 && given <= longestTimeout
}

// endedByCaller reports whether an error is only the caller's deadline: the database works, and
// nothing was changed. During a commit the outcome is unknown, which is another error.
func endedByCaller(ctx context.Context, err error) bool {
	return errors.Is(context.Cause(ctx), errTimeIsUp) && errors.Is(err, context.DeadlineExceeded) &&
		!errors.Is(err, store.ErrOutcomeUnknown)
}
