//! What an operator sees: the line of each call, the figures, and more of the log when it is asked for.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::entities::uid_of;
use crate::harness::process::PATIENCE;
use crate::harness::{
    CONTENT, Caller, Client, Era, Figures, Gate, Mishap, Place, Stage, Stream, User, world,
};

crate::tests![
    every_call_has_one_line_with_where_its_time_went,
    a_call_that_is_refused_has_its_line_too,
    figures_are_what_was_done,
    what_is_under_way_shows,
    streams_and_connections_show,
    figures_are_a_rooms_own_and_can_be_off,
    figures_are_not_for_pages_that_point_their_own_name_here,
    a_taken_port_for_figures_stops_no_calls,
    no_caller_can_make_a_label,
    a_signal_makes_the_log_talkative_and_quiet_again,
];

/// The lines of this user's calls of that tool.
async fn lines_of(place: &Place, user: &User, tool: &str, count: usize) -> Vec<Value> {
    let of_this = |line: &str| {
        let line: Value = serde_json::from_str(line).ok()?;
        (line["user"] == user.sub && line["tool"] == tool && line["outcome"].is_string())
            .then_some(line)
    };
    let found = || {
        place
            .sidecar
            .out
            .all()
            .iter()
            .filter_map(|line| of_this(line))
            .collect::<Vec<_>>()
    };
    let deadline = Instant::now() + PATIENCE;
    while found().len() < count {
        assert!(Instant::now() < deadline, "{}", place.sidecar.story());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    found()
}

async fn every_call_has_one_line_with_where_its_time_went() {
    let place = &world().acme;
    for era in Era::all() {
        let client = Client::new(place, era);
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

        let lines = lines_of(place, &client.user, "create_note", 1).await;
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

        let lines = lines_of(place, &client.user, "get_note", 1).await;
        assert_eq!(
            (&lines[0]["outcome"], &lines[0]["error_code"]),
            (&json!("error"), &json!("note_not_found"))
        );
        // Nothing was sent for what is no identifier.
        let lines = lines_of(place, &client.user, "get_task", 1).await;
        assert_eq!(
            (&lines[0]["outcome"], lines[0]["api_ms"].as_f64()),
            (&json!("error"), Some(0.0)),
            "{}",
            lines[0]
        );
    }
}

async fn a_call_that_is_refused_has_its_line_too() {
    let place = &world().acme;
    let sub = User::of("acme").sub;
    let reader =
        User::with_claims(json!({"sub": sub, "tenant_id": "acme", "scope": "toolbridge:read"}));
    let client = Client::of(place, Era::Modern, reader);
    client
        .calling("create_note", json!({"title": "t"}))
        .send()
        .await
        .unwrap();
    let lines = lines_of(place, &client.user, "create_note", 1).await;
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
    let lines = lines_of(place, &client.user, "list_notes", 1).await;
    assert_eq!(
        (lines.len(), &lines[0]["outcome"], &lines[0]["reason"]),
        (1, &json!("narrowed"), &json!("narrowed"))
    );
}

async fn figures_are_what_was_done() {
    let place = Place::start("acme", &world().api).await;
    let client = Client::modern(&place);
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
    let late = Client::of(&place, Era::Modern, expired);
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
    let reader = Client::of(&place, Era::Modern, reader);
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

    let figures = Figures::until(&place, "the end of every session", |figures| {
        figures.sum("toolbridge_mcp_sessions_ended_total", &[]) >= 4.0
    })
    .await;
    let opened = client.traffic().await.count(Stage::Opening);
    let is = |name: &str, labels: &[&str], expected: usize| {
        let found = figures.sum(name, labels);
        let expected = f64::from(u32::try_from(expected).unwrap());
        assert_eq!(found, expected, "{name} {labels:?}:\n{}", figures.0);
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
    assert!(figures.sum("process_resident_memory_bytes", &[]) > 1e6);
    assert!(figures.sum("process_open_fds", &[]) > 3.0);
    assert!(figures.sum("toolbridge_mcp_connections_open", &[]) >= 1.0);
    place.stop().await;
}

async fn what_is_under_way_shows() {
    let settings = [("TOOLBRIDGE_API_MAX_SESSIONS", "1")];
    let place = Place::with("acme", &world().api, &settings).await;
    let (first, second) = (Client::modern(&place), Client::modern(&place));
    let gate = Gate::closed();
    place
        .forwarder
        .next(&first.user, Stage::Operation, Mishap::Wait(gate.clone()));
    let one = tokio::spawn(first.calling("list_notes", json!({})).send());
    place
        .forwarder
        .until_seen(&first.user, Stage::Operation, 1)
        .await;
    let two = tokio::spawn(second.calling("list_notes", json!({})).send());
    let figures = Figures::until(&place, "a call that waits", |figures| {
        figures.sum("toolbridge_mcp_tool_calls_waiting", &[]) == 1.0
    })
    .await;
    assert_eq!(figures.sum("toolbridge_mcp_tool_calls_in_flight", &[]), 2.0);
    assert_eq!(figures.sum("toolbridge_mcp_sessions_open", &[]), 1.0);
    gate.release();
    assert_eq!(one.await.unwrap().unwrap().status(), 200);
    assert_eq!(two.await.unwrap().unwrap().status(), 200);
    let lines = lines_of(&place, &second.user, "list_notes", 1).await;
    assert!(lines[0]["queue_ms"].as_f64().unwrap() > 0.0, "{}", lines[0]);
    first.traffic().await;
    second.traffic().await;
    Figures::until(&place, "nothing under way", |figures| {
        let names = [
            "tool_calls_waiting",
            "tool_calls_in_flight",
            "sessions_open",
        ];
        names
            .iter()
            .all(|name| figures.sum(&format!("toolbridge_mcp_{name}"), &[]) == 0.0)
    })
    .await;
    place.stop().await;
}

async fn streams_and_connections_show() {
    let place = Place::start("acme", &world().api).await;
    let nothing = |figures: &Figures| figures.sum("toolbridge_mcp_streams_open", &[]) == 0.0;
    Figures::until(&place, "no stream", nothing).await;
    let stream = Stream::start(&place, "2024-11-05").await;
    let figures = Figures::of(&place).await;
    assert_eq!(figures.sum("toolbridge_mcp_streams_open", &[]), 1.0);
    assert!(figures.sum("toolbridge_mcp_connections_open", &[]) >= 1.0);
    stream.call("list_notes", json!({})).await.ok();
    let lines = lines_of(&place, stream.user(), "list_notes", 1).await;
    assert_eq!(
        (&lines[0]["transport"], &lines[0]["protocol"]),
        (&json!("sse"), &json!("2024-11-05")),
        "{}",
        lines[0]
    );
    assert_eq!(lines[0]["client"], "suite", "{}", lines[0]);
    stream.traffic().await;
    let figures = Figures::of(&place).await;
    assert_eq!(
        figures.sum(
            "toolbridge_mcp_requests_total",
            &["transport=\"sse\"", "status=\"2xx\""]
        ),
        1.0
    );
    assert!(
        figures.sum(
            "toolbridge_mcp_requests_total",
            &["transport=\"messages\"", "status=\"2xx\""]
        ) >= 2.0
    );
    stream.leave();
    Figures::until(&place, "the end of the stream", nothing).await;
    place.stop().await;
}

async fn figures_are_not_for_pages_that_point_their_own_name_here() {
    let hosts = [
        ("TOOLBRIDGE_SERVER_ALLOWED_HOSTS", "toolbridge"),
        ("TOOLBRIDGE_SERVER_PUBLIC_URL", "https://acme.example.com"),
    ];
    let place = Place::with("acme", &world().api, &hosts).await;
    let address = place.sidecar.logged("figures are at", "address").await;
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
    place.stop().await;
}

async fn figures_are_a_rooms_own_and_can_be_off() {
    let place = &world().acme;
    let client = Client::modern(place);
    assert_eq!(
        client.get("/metrics").send().await.unwrap().status(),
        404,
        "not where callers are"
    );
    let url = place.sidecar.logged("figures are at", "address").await;
    for path in ["/mcp", "/healthz", "/"] {
        let answer = reqwest::get(format!("http://{url}{path}")).await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
    }
    let off = Place::with("acme", &world().api, &[("TOOLBRIDGE_METRICS_ADDR", "off")]).await;
    let client = Client::modern(&off);
    client.call("list_notes", json!({})).await.ok();
    client.traffic().await;
    assert!(
        !off.sidecar.story().contains("figures"),
        "{}",
        off.sidecar.story()
    );
    off.stop().await;
}

async fn a_taken_port_for_figures_stops_no_calls() {
    let taken = world()
        .acme
        .sidecar
        .logged("figures are at", "address")
        .await;
    let place = Place::with("acme", &world().api, &[("TOOLBRIDGE_METRICS_ADDR", &taken)]).await;
    let client = Client::modern(&place);
    client.call("list_notes", json!({})).await.ok();
    client.traffic().await;
    assert_eq!(
        place.sidecar.logged("no figures are served", "level").await,
        "WARN"
    );
    place.stop().await;
}

/// Whatever is sent, the series are those that were there at the start, and those of routes and statuses.
async fn no_caller_can_make_a_label() {
    let place = Place::start("acme", &world().api).await;
    let client = Client::modern(&place);
    client.call("list_notes", json!({})).await.ok();
    client.traffic().await;
    let series = |figures: &Figures| -> BTreeSet<String> {
        let lines = figures.0.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| line.rsplit_once(' ').unwrap().0.to_owned())
            .collect()
    };
    let ended = |figures: &Figures| figures.sum("toolbridge_mcp_sessions_ended_total", &[]) == 1.0;
    let before = series(&Figures::until(&place, "the end of the session", ended).await);
    for number in 0..40 {
        let evil = format!("evil_{number}\"}} 1");
        client
            .calling(&evil, json!({}))
            .header("mcp-name", "x")
            .send()
            .await
            .unwrap();
        let legacy = Client::of(&place, Era::Legacy("2025-06-18"), client.user.clone());
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
        let url = client.place.mcp();
        reqwest::Client::new()
            .request(method, url)
            .send()
            .await
            .unwrap();
        let stranger = client.bare_post().bearer_auth(format!("evil{number}"));
        stranger.body("{}").send().await.unwrap();
    }
    let figures = Figures::of(&place).await;
    let made: Vec<_> = series(&figures).difference(&before).cloned().collect();
    assert!(made.is_empty(), "{made:?}");
    assert_eq!(
        figures.sum(
            "mcp_tool_invocations_total",
            &["tool=\"unknown\"", "outcome=\"unknown_tool\""]
        ),
        40.0
    );
    place.stop().await;
}

async fn a_signal_makes_the_log_talkative_and_quiet_again() {
    let place = Place::with(
        "acme",
        &world().api,
        &[("TOOLBRIDGE_LOG_LEVEL", "info,toolbridge_mcp::mcp=off")],
    )
    .await;
    let client = Client::modern(&place);
    let told = |tool: &str| {
        let lines = place.sidecar.out.all();
        lines
            .iter()
            .filter(|line| line.contains(&format!("\"tool\":\"{tool}\"")))
            .count()
    };
    client.call("list_notes", json!({})).await.ok();
    place.sidecar.signal("USR1");
    place
        .sidecar
        .logged("SIGUSR1: logging at debug for 15 minutes", "level")
        .await;
    client.call("list_tasks", json!({})).await.ok();
    lines_of(&place, &client.user, "list_tasks", 1).await;
    place.sidecar.signal("USR1");
    place
        .sidecar
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
    place.sidecar.signal("TERM");
    assert_eq!(
        place.sidecar.exit().await,
        Some(0),
        "{}",
        place.sidecar.story()
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
