package telemetry

import (
	"context"
	"os"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel/attribute"
)

// Metrics are the API's metrics. Labels come from fixed lists: uids, users and tenants are never
// labels.
type Metrics struct {
	Registry       *prometheus.Registry
	Requests       *prometheus.CounterVec   // route, method, status
	Duration       *prometheus.HistogramVec // route, method
	InFlight       prometheus.Gauge
	AuthFailures   *prometheus.CounterVec // reason
	RateLimited    prometheus.Counter
	SessionsOpened prometheus.Counter
	SessionsEnded  *prometheus.CounterVec // how: ended, expired, wiped
	StorageErrors  prometheus.Counter
	MemoryRefusals *prometheus.CounterVec // limit: person, total
	KeyRefreshes   *prometheus.CounterVec // outcome: ok, failed
}

// KeysFetched counts a fetch of the key set that tokens are verified with.
func (m *Metrics) KeysFetched(ok bool) {
	outcome := keysFailed
	if ok {
		outcome = keysOK
	}
	m.KeyRefreshes.WithLabelValues(outcome).Inc()
}

const (
	keysOK     = "ok"
	keysFailed = "failed"
)

// How a session ended.
const (
	SessionEnded   = "ended"
	SessionExpired = "expired"
)

// The limit that refused a request for memory.
const (
	MemoryPerson = "person"
	MemoryTotal  = "total"
)

// DatabaseFigures are read at each scrape.
type DatabaseFigures interface {
	CountSessions(ctx context.Context) (int64, error)
	Pools() []Pool
}

// NewMetrics registers everything.
func NewMetrics(version string, database DatabaseFigures) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &Metrics{
		Registry: prometheus.NewRegistry(),
		Requests: counters(
			"toolbridge_api_requests_total",
			"Requests answered.",
			"route",
			"method",
			"status",
		),
		Duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "toolbridge_api_request_duration_seconds",
			Help: "Duration of requests, from the head to the end of the answer.",
			Buckets: []float64{
				.0005,
				.001,
				.0025,
				.005,
				.01,
				.025,
				.05,
				.1,
				.25,
				.5,
				1,
				2.5,
				5,
				10,
			},
		}, []string{"route", "method"}),
		InFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "toolbridge_api_requests_in_flight", Help: "Requests in progress."}),
		AuthFailures: counters(
			"toolbridge_api_auth_failures_total",
			"Requests refused with 401, or with 403 for their tenant.",
			"reason",
		),
		RateLimited:    counter("toolbridge_api_rate_limited_total", "Requests refused with 429."),
		SessionsOpened: counter("toolbridge_api_sessions_opened_total", "Sessions opened."),
		SessionsEnded: counters(
			"toolbridge_api_sessions_ended_total",
			"Sessions ended by their caller or by expiry; sessions ended by a wipe are not "+
				"counted.",
			"how",
		),
		StorageErrors: counter(
			"toolbridge_api_storage_errors_total",
			"Requests answered 503 because the database was unavailable.",
		),
		MemoryRefusals: counters("toolbridge_api_memory_refusals_total",
			"Requests refused because the memory for bodies and answers was in use.", "limit"),
		KeyRefreshes: counters(
			"toolbridge_api_key_refreshes_total",
			"Fetches of the key set that verifies tokens.",
			"outcome",
		),
	}
	open := prometheus.NewGaugeFunc(
		prometheus.GaugeOpts{
			Name: "toolbridge_api_sessions_open",
			Help: "Open sessions, including expired ones that are not yet removed; " +
				"-1 if unknown.",
		},
		func() float64 {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			n, err := database.CountSessions(ctx)
			if err != nil {
				return -1
			}
			return float64(n)
		},
	)
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "toolbridge_api_build_info", Help: "Always 1; the labels identify the build.",
		ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()}})
	info.Set(1)
	// Counters with known labels start at 0, so that a first failure is visible.
	for _, how := range []string{SessionEnded, SessionExpired} {
		m.SessionsEnded.WithLabelValues(how)
	}
	for _, limit := range []string{MemoryPerson, MemoryTotal} {
		m.MemoryRefusals.WithLabelValues(limit)
	}
	for _, outcome := range []string{keysOK, keysFailed} {
		m.KeyRefreshes.WithLabelValues(outcome)
	}
	m.Registry.MustRegister(
		m.Requests,
		m.Duration,
		m.InFlight,
		m.AuthFailures,
		m.RateLimited,
		m.SessionsOpened,
		m.SessionsEnded,
		m.StorageErrors,
		m.MemoryRefusals,
		m.KeyRefreshes,
		open,
		info,
		pools{database},
		collectors.NewGoCollector(),
	)
	// Both programs have these metrics. If one machine is scraped for both, only this label
	// distinguishes them.
	prometheus.WrapRegistererWith(prometheus.Labels{ServiceName: Service}, m.Registry).
		MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// WatchMemory adds the memory that requests hold.
func (m *Metrics) WatchMemory(used func() int64) {
	m.Registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "toolbridge_api_memory_reserved_bytes",
		Help: "Memory reserved for bodies and answers.",
	}, func() float64 { return float64(used()) }))
}

func serviceAttributes(version string) []attribute.KeyValue {
	name := os.Getenv("OTEL_SERVICE_NAME")
	if name == "" {
		name = Service
	}
	return []attribute.KeyValue{
		attribute.String("service.name", name),
		attribute.String("service.version", version),
	}
}
