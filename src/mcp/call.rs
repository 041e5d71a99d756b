//! Executes one `tools/call`, from authentication to the result.
//!
//! A call ends in one of four ways: it yields an outcome, the client disconnects, the tool panics,
//! or the tool does not exist. In every case the API session is dropped here, which ends it.

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

/// The number of progress notifications that may be queued per call. Further ones are dropped.
const MAX_QUEUED_STEPS: usize = 16;

/// The error message for a call that was cancelled or panicked.
pub const NO_END: &str = "the call did not come to an end";

/// A call that does not need rmcp: the caller may call the tool, and did not ask for progress.
pub struct PlainCall<'a> {
    pub name: &'a str,
    pub arguments: Arguments,
    pub said: MessageContext<'a>,
    pub protocol: &'static str,
}

/// Executes a plain call. `None` if the tool panicked. Dropping the future before it completes
/// records the call as cancelled.
pub(super) async fn carry_out(
    server: &Inner,
    call: PlainCall<'_>,
    caller: &Caller,
) -> Option<Outcome> {
    let mut record = CallRecord::begin(call.name.to_owned(), call.protocol);
    record.set_caller(caller, &call.said, true);
    record.set_writes(server.surface.writes(call.name));
    let mut pending = Pending {
        record: Some(record),
        caller,
        tenant: server.upstream.tenant(),
    };
    if let Some(outcome) = over_rate(server, caller) {
        pending
            .finish(CallEnding::Error, failure_details(&outcome))
            .reached()
            .await;
        return Some(outcome);
    }
    let record = pending.record.as_ref()?;
    let cancel = CancellationToken::new();
    let work = run(
        server,
        call.name,
        &call.arguments,
        caller,
        record,
        cancel,
        None,
    );
    let outcome = AssertUnwindSafe(work).catch_unwind().await;
    match outcome {
        Ok(Ok(outcome)) => {
            pending
                .finish(ending_of(&outcome), failure_details(&outcome))
                .reached()
                .await;
            Some(outcome)
        }
        Ok(Err(UnknownToolError(_))) => {
            pending
                .finish(CallEnding::UnknownTool, FailureDetails::default())
                .reached()
                .await;
            None
        }
        Err(_panic) => {
            pending
                .finish(CallEnding::Panicked, FailureDetails::default())
                .reached()
                .await;
            None
        }
    }
}

/// A call that has not ended. Dropping it records the call as cancelled, which happens when the
/// client disconnects.
struct Pending<'a> {
    record: Option<CallRecord>,
    caller: &'a Caller,
    tenant: &'a str,
}

impl Pending<'_> {
    fn finish(&mut self, ending: CallEnding, why: FailureDetails<'_>) -> Durable {
        match self.record.take() {
            Some(record) => record.finish(self.caller, self.tenant, ending, why),
            None => Durable::now(),
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        // No response is sent, so nothing waits for the audit line to become durable.
        let _ = self.finish(CallEnding::Cancelled, FailureDetails::default());
    }
}

/// Executes a call that arrived through rmcp.
pub(super) async fn serve(
    server: &Inner,
    request: CallToolRequestParams,
    context: RequestContext<RoleServer>,
) -> Result<CallToolResult, ErrorData> {
    // The name is caller-controlled, so it is truncated before it is echoed or logged.
    let name: String = request.name.chars().take(LONGEST_NAME).collect();
    let mut record = CallRecord::begin(name.clone(), protocol(&context));
    let caller = match server.callers.identify(&context).await {
        Ok(caller) => caller,
        Err(error) => {
            let outcome = server.toolset.refuse(error.refusal, &error.correlation_id);
            record.finish_unauthenticated(&error);
            return Ok(result(outcome));
        }
    };
    record.set_caller(
        &caller,
        &MessageContext::of(&context, caller.via),
        server.surface.has(&request.name),
    );
    record.set_writes(server.surface.writes(&request.name));
    let tenant = server.upstream.tenant();
    if let Some(outcome) = over_rate(server, &caller) {
        record
            .finish(
                &caller,
                tenant,
                CallEnding::Error,
                failure_details(&outcome),
            )
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
            record
                .finish(
                    &caller,
                    tenant,
                    CallEnding::OutOfScope,
                    failure_details(&outcome),
                )
                .reached()
                .await;
            return Ok(result(outcome));
        }
        Err(denied) => {
            record
                .finish(
                    &caller,
                    tenant,
                    CallEnding::Narrowed,
                    FailureDetails::default(),
                )
                .reached()
                .await;
            return Err(unknown_tool(&name, denied.sentence()));
        }
    }
    let cancelled = context.ct.clone();
    let token = context
        .meta
        .get_progress_token()
        .filter(|_| caller.hears_progress);
    let arguments = arguments(&request, &context);
    // A panic in a handler's task would leave the client waiting, since rmcp sends no response
    // then.
    let work = AssertUnwindSafe(run(
        server,
        &request.name,
        &arguments,
        &caller,
        &record,
        context.ct.clone(),
        token.map(|token| (&context.peer, token)),
    ));
    let outcome = tokio::select! {
        biased;
        () = cancelled.cancelled() => Err(CallEnding::Cancelled),
        outcome = work.catch_unwind() => outcome.map_err(|_| CallEnding::Panicked),
    };
    let (ending, why) = match &outcome {
        Ok(Ok(outcome)) => (ending_of(outcome), failure_details(outcome)),
        Ok(Err(_)) => (CallEnding::UnknownTool, FailureDetails::default()),
        Err(ending) => (*ending, FailureDetails::default()),
    };
    record.finish(&caller, tenant, ending, why).reached().await;
    match outcome {
        Ok(Ok(outcome)) => Ok(result(outcome)),
        Ok(Err(UnknownToolError(remedy))) => Err(unknown_tool(&name, &remedy)),
        Err(_) => {
            let data = json!({ "correlation_id": &*caller.correlation_id });
            Err(ErrorData::internal_error(NO_END, Some(data)))
        }
    }
}

/// The arguments of a request. Transports remove them from the message before rmcp parses it, and
/// pass them as an extension; otherwise they are encoded again.
fn arguments(request: &CallToolRequestParams, context: &RequestContext<RoleServer>) -> Arguments {
    let extensions = &context.extensions;
    let unparsed = extensions.get::<Arguments>();
    let unparsed = unparsed.or_else(|| extensions.get::<Parts>()?.extensions.get());
    unparsed.cloned().unwrap_or_else(|| {
        let text = request.arguments.as_ref().map(serde_json::to_vec);
        Arguments::from_object(text.and_then(Result::ok).unwrap_or_default().into())
    })
}

/// The outcome of a call above the rate limit. `None` if the call is within it.
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

fn ending_of(outcome: &Outcome) -> CallEnding {
    match outcome.failed {
        None => CallEnding::Ok,
        Some(_) => CallEnding::Error,
    }
}

fn failure_details(outcome: &Outcome) -> FailureDetails<'_> {
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
    record: &CallRecord,
    cancel: CancellationToken,
    listener: Option<(&Peer<RoleServer>, ProgressToken)>,
) -> Result<Outcome, UnknownToolError> {
    let api = server.upstream.call(
        caller.principal.credential.clone(),
        CallContext {
            correlation_id: caller.correlation_id.clone(),
            traceparent: record.traceparent.clone(),
            place: record.trace_context(),
            deadline: server.upstream.deadline(),
            cancel,
            spent: Arc::clone(&record.spent),
            memory: caller.memory.clone(),
        },
    );
    let (steps, queued) = listener
        .as_ref()
        .map(|_| mpsc::channel(MAX_QUEUED_STEPS))
        .unzip();
    let progress = |step: Progress| {
        // Progress is best effort: notifications are dropped if the client cannot keep up.
        let _ = steps.as_ref().map(|steps| steps.try_send(step));
    };
    let call = ToolCall {
        name,
        arguments: arguments.json(),
        api: &api,
        correlation_id: &caller.correlation_id,
        item: &record.item,
        progress: &progress,
    };
    let work = server.toolset.call(call)?;
    match (listener, queued) {
        // Boxed, to keep the future of a call without progress small.
        (Some((peer, token)), Some(queued)) => {
            Ok(Box::pin(with_progress(work, queued, peer, &token)).await)
        }
        _ => Ok(work.await),
    }
}

/// Runs a call and sends a progress notification for each of its steps.
async fn with_progress(
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
    // A disconnected client cancels the call, so a failed notification needs no handling.
    let _ = peer.notify_progress(notification).await;
}

fn result(outcome: Outcome) -> CallToolResult {
    let failed = outcome.failed.is_some();
    // A failed call has no structured content: clients validate it against the tool's outputSchema,
    // and would report a schema violation instead of the error. In a successful call, the text
    // replaces this `null` when the message is encoded.
    let structured = (!failed).then_some(Value::Null);
    let mut result = CallToolResult::success(vec![ContentBlock::text(outcome.text)]);
    result.is_error = Some(failed);
    result.structured_content = structured;
    result
}
