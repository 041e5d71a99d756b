//! `toolbridge-mcp connect`: a pipe here, `/mcp` there.

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::entities::uid_of;
use crate::harness::api::temporary;
use crate::harness::{
    Api, Era, Fault, Gate, Server, Stage, StdioClient, ToolClient, User, reserved_port, run, shared,
};
use crate::progress::{check_progress, entity, two_steps};

crate::tests![
    passes_lists_and_errors_through,
    explains_a_rejected_token,
    refuses_unusable_targets_before_sending,
    a_refreshed_token_file_is_used_at_once,
    reconnects_to_a_restarted_server,
    a_call_whose_answer_is_lost_is_not_repeated,
    a_cancelled_call_leaves_no_session,
    forwards_progress,
    end_of_input_waits_for_the_response,
    a_signal_ends_the_bridge_and_its_calls,
];

const ERAS: [Era; 3] = [
    Era::Modern,
    Era::Legacy("2025-11-25"),
    Era::Legacy("2024-11-05"),
];

fn listing() -> Value {
    json!({"name": "list_notes", "arguments": {}})
}

async fn passes_lists_and_errors_through() {
    for era in Era::all() {
        let stdio = StdioClient::connected(&shared().acme, era).await;
        let tools = stdio.ask("tools/list", json!({})).await;
        assert_eq!(
            tools["result"]["tools"].as_array().unwrap().len(),
            crate::surface::tool_count()
        );
        let note = stdio
            .call("create_note", json!({"title": "t", "content": "c"}))
            .await
            .ok();
        let patch = json!({"uid": uid_of(&note), "updates": {"title": "x"}, "if_match": 99});
        stdio
            .call("patch_note", patch)
            .await
            .failed("conflict", "version_mismatch");
        let unknown = stdio.ask("prompts/list", json!({})).await;
        assert_eq!(unknown["error"]["code"], -32601, "{unknown}");
        stdio.traffic().await;
        stdio.close().await;
    }
}

/// The error that the bridge itself answers with.
fn bridge_error(answer: &Value) -> (&str, &str) {
    assert_eq!(answer["error"]["code"], -31011, "{answer}");
    let text = |value: &'_ Value| value.as_str().is_some();
    let (reason, message) = (
        &answer["error"]["data"]["reason"],
        &answer["error"]["message"],
    );
    assert!(text(reason) && text(message), "{answer}");
    (reason.as_str().unwrap(), message.as_str().unwrap())
}

async fn explains_a_rejected_token() {
    let server = &shared().acme;
    let expired = User::with_claims(json!({"sub": "u", "exp": 1}));
    let other_user = shared().globex.new_user();
    for (user, reason, words) in [
        (expired, "unauthorized", "the token has expired"),
        (other_user, "forbidden", "another tenant"),
    ] {
        let stdio = StdioClient::connected_as(server, Era::Modern, user, &[]);
        let answer = stdio.ask("tools/call", listing()).await;
        let (said, sentence) = bridge_error(&answer);
        assert_eq!(said, reason, "{answer}");
        assert!(sentence.contains(words), "{answer}");
        stdio.close().await;
    }
}

async fn refuses_unusable_targets_before_sending() {
    let url = &shared().acme.url;
    let token = shared().acme.new_user().token;
    let with = [("TOOLBRIDGE_TOKEN", token.as_str())];
    for (words, environment, code, said) in [
        (
            &["connect", url.as_str()][..],
            &[][..],
            77,
            "TOOLBRIDGE_TOKEN",
        ),
        (
            &["connect", url, "--token-file", "nowhere"],
            &[],
            77,
            "cannot be read",
        ),
        (
            &["connect", "http://acme.example"],
            &with[..],
            2,
            "plain http",
        ),
        (&["connect", "acme.example"], &with, 2, "https://HOST/mcp"),
        (
            &["connect", url, "--header", "Authorization=Bearer x"],
            &with,
            2,
            "command line",
        ),
        (&["connect", url, "--token", "x"], &with, 2, "--token"),
        (&["connect"], &with, 2, "<URL>"),
    ] {
        let output = run(words, environment.iter().copied()).await;
        assert_eq!(output.code, code, "{output}");
        assert!(
            output.err.contains(said) && output.out.is_empty(),
            "{output}"
        );
    }
}

async fn a_refreshed_token_file_is_used_at_once() {
    let server = &shared().acme;
    let user = server.new_user();
    let path = temporary().join(format!("token-{}", user.sub));
    let expired = User::with_claims(json!({"sub": user.sub, "exp": 1}));
    std::fs::write(&path, &expired.token).unwrap();
    let words = ["--token-file", path.to_str().unwrap()];
    let stdio = StdioClient::connected_as(server, Era::Modern, user.clone(), &words);
    let answer = stdio.ask("tools/call", listing()).await;
    let (reason, sentence) = bridge_error(&answer);
    assert!(
        reason == "unauthorized" && sentence.contains(words[1]),
        "{answer}"
    );
    std::fs::write(&path, format!("{}\n", user.token)).unwrap();
    stdio.call("list_notes", json!({})).await.ok();
    stdio.traffic().await;
    stdio.close().await;
}

async fn reconnects_to_a_restarted_server() {
    for era in ERAS {
        let port = reserved_port();
        let at_port = [("TOOLBRIDGE_PORT", port.as_str())];
        let first = Server::with("acme", &shared().api, &at_port).await;
        let stdio = StdioClient::connected(&first, era).await;
        stdio.call("list_notes", json!({})).await.ok();
        first.process.signal("TERM");
        assert_eq!(first.process.exit().await, Some(0));
        // While it is away: nothing was sent, so the call waits for it.
        let waiting = stdio.begin("tools/call", listing()).await;
        stdio
            .process
            .err
            .until(|line| line.contains("trying again").then_some(()))
            .await
            .unwrap();
        let second = Server::with("acme", &shared().api, &at_port).await;
        assert_eq!(stdio.answer(waiting).await["result"]["isError"], false);
        let traffic = second.forwarder.settled(stdio.user()).await;
        assert_eq!(traffic.count(Stage::Operation), 1, "{traffic}");
        stdio.close().await;
        second.stop().await;
    }
}

async fn a_call_whose_answer_is_lost_is_not_repeated() {
    // A server that is killed leaves its session behind, so the API is not the one that others look
    // at.
    let api = Api::start().await;
    let server = Server::start("acme", &api).await;
    let stdio = StdioClient::connected(&server, Era::Modern).await;
    server
        .forwarder
        .inject(stdio.user(), Stage::Operation, Fault::Hang);
    let lost = stdio.begin("tools/call", listing()).await;
    server
        .forwarder
        .until_seen(stdio.user(), Stage::Operation, 1)
        .await;
    server.stop().await;
    let answer = stdio.answer(lost).await;
    assert_eq!(bridge_error(&answer).0, "answer_lost", "{answer}");
    assert_eq!(answer["error"]["data"]["may_have_been_done"], true);
    stdio.close().await;
    api.stop().await;
}

async fn a_cancelled_call_leaves_no_session() {
    for era in ERAS {
        let stdio = StdioClient::connected(&shared().acme, era).await;
        let forwarder = &stdio.server().forwarder;
        forwarder.inject(stdio.user(), Stage::Operation, Fault::Hang);
        let cancelled = stdio.begin("tools/call", listing()).await;
        forwarder
            .until_seen(stdio.user(), Stage::Operation, 1)
            .await;
        stdio
            .notify("notifications/cancelled", json!({"requestId": cancelled}))
            .await;
        forwarder.until_seen(stdio.user(), Stage::Ending, 1).await;
        stdio.call("list_tasks", json!({})).await.ok();
        assert!(
            stdio
                .answers()
                .iter()
                .all(|answer| answer["id"] != cancelled)
        );
        stdio.traffic().await;
        stdio.close().await;
    }
}

async fn forwards_progress() {
    for era in ERAS {
        let stdio = StdioClient::connected(&shared().acme, era).await;
        let params = two_steps(&stdio, &entity(), &json!({"progressToken": "steps"})).await;
        let before = stdio.answers().len();
        let answer = stdio.ask("tools/call", params).await;
        assert_eq!(
            answer["result"]["structuredContent"]["version"], 2,
            "{answer}"
        );
        let mut told = stdio.answers().split_off(before);
        assert_eq!(told.pop().as_ref(), Some(&answer), "the result comes last");
        check_progress(&told, "steps");
        stdio.traffic().await;
        stdio.close().await;
    }
}

async fn end_of_input_waits_for_the_response() {
    let stdio = StdioClient::connected(&shared().acme, Era::Modern).await;
    let forwarder = &stdio.server().forwarder;
    let gate = Gate::closed();
    forwarder.inject(stdio.user(), Stage::Operation, Fault::Wait(gate.clone()));
    let id = stdio.begin("tools/call", listing()).await;
    forwarder
        .until_seen(stdio.user(), Stage::Operation, 1)
        .await;
    stdio.process.close_stdin().await;
    gate.release();
    assert_eq!(stdio.answer(id).await["result"]["isError"], false);
    assert_eq!(
        stdio.process.exit().await,
        Some(0),
        "{}",
        stdio.process.all_output()
    );
    stdio.traffic().await;
}

async fn a_signal_ends_the_bridge_and_its_calls() {
    let stdio = StdioClient::connected(&shared().acme, Era::Modern).await;
    let forwarder = &stdio.server().forwarder;
    forwarder.inject(stdio.user(), Stage::Operation, Fault::Hang);
    stdio.begin("tools/call", listing()).await;
    forwarder
        .until_seen(stdio.user(), Stage::Operation, 1)
        .await;
    let begun = Instant::now();
    stdio.process.signal("TERM");
    assert_eq!(
        stdio.process.exit().await,
        Some(0),
        "{}",
        stdio.process.all_output()
    );
    assert!(
        begun.elapsed() < crate::shutdown::SOON,
        "{:?}",
        begun.elapsed()
    );
    forwarder.until_seen(stdio.user(), Stage::Ending, 1).await;
    stdio.traffic().await;
}
