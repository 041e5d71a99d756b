package auth

import (
	"context"
	"crypto"
	"crypto/sha256"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// tokens caches verified tokens by their hash: whose they are, the times between which they are
// good, and the key that signed them. A caller sends one token with many requests.
//
// What a token says and that its signature is right never changes. What may change is asked for
// every request: the time, and whether the key is still in the key set (a shared secret stays as
// long as the process). A token that is cached and no longer good is verified like an unknown
// one, so that tokens are refused in one place.
//
// Only accepted tokens are cached, so invalid ones take no memory.
type tokens struct {
	recent[[sha256.Size]byte, *verified]
}

type verified struct {
	caller    Caller
	expires   time.Time
	notBefore time.Time // zero: no such claim
	// header and method find the key again; key is nil for the shared secret.
	header map[string]any
	method jwt.SigningMethod
	key    crypto.PublicKey
}

const (
	// maxTokens is the number of cached tokens in each of two generations, of less than a
	// kilobyte each.
	maxTokens = 2048
	// maxHeader bounds the header of a token that is cached.
	maxHeader = 512
)

// cached returns the caller of a token that is cached and still good.
func (v *Verifier) cached(
	ctx context.Context,
	hash [sha256.Size]byte,
	late time.Duration,
) (Caller, bool) {
	known, ok := v.tokens.find(hash)
	if !ok {
		return Caller{}, false
	}
	now := v.now()
	if !now.Before(known.expires.Add(leeway+late)) || now.Before(known.notBefore.Add(-leeway)) {
		return Caller{}, false
	}
	if known.key != nil {
		key, err := v.key(ctx)(&jwt.Token{Header: known.header, Method: known.method})
		if err != nil || !sameKey(known.key, key) {
			return Caller{}, false
		}
	}
	return known.caller, true
}

// cache keeps a token that has just been accepted. Tokens without the name of their key are not
// kept: which of several keys signed them is not known.
func (v *Verifier) cache(hash [sha256.Size]byte, of parsed, caller Caller) {
	known := &verified{caller: caller}
	if of.key != nil {
		known.header, known.method, known.key = of.header, of.method, of.key
	}
	expires, err := of.claims.GetExpirationTime()
	if err != nil || expires == nil {
		return
	}
	known.expires = expires.Time
	notBefore, err := of.claims.GetNotBefore()
	if err != nil {
		return
	}
	if notBefore != nil {
		known.notBefore = notBefore.Time
	}
	v.tokens.keep(hash, known)
}
