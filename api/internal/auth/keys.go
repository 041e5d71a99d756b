package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"golang.org/x/time/rate"

	"github.com/toolbridge/toolbridge-mcp/api/internal/payload"
	"github.com/toolbridge/toolbridge-mcp/api/internal/telemetry"
)

const (
	maxKeySetBytes = 1 << 20
	fetchTimeout   = 5 * time.Second
)

// fetchKeys keeps a copy of the key set at an address.
func fetchKeys(
	ctx context.Context,
	address string,
	log *slog.Logger,
	fetched func(ok bool),
) (keyfunc.Keyfunc, error) {
	report := func(string) func(context.Context, error) {
		return func(_ context.Context, err error) {
			log.Warn(
				"token keys could not be fetched; the known ones stay in use",
				telemetry.Error,
				err.Error(),
			)
		}
	}
	client := &http.Client{
		Timeout:   fetchTimeout,
		Transport: keyFilter{http.DefaultTransport, fetched},
		// A redirect could lead from https to http, where an attacker could add a key.
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return errors.New("key sets must not redirect")
		},
	}
	return keyfunc.NewDefaultOverrideCtx(ctx, []string{address}, keyfunc.Override{
		Client:      client,
		HTTPTimeout: fetchTimeout,
		// An unknown key id fetches again, but not often: anyone can invent key ids.
		RefreshUnknownKID:       rate.NewLimiter(rate.Every(10*time.Second), 1),
		RateLimitWaitMax:        5 * time.Second,
		RefreshErrorHandlerFunc: report,
	})
}

// keyFilter passes on only the keys that can verify a token here. The library handles a key set as
// a whole: one unreadable key makes it drop the set, and a response without keys makes it drop the
// known ones. So keyFilter returns a set with at least one usable key, or an error, and then the
// known ones stay.
type keyFilter struct {
	next    http.RoundTripper
	fetched func(ok bool)
}

func (f keyFilter) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := f.filtered(r)
	f.fetched(err == nil && answer.StatusCode == http.StatusOK)
	return answer, err
}

func (f keyFilter) filtered(r *http.Request) (*http.Response, error) {
	answer, err := f.next.RoundTrip(r)
	if err != nil || answer.StatusCode != http.StatusOK {
		return answer, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxKeySetBytes+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxKeySetBytes {
		return nil, fmt.Errorf("the key set is larger than %d bytes", maxKeySetBytes)
	}
	good, err := usable(text)
	if err != nil {
		return nil, err
	}
	answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader(good)), int64(len(good))
	return answer, nil
}

func usable(text []byte) ([]byte, error) {
	set, err := payload.ParseUnique(text)
	if err != nil {
		return nil, fmt.Errorf("the answer is no key set: %w", err)
	}
	list, _ := set.Get("keys")
	var keys []json.RawMessage
	if err := json.Unmarshal(list, &keys); err != nil {
		return nil, fmt.Errorf("the answer is no key set: %w", err)
	}
	good := []json.RawMessage{}
	for _, raw := range keys {
		raw, ok := knownMembers(raw)
		if !ok {
			continue
		}
		key, err := jwkset.NewJWKFromRawJSON(
			raw,
			jwkset.JWKMarshalOptions{Private: true},
			jwkset.JWKValidateOptions{},
		)
		if err != nil || !forSignatures(key) {
			continue
		}
		good = append(good, raw)
	}
	if len(good) == 0 {
		return nil, fmt.Errorf(
			"the key set has %d keys, of which none can verify a token",
			len(keys),
		)
	}
	return json.Marshal(map[string][]json.RawMessage{"keys": good})
}

// knownMembers is a key with its relevant members only. The library ignores the case of names, so
// "KTY" would otherwise count like "kty", and the last one would win.
func knownMembers(raw []byte) (json.RawMessage, bool) {
	key, err := payload.ParseUnique(raw)
	if err != nil {
		return nil, false
	}
	var known payload.Object
	for _, name := range []string{
		"kty", "use", "key_ops", "alg", "kid", "x5c", "x5t", "x5t#S256", "crv", "x", "y", "n", "e",
		"k", "d", "p", "q", "dp", "dq", "qi", "oth", // none of them makes a key that fits a token
	} {
		if value, ok := key.Get(name); ok {
			known.Set(name, value)
		}
	}
	return known.JSON(), true
}

func forSignatures(key jwkset.JWK) bool {
	m := key.Marshal()
	if m.USE != "" && m.USE != jwkset.UseSig {
		return false
	}
	switch m.ALG {
	case "", jwkset.AlgRS256, jwkset.AlgES256, jwkset.AlgEdDSA:
		return m.KTY != jwkset.KtyOct
	}
	return false
}
