//! Everything that happens before a tool is called: tokens, addresses, methods, and messages that
//! are none.
//!
//! Nobody here gets as far as the API, and each test ends by looking that nothing was sent to it.

use http::Method;
use serde_json::{Value, json};

use crate::harness::token::{new_secret, now_secs, token};
use crate::harness::{Client, Era, HttpReply, SECRETS, Server, StdioClient, ToolClient, shared};

crate::tests![
    requires_a_valid_token,
    a_token_of_another_tenant_is_refused,
    the_challenge_leads_to_the_authorization_server,
    invalid_messages_get_a_json_rpc_error,
    invalid_lines_do_not_end_a_stdio_session,
    a_call_without_an_id_is_not_executed,
    refuses_a_body_over_the_limit,
    refuses_wrong_media_types,
    mcp_accepts_only_post,
    refuses_unknown_hosts_and_origins,
    accepts_listed_hosts_and_origins,
    a_page_of_a_listed_origin_passes_preflight_and_reads_the_response,
    health_endpoints_need_no_token,
];

fn list(era: Era) -> String {
    era.message(
        1,
        "tools/call",
        json!({"name": "list_notes", "arguments": {}}),
    )
    .to_string()
}

async fn requires_a_valid_token() {
    for era in Era::all() {
        let client = Client::new(&shared().acme, era);
        let sub = client.user.sub.clone();
        let signed = |claims: Value| token(claims, &SECRETS.jwt);
        let good = &client.user.token;
        let (head, rest) = good.split_once('.').unwrap();
        let (claims, seal) = rest.split_once('.').unwrap();
        let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims}.");
        let altered: String = seal.chars().rev().collect();
        for (authorization, reason) in [
            (None, "missing"),
            (Some("Bearer".to_owned()), "malformed"),
            (Some("Bearer garbled".to_owned()), "malformed"),
            (Some("Bearer a.b.c".to_owned()), "malformed"),
            (Some("Basic YWRhOnNlY3JldA==".to_owned()), "malformed"),
            (Some(good.clone()), "malformed"),
            (Some(format!("Bearer {good}, Bearer {good}")), "malformed"),
            (Some(format!("Bearer {unsigned}")), "malformed"),
            (
                Some(format!("Bearer {head}.{claims}.{altered}")),
                "bad_signature",
            ),
            (
                Some(format!(
                    "Bearer {}",
                    token(json!({"sub": sub}), &new_secret())
                )),
                "bad_signature",
            ),
            (
                Some(format!(
                    "Bearer {}",
                    signed(json!({"sub": sub, "exp": now_secs() - 120}))
                )),
                "expired",
            ),
            (
                Some(format!(
                    "Bearer {}",
                    signed(json!({"sub": sub, "nbf": now_secs() + 300}))
                )),
                "not_yet_valid",
            ),
            (
                Some(format!("Bearer {}", signed(json!({"sub": ""})))),
                "malformed",
            ),
            (
                Some(format!(
                    "Bearer {}",
                    signed(json!({"sub": sub, "exp": "tomorrow"}))
                )),
                "malformed",
            ),
        ] {
            let mut request = client.bare_post().body(list(era));
            if let Some(authorization) = &authorization {
                request = request.header("authorization", authorization);
            }
            let answer = HttpReply::of(request).await;
            assert_eq!(answer.status, 401, "{reason}: {answer}");
            let challenge = answer.header("www-authenticate");
            assert!(challenge.starts_with("Bearer "), "{challenge}");
            assert_eq!(
                challenge.contains("error=\"invalid_token\""),
                authorization.is_some(),
                "{challenge}"
            );
            let body = answer.json();
            assert_eq!(body["reason"], reason, "{answer}");
            assert_eq!(body["correlation_id"], answer.header("x-correlation-id"));
        }
        // Two headers are one too many, and a token in the address is none at all.
        let twice = client.post().bearer_auth(good).body(list(era));
        assert_eq!(HttpReply::of(twice).await.status, 401);
        let http = reqwest::Client::new();
        let in_address = http
            .post(format!("{}?access_token={good}", shared().acme.mcp()))
            .body(list(era));
        assert_eq!(HttpReply::of(in_address).await.status, 401);
        assert!(client.traffic().await.0.is_empty(), "nothing was sent");
    }
}

async fn a_token_of_another_tenant_is_refused() {
    for (here, there) in [
        (&shared().acme, &shared().globex),
        (&shared().globex, &shared().acme),
    ] {
        for era in Era::all() {
            let client = Client::of(here, era, there.new_user());
            let answer = HttpReply::of(client.calling("list_notes", json!({}))).await;
            assert_eq!(answer.status, 403, "{answer}");
            assert_eq!(answer.json()["reason"], "tenant_mismatch");
            assert_eq!(
                answer.header("www-authenticate"),
                "",
                "another token of the same kind would not help"
            );
            assert!(client.traffic().await.0.is_empty(), "nothing was sent");
        }
    }
}

async fn the_challenge_leads_to_the_authorization_server() {
    let settings = [
        ("TOOLBRIDGE_SERVER_PUBLIC_URL", "https://acme.example.com"),
        (
            "TOOLBRIDGE_AUTH_AUTHORIZATION_SERVERS",
            "https://login.example.com",
        ),
    ];
    let server = Server::with("acme", &shared().api, &settings).await;
    let client = Client::modern(&server);
    let answer = HttpReply::of(client.bare_post().body("{}")).await;
    let challenge = answer.header("www-authenticate");
    let metadata = "/.well-known/oauth-protected-resource";
    let leads = format!("resource_metadata=\"https://acme.example.com{metadata}/mcp\"");
    assert!(
        answer.status == 401 && challenge.contains(&leads),
        "{challenge}"
    );
    for path in [metadata.to_owned(), format!("{metadata}/mcp")] {
        let document = HttpReply::of(client.get(&path)).await.json();
        assert_eq!(document["resource"], "https://acme.example.com/mcp");
        assert_eq!(
            document["authorization_servers"],
            json!(["https://login.example.com"])
        );
        assert_eq!(document["bearer_methods_supported"], json!(["header"]));
    }
    // Without an authorization server there is nothing that discovery could lead to.
    let client = Client::modern(&shared().acme);
    assert_eq!(HttpReply::of(client.get(metadata)).await.status, 404);
    server.stop().await;
}

async fn invalid_messages_get_a_json_rpc_error() {
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
    let client = Client::new(&shared().acme, Era::Legacy("2025-06-18"));
    for (body, code, id) in [
        ("", -32700, json!(null)),
        ("{", -32700, json!(null)),
        ("not json", -32700, json!(null)),
        (&format!("{ping}{ping}"), -32700, json!(null)),
        ("[]", -32600, json!(null)),
        (&format!("[{ping}]"), -32600, json!(null)),
        (&format!("[{ping},{ping}]"), -32600, json!(null)),
        ("{}", -32600, json!(null)),
        ("null", -32600, json!(null)),
        (
            r#"{"jsonrpc":"1.0","id":7,"method":"ping"}"#,
            -32600,
            json!(7),
        ),
        (
            r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
            -32600,
            json!(null),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}"#,
            -32600,
            json!(null),
        ),
    ] {
        let answer = HttpReply::of(client.post().body(body.to_owned())).await;
        assert_eq!((answer.status, answer.rpc_code()), (400, code), "{answer}");
        let said = answer.json();
        assert_eq!(
            (&said["jsonrpc"], &said["id"]),
            (&json!("2.0"), &id),
            "{answer}"
        );
    }
    assert!(client.traffic().await.0.is_empty(), "nothing was sent");
}

async fn invalid_lines_do_not_end_a_stdio_session() {
    for era in [Era::Modern, Era::Legacy("2025-06-18")] {
        let stdio = StdioClient::start(&shared().acme, era).await;
        stdio.call("list_notes", json!({})).await.ok();
        for nonsense in [
            "",
            "{",
            "not json",
            "[]",
            "null",
            "{}",
            r#"{"jsonrpc":"2.0","id":{},"method":"tools/list"}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/unheard_of"}"#,
            r#"{"jsonrpc":"2.0","id":4711,"result":{}}"#,
        ] {
            stdio.process.send(nonsense).await;
            stdio.call("list_notes", json!({})).await.ok();
        }
        stdio.traffic().await;
        stdio.close().await;
    }
}

async fn a_call_without_an_id_is_not_executed() {
    for era in Era::all() {
        let client = Client::new(&shared().acme, era);
        let mut message = era.message(
            1,
            "tools/call",
            json!({"name": "create_note", "arguments": {"title": "t", "content": "c"}}),
        );
        message.as_object_mut().unwrap().remove("id");
        let request = client.post().header("mcp-protocol-version", era.version());
        let answer = HttpReply::of(
            request
                .header("mcp-method", "tools/call")
                .header("mcp-name", "create_note")
                .body(message.to_string()),
        )
        .await;
        assert!([202, 400].contains(&answer.status), "{answer}");
        assert_eq!(
            client.call("list_notes", json!({})).await.ok(),
            json!({"items": []})
        );
        client.traffic().await;
    }
}

async fn refuses_a_body_over_the_limit() {
    let server = Server::with(
        "acme",
        &shared().api,
        &[("TOOLBRIDGE_SERVER_MAX_BODY_BYTES", "4KiB")],
    )
    .await;
    for era in Era::all() {
        let client = Client::new(&server, era);
        let large = client.calling(
            "create_note",
            json!({"title": "t", "content": "x".repeat(5_000)}),
        );
        let answer = HttpReply::of(large).await;
        assert_eq!(
            (answer.status, answer.rpc_code()),
            (413, -32600),
            "{answer}"
        );
        assert!(client.traffic().await.0.is_empty(), "nothing was sent");
        client
            .call(
                "create_note",
                json!({"title": "t", "content": "x".repeat(2_000)}),
            )
            .await
            .ok();
        client.traffic().await;
    }
    server.stop().await;
}

async fn refuses_wrong_media_types() {
    let client = Client::new(&shared().acme, Era::Legacy("2025-06-18"));
    let http = reqwest::Client::new();
    for (name, value, status) in [
        ("content-type", "text/plain", 415),
        ("content-type", "application/x-www-form-urlencoded", 415),
        ("content-type", "application/jsonp", 415),
        ("content-encoding", "gzip", 415),
        ("accept", "text/html", 406),
        ("mcp-protocol-version", "1999-01-01", 400),
    ] {
        let mut request = http
            .post(client.server.mcp())
            .bearer_auth(&client.user.token)
            .header(name, value);
        if name != "content-type" {
            request = request.header("content-type", "application/json");
        }
        let answer = HttpReply::of(request.body(list(client.era))).await;
        assert_eq!(
            (answer.status, answer.rpc_code()),
            (status, -32600),
            "{name}: {value}: {answer}"
        );
    }
    assert!(client.traffic().await.0.is_empty(), "nothing was sent");
    // What clients of the field send in its place is understood.
    for accept in [
        None,
        Some("*/*"),
        Some("application/json"),
        Some("application/json;q=0.5, text/event-stream"),
    ] {
        let mut request = http
            .post(client.server.mcp())
            .bearer_auth(&client.user.token);
        if let Some(accept) = accept {
            request = request.header("accept", accept);
        }
        let request = request
            .header("content-type", "Application/JSON; charset=utf-8")
            .body(list(client.era));
        assert_eq!(
            HttpReply::of(request).await.result()["isError"],
            false,
            "{accept:?}"
        );
    }
    client.traffic().await;
}

async fn mcp_accepts_only_post() {
    let client = Client::modern(&shared().acme);
    for method in [
        Method::GET,
        Method::DELETE,
        Method::PUT,
        Method::PATCH,
        Method::OPTIONS,
    ] {
        let request = reqwest::Client::new().request(method.clone(), client.server.mcp());
        let answer = HttpReply::of(request.bearer_auth(&client.user.token)).await;
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, "POST"),
            "{method}: {answer}"
        );
    }
    let page = HttpReply::of(client.get("/")).await;
    assert_eq!(
        (page.status, page.header("cache-control")),
        (200, "no-store"),
        "{page}"
    );
    for path in ["/mcp/", "/mcp/x", "/v1/notes", "/metrics", "/sync"] {
        assert_eq!(HttpReply::of(client.get(path)).await.status, 404, "{path}");
    }
    assert!(client.traffic().await.0.is_empty(), "nothing was sent");
}

async fn refuses_unknown_hosts_and_origins() {
    let client = Client::modern(&shared().acme);
    let own = client.server.url.clone();
    for (host, origin, status) in [
        (None, None, 200),
        (None, Some(own.as_str()), 200),
        (Some("localhost"), None, 200),
        (Some("evil.example"), None, 403),
        (Some("evil.example"), Some("http://evil.example"), 403),
        (None, Some("https://evil.example"), 403),
        (None, Some("null"), 403),
        (None, Some("file://"), 403),
    ] {
        let mut request = client.calling("list_notes", json!({}));
        if let Some(host) = host {
            request = request.header("host", host);
        }
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let answer = HttpReply::of(request).await;
        assert_eq!(answer.status, status, "{host:?} {origin:?}: {answer}");
    }
    assert_eq!(
        client.traffic().await.0.len(),
        9,
        "only the three that were let in"
    );
}

async fn accepts_listed_hosts_and_origins() {
    let settings = [
        ("TOOLBRIDGE_SERVER_ALLOWED_HOSTS", "acme.example.com"),
        (
            "TOOLBRIDGE_SERVER_ALLOWED_ORIGINS",
            "https://app.example.com",
        ),
    ];
    let server = Server::with("acme", &shared().api, &settings).await;
    let client = Client::modern(&server);
    for (host, origin, status) in [
        ("acme.example.com", "https://app.example.com", 200),
        ("evil.example.com", "https://app.example.com", 403),
        ("acme.example.com", "http://app.example.com", 403),
        (
            "acme.example.com",
            "https://app.example.com.evil.example",
            403,
        ),
    ] {
        let request = client
            .calling("list_notes", json!({}))
            .header("host", host)
            .header("origin", origin);
        assert_eq!(
            HttpReply::of(request).await.status,
            status,
            "{host} {origin}"
        );
    }
    assert_eq!(client.traffic().await.0.len(), 3);
    server.stop().await;
}

async fn a_page_of_a_listed_origin_passes_preflight_and_reads_the_response() {
    let page = "https://app.example.com";
    let server = Server::with(
        "acme",
        &shared().api,
        &[("TOOLBRIDGE_SERVER_ALLOWED_ORIGINS", page)],
    )
    .await;
    let client = Client::modern(&server);
    for (origin, status, readable) in [(page, 204, page), ("https://evil.example", 403, "")] {
        let asked = reqwest::Client::new()
            .request(Method::OPTIONS, server.mcp())
            .header("origin", origin)
            .header("access-control-request-method", "POST");
        let answer = HttpReply::of(asked).await;
        assert_eq!(
            (answer.status, answer.header("access-control-allow-origin")),
            (status, readable),
            "{origin}: {answer}"
        );
    }
    let called = HttpReply::of(
        client
            .calling("list_notes", json!({}))
            .header("origin", page),
    )
    .await;
    assert_eq!(
        (called.status, called.header("access-control-allow-origin")),
        (200, page)
    );
    client.traffic().await;
    // The metadata is there for any page, or to any page not there.
    let path = "/.well-known/oauth-protected-resource";
    let absent = HttpReply::of(client.get(path).header("origin", "https://evil.example")).await;
    assert_eq!(
        (absent.status, absent.header("access-control-allow-origin")),
        (404, "*")
    );
    server.stop().await;
}

async fn health_endpoints_need_no_token() {
    let client = Client::modern(&shared().acme);
    for path in ["/healthz", "/readyz"] {
        let answer = HttpReply::of(client.get(path).header("host", "whatever.example")).await;
        assert_eq!(answer.status, 200, "{answer}");
    }
}
