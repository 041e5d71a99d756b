//! Traces: one from the caller through both programs to the database, and none that costs a call
//! anything.

use serde_json::json;

use crate::harness::collector::Span;
use crate::harness::{Api, CONTENT, Client, Collector, Server, ToolClient, shared};

crate::tests![
    a_call_is_one_trace_from_the_caller_to_the_database,
    the_trace_context_of_a_message_takes_precedence,
    an_unsampled_trace_stays_unsampled,
    remaining_spans_are_exported_at_shutdown,
    an_unreachable_collector_delays_no_call,
    a_silent_collector_does_not_delay_shutdown,
];

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

fn soon(collector: &Collector) -> [(&str, &str); 2] {
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url),
        ("OTEL_BSP_SCHEDULE_DELAY", "20"),
    ]
}

fn the_only<'a>(spans: &'a [Span], service: &str, name: &str) -> &'a Span {
    let found: Vec<_> = spans
        .iter()
        .filter(|span| span.service == service && span.name == name)
        .collect();
    let [span] = found[..] else {
        panic!("{} × {service} {name}: {spans:#?}", found.len())
    };
    span
}

async fn a_call_is_one_trace_from_the_caller_to_the_database() {
    let collector = Collector::start().await;
    let api = Api::with(&soon(&collector)).await;
    let server = Server::with("acme", &api, &soon(&collector)).await;
    let client = Client::modern(&server);
    let called = client
        .calling("create_note", json!({"title": CONTENT, "content": CONTENT}))
        .header("traceparent", format!("00-{TRACE}-{SPAN}-01"))
        .send()
        .await
        .unwrap();
    assert_eq!(called.status(), 200);
    client.traffic().await;
    let whole = |spans: &[Span]| {
        let ended = |service: &str| {
            spans
                .iter()
                .any(|span| span.service == service && span.name == "DELETE /v1/sync/sessions/{id}")
        };
        let called = spans.iter().any(|span| span.name == "POST /mcp");
        ended("toolbridge-mcp") && ended("toolbridge-api") && called
    };
    let spans = collector.trace(TRACE, whole).await;
    let ours = |name: &str| the_only(&spans, "toolbridge-mcp", name);
    let theirs = |name: &str| the_only(&spans, "toolbridge-api", name);
    let request = ours("POST /mcp");
    assert_eq!(
        (
            request.parent.as_str(),
            request.get("http.response.status_code")
        ),
        (SPAN, "200")
    );
    let tool = ours("tools/call create_note");
    assert_eq!(tool.parent, request.id);
    for (name, value) in [
        ("mcp.method.name", "tools/call"),
        ("gen_ai.tool.name", "create_note"),
        ("gen_ai.operation.name", "execute_tool"),
        ("mcp.protocol.version", "2026-07-28"),
        ("jsonrpc.request.id", "1"),
        ("toolbridge.outcome", "ok"),
        ("network.transport", "tcp"),
        ("mcp.session.id", ""),
        ("error.type", ""),
    ] {
        assert_eq!(tool.get(name), value, "{name}: {tool:?}");
    }
    for (name, route) in [
        ("POST /v1/sync/sessions", "POST /v1/sync/sessions"),
        ("POST /v1/notes", "POST /v1/notes"),
        (
            "DELETE /v1/sync/sessions/{id}",
            "DELETE /v1/sync/sessions/{id}",
        ),
    ] {
        let (sent, taken) = (ours(name), theirs(route));
        assert_eq!(
            (&sent.parent, &taken.parent),
            (&tool.id, &sent.id),
            "{name}"
        );
        assert_eq!(
            sent.get("http.response.status_code"),
            taken.get("http.response.status_code"),
            "{name}"
        );
    }
    let beneath = theirs("POST /v1/notes");
    let sql: Vec<_> = spans
        .iter()
        .filter(|span| span.parent == beneath.id)
        .collect();
    assert!(!sql.is_empty(), "no SQL: {spans:#?}");
    assert_eq!(
        beneath.get("toolbridge.correlation_id"),
        tool.get("toolbridge.correlation_id")
    );
    server.stop().await;
    api.stop().await;
}

async fn the_trace_context_of_a_message_takes_precedence() {
    let collector = Collector::start().await;
    let server = Server::with("acme", &shared().api, &soon(&collector)).await;
    let client = Client::modern(&server);
    let (outer, inner) = (
        "11111111111111111111111111111111",
        "22222222222222222222222222222222",
    );
    let params = json!({
        "name": "get_note",
        "arguments": {"uid": "0192f0c8-7b1a-7cc0-8a1e-3f2b6f0d9a11"},
        "_meta": {"traceparent": format!("00-{inner}-{SPAN}-01")},
    });
    let sent = client.request("tools/call", params);
    sent.header("traceparent", format!("00-{outer}-{SPAN}-01"))
        .send()
        .await
        .unwrap();
    client.traffic().await;
    let with =
        |name: &'static str| move |spans: &[Span]| spans.iter().any(|span| span.name == name);
    let spans = collector.trace(inner, with("tools/call get_note")).await;
    let tool = the_only(&spans, "toolbridge-mcp", "tools/call get_note");
    let around = collector.trace(outer, with("POST /mcp")).await;
    assert_eq!(
        (tool.parent.as_str(), &tool.links),
        (SPAN, &vec![around[0].id.clone()])
    );
    assert_eq!((tool.get("error.type"), tool.failed), ("tool_error", true));
    // And off, it is passed on as it is.
    let client = Client::modern(&shared().acme);
    let params = json!({
        "name": "list_notes",
        "arguments": {},
        "_meta": {"traceparent": format!("00-{inner}-{SPAN}-01")},
    });
    client.request("tools/call", params).send().await.unwrap();
    for record in &client.traffic().await.0 {
        assert_eq!(
            record.header("traceparent"),
            format!("00-{inner}-{SPAN}-01")
        );
    }
    server.stop().await;
}

async fn an_unsampled_trace_stays_unsampled() {
    let collector = Collector::start().await;
    let server = Server::with("acme", &shared().api, &soon(&collector)).await;
    let client = Client::modern(&server);
    let (quiet, loud) = (
        "33333333333333333333333333333333",
        "44444444444444444444444444444444",
    );
    for (trace, flags) in [(quiet, "00"), (loud, "01")] {
        let calling = client.calling("list_notes", json!({}));
        calling
            .header("traceparent", format!("00-{trace}-{SPAN}-{flags}"))
            .send()
            .await
            .unwrap();
    }
    for record in &client.traffic().await.0 {
        let said = record.header("traceparent");
        let expected = if said.contains(quiet) { "-00" } else { "-01" };
        assert!(said.ends_with(expected) && !said.contains(SPAN), "{said}");
    }
    collector
        .trace(loud, |spans| {
            spans.iter().any(|span| span.name == "POST /mcp")
        })
        .await;
    assert!(collector.trace(quiet, |_| true).await.is_empty());
    server.stop().await;
}

async fn remaining_spans_are_exported_at_shutdown() {
    let collector = Collector::start().await;
    let late = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "600000"),
    ];
    let server = Server::with("acme", &shared().api, &late).await;
    let client = Client::modern(&server);
    let calling = client.calling("list_notes", json!({}));
    calling
        .header("traceparent", format!("00-{TRACE}-{SPAN}-01"))
        .send()
        .await
        .unwrap();
    client.traffic().await;
    assert!(collector.trace(TRACE, |_| true).await.is_empty());
    server.process.signal("TERM");
    assert_eq!(
        server.process.exit().await,
        Some(0),
        "{}",
        server.process.all_output()
    );
    let spans = collector.trace(TRACE, |spans| !spans.is_empty()).await;
    the_only(&spans, "toolbridge-mcp", "tools/call list_notes");
    the_only(&spans, "toolbridge-mcp", "DELETE /v1/sync/sessions/{id}");
}

async fn an_unreachable_collector_delays_no_call() {
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "5"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "4"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2"),
    ];
    let server = Server::with("acme", &shared().api, &settings).await;
    let client = Client::modern(&server);
    for _ in 0..20 {
        client.call("list_notes", json!({})).await.ok();
    }
    client.traffic().await;
    server
        .process
        .logged("spans cannot be exported", "level")
        .await;
    server.process.signal("TERM");
    assert_eq!(
        server.process.exit().await,
        Some(0),
        "{}",
        server.process.all_output()
    );
    let said = server.process.out.all();
    let about = said
        .iter()
        .filter(|line| line.contains("spans cannot be exported"));
    assert_eq!(about.count(), 1, "{}", server.process.all_output());
}

async fn a_silent_collector_does_not_delay_shutdown() {
    // The kernel accepts connections, and no program reads from them.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "5"),
        ("TOOLBRIDGE_SERVER_DRAIN_TIMEOUT", "2s"),
    ];
    let server = Server::with("acme", &shared().api, &settings).await;
    let client = Client::modern(&server);
    client.call("list_notes", json!({})).await.ok();
    client.traffic().await;
    let told = tokio::time::Instant::now();
    server.process.signal("TERM");
    assert_eq!(
        server.process.exit().await,
        Some(0),
        "{}",
        server.process.all_output()
    );
    // A request to the collector may take ten seconds; the end may not.
    assert!(
        told.elapsed() < std::time::Duration::from_secs(6),
        "{:?}",
        told.elapsed()
    );
    let level = server
        .process
        .logged("the last spans could not be exported", "level")
        .await;
    assert_eq!(level, "WARN");
}
