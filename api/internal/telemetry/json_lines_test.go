package telemetry

import (
	"bytes"
	"io"
	"log/slog"
	"math"
	"testing"
	"time"
)

// A line that is put together here is the library's, byte by byte.
func TestALineIsThatOfTheLibrary(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_900_000, time.FixedZone("", 3600))
	for name, fields := range map[string][]slog.Attr{
		"none": nil,
		"of a request": {
			slog.String(CorrelationID, "0192f0c8-7b1a-7cc0-8a1e-3f2b6f0d9a11"),
			slog.String(Method, "GET"), slog.String(Route, "/v1/notes/{uid}"),
			slog.Int(Status, 200), slog.Float64(DurationMS, 0.125), slog.Int(Bytes, -1),
			slog.String(Tenant, "acme"),
		},
		"a quote":  {slog.String(Tenant, "a\"b")},
		"a slash":  {slog.String(Tenant, "a\\b")},
		"controls": {slog.String(Tenant, "a\nb\x7f")},
		"letters":  {slog.String(Tenant, "é\u2028\xff<&>")},
		"a key":    {slog.String("a\"b", "c"), slog.String("", "d")},
		"numbers": {
			slog.Float64("a", 0), slog.Float64("b", 1e21), slog.Float64("c", 1e-7),
			slog.Float64("d", 1e20),
			slog.Float64("e", math.Copysign(0, -1)), slog.Float64("f", -1.5),
			slog.Float64("g", 123456.789),
			slog.Uint64("h", math.MaxUint64), slog.Int64("i", math.MinInt64),
		},
		"no number": {slog.Float64("a", math.Inf(1))},
		"others": {
			slog.Bool("a", true), slog.Duration("b", time.Second), slog.Any("c", []int{1}),
		},
		"a group": {slog.Group("g", slog.Int("a", 1))},
	} {
		for _, level := range []slog.Level{slog.LevelInfo, slog.LevelError, slog.LevelInfo + 1} {
			var want, got bytes.Buffer
			library := slog.NewJSONHandler(&want, &slog.HandlerOptions{Level: slog.LevelInfo})
			ours := NewLogger(&got, JSON, slog.LevelInfo)
			r := slog.NewRecord(at, level, "request", 0)
			r.AddAttrs(fields...)
			service := []slog.Attr{slog.String(ServiceName, Service)}
			if err := library.WithAttrs(service).Handle(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			if err := ours.Handler().Handle(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			if got.String() != want.String() {
				t.Errorf("%s: got  %swant %s", name, &got, &want)
			}
		}
	}
}

func BenchmarkRequestLine(b *testing.B) {
	log := NewLogger(io.Discard, JSON, slog.LevelInfo)
	b.ReportAllocs()
	for b.Loop() {
		log.LogAttrs(
			b.Context(),
			slog.LevelInfo,
			"request",
			slog.String(
				CorrelationID,
				"0192f0c8-7b1a-7cc0-8a1e-3f2b6f0d9a11",
			),
			slog.String(Method, "GET"),
			slog.String(
				Route,
				"/v1/notes/{uid}",
			),
			slog.Int(Status, 200),
			slog.Float64(DurationMS, 0.125),
			slog.Int(Bytes, 500),
			slog.String(Tenant, "acme"),
			slog.String(User, "ada"),
		)
	}
}
