// Command toolbridge-api serves the REST API that owns a tenant's data.
//
// It is configured by the environment alone (docs/API-CONTRACT.md lists the variables). Exit codes
// follow sysexits: 0 after a clean stop, 64 for a mistake in the configuration or the command line,
// 69 when the database cannot be reached, 1 for the rest.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/toolbridge/toolbridge-mcp/api/internal/config"
	"github.com/toolbridge/toolbridge-mcp/api/internal/telemetry"
)

const (
	exitUsage       = 64
	exitUnavailable = 69
)

const usage = `toolbridge-api: the REST API that owns a tenant's notes, tasks, comments, chats
and chat messages

Usage:
  toolbridge-api                serve (same as: toolbridge-api serve)
  toolbridge-api check          read the configuration, say what is wrong with it, and exit
  toolbridge-api check --index  compare each item with the search index; stop the API first;
                                exit 0 if all agree
  toolbridge-api healthcheck    ask the API on this machine whether it is ready; exit 0 if it is
  toolbridge-api version        print the version

It is configured by environment variables; at the least JWT_HS256_SECRET or JWT_JWKS_URL.
  HTTP_ADDR                       where to listen                        :8081
  METRICS_ADDR                    where to serve /metrics, or "off"      127.0.0.1:9092
  DATABASE_URL                    postgres://… or sqlite://PATH          sqlite://data/toolbridge.db
  JWT_HS256_SECRET                shared secret of tokens, 32 bytes or more
  JWT_JWKS_URL                    public keys of tokens (RS256, ES256, EdDSA)
  JWT_ISSUER, JWT_AUDIENCE        what a token's iss and aud must be
  TENANT_HEADER_SECRET            secret of the tenant signature; unset: not checked
  TENANT_HEADER_SECRET_PREVIOUS   also accepted, during a rotation
  TENANT_SIGNATURE_DEMANDED       any, or v2 to require version 2        any
  TENANT_HEADER_MAX_SKEW_SECONDS  how far clocks may differ, version 1   300
  TENANT_NONCE_WINDOW_SECONDS     the same, version 2                    60
  TENANT_CLAIM                    the token's claim that names a tenant  tenant_id
  TENANT_ID                       the tenant, without TENANT_HEADER_SECRET
  RATE_LIMIT_PER_MINUTE           requests per user, 0 = no limit        600
  RATE_LIMIT_BURST                how many at once                       120
  MAX_BODY_BYTES                  largest request body                   1048576
  MEMORY_LIMIT_BYTES              target of the garbage collector        134217728
  REQUEST_MEMORY_BYTES            bodies and answers of all requests     50331648
  REQUEST_MEMORY_PER_USER_BYTES   the same of one user                   25165824
  VERSIONS_PER_ITEM               earlier versions kept, 0 = none        50
  VERSIONS_DAYS                   days until a version is deleted        90
  SHUTDOWN_TIMEOUT_SECONDS        how long a stop may take               20
  ENV                             "dev" accepts weak secrets             production
  LOG_LEVEL                       debug, info, warn, error               info
  LOG_FORMAT                      json, pretty, or auto: pretty on a terminal
`

func main() {
	command := "serve"
	if len(os.Args) > 1 {
		command = os.Args[1]
	}
	checkIndexToo := command == "check" && len(os.Args) == 3 && os.Args[2] == "--index"
	if len(os.Args) > 2 && !checkIndexToo {
		fail(exitUsage, "one command at most; see toolbridge-api help")
	}
	switch command {
	case "serve", "check", "healthcheck":
		c, err := config.Load(os.LookupEnv)
		if err != nil {
			fail(exitUsage, "configuration: "+err.Error())
		}
		switch command {
		case "serve":
			os.Exit(serveUntilSignal(c))
		case "healthcheck":
			os.Exit(healthcheck(c))
		}
		if checkIndexToo {
			os.Exit(checkIndex(c))
		}
		fmt.Println("the configuration is valid")
	case "version", "--version":
		fmt.Println(telemetry.Service, version())
	case "help", "--help", "-h":
		fmt.Print(usage)
	default:
		fail(exitUsage, fmt.Sprintf("there is no command %q; see toolbridge-api help", command))
	}
}

func fail(code int, message string) {
	fmt.Fprintln(os.Stderr, "toolbridge-api: "+message)
	os.Exit(code)
}

// serveUntilSignal stops gracefully at the first SIGTERM, SIGINT or SIGHUP and at once at the
// second. SIGUSR1 changes the log level.
func serveUntilSignal(c config.Config) int {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt, syscall.SIGHUP)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var level slog.LevelVar
	level.Set(c.LogLevel)
	log := telemetry.NewLogger(os.Stdout, c.LogFormat, &level)
	more := make(chan os.Signal, 1)
	signal.Notify(more, syscall.SIGUSR1)
	go telemetry.ChangeLevel(ctx, &level, more, log)
	go func() {
		log.Info(
			"stopping",
			telemetry.Signal,
			(<-signals).String(),
			telemetry.Timeout,
			c.Shutdown.String(),
		)
		stop()
		log.Warn("stopping at once", telemetry.Signal, (<-signals).String())
		os.Exit(1)
	}()
	return serve(ctx, c, log)
}
