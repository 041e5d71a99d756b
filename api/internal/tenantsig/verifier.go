package tenantsig

import (
	"errors"
	"time"
)

// Verifier is what a deployment wants of signatures.
type Verifier struct {
	Keys     []Key         // the current one, and during a rotation the one before
	Skew     time.Duration // of version 1
	Window   time.Duration // of version 2
	DemandV2 bool          // version 1 is then no proof
	Nonces   *Nonces
}

// Verify takes a request that was signed with one of the keys, in time and, where it is signed with version 2, for the first time.
//
// Where anything of version 2 came, version 2 alone decides: otherwise whoever has caught a request could break its second
// signature and go on with the first.
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

// verifyV1 tries every key, since version 1 does not say which it is. With each of them the same reason comes out but for a wrong signature.
func (v *Verifier) verifyV1(h Headers, now time.Time) error {
	err := ErrBadSignature
	for _, key := range v.Keys {
		if err = Verify(key.secret, h, now, v.Skew); !errors.Is(err, ErrBadSignature) {
			return err
		}
	}
	return err
}

// Versions are those that are a proof here.
func (v *Verifier) Versions() []string {
	if v != nil && v.DemandV2 {
		return []string{"v2"}
	}
	return []string{"v1", "v2"}
}
