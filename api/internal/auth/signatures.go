package auth

import (
	"crypto"
	"crypto/sha256"
	"encoding/binary"
	"sync"

	"github.com/golang-jwt/jwt/v5"
)

// signatures caches verified signatures, because a caller sends one token with many requests, and
// verifying a public key's signature costs as much as the rest of a request.
//
// That a key has signed a text remains true, so an entry never becomes wrong: whether the key is
// still in the key set, and whether the token is valid now and for us, is checked for every
// request.
//
// Only valid ones are cached, so the cache cannot be filled without a token. It has two
// generations: a used entry moves to the young one, and when that is full, the old one is dropped.
type signatures struct {
	most int // in a generation

	mu         sync.Mutex
	young, old map[signed]crypto.PublicKey
}

// signed is the hash of a text and its signature.
type signed [sha256.Size]byte

func newSignatures(most int) *signatures {
	return &signatures{most: most, young: make(map[signed]crypto.PublicKey)}
}

// remembering is a signing method with this cache.
type remembering struct {
	jwt.SigningMethod
	memory *signatures
}

func (r remembering) Verify(text string, signature []byte, key any) error {
	what := hashOf(text, signature)
	if known, ok := r.memory.find(what).(interface{ Equal(crypto.PublicKey) bool }); ok && known.Equal(key) {
		return nil
	}
	err := r.SigningMethod.Verify(text, signature, key)
	if err == nil {
		r.memory.keep(what, key)
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

// find returns the key that made a signature, or nil.
func (s *signatures) find(what signed) crypto.PublicKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, ok := s.young[what]
	if !ok {
		if key, ok = s.old[what]; ok {
			s.put(what, key)
		}
	}
	return key
}

func (s *signatures) keep(what signed, key crypto.PublicKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(what, key)
}

// put requires the lock.
func (s *signatures) put(what signed, key crypto.PublicKey) {
	if len(s.young) >= s.most {
		s.old, s.young = s.young, make(map[signed]crypto.PublicKey)
	}
	s.young[what] = key
}
