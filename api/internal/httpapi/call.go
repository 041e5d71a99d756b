package httpapi

import (
	"context"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/toolbridge/toolbridge-mcp/api/internal/auth"
	"github.com/toolbridge/toolbridge-mcp/api/internal/budget"
	"github.com/toolbridge/toolbridge-mcp/api/internal/store"
	"github.com/toolbridge/toolbridge-mcp/api/internal/telemetry"
)

const (
	headerCorrelation = "X-Correlation-ID"
	headerSession     = "X-Sync-Session"
	headerEpoch       = "X-Sync-Epoch"
)

// call holds what the middlewares learn about a request, and the error of its response. They fill
// it in the order of the checks, so a handler behind them may rely on it.
type call struct {
	correlationID string
	caller        auth.Caller
	person        store.Person
	session       store.Session
	contentHash   string // the signed hash of the body; "" = none
	memory        *budget.Hold[store.Person]
	reason        string
	cause         error
	answer        answer
	ahead         *store.Ahead // what was read with the session; nil = nothing
}

type callKey struct{}

// answer is a response that is being written, and what is reported of it.
type answer struct {
	http.ResponseWriter
	status int // 0 = not begun
	bytes  int
}

func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= http.StatusOK {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	n, err := a.ResponseWriter.Write(p)
	a.bytes += n
	return n, err
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

// correlate sets the request's correlation id, and the headers of every response.
func (a *API) correlate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{correlationID: r.Header.Get(headerCorrelation)}
		if !usableCorrelationID(c.correlationID) {
			c.correlationID = uuid.NewString()
		}
		h := w.Header()
		h[canonicalCorrelation] = []string{c.correlationID}
		h["Cache-Control"] = noStore
		h["X-Content-Type-Options"] = noSniff
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callKey{}, c)))
	})
}

// Values of headers that every response has. They are never changed.
var (
	canonicalCorrelation = http.CanonicalHeaderKey(headerCorrelation)
	noStore              = []string{"no-store"}
	noSniff              = []string{"nosniff"}
	jsonContent          = []string{"application/json; charset=utf-8"}
)

func usableCorrelationID(id string) bool {
	if id == "" || len(id) > 128 {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case c >= 'a' && c <= 'z',
			c >= 'A' && c <= 'Z',
			c >= '0' && c <= '9',
			c == '.',
			c == '_',
			c == ':',
			c == '-':
		default:
			return false
		}
	}
	return true
}

var tracer = otel.Tracer("toolbridge-api")

// observe records a log line, metrics and, with tracing on, a span of every request.
func (a *API) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		a.Metrics.InFlight.Inc()
		defer a.Metrics.InFlight.Dec()
		if telemetry.Tracing() {
			var span trace.Span
			r, span = startSpan(r)
			defer endSpan(span, r)
		}
		c := callOf(r.Context())
		c.answer = answer{ResponseWriter: w}
		// Deferred, so that a handler that aborts its connection is recorded too.
		defer func() { a.report(r, c, time.Since(begin)) }()
		next.ServeHTTP(&c.answer, r)
	})
}

func startSpan(r *http.Request) (*http.Request, trace.Span) {
	carried := propagation.HeaderCarrier(r.Header)
	ctx := otel.GetTextMapPropagator().Extract(r.Context(), carried)
	ctx, span := tracer.Start(ctx, r.Method, trace.WithSpanKind(trace.SpanKindServer))
	return r.WithContext(ctx), span
}

func endSpan(span trace.Span, r *http.Request) {
	c := callOf(r.Context())
	route, method, status := routeOf(r), knownMethod(r.Method), c.answer.status
	span.SetName(method + " " + route)
	span.SetAttributes(attribute.String("http.request.method", method),
		attribute.String("http.route", route),
		attribute.Int("http.response.status_code", status),
		attribute.String("toolbridge.correlation_id", c.correlationID))
	if status >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, c.reason)
	}
	span.End()
}

func (a *API) report(r *http.Request, c *call, took time.Duration) {
	route, method := routeOf(r), knownMethod(r.Method)
	a.Metrics.Requests.WithLabelValues(route, method, strconv.Itoa(c.answer.status)).Inc()
	a.Metrics.Duration.WithLabelValues(route, method).Observe(took.Seconds())
	a.logRequest(r.Context(), c, route, method, took)
}

// routeOf returns the matching pattern. Unknown paths share one name, so that a scanner cannot
// create labels.
func routeOf(r *http.Request) string {
	pattern := chi.RouteContext(r.Context()).RoutePattern()
	if pattern == "" || pattern[len(pattern)-1] == '*' {
		return "unmatched"
	}
	return pattern
}

func knownMethod(method string) string {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
		return method
	}
	return otherMethod
}

const otherMethod = "OTHER"

// recover keeps a panic of one request from affecting others.
func (a *API) recover(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			panicked := recover()
			if panicked == nil {
				return
			}
			if panicked == http.ErrAbortHandler {
				panic(panicked)
			}
			callOf(r.Context()).reason = "panic"
			a.Log.Error(
				"a request handler panicked",
				telemetry.CorrelationID,
				callOf(r.Context()).correlationID,
				telemetry.Error,
				panicked,
				telemetry.Stack,
				string(debug.Stack()),
			)
			if callOf(r.Context()).answer.status != 0 {
				panic(http.ErrAbortHandler) // the response has begun, so it can only be cut off
			}
			(&problem{status: http.StatusInternalServerError, message: "internal error"}).write(
				w,
				callOf(r.Context()).correlationID,
			)
		}()
		next.ServeHTTP(w, r)
	})
}
