//! Starts the observability of a server besides its log: metrics, traces, the audit trail, and the
//! log level switch.

use std::io::{self, Write};
use std::sync::Arc;

use tokio::net::TcpListener;
use url::Url;

use super::unfit;
use crate::cli::exit::{CliError, Exit};
use crate::cli::version::BUILD;
use crate::config::Config;
use crate::foundation::platform;
use crate::mcp::Server;
use crate::server::{App, serve_metrics};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::settings::AuditTo;
use crate::telemetry::{audit, fields, level, metrics, tasks, traces};

/// Creates the metrics if they are enabled. Must precede everything that counts.
pub fn metrics(config: &Config) -> Result<Option<&'static Metrics>, CliError> {
    if matches!(config.metrics.address(), Ok(None)) {
        return Ok(None);
    }
    metrics::start(BUILD.version, BUILD.revision.unwrap_or("unknown"))
        .map(Some)
        .map_err(unfit)
}

/// Serves the metrics as long as the process lives. An unavailable address is logged and does not
/// stop the server: the missing metrics will show.
pub async fn start_metrics_server(
    config: &Config,
    metrics: Option<&'static Metrics>,
    app: &App<Server>,
) {
    let (Some(metrics), Ok(Some(address))) = (metrics, config.metrics.address()) else {
        return;
    };
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(
                { fields::ADDRESS } = %address,
                { fields::ERROR } = %error,
                "no metrics are served: cannot listen on {address}; set TOOLBRIDGE_METRICS_ADDR to \
                 a free address, or to off"
            );
            return;
        }
    };
    if let Ok(bound) = listener.local_addr() {
        tracing::info!({ fields::ADDRESS } = %bound, "metrics are served at \
            http://{bound}/metrics");
    }
    let (listener, readiness) = (Arc::new(listener), Arc::clone(&app.readiness));
    let public = config
        .server
        .public_url
        .as_ref()
        .and_then(Url::host_str)
        .map(str::to_owned);
    let hosts: Arc<[String]> = config
        .server
        .allowed_hosts
        .iter()
        .cloned()
        .chain(public)
        .collect();
    tasks::spawn_restarting("metrics", move || {
        serve_metrics(
            Arc::clone(&listener),
            metrics,
            Arc::clone(&readiness),
            Arc::clone(&hosts),
        )
    });
}

/// Starts tracing if the environment enables it.
pub fn traces() -> Result<(), CliError> {
    if !traces::wanted(|name| std::env::var(name).ok()) {
        return Ok(());
    }
    traces::start().map_err(|why| {
        let sentence =
            format!("tracing cannot start ({why}): fix the OTEL_* variables, or unset them.");
        CliError::because(Exit::Configuration, sentence)
    })?;
    tracing::info!("requests are traced, and spans exported as the OTEL_* variables say");
    Ok(())
}

/// Starts the audit trail if it is enabled. `log` is the stream that this process logs to.
pub fn audit(config: &Config, log: Box<dyn Write + Send>) -> Result<(), CliError> {
    let limits = audit::Limits {
        bytes: u64::try_from(config.audit.max_file_bytes).unwrap_or(u64::MAX),
        files: config.audit.max_files,
    };
    let to = match config.audit.destination() {
        Some(AuditTo::File(path)) => audit::Destination::File(path, limits),
        Some(AuditTo::Log) => audit::Destination::Stream(log),
        Some(AuditTo::Nowhere) | None => return Ok(()),
    };
    let identity = audit::Identity {
        tenant: config.tenant.id.as_deref().unwrap_or_default(),
        version: BUILD.version,
    };
    audit::start(to, identity, config.audit.durable).map_err(|why| match why {
        audit::StartError::File(why) => {
            CliError::because(Exit::Configuration, format!("audit.to: {why}."))
        }
        audit::StartError::Thread(_) => unfit(why),
    })
}

/// Handles SIGUSR1, which would end the process otherwise.
pub fn log_level_by_signal() -> io::Result<()> {
    let toggle = || {
        let _ = tasks::catch_panic_sync("log_level", level::toggle);
    };
    if let Some(toggling) = platform::on_user_signal(toggle)? {
        tasks::spawn("log_level", toggling);
    }
    Ok(())
}
