package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/toolbridge/toolbridge-mcp/api/internal/config"
)

// counting counts how often signatures are really checked.
type counting struct {
	jwt.SigningMethod
	checks *atomic.Int64
}

func (c counting) Verify(text string, signature []byte, key any) error {
	c.checks.Add(1)
	return c.SigningMethod.Verify(text, signature, key)
}

func TestGoodSignaturesAreCheckedOnce(t *testing.T) {
	rs, unknownKey := rsaKey(t), ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	for _, c := range []struct {
		method      jwt.SigningMethod
		secret, key any
	}{
		{jwt.SigningMethodRS256, rs, &rs.PublicKey},
		{jwt.SigningMethodES256, ec, &ec.PublicKey},
		{jwt.SigningMethodEdDSA, ed, ed.Public()},
	} {
		t.Run(c.method.Alg(), func(t *testing.T) {
			var checks atomic.Int64
			method := cachedMethod{counting{c.method, &checks}, newSignatures(10)}
			const text = "header.claims"
			good, err := c.method.Sign(text, c.secret)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if err := method.Verify(text, good, c.key); err != nil {
					t.Fatal(err)
				}
			}
			if n := checks.Load(); n != 1 {
				t.Errorf("checked %d times", n)
			}
			bad := append([]byte{}, good...)
			bad[len(bad)-1] ^= 1
			for name, other := range map[string]func() error{
				"another text": func() error {
					return method.Verify("header.claimz", good, c.key)
				},
				"another signature": func() error {
					return method.Verify(text, bad, c.key)
				},
				"text that was a signature": func() error {
					return method.Verify(text+string(good[:1]), good[1:], c.key)
				},
				"another key": func() error {
					return method.Verify(text, good, unknownKey.Public())
				},
				"no key": func() error { return method.Verify(text, good, nil) },
			} {
				for range 2 { // a bad one is not cached
					if other() == nil {
						t.Errorf("%s passed", name)
					}
				}
			}
			if err := method.Verify(text, good, c.key); err != nil || checks.Load() != 11 {
				t.Errorf("afterwards: %v, %d checks", err, checks.Load())
			}
		})
	}
}

func TestTheMemoryOfSignaturesIsBounded(t *testing.T) {
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	var checks atomic.Int64
	memory := newSignatures(100)
	method := cachedMethod{counting{jwt.SigningMethodEdDSA, &checks}, memory}
	verify := func(text string) {
		t.Helper()
		signature, _ := jwt.SigningMethodEdDSA.Sign(text, key)
		if err := method.Verify(text, signature, key.Public()); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 1000 {
		verify(strings.Repeat("x", n))
		verify("in use") // and so it is never forgotten
		if kept := len(memory.young) + len(memory.old); kept > 200 {
			t.Fatalf("%d signatures are kept", kept)
		}
	}
	if n := checks.Load(); n != 1001 {
		t.Errorf("checked %d times", n)
	}
	for range 1000 {
		_ = method.Verify("x", []byte(time.Now().String()), key.Public())
	}
	verify("in use")
	if n := checks.Load(); n != 2001 {
		t.Errorf("forgotten over bad signatures: %d checks", n)
	}
}

func TestSignaturesFromManySides(t *testing.T) {
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	method := cachedMethod{jwt.SigningMethodEdDSA, newSignatures(4)}
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := range 200 {
				text := strings.Repeat("x", n%11)
				signature, _ := jwt.SigningMethodEdDSA.Sign(text, key)
				if err := method.Verify(text, signature, key.Public()); err != nil {
					t.Error(err)
				}
				if method.Verify(text+"y", signature, key.Public()) == nil {
					t.Error("another text passed")
				}
			}
		}()
	}
	wg.Wait()
}

// A token that was good a moment ago is judged by the keys and the time of now.
func TestCachedTokensAreJudgedAnew(t *testing.T) {
	leaving, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	replaced, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	replacement, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	server := newKeyServer(t)
	server.publish(
		t,
		map[string]any{"leaving": &leaving.PublicKey, "replaced": &replaced.PublicKey},
	)
	clock := now
	v, err := New(
		t.Context(),
		config.JWT{JWKSURL: server.URL},
		func() time.Time { return clock },
		slog.New(slog.NewTextHandler(io.Discard, nil)),
		func(bool) {},
	)
	if err != nil {
		t.Fatal(err)
	}
	tokens := map[string]string{
		"leaving":  sign(t, jwt.SigningMethodES256, leaving, "leaving", claims(nil)),
		"unnamed":  sign(t, jwt.SigningMethodES256, leaving, "", claims(nil)),
		"replaced": sign(t, jwt.SigningMethodES256, replaced, "replaced", claims(nil)),
	}
	for name, token := range tokens {
		for range 2 {
			if _, err := v.Verify(t.Context(), token, 0); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	clock = now.Add(time.Hour + leeway + time.Second)
	for name, token := range tokens {
		wantRefusal(t, name+" after its time", v, token, "token_expired")
	}
	clock = now
	server.publish(
		t,
		map[string]any{"replaced": &replacement.PublicKey, "young": &replacement.PublicKey},
	)
	token := sign(t, jwt.SigningMethodES256, replacement, "young", claims(nil))
	if _, err := v.Verify(t.Context(), token, 0); err != nil {
		t.Fatal(err)
	}
	var refusal *Refusal
	for name, token := range tokens {
		if _, err := v.Verify(t.Context(), token, 0); !errors.As(err, &refusal) {
			t.Errorf("%s after its key: %v", name, err)
		}
	}
}
