package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/toolbridge/toolbridge-mcp/api/internal/auth"
	"github.com/toolbridge/toolbridge-mcp/api/internal/budget"
	"github.com/toolbridge/toolbridge-mcp/api/internal/config"
	"github.com/toolbridge/toolbridge-mcp/api/internal/httpapi"
	"github.com/toolbridge/toolbridge-mcp/api/internal/ratelimit"
	"github.com/toolbridge/toolbridge-mcp/api/internal/store"
	"github.com/toolbridge/toolbridge-mcp/api/internal/telemetry"
	"github.com/toolbridge/toolbridge-mcp/api/internal/tenantsig"
)

const (
	databaseStartTimeout = 30 * time.Second
	sweepEvery           = time.Minute
	// Shorter than any client's timeout, so that a hanging database is reported as such and not as
	// a broken connection.
	storageDeadline = 15 * time.Second
	// How long a server that shuts down still accepts connections, while /readyz fails and each
	// response closes its connection: load balancers notice with a delay.
	notice = time.Second
	// After that, how long incomplete requests have to arrive.
	grace = time.Second
)

// serve runs the API until ctx ends and returns the exit code.
func serve(ctx context.Context, c config.Config, log *slog.Logger) int {
	stopTracing, err := telemetry.StartTracing(ctx, version())
	if err != nil {
		log.Error("tracing cannot start; check the OTEL_* variables", telemetry.Error, err.Error())
		return exitUsage
	}
	db, err := openStore(ctx, c.Database, log)
	if err != nil {
		log.Error("the database cannot be opened", telemetry.Error, err.Error())
		return exitUnavailable
	}
	defer db.Close()
	db.Retain(store.Retention{
		PerItem: c.Versions.PerItem, Age: c.Versions.Age, Bytes: store.DefaultRetention.Bytes,
	})
	metrics := telemetry.NewMetrics(version(), db)
	verifier, err := auth.New(ctx, c.JWT, time.Now, log, metrics.KeysFetched)
	if err != nil {
		log.Error("token verification cannot start", telemetry.Error, err.Error())
		return exitUsage
	}
	tuneMemory(c.Memory.Limit)
	memory := budget.New[store.Person](
		c.Memory.Requests,
		c.Memory.PerPerson,
		c.Memory.PerPerson/3,
		httpapi.MemoryWait,
	)
	metrics.WatchMemory(memory.Used)
	api := &httpapi.API{
		Store:      store.WithDeadline(db, storageDeadline),
		Verifier:   verifier,
		Limiter:    ratelimit.New[store.Person](c.RateLimit.PerMinute, c.RateLimit.Burst),
		Openings:   ratelimit.New[store.Person](c.RateLimit.PerMinute, c.RateLimit.Burst),
		Tenant:     c.Tenant,
		Signatures: signatures(c.Tenant),
		MaxBody:    c.MaxBody,
		Memory:     memory,
		Metrics:    metrics,
		Log:        log,
		Now:        time.Now,
		Version:    version(),
	}
	announce(c, log)

	failed := make(chan error, 2)
	var connections httpapi.Connections
	server, err := listen(c.HTTPAddr, "listening", api.Handler(), connections.Watch, failed, log)
	if err != nil {
		log.Error(
			"cannot listen: another program may hold the port; set HTTP_ADDR",
			telemetry.Error,
			err.Error(),
		)
		return 1
	}
	if c.MetricsAddr != "" {
		scrapes := http.NewServeMux()
		scrapes.Handle(
			"/metrics",
			promhttp.HandlerFor(api.Metrics.Registry, promhttp.HandlerOpts{}),
		)
		metricsServer, err := listen(
			c.MetricsAddr,
			"listening for metrics",
			scrapes,
			func(*http.Server) {},
			failed,
			log,
		)
		if err != nil {
			log.Error(
				"cannot listen for metrics: set METRICS_ADDR to a free port, or to off",
				telemetry.Error,
				err.Error(),
			)
			return 1
		}
		defer metricsServer.Close() // scrapes are not drained
	}
	go sweep(ctx, db, api.Metrics, log)
	go indexOlder(ctx, db, log)
	go tidyIndex(ctx, db, log)
	go sweepOld(ctx, "old versions", db.SweepVersions, log)
	go sweepOld(ctx, "old answers to batches", db.SweepRepeats, log)

	select {
	case err := <-failed:
		log.Error("the server stopped by itself", telemetry.Error, err.Error())
		return 1
	case <-ctx.Done():
	}
	return shutDown(api, server, &connections, stopTracing, c.Shutdown, log)
}

// gcPercent is how much may be allocated before memory is collected, relative to what lives. Little
// does: a few megabytes. Collecting at the default of 100 took a fifth of the processor time, and
// this one takes some three megabytes more.
const gcPercent = 200

// tuneMemory makes the garbage collector work less often, and harder as the limit comes near. GOGC
// and GOMEMLIMIT, which the runtime itself reads, take precedence.
func tuneMemory(limit int64) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit)
	}
}

// signatures is nil if they are not checked. A previous secret alone does not count: removing the
// current one turns the check off.
func signatures(c config.Tenant) *tenantsig.Verifier {
	if c.HeaderSecret == "" {
		return nil
	}
	keys := []tenantsig.Key{tenantsig.NewKey(string(c.HeaderSecret))}
	if c.PreviousSecret != "" {
		keys = append(keys, tenantsig.NewKey(string(c.PreviousSecret)))
	}
	return &tenantsig.Verifier{
		Keys:     keys,
		Skew:     c.MaxSkew,
		Window:   c.NonceWindow,
		DemandV2: c.Demanded == config.SignatureV2,
		Nonces:   tenantsig.NewNonces(time.Now()),
	}
}

func shutDown(
	api *httpapi.API,
	server *http.Server,
	connections *httpapi.Connections,
	stopTracing func(context.Context) error,
	timeout time.Duration,
	log *slog.Logger,
) int {
	api.Drain()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	time.Sleep(min(notice, timeout/4))
	connections.ExpireIncomplete(min(grace, timeout/4))
	err := server.Shutdown(ctx)
	if err != nil {
		log.Error(
			"requests were still running at the deadline and have been cut off",
			telemetry.Error,
			err.Error(),
		)
		_ = server.Close()
	}
	if err := stopTracing(ctx); err != nil {
		log.Warn("the last spans could not be exported", telemetry.Error, err.Error())
	}
	log.Info("stopped")
	if err != nil {
		return 1
	}
	return 0
}

func listen(
	addr, message string,
	handler http.Handler,
	prepare func(*http.Server),
	failed chan<- error,
	log *slog.Logger,
) (*http.Server, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	server := httpapi.NewServer(handler)
	prepare(server)
	server.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelWarn)
	log.Info(message, telemetry.Address, listener.Addr().String())
	go func() {
		err := server.Serve(httpapi.CheckFraming(listener))
		if !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	}()
	return server, nil
}

// announce logs the settings that an operator needs for a diagnosis.
func announce(c config.Config, log *slog.Logger) {
	database := "postgres"
	if c.Database.SQLitePath != "" {
		database = "sqlite " + c.Database.SQLitePath
	}
	log.Info(
		"starting",
		telemetry.Version,
		version(),
		telemetry.Database,
		database,
		telemetry.HS256,
		c.JWT.HS256Secret != "",
		telemetry.KeySet,
		c.JWT.JWKSURL != "",
		telemetry.TenantSignature,
		c.Tenant.HeaderSecret != "",
		telemetry.RateLimitPerMinute,
		c.RateLimit.PerMinute,
		telemetry.Dev,
		c.Dev,
	)
	if c.Dev {
		log.Warn("ENV=dev: weak secrets are accepted; never run this where others can reach it")
	}
	if c.Tenant.HeaderSecret == "" {
		log.Warn(
			"TENANT_HEADER_SECRET is unset: tenant headers are not checked, and a token alone " +
				"is sufficient",
		)
	} else if c.Tenant.PreviousSecret != "" {
		log.Info(
			"TENANT_HEADER_SECRET_PREVIOUS is accepted too: remove it when the rotation is done",
		)
	}
}

// openStore opens the database. It retries for a while, because the database may still be starting.
func openStore(ctx context.Context, c config.Database, log *slog.Logger) (store.Store, error) {
	if c.SQLitePath != "" {
		return store.OpenSQLite(ctx, c.SQLitePath, time.Now)
	}
	deadline := time.Now().Add(databaseStartTimeout)
	for {
		db, err := store.OpenPostgres(ctx, string(c.PostgresURL), time.Now)
		if err == nil || ctx.Err() != nil || time.Now().After(deadline) {
			return db, err
		}
		log.Warn("the database is not there yet; trying again", telemetry.Error, err.Error())
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("stopped while waiting: %w", err)
		case <-time.After(time.Second):
		}
	}
}

// sweep removes expired sessions in the background.
func sweep(ctx context.Context, db store.Store, metrics *telemetry.Metrics, log *slog.Logger) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		swept, err := db.SweepSessions(ctx)
		if err != nil {
			log.Warn(
				"expired sessions could not be swept; next try in a minute",
				telemetry.Error,
				err.Error(),
			)
			continue
		}
		metrics.SessionsEnded.WithLabelValues(telemetry.SessionExpired).Add(float64(swept))
		if swept > 0 {
			log.Info("sessions expired without being ended", telemetry.Count, swept)
		}
	}
}

const (
	tidyEvery = time.Second
	// tidyRest is the pause after a step, as a multiple of the step's duration.
	tidyRest = 4
)

// tidyIndex keeps searches fast after many writes, in small steps between the writes.
func tidyIndex(ctx context.Context, db store.Store, log *slog.Logger) {
	for {
		began := time.Now()
		more, err := db.TidyIndex(ctx)
		rest := tidyRest * time.Since(began)
		if err != nil || !more {
			rest = tidyEvery
		}
		if err != nil && ctx.Err() == nil {
			log.Warn("the search index could not be tidied; next try in a moment",
				telemetry.Error, err.Error())
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(rest):
		}
	}
}

// sweepOldEvery is how often is looked for what is too old, whose age is counted in days.
const sweepOldEvery = time.Hour

// sweepOld removes old rows in the background, some at a time. It rests as long as it works, so
// that writers come in between.
func sweepOld(
	ctx context.Context,
	what string,
	sweep func(context.Context) (int64, error),
	log *slog.Logger,
) {
	for {
		began := time.Now()
		removed, err := sweep(ctx)
		rest := time.Since(began)
		if err != nil || removed == 0 {
			rest = sweepOldEvery
		}
		if err != nil && ctx.Err() == nil {
			log.Warn(what+" could not be removed; next try in an hour",
				telemetry.Error, err.Error())
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(rest):
		}
	}
}

const (
	indexRetry = 5 * time.Second
	// indexRest is the pause after a batch, as a multiple of the batch's duration. The owner of the
	// items cannot write during a batch.
	indexRest = 1
)

// indexOlder indexes the items of earlier releases, and returns when that is done. It may be
// interrupted at any time: the next start continues.
func indexOlder(ctx context.Context, db store.Store, log *slog.Logger) {
	var at store.IndexCursor
	began := time.Now()
	for batches := 0; ; batches++ {
		start := time.Now()
		next, done, err := db.IndexSome(ctx, at)
		rest := indexRest * time.Since(start)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			log.Warn(
				"older items could not be indexed for searches; next try in a moment",
				telemetry.Error,
				err.Error(),
			)
			rest = indexRetry
		case done:
			if batches > 0 {
				log.Info(
					"all older items are indexed for searches",
					telemetry.DurationMS,
					time.Since(began).Milliseconds(),
				)
			}
			return
		}
		at = next
		select {
		case <-ctx.Done():
			return
		case <-time.After(rest):
		}
	}
}
