package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/toolbridge/toolbridge-mcp/api/internal/config"
)

// A token as one request after another brings it, for each algorithm.
func BenchmarkVerify(b *testing.B) {
	rs := rsaKey(b)
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	public, ed, _ := ed25519.GenerateKey(rand.Reader)
	server := newKeyServer(b)
	server.publish(b, map[string]any{"rsa": &rs.PublicKey, "ec": &ec.PublicKey, "ed": public})
	v := verifier(
		b,
		config.JWT{
			HS256Secret: secret,
			JWKSURL:     server.URL,
			Issuer:      "issuer",
			Audience:    "toolbridge",
		},
	)
	for _, token := range []string{
		sign(b, jwt.SigningMethodHS256, []byte(secret), "", claims(nil)),
		sign(b, jwt.SigningMethodRS256, rs, "rsa", claims(nil)),
		sign(b, jwt.SigningMethodES256, ec, "ec", claims(nil)),
		sign(b, jwt.SigningMethodEdDSA, ed, "ed", claims(nil)),
	} {
		parsed, _, err := jwt.NewParser().ParseUnverified(token, jwt.MapClaims{})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(parsed.Method.Alg(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(b.Context(), token, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
