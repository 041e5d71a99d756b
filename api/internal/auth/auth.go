// Package auth verifies a bearer token, and returns its caller or the reason for a refusal. It
// trusts nothing in the token before the signature is verified, and does not depend on HTTP.
//
// Algorithm confusion is impossible by construction: HS256 is only ever checked with the shared
// secret, and the asymmetric algorithms only with keys of the JWKS that are of the matching type.
package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"

	"github.com/toolbridge/toolbridge-mcp/api/internal/config"
	"github.com/toolbridge/toolbridge-mcp/api/internal/payload"
)

const (
	leeway        = 60 * time.Second
	maxTokenBytes = 16 << 10
	maxSubject    = 255
	// The number of cached signatures in each of two generations: less than a megabyte in all.
	maxSignatures = 4096
)

// Caller is the user that a token identifies.
type Caller struct {
	Subject string
	Tenant  string // "" when the token claims none
}

// Refusal says why a token was refused. It is for the log and for metrics; the caller only learns
// that it was refused.
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

// ErrKeysUnavailable means that the key server has never answered, so that no token can be
// verified.
var ErrKeysUnavailable = errors.New("token keys unavailable")

// Verifier checks tokens.
type Verifier struct {
	secret      []byte
	keys        keyfunc.Keyfunc // nil without JWKS
	signatures  *signatures     // of tokens that such keys have signed
	tokens      tokens
	now         func() time.Time
	rules       []jwt.ParserOption
	parser      *jwt.Parser // by these rules
	tenantClaim string
}

// New makes a verifier. With a JWKS address it fetches keys now, for five seconds at most, and
// until ctx ends every hour. A key server that is down, or returns garbage, does not remove known
// keys. fetched is called with each result.
func New(
	ctx context.Context,
	c config.JWT,
	now func() time.Time,
	log *slog.Logger,
	fetched func(ok bool),
) (*Verifier, error) {
	v := &Verifier{
		secret:      []byte(c.HS256Secret),
		tenantClaim: c.TenantClaim,
		signatures:  newSignatures(maxSignatures),
		now:         now,
		tokens:      tokens{newRecent[[sha256.Size]byte, *verified](maxTokens)},
	}
	var methods []string
	if len(v.secret) > 0 {
		methods = append(methods, jwt.SigningMethodHS256.Alg())
	}
	if c.JWKSURL != "" {
		methods = append(
			methods,
			jwt.SigningMethodRS256.Alg(),
			jwt.SigningMethodES256.Alg(),
			jwt.SigningMethodEdDSA.Alg(),
		)
		keys, err := fetchKeys(ctx, c.JWKSURL, log, fetched)
		if err != nil {
			return nil, err
		}
		v.keys = keys
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods(methods), jwt.WithExpirationRequired(), jwt.WithLeeway(leeway),
		jwt.WithTimeFunc(now),
	}
	if c.Issuer != "" {
		options = append(options, jwt.WithIssuer(c.Issuer))
	}
	if c.Audience != "" {
		options = append(options, jwt.WithAudience(c.Audience))
	}
	v.rules = options
	v.parser = jwt.NewParser(options...)
	return v, nil
}

// Verify checks a token and says whose it is. It may have expired at most late ago. The error is a
// *Refusal or ErrKeysUnavailable.
func (v *Verifier) Verify(ctx context.Context, token string, late time.Duration) (Caller, error) {
	if len(token) > maxTokenBytes {
		return Caller{}, &Refusal{Reason: "token_too_long"}
	}
	hash := sha256.Sum256([]byte(token))
	if caller, ok := v.cached(ctx, hash, late); ok {
		return caller, nil
	}
	if err := checkParts(token); err != nil {
		return Caller{}, &Refusal{"token_malformed", err}
	}
	parsed, err := v.parse(ctx, token, v.parser)
	if err != nil && v.refreshed(ctx, token, err) {
		parsed, err = v.parse(ctx, token, v.parser)
	}
	if late > 0 && errors.Is(err, jwt.ErrTokenExpired) {
		parsed, err = v.parse(
			ctx,
			token,
			jwt.NewParser(append(slices.Clip(v.rules), jwt.WithLeeway(leeway+late))...),
		)
	}
	if errors.Is(err, ErrKeysUnavailable) {
		return Caller{}, ErrKeysUnavailable
	} else if err != nil {
		return Caller{}, &Refusal{reason(err), err}
	}
	caller, err := v.callerOf(parsed.claims)
	if err == nil && strings.IndexByte(token, '.') <= maxHeader && parsed.kept {
		v.cache(hash, parsed, caller)
	}
	return caller, err
}

func (v *Verifier) callerOf(claims jwt.MapClaims) (Caller, error) {
	subject, err := claims.GetSubject()
	if err != nil || !plain(subject) {
		return Caller{}, &Refusal{Reason: "subject_unusable"}
	}
	caller := Caller{Subject: subject}
	switch tenant := claims[v.tenantClaim].(type) {
	case nil:
	case string:
		if !plain(tenant) {
			return Caller{}, &Refusal{Reason: "tenant_claim_unusable"}
		}
		caller.Tenant = tenant
	default: // a number or a list must not count as an absent claim
		return Caller{}, &Refusal{Reason: "tenant_claim_unusable"}
	}
	return caller, nil
}

// checkParts applies the limits of all JSON text to the header and the claims, before the library
// decodes them.
func checkParts(token string) error {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return errors.New("a token has three parts")
	}
	for _, part := range parts[:2] {
		text, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			return err
		}
		if _, err := payload.ParseUnique(text); err != nil {
			return err
		}
	}
	return nil
}

// Ready reports whether there is a key to verify tokens with. It is false until the key server has
// answered once, and requests the keys again: a server that is not ready gets no requests, which
// would otherwise trigger that.
func (v *Verifier) Ready(ctx context.Context) bool {
	if len(v.secret) > 0 || len(v.known(ctx)) > 0 {
		return true
	}
	v.fetch(ctx)
	return len(v.known(ctx)) > 0
}

// fetch requests the key set, if the limiter allows: the library does so for an unknown key, and no
// key has this name.
func (v *Verifier) fetch(ctx context.Context) { _, _ = v.keys.Storage().KeyRead(ctx, "\x00") }

// parsed is a verified token. A token is kept unless several keys may have signed it.
type parsed struct {
	claims jwt.MapClaims
	header map[string]any
	method jwt.SigningMethod
	key    crypto.PublicKey // nil: signed with the shared secret
	kept   bool
}

func (v *Verifier) parse(ctx context.Context, token string, parser *jwt.Parser) (parsed, error) {
	out := parsed{claims: jwt.MapClaims{}}
	_, err := parser.ParseWithClaims(token, out.claims, func(t *jwt.Token) (any, error) {
		out.header, out.method = t.Header, t.Method
		key, err := v.key(ctx)(t)
		_, several := key.(jwt.VerificationKeySet)
		out.kept = err == nil && !several
		if out.method != jwt.SigningMethodHS256 {
			out.key = key
		}
		return key, err
	})
	return out, err
}

// refreshed fetches the keys again for a token that names none and that no known key has signed:
// its key may be younger than our copy of the set. (A token that names an unknown key makes the
// library do so by itself.)
func (v *Verifier) refreshed(ctx context.Context, token string, err error) bool {
	unsigned := errors.Is(err, jwt.ErrTokenSignatureInvalid) || errors.Is(err, ErrKeysUnavailable)
	if v.keys == nil || !unsigned {
		return false
	}
	parsed, _, parseErr := jwt.NewParser().ParseUnverified(token, jwt.MapClaims{})
	if parseErr != nil || parsed.Header[jwkset.HeaderKID] != nil ||
		parsed.Method == jwt.SigningMethodHS256 {
		return false
	}
	before := v.known(ctx)
	v.fetch(ctx)
	return !slices.Equal(before, v.known(ctx))
}

// known identifies the current set of keys.
func (v *Verifier) known(ctx context.Context) []string {
	keys, _ := v.keys.Storage().KeyReadAll(ctx)
	var names []string
	for _, key := range keys {
		m := key.Marshal()
		names = append(names, m.KID+" "+m.KTY.String()+" "+m.N+m.X)
	}
	slices.Sort(names)
	return names
}

// key finds the key that a token's header asks for, of the type that its algorithm needs.
func (v *Verifier) key(ctx context.Context) jwt.Keyfunc {
	return func(token *jwt.Token) (any, error) {
		// RFC 7515: critical extensions that are not understood must be refused.
		if _, ok := token.Header["crit"]; ok {
			return nil, errors.New("the token has critical headers, and none are known here")
		}
		if token.Method == jwt.SigningMethodHS256 {
			return v.secret, nil
		}
		key, err := v.keys.KeyfuncCtx(ctx)(token)
		// unnamed: the token names no key, and any that fits may have signed it
		set, unnamed := key.(jwt.VerificationKeySet)
		switch {
		case (err != nil || unnamed && len(set.Keys) == 0) && len(v.known(ctx)) == 0:
			return nil, ErrKeysUnavailable
		case err != nil:
			return nil, err
		case unnamed:
			key = fitting(token.Method, set)
		case !fits(token.Method, key):
			return nil, fmt.Errorf("the key is not one for %s", token.Method.Alg())
		}
		token.Method = cachedMethod{token.Method, v.signatures}
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

// plain reports whether a name can be stored, logged and compared safely. The replacement character
// cannot: encoding/json replaces invalid text by it, and different users would become equal.
func plain(s string) bool {
	odd := func(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError }
	return s != "" && len(s) <= maxSubject && strings.IndexFunc(s, odd) < 0
}
