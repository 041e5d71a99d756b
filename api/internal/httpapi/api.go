// Package httpapi is the contract (docs/API-CONTRACT.md) over HTTP.
//
// A request walks through correlate, observe and recover, then through the checks in the order of the contract (token, tenant, session,
// rate limit, epoch), each a middleware in checks.go, and ends in one handler. There is one set of item handlers
// for all kinds of things; what differs between kinds is in package entity.
package httpapi

import (
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"github.com/toolbridge/toolbridge-mcp/api/internal/auth"
	"github.com/toolbridge/toolbridge-mcp/api/internal/config"
	"github.com/toolbridge/toolbridge-mcp/api/internal/entity"
	"github.com/toolbridge/toolbridge-mcp/api/internal/ratelimit"
	"github.com/toolbridge/toolbridge-mcp/api/internal/store"
	"github.com/toolbridge/toolbridge-mcp/api/internal/telemetry"
)

// API answers requests.
type API struct {
	Store    store.Store
	Verifier *auth.Verifier
	Limiter  *ratelimit.Limiter[store.Person] // nil limits nothing
	Tenant   config.Tenant
	MaxBody  int64
	Metrics  *telemetry.Metrics
	Log      *slog.Logger
	Now      func() time.Time
	Version  string

	draining atomic.Bool
}

// storageDeadline bounds the work of one request. It is shorter than any caller's patience, so that a database that
// hangs is reported as such and not as a broken connection.
const storageDeadline = 15 * time.Second

// Drain makes /readyz say no, so that nobody sends new work.
func (a *API) Drain() { a.draining.Store(true) }

// Handler is the whole API.
func (a *API) Handler() http.Handler {
	r := chi.NewRouter()
	r.Use(a.correlate, a.observe, a.recover, middleware.GetHead)
	r.NotFound(a.handle(func(http.ResponseWriter, *http.Request) error { return notFound("route") }))
	r.MethodNotAllowed(a.handle(a.methodNotAllowed))
	r.Get("/healthz", a.handle(a.healthz))
	r.Get("/readyz", a.handle(a.readyz))
	r.Get("/v1/sync/info", a.handle(a.info))
	r.Route("/v1", func(r chi.Router) {
		r.Use(a.deadline, a.checkToken, a.checkTenant)
		r.Post("/sync/sessions", a.handle(a.openSession))
		r.Get("/sync/sessions/{id}", a.handle(a.getSession))
		r.Delete("/sync/sessions/{id}", a.handle(a.endSession))
		r.Group(func(r chi.Router) {
			r.Use(a.checkSession)
			r.Get("/sync/state", a.handle(a.state))
			r.Post("/sync/wipe", a.handle(a.wipe))
		})
		for _, kind := range entity.All {
			r.Route("/"+kind.Name, func(r chi.Router) {
				r.Use(a.checkSession, a.checkRate, a.checkEpoch)
				items := items{a, kind}
				r.Get("/", a.handle(items.list))
				r.Post("/", a.handle(items.create))
				r.Get("/{uid}", a.handle(items.get))
				r.Put("/{uid}", a.handle(items.replace))
				r.Patch("/{uid}", a.handle(items.merge))
				r.Delete("/{uid}", a.handle(items.delete))
				r.Post("/{uid}/archive", a.handle(items.archive))
				r.Post("/{uid}/process", a.handle(items.process))
			})
		}
	})
	return r
}

// handle turns an error into its answer. It is the only place that does.
func (a *API) handle(do func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := do(w, r); err != nil {
			a.fail(w, r, err)
		}
	}
}

func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := asProblem(err)
	call := callOf(r.Context())
	call.reason, call.cause = p.reason, p.cause
	if p.reason == reasonStorage {
		a.Metrics.StorageErrors.Inc()
	}
	p.write(w, call.correlationID)
}

// check makes a middleware of something that either lets a request pass, perhaps with more known about it, or fails.
func (a *API) check(do func(http.ResponseWriter, *http.Request) error) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := do(w, r); err != nil {
				a.fail(w, r, err)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

func (a *API) methodNotAllowed(w http.ResponseWriter, r *http.Request) error {
	path := r.URL.EscapedPath()
	routes := chi.RouteContext(r.Context()).Routes
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
		ask := method
		if method == "HEAD" {
			ask = "GET" // GetHead serves it
		}
		if routes.Match(chi.NewRouteContext(), ask, path) {
			w.Header().Add("Allow", method)
		}
	}
	return &problem{status: http.StatusMethodNotAllowed, message: "method not allowed"}
}
