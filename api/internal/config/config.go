// Package config reads the environment once and refuses what cannot work. A mistake is one sentence
// that names the variable and the fix; nothing half configured ever listens.
package config

import (
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/toolbridge/toolbridge-mcp/api/internal/telemetry"
	"github.com/toolbridge/toolbridge-mcp/api/internal/tenantsig"
)

// MinSecretBytes is the least length of a shared secret: the output size of the hash that it keys.
const MinSecretBytes = 32

// Secret is text that is never printed.
type Secret string

func (Secret) String() string       { return "[secret]" }
func (Secret) GoString() string     { return "[secret]" }
func (Secret) LogValue() slog.Value { return slog.StringValue("[secret]") }

// Config is the whole configuration, validated.
type Config struct {
	Dev         bool
	HTTPAddr    string
	MetricsAddr string // "" = none
	Database    Database
	JWT         JWT
	Tenant      Tenant
	RateLimit   RateLimit
	MaxBody     int64
	Memory      Memory
	Versions    Versions
	Shutdown    time.Duration
	LogLevel    slog.Level
	LogFormat   telemetry.Format
}

// Database is either a PostgreSQL address or the path of a SQLite file.
type Database struct {
	PostgresURL Secret // it may hold a password
	SQLitePath  string
}

// JWT says which tokens to accept.
type JWT struct {
	HS256Secret Secret
	JWKSURL     string
	Issuer      string
	Audience    string
	TenantClaim string
}

// Tenant says how the tenant of a request is verified.
type Tenant struct {
	HeaderSecret   Secret // "" = headers are not checked
	PreviousSecret Secret // also accepted, during a rotation
	MaxSkew        time.Duration
	NonceWindow    time.Duration // of version 2
	Demanded       Signature
	ID             string // the tenant of tokens that claim none, when headers are not checked
}

// Signature is the required version of the tenant signature.
type Signature string

const (
	AnySignature Signature = "any"
	SignatureV2  Signature = "v2"
)

// RateLimit is a token bucket per user. A rate of zero turns it off.
type RateLimit struct {
	PerMinute int
	Burst     int
}

// Memory bounds what the process and its requests take, in bytes.
type Memory struct {
	Limit     int64 // target of the garbage collector
	Requests  int64 // bodies and answers of all requests
	PerPerson int64 // the same for one user
}

// Versions says which versions of an item are kept beside the current one.
type Versions struct {
	PerItem int // 0 keeps none
	Age     time.Duration
}

// Load reads the variables through lookup, which is os.LookupEnv outside tests.
func Load(lookup func(string) (string, bool)) (Config, error) {
	e := &environment{lookup: lookup}
	dev := e.text("ENV", "production") == "dev"
	c := Config{
		Dev:         dev,
		HTTPAddr:    e.address("HTTP_ADDR", ":8081"),
		MetricsAddr: e.address("METRICS_ADDR", "127.0.0.1:9092", "off"),
		Database:    e.database("DATABASE_URL", "sqlite://data/toolbridge.db"),
		JWT: JWT{
			HS256Secret: e.secret("JWT_HS256_SECRET", dev),
			JWKSURL:     e.text("JWT_JWKS_URL", ""),
			Issuer:      e.text("JWT_ISSUER", ""),
			Audience:    e.text("JWT_AUDIENCE", ""),
			TenantClaim: e.text("TENANT_CLAIM", "tenant_id"),
		},
		Tenant: Tenant{
			HeaderSecret:   e.secret("TENANT_HEADER_SECRET", dev),
			PreviousSecret: e.secret("TENANT_HEADER_SECRET_PREVIOUS", dev),
			MaxSkew:        e.seconds("TENANT_HEADER_MAX_SKEW_SECONDS", 300, 1, 24*60*60),
			NonceWindow:    e.seconds("TENANT_NONCE_WINDOW_SECONDS", 60, 1, 300),
			Demanded: oneOf(
				e,
				"TENANT_SIGNATURE_DEMANDED",
				[]Signature{AnySignature, SignatureV2},
			),
			ID: e.text("TENANT_ID", ""),
		},
		RateLimit: RateLimit{
			PerMinute: e.number("RATE_LIMIT_PER_MINUTE", 600, 0, 1_000_000_000),
			Burst:     e.number("RATE_LIMIT_BURST", 120, 1, 1_000_000_000),
		},
		MaxBody: int64(e.number("MAX_BODY_BYTES", 1<<20, 1<<10, 64<<20)),
		Memory: Memory{
			Limit:     int64(e.number("MEMORY_LIMIT_BYTES", 128<<20, 32<<20, 1<<40)),
			Requests:  int64(e.number("REQUEST_MEMORY_BYTES", 48<<20, 8<<20, 1<<40)),
			PerPerson: int64(e.number("REQUEST_MEMORY_PER_USER_BYTES", 24<<20, 4<<20, 1<<40)),
		},
		Versions: Versions{
			PerItem: e.number("VERSIONS_PER_ITEM", 50, 0, 1000),
			Age:     time.Duration(e.number("VERSIONS_DAYS", 90, 1, 36500)) * 24 * time.Hour,
		},
		Shutdown:  e.seconds("SHUTDOWN_TIMEOUT_SECONDS", 20, 1, 600),
		LogLevel:  e.level("LOG_LEVEL", slog.LevelInfo),
		LogFormat: oneOf(e, "LOG_FORMAT", telemetry.Formats),
	}
	e.check(c)
	return c, e.mistake
}

// check validates combinations of variables.
func (e *environment) check(c Config) {
	if c.JWT.HS256Secret == "" && c.JWT.JWKSURL == "" {
		e.fail(
			"JWT_HS256_SECRET",
			"and JWT_JWKS_URL are both unset, so no token could be verified: set one of them",
		)
	}
	for _, tenant := range []struct {
		name   string
		secret Secret
	}{
		{"TENANT_HEADER_SECRET", c.Tenant.HeaderSecret},
		{"TENANT_HEADER_SECRET_PREVIOUS", c.Tenant.PreviousSecret},
	} {
		if c.JWT.HS256Secret != "" && c.JWT.HS256Secret == tenant.secret && !c.Dev {
			e.fail(
				tenant.name,
				"equals JWT_HS256_SECRET, which makes two proofs one: make a second secret "+
					"(openssl rand -hex 32)",
			)
		}
	}
	if c.JWT.JWKSURL != "" {
		u, err := url.Parse(c.JWT.JWKSURL)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			e.fail("JWT_JWKS_URL", "must be an https:// address")
		} else if u.Scheme == "http" && !c.Dev && !isLoopback(u.Hostname()) {
			e.fail(
				"JWT_JWKS_URL",
				"must be https:// in production: over http, an attacker could alter the keys "+
					"and forge tokens",
			)
		}
		if c.JWT.Issuer == "" && !c.Dev {
			e.fail(
				"JWT_ISSUER",
				"must be set together with JWT_JWKS_URL in production, else tokens for other "+
					"issuers' users pass",
			)
		}
		if c.JWT.Audience == "" && !c.Dev {
			e.fail(
				"JWT_AUDIENCE",
				"must be set together with JWT_JWKS_URL in production, else tokens meant for "+
					"other services pass",
			)
		}
	}
	if c.Memory.PerPerson > c.Memory.Requests {
		e.fail("REQUEST_MEMORY_PER_USER_BYTES", "must not be more than REQUEST_MEMORY_BYTES")
	}
	if c.Memory.Requests > c.Memory.Limit {
		e.fail("REQUEST_MEMORY_BYTES", "must not be more than MEMORY_LIMIT_BYTES")
	}
	if c.Tenant.HeaderSecret != "" && c.Tenant.ID != "" {
		e.fail(
			"TENANT_ID",
			"has no effect while TENANT_HEADER_SECRET is set, because the tenant comes from "+
				"the signed header: unset one of them",
		)
	}
	if len(c.Tenant.ID) > tenantsig.MaxTenantBytes {
		e.fail("TENANT_ID", fmt.Sprintf("must be at most %d bytes long", tenantsig.MaxTenantBytes))
	}
}

// placeholders are common secrets of documentation and examples. The MCP server refuses the same
// ones.
var placeholders = []string{
	"change-me",
	"change_me",
	"changeme",
	"replace-me",
	"replace_me",
	"replaceme",
	"placeholder",
	"your-secret",
	"your_secret",
	"yoursecret",
	"example",
	"dev-secret",
	"dev_secret",
	"devsecret",
	"insecure",
	"not-a-secret",
	"supersecret",
	"password",
	"tenant-secret",
}

// secret reads a secret without trimming it: trimming on one side only would make the secrets
// differ.
func (e *environment) secret(name string, dev bool) Secret {
	value, _ := e.lookup(name)
	if strings.TrimSpace(value) == "" {
		return ""
	}
	const fix = "make one with: openssl rand -hex 32"
	if strings.TrimSpace(value) != value {
		e.fail(name, "starts or ends with white space, which would be part of it: "+fix)
	}
	if !dev {
		e.checkStrength(name, value, fix)
	}
	return Secret(value)
}

func (e *environment) checkStrength(name, value, fix string) {
	if len(value) < MinSecretBytes {
		e.fail(
			name,
			fmt.Sprintf(
				"is %d bytes long, at least %d are needed in production: %s",
				len(value),
				MinSecretBytes,
				fix,
			),
		)
	}
	lower := strings.ToLower(value)
	for _, word := range placeholders {
		if strings.Contains(lower, word) {
			e.fail(name, fmt.Sprintf("looks like a placeholder (it contains %q): %s", word, fix))
		}
	}
	distinct := map[rune]bool{}
	for _, r := range lower {
		distinct[r] = true
	}
	if len(distinct) < 8 {
		e.fail(
			name,
			fmt.Sprintf(
				"is too regular to be a secret (%d different characters): %s",
				len(distinct),
				fix,
			),
		)
	}
}

// environment reads variables and keeps the first mistake. An empty variable counts as unset,
// because a template with a missing value produces one.
type environment struct {
	lookup  func(string) (string, bool)
	mistake error
}

func (e *environment) fail(name, problem string) {
	if e.mistake == nil {
		e.mistake = fmt.Errorf("%s %s", name, problem)
	}
}

func (e *environment) text(name, otherwise string) string {
	if value, ok := e.lookup(name); ok && strings.TrimSpace(value) != "" {
		return strings.TrimSpace(value)
	}
	return otherwise
}

func (e *environment) number(name string, otherwise, least, most int) int {
	text := e.text(name, strconv.Itoa(otherwise))
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		e.fail(
			name,
			fmt.Sprintf("is %q, but must be a whole number from %d to %d", text, least, most),
		)
		return otherwise
	}
	return n
}

func (e *environment) seconds(name string, otherwise, least, most int) time.Duration {
	return time.Duration(e.number(name, otherwise, least, most)) * time.Second
}

// address is host:port. off is a word that means none.
func (e *environment) address(name, otherwise string, off ...string) string {
	text := e.text(name, otherwise)
	if slices.Contains(off, text) {
		return ""
	}
	_, port, err := net.SplitHostPort(text)
	if _, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil {
		e.fail(
			name,
			fmt.Sprintf("is %q, but must be an address like 127.0.0.1:8081 or :8081", text),
		)
	}
	return text
}

func (e *environment) level(name string, otherwise slog.Level) slog.Level {
	text := e.text(name, otherwise.String())
	var level slog.Level
	if err := level.UnmarshalText([]byte(text)); err != nil {
		e.fail(name, fmt.Sprintf("is %q, but must be debug, info, warn or error", text))
	}
	return level
}

// oneOf is one of some words, the first unless another is named.
func oneOf[T ~string](e *environment, name string, words []T) T {
	word := T(e.text(name, string(words[0])))
	if !slices.Contains(words, word) {
		e.fail(name, fmt.Sprintf("is %q, but must be one of %v", word, words))
	}
	return word
}

func (e *environment) database(name, otherwise string) Database {
	text := e.text(name, otherwise)
	switch {
	case strings.HasPrefix(text, "postgres://"), strings.HasPrefix(text, "postgresql://"):
		// The driver's message would contain the password.
		if _, err := pgxpool.ParseConfig(text); err != nil {
			e.fail(
				name,
				"is not a valid postgres:// address: check its options, and percent-encode "+
					"special characters in the password",
			)
		}
		return Database{PostgresURL: Secret(text)}
	case strings.HasPrefix(text, "sqlite://") && len(text) > len("sqlite://"):
		return Database{SQLitePath: strings.TrimPrefix(text, "sqlite://")}
	}
	e.fail(name, "must begin with postgres:// or be sqlite://PATH (or sqlite://:memory:)")
	return Database{}
}

func isLoopback(host string) bool {
	return host == "localhost" || host == "127.0.0.1" || host == "::1"
}
