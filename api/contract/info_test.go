package contract

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

type serverInfo struct {
	Name     string
	Version  string
	Time     string
	Entities []struct {
		Name, Singular string
		Actions        []string
	}
	Limits struct {
		MaxBodyBytes, DefaultPage, MaxPage int
	}
	Features        []string
	TenantSignature struct {
		Required bool
		Versions []any
	}
}

func (s *server) info(t testing.TB) serverInfo {
	t.Helper()
	var info serverInfo
	s.anonymous(t, "GET", "/v1/sync/info").want(t, 200).decode(t, &info)
	return info
}

func TestHealthAndInfoNeedNothing(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		for _, path := range []string{"/healthz", "/readyz", "/v1/sync/info"} {
			api.anonymous(t, "GET", path).check(t, 200)
			// They do not look at credentials, so wrong ones do no harm either.
			api.anonymous(
				t, "GET", path, with("Authorization", "Bearer x"), with("X-TB-Signature", "x"),
				with("X-Sync-Session", "x"), with("X-Sync-Epoch", "x"),
			).check(t, 200)
		}
	})
}

func TestInfoDescribesTheServer(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		info := api.info(t)
		if info.Name == "" || info.Version == "" {
			t.Errorf("name %q and version %q must say something", info.Name, info.Version)
		}
		if now := instant(info.Time); now.IsZero() || time.Since(now).Abs() > time.Minute {
			t.Errorf("time %q is not now", info.Time)
		}
		if info.Limits.DefaultPage != 500 || info.Limits.MaxPage != 1000 ||
			info.Limits.MaxBodyBytes < 1 {
			t.Errorf("limits %+v", info.Limits)
		}
		if !api.remote && info.Limits.MaxBodyBytes != 1<<20 {
			t.Errorf(
				"maxBodyBytes is %d without MAX_BODY_BYTES, want 1 MiB",
				info.Limits.MaxBodyBytes,
			)
		}
		if info.TenantSignature.Required != (api.tenantSecret != "") {
			t.Errorf("tenantSignature.required is %v", info.TenantSignature.Required)
		}
		if len(info.TenantSignature.Versions) == 0 {
			t.Error("tenantSignature.versions is empty")
		}
		if len(info.Entities) != len(entities) {
			t.Errorf("%d entities, want %d", len(info.Entities), len(entities))
		}
		for _, told := range info.Entities {
			i := slices.IndexFunc(entities, func(e entity) bool { return e.name == told.Name })
			if i < 0 {
				t.Errorf("entity %q is not in the contract", told.Name)
				continue
			}
			e := entities[i]
			if strings.ReplaceAll(told.Singular, "_", " ") != e.singular {
				t.Errorf("%s: singular is %q, want %q", e.name, told.Singular, e.singular)
			}
			var want []string
			for _, act := range e.actions {
				want = append(want, act.name)
			}
			slices.Sort(want)
			if got := slices.Sorted(slices.Values(told.Actions)); !slices.Equal(got, want) {
				t.Errorf("%s: actions %q, want %q", e.name, got, want)
			}
		}
	})
}

func TestInfoDoesNotDependOnTheCaller(t *testing.T) {
	onEach(t, func(t *testing.T, api *server) {
		u := api.user(t)
		withoutTime := func(a *answer) string {
			var body map[string]json.RawMessage
			a.want(t, http.StatusOK).decode(t, &body)
			delete(body, "time")
			text, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
		anonymous := withoutTime(api.anonymous(t, "GET", "/v1/sync/info"))
		if ofUser := withoutTime(u.call(t, "GET", "/v1/sync/info", nil)); ofUser != anonymous {
			t.Errorf("a user is told\n%s\nwithout a token\n%s", ofUser, anonymous)
		}
	})
}
