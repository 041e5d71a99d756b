package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/toolbridge/toolbridge-mcp/api/internal/telemetry"
)

// logRequest writes the log line of a request. Health checks are logged at debug, because they come
// every few seconds.
func (a *API) logRequest(
	ctx context.Context,
	c *call,
	route, method string,
	took time.Duration,
) {
	level := slog.LevelInfo
	switch {
	case c.answer.status >= http.StatusInternalServerError:
		level = slog.LevelError
	case route == "/healthz" || route == "/readyz":
		level = slog.LevelDebug
	}
	if !a.Log.Enabled(ctx, level) {
		return
	}
	fields := append(make([]slog.Attr, 0, 10),
		slog.String(telemetry.CorrelationID, c.correlationID),
		slog.String(telemetry.Method, method),
		slog.String(telemetry.Route, route),
		slog.Int(telemetry.Status, c.answer.status),
		slog.Float64(telemetry.DurationMS, float64(took.Microseconds())/1000),
		slog.Int(telemetry.Bytes, c.answer.bytes))
	if c.person.Subject != "" {
		fields = append(
			fields,
			slog.String(telemetry.Tenant, c.person.Tenant),
			slog.String(telemetry.User, c.person.Subject),
		)
	}
	if c.reason != "" {
		fields = append(fields, slog.String(telemetry.Reason, c.reason))
	}
	if c.cause != nil {
		fields = append(fields, slog.String(telemetry.Error, c.cause.Error()))
	}
	a.Log.LogAttrs(ctx, level, "request", fields...)
}
