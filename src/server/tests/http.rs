//! HTTP checks that run before MCP.

use super::*;

#[tokio::test]
async fn invalid_messages_get_a_json_rpc_error() {
    let stack = Stack::with_settings(Settings {
        max_body_bytes: 1000,
        ..Settings::default()
    })
    .await;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
    let deep = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\",\"params\":{{\"x\":{}{}}}}}",
        "[".repeat(400),
        "]".repeat(400)
    );
    for (body, status, code, id) in [
        ("{", 400, -32700, json!(null)),
        ("", 400, -32700, json!(null)),
        ("[]", 400, -32600, json!(null)),
        (&format!("[{ping}]"), 400, -32600, json!(null)),
        ("{}", 400, -32600, json!(null)),
        (
            r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
            400,
            -32600,
            json!(null),
        ),
        (&deep, 400, -32602, json!(1)),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":7}}"#,
            400,
            -32602,
            json!(1),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x\ud83d"}}"#,
            400,
            -32602,
            json!(1),
        ),
        (
            &format!("{ping}{}", " ".repeat(1000)),
            413,
            -32600,
            json!(null),
        ),
    ] {
        let response = stack.post().body(body.to_owned()).send().await.unwrap();
        assert_eq!(response.status(), status, "{body:.60}");
        let answer = json_of(response).await;
        assert_eq!(
            (&answer["error"]["code"], &answer["id"]),
            (&json!(code), &id),
            "{body:.60}: {answer}"
        );
    }
    for (header, value, status) in [
        ("content-type", "text/plain", 415),
        ("content-type", "application/jsonp", 415),
        ("content-encoding", "gzip", 415),
        ("accept", "text/html", 406),
        ("mcp-protocol-version", "1999-01-01", 400),
    ] {
        let request = stack.http.post(stack.url("/mcp")).bearer_auth(token());
        let request = if header == "content-type" {
            request
        } else {
            request.header("content-type", "application/json")
        };
        let response = request
            .header(header, value)
            .body(ping.clone())
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), status, "{header}: {value}");
        assert_eq!(json_of(response).await["error"]["code"], -32600);
    }
    for accept in [
        None,
        Some("*/*"),
        Some("application/json"),
        Some("application/json;q=0.9, text/event-stream"),
    ] {
        let mut request = stack.http.post(stack.url("/mcp")).bearer_auth(token());
        if let Some(accept) = accept {
            request = request.header("accept", accept);
        }
        let request = request
            .header("content-type", "Application/JSON; charset=utf-8")
            .body(ping.clone());
        assert_eq!(
            json_of(request.send().await.unwrap()).await["result"],
            json!({}),
            "{accept:?}"
        );
    }
}

#[tokio::test]
async fn refuses_a_request_without_a_valid_token() {
    let discoverable = auth::Settings {
        authorization_servers: vec!["https://login.example".into()],
        ..auth_settings()
    };
    let settings = Settings {
        public_url: "https://acme.example".parse().ok(),
        ..Settings::default()
    };
    let stack = Stack::with(settings, discoverable, all_tools(), Duration::from_secs(10)).await;
    let post = || {
        stack
            .http
            .post(stack.url("/mcp?access_token=whatever"))
            .body("{")
    };
    let expired = token_of(json!({"sub": "u", "exp": now() - 100}));
    let other_tenant = token_of(json!({"sub": "u", "exp": now() + 100, "tenant_id": "globex"}));
    let twice = post()
        .bearer_auth(token())
        .header("authorization", format!("Bearer {}", token()));
    for (request, status, reason, with_error) in [
        (post(), 401, "missing", false),
        (post().bearer_auth(&expired), 401, "expired", true),
        (post().bearer_auth("a.b.c"), 401, "malformed", true),
        (
            post().basic_auth("user", Some("password")),
            401,
            "malformed",
            true,
        ),
        (twice, 401, "malformed", true),
        (
            post().bearer_auth(&other_tenant),
            403,
            "tenant_mismatch",
            false,
        ),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status, "{reason}");
        let challenge = response
            .headers()
            .get("www-authenticate")
            .map(|value| value.to_str().unwrap().to_owned());
        if status == 401 {
            let challenge = challenge.unwrap();
            let start = "Bearer resource_metadata=\"https://acme.example/.well-known/\
                         oauth-protected-resource/mcp\"";
            assert!(challenge.starts_with(start), "{challenge}");
            assert_eq!(
                challenge.contains("error=\"invalid_token\""),
                with_error,
                "{challenge}"
            );
        } else {
            assert_eq!(challenge, None);
        }
        let correlation_id = response.headers()["x-correlation-id"]
            .to_str()
            .unwrap()
            .to_owned();
        let body = json_of(response).await;
        assert_eq!(
            (&body["reason"], &body["correlation_id"]),
            (&json!(reason), &json!(correlation_id))
        );
        // Some clients show only the JSON-RPC error.
        assert!(
            body["error"]["message"].as_str().unwrap().contains("token"),
            "{body}"
        );
        assert_eq!(body["error"]["code"], -31012, "{body}");
    }
    for path in [
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/mcp",
    ] {
        let document = json_of(stack.http.get(stack.url(path)).send().await.unwrap()).await;
        assert_eq!(document["resource"], "https://acme.example/mcp");
        assert_eq!(
            document["authorization_servers"],
            json!(["https://login.example"])
        );
    }
    assert!(stack.api.seen().is_empty());
}

/// A connection that is closed while the client still writes may lose the response.
#[tokio::test]
async fn reads_the_rest_of_a_refused_request() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let stack = Stack::start().await;
    let address = stack
        .url("")
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .to_owned();
    let mut connection = tokio::net::TcpStream::connect(&address).await.unwrap();
    let head = format!("POST /mcp HTTP/1.1\r\nhost: {address}\r\ncontent-length: 10\r\n\r\n");
    for _ in 0..2 {
        connection.write_all(head.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        connection.write_all(b"{\"id\": 10}").await.unwrap();
        let mut answer = vec![0; 4096];
        let read = connection.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        assert!(!answer.contains("connection: close"), "{answer}");
    }
}

#[tokio::test]
async fn tells_oauth_clients_how_to_connect() {
    let stack = Stack::start().await;
    for path in ["/register", "/token"] {
        let response = stack
            .http
            .post(stack.url(path))
            .body("{}")
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 404);
        let message = json_of(response).await["message"].to_string();
        assert!(message.contains("Authorization: Bearer"), "{message}");
    }
}

#[tokio::test]
async fn refuses_other_paths_and_methods_in_json() {
    let stack = Stack::start().await;
    for (method, path, status, allow) in [
        ("GET", "/mcp", 405, Some("POST")),
        ("DELETE", "/mcp", 405, Some("POST")),
        ("PUT", "/mcp", 405, Some("POST")),
        ("OPTIONS", "/mcp", 405, Some("POST")),
        ("POST", "/healthz", 405, Some("GET, HEAD")),
        ("GET", "/", 404, None),
        ("GET", "/mcp/", 404, None),
        ("GET", "/v1/notes", 404, None),
        ("GET", "/.well-known/oauth-protected-resource", 404, None),
    ] {
        let response = stack
            .http
            .request(method.parse().unwrap(), stack.url(path))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), status, "{method} {path}");
        assert_eq!(
            response
                .headers()
                .get("allow")
                .map(|value| value.to_str().unwrap()),
            allow,
            "{method} {path}"
        );
        assert!(json_of(response).await["correlation_id"].is_string());
    }
}

#[tokio::test]
async fn checks_host_and_origin_before_the_token() {
    let stack = Stack::start().await;
    let own = stack.url("");
    for (host, origin, status) in [
        (None, None, 401),
        (None, Some(own.as_str()), 401),
        (None, Some("https://evil.example"), 403),
        (None, Some("null"), 403),
        (Some("evil.example"), None, 403),
        (Some("evil.example"), Some("http://evil.example"), 403),
    ] {
        let mut request = stack.http.post(stack.url("/mcp"));
        if let Some(host) = host {
            request = request.header("host", host);
        }
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        assert_eq!(
            request.send().await.unwrap().status(),
            status,
            "{host:?} {origin:?}"
        );
    }
    // Probes may use any host name.
    let health = stack
        .http
        .get(stack.url("/healthz"))
        .header("host", "evil.example")
        .send()
        .await
        .unwrap();
    assert_eq!(health.status(), 200);
}

#[tokio::test]
async fn refuses_repeated_headers() {
    let stack = Stack::start().await;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
    for (name, value) in [
        ("mcp-protocol-version", "2025-11-25"),
        ("content-type", "application/json"),
        ("mcp-method", "ping"),
        ("mcp-name", "x"),
    ] {
        let twice = stack
            .post()
            .header(name, value)
            .header(name, value)
            .body(ping.clone());
        let answer = twice.send().await.unwrap();
        assert_eq!(answer.status(), 400, "{name}");
        assert_eq!(json_of(answer).await["error"]["code"], -32600, "{name}");
    }
}

#[tokio::test]
async fn truncates_long_names_in_errors() {
    let stack = Stack::start().await;
    let answer = stack
        .post()
        .body(message(&"x".repeat(60_000), json!({})).to_string());
    let answer = json_of(answer.send().await.unwrap()).await;
    assert_eq!(answer["error"]["code"], -32601);
    assert_eq!(
        answer["error"]["message"],
        format!("unknown method: {}", "x".repeat(64))
    );
    let cursor = stack
        .post()
        .body(message("tools/list", json!({"cursor": 7})).to_string());
    assert_eq!(
        json_of(cursor.send().await.unwrap()).await["error"]["code"],
        -32602
    );
}
