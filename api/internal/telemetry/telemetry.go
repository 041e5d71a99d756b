// Package telemetry declares the names of log fields and metrics, each once, and sets up logs and
// traces.
//
// Never logged, at any level: payloads, tokens or parts of them, signatures, secrets, ids of
// sessions, database passwords, and query strings (a cursor is harmless, but a client may add
// anything). The contract suite searches for each of them.
package telemetry

import (
	"context"
	"log/slog"
	"os"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
)

// The fields of log lines. The MCP server uses the same names (src/telemetry/fields.rs).
const (
	Time    = slog.TimeKey
	Level   = slog.LevelKey
	Message = slog.MessageKey
	// ServiceName identifies the program.
	ServiceName = "service"

	CorrelationID = "correlation_id"
	Tenant        = "tenant"
	User          = "user"
	Method        = "method"
	Route         = "route" // the pattern, not the path
	Status        = "status"
	DurationMS    = "duration_ms"
	Bytes         = "bytes"
	Reason        = "reason" // why a request was refused; one of a fixed list
	Error         = "error"

	Version            = "version"
	Address            = "address"
	Database           = "database"
	HS256              = "hs256"
	KeySet             = "key_set"
	TenantSignature    = "tenant_signature"
	RateLimitPerMinute = "rate_limit_per_minute"
	Dev                = "dev"
	Signal             = "signal"
	Timeout            = "timeout"
	Count              = "count"
	Epoch              = "epoch"
	Stack              = "stack"
)

// Service is the program's name in logs, traces and /v1/sync/info.
const Service = "toolbridge-api"

// StartTracing continues traces of callers and exports them over OTLP if the standard OTEL_*
// variables enable it; otherwise nothing is recorded. The returned function flushes and stops.
func StartTracing(
	ctx context.Context,
	version string,
) (stop func(context.Context) error, err error) {
	otel.SetTextMapPropagator(
		propagation.NewCompositeTextMapPropagator(
			propagation.TraceContext{},
			propagation.Baggage{},
		),
	)
	if !tracingWanted() {
		return func(context.Context) error { return nil }, nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, err
	}
	about, err := resource.New(ctx, resource.WithFromEnv(), resource.WithTelemetrySDK(),
		resource.WithAttributes(serviceAttributes(version)...))
	if err != nil {
		return nil, err
	}
	provider := trace.NewTracerProvider(trace.WithBatcher(exporter), trace.WithResource(about))
	otel.SetTracerProvider(provider)
	tracing.Store(true)
	return provider.Shutdown, nil
}

var tracing atomic.Bool

// Tracing reports whether spans are recorded at all, so that nothing is made for them otherwise.
func Tracing() bool { return tracing.Load() }

func tracingWanted() bool {
	if os.Getenv("OTEL_SDK_DISABLED") == "true" || os.Getenv("OTEL_TRACES_EXPORTER") == "none" {
		return false
	}
	return os.Getenv("OTEL_TRACES_EXPORTER") == "otlp" ||
		os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" ||
		os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
}
