package auth

import (
	"crypto"
	"crypto/sha256"
	"encoding/binary"

	"github.com/golang-jwt/jwt/v5"
)

// signatures caches verified signatures, because a caller sends one token with many requests, and
// verifying a public key's signature costs as much as the rest of a request.
//
// That a key has signed a text remains true, so an entry never becomes wrong: whether the key is
// still in the key set, and whether the token is valid now and for us, is checked for every
// request.
//
// Only valid ones are cached, so the cache cannot be filled without a token.
type signatures struct {
	recent[signed, crypto.PublicKey]
}

// signed is the hash of a text and its signature.
type signed [sha256.Size]byte

func newSignatures(most int) *signatures {
	return &signatures{newRecent[signed, crypto.PublicKey](most)}
}

// cachedMethod is a signing method with this cache.
type cachedMethod struct {
	jwt.SigningMethod
	cache *signatures
}

func (m cachedMethod) Verify(text string, signature []byte, key any) error {
	what := hashOf(text, signature)
	if known, ok := m.cache.find(what); ok && sameKey(known, key) {
		return nil
	}
	err := m.SigningMethod.Verify(text, signature, key)
	if err == nil {
		m.cache.keep(what, key)
	}
	return err
}

// hashOf begins with the text's length, so that no other pair has the same bytes.
func hashOf(text string, signature []byte) signed {
	bytes := make([]byte, 0, 8+len(text)+len(signature))
	bytes = binary.BigEndian.AppendUint64(bytes, uint64(len(text)))
	bytes = append(bytes, text...)
	return sha256.Sum256(append(bytes, signature...))
}

func sameKey(one, other crypto.PublicKey) bool {
	comparable, ok := one.(interface{ Equal(crypto.PublicKey) bool })
	return ok && comparable.Equal(other)
}
