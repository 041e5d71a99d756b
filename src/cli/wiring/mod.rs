//! Connects the command line to the other modules of the crate: only this module of `cli` depends
//! on them.

mod connect;
mod doctor;
mod observability;
mod page;
mod rlimit;
mod server;
mod settings;
mod signals;
mod wait_for_api;

pub use self::connect::{connect, prepare};
pub use self::doctor::{from_inside, from_outside, target};
pub use self::server::{serve, stdio};
pub use self::signals::wait_or_signal;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::exit::{CliError, Exit};
use crate::api::{CallContext, Features};
use crate::config::Config;
use crate::entities;
use crate::foundation::json::Json;
use crate::foundation::memory_budget::Reservation;
use crate::foundation::secret::Secret;
use crate::mcp::{AccessError, ToolRegistry, UnknownToolError, out_of_scope, unauthenticated};
use crate::telemetry::traces::TraceContext;
use crate::tools::{self, Outcome, ToolCall};
use crate::workers::Workers;

/// How long a command waits, after its result, for its API session to end.
const SESSION_END_TIMEOUT: Duration = Duration::from_secs(2);

/// A tool as clients see it.
pub struct Entry {
    /// The toolset of the tool.
    pub toolset: &'static str,
    /// The kind of items that the tool is about: `note`. The toolset, if that is no kind of item.
    pub entity: &'static str,
    /// Whether clients see it only if they name its toolset.
    pub only_if_named: bool,
    /// The tool's entry in `tools/list`.
    pub listed: Value,
}

impl Entry {
    pub fn name(&self) -> &str {
        self.text("name")
    }

    pub fn text(&self, key: &str) -> &str {
        self.listed
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The schemas of its arguments.
    pub fn properties(&self) -> Option<&Map<String, Value>> {
        self.listed
            .pointer("/inputSchema/properties")
            .and_then(Value::as_object)
    }
}

/// The result of a tool call.
pub enum CallAnswer {
    /// JSON text, with numbers exactly as the API wrote them.
    Result(String),
    /// An error body: `{"error": {…}}`.
    Error(Value),
}

/// A module rejected settings that had been validated.
fn unfit(why: impl std::fmt::Display) -> CliError {
    CliError::because(
        Exit::Software,
        format!("this program cannot start ({why})."),
    )
}

pub fn entries() -> Result<Vec<Entry>, CliError> {
    let toolsets = tools::all(tools::Limits::UNLIMITED);
    let tools = toolsets
        .iter()
        .flat_map(|toolset| toolset.list(Features::ALL));
    tools
        .map(|listed| {
            Ok(Entry {
                toolset: listed.toolset,
                entity: entities::ALL
                    .iter()
                    .find(|entity| entity.plural == listed.toolset)
                    .map_or(listed.toolset, |entity| entity.key),
                only_if_named: listed.only_if_named,
                listed: serde_json::to_value(listed.tool).map_err(unfit)?,
            })
        })
        .collect()
}

/// Makes one call in-process, with the text of an object as its arguments, along the same path as a
/// call of an MCP client.
pub async fn call(
    config: &Config,
    token: Secret,
    name: &str,
    arguments: String,
) -> Result<CallAnswer, CliError> {
    let correlation_id: Arc<str> = Uuid::now_v7().to_string().into();
    let verifier = settings::verifier(config)?;
    let principal = match verifier.verify(token.expose()).await {
        Ok(principal) => principal,
        Err(refusal) => return Ok(CallAnswer::from(unauthenticated(refusal, &correlation_id))),
    };
    let api_client = settings::api_client(config, &Workers::none())?;
    let registry = ToolRegistry::new(
        &tools::all(config.tools.limits()),
        &settings::tool_filter(config),
        api_client.known_features().await,
    );
    match registry.admit(name, registry.named(), &principal.scopes) {
        Ok(()) => {}
        Err(AccessError::Scope(scope)) => {
            return Ok(CallAnswer::from(out_of_scope(
                name,
                &scope,
                &correlation_id,
            )));
        }
        Err(error) => {
            let sentence = format!(
                "there is no tool \"{name}\" to be called. {}",
                error.sentence()
            );
            return Err(CliError::because(Exit::Usage, sentence));
        }
    }

    let context = CallContext {
        correlation_id: Arc::clone(&correlation_id),
        traceparent: None,
        deadline: api_client.deadline(),
        cancel: CancellationToken::new(),
        trace_context: TraceContext::default(),
        spent: Arc::default(),
        memory: Reservation::uncounted(),
    };
    let cancel = context.cancel.clone();
    let session = api_client.call(principal.credential, context);
    let item = OnceLock::new();
    let call = ToolCall {
        name,
        arguments: Json::trusted(&arguments),
        features: registry.features(),
        api: &session,
        correlation_id: &correlation_id,
        item: &item,
        operations: &OnceLock::new(),
        // A person has typed the command.
        confirmed: None,
        progress: &|_| (),
    };
    let outcome = match registry.call(call) {
        Ok(work) => {
            tokio::select! {
                outcome = work => Ok(CallAnswer::from(outcome)),
                // An interrupted call still ends its API session.
                _ = tokio::signal::ctrl_c() => Err(CliError::because(Exit::Failed, "interrupted; \
                    what was sent may have been done.")),
            }
        }
        Err(UnknownToolError(instead)) => Err(CliError::because(Exit::Usage, instead)),
    };
    cancel.cancel();
    drop(session);
    api_client.drain(SESSION_END_TIMEOUT).await;
    outcome
}

impl From<Outcome> for CallAnswer {
    fn from(outcome: Outcome) -> Self {
        match outcome.failed {
            Some(_) => CallAnswer::Error(outcome.value()),
            None => CallAnswer::Result(outcome.text),
        }
    }
}
