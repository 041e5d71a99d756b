//! The audit trail: a line for each call whatever way it came, in a chain that shows what was done
//! to it, on disks that are full and under servers that are killed.
//!
//! Every server of the suite writes one; `last` looks at them all.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::entities::uid_of;
use crate::harness::process::HANG_TIMEOUT;
use crate::harness::{
    Api, CONTENT, Client, CommandOutput, Era, Fault, Gate, Metrics, Server, SseClient, Stage,
    StdioClient, ToolClient, User, new_trail, run, shared,
};

crate::tests![
    every_transport_records_its_calls,
    a_batch_is_one_call_with_its_number_of_operations,
    a_refused_call_has_its_line,
    verify_detects_tampering,
    rotates_files_during_calls,
    a_shutdown_loses_no_line,
    continues_the_chain_after_a_kill,
    an_answered_write_is_recorded_before_a_kill,
    a_full_disk_delays_no_call_and_loses_only_lines_over_capacity,
    a_removed_file_is_replaced,
    verify_reads_lines_within_a_log,
    refuses_an_unwritable_trail_at_startup,
];

/// Every line of a trail begins so.
pub const MARK: &str = "{\"audit\":1,";

/// The oldest file first.
fn files(trail: &Path) -> Vec<String> {
    let numbered = |number: usize| format!("{}.{number}", trail.display());
    let mut files: Vec<_> = (1..)
        .map(numbered)
        .take_while(|file| Path::new(file).exists())
        .collect();
    files.reverse();
    files.push(trail.display().to_string());
    files
}

pub fn text_of(trail: &Path) -> String {
    files(trail)
        .iter()
        .map(|file| fs::read_to_string(file).unwrap())
        .collect()
}

fn lines_of(trail: &Path) -> Vec<Value> {
    text_of(trail)
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

async fn verify(words: &[&str]) -> CommandOutput {
    run(&[&["audit", "verify", "--json"], words].concat(), []).await
}

/// The kinds of what is wrong, and where.
fn wrong(output: &CommandOutput) -> Vec<(String, Value)> {
    let report = output.json();
    let found = report["findings"].as_array().unwrap();
    let found = found.iter().filter(|finding| finding["wrong"] == true);
    found
        .map(|finding| {
            (
                finding["kind"].as_str().unwrap().to_owned(),
                finding["line"].clone(),
            )
        })
        .collect()
}

/// Those of a trail that is as it was written.
pub async fn calls_in(trail: &Path) -> Vec<Value> {
    let files = files(trail);
    let names: Vec<_> = files.iter().map(String::as_str).collect();
    let verified = verify(&names).await.done();
    assert_eq!(verified.json()["ok"], true, "{verified}");
    lines_of(trail)
        .into_iter()
        .filter(|line| line["event"] == "call")
        .collect()
}

/// The lines of this user's calls, once there are `count`.
async fn calls_of(trail: &Path, user: &User, count: usize) -> Vec<Value> {
    let deadline = Instant::now() + HANG_TIMEOUT;
    loop {
        let mut lines = lines_of(trail);
        lines.retain(|line| line["event"] == "call" && line["user"] == user.sub);
        if lines.len() >= count {
            assert_eq!(lines.len(), count, "{lines:#?}");
            return lines;
        }
        assert!(
            Instant::now() < deadline,
            "{count} lines of {}: {lines:#?}",
            user.sub
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn every_transport_records_its_calls() {
    let server = &shared().acme;
    for era in Era::all() {
        let client = Client::new(server, era);
        three_calls(&client, &server.trail(), "http", era == Era::Modern).await;
    }
    let stream = SseClient::start(server, "2024-11-05").await;
    three_calls(&stream, &server.trail(), "sse", true).await;
    stream.close();
    for era in [Era::Modern, Era::Legacy("2025-06-18")] {
        let stdio = StdioClient::start(server, era).await;
        let trail = stdio.trail.clone().unwrap();
        three_calls(&stdio, &trail, "stdio", true).await;
        stdio.close().await;
        let last = lines_of(&trail).pop().unwrap();
        assert_eq!(last["event"], "end", "{last}");
    }
    // Past the straight way, since the client wants to hear of it.
    let client = Client::modern(server);
    let params =
        json!({"name": "list_notes", "arguments": {}, "_meta": {"progressToken": "steps"}});
    client.request("tools/call", params).send().await.unwrap();
    calls_of(&server.trail(), &client.user, 1).await;
}

/// One that makes an item, one that finds none, one that is refused; held against what the API was
/// asked.
async fn three_calls(caller: &impl ToolClient, trail: &Path, transport: &str, says_its_name: bool) {
    let made = caller
        .call("create_note", json!({"title": CONTENT, "content": CONTENT}))
        .await
        .ok();
    let missing = "0192f0c8-7b1a-7cc0-8a1e-3f2b6f0d9a11";
    caller
        .call("get_note", json!({"uid": missing}))
        .await
        .failed("not_found", "note_not_found");
    caller
        .call("get_task", json!({"uid": CONTENT}))
        .await
        .error();
    let traffic = caller.traffic().await;
    let lines = calls_of(trail, caller.user(), 3).await;
    let asked = traffic.operations();
    assert_eq!(asked.len(), 2, "{traffic}");
    for (line, record) in lines.iter().zip(asked) {
        assert_eq!(
            line["correlation_id"],
            record.header("x-correlation-id"),
            "{line}"
        );
    }
    for line in &lines {
        assert_eq!(
            (&line["tenant"], &line["transport"]),
            (&json!("acme"), &json!(transport)),
            "{line}"
        );
        assert_eq!(line["client"] == "suite", says_its_name, "{line}");
        assert!(
            line["duration_ms"].is_number() && line["time"].is_string(),
            "{line}"
        );
        assert!(!line.to_string().contains(CONTENT), "{line}");
    }
    let told = |line: &Value| {
        ["tool", "item", "outcome", "error_code", "status"].map(|name| line[name].clone())
    };
    let none = Value::Null;
    assert_eq!(
        told(&lines[0]),
        [
            json!("create_note"),
            json!(uid_of(&made)),
            json!("ok"),
            none.clone(),
            none.clone()
        ]
    );
    let not_found = [
        json!("get_note"),
        json!(missing),
        json!("error"),
        json!("note_not_found"),
        json!(404),
    ];
    assert_eq!(told(&lines[1]), not_found);
    assert_eq!(lines[2]["outcome"], "error");
    assert_eq!(
        (&lines[2]["item"], &lines[2]["status"]),
        (&none, &none),
        "{}",
        lines[2]
    );
}

async fn a_batch_is_one_call_with_its_number_of_operations() {
    let server = Server::start("acme", &shared().api).await;
    let client = Client::modern(&server);
    let create = json!({"op": "create", "kind": "task", "fields": {"title": CONTENT}});
    let missing = "0192f0c8-7b1a-7cc0-8a1e-3f2b6f0d9a11";
    let delete = json!({"op": "delete", "kind": "note", "uid": missing});
    let made = json!({"operations": [create, create, create]});
    client.call("batch", made).await.ok();
    let refused = json!({"operations": [create, delete]});
    let refused = client.call("batch", refused).await;
    refused.failed("not_found", "item_not_found");
    client.call("list_tasks", json!({})).await.ok();
    let lines = calls_of(&server.trail(), &client.user, 3).await;
    let told = |line: &Value| ["tool", "operations", "outcome"].map(|name| line[name].clone());
    assert_eq!(told(&lines[0]), [json!("batch"), json!(3), json!("ok")]);
    assert_eq!(told(&lines[1]), [json!("batch"), json!(2), json!("error")]);
    assert_eq!(
        told(&lines[2]),
        [json!("list_tasks"), json!(null), json!("ok")]
    );
    for (message, count) in [("batch ok", 3), ("batch error", 2)] {
        let logged = server.process.logged_value(message, "operations").await;
        assert_eq!(logged, count, "{message}");
    }
    let metrics = Metrics::of(&server).await;
    let name = "toolbridge_mcp_batch_operations_total";
    for (outcome, count) in [("ok", 3.0), ("error", 2.0), ("cancelled", 0.0)] {
        let label = format!("outcome=\"{outcome}\"");
        assert_eq!(metrics.sum(name, &[&label]), count, "{outcome}");
    }
    assert_eq!(
        metrics.sum("mcp_tool_invocations_total", &["tool=\"batch\""]),
        2.0
    );
    client.traffic().await;
    server.stop().await;
}

async fn a_refused_call_has_its_line() {
    let settings = [
        ("TOOLBRIDGE_SERVER_CALLS_PER_MINUTE", "1"),
        ("TOOLBRIDGE_SERVER_CALLS_BURST", "1"),
    ];
    let server = Server::with("acme", &shared().api, &settings).await;
    let reader = User::with_claims(
        json!({"sub": User::of("acme").sub, "tenant_id": "acme", "scope": "toolbridge:read"}),
    );
    let client = Client::of(&server, Era::Modern, reader);
    client
        .calling("create_note", json!({"title": "t"}))
        .send()
        .await
        .unwrap();
    client
        .calling("list_notes", json!({}))
        .header("x-mcp-toolsets", "tasks")
        .send()
        .await
        .unwrap();
    client
        .calling("no_such_tool", json!({}))
        .send()
        .await
        .unwrap();
    client.call("list_notes", json!({})).await.error();
    // A request without a token is no call.
    client.bare_post().body("{}").send().await.unwrap();
    client.traffic().await;
    let lines = calls_of(&server.trail(), &client.user, 4).await;
    let outcomes: Vec<_> = lines
        .iter()
        .map(|line| line["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(
        outcomes,
        ["out_of_scope", "narrowed", "unknown_tool", "error"],
        "{lines:#?}"
    );
    assert_eq!(lines[0]["client"], "suite", "{}", lines[0]);
    assert_eq!(lines[3]["error_code"], "rate_limited", "{}", lines[3]);
    server.process.signal("TERM");
    server.process.exit().await;
    assert_eq!(calls_in(&server.trail()).await.len(), 4);
}

/// A trail of `calls` calls, whose server has shut down.
async fn finished(calls: usize, settings: &[(&str, &str)]) -> Server {
    let server = Server::with("acme", &shared().api, settings).await;
    let client = Client::modern(&server);
    for _ in 0..calls {
        client.call("list_notes", json!({})).await.ok();
    }
    client.traffic().await;
    server.process.signal("TERM");
    assert_eq!(
        server.process.exit().await,
        Some(0),
        "{}",
        server.process.all_output()
    );
    server
}

async fn verify_detects_tampering() {
    let server = finished(6, &[]).await;
    let trail = server.trail();
    let mode = fs::metadata(&trail).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = fs::read_to_string(&trail).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 8, "{text}");
    let head = server.process.out.all();
    let heads: Vec<_> = head
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .collect();
    let head = heads
        .iter()
        .rev()
        .find_map(|line| line["head"].as_str())
        .unwrap();

    let copy = new_trail();
    let after = |lines: &[&str]| fs::write(&copy, lines.join("\n") + "\n").unwrap();
    let cases: [(&str, Vec<&str>, Option<&str>); 6] = [
        ("well", lines.clone(), None),
        (
            "removed",
            [&lines[..3], &lines[4..]].concat(),
            Some("missing"),
        ),
        (
            "doubled",
            [&lines[..4], &lines[3..]].concat(),
            Some("doubled"),
        ),
        (
            "swapped",
            [&lines[..2], &[lines[3], lines[2]], &lines[4..]].concat(),
            Some("out_of_order"),
        ),
        ("cut short", lines[..6].to_vec(), Some("unanchored")),
        (
            "inserted",
            [&lines[..5], &["{\"audit\":2}"], &lines[5..]].concat(),
            Some("foreign"),
        ),
    ];
    for (name, lines, kind) in cases {
        after(&lines);
        let verified = verify(&[&copy, "--head", head]).await;
        let kinds: Vec<_> = wrong(&verified).into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(
            (verified.code, kinds),
            (
                i32::from(kind.is_some()),
                kind.map(str::to_owned).into_iter().collect()
            ),
            "{name}"
        );
    }
    let altered = lines[3].replace("\"list_notes\"", "\"list_tasks\"");
    after(&[&lines[..3], &[altered.as_str()], &lines[4..]].concat());
    assert_eq!(
        wrong(&verify(&[&copy]).await),
        [("altered".to_owned(), json!(4))]
    );
    let said = run(&["audit", "verify", &copy], []).await;
    assert!(
        said.out.contains(", line 4, is not as it was written"),
        "{said}"
    );
    assert_eq!(said.code, 1);
    after(&lines);
    // By the configuration, as a person does.
    let said = run(&["audit", "verify"], server.environment()).await.done();
    assert!(
        said.out.contains("The trail is as it was written.") && said.out.contains(head),
        "{said}"
    );
    let nowhere = run(&["audit", "verify"], []).await;
    assert_eq!(nowhere.code, 64, "{nowhere}");
    let absent = verify(&["/nowhere/audit.jsonl"]).await;
    assert_eq!(absent.code, 1, "{absent}");
}

async fn rotates_files_during_calls() {
    const CALLS: usize = 400;
    let small = [
        ("TOOLBRIDGE_AUDIT_MAX_FILE_BYTES", "64KiB"),
        ("TOOLBRIDGE_AUDIT_MAX_FILES", "2"),
    ];
    let server = Server::with("acme", &shared().api, &small).await;
    let client = Client::modern(&server);
    for _ in 0..CALLS / 20 {
        // Nothing is sent for what is no identifier, so this is quick.
        let calls = (0..20).map(|_| client.call("get_note", json!({"uid": "x"})));
        for called in futures::future::join_all(calls).await {
            called.error();
        }
    }
    server.process.signal("TERM");
    assert_eq!(
        server.process.exit().await,
        Some(0),
        "{}",
        server.process.all_output()
    );
    let files = files(&server.trail());
    assert_eq!(files.len(), 3, "{files:?}");
    let names: Vec<_> = files.iter().map(String::as_str).rev().collect();
    let verified = verify(&names).await.done().json();
    let (chain, first) = (
        &verified["chains"][0],
        &verified["chains"][0]["first"]["seq"],
    );
    assert_eq!(
        (
            verified["chains"].as_array().unwrap().len(),
            &chain["ended"]
        ),
        (1, &json!(true))
    );
    assert_eq!(chain["last"]["seq"], CALLS + 2);
    // The oldest are gone, which is said.
    let found = verified["findings"].as_array().unwrap();
    assert_eq!(found.len(), usize::from(*first != 1), "{verified}");
}

/// Nothing is left to wait for but the line of the last call, which the thread still gathers.
async fn a_shutdown_loses_no_line() {
    let server = Server::with(
        "acme",
        &shared().api,
        &[("TOOLBRIDGE_SERVER_DRAIN_NOTICE", "0s")],
    )
    .await;
    let client = Client::modern(&server);
    let gate = Gate::closed();
    for _ in 0..20 {
        server
            .forwarder
            .inject(&client.user, Stage::Operation, Fault::Wait(gate.clone()));
    }
    let calls = (0..20).map(|_| client.call("list_notes", json!({})));
    let leaving = async {
        server
            .forwarder
            .until_seen(&client.user, Stage::Operation, 20)
            .await;
        server.process.signal("TERM");
        server.process.logged("SIGTERM: finishing", "level").await;
        gate.release();
    };
    let (called, ()) = tokio::join!(futures::future::join_all(calls), leaving);
    for called in called {
        called.ok();
    }
    assert_eq!(
        server.process.exit().await,
        Some(0),
        "{}",
        server.process.all_output()
    );
    assert_eq!(calls_in(&server.trail()).await.len(), 20);
    let last = lines_of(&server.trail()).pop().unwrap();
    assert_eq!(last["event"], "end");
    let lines = server.process.out.all();
    let told = lines
        .iter()
        .any(|line| line.contains(last["hash"].as_str().unwrap()));
    assert!(
        told,
        "the log has the last hash: {}",
        server.process.all_output()
    );
}

async fn an_answered_write_is_recorded_before_a_kill() {
    for (era, durable) in [
        (Era::Modern, None),
        (Era::Legacy("2025-06-18"), None),
        (Era::Modern, Some(("TOOLBRIDGE_AUDIT_DURABLE", "synced"))),
    ] {
        // What is killed leaves its session open, so the API is the test's own.
        let api = Api::start().await;
        let server = Server::with("acme", &api, durable.as_slice()).await;
        let client = Client::new(&server, era);
        let note = json!({"title": CONTENT, "content": CONTENT});
        let made = client.call("create_note", note).await.ok();
        server.stop().await;
        // As it is now: nothing is waited for.
        let calls = calls_in(&server.trail()).await;
        let [line] = &calls[..] else {
            panic!("{durable:?}: {calls:#?}")
        };
        assert_eq!(
            (&line["item"], &line["outcome"]),
            (&json!(uid_of(&made)), &json!("ok"))
        );
        api.stop().await;
    }
}

async fn continues_the_chain_after_a_kill() {
    let trail = new_trail();
    let settings = [("TOOLBRIDGE_AUDIT_TO", trail.as_str())];
    let path = Path::new(&trail);
    for round in 1..=3 {
        let server = Server::with("acme", &shared().api, &settings).await;
        let client = Client::modern(&server);
        client.call("list_notes", json!({})).await.ok();
        client.traffic().await;
        calls_of(path, &client.user, 1).await;
        server.stop().await;
        if round == 2 {
            // In the middle of a line.
            let text = fs::read(&trail).unwrap();
            fs::write(&trail, &text[..text.len() - 100]).unwrap();
        }
        let verified = verify(&[&trail]).await.done().json();
        let kinds: Vec<_> = verified["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|finding| &finding["kind"])
            .collect();
        let expected = [
            &["unended"][..0],
            &["unended", "torn"],
            &["unended", "torn"],
        ][round - 1];
        assert_eq!(kinds, expected, "{verified}");
        assert_eq!(
            verified["chains"].as_array().unwrap().len(),
            1,
            "{verified}"
        );
    }
    let events: Vec<_> = text_of(path)
        .lines()
        .map(|line| {
            let read: Value = serde_json::from_str(line).unwrap_or_default();
            read["event"].as_str().unwrap_or("half a line").to_owned()
        })
        .collect();
    assert_eq!(
        events,
        [
            "start",
            "call",
            "start",
            "half a line",
            "torn",
            "start",
            "call"
        ]
    );
}

async fn a_full_disk_delays_no_call_and_loses_only_lines_over_capacity() {
    const CALLS: usize = 30;
    let server = Server::start("acme", &shared().api).await;
    let client = Client::modern(&server);
    client.call("list_notes", json!({})).await.ok();
    calls_of(&server.trail(), &client.user, 1).await;
    let size = fs::metadata(server.trail()).unwrap().len();
    // Half a line more, and no further.
    server.process.limit_files(size + 100);
    for _ in 0..CALLS {
        client.call("list_notes", json!({})).await.ok();
    }
    server
        .process
        .logged("the audit trail cannot be written", "error")
        .await;
    let stuck = |metrics: &Metrics| metrics.sum("toolbridge_mcp_audit_stuck", &[]) == 1.0;
    Metrics::until(&server, "a trail that is stuck", stuck).await;
    client.traffic().await;
    assert!(fs::metadata(server.trail()).unwrap().len() <= size + 100);
    server.process.free_files();
    server
        .process
        .logged("the audit trail is written again", "level")
        .await;
    calls_of(&server.trail(), &client.user, CALLS + 1).await;
    let metrics = Metrics::of(&server).await;
    assert_eq!(metrics.sum("toolbridge_mcp_audit_stuck", &[]), 0.0);
    assert_eq!(
        metrics.sum("toolbridge_mcp_audit_lines_total", &["outcome=\"lost\""]),
        0.0
    );
    let cries = server
        .process
        .out
        .all()
        .iter()
        .filter(|line| line.contains("\"ERROR\""))
        .count();
    assert_eq!(cries, 1, "{}", server.process.all_output());
    server.process.signal("TERM");
    assert_eq!(
        server.process.exit().await,
        Some(0),
        "{}",
        server.process.all_output()
    );
    assert_eq!(calls_in(&server.trail()).await.len(), CALLS + 1);
}

async fn a_removed_file_is_replaced() {
    let server = Server::start("acme", &shared().api).await;
    let client = Client::modern(&server);
    client.call("list_notes", json!({})).await.ok();
    calls_of(&server.trail(), &client.user, 1).await;
    let archive = new_trail();
    fs::rename(server.trail(), &archive).unwrap();
    client.call("list_notes", json!({})).await.ok();
    client.traffic().await;
    server
        .process
        .logged("the file of the audit trail was moved away", "level")
        .await;
    server.process.signal("TERM");
    assert_eq!(
        server.process.exit().await,
        Some(0),
        "{}",
        server.process.all_output()
    );
    let trail = server.trail().display().to_string();
    let both = verify(&[&trail, &archive]).await.done().json();
    assert_eq!(
        (&both["findings"], &both["chains"][0]["lines"]),
        (&json!([]), &json!(4)),
        "{both}"
    );
    // The head of an archived trail is kept.
    let kept = verify(&[&archive]).await.done().json()["chains"][0]["head"].clone();
    verify(&[&trail, "--after", kept.as_str().unwrap()])
        .await
        .done();
    let other = verify(&[&trail, "--after", &"0".repeat(64)]).await;
    assert_eq!(wrong(&other), [("unanchored".to_owned(), Value::Null)]);
}

async fn verify_reads_lines_within_a_log() {
    let server = finished(3, &[("TOOLBRIDGE_AUDIT_TO", "stdout")]).await;
    let lines = server.process.out.all();
    let log = new_trail();
    fs::write(&log, lines.join("\n")).unwrap();
    let verified = verify(&[&log, "--log"]).await.done().json();
    assert_eq!(
        (&verified["findings"], &verified["chains"][0]["lines"]),
        (&json!([]), &json!(5)),
        "{verified}"
    );
    assert!(verified["passed_over"].as_u64().unwrap() >= 5, "{verified}");
    assert_eq!(
        verify(&[&log]).await.code,
        1,
        "a file of a trail has nothing else in it"
    );
    let without: Vec<_> = lines
        .iter()
        .filter(|line| !line.contains("\"seq\":3,"))
        .map(String::as_str)
        .collect();
    fs::write(&log, without.join("\n")).unwrap();
    let kinds: Vec<_> = wrong(&verify(&[&log, "--log"]).await)
        .into_iter()
        .map(|(kind, _)| kind)
        .collect();
    assert_eq!(kinds, ["missing"]);
    // For the look at all trails at the end.
    fs::remove_file(&log).unwrap();
}

async fn refuses_an_unwritable_trail_at_startup() {
    let server = &shared().acme;
    let taken = server.trail().display().to_string();
    let other = new_trail();
    fs::write(&other, "what somebody wrote\n").unwrap();
    for (to, said) in [
        (taken.as_str(), "another server writes to"),
        (&other, "has something else in it"),
        ("/nowhere/audit.jsonl", "give it a directory that is there"),
        ("/dev/full", "is no file"),
        ("audit.jsonl", "which is no file"),
    ] {
        let environment = server
            .environment()
            .filter(|(name, _)| *name != "TOOLBRIDGE_AUDIT_TO");
        let environment = environment.chain([("TOOLBRIDGE_AUDIT_TO", to)]);
        let output = run(&["serve"], environment).await;
        let all_output = format!("{}{}", output.out, output.err);
        assert_eq!(output.code, 64, "{output}");
        assert!(
            all_output.contains("audit.to") && all_output.contains(said),
            "{output}"
        );
    }
    assert_eq!(fs::read_to_string(&other).unwrap(), "what somebody wrote\n");
    fs::remove_file(&other).unwrap();
}
