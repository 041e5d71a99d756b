//! One `tools/call`, from the caller to the result.
//!
//! The call ends in one of four ways: it yields an outcome, the client goes away, the tool panics, or there is no such
//! tool. In all of them the session is dropped here, and thereby ended.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequestParams, CallToolResult, ContentBlock, ErrorData, ProgressNotificationParam, ProgressToken,
};
use rmcp::service::{Peer, RequestContext};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::caller::{Caller, Unknown};
use super::reach::Beyond;
use super::toolset::{NoSuchTool, Outcome, ToolCall};
use super::{Inner, LONGEST_NAME};
use crate::telemetry::fields;
use crate::tools::Progress;
use crate::upstream::CallContext;

/// Steps of one call that may wait to be told; more are left out rather than kept.
const UNTOLD_STEPS: usize = 16;

pub(super) async fn serve(
    server: &Inner,
    request: CallToolRequestParams,
    context: RequestContext<RoleServer>,
) -> Result<CallToolResult, ErrorData> {
    let begun = Instant::now();
    // A name that is not one of ours may be of any length; it is shown, not repeated in full.
    let name: String = request.name.chars().take(LONGEST_NAME).collect();
    let caller = match server.callers.identify(&context).await {
        Ok(caller) => caller,
        Err(Unknown {
            refusal,
            correlation_id,
        }) => {
            tracing::info!(
                { fields::TOOL } = name,
                { fields::CORRELATION_ID } = %correlation_id,
                { fields::REASON } = refusal.reason(),
                "a caller was refused"
            );
            return Ok(result(server.toolset.refuse(refusal, &correlation_id)));
        }
    };
    match server
        .surface
        .admit(&request.name, caller.asked, &caller.principal.scopes)
    {
        Ok(()) => {}
        Err(Beyond::Scope(scope)) => {
            log_beyond(&caller, &name, "insufficient_scope");
            let outcome = server.toolset.out_of_scope(&name, &scope, &caller.correlation_id);
            return Ok(result(outcome));
        }
        Err(beyond) => {
            log_beyond(&caller, &name, "narrowed");
            return Err(unknown_tool(&name, beyond.sentence()));
        }
    }
    let cancelled = context.ct.clone();
    // A panic in a handler's task would leave the client waiting: rmcp has no answer for it.
    let work = AssertUnwindSafe(run(
        server,
        &request.name,
        request.arguments.unwrap_or_default(),
        &caller,
        context,
    ));
    let outcome = tokio::select! {
        biased;
        () = cancelled.cancelled() => Err("cancelled"),
        outcome = work.catch_unwind() => outcome.map_err(|_| "panicked"),
    };
    let (word, code, log_only) = match &outcome {
        Ok(Ok(Outcome { error_code: None, .. })) => ("ok", None, None),
        Ok(Ok(outcome)) => ("error", outcome.error_code.as_deref(), outcome.log_only.as_deref()),
        Ok(Err(_)) => ("unknown_tool", None, None),
        Err(how) => (*how, None, None),
    };
    tracing::info!(
        { fields::CORRELATION_ID } = %caller.correlation_id,
        { fields::TOOL } = name,
        { fields::USER } = %caller.principal.subject,
        { fields::OUTCOME } = word,
        { fields::ERROR_CODE } = code,
        { fields::ERROR } = log_only,
        { fields::DURATION_MS } = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        "{} {word}",
        name,
    );
    match outcome {
        Ok(Ok(outcome)) => Ok(result(outcome)),
        Ok(Err(NoSuchTool(remedy))) => Err(unknown_tool(&name, &remedy)),
        Err(_) => {
            let data = json!({ "correlation_id": &*caller.correlation_id });
            Err(ErrorData::internal_error("the call did not come to an end", Some(data)))
        }
    }
}

fn unknown_tool(name: &str, why: &str) -> ErrorData {
    ErrorData::invalid_params(format!("Unknown tool: {name}. {why}"), None)
}

/// A call that this caller may not make; nothing was sent for it.
fn log_beyond(caller: &Caller, name: &str, reason: &str) {
    tracing::info!(
        { fields::CORRELATION_ID } = %caller.correlation_id,
        { fields::TOOL } = name,
        { fields::USER } = %caller.principal.subject,
        { fields::REASON } = reason,
        "{name} is out of the caller's reach"
    );
}

async fn run(
    server: &Inner,
    name: &str,
    arguments: rmcp::model::JsonObject,
    caller: &Caller,
    context: RequestContext<RoleServer>,
) -> Result<Outcome, NoSuchTool> {
    let api = server.upstream.call(
        caller.principal.credential.clone(),
        CallContext {
            correlation_id: caller.correlation_id.clone(),
            traceparent: caller.traceparent.clone(),
            deadline: server.upstream.deadline(),
            cancel: context.ct.clone(),
        },
    );
    let (steps, mut told) = mpsc::channel(UNTOLD_STEPS);
    let progress = |step: Progress| {
        // Progress is a courtesy: a client that cannot keep up misses some of it.
        let _ = steps.try_send(step);
    };
    let call = ToolCall {
        name,
        arguments,
        api: &api,
        correlation_id: &caller.correlation_id,
        progress: &progress,
    };
    let mut work = server.toolset.call(call)?;
    let Some(token) = context.meta.get_progress_token().filter(|_| caller.hears_progress) else {
        return Ok(work.await);
    };
    loop {
        tokio::select! {
            biased;
            Some(step) = told.recv() => tell(&context.peer, &token, step).await,
            outcome = &mut work => return Ok(outcome),
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
    let mut result = CallToolResult::success(vec![ContentBlock::text(outcome.text)]);
    let failed = outcome.error_code.is_some();
    result.is_error = Some(failed);
    // Clients hold structured content against the tool's outputSchema even when the call has failed, and then show their
    // own complaint in place of the error.
    result.structured_content = (!failed).then_some(outcome.value);
    result
}
