package contract

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// wantRefused expects 401 for the token on an entity route and where sessions are opened.
func wantRefused(t *testing.T, u *user, why string, authorization ...string) {
	t.Helper()
	for _, r := range []route{{"", "GET", "/v1/notes", ""}, {"", "POST", "/v1/sync/sessions", ""}} {
		if a := r.call(t, u, with("Authorization", authorization...)); a.status != 401 {
			t.Errorf("%s: want status 401\n%s", why, a)
		}
	}
}

func TestOnlyARightTokenPasses(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		u := api.user(t)
		good := goodClaims(u.sub)
		hour := int64(time.Hour / time.Second)
		now := time.Now().Unix()
		sign := func(c claims) string { return signHS256(api.jwtSecret, c) }
		header := func(h claims) string { return signHMAC(sha256.New, h, api.jwtSecret, good) }

		for why, token := range map[string]string{
			"plain":                     sign(good),
			"with nbf and iat":          sign(good.and("nbf", now-hour).and("iat", now-hour)),
			"exp with a fraction":       sign(good.and("exp", float64(now+hour)+0.5)),
			"with unknown claims":       sign(good.and("admin", true).and("roles", []string{"x"})),
			"without typ in the header": header(claims{"alg": "HS256"}),
		} {
			a := u.call(t, "GET", "/v1/notes", nil, with("Authorization", "Bearer "+token))
			if a.status != 200 {
				t.Errorf("a good token, %s, is refused\n%s", why, a)
			}
		}

		none := func(alg string) string {
			return encodeJSON(claims{"alg": alg, "typ": "JWT"}) + "." + encodeJSON(good) + "."
		}
		right := sign(good)
		parts := strings.Split(right, ".")
		rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		wrong := map[string]string{
			"other secret":           signHS256(randomHex(32), good),
			"empty secret":           signHS256("", good),
			"secret with a new line": signHS256(api.jwtSecret+"\n", good),
			"none":                   none("none"),
			"None":                   none("None"),
			"NONE":                   none("NONE"),
			"none with a signature":  none("none") + parts[2],
			"no alg":                 header(claims{"typ": "JWT"}),
			"empty alg":              header(claims{"alg": ""}),
			"alg of another kind":    header(claims{"alg": "RS256"}),
			"alg in lower case":      header(claims{"alg": "hs256"}),
			"HS384 with our secret": signHMAC(
				hs384,
				claims{"alg": "HS384"},
				api.jwtSecret,
				good,
			),
			"HS512 with our secret": signHMAC(
				hs512,
				claims{"alg": "HS512"},
				api.jwtSecret,
				good,
			),
			"HS384 under the name HS256": signHMAC(
				hs384,
				claims{"alg": "HS256"},
				api.jwtSecret,
				good,
			),
			"an RSA key of the caller": signWith(
				rsaKey,
				claims{"alg": "RS256", "kid": "mine"},
				good,
			),
			"a key in the header": signWith(rsaKey, claims{"alg": "RS256", "jwk": map[string]string{
				"kty": "RSA", "n": encode(rsaKey.N.Bytes()), "e": "AQAB"}}, good),
			"an unknown critical header": header(
				claims{"alg": "HS256", "crit": []string{"x"}, "x": 1},
			),

			"expired":         sign(good.and("exp", now-hour)),
			"expired in 1970": sign(good.and("exp", 0)),
			"exp missing":     sign(good.and("exp", nil)),
			"exp as text":     sign(good.and("exp", fmt.Sprint(now+hour))),
			"exp as object":   sign(good.and("exp", map[string]int64{"at": now + hour})),
			"exp negative":    sign(good.and("exp", -1)),
			"exp null": signHMAC(
				sha256.New,
				claims{"alg": "HS256"},
				api.jwtSecret,
				claims{"sub": u.sub, "exp": nil},
			),
			"nbf in the future":      sign(good.and("nbf", now+hour)),
			"nbf as text":            sign(good.and("nbf", "soon")),
			"sub missing":            sign(good.and("sub", nil)),
			"sub empty":              sign(good.and("sub", "")),
			"sub a number":           sign(good.and("sub", 7)),
			"sub a list":             sign(good.and("sub", []string{u.sub})),
			"signature missing":      parts[0] + "." + parts[1] + ".",
			"signature part missing": parts[0] + "." + parts[1],
			"signature cut":          right[:len(right)-4],
			"signature longer":       right + "AAAA",
			"four parts":             right + ".x",
			"padding":                right + "=",
			"claims changed": parts[0] + "." +
				encodeJSON(good.and("sub", "admin")) + "." + parts[2],
			"header changed": encodeJSON(claims{"alg": "HS256", "typ": "jwt"}) + "." +
				parts[1] + "." + parts[2],
			"claims not an object": signHMAC(
				sha256.New,
				claims{"alg": "HS256"},
				api.jwtSecret,
				nil,
			),
			"nothing":         "",
			"garbage":         "garbage",
			"dots":            "..",
			"many dots":       strings.Repeat(".", 20_000),
			"not base64":      "!.!.!",
			"empty objects":   "e30.e30.e30",
			"standard base64": strings.NewReplacer("-", "+", "_", "/").Replace(right) + "==",
		}
		for why, token := range wrong {
			wantRefused(t, u, why, "Bearer "+token)
		}

		wantRefused(t, u, "no Authorization header")
		for why, value := range map[string]string{
			"empty":           "",
			"scheme only":     "Bearer",
			"scheme, space":   "Bearer ",
			"token only":      right,
			"Basic":           "Basic " + base64.StdEncoding.EncodeToString([]byte(u.sub+":x")),
			"other scheme":    "Token " + right,
			"no space":        "Bearer" + right,
			"colon":           "Bearer: " + right,
			"two tokens":      "Bearer " + right + " " + right,
			"two with comma":  "Bearer " + right + ", Bearer " + right,
			"quoted":          `Bearer "` + right + `"`,
			"trailing word":   "Bearer " + right + " x",
			"leading garbage": "x Bearer " + right,
		} {
			wantRefused(t, u, "Authorization header: "+why, value)
		}
		wantRefused(t, u, "two Authorization headers, both right", "Bearer "+right, "Bearer "+right)
		wantRefused(t, u, "two Authorization headers, the first wrong", "Bearer x", "Bearer "+right)
		wantRefused(
			t,
			u,
			"two Authorization headers, the second wrong",
			"Bearer "+right,
			"Bearer x",
		)

		// Names of schemes do not depend on case (RFC 9110, 11.1).
		u.call(t, "GET", "/v1/notes", nil, with("Authorization", "bearer "+right)).check(t, 200)
		u.call(t, "GET", "/v1/notes", nil, with("Authorization", "BEARER "+right)).check(t, 200)
	})
}

func TestTheFirstSightOfASubCreatesTheUser(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		tenant := freshName("tenant")
		for _, sub := range []string{
			freshName("auth0|"), freshName("mailto:a@b.example+"), freshName("ünïcode 世界 "),
			freshName("' OR 1=1--"), freshName("a/../b:%00"),
			freshName(strings.Repeat("long", 50)),
		} {
			u := api.userOf(t, tenant, sub)
			uid := u.note(t)
			again := api.userOf(t, tenant, sub)
			again.call(t, "GET", "/v1/notes/"+uid, nil).want(t, 200)
			var s syncSession
			again.call(t, "GET", "/v1/sync/sessions/"+u.session, nil).want(t, 200).decode(t, &s)
			if s.UserID != sub {
				t.Errorf("userId %q, want %q", s.UserID, sub)
			}
		}
	})
}

func TestConcurrentFirstCallsOfOneUserMakeOneUser(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		u := api.withoutSession(freshName("tenant"), freshName("user"))
		opened := allAtOnce(
			32,
			func(int) *answer { return u.call(t, "POST", "/v1/sync/sessions", nil) },
		)
		if len(opened[201]) != 32 {
			t.Fatalf("32 first calls: %s", counts(opened))
		}
		var uid string
		for i, a := range opened[201] {
			session := *u
			session.session, session.epoch = strings.Trim(a.field(t, "id"), `"`), 1
			if i == 0 {
				uid = session.note(t)
			}
			session.call(t, "GET", "/v1/notes/"+uid, nil).want(t, 200)
			session.call(t, "DELETE", "/v1/sync/sessions/"+session.session, nil).want(t, 204)
		}
	})
}

func TestTokensOfAnIdentityProvider(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edPublic, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	unknownKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	coordinate := func(v *big.Int) string { return encode(v.FillBytes(make([]byte, 32))) }
	ecPoint, err := ecKey.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	keys, err := json.Marshal(map[string]any{"keys": []map[string]string{
		{
			"kty": "RSA",
			"kid": "r",
			"use": "sig",
			"alg": "RS256",
			"n":   encode(rsaKey.N.Bytes()),
			"e":   "AQAB",
		},
		{
			"kty": "EC",
			"kid": "e",
			"use": "sig",
			"alg": "ES256",
			"crv": "P-256",
			"x":   coordinate(new(big.Int).SetBytes(ecPoint[1:33])),
			"y":   coordinate(new(big.Int).SetBytes(ecPoint[33:])),
		},
		{
			"kty": "OKP",
			"kid": "d",
			"use": "sig",
			"alg": "EdDSA",
			"crv": "Ed25519",
			"x":   encode(edPublic),
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(keys)
	}))
	t.Cleanup(provider.Close)

	onOwn(t, settings{
		"JWT_JWKS_URL": provider.URL,
		"JWT_ISSUER":   "https://issuer.example/",
		"JWT_AUDIENCE": "toolbridge",
		"ENV":          "dev",
	}, func(t *testing.T, api *server) {
		u := api.withoutSession(freshName("tenant"), freshName("user"))
		good := goodClaims(u.sub).and("iss", "https://issuer.example/").and("aud", "toolbridge")
		u.token = signHS256(api.jwtSecret, good)
		u.open(t)

		rs := claims{"alg": "RS256", "kid": "r", "typ": "JWT"}
		for why, token := range map[string]string{
			"RS256": signWith(rsaKey, rs, good),
			"ES256": signWith(ecKey, claims{"alg": "ES256", "kid": "e"}, good),
			"EdDSA": signWith(edKey, claims{"alg": "EdDSA", "kid": "d"}, good),
			"a list of audiences": signWith(
				rsaKey, rs, good.and("aud", []string{"other", "toolbridge"}),
			),
			"HS256": signHS256(api.jwtSecret, good),
		} {
			a := u.call(t, "GET", "/v1/notes", nil, with("Authorization", "Bearer "+token))
			if a.status != 200 {
				t.Errorf("a good token, %s, is refused\n%s", why, a)
			}
		}

		pkix, err := x509.MarshalPKIXPublicKey(&rsaKey.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		publicPEM := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix}))
		pkcs1PEM := string(
			pem.EncodeToMemory(
				&pem.Block{
					Type:  "RSA PUBLIC KEY",
					Bytes: x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey),
				},
			),
		)
		hs := claims{"alg": "HS256", "kid": "r"}
		wrong := map[string]string{
			"HS256 with the public key as PEM":   signHMAC(sha256.New, hs, publicPEM, good),
			"HS256 with the public key as PKCS1": signHMAC(sha256.New, hs, pkcs1PEM, good),
			"HS256 with the public key as DER":   signHMAC(sha256.New, hs, string(pkix), good),
			"HS256 with the modulus": signHMAC(
				sha256.New,
				hs,
				string(rsaKey.N.Bytes()),
				good,
			),
			"HS256 with the Ed25519 public key": signHMAC(
				sha256.New,
				claims{"alg": "HS256", "kid": "d"},
				string(edPublic),
				good,
			),
			"RS256 by an unknown key": signWith(unknownKey, rs, good),
			"RS256, unknown kid": signWith(
				rsaKey,
				claims{"alg": "RS256", "kid": "unknown"},
				good,
			),
			"RS256 with the kid of another key": signWith(
				rsaKey,
				claims{"alg": "RS256", "kid": "e"},
				good,
			),
			"RS256 under the name ES256": signWith(
				rsaKey,
				claims{"alg": "ES256", "kid": "r"},
				good,
			),
			"RS256 under the name RS512": signWith(
				rsaKey,
				claims{"alg": "RS512", "kid": "r"},
				good,
			),
			"our HMAC secret under RS256": signHMAC(sha256.New, rs, api.jwtSecret, good),
			"none": encodeJSON(claims{"alg": "none", "kid": "r"}) + "." +
				encodeJSON(good) + ".",
		}
		for name, sign := range map[string]func(claims) string{
			"RS256": func(c claims) string { return signWith(rsaKey, rs, c) },
			"HS256": func(c claims) string { return signHS256(api.jwtSecret, c) },
		} {
			wrong[name+", other audience"] = sign(good.and("aud", "other"))
			wrong[name+", no audience"] = sign(good.and("aud", nil))
			wrong[name+", empty audience"] = sign(good.and("aud", []string{}))
			wrong[name+", other issuer"] = sign(good.and("iss", "https://issuer.example"))
			wrong[name+", no issuer"] = sign(good.and("iss", nil))
			wrong[name+", no exp"] = sign(good.and("exp", nil))
			wrong[name+", expired"] = sign(good.and("exp", time.Now().Add(-time.Hour).Unix()))
			wrong[name+", no sub"] = sign(good.and("sub", nil))
		}
		for why, token := range wrong {
			wantRefused(t, u, why, "Bearer "+token)
		}
	})
}
