package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/toolbridge/toolbridge-mcp/api/internal/entity"
	"github.com/toolbridge/toolbridge-mcp/api/internal/telemetry"
	"github.com/toolbridge/toolbridge-mcp/api/internal/tenantsig"
)

// NewServer wraps a handler in timeouts, so that a slow client only blocks its own connection.
func NewServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		// longer than clients' pools keep connections, so that the client closes them
		IdleTimeout:    120 * time.Second,
		MaxHeaderBytes: 32 << 10,
	}
}

// closeWhenDraining answers with Connection: close once the server drains.
func (a *API) closeWhenDraining(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.draining.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// healthz reports that the process runs. It does not check the database, whose outage must not
// restart the API.
func (a *API) healthz(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	return nil
}

// readyz reports that a request would be served. If the request has tenant headers, it also reports
// whether they are accepted: an MCP server with a wrong secret notices this before a call fails.
func (a *API) readyz(w http.ResponseWriter, r *http.Request) error {
	if a.draining.Load() {
		return unavailable("shutting down")
	}
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if err := a.Store.Ping(ctx); err != nil {
		return unavailable("the database does not answer").withReason(reasonStorage, err)
	}
	if !a.Verifier.Ready(ctx) {
		return unavailable("the keys that verify tokens have never been fetched").withReason(
			"keys_unavailable", nil,
		)
	}
	writeJSON(
		w,
		http.StatusOK,
		map[string]string{"status": "ready", "tenantSignature": a.judgeSignature(r)},
	)
	return nil
}

func (a *API) judgeSignature(r *http.Request) string {
	if a.Signatures == nil {
		return "off"
	}
	signed, err := tenantHeaders(r.Header)
	if err == nil && signed == (tenantsig.Headers{}) {
		return "required"
	}
	if _, err := a.tenant(r, ""); err != nil {
		return "refused"
	}
	return "accepted"
}

// features are what this server has beyond every compatible API. Each is listed once it works.
var features = []string{"created", "order", "search", "overview", "versions", "batch"}

func (a *API) info(w http.ResponseWriter, _ *http.Request) error {
	type kind struct {
		Name     string   `json:"name"`
		Singular string   `json:"singular"`
		Actions  []string `json:"actions"`
	}
	var kinds []kind
	for _, k := range entity.All {
		actions := []string{}
		for _, action := range k.Actions {
			actions = append(actions, action.Name)
		}
		kinds = append(kinds, kind{k.Name, k.Key, actions})
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"name":     telemetry.Service,
		"version":  a.Version,
		"time":     formatTime(a.Now()),
		"entities": kinds,
		"limits": map[string]any{
			"maxBodyBytes": a.MaxBody,
			"defaultPage":  defaultPage,
			"maxPage":      maxPage,
		},
		"features": features,
		"tenantSignature": map[string]any{
			"required": a.Signatures != nil,
			"versions": a.Signatures.Versions(),
		},
	})
	return nil
}
