//! Requests of browser pages of other origins.

use super::*;

const PAGE: &str = "https://app.example";

async fn stack(origins: &[&str]) -> Stack {
    let discoverable = auth::Settings {
        authorization_servers: vec!["https://login.example".into()],
        ..auth_settings()
    };
    let settings = Settings {
        public_url: "https://acme.example".parse().ok(),
        allowed_origins: origins.iter().map(|origin| (*origin).to_owned()).collect(),
        ..Settings::default()
    };
    Stack::with(settings, discoverable, all_tools(), Duration::from_secs(10)).await
}

fn preflight(stack: &Stack, path: &str, origin: &str) -> reqwest::RequestBuilder {
    stack
        .http
        .request(reqwest::Method::OPTIONS, stack.url(path))
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "authorization,content-type,mcp-protocol-version",
        )
}

fn header<'a>(response: &'a reqwest::Response, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn allows_pages_of_a_listed_origin() {
    let stack = stack(&[PAGE]).await;
    let preflighted = preflight(&stack, "/mcp", PAGE).send().await.unwrap();
    assert_eq!(preflighted.status(), 204);
    assert_eq!(header(&preflighted, "access-control-allow-origin"), PAGE);
    assert_eq!(
        header(&preflighted, "access-control-allow-methods"),
        "GET, POST, DELETE"
    );
    assert_eq!(header(&preflighted, "access-control-allow-credentials"), "");
    assert_eq!(header(&preflighted, "vary"), "Origin");
    let allowed = header(&preflighted, "access-control-allow-headers").to_ascii_lowercase();
    let allowed: Vec<&str> = allowed.split(", ").collect();
    for name in [
        "authorization",
        "content-type",
        "mcp-protocol-version",
        "mcp-method",
        "mcp-name",
        "mcp-session-id",
        "x-mcp-toolsets",
        "x-mcp-readonly",
        "x-correlation-id",
    ] {
        assert!(allowed.contains(&name), "{name}: {allowed:?}");
    }
    let ping = message("ping", json!({})).to_string();
    let without_token = stack.http.post(stack.url("/mcp")).body(ping.clone());
    for (request, status) in [
        (stack.post().body(ping.clone()), 200),
        (without_token, 401),
        (stack.post().body("{"), 400),
        (stack.http.get(stack.url("/mcp")), 405),
    ] {
        let answer = request.header("origin", PAGE).send().await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(
            header(&answer, "access-control-allow-origin"),
            PAGE,
            "{status}"
        );
        assert_eq!(header(&answer, "vary"), "Origin", "{status}");
        let read = header(&answer, "access-control-expose-headers");
        assert!(
            read.contains("WWW-Authenticate") && read.contains("X-Correlation-ID"),
            "{read}"
        );
    }
    // A request without an origin gets `Vary`, so that no cache serves its response to a page.
    let plain = stack.post().body(ping).send().await.unwrap();
    assert_eq!(
        (
            header(&plain, "access-control-allow-origin"),
            header(&plain, "vary")
        ),
        ("", "Origin")
    );
    assert!(stack.api.seen().is_empty());
}

#[tokio::test]
async fn refuses_pages_of_other_origins() {
    for origins in [&[][..], &[PAGE]] {
        let stack = stack(origins).await;
        for origin in [
            "https://evil.example",
            "null",
            "https://app.example.evil.example",
        ] {
            let preflighted = preflight(&stack, "/mcp", origin).send().await.unwrap();
            assert_eq!(preflighted.status(), 403, "{origin}");
            assert_eq!(
                header(&preflighted, "access-control-allow-origin"),
                "",
                "{origin}"
            );
        }
        // An OPTIONS request that is no preflight is refused like any other method.
        let plain = stack
            .http
            .request(reqwest::Method::OPTIONS, stack.url("/mcp"));
        assert_eq!(plain.send().await.unwrap().status(), 405);
    }
    // The server's own pages need no CORS headers, and without configured origins none are sent.
    let listing = stack(&[PAGE]).await;
    let own = listing.post().header("origin", listing.url(""));
    let own = own
        .body(message("ping", json!({})).to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            own.status().as_u16(),
            header(&own, "access-control-allow-origin")
        ),
        (200, "")
    );
    let stack = stack(&[]).await;
    let own = stack.url("");
    let answer = stack
        .post()
        .header("origin", own)
        .body(message("ping", json!({})).to_string());
    let answer = answer.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(
        (
            header(&answer, "access-control-allow-origin"),
            header(&answer, "vary")
        ),
        ("", "")
    );
}

#[tokio::test]
async fn names_the_origin_when_every_origin_is_allowed() {
    let stack = stack(&["*"]).await;
    let preflighted = preflight(&stack, "/mcp", "https://any.example")
        .send()
        .await
        .unwrap();
    assert_eq!(
        header(&preflighted, "access-control-allow-origin"),
        "https://any.example"
    );
    assert_eq!(header(&preflighted, "access-control-allow-credentials"), "");
}

#[tokio::test]
async fn any_page_can_read_the_metadata() {
    let stack = stack(&[]).await;
    for path in [
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/mcp",
    ] {
        let preflighted = preflight(&stack, path, "http://localhost:6274")
            .send()
            .await
            .unwrap();
        assert_eq!(preflighted.status(), 204);
        assert!(
            header(&preflighted, "access-control-allow-headers").contains("MCP-Protocol-Version")
        );
        let read = stack
            .http
            .get(stack.url(path))
            .header("origin", "http://localhost:6274");
        for answer in [preflighted, read.send().await.unwrap()] {
            assert!(answer.status().is_success());
            assert_eq!(header(&answer, "access-control-allow-origin"), "*");
            assert_eq!(header(&answer, "access-control-allow-credentials"), "");
        }
        let strange = stack
            .http
            .get(stack.url(path))
            .header("host", "evil.example");
        assert_eq!(strange.send().await.unwrap().status(), 403);
    }
    // A page can also read the error when there is no metadata.
    let plain = Stack::start().await;
    let absent = plain
        .http
        .get(plain.url("/.well-known/oauth-protected-resource"));
    let absent = absent.header("origin", PAGE).send().await.unwrap();
    assert_eq!(
        (
            absent.status().as_u16(),
            header(&absent, "access-control-allow-origin")
        ),
        (404, "*")
    );
}
