//! The one pipeline of a `tools/call`, whichever way it came: access, rate, the call itself, its
//! record.
//!
//! rmcp's handler ([`serve`]) and the fast path only decode requests and encode outcomes. However a
//! call ends, by its result, by cancellation, by a panic or because its client has gone, its
//! session is dropped here, and thereby ended, and it has one record.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::request::Parts;
use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData,
    InputRequiredResult, ProgressNotificationParam, ProgressToken,
};
use rmcp::service::{Peer, RequestContext};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::arguments::Arguments;
use super::call_record::{CallEnding, CallRecord, FailureDetails, MessageContext, protocol};
use super::caller::Caller;
use super::confirmation::{Answer, Asking, Decision, DecisionContext};
use super::tool_access::{AccessError, ToolRegistry, UnknownToolError};
use super::{Inner, MAX_NAME_CHARS, is_modern, refusal};
use crate::api::CallContext;
use crate::telemetry::audit::Durable;
use crate::telemetry::metrics;
use crate::tools::{Outcome, Progress, ToolCall};

/// Steps of one call that may wait to be sent; more are left out rather than kept.
const MAX_QUEUED_STEPS: usize = 16;

/// What a client reads of a call that neither failed nor succeeded.
pub const CALL_INTERRUPTED: &str = "the call did not come to an end";

/// A call, decoded.
pub struct CallRequest<'a> {
    pub name: &'a str,
    pub arguments: Arguments,
    pub context: MessageContext<'a>,
    pub protocol: &'static str,
    pub cancel: CancellationToken,
    /// The client that follows the call's progress, if it asked to.
    pub listener: Option<(&'a Peer<RoleServer>, ProgressToken)>,
    pub asking: Asking<'a>,
    /// The answer to a question that an earlier call of the same was answered with.
    pub answer: Option<Answer<'a>>,
}

/// What a call came to.
pub enum CallOutcome {
    /// A result, or an error that the model reads.
    Done(Outcome),
    /// This caller has no such tool; the sentence says what to do instead.
    UnknownTool(String),
    /// A question, which the client answers by repeating the call.
    Asked(Box<InputRequiredResult>),
    /// It was cancelled or it panicked: there is no outcome.
    Interrupted,
}

/// Carries out a call. Dropped in the middle, it is recorded as cancelled.
pub(super) async fn execute(
    server: &Inner,
    caller: &Caller,
    request: CallRequest<'_>,
) -> CallOutcome {
    let CallRequest { name, cancel, .. } = &request;
    // A caller may choose any name, so it is truncated before it is logged.
    let shown = name.chars().take(MAX_NAME_CHARS).collect();
    let mut record = CallRecord::begin(shown, request.protocol);
    let tools = server.tools_for(name).await;
    record.set_caller(caller, &request.context, tools.has(name));
    record.set_writes(tools.writes(name));
    let mut pending = Pending {
        record: Some(record),
        caller,
        tenant: server.api_client.tenant(),
    };
    // Access comes first: a call that is out of reach is refused alike at any rate.
    match tools.admit(name, caller.requested_access, &caller.principal.scopes) {
        Ok(()) => {}
        Err(AccessError::Scope(scope)) => {
            let about = &caller.correlation_id;
            let outcome = refusal::out_of_scope(name, &scope, about);
            return pending.done(CallEnding::OutOfScope, outcome).await;
        }
        // Nothing is known of the API, so it cannot be said that the tool is not there.
        Err(AccessError::Api) if !server.api_client.has_known_features() => {
            let outcome = refusal::api_unreachable(name, &caller.correlation_id);
            return pending.done(CallEnding::Error, outcome).await;
        }
        Err(error) => {
            let sentence = error.sentence().to_owned();
            return pending.unknown(CallEnding::Narrowed, sentence).await;
        }
    }
    if let Some(outcome) = over_rate(server, caller) {
        return pending.done(CallEnding::Error, outcome).await;
    }
    let Some(record) = &pending.record else {
        return CallOutcome::Interrupted;
    };
    // A panic is caught here: rmcp would leave the client without an answer.
    let work = AssertUnwindSafe(run(server, &tools, &request, caller, record));
    let ended = tokio::select! {
        biased;
        () = cancel.cancelled() => Err(CallEnding::Cancelled),
        ended = work.catch_unwind() => ended.map_err(|_panic| CallEnding::Panicked),
    };
    match ended {
        Ok(Ok(RunOutcome::Done(outcome))) => pending.done(ending(&outcome), outcome).await,
        Ok(Ok(RunOutcome::Asked(question))) => {
            let durable = pending.ended(CallEnding::Asked, FailureDetails::default());
            durable.reached().await;
            CallOutcome::Asked(question)
        }
        Ok(Err(UnknownToolError(remedy))) => pending.unknown(CallEnding::UnknownTool, remedy).await,
        Err(ending) => {
            let durable = pending.ended(ending, FailureDetails::default());
            durable.reached().await;
            CallOutcome::Interrupted
        }
    }
}

/// The outcome of running a call.
enum RunOutcome {
    Done(Outcome),
    Asked(Box<InputRequiredResult>),
}

/// A call that has not ended. Its future is dropped when its client goes away.
struct Pending<'a> {
    record: Option<CallRecord>,
    caller: &'a Caller,
    tenant: &'a str,
}

impl Pending<'_> {
    async fn done(mut self, ending: CallEnding, outcome: Outcome) -> CallOutcome {
        self.ended(ending, why(&outcome)).reached().await;
        CallOutcome::Done(outcome)
    }

    async fn unknown(mut self, ending: CallEnding, sentence: String) -> CallOutcome {
        self.ended(ending, FailureDetails::default())
            .reached()
            .await;
        CallOutcome::UnknownTool(sentence)
    }

    /// The answer waits for the result: it is reached when the call's line in the audit trail is as
    /// durable as the settings ask.
    fn ended(&mut self, ending: CallEnding, why: FailureDetails<'_>) -> Durable {
        match self.record.take() {
            Some(record) => record.finish(self.caller, self.tenant, ending, why),
            None => Durable::now(),
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        // There is no answer that could wait for the line; it is written at once all the same.
        let _ = self.ended(CallEnding::Cancelled, FailureDetails::default());
    }
}

/// A call that came by rmcp.
pub(super) async fn serve(
    server: &Inner,
    request: CallToolRequestParams,
    context: RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let name: String = request.name.chars().take(MAX_NAME_CHARS).collect();
    let caller = match server.callers.identify(&context).await {
        Ok(caller) => caller,
        Err(unknown) => {
            let about = &unknown.correlation_id;
            let refused = refusal::unauthenticated(unknown.refusal, about);
            CallRecord::begin(name, protocol(&context)).finish_unauthenticated(&unknown);
            return Ok(result(refused).into());
        }
    };
    let state = request.request_state.as_deref();
    let token = context.meta.get_progress_token();
    let token = token.filter(|_| caller.accepts_progress);
    let call = CallRequest {
        name: &request.name,
        arguments: arguments(&request, &context),
        context: MessageContext::of(&context, caller.transport),
        protocol: protocol(&context),
        cancel: context.ct.clone(),
        listener: token.map(|token| (&context.peer, token)),
        asking: asking(&context),
        answer: state.map(|state| Answer {
            state,
            responses: request.input_responses.as_ref(),
        }),
    };
    match execute(server, &caller, call).await {
        CallOutcome::Done(outcome) => Ok(result(outcome).into()),
        CallOutcome::Asked(question) => Ok((*question).into()),
        CallOutcome::UnknownTool(sentence) => Err(unknown_tool(&name, &sentence)),
        CallOutcome::Interrupted => {
            let data = json!({ "correlation_id": &*caller.correlation_id });
            Err(ErrorData::internal_error(CALL_INTERRUPTED, Some(data)))
        }
    }
}

/// How the client of a request that came by rmcp can be asked.
fn asking(context: &RequestContext<RoleServer>) -> Asking<'_> {
    if is_modern(context) {
        Asking::by_result(&context.meta)
    } else {
        // Without a session, rmcp has a peer of its own here, which is able to do nothing.
        Asking::by_request(&context.peer)
    }
}

/// The arguments as they came: transports take them out of the message before rmcp reads it.
fn arguments(request: &CallToolRequestParams, context: &RequestContext<RoleServer>) -> Arguments {
    let extensions = &context.extensions;
    let beside = extensions.get::<Arguments>();
    let beside = beside.or_else(|| extensions.get::<Parts>()?.extensions.get());
    beside.cloned().unwrap_or_else(|| {
        let text = request.arguments.as_ref().map(serde_json::to_vec);
        Arguments::from_object(text.and_then(Result::ok).unwrap_or_default().into())
    })
}

/// The refusal of a caller over its rate limit.
fn over_rate(server: &Inner, caller: &Caller) -> Option<Outcome> {
    let rates = server.rates.as_ref()?;
    let retry_in = rates
        .admit(&caller.principal.subject, Instant::now())
        .err()?;
    metrics::limit_reached("rate");
    Some(refusal::over_rate(retry_in, &caller.correlation_id))
}

fn unknown_tool(name: &str, why: &str) -> ErrorData {
    ErrorData::invalid_params(format!("Unknown tool: {name}. {why}"), None)
}

fn ending(outcome: &Outcome) -> CallEnding {
    match outcome.failed {
        None => CallEnding::Ok,
        Some(_) => CallEnding::Error,
    }
}

fn why(outcome: &Outcome) -> FailureDetails<'_> {
    let failed = outcome.failed.as_ref();
    FailureDetails {
        code: failed.map(|failed| failed.code.as_str()),
        category: failed.map(|failed| failed.category.as_str()),
        status: failed.and_then(|failed| failed.status),
        log_only: failed.and_then(|failed| failed.log_only.as_deref()),
    }
}

async fn run(
    server: &Inner,
    tools: &ToolRegistry,
    request: &CallRequest<'_>,
    caller: &Caller,
    record: &CallRecord,
) -> Result<RunOutcome, UnknownToolError> {
    let connect = || {
        server.api_client.call(
            caller.principal.credential.clone(),
            CallContext {
                correlation_id: caller.correlation_id.clone(),
                traceparent: record.traceparent.clone(),
                trace_context: record.trace_context(),
                deadline: server.api_client.deadline(),
                cancel: request.cancel.clone(),
                spent: Arc::clone(&record.spent),
                memory: caller.memory.clone(),
            },
        )
    };
    let confirmations = &server.confirmations;
    let arguments = request.arguments.json();
    let needed = confirmations.needed(tools, request.name, arguments, request.asking);
    let confirmed = if needed.is_none() && request.answer.is_none() {
        None
    } else {
        let context = DecisionContext {
            tools,
            caller,
            connect: &connect,
            waiting: &|| record.waiting(),
        };
        // Boxed, which keeps the future of all other calls small.
        match Box::pin(confirmations.decide(request, needed, context)).await {
            Decision::Permitted(confirmed) => confirmed,
            Decision::Refused(outcome) => return Ok(RunOutcome::Done(outcome)),
            Decision::Asked(question) => return Ok(RunOutcome::Asked(question)),
        }
    };
    let api = connect();
    let listener = request.listener.as_ref();
    let (steps, step_receiver) = listener.map(|_| mpsc::channel(MAX_QUEUED_STEPS)).unzip();
    let progress = |step: Progress| {
        // A client that cannot keep up misses some steps.
        let _ = steps.as_ref().map(|steps| steps.try_send(step));
    };
    let call = ToolCall {
        name: request.name,
        arguments: request.arguments.json(),
        features: tools.features(),
        api: &api,
        correlation_id: &caller.correlation_id,
        item: &record.item,
        operations: &record.operations,
        confirmed,
        progress: &progress,
    };
    let work = tools.call(call)?;
    match (listener, step_receiver) {
        // Boxed, which keeps the future of all other calls small.
        (Some((peer, token)), Some(step_receiver)) => Ok(RunOutcome::Done(
            Box::pin(followed(work, step_receiver, peer, token)).await,
        )),
        _ => Ok(RunOutcome::Done(work.await)),
    }
}

/// Sends the steps of a call to the client until it is done.
async fn followed(
    mut work: BoxFuture<'_, Outcome>,
    mut steps: mpsc::Receiver<Progress>,
    peer: &Peer<RoleServer>,
    token: &ProgressToken,
) -> Outcome {
    loop {
        tokio::select! {
            biased;
            Some(step) = steps.recv() => notify(peer, token, step).await,
            outcome = &mut work => return outcome,
        }
    }
}

async fn notify(peer: &Peer<RoleServer>, token: &ProgressToken, step: Progress) {
    let mut notification = ProgressNotificationParam::new(token.clone(), f64::from(step.done));
    notification.total = Some(f64::from(step.total));
    notification.message = Some(step.message.to_owned());
    // A client that has gone is noticed by the cancellation, not here.
    let _ = peer.notify_progress(notification).await;
}

fn result(outcome: Outcome) -> CallToolResult {
    let failed = outcome.failed.is_some();
    // Clients hold structured content against the tool's outputSchema even when the call has
    // failed, and then show their own complaint in place of the error. A successful call's text
    // takes the place of this object when the message is encoded.
    let structured = (!failed).then(|| json!({}));
    let mut result = CallToolResult::success(vec![ContentBlock::text(outcome.text)]);
    result.is_error = Some(failed);
    result.structured_content = structured;
    result
}
