//! What an operator sees: the line of each call, the figures, and more of the log when it is asked
//! for.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::entities::uid_of;
use crate::harness::process::HANG_TIMEOUT;
use crate::harness::{
    CONTENT, Client, Era, Fault, Gate, Metrics, Server, SseClient, Stage, ToolClient, User, shared,
};

crate::tests![
    every_call_has_one_line_with_its_timings,
    a_refused_call_has_its_line,
    metrics_count_what_was_done,
    gauges_show_calls_in_flight,
    gauges_show_streams_and_connections,
    metrics_are_per_process_and_can_be_disabled,
    the_metrics_port_refuses_foreign_hosts,
    an_occupied_metrics_port_stops_no_calls,
    a_caller_cannot_create_a_label,
    a_signal_toggles_the_log_level,
];

/// The lines of this user's calls of that tool.
async fn lines_of(server: &Server, user: &User, tool: &str, count: usize) -> Vec<Value> {
    let of_this = |line: &str| {
        let line: Value = serde_json::from_str(line).ok()?;
        (line["user"] == user.sub && line["tool"] == tool && line["outcome"].is_string())
            .then_some(line)
    };
    let found = || {
        server
            .process
            .out
            .all()
            .iter()
            .filter_map(|line| of_this(line))
            .collect::<Vec<_>>()
    };
    let deadline = Instant::now() + HANG_TIMEOUT;
    while found().len() < count {
        assert!(Instant::now() < deadline, "{}", server.process.all_output());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    found()
}

async fn every_call_has_one_line_with_its_timings() {
    let server = &shared().acme;
    for era in Era::all() {
        let client = Client::new(server, era);
        client
            .call("create_note", json!({"title": CONTENT, "content": CONTENT}))
            .await
            .ok();
        let missing = json!({"uid": "0192f0c8-7b1a-7cc0-8a1e-3f2b6f0d9a11"});
        client
            .call("get_note", missing)
            .await
            .failed("not_found", "note_not_found");
        client.call("get_task", json!({"uid": "x"})).await.error();
        client.traffic().await;

        let lines = lines_of(server, &client.user, "create_note", 1).await;
        let [line] = &lines[..] else {
            panic!("{lines:?}")
        };
        assert_eq!(
            (&line["level"], &line["outcome"]),
            (&json!("INFO"), &json!("ok")),
            "{line}"
        );
        assert_eq!(
            (&line["tenant"], &line["transport"]),
            (&json!("acme"), &json!("http")),
            "{line}"
        );
        assert_eq!(line["protocol"], era.version(), "{line}");
        let says_its_name = era == Era::Modern;
        assert_eq!(line["client"] == "suite", says_its_name, "{line}");
        assert_eq!(line["client_version"] == "1", says_its_name, "{line}");
        assert!(
            line["correlation_id"]
                .as_str()
                .is_some_and(|id| id.len() > 8),
            "{line}"
        );
        assert!(line.get("error_code").is_none_or(Value::is_null), "{line}");
        let part = |name: &str| {
            line[name]
                .as_f64()
                .unwrap_or_else(|| panic!("no {name} in {line}"))
        };
        let parts = ["auth_ms", "queue_ms", "session_ms", "api_ms", "rest_ms"].map(part);
        let whole = part("duration_ms");
        assert!((parts.iter().sum::<f64>() - whole).abs() < 0.01, "{line}");
        for name in ["auth_ms", "session_ms", "api_ms"] {
            assert!(part(name) > 0.0, "{name}: {line}");
        }

        let lines = lines_of(server, &client.user, "get_note", 1).await;
        assert_eq!(
            (&lines[0]["outcome"], &lines[0]["error_code"]),
            (&json!("error"), &json!("note_not_found"))
        );
        // Nothing was sent for what is no identifier.
        let lines = lines_of(server, &client.user, "get_task", 1).await;
        assert_eq!(
            (&lines[0]["outcome"], lines[0]["api_ms"].as_f64()),
            (&json!("error"), Some(0.0)),
            "{}",
            lines[0]
        );
    }
}

async fn a_refused_call_has_its_line() {
    let server = &shared().acme;
    let sub = User::of("acme").sub;
    let reader =
        User::with_claims(json!({"sub": sub, "tenant_id": "acme", "scope": "toolbridge:read"}));
    let client = Client::of(server, Era::Modern, reader);
    client
        .calling("create_note", json!({"title": "t"}))
        .send()
        .await
        .unwrap();
    let lines = lines_of(server, &client.user, "create_note", 1).await;
    assert_eq!(
        (lines.len(), &lines[0]["outcome"], &lines[0]["reason"]),
        (1, &json!("out_of_scope"), &json!("insufficient_scope"))
    );
    client
        .calling("list_notes", json!({}))
        .header("x-mcp-toolsets", "tasks")
        .send()
        .await
        .unwrap();
    let lines = lines_of(server, &client.user, "list_notes", 1).await;
    assert_eq!(
        (lines.len(), &lines[0]["outcome"], &lines[0]["reason"]),
        (1, &json!("narrowed"), &json!("narrowed"))
    );
}

async fn metrics_count_what_was_done() {
    let server = Server::start("acme", &shared().api).await;
    let client = Client::modern(&server);
    let uid = uid_of(
        &client
            .call("create_note", json!({"title": "t", "content": "c"}))
            .await
            .ok(),
    );
    for _ in 0..2 {
        client.call("get_note", json!({"uid": uid})).await.ok();
    }
    let missing = json!({"uid": "0192f0c8-7b1a-7cc0-8a1e-3f2b6f0d9a11"});
    client.call("get_note", missing).await.error();
    client
        .call("create_note", json!({"title": 1, "nonsense": 2}))
        .await
        .error();
    // Turned away: without a token, with one that has expired, and for want of a scope.
    assert_eq!(
        client.bare_post().body("{}").send().await.unwrap().status(),
        401
    );
    let expired = User::with_claims(json!({"sub": "x", "tenant_id": "acme", "exp": 1}));
    let late = Client::of(&server, Era::Modern, expired);
    assert_eq!(
        late.calling("list_notes", json!({}))
            .send()
            .await
            .unwrap()
            .status(),
        401
    );
    let reader =
        User::with_claims(json!({"sub": "r", "tenant_id": "acme", "scope": "toolbridge:read"}));
    let reader = Client::of(&server, Era::Modern, reader);
    assert_eq!(
        reader
            .calling("delete_note", json!({"uid": uid}))
            .send()
            .await
            .unwrap()
            .status(),
        403
    );
    client.traffic().await;

    let metrics = Metrics::until(&server, "the end of every session", |metrics| {
        metrics.sum("toolbridge_mcp_sessions_ended_total", &[]) >= 4.0
    })
    .await;
    let opened = client.traffic().await.count(Stage::Opening);
    let is = |name: &str, labels: &[&str], expected: usize| {
        let found = metrics.sum(name, labels);
        let expected = f64::from(u32::try_from(expected).unwrap());
        assert_eq!(found, expected, "{name} {labels:?}:\n{}", metrics.0);
    };
    is("mcp_tool_invocations_total", &[], 6);
    is(
        "mcp_tool_invocations_total",
        &["tool=\"create_note\"", "outcome=\"ok\""],
        1,
    );
    is(
        "mcp_tool_invocations_total",
        &["tool=\"create_note\"", "outcome=\"error\""],
        1,
    );
    is(
        "mcp_tool_invocations_total",
        &["tool=\"get_note\"", "outcome=\"ok\""],
        2,
    );
    is(
        "mcp_tool_invocations_total",
        &["tool=\"get_note\"", "outcome=\"error\""],
        1,
    );
    is(
        "mcp_tool_invocations_total",
        &["tool=\"delete_note\"", "outcome=\"out_of_scope\""],
        1,
    );
    is("mcp_tool_duration_seconds_count", &["tool=\"get_note\""], 3);
    is(
        "toolbridge_mcp_tool_stage_duration_seconds_count",
        &["stage=\"api\""],
        5,
    );
    is(
        "toolbridge_mcp_tool_errors_total",
        &["category=\"not_found\""],
        1,
    );
    is(
        "toolbridge_mcp_tool_errors_total",
        &["category=\"validation\""],
        1,
    );
    is(
        "toolbridge_mcp_scope_refusals_total",
        &["reason=\"insufficient_scope\""],
        1,
    );
    is(
        "toolbridge_mcp_auth_failures_total",
        &["reason=\"missing\""],
        1,
    );
    is(
        "toolbridge_mcp_auth_failures_total",
        &["reason=\"expired\""],
        1,
    );
    is(
        "toolbridge_mcp_requests_total",
        &["transport=\"mcp\"", "status=\"2xx\""],
        5,
    );
    is(
        "toolbridge_mcp_requests_total",
        &["transport=\"mcp\"", "status=\"4xx\""],
        3,
    );
    is("toolbridge_mcp_sessions_opened_total", &[], opened);
    is("toolbridge_mcp_sessions_ended_total", &[], opened);
    is("toolbridge_mcp_sessions_abandoned_total", &[], 0);
    is("toolbridge_mcp_sessions_open", &[], 0);
    is("toolbridge_mcp_tool_calls_in_flight", &[], 0);
    let api = "toolbridge_mcp_api_requests_total";
    is(
        api,
        &[
            "route=\"/v1/sync/sessions\"",
            "method=\"POST\"",
            "status=\"201\"",
        ],
        opened,
    );
    is(
        api,
        &["route=\"/v1/sync/sessions/{id}\"", "method=\"DELETE\""],
        opened,
    );
    is(
        api,
        &["route=\"/v1/notes\"", "method=\"POST\"", "status=\"201\""],
        1,
    );
    is(
        api,
        &[
            "route=\"/v1/notes/{id}\"",
            "method=\"GET\"",
            "status=\"200\"",
        ],
        2,
    );
    is(
        api,
        &[
            "route=\"/v1/notes/{id}\"",
            "method=\"GET\"",
            "status=\"404\"",
        ],
        1,
    );
    is("toolbridge_mcp_readiness", &["state=\"ready\""], 1);
    is("toolbridge_mcp_readiness", &[], 1);
    is(
        "toolbridge_mcp_build_info",
        &[&format!("version=\"{}\"", env!("CARGO_PKG_VERSION"))],
        1,
    );
    // More than nothing, and no more than there can be.
    assert!(metrics.sum("process_resident_memory_bytes", &[]) > 1e6);
    assert!(metrics.sum("process_open_fds", &[]) > 3.0);
    assert!(metrics.sum("toolbridge_mcp_connections_open", &[]) >= 1.0);
    server.stop().await;
}

async fn gauges_show_calls_in_flight() {
    let settings = [("TOOLBRIDGE_API_MAX_SESSIONS", "1")];
    let server = Server::with("acme", &shared().api, &settings).await;
    let (first, second) = (Client::modern(&server), Client::modern(&server));
    let gate = Gate::closed();
    server
        .forwarder
        .inject(&first.user, Stage::Operation, Fault::Wait(gate.clone()));
    let one = tokio::spawn(first.calling("list_notes", json!({})).send());
    server
        .forwarder
        .until_seen(&first.user, Stage::Operation, 1)
        .await;
    let two = tokio::spawn(second.calling("list_notes", json!({})).send());
    let metrics = Metrics::until(&server, "a call that waits", |metrics| {
        metrics.sum("toolbridge_mcp_tool_calls_waiting", &[]) == 1.0
    })
    .await;
    assert_eq!(metrics.sum("toolbridge_mcp_tool_calls_in_flight", &[]), 2.0);
    assert_eq!(metrics.sum("toolbridge_mcp_sessions_open", &[]), 1.0);
    gate.release();
    assert_eq!(one.await.unwrap().unwrap().status(), 200);
    assert_eq!(two.await.unwrap().unwrap().status(), 200);
    let lines = lines_of(&server, &second.user, "list_notes", 1).await;
    assert!(lines[0]["queue_ms"].as_f64().unwrap() > 0.0, "{}", lines[0]);
    first.traffic().await;
    second.traffic().await;
    Metrics::until(&server, "nothing under way", |metrics| {
        let names = [
            "tool_calls_waiting",
            "tool_calls_in_flight",
            "sessions_open",
        ];
        names
            .iter()
            .all(|name| metrics.sum(&format!("toolbridge_mcp_{name}"), &[]) == 0.0)
    })
    .await;
    server.stop().await;
}

async fn gauges_show_streams_and_connections() {
    let server = Server::start("acme", &shared().api).await;
    let nothing = |metrics: &Metrics| metrics.sum("toolbridge_mcp_streams_open", &[]) == 0.0;
    Metrics::until(&server, "no stream", nothing).await;
    let stream = SseClient::start(&server, "2024-11-05").await;
    let metrics = Metrics::of(&server).await;
    assert_eq!(metrics.sum("toolbridge_mcp_streams_open", &[]), 1.0);
    assert!(metrics.sum("toolbridge_mcp_connections_open", &[]) >= 1.0);
    stream.call("list_notes", json!({})).await.ok();
    let lines = lines_of(&server, stream.user(), "list_notes", 1).await;
    assert_eq!(
        (&lines[0]["transport"], &lines[0]["protocol"]),
        (&json!("sse"), &json!("2024-11-05")),
        "{}",
        lines[0]
    );
    assert_eq!(lines[0]["client"], "suite", "{}", lines[0]);
    stream.traffic().await;
    let metrics = Metrics::of(&server).await;
    assert_eq!(
        metrics.sum(
            "toolbridge_mcp_requests_total",
            &["transport=\"sse\"", "status=\"2xx\""]
        ),
        1.0
    );
    assert!(
        metrics.sum(
            "toolbridge_mcp_requests_total",
            &["transport=\"messages\"", "status=\"2xx\""]
        ) >= 2.0
    );
    stream.close();
    Metrics::until(&server, "the end of the stream", nothing).await;
    server.stop().await;
}

async fn the_metrics_port_refuses_foreign_hosts() {
    let hosts = [
        ("TOOLBRIDGE_SERVER_ALLOWED_HOSTS", "toolbridge"),
        ("TOOLBRIDGE_SERVER_PUBLIC_URL", "https://acme.example.com"),
    ];
    let server = Server::with("acme", &shared().api, &hosts).await;
    let address = server
        .process
        .logged("metrics are served at", "address")
        .await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for (host, status) in [
        (address.as_str(), 200),
        ("localhost:9091", 200),
        ("[fdaa::3]:9091", 200),
        ("toolbridge:9091", 200),
        ("acme.example.com", 200),
        ("attacker.example:9091", 403),
        ("toolbridge.attacker.example", 403),
        ("toolbridge@attacker.example", 403),
    ] {
        let asked = http
            .get(format!("http://{address}/metrics"))
            .header("host", host);
        let answer = asked.send().await.unwrap();
        assert_eq!(answer.status(), status, "{host}");
        let text = answer.text().await.unwrap();
        assert_eq!(
            text.contains("toolbridge_mcp_"),
            status == 200,
            "{host}: {text}"
        );
        assert_eq!(
            text.contains("host_not_allowed"),
            status == 403,
            "{host}: {text}"
        );
    }
    server.stop().await;
}

async fn metrics_are_per_process_and_can_be_disabled() {
    let server = &shared().acme;
    let client = Client::modern(server);
    assert_eq!(
        client.get("/metrics").send().await.unwrap().status(),
        404,
        "not where callers are"
    );
    let url = server
        .process
        .logged("metrics are served at", "address")
        .await;
    for path in ["/mcp", "/healthz", "/"] {
        let answer = reqwest::get(format!("http://{url}{path}")).await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
    }
    let off = Server::with("acme", &shared().api, &[("TOOLBRIDGE_METRICS_ADDR", "off")]).await;
    let client = Client::modern(&off);
    client.call("list_notes", json!({})).await.ok();
    client.traffic().await;
    assert!(
        !off.process.all_output().contains("figures"),
        "{}",
        off.process.all_output()
    );
    off.stop().await;
}

async fn an_occupied_metrics_port_stops_no_calls() {
    let taken = shared()
        .acme
        .process
        .logged("metrics are served at", "address")
        .await;
    let server = Server::with(
        "acme",
        &shared().api,
        &[("TOOLBRIDGE_METRICS_ADDR", &taken)],
    )
    .await;
    let client = Client::modern(&server);
    client.call("list_notes", json!({})).await.ok();
    client.traffic().await;
    assert_eq!(
        server
            .process
            .logged("no metrics are served", "level")
            .await,
        "WARN"
    );
    server.stop().await;
}

/// Whatever is sent, the series are those that were there at the start, and those of routes and
/// statuses.
async fn a_caller_cannot_create_a_label() {
    let server = Server::start("acme", &shared().api).await;
    let client = Client::modern(&server);
    client.call("list_notes", json!({})).await.ok();
    client.traffic().await;
    let series = |metrics: &Metrics| -> BTreeSet<String> {
        let lines = metrics.0.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| line.rsplit_once(' ').unwrap().0.to_owned())
            .collect()
    };
    let ended = |metrics: &Metrics| metrics.sum("toolbridge_mcp_sessions_ended_total", &[]) == 1.0;
    let before = series(&Metrics::until(&server, "the end of the session", ended).await);
    for number in 0..40 {
        let evil = format!("evil_{number}\"}} 1");
        client
            .calling(&evil, json!({}))
            .header("mcp-name", "x")
            .send()
            .await
            .unwrap();
        let legacy = Client::of(&server, Era::Legacy("2025-06-18"), client.user.clone());
        legacy
            .calling(&evil, json!({ &evil: &evil }))
            .send()
            .await
            .unwrap();
        client
            .get(&format!("/evil/{number}?{number}"))
            .send()
            .await
            .unwrap();
        client.ask(&format!("evil/{number}"), json!({})).await;
        let method = reqwest::Method::from_bytes(format!("EVIL{number}").as_bytes()).unwrap();
        let url = client.server.mcp();
        reqwest::Client::new()
            .request(method, url)
            .send()
            .await
            .unwrap();
        let other_user = client.bare_post().bearer_auth(format!("evil{number}"));
        other_user.body("{}").send().await.unwrap();
    }
    let metrics = Metrics::of(&server).await;
    let made: Vec<_> = series(&metrics).difference(&before).cloned().collect();
    assert!(made.is_empty(), "{made:?}");
    assert_eq!(
        metrics.sum(
            "mcp_tool_invocations_total",
            &["tool=\"unknown\"", "outcome=\"unknown_tool\""]
        ),
        40.0
    );
    server.stop().await;
}

async fn a_signal_toggles_the_log_level() {
    let server = Server::with(
        "acme",
        &shared().api,
        &[("TOOLBRIDGE_LOG_LEVEL", "info,toolbridge_mcp::mcp=off")],
    )
    .await;
    let client = Client::modern(&server);
    let told = |tool: &str| {
        let lines = server.process.out.all();
        lines
            .iter()
            .filter(|line| line.contains(&format!("\"tool\":\"{tool}\"")))
            .count()
    };
    client.call("list_notes", json!({})).await.ok();
    server.process.signal("USR1");
    server
        .process
        .logged("SIGUSR1: logging at debug for 15 minutes", "level")
        .await;
    client.call("list_tasks", json!({})).await.ok();
    lines_of(&server, &client.user, "list_tasks", 1).await;
    server.process.signal("USR1");
    server
        .process
        .logged(
            "SIGUSR1: logging at info,toolbridge_mcp::mcp=off again",
            "level",
        )
        .await;
    // The level changes after it is said.
    client.call("list_chats", json!({})).await.ok();
    client
        .call(
            "list_comments",
            json!({"parent_type": "note", "parent_uid": "0192f0c8-7b1a-7cc0-8a1e-3f2b6f0d9a11"}),
        )
        .await;
    client.traffic().await;
    server.process.signal("TERM");
    assert_eq!(
        server.process.exit().await,
        Some(0),
        "{}",
        server.process.all_output()
    );
    assert_eq!(
        (
            told("list_notes"),
            told("list_tasks"),
            told("list_comments")
        ),
        (0, 1, 0)
    );
}
