package tenantsig

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

const window = time.Minute

type vectorV2 struct {
	Why         string
	Secret      string
	Secrets     []string
	NowMS       int64  `json:"now_ms"`
	KeyID       string `json:"key_id"`
	TenantID    string `json:"tenant_id"`
	Timestamp   string
	Nonce       string
	Method      string
	Target      string
	Body        string
	Token       string
	ContentHash string `json:"content_sha256"`
	Canonical   string
	Signature   string
}

func (v vectorV2) headers() Headers {
	return Headers{TenantID: v.TenantID, Timestamp: v.Timestamp,
		V2: V2{
			Sent:        true,
			KeyID:       v.KeyID,
			Nonce:       v.Nonce,
			ContentHash: v.ContentHash,
			Signature:   v.Signature,
		}}
}

func (v vectorV2) request() Request {
	return Request{Method: v.Method, Target: v.Target, Token: v.Token}
}

func (v vectorV2) verify() error {
	now := time.UnixMilli(v.NowMS)
	err := verifier(now, v.Secrets...).Verify(v.headers(), v.request(), now)
	if err == nil {
		err = CheckBody(v.ContentHash, []byte(v.Body))
	}
	return err
}

// verifier has been there for an hour.
func verifier(now time.Time, secrets ...string) *Verifier {
	v := &Verifier{Skew: skew, Window: window, Nonces: NewNonces(now.Add(-time.Hour))}
	for _, secret := range secrets {
		v.Keys = append(v.Keys, NewKey(secret))
	}
	return v
}

func TestVectorsOfVersion2(t *testing.T) {
	text, err := os.ReadFile("../../../tests/vectors/tenant-signature-v2.json")
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Valid, Accepted, Refused []vectorV2 }
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Valid) == 0 || len(all.Accepted) == 0 || len(all.Refused) == 0 {
		t.Fatal("a list of vectors is empty")
	}
	for _, v := range all.Valid {
		key := NewKey(v.Secret)
		if key.ID() != v.KeyID {
			t.Errorf("the key id of %q is %s, want %s", v.Secret, key.ID(), v.KeyID)
		}
		if got := string(canonical(v.headers(), v.request())); got != v.Canonical {
			t.Errorf("the text is\n%s\nwant\n%s", got, v.Canonical)
		}
		if got := key.SignV2(v.headers(), v.request()); got != v.Signature {
			t.Errorf("%s %s: signed %s, want %s", v.Method, v.Target, got, v.Signature)
		}
		if err := CheckBody(v.ContentHash, []byte(v.Body)); err != nil {
			t.Errorf("%s %s: %v", v.Method, v.Target, err)
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

var noon = time.UnixMilli(1763636400000)

// signedV2 is a right set of headers for a request.
func signedV2(secret string, r Request, at time.Time) Headers {
	key := NewKey(secret)
	h := Headers{
		TenantID:  "acme",
		Timestamp: fmt.Sprint(at.UnixMilli()),
		V2: V2{Sent: true, KeyID: key.ID(),
			Nonce: fmt.Sprintf("%032x", at.UnixNano()), ContentHash: strings.Repeat("0", 64)},
	}
	h.V2.Signature = key.SignV2(h, r)
	return h
}

func TestEachRefusalOfVersion2HasItsReason(t *testing.T) {
	r := Request{Method: "POST", Target: "/v1/notes?x=1", Token: "a.b.c"}
	good := signedV2("secret", r, noon)
	// again signs what was changed; the others stay as they were signed.
	type change = func(*Headers, *Request)
	again := func(then change) change {
		return func(h *Headers, r *Request) {
			then(h, r)
			h.V2.Signature = NewKey("secret").SignV2(*h, *r)
		}
	}
	for name, c := range map[string]struct {
		change change
		want   error
	}{
		"right":                  {func(*Headers, *Request) {}, nil},
		"version 1 wrong beside": {func(h *Headers, _ *Request) { h.Signature = "x" }, nil},
		"no tenant":              {func(h *Headers, _ *Request) { h.TenantID = "" }, ErrMissing},
		"no timestamp":           {func(h *Headers, _ *Request) { h.Timestamp = "" }, ErrMissing},
		"no key id":              {func(h *Headers, _ *Request) { h.V2.KeyID = "" }, ErrMissing},
		"no nonce":               {func(h *Headers, _ *Request) { h.V2.Nonce = "" }, ErrMissing},
		"no hash": {
			func(h *Headers, _ *Request) { h.V2.ContentHash = "" }, ErrMissing,
		},
		"no signature": {
			func(h *Headers, _ *Request) { h.V2.Signature = "" }, ErrMissing,
		},
		"another tenant": {
			func(h *Headers, _ *Request) { h.TenantID = "globex" }, ErrBadSignature,
		},
		"another timestamp": {
			func(h *Headers, _ *Request) { h.Timestamp = "1763636400001" }, ErrBadSignature,
		},
		"another nonce": {
			func(h *Headers, _ *Request) { h.V2.Nonce = strings.Repeat("1", 32) }, ErrBadSignature,
		},
		"another hash": {
			func(h *Headers, _ *Request) { h.V2.ContentHash = strings.Repeat("1", 64) },
			ErrBadSignature,
		},
		"another method": {
			func(_ *Headers, r *Request) { r.Method = "PUT" }, ErrBadSignature,
		},
		"another path": {
			func(_ *Headers, r *Request) { r.Target = "/v1/tasks?x=1" }, ErrBadSignature,
		},
		"another query": {
			func(_ *Headers, r *Request) { r.Target = "/v1/notes?x=2" }, ErrBadSignature,
		},
		"another token": {
			func(_ *Headers, r *Request) { r.Token = "a.b.d" }, ErrBadSignature,
		},
		"another key": {
			func(h *Headers, _ *Request) { h.V2.KeyID = NewKey("other").ID() }, ErrKeyUnknown,
		},
		"malformed time": {
			again(func(h *Headers, _ *Request) { h.Timestamp = "soon" }), ErrTimestamp,
		},
		"malformed nonce": {
			again(func(h *Headers, _ *Request) { h.V2.Nonce = strings.Repeat("A", 32) }), ErrNonce,
		},
		"malformed hash": {
			again(func(h *Headers, _ *Request) { h.V2.ContentHash = "none" }), ErrContentHash,
		},
		"stale": {
			again(func(h *Headers, _ *Request) { h.Timestamp = "1763636339999" }), ErrStale,
		},
		"ahead": {
			again(func(h *Headers, _ *Request) { h.Timestamp = "1763636460001" }), ErrFuture,
		},
		"a line too much": {
			again(func(h *Headers, _ *Request) { h.TenantID = "a\nb" }), ErrBadSignature,
		},
		"tenant too long": {
			again(
				func(h *Headers, _ *Request) { h.TenantID = strings.Repeat("t", MaxTenantBytes+1) },
			),
			ErrBadSignature,
		},
	} {
		h, request := good, r
		c.change(&h, &request)
		if err := verifier(noon, "secret").Verify(h, request, noon); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	if err := CheckBody(good.V2.ContentHash, []byte("x")); !errors.Is(err, ErrBody) {
		t.Errorf("another body: got %v", err)
	}
}

func TestWhichVersionCounts(t *testing.T) {
	r := Request{Method: "GET", Target: "/v1/notes", Token: "a.b.c"}
	both := signedV2("secret", r, noon)
	both.Signature = Sign("secret", both.TenantID, both.Timestamp)
	wrong := both
	wrong.V2.Signature = strings.Repeat("0", 64)
	only := both
	only.V2 = V2{}
	started := both
	started.V2 = V2{Sent: true}
	for name, c := range map[string]struct {
		h           Headers
		any, onlyV2 error
	}{
		"both":                          {both, nil, nil},
		"a wrong one beside version 1":  {wrong, ErrBadSignature, ErrBadSignature},
		"an empty one beside version 1": {started, ErrMissing, ErrMissing},
		"version 1":                     {only, nil, ErrVersion},
		"nothing":                       {Headers{}, ErrMissing, ErrVersion},
	} {
		for demand, want := range map[bool]error{false: c.any, true: c.onlyV2} {
			v := verifier(noon, "secret")
			v.DemandV2 = demand
			if err := v.Verify(c.h, r, noon); !errors.Is(err, want) {
				t.Errorf("%s, version 2 demanded: %v: got %v, want %v", name, demand, err, want)
			}
		}
	}
}

func TestDuringARotationTwoKeysCount(t *testing.T) {
	r := Request{Method: "GET", Target: "/v1/notes", Token: "a.b.c"}
	for secret, want := range map[string][2]error{
		"new": {nil, nil}, "old": {nil, nil}, "older": {ErrBadSignature, ErrKeyUnknown},
	} {
		h := Headers{TenantID: "acme", Timestamp: fmt.Sprint(noon.UnixMilli())}
		h.Signature = Sign(secret, h.TenantID, h.Timestamp)
		v := verifier(noon, "new", "old")
		if err := v.Verify(h, r, noon); !errors.Is(err, want[0]) {
			t.Errorf("version 1, %s secret: got %v, want %v", secret, err, want[0])
		}
		if err := v.Verify(signedV2(secret, r, noon), r, noon); !errors.Is(err, want[1]) {
			t.Errorf("version 2, %s secret: got %v, want %v", secret, err, want[1])
		}
	}
}

func TestAReplayIsRefused(t *testing.T) {
	r := Request{Method: "GET", Target: "/v1/notes", Token: "a.b.c"}
	v := verifier(noon, "new", "old")
	h := signedV2("new", r, noon)
	if err := v.Verify(h, r, noon); err != nil {
		t.Fatal(err)
	}
	for _, later := range []time.Duration{0, time.Second, window} {
		if err := v.Verify(h, r, noon.Add(later)); !errors.Is(err, ErrNonceRepeated) {
			t.Errorf("%s later: got %v", later, err)
		}
	}
	if err := v.Verify(h, r, noon.Add(window+time.Millisecond)); !errors.Is(err, ErrStale) {
		t.Errorf("after the window: got %v", err)
	}
	// One that was refused has spent nothing.
	late := signedV2("new", r, noon.Add(time.Second))
	bad := late
	bad.V2.Signature = strings.Repeat("0", 64)
	if err := v.Verify(bad, r, noon); !errors.Is(err, ErrBadSignature) {
		t.Errorf("got %v", err)
	}
	if err := v.Verify(late, r, noon); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestAKeyIsNeverPrinted(t *testing.T) {
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		text := fmt.Sprintf(format, verifier(noon, "hunter2"))
		if strings.Contains(text, "hunter2") ||
			strings.Contains(text, fmt.Sprintf("%x", "hunter2")) {
			t.Errorf("%s shows the secret: %s", format, text)
		}
	}
}

func BenchmarkVerifyV2(b *testing.B) {
	r := Request{Method: "POST", Target: "/v1/notes", Token: strings.Repeat("t", 300)}
	key := NewKey("0123456789abcdef0123456789abcdef")
	v := &Verifier{Keys: []Key{key}, Window: time.Minute}
	h := signedV2("0123456789abcdef0123456789abcdef", r, noon)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := verifyV2(v.Keys, h, r, noon, v.Window); err != nil {
			b.Fatal(err)
		}
	}
}
