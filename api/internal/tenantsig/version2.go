package tenantsig

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"
)

// V2 are the headers that only version 2 has.
type V2 struct {
	Sent        bool // at least one of them was sent, even if empty
	KeyID       string
	Nonce       string
	ContentHash string
	Signature   string
}

// Request is what version 2 covers beside its headers: the method and the target, as in the request
// line, and the bearer token.
type Request struct {
	Method string
	Target string
	Token  string
}

// Key is a secret with the id that is derived from it, so that no id has to be configured.
type Key struct {
	signer *signer
	id     string
}

const (
	label      = "toolbridge-v2"
	keyIDLabel = "toolbridge-key-id"

	keyIDDigits = 16
	nonceDigits = 32
	hashDigits  = 2 * sha256.Size
)

// NewKey is the key of a secret.
func NewKey(secret string) Key {
	signer := newSigner(secret)
	return Key{signer: signer, id: signer.sign([]byte(keyIDLabel))[:keyIDDigits]}
}

// ID identifies the key without revealing its secret.
func (k Key) ID() string { return k.id }

// Nothing that prints a key prints its secret.
func (k Key) String() string   { return "key " + k.id }
func (k Key) GoString() string { return k.String() }

// SignV2 signs the request and the headers exactly as given, whatever they hold.
func (k Key) SignV2(h Headers, r Request) string {
	return k.signer.sign(canonical(h, r))
}

// canonical has one value on each line. No value that verifyV2 lets through has a line break, so no
// two requests have one text.
func canonical(h Headers, r Request) []byte {
	token := sha256.Sum256([]byte(r.Token))
	text := make([]byte, 0, 512)
	for _, line := range [...]string{
		label, h.V2.KeyID, h.TenantID, h.Timestamp, h.V2.Nonce, r.Method, r.Target,
		h.V2.ContentHash,
	} {
		text = append(append(text, line...), '\n')
	}
	return hex.AppendEncode(text, token[:])
}

// verifyV2 accepts a request that was signed with one of the keys within window of now, and returns
// when it was signed. It checks neither the nonce nor the body.
//
// As in version 1, the signature is checked before the time.
func verifyV2(
	keys []Key,
	h Headers,
	r Request,
	now time.Time,
	window time.Duration,
) (int64, error) {
	if h.TenantID == "" || h.Timestamp == "" || h.V2.KeyID == "" || h.V2.Nonce == "" ||
		h.V2.ContentHash == "" ||
		h.V2.Signature == "" {
		return 0, ErrMissing
	}
	sent, err := parseMillis(h.Timestamp)
	switch {
	case err != nil:
		return 0, err
	case !isHex(h.V2.Nonce, nonceDigits):
		return 0, ErrNonce
	case !isHex(h.V2.ContentHash, hashDigits):
		return 0, ErrContentHash
	case len(h.TenantID) > MaxTenantBytes,
		strings.Contains(h.TenantID, "\n"),
		strings.Contains(r.Method, "\n"),
		strings.Contains(r.Target, "\n"):
		return 0, ErrBadSignature
	}
	for _, key := range keys {
		if key.id != h.V2.KeyID {
			continue
		}
		if !hmac.Equal([]byte(key.SignV2(h, r)), []byte(h.V2.Signature)) {
			return 0, ErrBadSignature
		}
		return sent, inTime(sent, now, window)
	}
	return 0, ErrKeyUnknown
}

// isHex reports whether text has this many hex digits in lower case.
func isHex(text string, digits int) bool {
	if len(text) != digits {
		return false
	}
	for _, c := range []byte(text) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// CheckBody compares a body with the hash that was signed with its request.
func CheckBody(hash string, body []byte) error {
	sum := sha256.Sum256(body)
	if hex.EncodeToString(sum[:]) != hash {
		return ErrBody
	}
	return nil
}
