//! Sessions of the legacy revisions: their use, their owners and their limits.

use super::*;
use crate::api::scripted_api::Step;
use tokio::sync::Notify;

const ID: &str = "mcp-session-id";

async fn stateful(max_sessions: usize, session_idle: Duration) -> Stack {
    Stack::with_settings(Settings {
        sessions: settings::Sessions::Stateful,
        max_sessions,
        session_idle,
        ..Settings::default()
    })
    .await
}

async fn with_free_capacity() -> Stack {
    stateful(100, Duration::from_secs(60)).await
}

fn token_for(subject: &str) -> String {
    token_of(json!({"sub": subject, "exp": now() + 600}))
}

fn initialize() -> String {
    let client = json!({"name": "test", "version": "1"});
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
    message("initialize", params).to_string()
}

impl Stack {
    fn request(
        &self,
        method: &str,
        subject: &str,
        session: Option<&str>,
    ) -> reqwest::RequestBuilder {
        let mut request = self
            .http
            .request(method.parse().unwrap(), self.url("/mcp"))
            .bearer_auth(token_for(subject))
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json");
        if let Some(session) = session {
            request = request
                .header("mcp-protocol-version", "2025-11-25")
                .header(ID, session);
        }
        request
    }

    async fn open(&self, subject: &str) -> String {
        let answer = self.request("POST", subject, None).body(initialize());
        let answer = answer.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let id = answer.headers()[ID].to_str().unwrap().to_owned();
        assert!(answer.text().await.unwrap().contains("protocolVersion"));
        id
    }

    async fn list(&self, subject: &str, session: &str) -> reqwest::Response {
        let list = message("tools/list", json!({})).to_string();
        let request = self.request("POST", subject, Some(session)).body(list);
        request.send().await.unwrap()
    }
}

#[tokio::test]
async fn a_session_serves_its_owner() {
    let stack = with_free_capacity().await;
    let id = stack.open("ann").await;
    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string();
    let ready = stack
        .request("POST", "ann", Some(&id))
        .body(ready)
        .send()
        .await
        .unwrap();
    assert_eq!(ready.status(), 202);
    let list = stack.list("ann", &id).await;
    assert_eq!(
        (
            list.status().as_u16(),
            list.headers()["content-type"].as_bytes()
        ),
        (200, &b"text/event-stream"[..])
    );
    assert!(list.text().await.unwrap().contains("create_note"));

    let mut listening = stack.request("GET", "ann", Some(&id)).send().await.unwrap();
    assert_eq!(listening.status(), 200);
    assert!(listening.chunk().await.unwrap().is_some());

    let end = stack
        .request("DELETE", "ann", Some(&id))
        .send()
        .await
        .unwrap();
    assert_eq!(end.status(), 202);
    assert_eq!(stack.list("ann", &id).await.status(), 404);
    assert_eq!(
        stack
            .request("DELETE", "ann", Some(&id))
            .send()
            .await
            .unwrap()
            .status(),
        404
    );
    // The stream ends with the session.
    while listening.chunk().await.unwrap().is_some() {}
}

/// A call uses the token of its own request, not that of the request that opened the session.
#[tokio::test]
async fn a_call_uses_the_token_of_its_own_request() {
    let stack = with_free_capacity().await;
    let id = stack.open("ann").await;
    let fresh = token_of(json!({"sub": "ann", "exp": now() + 601}));
    let call = message("tools/call", json!({"name": "list_notes", "arguments": {}})).to_string();
    let request = stack.request("POST", "ann", Some(&id)).body(call);
    let mut request = request.build().unwrap();
    let bearer = format!("Bearer {fresh}");
    request
        .headers_mut()
        .insert("authorization", bearer.parse().unwrap());
    let answer = stack.http.execute(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.text().await.unwrap();
    let seen = stack.api.seen();
    assert!(!seen.is_empty());
    for request in seen {
        assert_eq!(request.header("authorization"), bearer);
    }
}

#[tokio::test]
async fn a_session_does_not_exist_for_others() {
    let stack = with_free_capacity().await;
    let id = stack.open("ann").await;
    for method in ["POST", "GET", "DELETE"] {
        let ask = async |subject, session| {
            let body = message("tools/list", json!({})).to_string();
            let request = stack.request(method, subject, Some(session)).body(body);
            let answer = request.send().await.unwrap();
            let status = answer.status();
            let mut body = json_of(answer).await;
            body["error"]["data"]["correlation_id"].take();
            (status.as_u16(), body)
        };
        let stolen = ask("bob", &id).await;
        assert_eq!(stolen.0, 404, "{method}");
        assert_eq!(
            stolen,
            ask("bob", "00000000-0000-4000-8000-000000000000").await,
            "{method}"
        );
        assert_eq!(stolen, ask("bob", "").await, "{method}");
    }
    // The session is unaffected.
    assert_eq!(stack.list("ann", &id).await.status(), 200);
    let unauthenticated = stack
        .http
        .get(stack.url("/mcp"))
        .header(ID, &id)
        .send()
        .await
        .unwrap();
    assert_eq!(unauthenticated.status(), 401);
}

#[tokio::test]
async fn a_response_to_the_server_needs_the_session() {
    let stack = with_free_capacity().await;
    let id = stack.open("ann").await;
    let answer = json!({"jsonrpc": "2.0", "id": 0, "result": {}}).to_string();
    for (subject, session, status) in [
        ("ann", Some(id.as_str()), 202),
        ("bob", Some(&id), 404),
        ("ann", None, 400),
    ] {
        let request = stack.request("POST", subject, session).body(answer.clone());
        assert_eq!(
            request.send().await.unwrap().status(),
            status,
            "{subject} {session:?}"
        );
    }
}

#[tokio::test]
async fn refuses_two_session_ids() {
    let stack = with_free_capacity().await;
    let (one, other) = (stack.open("ann").await, stack.open("bob").await);
    for method in ["POST", "GET", "DELETE"] {
        let body = message("tools/list", json!({})).to_string();
        let request = stack
            .request(method, "ann", Some(&one))
            .header(ID, &other)
            .body(body);
        assert_eq!(request.send().await.unwrap().status(), 400, "{method}");
    }
}

#[tokio::test]
async fn serves_other_requests_without_a_session() {
    let stack = with_free_capacity().await;
    let json_only = stack
        .request("POST", "ann", None)
        .body(initialize())
        .build()
        .unwrap();
    let json_only = {
        let mut request = json_only;
        request
            .headers_mut()
            .insert("accept", "application/json".parse().unwrap());
        stack.http.execute(request).await.unwrap()
    };
    assert!(!json_only.headers().contains_key(ID));
    assert_eq!(
        json_of(json_only).await["result"]["protocolVersion"],
        "2025-11-25"
    );
    assert_eq!(
        stack.legacy("tools/list", json!({})).await["result"]["tools"]
            .as_array()
            .map(Vec::len),
        Some(tool_count())
    );
    // The modern revision has no sessions, so the id is ignored.
    let modern = stack
        .modern("server/discover", json!({}))
        .header(ID, "whatever")
        .send()
        .await
        .unwrap();
    assert_eq!(modern.status(), 200);
    for method in ["GET", "DELETE"] {
        let answer = stack.request(method, "ann", None).send().await.unwrap();
        assert_eq!(
            (
                answer.status().as_u16(),
                answer.headers()["allow"].as_bytes()
            ),
            (405, &b"POST"[..])
        );
    }
    let within = stack.open("ann").await;
    let request = stack
        .request("POST", "ann", Some(&within))
        .body(message("ping", json!({})).to_string());
    let mut request = request.build().unwrap();
    request
        .headers_mut()
        .insert("accept", "application/json".parse().unwrap());
    assert_eq!(stack.http.execute(request).await.unwrap().status(), 406);
}

#[tokio::test]
async fn ignores_session_ids_when_sessions_are_disabled() {
    let stack = Stack::start().await;
    let answer = stack
        .request("POST", "ann", None)
        .body(initialize())
        .send()
        .await
        .unwrap();
    assert!(!answer.headers().contains_key(ID));
    assert_eq!(stack.list("ann", "whatever").await.status(), 200);
}

#[tokio::test]
async fn refuses_new_sessions_at_the_limit() {
    let stack = stateful(2, Duration::from_secs(60)).await;
    let (anns, bobs) = (stack.open("ann").await, stack.open("bob").await);
    let full = stack
        .request("POST", "eve", None)
        .body(initialize())
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            full.status().as_u16(),
            full.headers()["retry-after"].as_bytes()
        ),
        (503, &b"30"[..])
    );
    assert_eq!(json_of(full).await["error"]["code"], -32603);
    // The owner's own session is evicted.
    let again = stack.open("ann").await;
    assert_eq!(stack.list("ann", &anns).await.status(), 404);
    assert_eq!(stack.list("ann", &again).await.status(), 200);
    // An ended session frees capacity.
    stack
        .request("DELETE", "bob", Some(&bobs))
        .send()
        .await
        .unwrap();
    stack.open("eve").await;
}

#[tokio::test]
async fn an_idle_session_expires() {
    let stack = stateful(1, Duration::from_millis(50)).await;
    let id = stack.open("ann").await;
    let mut listening = stack.request("GET", "ann", Some(&id)).send().await.unwrap();
    while listening.chunk().await.unwrap().is_some() {}
    assert_eq!(stack.list("ann", &id).await.status(), 404);
    stack.open("bob").await;
}

/// A session whose client disconnects while it is opened is still registered for its owner.
#[tokio::test]
async fn a_disconnect_while_opening_leaves_at_most_one_session() {
    let stack = stateful(1, Duration::from_secs(60)).await;
    for _ in 0..8 {
        let request = stack.request("POST", "ann", None).body(initialize());
        let request = tokio::spawn(request.send());
        tokio::task::yield_now().await;
        request.abort();
    }
    // Wherever each request was aborted, at most one session is counted, and it is owned by ann.
    let id = stack.open("ann").await;
    assert_eq!(stack.list("ann", &id).await.status(), 200);
    let full = stack
        .request("POST", "eve", None)
        .body(initialize())
        .send()
        .await
        .unwrap();
    assert_eq!(full.status(), 503);
}

#[tokio::test]
async fn session_streams_do_not_delay_the_drain() {
    let stack = with_free_capacity().await;
    let id = stack.open("ann").await;
    let listening = stack.request("GET", "ann", Some(&id)).send().await.unwrap();
    assert_eq!(listening.status(), 200);
    assert!(stack.stop().await.finished);
}

/// Starts a call that waits at the API, and returns the stream of its response.
async fn begin_call(stack: &Stack, session: &str, step: Step) -> reqwest::Response {
    stack.api.then([step]);
    let call = message("tools/call", json!({"name": "list_notes", "arguments": {}})).to_string();
    let request = stack.request("POST", "ann", Some(session)).body(call);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    // The API session is open and the request itself has arrived.
    stack.api.until_seen(2).await;
    answer
}

#[tokio::test]
async fn only_the_owner_can_resume_the_stream_of_a_call() {
    let stack = with_free_capacity().await;
    let id = stack.open("ann").await;
    let gate = Arc::new(Notify::new());
    let mut stream = begin_call(&stack, &id, Step::Gate(Arc::clone(&gate))).await;
    let first = String::from_utf8(stream.chunk().await.unwrap().unwrap().to_vec()).unwrap();
    let event_id = first
        .lines()
        .find_map(|line| line.strip_prefix("id:"))
        .unwrap();
    drop(stream);
    let resume = |subject| {
        stack
            .request("GET", subject, Some(&id))
            .header("last-event-id", event_id.trim())
    };
    assert_eq!(resume("bob").send().await.unwrap().status(), 404);
    let mut resumed = resume("ann").send().await.unwrap();
    gate.notify_one();
    let mut resumed_text = Vec::new();
    while !String::from_utf8_lossy(&resumed_text).contains("isError") {
        resumed_text.extend(resumed.chunk().await.unwrap().expect("the answer"));
    }
    stack.api.until_no_session().await;
}

#[tokio::test]
async fn a_cancellation_stops_a_call_within_a_session() {
    let stack = with_free_capacity().await;
    let id = stack.open("ann").await;
    let _stream = begin_call(&stack, &id, Step::Hang).await;
    let stop =
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
            .to_string();
    for (subject, status) in [("bob", 404), ("ann", 202)] {
        let request = stack.request("POST", subject, Some(&id)).body(stop.clone());
        assert_eq!(request.send().await.unwrap().status(), status);
    }
    stack.api.until_no_session().await;
}
