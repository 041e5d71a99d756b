// Package tenantsig makes and verifies the tenant signature: the proof, beside the caller's token,
// that a request was sent by a holder of the tenant's secret. It depends on neither HTTP nor a
// clock, so that the test vectors shared with the MCP server can be run.
//
// Version 1, in this file, binds the tenant and the time; version 2 (version2.go) all of the
// request. verifier.go decides which of them counts.
package tenantsig

import (
	"crypto/hmac"
	"errors"
	"strconv"
	"time"
)

// The reasons for a refusal. They are for the log; a caller only learns that the headers were
// refused.
var (
	ErrMissing      = errors.New("tenant_header_missing")
	ErrTimestamp    = errors.New("tenant_timestamp_malformed")
	ErrStale        = errors.New("tenant_timestamp_stale")
	ErrFuture       = errors.New("tenant_timestamp_future")
	ErrBadSignature = errors.New("tenant_signature_wrong")
	// Of version 2 alone.
	ErrVersion        = errors.New("tenant_signature_version")
	ErrKeyUnknown     = errors.New("tenant_key_unknown")
	ErrNonce          = errors.New("tenant_nonce_malformed")
	ErrNonceRepeated  = errors.New("tenant_nonce_repeated")
	ErrNonceForgotten = errors.New("tenant_nonce_forgotten")
	ErrContentHash    = errors.New("tenant_body_hash_malformed")
	ErrBody           = errors.New("tenant_body_wrong")
)

// MaxTenantBytes bounds a tenant id: it is stored with every user and written to every log line.
const MaxTenantBytes = 255

// Headers are the values as they were received.
type Headers struct {
	TenantID  string
	Timestamp string
	Signature string
	V2        V2
}

// Sign signs the tenant and the timestamp exactly as given.
func Sign(secret, tenantID, timestamp string) string {
	return newSigner(secret).signV1(tenantID, timestamp)
}

// Verify accepts headers that were signed with secret within skew of now.
//
// The signature is checked before the time, so that the log reports a header as stale only if its
// signature is right.
func Verify(secret string, h Headers, now time.Time, skew time.Duration) error {
	return newSigner(secret).verifyV1(h, now, skew)
}

func (s *signer) verifyV1(h Headers, now time.Time, skew time.Duration) error {
	if h.TenantID == "" || h.Timestamp == "" || h.Signature == "" {
		return ErrMissing
	}
	if len(h.TenantID) > MaxTenantBytes {
		return ErrBadSignature
	}
	sent, err := parseMillis(h.Timestamp)
	if err != nil {
		return err
	}
	// Compared as text: upper-case hex is another spelling of the same bytes, and the contract has
	// only one.
	want := s.signV1(h.TenantID, h.Timestamp)
	if !hmac.Equal([]byte(want), []byte(h.Signature)) {
		return ErrBadSignature
	}
	return inTime(sent, now, skew)
}

func inTime(sent int64, now time.Time, skew time.Duration) error {
	age := now.UnixMilli() - sent
	switch {
	case age > skew.Milliseconds():
		return ErrStale
	case age < -skew.Milliseconds():
		return ErrFuture
	}
	return nil
}

func (s *signer) signV1(tenantID, timestamp string) string {
	text := make([]byte, 0, MaxTenantBytes+20)
	text = append(append(append(text, tenantID...), ':'), timestamp...)
	return s.sign(text)
}

// parseMillis reads decimal digits and nothing else: no sign, no spaces, no exponent.
func parseMillis(text string) (int64, error) {
	if len(text) > 18 {
		return 0, ErrTimestamp
	}
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return 0, ErrTimestamp
		}
	}
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, ErrTimestamp
	}
	return ms, nil
}
