package contract

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var httpClient = &http.Client{
	Timeout: 60 * time.Second,
	Transport: &http.Transport{
		MaxIdleConns:        256,
		MaxIdleConnsPerHost: 128,
		DisableCompression:  true,
	},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

var (
	correlationForm = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)
	timeForm        = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`)
	uuidForm        = regexp.MustCompile(
		`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`,
	)
)

// A user is a caller with a token, a tenant and an open session.
type user struct {
	api         *server
	tenant, sub string
	token       string
	session     string
	epoch       int64
	sessionBody []byte // as the server gave it
}

// user makes a user of a fresh tenant, so that nothing another test does can collide, with an open
// session.
func (s *server) user(t testing.TB) *user {
	t.Helper()
	return s.userOf(t, freshName("tenant"), freshName("user"))
}

func (s *server) userOf(t testing.TB, tenant, sub string) *user {
	t.Helper()
	u := s.withoutSession(tenant, sub)
	u.open(t)
	return u
}

// withoutSession is a user without a session.
func (s *server) withoutSession(tenant, sub string) *user {
	return &user{api: s, tenant: tenant, sub: sub, token: signHS256(s.jwtSecret, goodClaims(sub))}
}

// open opens another session for the user and ends it when the test ends.
func (u *user) open(t testing.TB) {
	t.Helper()
	a := u.call(t, "POST", "/v1/sync/sessions", nil, without("X-Sync-Session", "X-Sync-Epoch")).
		want(t, 201)
	var session struct {
		ID    string `json:"id"`
		Epoch int64  `json:"epoch"`
	}
	a.decode(t, &session)
	if session.ID == "" || session.Epoch < 1 {
		t.Fatalf("a session needs an id and an epoch\n%s", a)
	}
	u.session, u.epoch, u.sessionBody = session.ID, session.Epoch, a.body
	ended := *u // later sessions of the same user must not change what is ended here
	t.Cleanup(func() { _, _ = ended.try("DELETE", "/v1/sync/sessions/"+ended.session, nil) })
}

// An edit changes a call's headers after the ordinary ones were set.
type edit func(http.Header)

// with replaces a header; several values send it several times.
func with(name string, values ...string) edit {
	return func(h http.Header) { h[http.CanonicalHeaderKey(name)] = values }
}

func without(names ...string) edit {
	return func(h http.Header) {
		for _, name := range names {
			h.Del(name)
		}
	}
}

func ifMatch(version int64) edit { return with("If-Match", strconv.FormatInt(version, 10)) }

func (u *user) headers(edits []edit) http.Header {
	h := http.Header{}
	h.Set("Authorization", "Bearer "+u.token)
	if u.api.tenantSecret != "" {
		signTenant(h, u.api.tenantSecret, u.tenant, time.Now())
	}
	if u.session != "" {
		h.Set("X-Sync-Session", u.session)
		h.Set("X-Sync-Epoch", strconv.FormatInt(u.epoch, 10))
	}
	for _, e := range edits {
		e(h)
	}
	return h
}

// call sends a request with the user's headers. The path goes out exactly as written. The body is
// nil, raw bytes, a string, a reader (sent in chunks, without a length) or anything that marshals
// to JSON.
//
// Whatever comes back is held to what the contract says about every answer; see [answer.faults].
// A call may be made from any goroutine; a request that got no answer has status 0.
func (u *user) call(t testing.TB, method, path string, body any, edits ...edit) *answer {
	t.Helper()
	a, err := u.try(method, path, body, edits...)
	if err != nil {
		t.Errorf("%v", err)
	}
	return a
}

// try is call for those who expect that a request may fail.
func (u *user) try(method, path string, body any, edits ...edit) (*answer, error) {
	return u.api.send(method, path, body, u.headers(edits))
}

// anonymous calls with no headers but the given ones.
func (s *server) anonymous(t testing.TB, method, path string, edits ...edit) *answer {
	t.Helper()
	h := http.Header{}
	for _, e := range edits {
		e(h)
	}
	a, err := s.send(method, path, nil, h)
	if err != nil {
		t.Errorf("%v", err)
	}
	return a
}

func (s *server) send(method, path string, body any, h http.Header) (*answer, error) {
	a := &answer{method: method, path: path, sent: h}
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		a.sentBody = b
	case string:
		a.sentBody = []byte(b)
	case io.Reader:
		reader = b
		a.sentBody = []byte("(sent in chunks)")
	default:
		var err error
		if a.sentBody, err = json.Marshal(b); err != nil {
			return a, err
		}
	}
	for try := 0; ; try++ {
		if body != nil && (reader == nil || try > 0) {
			reader = bytes.NewReader(a.sentBody)
		}
		if err := s.exchange(a, reader); err != nil {
			return a, fmt.Errorf("%s: %w", a, err)
		}
		// A server that this run did not start has its own rate limit, which is not what most tests
		// are about.
		if s.remote && a.status == http.StatusTooManyRequests && try < 60 {
			seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
			if err == nil && seconds <= 60 {
				time.Sleep(time.Duration(seconds) * time.Second)
				continue
			}
		}
		break
	}
	if faults := a.faults(); faults != nil {
		return a, fmt.Errorf("%w\n%s", faults, a)
	}
	return a, nil
}

func (s *server) exchange(a *answer, body io.Reader) error {
	req, err := http.NewRequest(a.method, s.base, body)
	if err != nil {
		return err
	}
	req.URL.Opaque = a.path // nothing may clean the path up
	if strings.HasPrefix(a.path, "//") {
		req.URL.Opaque = "//" + req.URL.Host + a.path
	}
	req.Header = a.sent
	if body != nil && req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := httpClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	a.status, a.header = res.StatusCode, res.Header
	a.body, err = io.ReadAll(res.Body)
	return err
}

// An answer is a response together with the request that led to it.
type answer struct {
	method, path string
	sent         http.Header
	sentBody     []byte

	status int
	header http.Header
	body   []byte
}

// faults holds an answer to what the contract says about all of them: the correlation id is echoed,
// an error is `{error, correlation_id}` in JSON and never shows SQL or a stack, and nothing is our
// fault (5xx, except 503 and, for a commit that was lost, 504).
func (a *answer) faults() error {
	var faults []error
	add := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if a.status >= 500 && a.status != 503 && a.status != 504 && !family {
		add("status %d is never right", a.status)
	}
	if a.status >= 300 && a.status < 400 {
		add("the API does not redirect")
	}
	if a.status == http.StatusRequestHeaderFieldsTooLarge {
		return errors.Join(faults...) // refused before there was a request to speak of
	}
	if err := a.undescribed(); err != nil {
		faults = append(faults, err)
	}

	echoed := a.header.Values("X-Correlation-ID")
	switch {
	case len(echoed) != 1:
		add("X-Correlation-ID must be in every answer once, got %q", echoed)
	case !correlationForm.MatchString(echoed[0]):
		add("X-Correlation-ID %q does not have the form the contract gives", echoed[0])
	case len(a.sent.Values("X-Correlation-ID")) == 1 &&
		correlationForm.MatchString(a.sent.Get("X-Correlation-ID")) &&
		a.sent.Get("X-Correlation-ID") != echoed[0]:
		add("X-Correlation-ID %q was not echoed", a.sent.Get("X-Correlation-ID"))
	}
	if family && a.status >= 400 {
		return errors.Join(faults...) // some are plain text
	}
	if len(a.body) > 0 {
		if kind := a.header.Get("Content-Type"); kind != "application/json" &&
			kind != "application/json; charset=utf-8" {
			add("Content-Type is %q, want application/json", kind)
		}
		if !json.Valid(a.body) {
			add("the body is not JSON")
		}
	}
	if a.status >= 400 && a.method != "HEAD" {
		var body struct {
			Error         *string `json:"error"`
			CorrelationID *string `json:"correlation_id"`
		}
		err := json.Unmarshal(a.body, &body)
		switch {
		case err != nil:
			add("an error body is JSON: %v", err)
		case body.Error == nil || *body.Error == "" || body.CorrelationID == nil:
			add("an error body is {error, correlation_id}")
		case len(echoed) == 1 && *body.CorrelationID != echoed[0]:
			add("correlation_id %q in the body, %q in the header", *body.CorrelationID, echoed[0])
		}
		text := strings.ToLower(string(a.body))
		for _, leak := range []string{
			"select ", "insert into", "sqlite", "sqlstate", "pgx", "goroutine ", ".go:", "panic",
			"jwt_hs256", "secret",
		} {
			if strings.Contains(text, leak) {
				add("an error body must not mention %q", leak)
			}
		}
	}
	return errors.Join(faults...)
}

// want ends the test unless the status is one of the given ones.
func (a *answer) want(t testing.TB, statuses ...int) *answer {
	t.Helper()
	for _, status := range statuses {
		if a.status == status {
			return a
		}
	}
	t.Fatalf("want status %v\n%s", statuses, a)
	return nil
}

// check is want for goroutines and loops: it marks the test as failed and goes on.
func (a *answer) check(t testing.TB, statuses ...int) bool {
	t.Helper()
	for _, status := range statuses {
		if a.status == status {
			return true
		}
	}
	t.Errorf("want status %v\n%s", statuses, a)
	return false
}

func (a *answer) decode(t testing.TB, into any) {
	t.Helper()
	if err := json.Unmarshal(a.body, into); err != nil {
		t.Fatalf("%v\n%s", err, a)
	}
}

// field is one top-level member of a JSON body as text; "" when it is absent.
func (a *answer) field(t testing.TB, name string) string {
	t.Helper()
	var members map[string]json.RawMessage
	a.decode(t, &members)
	return string(members[name])
}

// errorText is the message of an error body.
func (a *answer) errorText(t testing.TB) string {
	t.Helper()
	var body struct{ Error string }
	if family && !json.Valid(a.body) {
		return strings.TrimSpace(string(a.body))
	}
	a.decode(t, &body)
	return body.Error
}

func (a *answer) wantError(t testing.TB, status int, text string) *answer {
	t.Helper()
	a.want(t, status)
	if got := a.errorText(t); got != text {
		t.Errorf("error text %q, want %q\n%s", got, text, a)
	}
	return a
}

// wantParent expects the refusal of a missing or deleted parent, naming one of the given fields.
func (a *answer) wantParent(t testing.TB, fields ...string) *answer {
	t.Helper()
	if family {
		return a.want(t, 422, 500)
	}
	a.want(t, 422)
	var body struct{ Field string }
	a.decode(t, &body)
	for _, field := range fields {
		if body.Field == field {
			return a
		}
	}
	t.Errorf("field %q, want one of %q\n%s", body.Field, fields, a)
	return a
}

// String shows the exchange for a failure message, without the credentials.
func (a *answer) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "  > %s %s\n", a.method, abbreviated([]byte(a.path)))
	for _, name := range slices.Sorted(maps.Keys(a.sent)) {
		values := a.sent[name]
		if name == "Authorization" || name == http.CanonicalHeaderKey("X-TB-Signature") {
			fmt.Fprintf(&b, "  > %s: (%d)\n", name, len(values))
			continue
		}
		for _, value := range values {
			fmt.Fprintf(&b, "  > %s: %s\n", name, abbreviated([]byte(value)))
		}
	}
	if a.sentBody != nil {
		fmt.Fprintf(&b, "  > %s\n", abbreviated(a.sentBody))
	}
	fmt.Fprintf(&b, "  < %d %s\n", a.status, http.StatusText(a.status))
	for _, name := range []string{
		"Content-Type", "X-Correlation-ID", "X-Sync-Epoch", "ETag", "Allow", "Link", "Retry-After",
	} {
		if values := a.header.Values(name); len(values) > 0 {
			fmt.Fprintf(&b, "  < %s: %s\n", name, strings.Join(values, " | "))
		}
	}
	fmt.Fprintf(&b, "  < %s", abbreviated(a.body))
	return b.String()
}

func abbreviated(b []byte) string {
	const limit = 600
	text := string(b)
	if len(text) > limit {
		text = fmt.Sprintf("%s … (%d bytes)", text[:limit], len(text))
	}
	quoted := strconv.Quote(text)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// An item is an entity's row as the API shows it.
type item struct {
	UID       string          `json:"uid"`
	Version   int64           `json:"version"`
	CreatedAt string          `json:"createdAt"`
	UpdatedAt string          `json:"updatedAt"`
	DeletedAt *string         `json:"deletedAt"`
	Payload   json.RawMessage `json:"payload"`
}

// item reads the answer as one item and checks that all that the server wrote about it agrees.
func (a *answer) item(t testing.TB) item {
	t.Helper()
	it, err := readItem(a.body)
	if err != nil {
		t.Fatalf("%v\n%s", err, a)
	}
	if want := fmt.Sprintf(`"%d"`, it.Version); a.header.Get("ETag") != want {
		t.Errorf("ETag %s, want %s\n%s", a.header.Get("ETag"), want, a)
	}
	return it
}

func readItem(raw []byte) (item, error) {
	var it item
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if !family {
		decoder.DisallowUnknownFields()
	}
	if err := decoder.Decode(&it); err != nil {
		return it, fmt.Errorf(
			"not an item {uid, version, createdAt, updatedAt, deletedAt?, payload}: %w",
			err,
		)
	}
	var own struct {
		UID, UpdatedTS string
		Sync           struct {
			Version   int64   `json:"version"`
			IsDeleted *bool   `json:"isDeleted"`
			DeletedAt *string `json:"deletedAt"`
		}
	}
	// a map, because struct fields would also match keys in other case
	payload := map[string]json.RawMessage{}
	if err := json.Unmarshal(it.Payload, &payload); err != nil {
		return it, fmt.Errorf("payload: %w", err)
	}
	for name, into := range map[string]any{
		"uid": &own.UID, "updatedTs": &own.UpdatedTS, "sync": &own.Sync,
	} {
		if err := json.Unmarshal(payload[name], into); err != nil {
			return it, fmt.Errorf(
				"payload.%s is %s: %w",
				name,
				orAbsent(string(payload[name])),
				err,
			)
		}
	}
	deleted := it.DeletedAt != nil
	switch {
	case !uuidForm.MatchString(it.UID):
		return it, fmt.Errorf("uid %q is not a lower-case UUID", it.UID)
	case it.Version < 1:
		return it, fmt.Errorf("version %d is below 1", it.Version)
	case own.UID != it.UID:
		return it, fmt.Errorf("payload.uid is %q, want %q", own.UID, it.UID)
	case own.Sync.Version != it.Version:
		return it, fmt.Errorf("payload.sync.version is %d, want %d", own.Sync.Version, it.Version)
	case own.Sync.IsDeleted == nil || *own.Sync.IsDeleted != deleted:
		return it, fmt.Errorf("payload.sync.isDeleted must be %v", deleted)
	case (own.Sync.DeletedAt != nil) != deleted:
		return it, fmt.Errorf("payload.sync.deletedAt is there exactly when the item is deleted")
	case !sameInstant(own.UpdatedTS, it.UpdatedAt):
		return it, fmt.Errorf(
			"payload.updatedTs is %q, want the item's %q",
			own.UpdatedTS,
			it.UpdatedAt,
		)
	case deleted && !sameInstant(*own.Sync.DeletedAt, *it.DeletedAt):
		return it, fmt.Errorf(
			"payload.sync.deletedAt is %q, want %q",
			*own.Sync.DeletedAt,
			*it.DeletedAt,
		)
	}
	if err := checkTime(it.UpdatedAt); err != nil {
		return it, err
	}
	if !family {
		if err := checkTime(it.CreatedAt); err != nil {
			return it, fmt.Errorf("createdAt: %w", err)
		}
		created, updated := instant(it.CreatedAt), instant(it.UpdatedAt)
		if created.After(updated) || it.Version == 1 && !created.Equal(updated) {
			return it, fmt.Errorf(
				"createdAt %s does not fit updatedAt %s of version %d",
				it.CreatedAt,
				it.UpdatedAt,
				it.Version,
			)
		}
	}
	if deleted {
		return it, checkTime(*it.DeletedAt)
	}
	return it, nil
}

// checkTime expects RFC 3339 in UTC with three digits of milliseconds.
func checkTime(text string) error {
	if family {
		_, err := time.Parse(time.RFC3339Nano, text)
		return err
	}
	if !timeForm.MatchString(text) {
		return fmt.Errorf("time %q is not RFC 3339 UTC with three digits of milliseconds", text)
	}
	return nil
}

func sameInstant(a, b string) bool { return instant(a).Equal(instant(b)) && !instant(a).IsZero() }

// instant is the zero time for what is not a time.
func instant(text string) time.Time {
	at, _ := time.Parse(time.RFC3339Nano, text)
	return at
}

// A page is the answer of a list route.
type page struct {
	Items      []json.RawMessage `json:"items"`
	NextCursor *string           `json:"nextCursor"`

	items []item
}

// page reads the answer as a list and checks the Link header against the cursor.
func (a *answer) page(t testing.TB) page {
	t.Helper()
	var p page
	decoder := json.NewDecoder(bytes.NewReader(a.body))
	if !family {
		decoder.DisallowUnknownFields()
	}
	if err := decoder.Decode(&p); err != nil || p.Items == nil {
		t.Fatalf("not a page {items, nextCursor?}: %v\n%s", err, a)
	}
	for _, raw := range p.Items {
		it, err := readItem(raw)
		if err != nil {
			t.Fatalf("%v\n%s", err, a)
		}
		p.items = append(p.items, it)
	}
	if !family {
		if next := nextLink(a.header); (next != "") != (p.NextCursor != nil) {
			t.Errorf("Link rel=next %q, but nextCursor present is %v", next, p.NextCursor != nil)
		}
		if p.NextCursor != nil && *p.NextCursor == "" {
			t.Errorf("an empty nextCursor\n%s", a)
		}
	}
	return p
}

var linkForm = regexp.MustCompile(`<([^>]*)>\s*;\s*rel="?next"?`)

// nextLink is the target of `Link: <…>; rel="next"`, "" when there is none.
func nextLink(h http.Header) string {
	for _, value := range h.Values("Link") {
		if m := linkForm.FindStringSubmatch(value); m != nil {
			return m[1]
		}
	}
	return ""
}

// list reads one page; query is without the question mark.
func (u *user) list(t testing.TB, e entity, query string) page {
	t.Helper()
	return u.call(t, "GET", e.path("?"+query), nil).want(t, 200).page(t)
}

// walk reads pages from the start to the last one, following cursors.
func (u *user) walk(t testing.TB, e entity, values url.Values) []item {
	t.Helper()
	var all []item
	for range 10_000 {
		p := u.list(t, e, values.Encode())
		all = append(all, p.items...)
		if p.NextCursor == nil || (family && len(p.items) == 0) {
			return all
		}
		next := url.Values{}
		for name, value := range values {
			next[name] = value
		}
		next.Set("cursor", *p.NextCursor)
		values = next
	}
	t.Fatal("the walk does not end")
	return nil
}

func freshName(kind string) string { return kind + "-" + randomHex(8) }

// newUID makes a random UUID, version 4.
func newUID() string {
	h := []byte(randomHex(16))
	h[12], h[16] = '4', '8'
	return fmt.Sprintf("%s-%s-%s-%s-%s", h[:8], h[8:12], h[12:16], h[16:20], h[20:])
}
