package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Pool is the state of a connection pool.
type Pool struct {
	Name             string
	InUse, Idle, Max int
	Waits            int64 // how often none was free
	Waited           time.Duration
}

// pools reads the pools at each scrape, because they count themselves.
type pools struct{ database DatabaseFigures }

var (
	poolConnections = prometheus.NewDesc("toolbridge_api_database_connections",
		"Connections to the database.", []string{"pool", "state"}, nil)
	poolMax = prometheus.NewDesc("toolbridge_api_database_connections_max",
		"Limit on connections to the database.", []string{"pool"}, nil)
	poolWaits = prometheus.NewDesc("toolbridge_api_database_waits_total",
		"Number of waits because no connection was free.", []string{"pool"}, nil)
	poolWaited = prometheus.NewDesc("toolbridge_api_database_wait_seconds_total",
		"Time that requests waited for a connection.", []string{"pool"}, nil)
)

func (p pools) Describe(to chan<- *prometheus.Desc) {
	for _, about := range []*prometheus.Desc{poolConnections, poolMax, poolWaits, poolWaited} {
		to <- about
	}
}

func (p pools) Collect(to chan<- prometheus.Metric) {
	for _, pool := range p.database.Pools() {
		gauge, counter := prometheus.GaugeValue, prometheus.CounterValue
		to <- prometheus.MustNewConstMetric(
			poolConnections, gauge, float64(pool.InUse), pool.Name, "in_use",
		)
		to <- prometheus.MustNewConstMetric(
			poolConnections, gauge, float64(pool.Idle), pool.Name, "idle",
		)
		to <- prometheus.MustNewConstMetric(poolMax, gauge, float64(pool.Max), pool.Name)
		to <- prometheus.MustNewConstMetric(poolWaits, counter, float64(pool.Waits), pool.Name)
		to <- prometheus.MustNewConstMetric(poolWaited, counter, pool.Waited.Seconds(), pool.Name)
	}
}
