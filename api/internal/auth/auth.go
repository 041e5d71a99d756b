// Package auth turns a bearer token into who the caller is, or a reason why not. It trusts nothing in the token before
// the signature is checked, and it knows no HTTP.
//
// Algorithm confusion is impossible by construction: HS256 is only ever checked with the shared secret, and the
// asymmetric algorithms only with keys of the JWKS that are of the matching type.
package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"

	"github.com/toolbridge/toolbridge-mcp/api/internal/config"
)

const (
	leeway        = 60 * time.Second
	maxTokenBytes = 16 << 10
	maxSubject    = 255
	maxJWKSBytes  = 1 << 20
)

// Caller is who a token speaks for.
type Caller struct {
	Subject string
	Tenant  string // "" when the token claims none
}

// Refusal says why a token was not taken. It is for the log and for metrics; the caller learns only that it was not.
type Refusal struct {
	Reason string // one of a fixed list, so that it can be a metric's label
	Cause  error
}

func (r *Refusal) Error() string {
	if r.Cause == nil {
		return r.Reason
	}
	return r.Reason + ": " + r.Cause.Error()
}

func (r *Refusal) Unwrap() error { return r.Cause }

// ErrKeysUnavailable means that the key server has never answered, so that no token can be judged either way.
var ErrKeysUnavailable = errors.New("token keys unavailable")

// Verifier checks tokens.
type Verifier struct {
	secret      []byte
	keys        keyfunc.Keyfunc // nil without JWKS
	parser      *jwt.Parser
	tenantClaim string
}

// New makes a verifier. With a JWKS address it fetches keys now and, until ctx ends, every hour; a key server that is
// down delays nothing and forgets no key.
func New(ctx context.Context, c config.JWT, now func() time.Time, log *slog.Logger) (*Verifier, error) {
	v := &Verifier{secret: []byte(c.HS256Secret), tenantClaim: c.TenantClaim}
	var methods []string
	if len(v.secret) > 0 {
		methods = append(methods, jwt.SigningMethodHS256.Alg())
	}
	if c.JWKSURL != "" {
		methods = append(methods, jwt.SigningMethodRS256.Alg(), jwt.SigningMethodES256.Alg(), jwt.SigningMethodEdDSA.Alg())
		keys, err := fetchKeys(ctx, c.JWKSURL, log)
		if err != nil {
			return nil, err
		}
		v.keys = keys
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods(methods), jwt.WithExpirationRequired(), jwt.WithLeeway(leeway), jwt.WithTimeFunc(now),
	}
	if c.Issuer != "" {
		options = append(options, jwt.WithIssuer(c.Issuer))
	}
	if c.Audience != "" {
		options = append(options, jwt.WithAudience(c.Audience))
	}
	v.parser = jwt.NewParser(options...)
	return v, nil
}

func fetchKeys(ctx context.Context, address string, log *slog.Logger) (keyfunc.Keyfunc, error) {
	report := func(string) func(context.Context, error) {
		return func(_ context.Context, err error) {
			log.Warn("token keys could not be fetched; the known ones stay in use", "error", err.Error())
		}
	}
	return keyfunc.NewDefaultOverrideCtx(ctx, []string{address}, keyfunc.Override{
		Client:      &http.Client{Timeout: 10 * time.Second, Transport: bounded{http.DefaultTransport}},
		HTTPTimeout: 10 * time.Second,
		// An unknown key id fetches again, but whoever invents key ids must not make us hammer the key server.
		RefreshUnknownKID:       rate.NewLimiter(rate.Every(30*time.Second), 1),
		RateLimitWaitMax:        5 * time.Second,
		RefreshErrorHandlerFunc: report,
	})
}

// Verify checks a token and says whose it is. The error is a *Refusal or ErrKeysUnavailable.
func (v *Verifier) Verify(ctx context.Context, token string) (Caller, error) {
	if len(token) > maxTokenBytes {
		return Caller{}, &Refusal{Reason: "token_too_long"}
	}
	claims := jwt.MapClaims{}
	if _, err := v.parser.ParseWithClaims(token, claims, v.key(ctx)); err != nil {
		if errors.Is(err, ErrKeysUnavailable) {
			return Caller{}, ErrKeysUnavailable
		}
		return Caller{}, &Refusal{reason(err), err}
	}
	subject, err := claims.GetSubject()
	if err != nil || !plain(subject) {
		return Caller{}, &Refusal{Reason: "subject_unusable"}
	}
	caller := Caller{Subject: subject}
	switch tenant := claims[v.tenantClaim].(type) {
	case nil:
	case string:
		caller.Tenant = tenant
	default: // a number or a list would otherwise count as no claim at all
		return Caller{}, &Refusal{Reason: "tenant_claim_unusable"}
	}
	return caller, nil
}

// key finds the key that a token's header asks for, of the type that its algorithm needs.
func (v *Verifier) key(ctx context.Context) jwt.Keyfunc {
	return func(token *jwt.Token) (any, error) {
		if _, ok := token.Header["crit"]; ok { // RFC 7515: what must be understood and is not, must be refused
			return nil, errors.New("the token has critical headers, and none are known here")
		}
		if token.Method == jwt.SigningMethodHS256 {
			return v.secret, nil
		}
		key, err := v.keys.KeyfuncCtx(ctx)(token)
		if err != nil {
			if known, listErr := v.keys.Storage().KeyReadAll(ctx); listErr == nil && len(known) == 0 {
				return nil, ErrKeysUnavailable
			}
			return nil, err
		}
		if set, ok := key.(jwt.VerificationKeySet); ok { // the token names no key: any that fits may have signed it
			return fitting(token.Method, set), nil
		}
		if !fits(token.Method, key) {
			return nil, fmt.Errorf("the key is not one for %s", token.Method.Alg())
		}
		return key, nil
	}
}

func fitting(method jwt.SigningMethod, set jwt.VerificationKeySet) jwt.VerificationKeySet {
	var out jwt.VerificationKeySet
	for _, key := range set.Keys {
		if fits(method, key) {
			out.Keys = append(out.Keys, key)
		}
	}
	return out
}

func fits(method jwt.SigningMethod, key any) bool {
	switch key.(type) {
	case *rsa.PublicKey:
		return method == jwt.SigningMethodRS256
	case *ecdsa.PublicKey:
		return method == jwt.SigningMethodES256
	case ed25519.PublicKey:
		return method == jwt.SigningMethodEdDSA
	}
	return false
}

func reason(err error) string {
	for _, r := range []struct {
		err  error
		name string
	}{
		{jwt.ErrTokenMalformed, "token_malformed"},
		{jwkset.ErrKeyNotFound, "key_unknown"},
		{jwt.ErrTokenUnverifiable, "key_unusable"},
		{jwt.ErrTokenSignatureInvalid, "signature_wrong"},
		{jwt.ErrTokenRequiredClaimMissing, "claim_missing"},
		{jwt.ErrTokenExpired, "token_expired"},
		{jwt.ErrTokenNotValidYet, "token_not_yet_valid"},
		{jwt.ErrTokenInvalidIssuer, "issuer_wrong"},
		{jwt.ErrTokenInvalidAudience, "audience_wrong"},
	} {
		if errors.Is(err, r.err) {
			return r.name
		}
	}
	return "token_invalid"
}

// plain says whether a subject can be stored, logged and compared without surprises.
func plain(s string) bool {
	return s != "" && len(s) <= maxSubject && strings.ToValidUTF8(s, "") == s &&
		strings.IndexFunc(s, unicode.IsControl) < 0
}

// bounded cuts answers short: a key set is small, and whoever sends more is not our key server.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.next.RoundTrip(r)
	if err == nil {
		answer.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(answer.Body, maxJWKSBytes), answer.Body}
	}
	return answer, err
}
