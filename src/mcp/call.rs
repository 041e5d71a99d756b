//! One `tools/call`, from the caller to the result.
//!
//! The call ends in one of four ways: it yields an outcome, the client goes away, the tool panics, or there is no such
//! tool. In all of them the session is dropped here, and thereby ended.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::request::Parts;
use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequestParams, CallToolResult, ContentBlock, ErrorData, ProgressNotificationParam,
    ProgressToken,
};
use rmcp::service::{Peer, RequestContext};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::arguments::Arguments;
use super::call_record::{CallEnding, CallRecord, FailureDetails, MessageContext, protocol};
use super::caller::Caller;
use super::tool_access::AccessError;
use super::toolset::{Outcome, ToolCall, UnknownToolError};
use super::{Inner, LONGEST_NAME};
use crate::api::CallContext;
use crate::telemetry::audit::Durable;
use crate::telemetry::metrics;
use crate::tools::Progress;

/// Steps of one call that may wait to be told; more are left out rather than kept.
const UNTOLD_STEPS: usize = 16;

/// What a client reads of a call that neither failed nor succeeded.
pub const NO_END: &str = "the call did not come to an end";

/// A call that needs nothing of rmcp's: its tool is there and within reach, and nobody waits to hear of its steps.
pub struct PlainCall<'a> {
    pub name: &'a str,
    pub arguments: Arguments,
    pub said: MessageContext<'a>,
    pub protocol: &'static str,
}

/// Carries out a plain call. `None` means that the tool panicked. Dropped in the middle, the call is a cancelled one.
pub(super) async fn carry_out(
    server: &Inner,
    call: PlainCall<'_>,
    caller: &Caller,
) -> Option<Outcome> {
    let mut report = CallRecord::begin(call.name.to_owned(), call.protocol);
    report.is_by(caller, &call.said, true);
    report.may_write(server.surface.writes(call.name));
    let mut pending = Pending {
        report: Some(report),
        caller,
        tenant: server.upstream.tenant(),
    };
    if let Some(outcome) = over_rate(server, caller) {
        pending
            .ended(CallEnding::Error, why(&outcome))
            .reached()
            .await;
        return Some(outcome);
    }
    let report = pending.report.as_ref()?;
    let cancel = CancellationToken::new();
    let work = run(
        server,
        call.name,
        &call.arguments,
        caller,
        report,
        cancel,
        None,
    );
    let outcome = AssertUnwindSafe(work).catch_unwind().await;
    match outcome {
        Ok(Ok(outcome)) => {
            pending
                .ended(ending(&outcome), why(&outcome))
                .reached()
                .await;
            Some(outcome)
        }
        Ok(Err(UnknownToolError(_))) => {
            pending
                .ended(CallEnding::UnknownTool, FailureDetails::default())
                .reached()
                .await;
            None
        }
        Err(_panic) => {
            pending
                .ended(CallEnding::Panicked, FailureDetails::default())
                .reached()
                .await;
            None
        }
    }
}

/// A call that has not ended. Its future is dropped when its client goes away.
struct Pending<'a> {
    report: Option<CallRecord>,
    caller: &'a Caller,
    tenant: &'a str,
}

impl Pending<'_> {
    fn ended(&mut self, ending: CallEnding, why: FailureDetails<'_>) -> Durable {
        match self.report.take() {
            Some(report) => report.ended(self.caller, self.tenant, ending, why),
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

pub(super) async fn serve(
    server: &Inner,
    request: CallToolRequestParams,
    context: RequestContext<RoleServer>,
) -> Result<CallToolResult, ErrorData> {
    // A name that is not one of ours may be of any length; it is shown, not repeated in full.
    let name: String = request.name.chars().take(LONGEST_NAME).collect();
    let mut report = CallRecord::begin(name.clone(), protocol(&context));
    let caller = match server.callers.identify(&context).await {
        Ok(caller) => caller,
        Err(unknown) => {
            let refused = server
                .toolset
                .refuse(unknown.refusal, &unknown.correlation_id);
            report.refused(&unknown);
            return Ok(result(refused));
        }
    };
    report.is_by(
        &caller,
        &MessageContext::of(&context, caller.via),
        server.surface.has(&request.name),
    );
    report.may_write(server.surface.writes(&request.name));
    let tenant = server.upstream.tenant();
    if let Some(outcome) = over_rate(server, &caller) {
        report
            .ended(&caller, tenant, CallEnding::Error, why(&outcome))
            .reached()
            .await;
        return Ok(result(outcome));
    }
    match server
        .surface
        .admit(&request.name, caller.asked, &caller.principal.scopes)
    {
        Ok(()) => {}
        Err(AccessError::Scope(scope)) => {
            let outcome = server
                .toolset
                .out_of_scope(&name, &scope, &caller.correlation_id);
            report
                .ended(&caller, tenant, CallEnding::OutOfScope, why(&outcome))
                .reached()
                .await;
            return Ok(result(outcome));
        }
        Err(beyond) => {
            report
                .ended(
                    &caller,
                    tenant,
                    CallEnding::Narrowed,
                    FailureDetails::default(),
                )
                .reached()
                .await;
            return Err(unknown_tool(&name, beyond.sentence()));
        }
    }
    let cancelled = context.ct.clone();
    let token = context
        .meta
        .get_progress_token()
        .filter(|_| caller.hears_progress);
    let arguments = arguments(&request, &context);
    // A panic in a handler's task would leave the client waiting: rmcp has no answer for it.
    let work = AssertUnwindSafe(run(
        server,
        &request.name,
        &arguments,
        &caller,
        &report,
        context.ct.clone(),
        token.map(|token| (&context.peer, token)),
    ));
    let outcome = tokio::select! {
        biased;
        () = cancelled.cancelled() => Err(CallEnding::Cancelled),
        outcome = work.catch_unwind() => outcome.map_err(|_| CallEnding::Panicked),
    };
    let (ending, why) = match &outcome {
        Ok(Ok(outcome)) => (ending(outcome), why(outcome)),
        Ok(Err(_)) => (CallEnding::UnknownTool, FailureDetails::default()),
        Err(ending) => (*ending, FailureDetails::default()),
    };
    report.ended(&caller, tenant, ending, why).reached().await;
    match outcome {
        Ok(Ok(outcome)) => Ok(result(outcome)),
        Ok(Err(UnknownToolError(remedy))) => Err(unknown_tool(&name, &remedy)),
        Err(_) => {
            let data = json!({ "correlation_id": &*caller.correlation_id });
            Err(ErrorData::internal_error(NO_END, Some(data)))
        }
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

/// What a caller is told who calls more often than one may.
fn over_rate(server: &Inner, caller: &Caller) -> Option<Outcome> {
    let rates = server.rates.as_ref()?;
    let retry_in = rates
        .admit(&caller.principal.subject, Instant::now())
        .err()?;
    metrics::limited("rate");
    Some(server.toolset.over_rate(retry_in, &caller.correlation_id))
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
    name: &str,
    arguments: &Arguments,
    caller: &Caller,
    report: &CallRecord,
    cancel: CancellationToken,
    listener: Option<(&Peer<RoleServer>, ProgressToken)>,
) -> Result<Outcome, UnknownToolError> {
    let api = server.upstream.call(
        caller.principal.credential.clone(),
        CallContext {
            correlation_id: caller.correlation_id.clone(),
            traceparent: report.traceparent.clone(),
            place: report.place(),
            deadline: server.upstream.deadline(),
            cancel,
            spent: Arc::clone(&report.spent),
            memory: caller.memory.clone(),
        },
    );
    let (steps, told) = listener
        .as_ref()
        .map(|_| mpsc::channel(UNTOLD_STEPS))
        .unzip();
    let progress = |step: Progress| {
        // Progress is a courtesy: a client that cannot keep up misses some of it.
        let _ = steps.as_ref().map(|steps| steps.try_send(step));
    };
    let call = ToolCall {
        name,
        arguments: arguments.json(),
        api: &api,
        correlation_id: &caller.correlation_id,
        item: &report.item,
        progress: &progress,
    };
    let work = server.toolset.call(call)?;
    match (listener, told) {
        // Boxed, so that a call which nobody follows need not carry it along.
        (Some((peer, token)), Some(told)) => Ok(Box::pin(followed(work, told, peer, &token)).await),
        _ => Ok(work.await),
    }
}

/// Tells of the steps of a call until it is done.
async fn followed(
    mut work: BoxFuture<'_, Outcome>,
    mut steps: mpsc::Receiver<Progress>,
    peer: &Peer<RoleServer>,
    token: &ProgressToken,
) -> Outcome {
    loop {
        tokio::select! {
            biased;
            Some(step) = steps.recv() => tell(peer, token, step).await,
            outcome = &mut work => return outcome,
        }
    }
}

async fn tell(peer: &Peer<RoleServer>, token: &ProgressToken, step: Progress) {
    let mut notification = ProgressNotificationParam::new(token.clone(), f64::from(step.done));
    notification.total = Some(f64::from(step.total));
    notification.message = Some(step.message.to_owned());
    // A client that has gone is noticed by the cancellation, not here.
    let _ = peer.notify_progress(notification).await;
}

fn result(outcome: Outcome) -> CallToolResult {
    let failed = outcome.failed.is_some();
    // Clients hold structured content against the tool's outputSchema even when the call has failed, and then show their
    // own complaint in place of the error.
    // A successful call's text takes the place of this `null` when the message is encoded.
    let structured = (!failed).then_some(Value::Null);
    let mut result = CallToolResult::success(vec![ContentBlock::text(outcome.text)]);
    result.is_error = Some(failed);
    result.structured_content = structured;
    result
}
