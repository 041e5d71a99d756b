package httpapi

import (
	"context"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
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
}

type callKey struct{}

func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

// correlate sets the request's correlation id, and the headers of every response.
func (a *API) correlate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{correlationID: r.Header.Get(headerCorrelation)}
		if !usableCorrelationID(c.correlationID) {
			c.correlationID = uuid.NewString()
		}
		h := w.Header()
		h.Set(headerCorrelation, c.correlationID)
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callKey{}, c)))
	})
}

func usableCorrelationID(id string) bool {
	if id == "" || len(id) > 128 {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == ':', c == '-':
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
		ctx := otel.GetTextMapPropagator().Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := tracer.Start(ctx, r.Method, trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()
		answer := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		// Deferred, so that a handler that aborts its connection is recorded too.
		defer func() {
			a.report(r.WithContext(ctx), answer, span, time.Since(begin))
		}()
		next.ServeHTTP(answer, r.WithContext(ctx))
	})
}

func (a *API) report(r *http.Request, answer middleware.WrapResponseWriter, span trace.Span, took time.Duration) {
	c := callOf(r.Context())
	route, method, status := routeOf(r), knownMethod(r.Method), strconv.Itoa(answer.Status())
	a.Metrics.Requests.WithLabelValues(route, method, status).Inc()
	a.Metrics.Duration.WithLabelValues(route, method).Observe(took.Seconds())
	span.SetName(method + " " + route)
	span.SetAttributes(attribute.String("http.request.method", method), attribute.String("http.route", route),
		attribute.Int("http.response.status_code", answer.Status()), attribute.String("toolbridge.correlation_id", c.correlationID))
	if answer.Status() >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, c.reason)
	}
	a.logRequest(r.Context(), c, route, method, answer, took)
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
			a.Log.Error("a request handler panicked", telemetry.CorrelationID, callOf(r.Context()).correlationID,
				telemetry.Error, panicked, telemetry.Stack, string(debug.Stack()))
			if w.(middleware.WrapResponseWriter).Status() != 0 {
				panic(http.ErrAbortHandler) // the response has begun, so it can only be cut off
			}
			(&problem{status: http.StatusInternalServerError, message: "internal error"}).write(w, callOf(r.Context()).correlationID)
		}()
		next.ServeHTTP(w, r)
	})
}
