package tenantsig

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

const skew = 300 * time.Second

type vectors struct {
	Valid []struct {
		Secret    string `json:"secret"`
		TenantID  string `json:"tenant_id"`
		Timestamp string `json:"timestamp_ms"`
		Signature string `json:"signature"`
	} `json:"valid"`
	Accepted []verification `json:"accepted"`
	Refused  []verification `json:"refused"`
}

type verification struct {
	Why       string `json:"why"`
	Secret    string `json:"secret"`
	NowMS     int64  `json:"now_ms"`
	TenantID  string `json:"tenant_id"`
	Timestamp string `json:"timestamp"`
	Signature string `json:"signature"`
}

func (v verification) verify() error {
	h := Headers{TenantID: v.TenantID, Timestamp: v.Timestamp, Signature: v.Signature}
	return Verify(v.Secret, h, time.UnixMilli(v.NowMS), skew)
}

func load(t *testing.T) vectors {
	t.Helper()
	text, err := os.ReadFile("../../../tests/vectors/tenant-signature.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Valid) == 0 || len(v.Accepted) == 0 || len(v.Refused) == 0 {
		t.Fatal("a list of vectors is empty")
	}
	return v
}

func TestVectors(t *testing.T) {
	all := load(t)
	for _, v := range all.Valid {
		if got := Sign(v.Secret, v.TenantID, v.Timestamp); got != v.Signature {
			t.Errorf(
				"%q %q %q: signed %s, want %s",
				v.Secret,
				v.TenantID,
				v.Timestamp,
				got,
				v.Signature,
			)
		}
	}
	for _, v := range all.Accepted {
		if err := v.verify(); err != nil {
			t.Errorf("%s: refused: %v", v.Why, err)
		}
	}
	for _, v := range all.Refused {
		if err := v.verify(); err == nil {
			t.Errorf("%s: accepted", v.Why)
		}
	}
}

func TestEachRefusalHasItsReason(t *testing.T) {
	now := time.UnixMilli(1763636400000)
	good := Headers{TenantID: "t", Timestamp: "1763636400000"}
	good.Signature = Sign("secret", good.TenantID, good.Timestamp)
	signedAt := func(timestamp string) func(*Headers) {
		return func(h *Headers) {
			h.Timestamp = timestamp
			h.Signature = Sign("secret", h.TenantID, timestamp)
		}
	}
	for name, c := range map[string]struct {
		change func(*Headers)
		want   error
	}{
		"right":           {func(*Headers) {}, nil},
		"no tenant":       {func(h *Headers) { h.TenantID = "" }, ErrMissing},
		"no timestamp":    {func(h *Headers) { h.Timestamp = "" }, ErrMissing},
		"no signature":    {func(h *Headers) { h.Signature = "" }, ErrMissing},
		"plus sign":       {signedAt("+1763636400000"), ErrTimestamp},
		"spaces":          {signedAt(" 1763636400000"), ErrTimestamp},
		"other digits":    {signedAt("１７６３６３６４０００００"), ErrTimestamp},
		"too many digits": {signedAt(strings.Repeat("9", 19)), ErrTimestamp},
		"leading zeros":   {signedAt("0001763636400000"), nil},
		"stale":           {signedAt("1763636099999"), ErrStale},
		"ahead":           {signedAt("1763636700001"), ErrFuture},
		"wrong": {
			func(h *Headers) { h.Signature = strings.Repeat("0", 64) }, ErrBadSignature,
		},
		"shifted separator": {func(h *Headers) { h.TenantID = "t:1" }, ErrBadSignature},
		"tenant too long": {func(h *Headers) {
			h.TenantID = strings.Repeat("t", MaxTenantBytes+1)
			h.Signature = Sign("secret", h.TenantID, h.Timestamp)
		}, ErrBadSignature},
	} {
		h := good
		c.change(&h)
		if err := Verify("secret", h, now, skew); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

// Nothing but the right signature passes, whatever the headers hold.
func FuzzVerify(f *testing.F) {
	f.Add("t", "1763636400000", strings.Repeat("a", 64))
	f.Add("", "", "")
	f.Fuzz(func(t *testing.T, tenant, timestamp, signature string) {
		err := Verify(
			"secret",
			Headers{TenantID: tenant, Timestamp: timestamp, Signature: signature},
			time.UnixMilli(1763636400000),
			skew,
		)
		if err == nil && signature != Sign("secret", tenant, timestamp) {
			t.Fatalf("accepted %q %q %q", tenant, timestamp, signature)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	const secret, sent = "0123456789abcdef0123456789abcdef", "1763636400000"
	h := Headers{TenantID: "acme", Timestamp: sent, Signature: Sign(secret, "acme", sent)}
	b.ReportAllocs()
	for b.Loop() {
		if err := Verify(secret, h, time.UnixMilli(1763636400000), time.Minute); err != nil {
			b.Fatal(err)
		}
	}
}
