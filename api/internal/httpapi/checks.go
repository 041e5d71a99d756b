package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/toolbridge/toolbridge-mcp/api/internal/ratelimit"
	"github.com/toolbridge/toolbridge-mcp/api/internal/store"
	"github.com/toolbridge/toolbridge-mcp/api/internal/tenantsig"
)

// checkProof is a check whose failures are counted, by reason.
func (a *API) checkProof(do handler) func(http.Handler) http.Handler {
	return a.check(func(w http.ResponseWriter, r *http.Request) error {
		err := do(w, r)
		if err != nil {
			a.Metrics.AuthFailures.WithLabelValues(asProblem(err).reason).Inc()
		}
		return err
	})
}

// checkToken identifies the caller. To end a session, an expired token is accepted for a while: the
// session was opened with a valid one, and a call that outlives its token should not leave its
// session behind.
func (a *API) checkToken(next http.Handler) http.Handler {
	return a.checkProof(func(_ http.ResponseWriter, r *http.Request) error {
		token, err := bearer(r.Header)
		if err != nil {
			return err
		}
		var late time.Duration
		if r.Method == http.MethodDelete && strings.HasPrefix(r.URL.Path, "/v1/sync/sessions/") {
			late = store.SessionLifetime
		}
		callOf(r.Context()).caller, err = a.Verifier.Verify(r.Context(), token, late)
		return err
	})(next)
}

// checkTenant determines the tenant, and verifies the signature of the tenant's MCP server.
func (a *API) checkTenant(next http.Handler) http.Handler {
	return a.checkProof(func(_ http.ResponseWriter, r *http.Request) error {
		c := callOf(r.Context())
		tenant, err := a.tenant(r, c.caller.Tenant)
		if err != nil {
			return err
		}
		if c.caller.Tenant != "" && c.caller.Tenant != tenant {
			return otherTenant()
		}
		c.person = store.Person{Tenant: tenant, Subject: c.caller.Subject}
		return nil
	})(next)
}

// tenant is the one that the signed headers name. With the check off, it is the one that the token
// claims, or else the configured one; unsigned headers are ignored.
func (a *API) tenant(r *http.Request, claimed string) (string, error) {
	if a.Signatures == nil {
		if claimed != "" {
			return claimed, nil
		}
		return a.Tenant.ID, nil
	}
	signed, err := tenantHeaders(r.Header)
	if err == nil {
		token, _ := bearer(r.Header) // empty where no token is required
		err = a.Signatures.Verify(
			signed,
			tenantsig.Request{Method: r.Method, Target: r.RequestURI, Token: token},
			a.Now(),
		)
	}
	if errors.Is(err, tenantsig.ErrNonceForgotten) {
		return "", signAnew()
	} else if err != nil {
		return "", tenantRefused(err.Error())
	}
	callOf(r.Context()).contentHash = signed.V2.ContentHash
	return signed.TenantID, nil
}

var errTwice = errors.New("tenant_header_doubled")

// tenantHeaders requires each header exactly once: of two values, a proxy and this program could
// each use a different one.
func tenantHeaders(h http.Header) (tenantsig.Headers, error) {
	var out tenantsig.Headers
	for _, header := range [...]struct {
		name string
		into *string
		isV2 bool
	}{
		{"X-Tb-Tenant-Id", &out.TenantID, false},
		{"X-Tb-Timestamp", &out.Timestamp, false},
		{"X-Tb-Signature", &out.Signature, false},
		{"X-Tb-Key-Id", &out.V2.KeyID, true},
		{"X-Tb-Nonce", &out.V2.Nonce, true},
		{"X-Tb-Content-Sha256", &out.V2.ContentHash, true},
		{"X-Tb-Signature-V2", &out.V2.Signature, true},
	} {
		switch values := h[header.name]; len(values) {
		case 0:
		case 1:
			*header.into = values[0]
			out.V2.Sent = out.V2.Sent || header.isV2
		default:
			return out, errTwice
		}
	}
	return out, nil
}

// checkSession requires an open session of the caller.
func (a *API) checkSession(next http.Handler) http.Handler {
	return a.checkSessionAnd(func(*http.Request) *store.Ahead { return nil })(next)
}

// checkSessionAnd is checkSession that reads something in the same round trip to the database,
// unless ahead returns nil. It is read before the other checks have passed, with memory of the
// caller, and shown after them.
func (a *API) checkSessionAnd(
	ahead func(*http.Request) *store.Ahead,
) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		checked := a.check(func(_ http.ResponseWriter, r *http.Request) error {
			c := callOf(r.Context())
			id, ok := single(r.Header, headerSession)
			if !ok {
				return noSession()
			}
			if a.Store.ReadsAhead() {
				c.ahead = ahead(r)
			}
			var err error
			c.session, err = a.ownSession(r, id, noSession())
			return err
		})(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// Of what was read ahead, where a check fails; otherwise handle has released it.
			defer func() { callOf(r.Context()).memory.Release() }()
			checked.ServeHTTP(w, r)
		})
	}
}

// ownSession returns the session with this id if it is the caller's. missing is the error if there
// is none.
func (a *API) ownSession(r *http.Request, id string, missing *problem) (store.Session, error) {
	c := callOf(r.Context())
	find := a.Store.FindSession
	if c.ahead != nil {
		find = func(ctx context.Context, id string) (store.Session, error) {
			return a.Store.FindSessionAhead(ctx, id, c.ahead)
		}
	}
	session, err := find(r.Context(), id)
	switch {
	case errors.Is(err, store.ErrNoSession):
		return store.Session{}, missing
	case err != nil:
		return store.Session{}, err
	case session.Person != c.person:
		return store.Session{}, foreignSession()
	}
	return session, nil
}

// checkRate applies the caller's rate limit.
func (a *API) checkRate(next http.Handler) http.Handler { return a.limit(a.Limiter, next) }

// checkOpening applies the caller's rate limit to the opening of sessions, each of which lives for
// half an hour unless it is ended. The bucket has the size of the other one, so a client that opens
// a session for each request reaches that one first.
func (a *API) checkOpening(next http.Handler) http.Handler { return a.limit(a.Openings, next) }

func (a *API) limit(limiter *ratelimit.Limiter[store.Person], next http.Handler) http.Handler {
	if limiter == nil {
		return next
	}
	return a.check(func(w http.ResponseWriter, r *http.Request) error {
		v := limiter.Take(callOf(r.Context()).person, a.Now())
		h := w.Header()
		h.Set("X-RateLimit-Limit", strconv.Itoa(v.Limit))
		h.Set("X-RateLimit-Burst", strconv.Itoa(v.Burst))
		h.Set("X-RateLimit-Remaining", strconv.Itoa(v.Remaining))
		h.Set("X-RateLimit-Reset", wholeSeconds(v.Reset))
		if v.Allowed {
			return nil
		}
		a.Metrics.RateLimited.Inc()
		p := &problem{status: http.StatusTooManyRequests, message: "too many requests",
			headers: map[string]string{"Retry-After": wholeSeconds(v.RetryAfter)}}
		return p.withReason("rate_limited", nil)
	})(next)
}

// checkEpoch requires the current epoch.
func (a *API) checkEpoch(next http.Handler) http.Handler {
	return a.check(func(_ http.ResponseWriter, r *http.Request) error {
		epoch := callOf(r.Context()).session.ServerEpoch
		if sent, ok := single(r.Header, headerEpoch); !ok || sent != strconv.FormatInt(epoch, 10) {
			return epochMismatch(epoch)
		}
		return nil
	})(next)
}

// single returns the value of a header that occurs exactly once: of two, a proxy may have used the
// other.
func single(h http.Header, name string) (string, bool) {
	values := h.Values(name)
	if len(values) != 1 || values[0] == "" {
		return "", false
	}
	return values[0], true
}

func bearer(h http.Header) (string, error) {
	switch values := h["Authorization"]; len(values) {
	case 0:
		return "", tokenRefused(reasonNoToken, nil)
	case 1:
		scheme, token, _ := strings.Cut(values[0], " ")
		if token = strings.TrimSpace(token); !strings.EqualFold(scheme, "Bearer") || token == "" {
			return "", tokenRefused("scheme_not_bearer", nil)
		}
		return token, nil
	}
	return "", tokenRefused("authorization_doubled", nil)
}
