//! Metrics of the server, in the text format of Prometheus.
//!
//! Metrics are global to the process, like the log: [`start`] creates them, and without it, as on
//! the command line and over stdio, an observation only checks an empty cell. Names are in
//! [`names`]; label values come from fixed lists. Hot series are resolved in advance
//! ([`label_set`], [`tools`]), so that counting is one atomic addition without a lock or an
//! allocation. Requests to the API are the exception, with one map lookup.

mod label_set;
pub mod names;
mod process;
mod tools;

#[cfg(test)]
mod tests;

use std::sync::OnceLock;
use std::time::Duration;

use prometheus::{
    Encoder, Error, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry,
    TextEncoder,
};

use label_set::{
    LabelSet, counter, counters, gauge, gauges, histograms, labelled_counters, labelled_histograms,
};
use process::Process;
use tools::Tools;

static METRICS: OnceLock<Metrics> = OnceLock::new();

#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    invocations: IntCounterVec,
    durations: HistogramVec,
    tools: OnceLock<Tools>,
    stages: LabelSet<Histogram>,
    errors: LabelSet<IntCounter>,
    batch_operations: LabelSet<IntCounter>,
    calls_in_flight: IntGauge,
    calls_waiting: IntGauge,
    api_requests: IntCounterVec,
    api_durations: HistogramVec,
    retries: LabelSet<IntCounter>,
    breaker: LabelSet<IntGauge>,
    breaker_changes: LabelSet<IntCounter>,
    limit_refusals: LabelSet<IntCounter>,
    sessions_opened: IntCounter,
    sessions_ended: IntCounter,
    sessions_abandoned: IntCounter,
    sessions_open: IntGauge,
    auth_failures: LabelSet<IntCounter>,
    scope_refusals: LabelSet<IntCounter>,
    key_refreshes: LabelSet<IntCounter>,
    token_exchanges: LabelSet<IntCounter>,
    /// By transport and status class.
    requests: Vec<(&'static str, LabelSet<IntCounter>)>,
    connections_open: IntGauge,
    streams_open: IntGauge,
    audit_lines: LabelSet<IntCounter>,
    audit_stuck: IntGauge,
    task_panics: LabelSet<IntCounter>,
    readiness: LabelSet<IntGauge>,
    process: Process,
}

/// Creates the metrics of this process. A second call returns the same ones.
pub fn start(version: &str, revision: &str) -> Result<&'static Metrics, Error> {
    if METRICS.get().is_none() {
        // Losing a race is fine: the metrics of the winner are used.
        let _ = METRICS.set(Metrics::new(version, revision)?);
    }
    METRICS.get().ok_or(Error::AlreadyReg)
}

/// Counts in a gauge until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct GaugeGuard(Option<IntGauge>);

impl GaugeGuard {
    fn on(gauge: impl FnOnce(&Metrics) -> &IntGauge) -> Self {
        let gauge = METRICS.get().map(|metrics| gauge(metrics).clone());
        if let Some(gauge) = &gauge {
            gauge.inc();
        }
        Self(gauge)
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        if let Some(gauge) = &self.0 {
            gauge.dec();
        }
    }
}

fn observe(what: impl FnOnce(&Metrics)) {
    if let Some(metrics) = METRICS.get() {
        what(metrics);
    }
}

/// Registers the tools, so that the series of each are resolved in advance.
pub fn register_tools<'a>(names: impl IntoIterator<Item = &'a str>) {
    observe(|metrics| {
        let tools = Tools::new(&metrics.invocations, &metrics.durations, names);
        match tools {
            Ok(tools) => drop(metrics.tools.set(tools)),
            Err(error) => tracing::warn!(%error, "tool calls are not counted"),
        }
    });
}

pub fn call_in_flight() -> GaugeGuard {
    GaugeGuard::on(|metrics| &metrics.calls_in_flight)
}

pub fn call_waiting() -> GaugeGuard {
    GaugeGuard::on(|metrics| &metrics.calls_waiting)
}

pub fn connection_open() -> GaugeGuard {
    GaugeGuard::on(|metrics| &metrics.connections_open)
}

pub fn stream_open() -> GaugeGuard {
    GaugeGuard::on(|metrics| &metrics.streams_open)
}

/// Counts a finished tool call, and observes its duration unless it was rejected before it began.
pub fn tool_called(tool: &str, outcome: &str, took: Option<Duration>) {
    observe(|metrics| {
        if let Some(tools) = metrics.tools.get() {
            tools.called(tool, outcome, took);
        }
    });
}

pub fn stage_finished(stage: &str, time: Duration) {
    observe(|metrics| {
        if let Some(stage) = metrics.stages.get(stage) {
            stage.observe(time.as_secs_f64());
        }
    });
}

/// Counts the operations of a batch.
pub fn operations_ended(outcome: &str, count: usize) {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    observe(|metrics| metrics.batch_operations.count_many(outcome, count));
}

pub fn tool_failed(category: &str) {
    observe(|metrics| metrics.errors.count(category));
}

/// Counts a request to the API. `route` is a template; `status` is a number or one of a fixed set
/// of words.
pub fn api_request_finished(route: &str, method: &str, status: &str, took: Duration) {
    observe(|metrics| {
        if let Ok(requests) = metrics
            .api_requests
            .get_metric_with_label_values(&[route, method, status])
        {
            requests.inc();
        }
        if let Ok(durations) = metrics
            .api_durations
            .get_metric_with_label_values(&[route, method])
        {
            durations.observe(took.as_secs_f64());
        }
    });
}

/// Counts a retry of a request to the API.
pub fn request_retried(reason: &str) {
    observe(|metrics| metrics.retries.count(reason));
}

pub fn breaker_changed(state: &str) {
    observe(|metrics| {
        metrics.breaker.set_only(state);
        metrics.breaker_changes.count(state);
    });
}

/// Counts a rejection by a limit.
pub fn limit_reached(limit: &str) {
    observe(|metrics| metrics.limit_refusals.count(limit));
}

pub fn session_opened() {
    observe(|metrics| {
        metrics.sessions_opened.inc();
        metrics.sessions_open.inc();
    });
}

/// Counts the end of a session. `ended` is false if it was left to expire.
pub fn session_closed(ended: bool) {
    observe(|metrics| {
        metrics.sessions_open.dec();
        if ended {
            metrics.sessions_ended.inc();
        } else {
            metrics.sessions_abandoned.inc();
        }
    });
}

pub fn auth_failed(reason: &str) {
    observe(|metrics| metrics.auth_failures.count(reason));
}

pub fn access_refused(reason: &str) {
    observe(|metrics| metrics.scope_refusals.count(reason));
}

pub fn keys_refreshed(ok: bool) {
    observe(|metrics| {
        metrics
            .key_refreshes
            .count(if ok { "ok" } else { "failed" })
    });
}

pub fn token_exchanged(outcome: &str) {
    observe(|metrics| metrics.token_exchanges.count(outcome));
}

pub fn audit_written(lines: u64) {
    observe(|metrics| metrics.audit_lines.count_many("written", lines));
}

pub fn audit_lost(lines: u64) {
    observe(|metrics| metrics.audit_lines.count_many("lost", lines));
}

/// Whether lines of the audit trail are waiting because they cannot be written.
pub fn audit_stuck(stuck: bool) {
    observe(|metrics| metrics.audit_stuck.set(i64::from(stuck)));
}

pub fn task_panicked(task: &str) {
    observe(|metrics| metrics.task_panics.count(task));
}

/// Counts a response to an HTTP request.
pub fn answered(transport: &str, status: u16) {
    let class = match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        5 => "5xx",
        _ => names::OTHER,
    };
    observe(|metrics| {
        if let Some((_, classes)) = metrics
            .requests
            .iter()
            .find(|(known, _)| *known == transport)
        {
            classes.count(class);
        }
    });
}

/// The `transport` label of a path.
pub fn transport_of(path: &str) -> &'static str {
    match path {
        "/mcp" => "mcp",
        "/sse" => "sse",
        "/messages" => "messages",
        "/healthz" | "/readyz" => "probe",
        _ => names::OTHER,
    }
}

impl Metrics {
    fn new(version: &str, revision: &str) -> Result<Self, Error> {
        let registry = Registry::new();
        let by = &registry;
        gauges(by, &names::BUILD_INFO)?
            .get_metric_with_label_values(&[version, revision])?
            .set(1);
        let breaker = LabelSet::of(&gauges(by, &names::BREAKER_STATE)?, names::BREAKER_STATES)?;
        breaker.set_only("closed");
        let requests = counters(by, &names::REQUESTS)?;
        let requests = names::TRANSPORTS.iter().map(|transport| {
            let of_class = |class: &&'static str| {
                let child = requests.get_metric_with_label_values(&[*transport, *class])?;
                Ok((*class, child))
            };
            let classes: Result<Vec<_>, Error> =
                names::STATUS_CLASSES.iter().map(of_class).collect();
            Ok((*transport, LabelSet::from(classes?)))
        });
        Ok(Self {
            invocations: counters(by, &names::TOOL_INVOCATIONS)?,
            durations: histograms(by, &names::TOOL_DURATION)?,
            tools: OnceLock::new(),
            stages: labelled_histograms(by, &names::TOOL_STAGE, names::STAGES)?,
            errors: labelled_counters(by, &names::TOOL_ERRORS, names::CATEGORIES)?,
            batch_operations: labelled_counters(by, &names::BATCH_OPERATIONS, names::OUTCOMES)?,
            calls_in_flight: gauge(by, &names::CALLS_IN_FLIGHT)?,
            calls_waiting: gauge(by, &names::CALLS_WAITING)?,
            api_requests: counters(by, &names::API_REQUESTS)?,
            api_durations: histograms(by, &names::API_DURATION)?,
            retries: labelled_counters(by, &names::RETRIES, names::RETRY_REASONS)?,
            breaker,
            breaker_changes: labelled_counters(by, &names::BREAKER_CHANGES, names::BREAKER_STATES)?,
            limit_refusals: labelled_counters(by, &names::LIMIT_REFUSALS, names::LIMITS)?,
            sessions_opened: counter(by, &names::SESSIONS_OPENED)?,
            sessions_ended: counter(by, &names::SESSIONS_ENDED)?,
            sessions_abandoned: counter(by, &names::SESSIONS_ABANDONED)?,
            sessions_open: gauge(by, &names::SESSIONS_OPEN)?,
            auth_failures: labelled_counters(by, &names::AUTH_FAILURES, names::AUTH_REASONS)?,
            scope_refusals: labelled_counters(by, &names::SCOPE_REFUSALS, names::SCOPE_REASONS)?,
            key_refreshes: labelled_counters(by, &names::KEY_REFRESHES, names::KEY_OUTCOMES)?,
            token_exchanges: labelled_counters(
                by,
                &names::TOKEN_EXCHANGES,
                names::EXCHANGE_OUTCOMES,
            )?,
            requests: requests.collect::<Result<_, Error>>()?,
            connections_open: gauge(by, &names::CONNECTIONS_OPEN)?,
            streams_open: gauge(by, &names::STREAMS_OPEN)?,
            audit_lines: labelled_counters(by, &names::AUDIT_LINES, names::AUDIT_OUTCOMES)?,
            audit_stuck: gauge(by, &names::AUDIT_STUCK)?,
            task_panics: labelled_counters(by, &names::TASK_PANICS, names::TASKS)?,
            readiness: LabelSet::of(&gauges(by, &names::READINESS)?, names::STATES)?,
            process: Process::new(by)?,
            registry,
        })
    }

    /// Sets the readiness state, as `/readyz` reports it.
    pub fn state_is(&self, state: &str) {
        let state = if names::STATES.contains(&state) {
            state
        } else {
            names::OTHER
        };
        self.readiness.set_only(state);
    }

    /// Renders all metrics for a scrape.
    pub fn text(&self) -> Result<Vec<u8>, Error> {
        self.process.read();
        let mut text = Vec::with_capacity(64 * 1024);
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}
