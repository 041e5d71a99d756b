//! Builds the bridge from the command line.

use super::signals::Signals;
use super::unfit;
use crate::cli::connect::{ConnectRequest, Token};
use crate::cli::exit::{CliError, Exit};
use crate::connect::{self, Ended, Settings, TokenSource};

/// Rejects invalid arguments before anything is started.
pub fn prepare(request: ConnectRequest<'_>) -> Result<Settings, CliError> {
    let usage = |sentence: String| CliError::because(Exit::Usage, sentence);
    let url = connect::target(request.url, request.allow_http)
        .map_err(|why| usage(format!("this URL cannot be connected to: {why}.")))?;
    let token = match request.token {
        Token::File(path) => TokenSource::file(path),
        Token::Environment(token) => TokenSource::environment(token).map_err(no_permission)?,
    };
    token.current().map_err(no_permission)?;
    let mut settings = Settings::new(url, token);
    for (name, value) in request.headers {
        let (name, value) = connect::header(name, value).map_err(|why| usage(format!("{why}.")))?;
        settings.headers.append(name, value);
    }
    settings.retry_for = request.retry_for;
    settings.silence = request.timeout;
    Ok(settings)
}

pub async fn connect(settings: Settings) -> Result<(), CliError> {
    let mut signals = Signals::caught().map_err(unfit)?;
    let pipes = (tokio::io::stdin(), tokio::io::stdout());
    let stopped = async {
        let signal = signals.next().await;
        tracing::info!("{signal}: leaving");
    };
    match connect::run(settings, pipes, stopped)
        .await
        .map_err(unfit)?
    {
        Ended::Done | Ended::Stopped | Ended::Unread => Ok(()),
        Ended::CutShort => {
            tracing::warn!("some requests were not answered in time and are given up");
            Ok(())
        }
    }
}

fn no_permission(error: connect::ConnectError) -> CliError {
    CliError::because(Exit::NoPermission, error.to_string())
}
