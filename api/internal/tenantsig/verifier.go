package tenantsig

import (
	"errors"
	"time"
)

// Verifier verifies signatures by the rules of a deployment.
type Verifier struct {
	Keys     []Key         // the current one, and during a rotation the one before
	Skew     time.Duration // of version 1
	Window   time.Duration // of version 2
	DemandV2 bool          // refuses version 1
	Nonces   *Nonces
}

// Verify accepts a request that was signed with one of the keys, in time and, with version 2, for
// the first time.
//
// If there is any header of version 2, only version 2 counts: otherwise an attacker could
// invalidate the second signature of a captured request and replay it with the first.
func (v *Verifier) Verify(h Headers, r Request, now time.Time) error {
	if !h.V2.Sent {
		if v.DemandV2 {
			return ErrVersion
		}
		return v.verifyV1(h, now)
	}
	signedAt, err := verifyV2(v.Keys, h, r, now, v.Window)
	if err != nil {
		return err
	}
	return v.Nonces.Spend(h.V2.Nonce, signedAt)
}

// verifyV1 tries every key, because version 1 does not name one. Only the reason for a wrong
// signature can differ between them.
func (v *Verifier) verifyV1(h Headers, now time.Time) error {
	err := ErrBadSignature
	for _, key := range v.Keys {
		if err = key.signer.verifyV1(h, now, v.Skew); !errors.Is(err, ErrBadSignature) {
			return err
		}
	}
	return err
}

// Versions lists the accepted versions.
func (v *Verifier) Versions() []string {
	if v != nil && v.DemandV2 {
		return []string{"v2"}
	}
	return []string{"v1", "v2"}
}
