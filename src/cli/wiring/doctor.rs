//! Builds the examinations of `doctor` from the configuration or from a URL.

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use serde_json::{Map, Value};

use super::signals::Signals;
use super::{CallAnswer, settings, unfit};
use crate::api::ApiClient;
use crate::cli::doctor::DoctorOptions;
use crate::cli::exit::{CliError, Exit};
use crate::cli::healthcheck::local_url;
use crate::config::Config;
use crate::doctor::{
    CallError, CallResult, Examined, Http, Inside, Outside, Override, Target, Token, Tools,
};
use crate::foundation::clock::Clock;
use crate::foundation::json::Json;
use crate::foundation::secret::Secret;
use crate::workers::Workers;

pub fn target(url: &str) -> Result<Target, CliError> {
    Target::at(url).map_err(|why| {
        CliError::because(Exit::Usage, format!("this URL cannot be looked at: {why}."))
    })
}

pub async fn from_inside(
    config: Result<Config, String>,
    token: Token,
    options: DoctorOptions,
    report: impl FnMut(&Examined),
) -> Result<Vec<Examined>, CliError> {
    let mut signals = Signals::caught().map_err(unfit)?;
    let http = Http::new(&[]).map_err(unfit)?;
    let mut inside = Inside::new(config, token, http, Clock::system(), options.read_only);
    if let Ok(config) = &inside.config {
        inside.server = Some(local_url(config))
            .filter(|_| config.server.port != 0)
            .and_then(|url| url.parse().ok());
        inside.verifier = Some(settings::verifier(config)?);
        if config.tenant.has_identity() {
            inside.api_client = Some(settings::api_client(config, &Workers::none())?);
        }
        if let (Token::Some(token, _), Some(api_client)) = (&inside.token, &inside.api_client) {
            let mut config = config.clone();
            // The toolsets of callers are irrelevant to the examination; whether anything may be
            // written is not.
            config.tools.toolsets = None;
            inside.tools = Some(Box::new(InProcess {
                config,
                token: token.clone(),
                api_client: api_client.clone(),
            }));
        }
    }
    let stopped = signals.next().map(|_| ());
    crate::doctor::diagnose(inside, options.within, stopped, report)
        .await
        .ok_or_else(interrupted)
}

pub async fn from_outside(
    target: Target,
    token: Option<Secret>,
    overrides: Vec<Override>,
    options: DoctorOptions,
    report: impl FnMut(&Examined),
) -> Result<Vec<Examined>, CliError> {
    let mut signals = Signals::caught().map_err(unfit)?;
    let http = Http::new(&overrides).map_err(unfit)?;
    let outside = Outside::new(
        target,
        token,
        http,
        Clock::system(),
        overrides,
        options.read_only,
    );
    let stopped = signals.next().map(|_| ());
    crate::doctor::diagnose(outside, options.within, stopped, report)
        .await
        .ok_or_else(interrupted)
}

fn interrupted() -> CliError {
    CliError::because(
        Exit::Failed,
        "interrupted; what was made has been taken away, as far as that could be done.",
    )
}

/// Calls tools in-process, without a server in between.
struct InProcess {
    config: Config,
    token: Secret,
    api_client: ApiClient,
}

impl Tools for InProcess {
    fn call<'a>(
        &'a self,
        tool: &'a str,
        arguments: Map<String, Value>,
    ) -> LocalBoxFuture<'a, CallResult> {
        async move {
            match super::call(
                &self.config,
                self.token.clone(),
                tool,
                Value::Object(arguments).to_string(),
            )
            .await
            {
                Ok(CallAnswer::Result(text)) => {
                    Ok(Json::trusted(&text).to_value().unwrap_or_default())
                }
                Ok(CallAnswer::Error(body)) => Err(CallError::error(&body)),
                // The settings or the token exclude the tool.
                Err(stop) if stop.exit() == Exit::Usage => {
                    Err(CallError::LeftOut(stop.to_string()))
                }
                Err(stop) => Err(CallError::Lost(stop.to_string())),
            }
        }
        .boxed_local()
    }

    fn is_ready(&self) -> LocalBoxFuture<'_, bool> {
        self.api_client
            .ready()
            .map(|ready| ready.is_ok())
            .boxed_local()
    }
}
