//! Assembles the server: over HTTP, and over stdio.

use std::future::Future;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::signals::Signals;
use super::{observability, page, rlimit, settings, unfit, wait_for_api};
use crate::api::ApiClient;
use crate::cli::exit::{CliError, Exit};
use crate::cli::serve::listens_on;
use crate::config::Config;
use crate::foundation::secret::Secret;
use crate::mcp::{Callers, FixedCaller, Server};
use crate::server;
use crate::server::{App, Drain};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{audit, fields, tasks, traces};
use crate::tools;
use crate::workers::Workers;

/// Timeout for the last lines of the audit trail, which are written in one piece or not at all.
const TRAIL_TIMEOUT: Duration = Duration::from_secs(2);

pub async fn serve(config: &Config) -> Result<(), CliError> {
    let signals = Signals::caught().map_err(unfit)?;
    observability::log_level_by_signal().map_err(unfit)?;
    let metrics = observability::metrics(config)?;
    observability::traces()?;
    observability::audit(config, Box::new(io::stdout()))?;
    let served = serve_callers(config, signals, metrics).await;
    audit::finish(TRAIL_TIMEOUT).await;
    served
}

async fn serve_callers(
    config: &Config,
    signals: Signals,
    metrics: Option<&'static Metrics>,
) -> Result<(), CliError> {
    rlimit::allow_all(config);
    let verifier = Arc::new(settings::verifier(config)?);
    let loops = Workers::start().map_err(unfit)?;
    let api_client = settings::api_client(config, &loops)?;
    let server = server(config, &api_client, Callers::Request);
    let page = config.server.page.then(|| page::page(config, &server));
    let mut app = App::new(
        config.server.clone(),
        Arc::clone(&verifier),
        settings::challenge(config, &server.every_tool()),
        api_client.clone(),
        server,
    );
    if let Some(page) = page {
        app = app.with_page(page);
    }

    let address = listens_on(config);
    let listener = TcpListener::bind(&address)
        .await
        .map_err(|why| cannot_listen(&address, &why))?;
    let bound = listener
        .local_addr()
        .map_err(|why| cannot_listen(&address, &why))?;
    tracing::info!({ fields::ADDRESS } = %bound, "listening on http://{bound}/mcp");
    observability::start_metrics_server(config, metrics, &app).await;
    // Neither the first caller nor the server's start waits for the keys.
    tasks::spawn("keys", async move { verifier.warm().await });

    let drain = Drain {
        notice: config.server.drain_notice,
        within: config.server.drain_timeout,
    };
    let signalled = OnceLock::new();
    // Giving up drains like a shutdown by signal, and the first signal cancels the wait for the
    // API.
    let mut gave_up = None;
    let drained = until_second_signal(signals, |first| {
        let leaving = async {
            tokio::select! {
                () = first => {}
                stop = wait_for_api::gave_up(&api_client, config) => {
                    tracing::warn!("{stop} Finishing what is in flight");
                    gave_up = Some(stop);
                }
            }
            let _ = signalled.set(Instant::now());
        };
        server::serve(listener, app, loops, leaving, drain)
    })
    .await?;
    tracing::info!(
        { fields::FINISHED } = drained.finished,
        { fields::SESSIONS_OPENED } = drained.sessions.opened,
        { fields::SESSIONS_ENDED } = drained.sessions.ended,
        { fields::SESSIONS_ABANDONED } = drained.sessions.abandoned,
        "drained{}",
        if drained.finished {
            ""
        } else {
            ", with calls cut off"
        }
    );
    let since = signalled.get().map(Instant::elapsed).unwrap_or_default();
    traces::finish(drain.within.saturating_sub(since)).await;
    gave_up.map_or(Ok(()), Err)
}

pub async fn stdio(config: &Config, token: Secret) -> Result<(), CliError> {
    let signals = Signals::caught().map_err(unfit)?;
    // Standard output carries the MCP messages.
    observability::audit(config, Box::new(io::stderr()))?;
    let served = serve_pipes(config, signals, token).await;
    audit::finish(TRAIL_TIMEOUT).await;
    served
}

async fn serve_pipes(config: &Config, signals: Signals, token: Secret) -> Result<(), CliError> {
    let verifier = Arc::new(settings::verifier(config)?);
    // Each call verifies the token again and reports a rejection to the model, so a bad token does
    // not prevent the start, but it is logged.
    if let Err(refusal) = verifier.verify(token.expose()).await {
        tracing::warn!(
            { fields::REASON } = refusal.reason(),
            "calls will be refused: {refusal}"
        );
    }
    let api_client = settings::api_client(config, &Workers::none())?;
    let caller = FixedCaller {
        token,
        verifier,
        new_correlation_id: server::new_correlation_id,
    };
    let server = server(config, &api_client, Callers::Fixed(caller));
    let pipes = (tokio::io::stdin(), tokio::io::stdout());
    let limits = (config.server.max_body_bytes, config.server.drain_timeout);
    let served = until_second_signal(signals, |first| {
        server::serve_stdio(server, api_client, pipes, limits.0, first, limits.1)
    });
    match served.await? {
        Ok(sessions) => {
            tracing::debug!(
                { fields::SESSIONS_OPENED } = sessions.opened,
                { fields::SESSIONS_ENDED } = sessions.ended,
                { fields::SESSIONS_ABANDONED } = sessions.abandoned,
                "the conversation has ended"
            );
            Ok(())
        }
        Err(why) => Err(CliError::because(
            Exit::Failed,
            format!("no MCP conversation came about ({why})."),
        )),
    }
}

fn server(config: &Config, api_client: &ApiClient, callers: Callers) -> Server {
    Server::new(
        tools::all(config.tools.limits()),
        api_client.clone(),
        callers,
        &settings::mcp(config),
    )
}

/// Runs `serve`, which receives the first signal, until it is done or a second signal arrives.
async fn until_second_signal<F, T>(
    mut signals: Signals,
    serve: impl FnOnce(First) -> F,
) -> Result<T, CliError>
where
    F: Future<Output = T>,
{
    let (tell, received) = oneshot::channel();
    let serving = serve(Box::pin(async move {
        if received.await.is_err() {
            // The signal task has ended, so no signal can arrive.
            std::future::pending::<()>().await;
        }
    }));
    let listening = async {
        let first = signals.next().await;
        tracing::info!("{first}: finishing what is in flight; a second signal leaves at once");
        let _ = tell.send(());
        signals.next().await
    };
    tokio::select! {
        served = serving => Ok(served),
        second = listening => {
            tracing::warn!("{second}: leaving at once");
            Err(CliError::Silent(Exit::Failed))
        }
    }
}

/// Resolves on the first signal.
type First = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

fn cannot_listen(address: &str, why: &std::io::Error) -> CliError {
    let fix = "stop what listens there, or set TOOLBRIDGE_HOST and TOOLBRIDGE_PORT";
    CliError::because(
        Exit::System,
        format!("cannot listen on {address} ({why}): {fix}."),
    )
}
