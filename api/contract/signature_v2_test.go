package contract

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// onEachWithV2 runs a test on every server that takes version 2 of the tenant signature.
func onEachWithV2(t *testing.T, test func(t *testing.T, api *server)) {
	t.Helper()
	onEach(t, func(t *testing.T, api *server) {
		if api.tenantSecret == "" ||
			!slices.Contains(api.info(t).TenantSignature.Versions, any("v2")) {
			leaveOut(t, "the server does not check version 2 of the tenant signature")
		}
		test(t, api)
	})
}

// bind is a right request of the user's, signed with version 2 alone.
func (u *user) bind(method, path, body string) bound {
	return bind(u.api.tenantSecret, u.tenant, u.token, method, path, body)
}

// callV2 is call, signed with version 2 alone.
func (u *user) callV2(t testing.TB, method, path, body string, edits ...edit) *answer {
	t.Helper()
	return u.send(
		t,
		method,
		path,
		body,
		append([]edit{u.bind(method, path, body).sign}, edits...)...)
}

func (u *user) send(t testing.TB, method, path, body string, edits ...edit) *answer {
	t.Helper()
	if body == "" {
		return u.call(t, method, path, nil, edits...)
	}
	return u.call(t, method, path, body, edits...)
}

func TestTheSuiteSignsAsTheVectorsOfVersion2Do(t *testing.T) {
	raw, err := os.ReadFile("../../tests/vectors/tenant-signature-v2.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct {
		Valid []struct {
			Secret, Timestamp, Nonce, Method, Target, Body, Token, Signature string

			KeyID       string `json:"key_id"`
			TenantID    string `json:"tenant_id"`
			ContentHash string `json:"content_sha256"`
		}
	}
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors.Valid) == 0 {
		t.Fatal("no vectors")
	}
	for _, v := range vectors.Valid {
		b := bound{
			v.Secret,
			keyID(v.Secret),
			v.TenantID,
			v.Timestamp,
			v.Nonce,
			v.Method,
			v.Target,
			sha256Hex(v.Body),
			v.Token,
		}
		if b.signature() != v.Signature || b.keyID != v.KeyID || b.contentHash != v.ContentHash {
			t.Errorf(
				"%s %s is signed %s by %s, want %s by %s",
				v.Method,
				v.Target,
				b.signature(),
				b.keyID,
				v.Signature,
				v.KeyID,
			)
		}
	}
}

func TestOnlyARightSignatureOfVersion2Passes(t *testing.T) {
	onEachWithV2(t, func(t *testing.T, api *server) {
		u := api.user(t)
		created := u.callV2(t, "POST", "/v1/notes", `{"title":"x"}`).want(t, 201)
		var item struct{ UID string }
		created.decode(t, &item)
		path := "/v1/notes/" + item.UID
		u.callV2(t, "GET", path, "").want(t, 200)
		u.callV2(t, "GET", "/v1/notes?limit=5&includeDeleted=true", "").want(t, 200)
		u.callV2(t, "PATCH", path, `{"title":"y"}`).want(t, 200)
		u.callV2(t, "POST", path+"/archive", "").want(t, 200)
		u.callV2(t, "DELETE", path, "").want(t, 200)
		u.callV2(t, "POST", "/v1/sync/sessions", "").want(t, 201)
		u.callV2(t, "GET", "/v1/notes", "", with("X-TB-Signature", "x")).
			want(t, 200)
			// version 2 alone decides

		// A request is signed, and then something of it is not as it was signed.
		const body = `{"title":"t"}`
		type sent struct {
			method, path, body string
			edits              []edit
		}
		for why, change := range map[string]func(*bound, *sent){
			"other method":           func(b *bound, _ *sent) { b.method = "PUT" },
			"other path":             func(b *bound, _ *sent) { b.target = "/v1/tasks" },
			"other query":            func(b *bound, _ *sent) { b.target = "/v1/notes?x=1" },
			"query taken away":       func(_ *bound, s *sent) { s.path = "/v1/notes?" },
			"path encoded otherwise": func(_ *bound, s *sent) { s.path = "/v1/%6eotes" },
			"other body":             func(_ *bound, s *sent) { s.body = `{"title":"T"}` },
			"body with a space more": func(_ *bound, s *sent) { s.body = body + " " },
			"no body":                func(_ *bound, s *sent) { s.body = "" },
			"body that is no JSON":   func(_ *bound, s *sent) { s.body = "[" },
			"token of another user": func(b *bound, _ *sent) {
				b.token = signHS256(api.jwtSecret, goodClaims(freshName("user")))
			},
			"another token of theirs": func(b *bound, _ *sent) {
				b.token = signHS256(api.jwtSecret, goodClaims(u.sub).and("x", 1))
			},
			"no token":     func(b *bound, _ *sent) { b.token = "" },
			"other secret": func(b *bound, _ *sent) { b.secret = randomHex(32) },
			"other secret and its id": func(b *bound, _ *sent) {
				b.secret = randomHex(32)
				b.keyID = keyID(b.secret)
			},
			"the JWT secret": func(b *bound, _ *sent) {
				b.secret = api.jwtSecret
				b.keyID = keyID(b.secret)
			},
			"key id longer": func(b *bound, _ *sent) { b.keyID += "0" },
			"stale": func(b *bound, _ *sent) {
				b.timestamp = strconv.FormatInt(time.Now().Add(-70*time.Second).UnixMilli(), 10)
			},
			"ahead": func(b *bound, _ *sent) {
				b.timestamp = strconv.FormatInt(time.Now().Add(70*time.Second).UnixMilli(), 10)
			},
			"seconds": func(b *bound, _ *sent) {
				b.timestamp = strconv.FormatInt(time.Now().Unix(), 10)
			},
			"short nonce": func(b *bound, _ *sent) { b.nonce = b.nonce[1:] },
			"nonce in upper case": func(b *bound, _ *sent) {
				b.nonce = strings.Repeat("A", 32)
			},
			"word in place of a hash": func(b *bound, _ *sent) {
				b.contentHash = "UNSIGNED-PAYLOAD"
			},
			"hash in upper case": func(b *bound, _ *sent) {
				b.contentHash = strings.ToUpper(b.contentHash)
			},
			"other tenant": func(_ *bound, s *sent) {
				s.edits = []edit{with("X-TB-Tenant-ID", freshName("tenant"))}
			},
			"other timestamp": func(b *bound, s *sent) {
				s.edits = []edit{with("X-TB-Timestamp", "0"+b.timestamp)}
			},
			"other nonce": func(_ *bound, s *sent) {
				s.edits = []edit{with("X-TB-Nonce", randomHex(16))}
			},
			"other hash": func(_ *bound, s *sent) {
				s.edits = []edit{with("X-TB-Content-SHA256", sha256Hex("x"))}
			},
			"nibble changed": func(b *bound, s *sent) {
				s.edits = []edit{with("X-TB-Signature-V2", flipped(b.signature()))}
			},
			"signature in upper case": func(b *bound, s *sent) {
				s.edits = []edit{with("X-TB-Signature-V2", strings.ToUpper(b.signature()))}
			},
			"signature twice": func(b *bound, s *sent) {
				s.edits = []edit{with("X-TB-Signature-V2", b.signature(), b.signature())}
			},
			"nonce twice": func(b *bound, s *sent) {
				s.edits = []edit{with("X-TB-Nonce", b.nonce, b.nonce)}
			},
			"key id twice": func(b *bound, s *sent) {
				s.edits = []edit{with("X-TB-Key-ID", b.keyID, "0")}
			},
			"hash twice": func(b *bound, s *sent) {
				s.edits = []edit{with("X-TB-Content-SHA256", b.contentHash, sha256Hex(""))}
			},
			"no signature": func(_ *bound, s *sent) {
				s.edits = []edit{without("X-TB-Signature-V2")}
			},
			"no nonce": func(_ *bound, s *sent) {
				s.edits = []edit{without("X-TB-Nonce")}
			},
			"no key id": func(_ *bound, s *sent) {
				s.edits = []edit{without("X-TB-Key-ID")}
			},
			"no hash": func(_ *bound, s *sent) {
				s.edits = []edit{without("X-TB-Content-SHA256")}
			},
			"no tenant": func(_ *bound, s *sent) {
				s.edits = []edit{without("X-TB-Tenant-ID")}
			},
			"no timestamp": func(_ *bound, s *sent) {
				s.edits = []edit{without("X-TB-Timestamp")}
			},
			"version 1 in its place": func(b *bound, s *sent) {
				s.edits = []edit{
					with("X-TB-Signature-V2", tenantSignature(b.secret, b.tenant, b.timestamp)),
				}
			},
			"wrong beside version 1": func(b *bound, s *sent) {
				s.edits = []edit{rightV1(b), with("X-TB-Signature-V2", strings.Repeat("0", 64))}
			},
			"empty beside version 1": func(b *bound, s *sent) {
				s.edits = []edit{
					rightV1(b),
					without("X-TB-Signature-V2", "X-TB-Content-SHA256", "X-TB-Key-ID"),
					with("X-TB-Nonce", ""),
				}
			},
			"key id beside version 1": func(b *bound, s *sent) {
				s.edits = []edit{
					rightV1(b), without("X-TB-Signature-V2", "X-TB-Content-SHA256", "X-TB-Nonce"),
				}
			},
			"replay beside version 1": func(b *bound, s *sent) {
				u.send(t, s.method, s.path, s.body, b.sign).check(t, 201)
				s.edits = []edit{rightV1(b)}
			},
		} {
			b, s := u.bind("POST", "/v1/notes", body), sent{"POST", "/v1/notes", body, nil}
			change(&b, &s)
			a := u.send(t, s.method, s.path, s.body, append([]edit{b.sign}, s.edits...)...)
			if a.status != 401 || a.errorText(t) != "valid tenant headers are required" {
				t.Errorf("%s: want status 401, and not to be told why\n%s", why, a)
			}
		}
		if n := len(u.list(t, entityNamed("notes"), "").items); n != 1 { // the replay's first time
			t.Errorf("refused calls made %d notes", n-1)
		}
	})
}

func rightV1(b *bound) edit {
	return with("X-TB-Signature", tenantSignature(b.secret, b.tenant, b.timestamp))
}

// A captured request is refused, from every client and every time.
func TestARequestIsServedOnce(t *testing.T) {
	onEachWithV2(t, func(t *testing.T, api *server) {
		u := api.user(t)
		var served atomic.Int64
		b := u.bind("POST", "/v1/notes", `{"title":"x"}`)
		inParallel(8, 40, func(int) {
			if a := u.send(t, "POST", "/v1/notes", `{"title":"x"}`, b.sign); a.status == 201 {
				served.Add(1)
			} else {
				a.check(t, 401)
			}
		})
		if n := len(u.list(t, entityNamed("notes"), "").items); n != 1 || served.Load() != 1 {
			t.Errorf("it was served %d times and made %d notes", served.Load(), n)
		}
		// A nonce is spent for every other request too.
		other := u.bind("GET", "/v1/notes", "")
		other.nonce = b.nonce
		u.send(t, "GET", "/v1/notes", "", other.sign).check(t, 401)
	})
}

// Token, tenant headers, session, rate, epoch; the body comes to be known after these, and is
// compared before anything is done with it.
func TestTheBodyIsComparedInItsPlace(t *testing.T) {
	onEachWithV2(t, func(t *testing.T, api *server) {
		u := api.user(t)
		post := func(path, body string, edits ...edit) *answer {
			return u.send(
				t,
				"POST",
				path,
				body,
				append([]edit{u.bind("POST", path, "{}").sign}, edits...)...)
		}
		post("/v1/notes", "[", without("X-Sync-Session")).check(t, 428)
		post("/v1/notes", "[", with("X-Sync-Epoch", "7")).check(t, 409)
		post("/v1/notes", "[").check(t, 401)
		post("/v1/sync/wipe", `{"confirm":"WIPE"}`).check(t, 401)
		if !api.remote {
			post("/v1/notes", strings.Repeat(" ", 1<<20+1)).check(t, 413)
		}
		post("/v1/notes", "{}").check(t, 201)
	})
}

func TestReadyzJudgesVersion2(t *testing.T) {
	onEachWithV2(t, func(t *testing.T, api *server) {
		said := func(edits ...edit) string {
			var body struct{ TenantSignature string }
			api.anonymous(t, "GET", "/readyz", edits...).want(t, 200).decode(t, &body)
			return body.TenantSignature
		}
		right := bind(api.tenantSecret, freshName("tenant"), "", "GET", "/readyz", "")
		if got := said(right.sign); got != "accepted" {
			t.Errorf("a right one is %s", got)
		}
		if got := said(right.sign, rightV1(&right)); got != "refused" {
			t.Errorf("the same again is %s", got)
		}
		wrong := bind(randomHex(32), freshName("tenant"), "", "GET", "/readyz", "")
		if got := said(wrong.sign); got != "refused" {
			t.Errorf("one with another secret is %s", got)
		}
	})
}

func TestVersion2CanBeDemanded(t *testing.T) {
	onOwn(t, settings{"TENANT_SIGNATURE_DEMANDED": "v2"}, func(t *testing.T, api *server) {
		u := api.withoutSession(freshName("tenant"), freshName("user"))
		u.callV2(t, "POST", "/v1/sync/sessions", "").check(t, 201)
		u.call(t, "POST", "/v1/sync/sessions", nil).check(t, 401) // version 1
		if got := api.info(t).TenantSignature.Versions; !slices.Equal(got, []any{"v2"}) {
			t.Errorf("versions are %v", got)
		}
		api.log.until(t, "tenant_signature_version")
	})
}

// What was caught before a restart is worth nothing after it, although the memory is gone.
func TestARestartOpensNothing(t *testing.T) {
	onEachOurs(t, func(t *testing.T, b *backend) {
		url, err := b.database()
		if err != nil {
			t.Fatal(err)
		}
		env := settings{
			"DATABASE_URL":         url,
			"JWT_HS256_SECRET":     randomHex(32),
			"TENANT_HEADER_SECRET": randomHex(32),
		}
		first, err := startServer(b, env)
		if err != nil {
			t.Fatal(err)
		}
		u := first.withoutSession(freshName("tenant"), freshName("user"))
		caught := u.bind("POST", "/v1/sync/sessions", "")
		u.send(t, "POST", "/v1/sync/sessions", "", caught.sign).check(t, 201)
		if err := first.stop(); err != nil {
			t.Fatal(err)
		}
		u.api = launch(t, b, env)
		u.send(t, "POST", "/v1/sync/sessions", "", caught.sign).check(t, 503)
		u.callV2(t, "POST", "/v1/sync/sessions", "").check(t, 201)
	})
}

func TestDuringARotationTwoSecretsCount(t *testing.T) {
	old := randomHex(32)
	onOwn(t, settings{"TENANT_HEADER_SECRET_PREVIOUS": old}, func(t *testing.T, api *server) {
		u := api.withoutSession(freshName("tenant"), freshName("user"))
		for secret, status := range map[string]int{
			api.tenantSecret: 201, old: 201, randomHex(32): 401,
		} {
			v1 := func(h http.Header) { signTenant(h, secret, u.tenant, time.Now()) }
			u.call(t, "POST", "/v1/sync/sessions", nil, v1).check(t, status)
			u.call(
				t, "POST", "/v1/sync/sessions", nil,
				bind(secret, u.tenant, u.token, "POST", "/v1/sync/sessions", "").sign,
			).check(t, status)
		}
	})
}

// Whatever is done to a right set of headers of version 2, be version 1 beside it or not, the
// result is refused unless it is the right set again.
func TestFuzzedHeadersOfVersion2AreRefused(t *testing.T) {
	onEachWithV2(t, func(t *testing.T, api *server) {
		u := api.user(t)
		var names []string
		for _, name := range []string{
			"X-TB-Tenant-ID", "X-TB-Timestamp", "X-TB-Key-ID", "X-TB-Nonce", "X-TB-Content-SHA256",
			"X-TB-Signature-V2",
		} {
			names = append(names, http.CanonicalHeaderKey(name))
		}
		seed := rand.Uint64()
		random := rand.New(rand.NewPCG(seed, 0))
		jobs := make([]http.Header, fuzzedHeaders)
		for i := range jobs {
			right, other := http.Header{}, http.Header{}
			b := u.bind("GET", "/v1/sync/state", "")
			b.sign(right)
			u.bind("GET", "/v1/sync/info", "").sign(other)
			h := right.Clone()
			if i%2 == 0 {
				rightV1(&b)(h)
			}
			for mutated := false; !mutated; {
				for range 1 + random.IntN(3) {
					mutateHeaders(random, h, other, names)
				}
				mutated = !sameTenantHeaders(h, right, names) &&
					slices.ContainsFunc(
						names[2:],
						func(name string) bool { return len(h[name]) > 0 },
					)
			}
			jobs[i] = h
		}
		inParallel(4, len(jobs), func(i int) {
			a, err := u.try(
				"GET",
				"/v1/sync/state",
				nil,
				without("X-TB-Signature"),
				without(names...),
				func(h http.Header) {
					for name, values := range jobs[i] {
						h[name] = values
					}
				},
			)
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
		u.callV2(t, "GET", "/v1/sync/state", "").want(t, 200)
	})
}
