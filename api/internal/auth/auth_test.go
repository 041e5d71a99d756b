package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/toolbridge/toolbridge-mcp/api/internal/config"
)

const secret = "7a3f9c51e8b2406d97c1f8a4530be6d2"

var now = time.Unix(1763636400, 0)

func verifier(t testing.TB, c config.JWT) *Verifier {
	t.Helper()
	c.TenantClaim = "tenant_id"
	v, err := New(
		t.Context(),
		c,
		func() time.Time { return now },
		slog.New(slog.NewTextHandler(io.Discard, nil)),
		func(bool) {},
	)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// claims are good ones, changed; a nil value removes a claim.
func claims(changes map[string]any) jwt.MapClaims {
	c := jwt.MapClaims{
		"sub": "ada",
		"exp": now.Add(time.Hour).Unix(),
		"iss": "issuer",
		"aud": "toolbridge",
	}
	for name, value := range changes {
		if value == nil {
			delete(c, name)
		} else {
			c[name] = value
		}
	}
	return c
}

func sign(t testing.TB, method jwt.SigningMethod, key any, kid string, c jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, c)
	if kid != "" {
		token.Header["kid"] = kid
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func hs(t testing.TB, changes map[string]any) string {
	return sign(t, jwt.SigningMethodHS256, []byte(secret), "", claims(changes))
}

func wantRefusal(t testing.TB, name string, v *Verifier, token, reason string) {
	t.Helper()
	wantLateRefusal(t, name, v, token, 0, reason)
}

func wantLateRefusal(
	t testing.TB,
	name string,
	v *Verifier,
	token string,
	late time.Duration,
	reason string,
) {
	t.Helper()
	_, err := v.Verify(t.Context(), token, late)
	var r *Refusal
	if !errors.As(err, &r) || r.Reason != reason {
		t.Errorf("%s: got %v, want %s", name, err, reason)
	}
}

func TestALateTokenIsGoodForAsLongAsItIsAskedTo(t *testing.T) {
	v := verifier(t, config.JWT{HS256Secret: secret, Issuer: "issuer"})
	const late = 30 * time.Minute
	expired := func(ago time.Duration) map[string]any {
		return map[string]any{"exp": now.Add(-ago).Unix()}
	}
	caller, err := v.Verify(t.Context(), hs(t, expired(late+leeway-time.Second)), late)
	if err != nil ||
		caller.Subject != "ada" {
		t.Errorf("in the last moment: %+v, %v", caller, err)
	}
	otherIssuer := expired(time.Minute * 5)
	otherIssuer["iss"] = "other"
	for name, c := range map[string]struct {
		changes map[string]any
		reason  string
	}{
		"too late":           {expired(late + leeway + time.Second), "token_expired"},
		"late, wrong issuer": {otherIssuer, "issuer_wrong"},
		"not yet, which is no late": {
			map[string]any{"nbf": now.Add(leeway + time.Second).Unix()}, "token_not_yet_valid",
		},
	} {
		wantLateRefusal(t, name, v, hs(t, c.changes), late, c.reason)
	}
	forged := sign(
		t,
		jwt.SigningMethodHS256,
		[]byte(secret+"x"),
		"",
		claims(expired(5*time.Minute)),
	)
	wantLateRefusal(t, "late and forged", v, forged, late, "signature_wrong")
}

func TestHS256(t *testing.T) {
	v := verifier(t, config.JWT{HS256Secret: secret, Issuer: "issuer", Audience: "toolbridge"})
	for name, c := range map[string]struct {
		changes map[string]any
		want    Caller
	}{
		"plain":       {nil, Caller{Subject: "ada"}},
		"with tenant": {map[string]any{"tenant_id": "acme"}, Caller{"ada", "acme"}},
		"several audiences": {
			map[string]any{"aud": []string{"x", "toolbridge"}}, Caller{Subject: "ada"},
		},
		"expired in leeway": {
			map[string]any{"exp": now.Add(-59 * time.Second).Unix()}, Caller{Subject: "ada"},
		},
		"not before, leeway": {
			map[string]any{"nbf": now.Add(59 * time.Second).Unix()}, Caller{Subject: "ada"},
		},
		"subject of any kind": {
			map[string]any{"sub": "auth0|Ädä ☃"}, Caller{Subject: "auth0|Ädä ☃"},
		},
	} {
		got, err := v.Verify(t.Context(), hs(t, c.changes), 0)
		if err != nil || got != c.want {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
	for name, c := range map[string]struct {
		changes map[string]any
		reason  string
	}{
		"no exp":      {map[string]any{"exp": nil}, "claim_missing"},
		"exp is text": {map[string]any{"exp": "tomorrow"}, "token_invalid"},
		"expired": {
			map[string]any{"exp": now.Add(-61 * time.Second).Unix()}, "token_expired",
		},
		"not yet": {
			map[string]any{"nbf": now.Add(61 * time.Second).Unix()}, "token_not_yet_valid",
		},
		"wrong issuer":     {map[string]any{"iss": "other"}, "issuer_wrong"},
		"no issuer":        {map[string]any{"iss": nil}, "claim_missing"},
		"wrong audience":   {map[string]any{"aud": "other"}, "audience_wrong"},
		"no audience":      {map[string]any{"aud": nil}, "claim_missing"},
		"no subject":       {map[string]any{"sub": nil}, "subject_unusable"},
		"empty subject":    {map[string]any{"sub": ""}, "subject_unusable"},
		"numeric subject":  {map[string]any{"sub": 7}, "subject_unusable"},
		"subject, U+FFFD":  {map[string]any{"sub": "a\ufffd"}, "subject_unusable"},
		"subject, newline": {map[string]any{"sub": "a\nb"}, "subject_unusable"},
		"subject, NUL":     {map[string]any{"sub": "a\x00"}, "subject_unusable"},
		"subject too long": {map[string]any{"sub": strings.Repeat("a", 256)}, "subject_unusable"},
		"tenant is a list": {
			map[string]any{"tenant_id": []string{"acme"}}, "tenant_claim_unusable",
		},
		"tenant is empty":    {map[string]any{"tenant_id": ""}, "tenant_claim_unusable"},
		"tenant, NUL":        {map[string]any{"tenant_id": "a\x00"}, "tenant_claim_unusable"},
		"tenant is a number": {map[string]any{"tenant_id": 7}, "tenant_claim_unusable"},
	} {
		wantRefusal(t, name, v, hs(t, c.changes), c.reason)
	}
	good := hs(t, nil)
	parts := strings.Split(good, ".")
	none := sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "", claims(nil))
	for name, c := range map[string]struct{ token, reason string }{
		"empty":        {"", "token_malformed"},
		"words":        {"not a token", "token_malformed"},
		"none":         {none, "signature_wrong"},
		"none, signed": {none + parts[2], "signature_wrong"},
		"no signature": {parts[0] + "." + parts[1] + ".", "signature_wrong"},
		"other claims": {
			parts[0] + "." + strings.Split(hs(t, map[string]any{"sub": "eve"}), ".")[1] + "." +
				parts[2],
			"signature_wrong",
		},
		"other secret": {
			sign(t, jwt.SigningMethodHS256, []byte(secret+"x"), "", claims(nil)), "signature_wrong",
		},
		"other HMAC": {
			sign(t, jwt.SigningMethodHS512, []byte(secret), "", claims(nil)), "signature_wrong",
		},
		"RS256, no keys": {
			sign(t, jwt.SigningMethodRS256, rsaKey(t), "", claims(nil)), "signature_wrong",
		},
		"seventeen KiB":   {good + strings.Repeat("x", 17<<10), "token_too_long"},
		"critical header": {critical(t), "key_unusable"},
		"half a character": {
			raw(t, `{"sub":"a\ud800","exp":1763640000,"iss":"issuer","aud":"toolbridge"}`),
			"subject_unusable",
		},
		"bytes, not UTF-8": {
			raw(t, `{"sub":"a`+"\xff"+`","exp":1763640000,"iss":"issuer","aud":"toolbridge"}`),
			"token_malformed",
		},
		"four parts":       {good + ".x", "token_malformed"},
		"spaces around it": {" " + good, "token_malformed"},
		"claims, too deep": {raw(t, `{"sub":"ada","x":`+nested(64)+`,`+rest), "token_malformed"},
		"claims, a list":   {raw(t, `[`+rest[:len(rest)-1]+`]`), "token_malformed"},
		"two subjects":     {raw(t, `{"sub":"eve","sub":"ada",`+rest), "token_malformed"},
		"two, one escaped": {raw(t, `{"sub":"eve","\u0073ub":"ada",`+rest), "token_malformed"},
		"header, too deep": {
			rawWith(t, `{"alg":"HS256","x":`+nested(64)+`}`, `{"sub":"ada",`+rest),
			"token_malformed",
		},
		"header, doubled": {
			rawWith(t, `{"alg":"none","alg":"HS256"}`, `{"sub":"ada",`+rest), "token_malformed",
		},
	} {
		wantRefusal(t, name, v, c.token, c.reason)
	}
}

// rest are the other claims of a good token.
const rest = `"exp":1763640000,"iss":"issuer","aud":"toolbridge"}`

func nested(levels int) string { return strings.Repeat("[", levels) + strings.Repeat("]", levels) }

// The same table as in src/auth/claims.rs.
func TestSubjectsAreTakenAndRefusedLikeInTheMCPServer(t *testing.T) {
	text, err := os.ReadFile("../../../tests/vectors/subjects.json")
	if err != nil {
		t.Fatal(err)
	}
	var table struct {
		Vectors []struct {
			Name, Sub string
			Good      bool
		}
	}
	if err := json.Unmarshal(text, &table); err != nil || len(table.Vectors) < 20 {
		t.Fatalf("%v, %d vectors", err, len(table.Vectors))
	}
	v := verifier(t, config.JWT{HS256Secret: secret, Issuer: "issuer", Audience: "toolbridge"})
	for _, c := range table.Vectors {
		caller, err := v.Verify(t.Context(), raw(t, `{"sub":`+c.Sub+`,`+rest), 0)
		if c.Good != (err == nil) || c.Good == (caller.Subject == "") {
			t.Errorf("%s: got %+v, %v", c.Name, caller, err)
		}
	}
}

// raw signs claims as they are written.
func raw(t *testing.T, claims string) string { return rawWith(t, `{"alg":"HS256"}`, claims) }

func rawWith(t *testing.T, header, claims string) string {
	encode := func(b []byte) string { return (&jwt.Token{}).EncodeSegment(b) }
	signed := encode([]byte(header)) + "." + encode([]byte(claims))
	signature, err := jwt.SigningMethodHS256.Sign(signed, []byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + encode(signature)
}

func critical(t *testing.T) string {
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, claims(nil))
	token.Header["crit"] = []string{"b64"}
	text, err := token.SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

var rsaKey = func() func(t testing.TB) *rsa.PrivateKey {
	key := sync.OnceValues(
		func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) },
	)
	return func(t testing.TB) *rsa.PrivateKey {
		t.Helper()
		k, err := key()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
}()

// keyServer publishes what it is told to and counts how often it is asked.
type keyServer struct {
	*httptest.Server
	asked atomic.Int64
	mu    sync.Mutex
	body  []byte
	down  bool
}

func newKeyServer(t testing.TB) *keyServer {
	k := &keyServer{}
	k.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		k.asked.Add(1)
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.down {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, _ = w.Write(k.body)
	}))
	t.Cleanup(k.Close)
	return k
}

func (k *keyServer) publish(t testing.TB, keys map[string]any) {
	t.Helper()
	storage := jwkset.NewMemoryStorage()
	for kid, key := range keys {
		jwk, err := jwkset.NewJWKFromKey(
			key,
			jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: kid},
				Marshal: jwkset.JWKMarshalOptions{Private: true}},
		)
		if err != nil {
			t.Fatal(err)
		}
		if err := storage.KeyWrite(t.Context(), jwk); err != nil {
			t.Fatal(err)
		}
	}
	text, err := storage.JSONPrivate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.body = text
}

func (k *keyServer) set(down bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.down = down
}

func TestJWKS(t *testing.T) {
	rsaPrivate := rsaKey(t)
	ecPrivate, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ec384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	edPublic, edPrivate, _ := ed25519.GenerateKey(rand.Reader)
	server := newKeyServer(t)
	server.publish(t, map[string]any{
		"rsa": &rsaPrivate.PublicKey,
		"ec":  &ecPrivate.PublicKey,
		"ed":  edPublic,
		"oct": []byte(secret),
	})
	v := verifier(t, config.JWT{JWKSURL: server.URL, Issuer: "issuer", Audience: "toolbridge"})

	signers := map[string]struct {
		method jwt.SigningMethod
		key    crypto.PrivateKey
	}{
		"rsa": {jwt.SigningMethodRS256, rsaPrivate},
		"ec":  {jwt.SigningMethodES256, ecPrivate},
		"ed":  {jwt.SigningMethodEdDSA, edPrivate},
	}
	for kid, s := range signers {
		for _, named := range []string{kid, ""} { // a token need not name its key
			token := sign(t, s.method, s.key, named, claims(nil))
			if got, err := v.Verify(t.Context(), token, 0); err != nil || got.Subject != "ada" {
				t.Errorf("%s, named %q: got %+v, %v", kid, named, got, err)
			}
		}
		for other := range signers {
			if other != kid {
				wantRefusal(
					t,
					kid+" under the name of "+other,
					v,
					sign(t, s.method, s.key, other, claims(nil)),
					"key_unusable",
				)
			}
		}
		wantRefusal(
			t,
			kid+", expired",
			v,
			sign(
				t,
				s.method,
				s.key,
				kid,
				claims(map[string]any{"exp": now.Add(-time.Hour).Unix()}),
			),
			"token_expired",
		)
	}

	der, err := x509.MarshalPKIXPublicKey(&rsaPrivate.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	wantRefusal(
		t,
		"HS256 keyed with the public key",
		v,
		sign(t, jwt.SigningMethodHS256, public, "rsa", claims(nil)),
		"signature_wrong",
	)
	wantRefusal(
		t,
		"HS256 with the key set's own symmetric key",
		v,
		sign(t, jwt.SigningMethodHS256, []byte(secret), "oct", claims(nil)),
		"signature_wrong",
	)
	wantRefusal(
		t,
		"RS512",
		v,
		sign(t, jwt.SigningMethodRS512, rsaPrivate, "rsa", claims(nil)),
		"signature_wrong",
	)
	wantRefusal(
		t,
		"ES384",
		v,
		sign(t, jwt.SigningMethodES384, ec384, "ec", claims(nil)),
		"signature_wrong",
	)
	wantRefusal(
		t,
		"PS256",
		v,
		sign(t, jwt.SigningMethodPS256, rsaPrivate, "rsa", claims(nil)),
		"signature_wrong",
	)
	wantRefusal(
		t,
		"RS256 under the symmetric key's name",
		v,
		sign(t, jwt.SigningMethodRS256, rsaPrivate, "oct", claims(nil)),
		"key_unknown",
	)
	unknownKey, _ := rsa.GenerateKey(rand.Reader, 2048)
	wantRefusal(
		t,
		"an unknown key",
		v,
		sign(t, jwt.SigningMethodRS256, unknownKey, "rsa", claims(nil)),
		"signature_wrong",
	)
	wantRefusal(
		t,
		"an unknown key without an id",
		v,
		sign(t, jwt.SigningMethodRS256, unknownKey, "", claims(nil)),
		"signature_wrong",
	)
}

func TestBothKindsOfProofSideBySide(t *testing.T) {
	key := rsaKey(t)
	server := newKeyServer(t)
	server.publish(t, map[string]any{"rsa": &key.PublicKey})
	v := verifier(t, config.JWT{HS256Secret: secret, JWKSURL: server.URL})
	if !v.Ready(t.Context()) {
		t.Error("not ready")
	}
	for name, token := range map[string]string{
		"HS256": hs(t, nil), "RS256": sign(t, jwt.SigningMethodRS256, key, "rsa", claims(nil)),
	} {
		if _, err := v.Verify(t.Context(), token, 0); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRotatedKeysAreFetchedOnceInAWhile(t *testing.T) {
	old := rsaKey(t)
	_, young, _ := ed25519.GenerateKey(rand.Reader)
	server := newKeyServer(t)
	server.publish(t, map[string]any{"old": &old.PublicKey})
	v := verifier(t, config.JWT{JWKSURL: server.URL})
	server.publish(t, map[string]any{"old": &old.PublicKey, "young": young.Public()})
	token := sign(t, jwt.SigningMethodEdDSA, young, "young", claims(nil))
	if _, err := v.Verify(t.Context(), token, 0); err != nil {
		t.Errorf("a key that was published after the start: %v", err)
	}
	asked := server.asked.Load()
	for range 50 {
		token := sign(t, jwt.SigningMethodEdDSA, young, "made up", claims(nil))
		if _, err := v.Verify(t.Context(), token, 0); err == nil {
			t.Fatal("an unknown key was taken")
		}
	}
	if more := server.asked.Load() - asked; more > 1 {
		t.Errorf("50 made-up key ids made %d fetches", more)
	}
}

// A token that names no key must not wait an hour for the key that signed it.
func TestARotatedKeyThatTokensDoNotName(t *testing.T) {
	old := rsaKey(t)
	young, _ := rsa.GenerateKey(rand.Reader, 2048)
	server := newKeyServer(t)
	server.publish(t, map[string]any{"old": &old.PublicKey})
	v := verifier(t, config.JWT{JWKSURL: server.URL})
	server.publish(t, map[string]any{"young": &young.PublicKey})
	_, err := v.Verify(t.Context(), sign(t, jwt.SigningMethodRS256, young, "", claims(nil)), 0)
	if err != nil {
		t.Errorf("signed with the new key: %v", err)
	}
	wantRefusal(
		t,
		"signed with the old one",
		v,
		sign(t, jwt.SigningMethodRS256, old, "", claims(nil)),
		"signature_wrong",
	)
}

func TestFetchesAreCounted(t *testing.T) {
	key := rsaKey(t)
	server := newKeyServer(t)
	var good, bad atomic.Int64
	fetched := func(ok bool) {
		if ok {
			good.Add(1)
		} else {
			bad.Add(1)
		}
	}
	for name, publish := range map[string]func(){
		"no keys":   func() { server.publish(t, nil) },
		"no answer": func() { server.set(true) },
		"keys": func() {
			server.publish(t, map[string]any{"rsa": &key.PublicKey})
			server.set(false)
		},
	} {
		publish()
		good.Store(0)
		bad.Store(0)
		asked := server.asked.Load()
		c := config.JWT{JWKSURL: server.URL, TenantClaim: "tenant_id"}
		_, err := New(t.Context(), c, time.Now, slog.New(slog.DiscardHandler), fetched)
		if err != nil {
			t.Fatal(err)
		}
		asked = server.asked.Load() - asked
		if good.Load()+bad.Load() != asked || asked == 0 || (good.Load() > 0) != (name == "keys") {
			t.Errorf("%s: %d good and %d bad of %d fetches", name, good.Load(), bad.Load(), asked)
		}
	}
}

// What is no key for signatures is passed over; it neither verifies anything nor keeps the others
// from it.
func TestKeysForOtherPurposes(t *testing.T) {
	key := rsaKey(t)
	server := newKeyServer(t)
	server.publish(t, map[string]any{"rsa": &key.PublicKey})
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	if err := json.Unmarshal(server.body, &set); err != nil {
		t.Fatal(err)
	}
	set.Keys[0]["use"] = "enc"
	only, _ := json.Marshal(set)
	server.body = only
	v := verifier(t, config.JWT{JWKSURL: server.URL})
	token := sign(t, jwt.SigningMethodRS256, key, "rsa", claims(nil))
	if _, err := v.Verify(t.Context(), token, 0); err == nil {
		t.Error("a key for encryption verified a token")
	}
	_, young, _ := ed25519.GenerateKey(rand.Reader)
	server.publish(t, map[string]any{"ed": young.Public()})
	whole := strings.Replace(
		string(server.body),
		`{"keys":[`,
		`{"keys":[{"kty":"RSA","kid":"bad","n":"!"},{"kty":"new","kid":"odd"},7,`,
		1,
	)
	server.body = []byte(whole)
	v = verifier(t, config.JWT{JWKSURL: server.URL})
	token = sign(t, jwt.SigningMethodEdDSA, young, "ed", claims(nil))
	if _, err := v.Verify(t.Context(), token, 0); err != nil {
		t.Errorf("among odd keys: %v", err)
	}
}

func TestAKeyServerThatIsDown(t *testing.T) {
	key := rsaKey(t)
	good := sign(t, jwt.SigningMethodRS256, key, "rsa", claims(nil))
	server := newKeyServer(t)
	server.publish(t, map[string]any{"rsa": &key.PublicKey})

	t.Run("after it answered once", func(t *testing.T) {
		v := verifier(t, config.JWT{JWKSURL: server.URL})
		server.set(true)
		defer server.set(false)
		wantRefusal(
			t,
			"unknown key",
			v,
			sign(t, jwt.SigningMethodRS256, key, "new", claims(nil)),
			"key_unknown",
		)
		if _, err := v.Verify(t.Context(), good, 0); err != nil {
			t.Errorf("a known key: %v", err)
		}
	})
	t.Run("that has lost its mind after it answered once", func(t *testing.T) {
		server.publish(t, map[string]any{"rsa": &key.PublicKey})
		for _, body := range []string{
			"", "{}", `{"error":"maintenance"}`, `{"keys":[]}`,
			`{"keys":[{"kty":"RSA","kid":"rsa","n":"!","e":"AQAB"}]}`,
		} {
			server.publish(t, map[string]any{"rsa": &key.PublicKey})
			v := verifier(t, config.JWT{JWKSURL: server.URL})
			server.mu.Lock()
			server.body = []byte(body)
			server.mu.Unlock()
			wantRefusal(
				t,
				"unknown key",
				v,
				sign(t, jwt.SigningMethodRS256, key, "new", claims(nil)),
				"key_unknown",
			)
			for _, kid := range []string{"rsa", ""} {
				token := sign(t, jwt.SigningMethodRS256, key, kid, claims(nil))
				if _, err := v.Verify(t.Context(), token, 0); err != nil {
					t.Errorf("%.20q: a known key, named %q: %v", body, kid, err)
				}
			}
		}
		server.publish(t, map[string]any{"rsa": &key.PublicKey})
	})
	t.Run("that redirects", func(t *testing.T) {
		elsewhere := httptest.NewServer(http.RedirectHandler(server.URL, http.StatusFound))
		defer elsewhere.Close()
		v := verifier(t, config.JWT{JWKSURL: elsewhere.URL})
		if _, err := v.Verify(t.Context(), good, 0); !errors.Is(err, ErrKeysUnavailable) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("from the start", func(t *testing.T) {
		server.set(true)
		v := verifier(t, config.JWT{JWKSURL: server.URL})
		if v.Ready(t.Context()) {
			t.Error("ready without a key")
		}
		asked := server.asked.Load()
		for range 20 {
			brief, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			v.Ready(brief)
			cancel()
		}
		if more := server.asked.Load() - asked; more > 1 {
			t.Errorf("20 probes made %d fetches", more)
		}
		for _, kid := range []string{"rsa", ""} {
			token := sign(t, jwt.SigningMethodRS256, key, kid, claims(nil))
			if _, err := v.Verify(t.Context(), token, 0); !errors.Is(err, ErrKeysUnavailable) {
				t.Errorf("while it is down, key named %q: %v", kid, err)
			}
		}
	})
	t.Run("that sends nonsense", func(t *testing.T) {
		for _, body := range []string{
			"", "{}", `{"keys":7}`, "<html>", strings.Repeat(" ", maxKeySetBytes+1) + `{"keys":[]}`,
		} {
			nonsense := httptest.NewServer(
				http.HandlerFunc(
					func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) },
				),
			)
			v := verifier(t, config.JWT{JWKSURL: nonsense.URL})
			if _, err := v.Verify(t.Context(), good, 0); !errors.Is(err, ErrKeysUnavailable) {
				t.Errorf("%.20q: %v", body, err)
			}
			nonsense.Close()
		}
	})
}

// A key is read by the exact names of its members, each of which it has once.
func TestAKeyHasEachMemberOnceAndInItsCase(t *testing.T) {
	for text, want := range map[string]bool{
		`{"keys":[{"kty":"OKP","crv":"Ed25519",` +
			`"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`: true,
		`{"keys":[{"kty":"OKP","crv":"Ed25519",` +
			`"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","ALG":"none","Use":"enc"}]}`: true,
		`{"keys":[{"KTY":"OKP","crv":"Ed25519",` +
			`"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`: false,
		`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA",` +
			`"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`: false,
		`{"Keys":[{"kty":"OKP","crv":"Ed25519",` +
			`"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`: false,
		`{"keys":[],"keys":[{"kty":"OKP","crv":"Ed25519",` +
			`"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`: false,
		`{"x":` + nested(64) +
			`,"keys":[{"kty":"OKP","crv":"Ed25519",` +
			`"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`: false,
	} {
		if _, err := usable([]byte(text)); want != (err == nil) {
			t.Errorf("%.60s: %v", text, err)
		}
	}
}

// Nothing but a token that was signed with the secret passes.
func FuzzVerify(f *testing.F) {
	v, err := New(
		f.Context(),
		config.JWT{HS256Secret: secret, TenantClaim: "tenant_id"},
		func() time.Time { return now },
		slog.Default(),
		func(bool) {},
	)
	if err != nil {
		f.Fatal(err)
	}
	header := `{"alg":"HS256","typ":"JWT"}`
	body, _ := json.Marshal(claims(nil))
	f.Add(header, string(body), []byte("signature"))
	f.Add(`{"alg":"none"}`, string(body), []byte{})
	f.Fuzz(func(t *testing.T, header, body string, signature []byte) {
		encode := func(b []byte) string { return (&jwt.Token{}).EncodeSegment(b) }
		signed := encode([]byte(header)) + "." + encode([]byte(body))
		right, _ := jwt.SigningMethodHS256.Sign(signed, []byte(secret))
		if _, err := v.Verify(t.Context(), signed+"."+encode(signature), 0); err == nil &&
			string(right) != string(signature) {
			t.Fatalf("took %q %q %x", header, body, signature)
		}
	})
}
