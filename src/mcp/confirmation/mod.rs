//! Asks the person behind a client before a call destroys much.
//!
//! [`question`] words the question. A client of 2026-07-28 gets it as the result of the call, with
//! a [`state`] that it sends back with the answer; [`used`] keeps an answer from counting twice. A
//! legacy client is sent a request while the call waits ([`request`]). Clients that cannot be asked
//! are served without a question, unless the setting says otherwise.

mod question;
mod request;
mod state;
mod used;

use std::collections::BTreeMap;
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{
    ClientCapabilities, ElicitRequest, ElicitRequestParams, ElicitationSchema, InputRequest,
    InputRequiredResult, InputResponses, RequestMetaObject,
};
use rmcp::service::Peer;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use self::request::OpenQuestions;
use self::state::{Binding, Sealed, States};
use self::used::UsedNonces;
use super::call::CallRequest;
use super::call_record::Waiting;
use super::caller::Caller;
use super::tool_access::ToolRegistry;
use crate::api::Session;
use crate::foundation::clock::Clock;
use crate::foundation::json::Json;
use crate::foundation::secret::Secret;
use crate::telemetry::metrics;
use crate::tools::{Confirmed, Destruction, Outcome, ToolError};

/// How long a question is open.
pub const LIFETIME: Duration = Duration::from_secs(10 * 60);

/// The most items that a batch deletes without a question.
const BULK: usize = 5;

/// The name of the question among those of a result.
const QUESTION: &str = "confirm";

/// When a person is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confirm {
    #[default]
    Off,
    /// Before a batch that deletes more than [`BULK`] items.
    Bulk,
    /// Before every delete, and every restore over a newer version.
    Destructive,
    /// Like `Destructive`; clients that cannot be asked are refused.
    Always,
}

impl Confirm {
    fn asks(self, destruction: &Destruction) -> bool {
        match self {
            Self::Off => false,
            Self::Bulk => destruction.deletes() > BULK,
            Self::Destructive | Self::Always => !destruction.acts.is_empty(),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Settings {
    pub confirm: Confirm,
    /// The secret that the processes of this tenant share. Without it, a state is good for this
    /// process only.
    pub secret: Option<Secret>,
    /// The issuer of the tokens, if there is one that is checked.
    pub issuer: String,
    pub clock: Clock,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            confirm: Confirm::default(),
            secret: None,
            issuer: String::new(),
            clock: Clock::system(),
        }
    }
}

/// How the person behind a client can be asked.
#[derive(Clone, Copy)]
pub enum Asking<'a> {
    Not,
    /// With the result of the call.
    ByResult,
    /// With a request to the client.
    ByRequest(&'a Peer<RoleServer>),
}

/// What a client sent back to a question that was a result.
#[derive(Clone, Copy)]
pub struct Answer<'a> {
    pub state: &'a str,
    pub responses: Option<&'a InputResponses>,
}

/// What is needed beside a call to decide about it.
pub struct DecisionContext<'a> {
    pub tools: &'a ToolRegistry,
    pub caller: &'a Caller,
    /// Begins an API session, with which the items are read.
    pub connect: &'a (dyn Fn() -> Session + Sync),
    /// Called before the call waits for a person.
    pub waiting: &'a (dyn Fn() -> Waiting + Sync),
}

/// Whether a call may go on.
pub enum Decision {
    Permitted(Option<Confirmed>),
    Refused(Outcome),
    Asked(Box<InputRequiredResult>),
}

/// Why an answer does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerError {
    /// The state is not one of this server, or belongs to another call or caller.
    Foreign,
    Expired,
    Used,
    /// The answer is not one to the question.
    Malformed,
}

pub struct Confirmations {
    confirm: Confirm,
    clock: Clock,
    states: States,
    used: UsedNonces,
    open: OpenQuestions,
}

impl Confirmations {
    pub fn new(settings: &Settings, tenant: &str) -> Self {
        Self {
            confirm: settings.confirm,
            clock: settings.clock.clone(),
            states: States::new(settings.secret.as_ref(), tenant, &settings.issuer),
            used: UsedNonces::default(),
            open: OpenQuestions::default(),
        }
    }

    /// Ends all questions that calls wait for, and asks no more of them.
    pub fn stop(&self) {
        self.open.stop();
    }

    /// What a person has to be asked about before the call. `None` if the client cannot be asked,
    /// unless it is refused then.
    pub fn needed(
        &self,
        tools: &ToolRegistry,
        name: &str,
        arguments: Json<'_>,
        asking: Asking<'_>,
    ) -> Option<Destruction> {
        match self.confirm {
            Confirm::Off => return None,
            Confirm::Bulk | Confirm::Destructive if !asking.is_possible() => return None,
            _ => {}
        }
        let destruction = tools.destruction(name, arguments);
        destruction.filter(|destruction| self.confirm.asks(destruction))
    }

    /// Decides about a call that has an answer, or needs a question.
    pub async fn decide(
        &self,
        request: &CallRequest<'_>,
        needed: Option<Destruction>,
        context: DecisionContext<'_>,
    ) -> Decision {
        let DecisionContext { tools, caller, .. } = context;
        let refused = |error| Decision::Refused(Outcome::failure(&error, &caller.correlation_id));
        let binding = || Binding {
            subject: &caller.principal.subject,
            tool: request.name,
            arguments: request.arguments.json(),
        };
        if let Some(answer) = &request.answer {
            match self.redeem(answer, &binding()) {
                Ok(Some(Consent::Given(confirmed))) => return Decision::Permitted(Some(confirmed)),
                Ok(Some(Consent::Refused)) => {
                    return refused(ToolError::not_confirmed(request.name));
                }
                // The client sent the state without an answer.
                Ok(None) => {}
                Err(why) => return refused(ToolError::confirmation_invalid(why.words())),
            }
        }
        let Some(destruction) = needed else {
            return Decision::Permitted(None);
        };
        if !request.asking.is_possible() {
            return refused(ToolError::confirmation_unavailable(request.name));
        }
        // The session ends with this statement: none is open while a person thinks.
        let seen = match destruction.look(request.name, &(context.connect)()).await {
            Ok(seen) => seen,
            Err(error) => return refused(error),
        };
        if destruction.is_harmless(&seen) {
            return Decision::Permitted(None);
        }
        let readable = |entity: &_| tools.may_read(entity, &caller.principal.scopes);
        let text = question::text(&destruction, &seen, readable, tools.features());
        let confirmed = Confirmed {
            key: Uuid::new_v4(),
            version: destruction.version(&seen),
        };
        let Asking::ByRequest(peer) = request.asking else {
            return Decision::Asked(Box::new(self.ask(text, confirmed, &binding())));
        };
        let Some(open) = self.open.begin(&caller.principal.subject) else {
            metrics::limit_reached("questions");
            return refused(ToolError::too_many_questions());
        };
        let _waiting = (context.waiting)();
        match open.ask(peer, elicitation(text), LIFETIME).await {
            Some(true) => Decision::Permitted(Some(confirmed)),
            Some(false) => refused(ToolError::not_confirmed(request.name)),
            None => refused(ToolError::not_answered(request.name)),
        }
    }

    /// The question as a result.
    fn ask(
        &self,
        text: String,
        confirmed: Confirmed,
        binding: &Binding<'_>,
    ) -> InputRequiredResult {
        let expires = self.clock.now_secs() + LIFETIME.as_secs();
        let state = self.states.seal(&Sealed { confirmed, expires }, binding);
        let question = InputRequest::Elicitation(elicitation(text));
        let questions = BTreeMap::from([(QUESTION.to_owned(), question)]);
        InputRequiredResult::new(Some(questions), Some(state))
    }

    /// What an answer permits. `None` if there is a state without an answer.
    fn redeem(
        &self,
        answer: &Answer<'_>,
        binding: &Binding<'_>,
    ) -> Result<Option<Consent>, AnswerError> {
        let sealed = self.states.open(answer.state, binding);
        let Sealed { confirmed, expires } = sealed.ok_or(AnswerError::Foreign)?;
        if self.clock.now_secs() >= expires {
            return Err(AnswerError::Expired);
        }
        let response = answer.responses.and_then(|given| given.get(QUESTION));
        let Some(response) = response else {
            return Ok(None);
        };
        let consent = match response.get("action").and_then(Value::as_str) {
            Some("accept") => Consent::Given(confirmed),
            Some("decline" | "cancel") => Consent::Refused,
            _ => return Err(AnswerError::Malformed),
        };
        if self.used.is_first(confirmed.key) {
            Ok(Some(consent))
        } else {
            Err(AnswerError::Used)
        }
    }
}

enum Consent {
    Given(Confirmed),
    Refused,
}

impl AnswerError {
    fn words(self) -> &'static str {
        match self {
            Self::Foreign => "the answer belongs to another call, or its requestState was altered",
            Self::Expired => "the question has expired",
            Self::Used => "the question has been answered before",
            Self::Malformed => "the answer is none to the question",
        }
    }
}

impl<'a> Asking<'a> {
    /// How a client that speaks the modern revision can be asked.
    pub fn by_result(meta: &RequestMetaObject) -> Self {
        match meta.client_capabilities() {
            Some(capabilities) if shows_forms(&capabilities) => Self::ByResult,
            _ => Self::Not,
        }
    }

    /// How a legacy client can be asked, over its conversation.
    pub fn by_request(peer: &'a Peer<RoleServer>) -> Self {
        match peer.peer_info() {
            Some(client) if shows_forms(&client.capabilities) => Self::ByRequest(peer),
            _ => Self::Not,
        }
    }

    pub fn is_possible(self) -> bool {
        !matches!(self, Self::Not)
    }
}

/// Whether a client with these capabilities can show a form.
fn shows_forms(capabilities: &ClientCapabilities) -> bool {
    let elicitation = capabilities.elicitation.as_ref();
    // A client that names no mode shows forms, since there was no other.
    elicitation.is_some_and(|modes| modes.form.is_some() || modes.url.is_none())
}

/// A form without fields, which a person accepts or declines.
fn elicitation(message: String) -> ElicitRequest {
    ElicitRequest::new(ElicitRequestParams::FormElicitationParams {
        meta: None,
        message,
        requested_schema: ElicitationSchema::new(BTreeMap::new()),
    })
}

#[cfg(test)]
mod tests;
