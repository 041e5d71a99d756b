//! `toolbridge-mcp connect`: a pipe here, `/mcp` there.

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::entities::uid_of;
use crate::harness::api::temporary;
use crate::harness::{
    Api, Caller, Era, Gate, Mishap, Piped, Place, Stage, User, kept_port, run, world,
};
use crate::progress::{are_the_steps, entity, two_steps};

crate::tests![
    the_list_and_a_conflict_pass_through,
    a_token_that_does_not_do_is_explained,
    what_cannot_work_is_refused_before_anything_is_sent,
    a_refreshed_token_file_is_used_at_once,
    a_server_that_is_started_again_is_used_again,
    a_call_whose_answer_is_lost_is_not_repeated,
    a_cancelled_call_leaves_no_session,
    two_steps_are_told_through_the_bridge,
    the_end_of_the_input_waits_for_the_answer,
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

async fn the_list_and_a_conflict_pass_through() {
    for era in Era::all() {
        let piped = Piped::connected(&world().acme, era).await;
        let tools = piped.ask("tools/list", json!({})).await;
        assert_eq!(
            tools["result"]["tools"].as_array().unwrap().len(),
            crate::surface::tool_count()
        );
        let note = piped
            .call("create_note", json!({"title": "t", "content": "c"}))
            .await
            .ok();
        let patch = json!({"uid": uid_of(&note), "updates": {"title": "x"}, "if_match": 99});
        piped
            .call("patch_note", patch)
            .await
            .failed("conflict", "version_mismatch");
        let unknown = piped.ask("prompts/list", json!({})).await;
        assert_eq!(unknown["error"]["code"], -32601, "{unknown}");
        piped.traffic().await;
        piped.leave().await;
    }
}

/// The error that the bridge itself answers with.
fn trouble(answer: &Value) -> (&str, &str) {
    assert_eq!(answer["error"]["code"], -32011, "{answer}");
    let text = |value: &'_ Value| value.as_str().is_some();
    let (reason, message) = (
        &answer["error"]["data"]["reason"],
        &answer["error"]["message"],
    );
    assert!(text(reason) && text(message), "{answer}");
    (reason.as_str().unwrap(), message.as_str().unwrap())
}

async fn a_token_that_does_not_do_is_explained() {
    let place = &world().acme;
    let expired = User::with_claims(json!({"sub": "u", "exp": 1}));
    let stranger = world().globex.new_user();
    for (user, reason, words) in [
        (expired, "unauthorized", "the token has expired"),
        (stranger, "forbidden", "another tenant"),
    ] {
        let piped = Piped::connected_as(place, Era::Modern, user, &[]);
        let answer = piped.ask("tools/call", listing()).await;
        let (said, sentence) = trouble(&answer);
        assert_eq!(said, reason, "{answer}");
        assert!(sentence.contains(words), "{answer}");
        piped.leave().await;
    }
}

async fn what_cannot_work_is_refused_before_anything_is_sent() {
    let url = &world().acme.url;
    let token = world().acme.new_user().token;
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
        let ran = run(words, environment.iter().copied()).await;
        assert_eq!(ran.code, code, "{ran}");
        assert!(ran.err.contains(said) && ran.out.is_empty(), "{ran}");
    }
}

async fn a_refreshed_token_file_is_used_at_once() {
    let place = &world().acme;
    let user = place.new_user();
    let path = temporary().join(format!("token-{}", user.sub));
    let expired = User::with_claims(json!({"sub": user.sub, "exp": 1}));
    std::fs::write(&path, &expired.token).unwrap();
    let words = ["--token-file", path.to_str().unwrap()];
    let piped = Piped::connected_as(place, Era::Modern, user.clone(), &words);
    let answer = piped.ask("tools/call", listing()).await;
    let (reason, sentence) = trouble(&answer);
    assert!(
        reason == "unauthorized" && sentence.contains(words[1]),
        "{answer}"
    );
    std::fs::write(&path, format!("{}\n", user.token)).unwrap();
    piped.call("list_notes", json!({})).await.ok();
    piped.traffic().await;
    piped.leave().await;
}

async fn a_server_that_is_started_again_is_used_again() {
    for era in ERAS {
        let port = kept_port();
        let at_port = [("TOOLBRIDGE_PORT", port.as_str())];
        let first = Place::with("acme", &world().api, &at_port).await;
        let piped = Piped::connected(&first, era).await;
        piped.call("list_notes", json!({})).await.ok();
        first.sidecar.signal("TERM");
        assert_eq!(first.sidecar.exit().await, Some(0));
        // While it is away: nothing was sent, so the call waits for it.
        let waiting = piped.begin("tools/call", listing()).await;
        piped
            .process
            .err
            .until(|line| line.contains("trying again").then_some(()))
            .await
            .unwrap();
        let second = Place::with("acme", &world().api, &at_port).await;
        assert_eq!(piped.answer(waiting).await["result"]["isError"], false);
        let traffic = second.forwarder.settled(piped.user()).await;
        assert_eq!(traffic.count(Stage::Operation), 1, "{traffic}");
        piped.leave().await;
        second.stop().await;
    }
}

async fn a_call_whose_answer_is_lost_is_not_repeated() {
    // A server that is killed leaves its session behind, so the API is not the one that others look at.
    let api = Api::start().await;
    let place = Place::start("acme", &api).await;
    let piped = Piped::connected(&place, Era::Modern).await;
    place
        .forwarder
        .next(piped.user(), Stage::Operation, Mishap::Hang);
    let lost = piped.begin("tools/call", listing()).await;
    place
        .forwarder
        .until_seen(piped.user(), Stage::Operation, 1)
        .await;
    place.stop().await;
    let answer = piped.answer(lost).await;
    assert_eq!(trouble(&answer).0, "answer_lost", "{answer}");
    assert_eq!(answer["error"]["data"]["may_have_been_done"], true);
    piped.leave().await;
    api.stop().await;
}

async fn a_cancelled_call_leaves_no_session() {
    for era in ERAS {
        let piped = Piped::connected(&world().acme, era).await;
        let forwarder = &piped.place().forwarder;
        forwarder.next(piped.user(), Stage::Operation, Mishap::Hang);
        let cancelled = piped.begin("tools/call", listing()).await;
        forwarder
            .until_seen(piped.user(), Stage::Operation, 1)
            .await;
        piped
            .tell("notifications/cancelled", json!({"requestId": cancelled}))
            .await;
        forwarder.until_seen(piped.user(), Stage::Ending, 1).await;
        piped.call("list_tasks", json!({})).await.ok();
        assert!(
            piped
                .answers()
                .iter()
                .all(|answer| answer["id"] != cancelled)
        );
        piped.traffic().await;
        piped.leave().await;
    }
}

async fn two_steps_are_told_through_the_bridge() {
    for era in ERAS {
        let piped = Piped::connected(&world().acme, era).await;
        let params = two_steps(&piped, &entity(), &json!({"progressToken": "steps"})).await;
        let before = piped.answers().len();
        let answer = piped.ask("tools/call", params).await;
        assert_eq!(
            answer["result"]["structuredContent"]["version"], 2,
            "{answer}"
        );
        let mut told = piped.answers().split_off(before);
        assert_eq!(told.pop().as_ref(), Some(&answer), "the result comes last");
        are_the_steps(&told, "steps");
        piped.traffic().await;
        piped.leave().await;
    }
}

async fn the_end_of_the_input_waits_for_the_answer() {
    let piped = Piped::connected(&world().acme, Era::Modern).await;
    let forwarder = &piped.place().forwarder;
    let gate = Gate::closed();
    forwarder.next(piped.user(), Stage::Operation, Mishap::Wait(gate.clone()));
    let id = piped.begin("tools/call", listing()).await;
    forwarder
        .until_seen(piped.user(), Stage::Operation, 1)
        .await;
    piped.process.close_stdin().await;
    gate.release();
    assert_eq!(piped.answer(id).await["result"]["isError"], false);
    assert_eq!(
        piped.process.exit().await,
        Some(0),
        "{}",
        piped.process.story()
    );
    piped.traffic().await;
}

async fn a_signal_ends_the_bridge_and_its_calls() {
    let piped = Piped::connected(&world().acme, Era::Modern).await;
    let forwarder = &piped.place().forwarder;
    forwarder.next(piped.user(), Stage::Operation, Mishap::Hang);
    piped.begin("tools/call", listing()).await;
    forwarder
        .until_seen(piped.user(), Stage::Operation, 1)
        .await;
    let begun = Instant::now();
    piped.process.signal("TERM");
    assert_eq!(
        piped.process.exit().await,
        Some(0),
        "{}",
        piped.process.story()
    );
    assert!(
        begun.elapsed() < crate::leaving::SOON,
        "{:?}",
        begun.elapsed()
    );
    forwarder.until_seen(piped.user(), Stage::Ending, 1).await;
    piped.traffic().await;
}
