package contract

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The vectors have fixed clocks and cannot be replayed over HTTP; they show here that this suite
// signs as they do.
func TestTheSuiteSignsAsTheVectorsDo(t *testing.T) {
	raw, err := os.ReadFile("../../tests/vectors/tenant-signature.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct {
		Valid []struct {
			Secret    string
			TenantID  string `json:"tenant_id"`
			Timestamp string `json:"timestamp_ms"`
			Signature string
		}
	}
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors.Valid) == 0 {
		t.Fatal("no vectors")
	}
	for _, v := range vectors.Valid {
		if got := tenantSignature(v.Secret, v.TenantID, v.Timestamp); got != v.Signature {
			t.Errorf("%s:%s is signed %s, want %s", v.TenantID, v.Timestamp, got, v.Signature)
		}
	}
}

func TestOnlyARightTenantSignaturePasses(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		if api.tenantSecret == "" {
			leaveOut(t, "the server does not check tenant headers")
		}
		u := api.user(t)
		// signed replaces the three headers with a right signature of something.
		signed := func(tenant, timestamp string) edit {
			return func(h http.Header) { signTenantText(h, api.tenantSecret, tenant, timestamp) }
		}
		at := func(offset time.Duration) string {
			return strconv.FormatInt(time.Now().Add(offset).UnixMilli(), 10)
		}

		for why, e := range map[string]edit{
			"now":              signed(u.tenant, at(0)),
			"290 seconds ago":  signed(u.tenant, at(-290*time.Second)),
			"in 290 seconds":   signed(u.tenant, at(290*time.Second)),
			"zeros, as signed": signed(u.tenant, "000"+at(0)),
			"the same twice":   signed(u.tenant, at(0)), // a signature is no one-time password
			"space around a value": func(h http.Header) {
				signed(u.tenant, at(0))(h)
				h.Set("X-TB-Tenant-ID", " "+u.tenant+" ")
			},
		} {
			for range 2 {
				if a := u.call(t, "GET", "/v1/notes", nil, e); a.status != 200 {
					t.Errorf("a right signature, %s, is refused\n%s", why, a)
				}
			}
		}

		sixMinutes := 6 * time.Minute
		good := http.Header{}
		signTenantText(good, api.tenantSecret, u.tenant, at(0))
		signature := good.Get("X-TB-Signature")
		timestamp := good.Get("X-TB-Timestamp")
		change := func(name string, values ...string) edit {
			return func(h http.Header) {
				for n, v := range good {
					h[n] = v
				}
				with(name, values...)(h)
			}
		}
		const id, ts, sig = "X-TB-Tenant-ID", "X-TB-Timestamp", "X-TB-Signature"
		u.call(t, "GET", "/v1/notes", nil, change("X-Other", "x")).want(t, 200)

		wrong := map[string]edit{
			"other secret": func(h http.Header) {
				signTenant(h, randomHex(32), u.tenant, time.Now())
			},
			"empty secret": func(h http.Header) {
				signTenant(h, "", u.tenant, time.Now())
			},
			"the JWT secret": func(h http.Header) {
				signTenant(h, api.jwtSecret, u.tenant, time.Now())
			},
			"other tenant":                 change(id, freshName("tenant")),
			"tenant in upper case":         change(id, strings.ToUpper(u.tenant)),
			"tenant with one more letter":  change(id, u.tenant+"x"),
			"changed timestamp":            change(ts, at(-time.Second)),
			"timestamp with a zero before": change(ts, "0"+timestamp),
			"a nibble changed":             change(sig, flipped(signature)),
			"upper-case hex":               change(sig, strings.ToUpper(signature)),
			"cut":                          change(sig, signature[:62]),
			"cut by one":                   change(sig, signature[:63]),
			"longer":                       change(sig, signature+"00"),
			"0x":                           change(sig, "0x"+signature),
			"sha256=":                      change(sig, "sha256="+signature),
			"not hex":                      change(sig, strings.Repeat("z", 64)),
			"all zeros":                    change(sig, strings.Repeat("0", 64)),
			"empty signature":              change(sig, ""),
			"empty timestamp":              change(ts, ""),
			"empty tenant":                 change(id, ""),
			"empty tenant, signed":         signed("", at(0)),
			"empty timestamp, signed":      signed(u.tenant, ""),
			"no tenant":                    change(id),
			"no timestamp":                 change(ts),
			"no signature":                 change(sig),
			"nothing":                      without(id, ts, sig),
			"tenant twice, equal":          change(id, u.tenant, u.tenant),
			"tenant twice, other second":   change(id, u.tenant, "other"),
			"tenant twice, other first":    change(id, "other", u.tenant),
			"timestamp twice":              change(ts, timestamp, timestamp),
			"signature twice, equal":       change(sig, signature, signature),
			"signature twice, one wrong":   change(sig, signature, strings.Repeat("0", 64)),
			"signatures with a comma":      change(sig, signature+","+signature),
			"space in the tenant":          change(id, u.tenant[:6]+" "+u.tenant[6:]),
			"space in the timestamp":       change(ts, timestamp[:6]+" "+timestamp[6:]),
			"space in the signature":       change(sig, signature[:32]+" "+signature[32:]),
			"tab in the signature":         change(sig, signature[:32]+"\t"+signature[32:]),
			"no-break space before":        change(ts, "\u00a0"+timestamp),
			"stale":                        signed(u.tenant, at(-sixMinutes)),
			"stale by a second":            signed(u.tenant, at(-301*time.Second)),
			"future":                       signed(u.tenant, at(sixMinutes)),
			"future by ten seconds":        signed(u.tenant, at(310*time.Second)),
			"plus sign":                    signed(u.tenant, "+"+at(0)),
			"minus sign":                   signed(u.tenant, "-"+at(0)),
			"seconds": signed(
				u.tenant,
				strconv.FormatInt(time.Now().Unix(), 10),
			),
			"microseconds": signed(
				u.tenant,
				strconv.FormatInt(time.Now().UnixMicro(), 10),
			),
			"nanoseconds": signed(
				u.tenant,
				strconv.FormatInt(time.Now().UnixNano(), 10),
			),
			"RFC 3339": signed(u.tenant, time.Now().UTC().Format(time.RFC3339)),
			"fraction": signed(u.tenant, at(0)+".0"),
			"exponent": signed(u.tenant, at(0)+"e0"),
			"hexadecimal": signed(
				u.tenant,
				fmt.Sprintf("0x%x", time.Now().UnixMilli()),
			),
			"underscores":        signed(u.tenant, timestamp[:4]+"_"+timestamp[4:]),
			"full-width digits":  signed(u.tenant, strings.Replace(at(0), "1", "１", 1)),
			"Arabic digits":      signed(u.tenant, strings.Replace(at(0), "1", "١", 1)),
			"zero":               signed(u.tenant, "0"),
			"64-bit overflow":    signed(u.tenant, "18446744073709551616"),
			"wraps round to now": signed(u.tenant, wrapped(time.Now().UnixMilli())),
			"largest":            signed(u.tenant, "9223372036854775807"),
			"very long":          signed(u.tenant, strings.Repeat("9", 5000)),
			"a word":             signed(u.tenant, "soon"),
			// `tenant:1:2` could be read as tenant `tenant:1` at 2, or as tenant `tenant` at `1:2`.
			"colon moved": func(h http.Header) {
				signTenantText(h, api.tenantSecret, u.tenant+":"+timestamp, timestamp)
				h.Set(id, u.tenant)
				h.Set(ts, timestamp+":"+timestamp)
			},
		}
		texts := map[string]string{}
		for why, e := range wrong {
			for _, r := range []route{
				{"", "GET", "/v1/notes", ""}, {"", "POST", "/v1/sync/sessions", ""},
				{"", "POST", "/v1/notes", `{}`},
			} {
				a := r.call(t, u, e)
				if a.status != 401 {
					t.Errorf("%s: want status 401\n%s", why, a)
					continue
				}
				texts[a.errorText(t)] = why
			}
		}
		if len(texts) > 1 {
			t.Errorf(
				"the caller must not be told which check failed, but the texts differ: %q",
				texts,
			)
		}
		if n := len(u.list(t, entityNamed("notes"), "").items); n != 0 {
			t.Errorf("refused calls made %d notes", n)
		}
	})
}

// A tenant may have colons in its name.
func TestATenantIDMayHoldAnyVisibleText(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		if api.tenantSecret == "" {
			leaveOut(t, "the server does not check tenant headers")
		}
		sub := freshName("user")
		for _, tenant := range []string{
			freshName("x:y:1763636400123"), freshName("org_01HEC"), freshName("a/b?c#d%20'--"),
			freshName(strings.Repeat("t", 100)),
		} {
			u := api.userOf(t, tenant, sub)
			if n := len(u.list(t, entityNamed("notes"), "").items); n != 0 {
				t.Errorf("tenant %q starts with %d notes", tenant, n)
			}
			u.note(t)
		}
	})
}

func flipped(signature string) string {
	digits := "0123456789abcdef"
	i := strings.IndexByte(digits, signature[10])
	return signature[:10] + string(digits[(i+1)%16]) + signature[11:]
}

// wrapped is a number that equals n when it is read into 64 bits without looking for overflow.
func wrapped(n int64) string {
	const twoTo64 = "18446744073709551616"
	sum, carry := []byte(twoTo64), byte(0)
	add := fmt.Sprintf("%020d", n)
	for i := len(sum) - 1; i >= 0; i-- {
		d := sum[i] - '0' + add[i] - '0' + carry
		sum[i], carry = '0'+d%10, d/10
	}
	return string(sum)
}

const fuzzedHeaders = 4_000

// Whatever is done to a right set of headers, the result is refused unless it is the right set
// again.
func TestFuzzedTenantHeadersAreRefused(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		if api.tenantSecret == "" {
			leaveOut(t, "the server does not check tenant headers")
		}
		u := api.user(t)
		names := []string{
			http.CanonicalHeaderKey("X-TB-Tenant-ID"),
			http.CanonicalHeaderKey("X-TB-Timestamp"),
			http.CanonicalHeaderKey("X-TB-Signature"),
		}
		seed := rand.Uint64()
		random := rand.New(rand.NewPCG(seed, 0))
		other := http.Header{}
		signTenant(other, api.tenantSecret, freshName("tenant"), time.Now())

		jobs := make([]http.Header, fuzzedHeaders)
		for i := range jobs {
			right := http.Header{}
			signTenant(right, api.tenantSecret, u.tenant, time.Now())
			h := right.Clone()
			for mutated := false; !mutated; {
				for range 1 + random.IntN(3) {
					mutateHeaders(random, h, other, names)
				}
				mutated = !sameTenantHeaders(h, right, names) && !sameTenantHeaders(h, other, names)
			}
			jobs[i] = h
		}
		inParallel(4, len(jobs), func(i int) {
			a, err := u.try("GET", "/v1/sync/state", nil, without(names...), func(h http.Header) {
				for name, values := range jobs[i] {
					h[name] = values
				}
			})
			if err != nil || a.status != 401 {
				t.Errorf(
					"seed %d, mutation %d of %s's headers: want status 401 (%v)\n%s",
					seed,
					i,
					u.tenant,
					err,
					a,
				)
			}
		})
		u.call(t, "GET", "/v1/sync/state", nil).want(t, 200)
	})
}

func sameTenantHeaders(a, b http.Header, names []string) bool {
	for _, name := range names {
		if len(a[name]) != 1 || len(b[name]) != 1 ||
			strings.Trim(a[name][0], " \t") != strings.Trim(b[name][0], " \t") {
			return false
		}
	}
	return true
}

func mutateHeaders(random *rand.Rand, h, other http.Header, names []string) {
	name := names[random.IntN(len(names))]
	values := h[name]
	if len(values) == 0 {
		h[name] = []string{other.Get(name)}
		return
	}
	text := values[0]
	// What HTTP allows in a value: visible ASCII, space, tab and bytes above.
	alphabet := "0123456789abcdefABCDEFxyz+-:._,;/\"' \té\u00a0\xff"
	char := string(alphabet[random.IntN(len(alphabet))])
	at := random.IntN(len(text) + 1)
	rest := min(at+1, len(text))
	switch random.IntN(12) {
	case 0, 1:
		text = text[:at] + char + text[rest:] // replace
	case 2:
		text = text[:at] + char + text[at:] // insert
	case 3:
		text = text[:at] + text[rest:] // leave out
	case 4:
		text = text[:at] // cut
	case 5:
		text = text[at:]
	case 6:
		text += text
	case 7:
		text = strings.ToUpper(text)
	case 8:
		text = other.Get(name)
	case 9:
		h[name] = append([]string{text}, char)
		return
	case 10:
		delete(h, name)
		return
	case 11:
		a, b := names[random.IntN(len(names))], names[random.IntN(len(names))]
		h[a], h[b] = h[b], h[a]
		return
	}
	h[name] = []string{text}
}
