package auth

import (
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/toolbridge/toolbridge-mcp/api/internal/config"
)

// A token of the shared secret is cached as well, and judged by the time of each request.
func TestTheTimeOfACachedTokenIsJudgedAnew(t *testing.T) {
	v := verifier(t, config.JWT{HS256Secret: secret})
	clock := now
	v.now = func() time.Time { return clock }
	v.parser = jwt.NewParser(append(v.rules, jwt.WithTimeFunc(v.now))...)
	token := sign(t, jwt.SigningMethodHS256, []byte(secret), "", claims(map[string]any{
		"nbf": now.Unix(),
	}))
	accept := func(late time.Duration) {
		t.Helper()
		caller, err := v.Verify(t.Context(), token, late)
		if err != nil || caller.Subject != "ada" {
			t.Fatalf("%v, %v", caller, err)
		}
	}
	accept(0)
	if len(v.tokens.young) != 1 {
		t.Fatalf("%d tokens are cached", len(v.tokens.young))
	}
	clock = now.Add(time.Hour + leeway - time.Second)
	accept(0)
	clock = now.Add(time.Hour + leeway + time.Second)
	wantRefusal(t, "after its time", v, token, "token_expired")
	accept(time.Minute)
	clock = now.Add(-leeway - time.Second)
	wantRefusal(t, "before its time", v, token, "token_not_yet_valid")
	clock = now
	accept(0)
	bad := token[:len(token)-2] + strings.Map(func(c rune) rune {
		if c == 'A' {
			return 'B'
		}
		return 'A'
	}, token[len(token)-2:])
	for range 2 {
		wantRefusal(t, "another signature", v, bad, "signature_wrong")
	}
	if len(v.tokens.young) != 1 {
		t.Errorf("%d tokens are cached", len(v.tokens.young))
	}
}

// A header may be as long as a token, and is not kept then.
func TestALongHeaderIsNotCached(t *testing.T) {
	v := verifier(t, config.JWT{HS256Secret: secret})
	long := sign(t, jwt.SigningMethodHS256, []byte(secret), strings.Repeat("k", 600), claims(nil))
	for range 2 {
		if _, err := v.Verify(t.Context(), long, 0); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(v.tokens.young); n != 0 {
		t.Errorf("%d tokens are cached", n)
	}
}
