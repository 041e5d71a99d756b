// Package httpapi is the contract (docs/API-CONTRACT.md) over HTTP.
//
// A request passes correlate, observe, recover, closeWhenDraining and requestTimeout, then the
// checks in the order of the contract (token, tenant, session, rate limit, epoch), each a
// middleware in checks.go, and ends in one handler. There is one set of item handlers for all kinds
// of items; what differs between kinds is in package entity.
package httpapi

import (
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/toolbridge/toolbridge-mcp/api/internal/auth"
	"github.com/toolbridge/toolbridge-mcp/api/internal/budget"
	"github.com/toolbridge/toolbridge-mcp/api/internal/config"
	"github.com/toolbridge/toolbridge-mcp/api/internal/entity"
	"github.com/toolbridge/toolbridge-mcp/api/internal/ratelimit"
	"github.com/toolbridge/toolbridge-mcp/api/internal/store"
	"github.com/toolbridge/toolbridge-mcp/api/internal/telemetry"
	"github.com/toolbridge/toolbridge-mcp/api/internal/tenantsig"
)

// API answers requests.
type API struct {
	Store      store.Store
	Verifier   *auth.Verifier
	Signatures *tenantsig.Verifier              // nil: tenant headers are not checked
	Limiter    *ratelimit.Limiter[store.Person] // of entity routes; nil limits nothing
	Openings   *ratelimit.Limiter[store.Person] // of opening sessions; nil limits nothing
	Tenant     config.Tenant
	MaxBody    int64
	Memory     *budget.Budget[store.Person] // of bodies and answers; nil bounds nothing
	Metrics    *telemetry.Metrics
	Log        *slog.Logger
	Now        func() time.Time
	Version    string

	draining atomic.Bool
}

// Drain makes /readyz fail, so that load balancers send no new requests, and makes each response
// close its connection, so that none is idle when the server closes them.
func (a *API) Drain() { a.draining.Store(true) }

// Handler is the whole API.
func (a *API) Handler() http.Handler {
	r := chi.NewRouter()
	r.Use(
		a.correlate,
		a.observe,
		a.recover,
		a.closeWhenDraining,
		a.requestTimeout,
		routeUnknownMethod,
	)
	r.NotFound(
		a.handle(func(http.ResponseWriter, *http.Request) error { return notFound("route") }),
	)
	a.route(r, "/healthz", methods{"GET": a.healthz})
	a.route(r, "/readyz", methods{"GET": a.readyz})
	a.route(r, "/v1/sync/info", methods{"GET": a.info})
	r.Route("/v1", func(r chi.Router) {
		r.Use(a.checkToken, a.checkTenant)
		a.route(r.With(a.checkOpening), "/sync/sessions", methods{"POST": a.openSession})
		a.route(r, "/sync/sessions/{id}", methods{"GET": a.getSession, "DELETE": a.endSession})
		r.Group(func(r chi.Router) {
			r.Use(a.checkSession)
			a.route(r, "/sync/state", methods{"GET": a.state})
			a.route(r, "/sync/wipe", methods{"POST": a.wipe})
		})
		r.Group(func(r chi.Router) {
			r.Use(a.checkSession, a.checkRate, a.checkEpoch)
			a.route(r, "/search", methods{"POST": a.search})
			a.route(r, "/batch", methods{"POST": a.batch})
			a.route(r, "/overview", methods{"GET": a.overview})
			for _, kind := range entity.All {
				i, path := items{a, kind}, "/"+kind.Name
				a.route(r, path+"/{uid}/archive", methods{"POST": i.archive})
				a.route(r, path+"/{uid}/process", methods{"POST": i.process})
				a.route(r, path+"/{uid}/restore", methods{"POST": i.restore})
				a.route(r, path+"/{uid}/versions", methods{"GET": i.versions})
				a.route(r, path+"/{uid}/versions/{version}", methods{"GET": i.version})
			}
		})
		for _, kind := range entity.All {
			i, path := items{a, kind}, "/"+kind.Name
			list := r.With(a.checkSessionAnd(i.aheadOfList), a.checkRate, a.checkEpoch)
			a.route(list, path, methods{"GET": i.list, "POST": i.create})
			item := r.With(a.checkSessionAnd(i.aheadOfGet), a.checkRate, a.checkEpoch)
			a.route(item, path+"/{uid}", methods{
				"GET": i.get, "PUT": i.replace, "PATCH": i.merge, "DELETE": i.delete,
			})
		}
	})
	return r
}

type handler func(http.ResponseWriter, *http.Request) error

type methods map[string]handler

// route registers a path. Other methods get 405 with Allow; HEAD is accepted with GET.
func (a *API) route(r chi.Router, path string, by methods) {
	if get, ok := by["GET"]; ok {
		by["HEAD"] = get
	}
	allow := strings.Join(slices.Sorted(maps.Keys(by)), ", ")
	r.Handle(path, a.handle(func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Allow", allow)
		return methodNotAllowed()
	}))
	for method, do := range by {
		r.MethodFunc(method, path, a.handle(do))
	}
}

// routeUnknownMethod routes a method that the router does not know like OPTIONS, which no route
// has: the answer is then 405 with Allow, too.
func routeUnknownMethod(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if knownMethod(r.Method) == otherMethod {
			chi.RouteContext(r.Context()).RouteMethod = http.MethodOptions
		}
		next.ServeHTTP(w, r)
	})
}

// handle turns an error into its response, and nothing else does. The memory that a handler has
// reserved is released when its response has been written.
func (a *API) handle(do handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		defer func() { callOf(r.Context()).memory.Release() }()
		if err := do(w, r); err != nil {
			a.fail(w, r, err)
		}
	}
}

func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := asProblem(err)
	if endedByCaller(r.Context(), err) {
		p = timeIsUp()
	}
	call := callOf(r.Context())
	call.reason, call.cause = p.reason, p.cause
	if p.reason == reasonStorage {
		a.Metrics.StorageErrors.Inc()
	}
	p.write(w, call.correlationID)
}

// check makes a middleware of a function that either passes a request on, perhaps with more
// information, or fails.
func (a *API) check(do handler) func(http.Handler) http.Handler {
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
