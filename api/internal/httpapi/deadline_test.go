package httpapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/toolbridge/toolbridge-mcp/api/internal/auth"
	"github.com/toolbridge/toolbridge-mcp/api/internal/config"
	"github.com/toolbridge/toolbridge-mcp/api/internal/store"
	"github.com/toolbridge/toolbridge-mcp/api/internal/telemetry"
)

func TestGivenTimeIsReadStrictly(t *testing.T) {
	for _, c := range []struct {
		values []string
		want   time.Duration
	}{
		{[]string{"1"}, time.Millisecond},
		{[]string{"2500"}, 2500 * time.Millisecond},
		{[]string{"600000"}, 10 * time.Minute},
		{[]string{"600001"}, 0},
		{[]string{"0"}, 0},
		{nil, 0},
		{[]string{""}, 0},
		{[]string{"100", "100"}, 0},
		{[]string{"-1"}, 0},
		{[]string{"+1"}, 0},
		{[]string{"1.5"}, 0},
		{[]string{"1e3"}, 0},
		{[]string{"1_000"}, 0},
		{[]string{"0x10"}, 0},
		{[]string{" 100"}, 0},
		{[]string{"100ms"}, 0},
		{[]string{"１００"}, 0},
		{[]string{"99999999999999999999"}, 0},
	} {
		got, ok := givenTime(http.Header{headerTimeout: c.values})
		if ok != (c.want != 0) || ok && got != c.want {
			t.Errorf("%q: %v, %v", c.values, got, ok)
		}
	}
}

// The only writing connection is held. A request that waits for it gives up at its deadline or when
// its client disconnects, not at the database's own limit.
func TestWaitingForTheWriterEndsWithTheCaller(t *testing.T) {
	h := newFixture(t)
	session, err := h.db.OpenSession(t.Context(), store.Person{Tenant: "acme", Subject: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	release := h.holdWriter(t, session)
	write := func(ctx context.Context, timeout string) (int, error) {
		return h.write(ctx, session.ID, timeout)
	}

	if status, err := write(t.Context(), "50"); err != nil ||
		status != http.StatusServiceUnavailable {
		t.Errorf("told of the time: %d, %v", status, err)
	}
	h.until(t, "deadline_exceeded")

	ctx, cancel := context.WithCancel(t.Context())
	before, hungUp := h.waits(), make(chan error, 1)
	go func() {
		_, err := write(ctx, "")
		hungUp <- err
	}()
	for h.waits() == before {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-hungUp; !errors.Is(err, context.Canceled) {
		t.Errorf("hung up: %v", err)
	}
	h.until(t, "client_gone")

	release()
	page := store.Page{After: store.Beginning, Limit: 10, IncludeDeleted: true}
	if items, _, err := h.db.List(t.Context(), session.Owner, "notes", page); err != nil ||
		len(items) != 1 {
		t.Errorf("what the writer wrote, and no more: %v, %v", items, err)
	}
	if status, err := write(t.Context(), "60000"); err != nil || status != http.StatusCreated {
		t.Errorf("in time: %d, %v", status, err)
	}
}

// fixture is the API on a database file, with no tenant check, as one process.
type fixture struct {
	db     store.Store
	api    *API
	url    string
	secret string
	token  string
	log    *lines
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	return newFixtureOn(t, func(s store.Store) store.Store { return s })
}

// newFixtureOn is a fixture whose API sees another store than the database.
func newFixtureOn(t *testing.T, through func(store.Store) store.Store) *fixture {
	t.Helper()
	secret := strings.Repeat("s", 32)
	said := &lines{}
	log := slog.New(slog.NewTextHandler(said, nil))
	db, err := store.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "x.db"), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	verifier, err := auth.New(
		t.Context(),
		config.JWT{HS256Secret: config.Secret(secret)},
		time.Now,
		log,
		func(bool) {},
	)
	if err != nil {
		t.Fatal(err)
	}
	api := &API{
		Store:    through(db),
		Verifier: verifier,
		Tenant:   config.Tenant{ID: "acme"},
		MaxBody:  1 << 20,
		Metrics:  telemetry.NewMetrics("test", db),
		Log:      log,
		Now:      time.Now,
	}
	server := httptest.NewServer(api.Handler())
	t.Cleanup(server.Close)
	h := &fixture{db: db, api: api, url: server.URL, secret: secret, log: said}
	claims := jwt.MapClaims{"sub": "ada", "exp": time.Now().Add(time.Hour).Unix()}
	h.token = h.sign(t, claims)
	return h
}

func (h *fixture) sign(t *testing.T, claims jwt.MapClaims) string {
	t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(h.secret))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (h *fixture) write(ctx context.Context, session, timeout string) (status int, err error) {
	status, _, err = h.post(ctx, "/v1/notes", `{}`, session, timeout)
	return status, err
}

func (h *fixture) post(
	ctx context.Context,
	path, body, session, timeout string,
) (status int, text string, err error) {
	request, err := http.NewRequestWithContext(ctx, "POST", h.url+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Authorization", "Bearer "+h.token)
	request.Header.Set(headerSession, session)
	request.Header.Set(headerEpoch, "1")
	if timeout != "" {
		request.Header.Set(headerTimeout, timeout)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	read, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(read), err
}

// holdWriter begins a write that ends when it is released.
func (h *fixture) holdWriter(t *testing.T, s store.Session) (release func()) {
	t.Helper()
	began, goOn, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	owner := store.Owner{ID: s.Owner, Epoch: s.Epoch}
	go func() {
		_, err := h.db.Write(
			t.Context(),
			owner,
			"notes",
			uuid.NewString(),
			func(store.Tx, *store.Item) (store.Next, error) {
				close(began)
				<-goOn
				return store.Next{Payload: []byte(`{}`)}, nil
			},
		)
		done <- err
	}()
	<-began
	return func() {
		close(goOn)
		if err := <-done; err != nil {
			t.Errorf("the first writer: %v", err)
		}
	}
}

// waits counts the waits for the writer.
func (h *fixture) waits() int64 {
	for _, pool := range h.db.Pools() {
		if pool.Name == "writes" {
			return pool.Waits
		}
	}
	return -1
}

func (h *fixture) until(t *testing.T, reason string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for ; !strings.Contains(h.log.all(), "reason="+reason); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no line has %q:\n%s", reason, h.log.all())
		}
	}
}

type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
