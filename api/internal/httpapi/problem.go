package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/toolbridge/toolbridge-mcp/api/internal/auth"
	"github.com/toolbridge/toolbridge-mcp/api/internal/entity"
	"github.com/toolbridge/toolbridge-mcp/api/internal/store"
	"github.com/toolbridge/toolbridge-mcp/api/internal/tenantsig"
)

// problem is an error with a message for the caller and details for the log. The two differ because
// details that help an operator may help an attacker.
type problem struct {
	status  int
	message string         // for the caller
	fields  map[string]any // beside error and correlation_id
	headers map[string]string
	reason  string // for the log and metrics, one of a fixed list
	cause   error  // for the log
}

func (p *problem) Error() string { return p.message }

func (p *problem) withReason(reason string, cause error) *problem {
	p.reason, p.cause = reason, cause
	return p
}

func badRequest(message string) *problem {
	return &problem{status: http.StatusBadRequest, message: message}
}

func notFound(what string) *problem {
	return &problem{status: http.StatusNotFound, message: what + " not found"}
}

func methodNotAllowed() *problem {
	return &problem{status: http.StatusMethodNotAllowed, message: "method not allowed"}
}

func gone(label string, item store.Item) *problem {
	return &problem{status: http.StatusGone, message: label + " is deleted",
		fields: map[string]any{"deletedAt": formatMillis(item.Deleted)}}
}

func alreadyExists() *problem {
	return &problem{status: http.StatusConflict, message: "already_exists"}
}

func versionMismatch(expected, actual int64) *problem {
	return &problem{status: http.StatusPreconditionFailed,
		message: fmt.Sprintf("version mismatch: expected %d, actual %d", expected, actual)}
}

func epochMismatch(epoch int64) *problem {
	return &problem{status: http.StatusConflict, message: "epoch_mismatch",
		fields:  map[string]any{"epoch": epoch},
		headers: map[string]string{headerEpoch: strconv.FormatInt(epoch, 10)}}
}

func noSession() *problem {
	return &problem{status: http.StatusPreconditionRequired,
		message: "no open session: open one with POST /v1/sync/sessions and send its id as " +
			headerSession}
}

func foreignSession() *problem {
	p := &problem{status: http.StatusForbidden, message: "the session belongs to another user"}
	return p.withReason("session_foreign", nil)
}

func tokenRefused(reason string, cause error) *problem {
	challenge := `Bearer realm="toolbridge"`
	if reason != reasonNoToken {
		challenge += `, error="invalid_token"`
	}
	p := &problem{status: http.StatusUnauthorized, message: "a valid bearer token is required",
		headers: map[string]string{"WWW-Authenticate": challenge}}
	return p.withReason(reason, cause)
}

func tenantRefused(reason string) *problem {
	p := &problem{status: http.StatusUnauthorized, message: "valid tenant headers are required"}
	return p.withReason(reason, nil)
}

// signAnew is for a valid signature that may have been used already: the client can sign the
// request again.
func signAnew() *problem {
	p := &problem{
		status:  http.StatusServiceUnavailable,
		message: "signed too long ago to tell whether it is new; nothing was changed; sign it anew",
	}
	return p.withReason(tenantsig.ErrNonceForgotten.Error(), nil)
}

func otherTenant() *problem {
	p := &problem{status: http.StatusForbidden, message: "the token belongs to another tenant"}
	return p.withReason("tenant_mismatch", nil)
}

func timeIsUp() *problem {
	return unavailable("the time that the caller gave is over; nothing was changed").withReason(
		"deadline_exceeded", nil,
	)
}

// asProblem maps every error to a response. An unexpected error is a 500 without details.
func asProblem(err error) *problem {
	var p *problem
	var field *entity.FieldError
	var tooLarge *http.MaxBytesError
	var refusal *auth.Refusal
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &field):
		return &problem{
			status:  http.StatusUnprocessableEntity,
			message: field.Error(),
			fields:  map[string]any{"field": field.Field},
		}
	case errors.As(err, &tooLarge):
		return &problem{status: http.StatusRequestEntityTooLarge,
			message: fmt.Sprintf("body is too large: at most %d bytes", tooLarge.Limit)}
	case errors.As(err, &refusal):
		return tokenRefused(refusal.Reason, refusal.Cause)
	case errors.Is(err, auth.ErrKeysUnavailable):
		p = unavailable("the keys that verify tokens cannot be fetched; try again soon")
		return p.withReason("keys_unavailable", err)
	case searchProblem(err) != nil:
		return searchProblem(err)
	case errors.Is(err, store.ErrOutcomeUnknown):
		p = &problem{
			status:  http.StatusGatewayTimeout,
			message: "storage did not confirm the write; read the item to see whether it was made",
		}
		return p.withReason(reasonStorage, err)
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		p = unavailable("storage is unavailable; nothing was changed; try again soon")
		return p.withReason(reasonStorage, err)
	case errors.Is(err, context.Canceled):
		p = &problem{status: statusClientGone, message: "the caller went away"}
		return p.withReason("client_gone", nil)
	}
	p = &problem{status: http.StatusInternalServerError, message: "internal error"}
	return p.withReason("internal", err)
}

// statusClientGone is the status in the log and the metrics after the client has disconnected. It
// is never sent.
const statusClientGone = 499

const (
	reasonNoToken = "token_missing"
	reasonStorage = "storage_unavailable"
)

func unavailable(message string) *problem {
	return &problem{
		status:  http.StatusServiceUnavailable,
		message: message,
		headers: map[string]string{"Retry-After": "1"},
	}
}

func (p *problem) write(w http.ResponseWriter, correlationID string) {
	body := map[string]any{"error": p.message, "correlation_id": correlationID}
	for key, value := range p.fields {
		body[key] = value
	}
	for key, value := range p.headers {
		w.Header().Set(key, value)
	}
	writeJSON(w, p.status, body)
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil { // all values come from this package, and can be encoded
		status, text = http.StatusInternalServerError, []byte(`{"error":"internal error"}`)
	}
	writeText(w, status, text)
}

func writeText(w http.ResponseWriter, status int, text []byte) {
	writeHead(w, status, len(text))
	_, _ = w.Write(text) // the client may have disconnected
}

func writeHead(w http.ResponseWriter, status, size int) {
	h := w.Header()
	h["Content-Type"] = jsonContent
	h["Content-Length"] = []string{strconv.Itoa(size)}
	w.WriteHeader(status)
}

// wholeSeconds rounds up, so that the stated wait is always sufficient.
func wholeSeconds(d time.Duration) string {
	return strconv.Itoa(int(math.Ceil(d.Seconds())))
}
