package contract

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"hash"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Tokens and signatures are made here from their definitions, not with the library that the server
// uses, so that the two cannot be wrong together, and so that tests can make the wrong ones.

type claims map[string]any

func goodClaims(sub string) claims {
	return claims{"sub": sub, "exp": time.Now().Add(time.Hour).Unix()}
}

// and is the claims with one more; a nil value takes the claim away.
func (c claims) and(name string, value any) claims {
	changed := claims{}
	for k, v := range c {
		changed[k] = v
	}
	if changed[name] = value; value == nil {
		delete(changed, name)
	}
	return changed
}

func signHS256(secret string, c claims) string {
	return signHMAC(sha256.New, claims{"alg": "HS256", "typ": "JWT"}, secret, c)
}

func signHMAC(h func() hash.Hash, header claims, secret string, c claims) string {
	input := encodeJSON(header) + "." + encodeJSON(c)
	mac := hmac.New(h, []byte(secret))
	mac.Write([]byte(input))
	return input + "." + encode(mac.Sum(nil))
}

// signWith signs with a private key: RS256, ES256 or EdDSA, whatever the header claims.
func signWith(key crypto.Signer, header, c claims) string {
	input := encodeJSON(header) + "." + encodeJSON(c)
	digest := sha256.Sum256([]byte(input))
	var signature []byte
	var err error
	switch k := key.(type) {
	case *rsa.PrivateKey:
		signature, err = rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, digest[:])
	case *ecdsa.PrivateKey:
		r, s, failed := ecdsa.Sign(rand.Reader, k, digest[:])
		if err = failed; err == nil {
			signature = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		}
	case ed25519.PrivateKey:
		signature = ed25519.Sign(k, []byte(input))
	}
	if err != nil {
		panic(err)
	}
	return input + "." + encode(signature)
}

func encodeJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return encode(b)
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

var (
	hs384 = sha512.New384
	hs512 = sha512.New
)

// signTenant sets the three tenant headers as the MCP server does.
func signTenant(h http.Header, secret, tenant string, at time.Time) {
	signTenantText(h, secret, tenant, strconv.FormatInt(at.UnixMilli(), 10))
}

func signTenantText(h http.Header, secret, tenant, timestamp string) {
	h.Set("X-TB-Tenant-ID", tenant)
	h.Set("X-TB-Timestamp", timestamp)
	h.Set("X-TB-Signature", tenantSignature(secret, tenant, timestamp))
}

func tenantSignature(secret, tenant, timestamp string) string {
	return hmacHex(secret, tenant+":"+timestamp)
}

// A bound request is what version 2 of the tenant signature signs.
type bound struct {
	secret, keyID, tenant, timestamp, nonce, method, target, contentHash, token string
}

// bind is a right one, for now.
func bind(secret, tenant, token, method, target, body string) bound {
	return bound{
		secret,
		keyID(secret),
		tenant,
		strconv.FormatInt(time.Now().UnixMilli(), 10),
		randomHex(16),
		method,
		target,
		sha256Hex(body),
		token,
	}
}

func (b bound) signature() string {
	text := strings.Join(
		[]string{
			"toolbridge-v2",
			b.keyID,
			b.tenant,
			b.timestamp,
			b.nonce,
			b.method,
			b.target,
			b.contentHash,
			sha256Hex(b.token),
		},
		"\n",
	)
	return hmacHex(b.secret, text)
}

// sign sets the headers of version 2 and takes away that of version 1.
func (b bound) sign(h http.Header) {
	h.Del("X-TB-Signature")
	h.Set("X-TB-Tenant-ID", b.tenant)
	h.Set("X-TB-Timestamp", b.timestamp)
	h.Set("X-TB-Key-ID", b.keyID)
	h.Set("X-TB-Nonce", b.nonce)
	h.Set("X-TB-Content-SHA256", b.contentHash)
	h.Set("X-TB-Signature-V2", b.signature())
}

func keyID(secret string) string { return hmacHex(secret, "toolbridge-key-id")[:16] }

func sha256Hex(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func hmacHex(secret, text string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}
