package config

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/toolbridge/toolbridge-mcp/api/internal/telemetry"
)

const (
	good   = "7a3f9c51e8b2406d97c1f8a4530be6d2"
	other  = "0d5b8e2f6a914c37b0e9d4f1827a65c3"
	before = "5e1c7d93a0f84b26b8d2e6f7194c30a5"
)

func load(vars map[string]string) (Config, error) {
	return Load(func(name string) (string, bool) { v, ok := vars[name]; return v, ok })
}

func TestDefaults(t *testing.T) {
	c, err := load(map[string]string{"JWT_HS256_SECRET": good})
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		HTTPAddr: ":8081", MetricsAddr: "127.0.0.1:9092",
		Database: Database{SQLitePath: "data/toolbridge.db"},
		JWT:      JWT{HS256Secret: good, TenantClaim: "tenant_id"},
		Tenant: Tenant{
			MaxSkew:     300 * time.Second,
			NonceWindow: time.Minute,
			Demanded:    AnySignature,
		},
		RateLimit: RateLimit{600, 120},
		MaxBody:   1 << 20,
		Memory:    Memory{128 << 20, 48 << 20, 24 << 20},
		Versions:  Versions{PerItem: 50, Age: 90 * 24 * time.Hour},
		Shutdown:  20 * time.Second,
		LogLevel:  slog.LevelInfo,
		LogFormat: telemetry.Auto,
	}
	if c != want {
		t.Errorf("got %#v", c)
	}
}

func TestEachMistakeNamesItsVariable(t *testing.T) {
	for _, c := range []struct {
		vars map[string]string
		want string
	}{
		{map[string]string{"VERSIONS_PER_ITEM": "1001"}, "VERSIONS_PER_ITEM is \"1001\""},
		{map[string]string{"VERSIONS_DAYS": "0"}, "VERSIONS_DAYS is \"0\""},
		{
			map[string]string{"JWT_HS256_SECRET": ""},
			"JWT_HS256_SECRET and JWT_JWKS_URL are both unset",
		},
		{map[string]string{"JWT_HS256_SECRET": good[:31]}, "JWT_HS256_SECRET is 31 bytes long"},
		{
			map[string]string{"JWT_HS256_SECRET": "changeme-changeme-changeme-changeme"},
			"JWT_HS256_SECRET looks like a placeholder",
		},
		{
			map[string]string{"JWT_HS256_SECRET": good + "\n"},
			"JWT_HS256_SECRET starts or ends with white space",
		},
		{
			map[string]string{"JWT_HS256_SECRET": strings.Repeat("ab", 20)},
			"JWT_HS256_SECRET is too regular",
		},
		{
			map[string]string{"TENANT_HEADER_SECRET": "dev-tenant-secret"},
			"TENANT_HEADER_SECRET is 17 bytes long",
		},
		{
			map[string]string{"TENANT_HEADER_SECRET": good},
			"TENANT_HEADER_SECRET equals JWT_HS256_SECRET",
		},
		{
			map[string]string{
				"TENANT_HEADER_SECRET": other, "TENANT_HEADER_SECRET_PREVIOUS": other[:31],
			},
			"TENANT_HEADER_SECRET_PREVIOUS is 31 bytes long",
		},
		{
			map[string]string{"TENANT_HEADER_SECRET": other, "TENANT_HEADER_SECRET_PREVIOUS": good},
			"TENANT_HEADER_SECRET_PREVIOUS equals JWT_HS256_SECRET",
		},
		{
			map[string]string{"TENANT_NONCE_WINDOW_SECONDS": "301"},
			`TENANT_NONCE_WINDOW_SECONDS is "301"`,
		},
		{map[string]string{"TENANT_SIGNATURE_DEMANDED": "v1"}, `TENANT_SIGNATURE_DEMANDED is "v1"`},
		{
			map[string]string{"TENANT_HEADER_SECRET": other, "TENANT_ID": "t"},
			"TENANT_ID has no effect",
		},
		{map[string]string{"TENANT_ID": strings.Repeat("t", 256)}, "TENANT_ID must be at most 255"},
		{
			map[string]string{"TENANT_HEADER_MAX_SKEW_SECONDS": "5m"},
			`TENANT_HEADER_MAX_SKEW_SECONDS is "5m"`,
		},
		{map[string]string{"RATE_LIMIT_PER_MINUTE": "-1"}, "RATE_LIMIT_PER_MINUTE is"},
		{map[string]string{"RATE_LIMIT_BURST": "0"}, "RATE_LIMIT_BURST is"},
		{map[string]string{"MAX_BODY_BYTES": "10"}, "MAX_BODY_BYTES is"},
		{map[string]string{"MEMORY_LIMIT_BYTES": "128MiB"}, `MEMORY_LIMIT_BYTES is "128MiB"`},
		{map[string]string{"REQUEST_MEMORY_BYTES": "0"}, `REQUEST_MEMORY_BYTES is "0"`},
		{
			map[string]string{"REQUEST_MEMORY_BYTES": "200000000"},
			"REQUEST_MEMORY_BYTES must not be more than MEMORY_LIMIT_BYTES",
		},
		{
			map[string]string{"REQUEST_MEMORY_PER_USER_BYTES": "60000000"},
			"REQUEST_MEMORY_PER_USER_BYTES must not be more than",
		},
		{map[string]string{"SHUTDOWN_TIMEOUT_SECONDS": "0"}, "SHUTDOWN_TIMEOUT_SECONDS is"},
		{map[string]string{"LOG_LEVEL": "loud"}, `LOG_LEVEL is "loud"`},
		{map[string]string{"HTTP_ADDR": "8081"}, `HTTP_ADDR is "8081"`},
		{map[string]string{"HTTP_ADDR": ":99999"}, `HTTP_ADDR is ":99999"`},
		{map[string]string{"HTTP_ADDR": "off"}, `HTTP_ADDR is "off"`},
		{map[string]string{"METRICS_ADDR": "nowhere"}, `METRICS_ADDR is "nowhere"`},
		{map[string]string{"DATABASE_URL": "mysql://x"}, "DATABASE_URL must begin with"},
		{map[string]string{"DATABASE_URL": "sqlite://"}, "DATABASE_URL must begin with"},
		{map[string]string{"DATABASE_URL": "postgres://u:p%zz@h/d"}, "DATABASE_URL is not a valid"},
		{
			map[string]string{"DATABASE_URL": "postgres://u:p@h/d?sslmode=bogus"},
			"DATABASE_URL is not a valid",
		},
		{map[string]string{"JWT_JWKS_URL": "keys"}, "JWT_JWKS_URL must be an https://"},
		{
			map[string]string{
				"JWT_JWKS_URL": "http://idp.example/keys", "JWT_ISSUER": "i", "JWT_AUDIENCE": "a",
			},
			"JWT_JWKS_URL must be https://",
		},
		{
			map[string]string{"JWT_JWKS_URL": "https://idp.example/keys", "JWT_AUDIENCE": "a"},
			"JWT_ISSUER must be set",
		},
		{
			map[string]string{"JWT_JWKS_URL": "https://idp.example/keys", "JWT_ISSUER": "i"},
			"JWT_AUDIENCE must be set",
		},
	} {
		vars := map[string]string{"JWT_HS256_SECRET": good}
		for k, v := range c.vars {
			vars[k] = v
		}
		_, err := load(vars)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%v: got %v, want %s…", c.vars, err, c.want)
		} else if strings.Contains(err.Error(), good) {
			t.Errorf("%v: the message shows a secret", c.vars)
		}
	}
}

func TestDevTakesWeakSecrets(t *testing.T) {
	c, err := load(
		map[string]string{"ENV": "dev", "JWT_HS256_SECRET": "x", "TENANT_HEADER_SECRET": "y"},
	)
	if err != nil || !c.Dev {
		t.Errorf("got %v, %v", c.Dev, err)
	}
	for _, env := range []string{"development", "DEV", "staging", ""} {
		if _, err := load(map[string]string{"ENV": env, "JWT_HS256_SECRET": "x"}); err == nil {
			t.Errorf("ENV=%q is not production", env)
		}
	}
}

func TestSecretsAreNeverPrinted(t *testing.T) {
	c, err := load(map[string]string{
		"JWT_HS256_SECRET":              good,
		"TENANT_HEADER_SECRET":          other,
		"TENANT_HEADER_SECRET_PREVIOUS": before,
		"DATABASE_URL":                  "postgres://u:hunter2@h/d",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		text := fmt.Sprintf(format, c)
		for _, secret := range []string{
			good, other, before, "hunter2", fmt.Sprintf("%x", "hunter2"),
		} {
			if strings.Contains(text, secret) {
				t.Errorf("%s shows %s: %s", format, secret, text)
			}
		}
	}
}
