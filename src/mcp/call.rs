//! One `tools/call`, from the caller to the result.
//!
//! The call ends in one of four ways: it yields an outcome, the client goes away, the tool panics, or there is no such
//! tool. In all of them the session is dropped here, and thereby ended.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequestParams, CallToolResult, ContentBlock, ErrorData, ProgressNotificationParam, ProgressToken,
};
use rmcp::service::{Peer, RequestContext};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::caller::Caller;
use super::reach::Beyond;
use super::report::{Ending, Report, Why};
use super::toolset::{NoSuchTool, Outcome, ToolCall};
use super::{Inner, LONGEST_NAME};
use crate::telemetry::metrics;
use crate::tools::Progress;
use crate::upstream::CallContext;

/// Steps of one call that may wait to be told; more are left out rather than kept.
const UNTOLD_STEPS: usize = 16;

pub(super) async fn serve(
    server: &Inner,
    request: CallToolRequestParams,
    context: RequestContext<RoleServer>,
) -> Result<CallToolResult, ErrorData> {
    // A name that is not one of ours may be of any length; it is shown, not repeated in full.
    let name: String = request.name.chars().take(LONGEST_NAME).collect();
    let mut report = Report::begin(name.clone(), &context);
    let caller = match server.callers.identify(&context).await {
        Ok(caller) => caller,
        Err(unknown) => {
            let refused = server.toolset.refuse(unknown.refusal, &unknown.correlation_id);
            report.refused(&unknown);
            return Ok(result(refused));
        }
    };
    report.is_by(&caller, &context, server.surface.has(&request.name));
    let tenant = server.upstream.tenant();
    let rates = server.rates.as_ref();
    if let Some(Err(retry_in)) = rates.map(|rates| rates.admit(&caller.principal.subject, Instant::now())) {
        metrics::limited("rate");
        let outcome = server.toolset.over_rate(retry_in, &caller.correlation_id);
        report.ended(&caller, tenant, Ending::Error, why(&outcome));
        return Ok(result(outcome));
    }
    match server
        .surface
        .admit(&request.name, caller.asked, &caller.principal.scopes)
    {
        Ok(()) => {}
        Err(Beyond::Scope(scope)) => {
            let outcome = server.toolset.out_of_scope(&name, &scope, &caller.correlation_id);
            report.ended(&caller, tenant, Ending::OutOfScope, why(&outcome));
            return Ok(result(outcome));
        }
        Err(beyond) => {
            report.ended(&caller, tenant, Ending::Narrowed, Why::default());
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
        &report,
        context,
    ));
    let outcome = tokio::select! {
        biased;
        () = cancelled.cancelled() => Err(Ending::Cancelled),
        outcome = work.catch_unwind() => outcome.map_err(|_| Ending::Panicked),
    };
    let (ending, why) = match &outcome {
        Ok(Ok(Outcome { error_code: None, .. })) => (Ending::Ok, Why::default()),
        Ok(Ok(outcome)) => (Ending::Error, why(outcome)),
        Ok(Err(_)) => (Ending::UnknownTool, Why::default()),
        Err(ending) => (*ending, Why::default()),
    };
    report.ended(&caller, tenant, ending, why);
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

fn why(outcome: &Outcome) -> Why<'_> {
    Why {
        code: outcome.error_code.as_deref(),
        category: outcome.value.pointer("/error/category").and_then(Value::as_str),
        log_only: outcome.log_only.as_deref(),
    }
}

async fn run(
    server: &Inner,
    name: &str,
    arguments: rmcp::model::JsonObject,
    caller: &Caller,
    report: &Report,
    context: RequestContext<RoleServer>,
) -> Result<Outcome, NoSuchTool> {
    let api = server.upstream.call(
        caller.principal.credential.clone(),
        CallContext {
            correlation_id: caller.correlation_id.clone(),
            traceparent: report.traceparent.clone(),
            place: report.place(),
            deadline: server.upstream.deadline(),
            cancel: context.ct.clone(),
            spent: Arc::clone(&report.spent),
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
