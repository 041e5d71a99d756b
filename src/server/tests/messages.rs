//! MCP messages, for legacy and modern revisions.

use futures::FutureExt;
use futures::future::BoxFuture;
use rmcp::model::Tool;
use tokio::sync::Notify;

use super::*;
use crate::api::scripted_api::Step;

use crate::api::Features;
use crate::tools::{Access, ListedTool, Outcome, ToolCall};

#[tokio::test]
async fn serves_every_legacy_revision() {
    let stack = Stack::start().await;
    for version in LEGACY {
        let client = json!({"name": "test", "version": "1"});
        let hello = json!({"protocolVersion": version, "capabilities": {}, "clientInfo": client});
        let response = stack
            .post()
            .body(message("initialize", hello).to_string())
            .send()
            .await
            .unwrap();
        assert!(
            response.headers().get("mcp-session-id").is_none(),
            "no session is made"
        );
        let result = json_of(response).await["result"].clone();
        assert_eq!(result["protocolVersion"], version);
        assert_eq!(result["serverInfo"]["name"], "toolbridge-mcp");
        assert_eq!(result["serverInfo"]["title"], "ToolBridge");
        assert_eq!(result["serverInfo"]["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(
            result["capabilities"],
            json!({"tools": {"listChanged": false}})
        );
        assert!(
            result["instructions"]
                .as_str()
                .unwrap()
                .contains("if_match")
        );

        let notification =
            json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string();
        let posted = stack
            .post()
            .header("mcp-protocol-version", version)
            .body(notification)
            .send()
            .await
            .unwrap();
        assert_eq!(
            (
                posted.status().as_u16(),
                posted.text().await.unwrap().as_str()
            ),
            (202, "")
        );

        let post = || stack.post().header("mcp-protocol-version", version);
        let list = post()
            .body(message("tools/list", json!({})).to_string())
            .send()
            .await
            .unwrap();
        let list = json_of(list).await;
        assert_eq!(
            list["result"]["tools"].as_array().unwrap().len(),
            tool_count()
        );
        assert_eq!(
            list["result"].as_object().unwrap().len(),
            1,
            "nothing but the tools: {version}"
        );
        let ping = post()
            .body(json!({"jsonrpc": "2.0", "id": "p", "method": "ping"}).to_string())
            .send()
            .await
            .unwrap();
        assert_eq!(
            json_of(ping).await,
            json!({"jsonrpc": "2.0", "id": "p", "result": {}})
        );
    }
    // Nothing else of this concerns the API.
    assert_eq!(stack.api.lines(), ["GET /v1/sync/info"]);
}

#[tokio::test]
async fn answers_an_unknown_revision_with_the_newest_legacy_one() {
    let stack = Stack::start().await;
    for version in ["1999-01-01", MODERN, "2099-01-01"] {
        let hello = json!({
            "protocolVersion": version,
            "capabilities": {},
            "clientInfo": {"name": "t", "version": "1"},
        });
        let response = stack
            .post()
            .body(message("initialize", hello).to_string())
            .send()
            .await
            .unwrap();
        assert_eq!(
            json_of(response).await["result"]["protocolVersion"],
            "2025-11-25",
            "{version}"
        );
    }
}

#[tokio::test]
async fn serves_the_modern_revision() {
    let stack = Stack::start().await;
    let discovered = json_of(
        stack
            .modern("server/discover", json!({}))
            .send()
            .await
            .unwrap(),
    )
    .await["result"]
        .clone();
    assert_eq!(
        discovered["supportedVersions"],
        json!([LEGACY[0], LEGACY[1], LEGACY[2], LEGACY[3], MODERN])
    );
    assert_eq!(
        discovered["capabilities"],
        json!({"tools": {"listChanged": false}})
    );
    assert_eq!(
        discovered["_meta"]["io.modelcontextprotocol/serverInfo"]["name"],
        "toolbridge-mcp"
    );
    assert_eq!(
        (&discovered["ttlMs"], &discovered["cacheScope"]),
        (&json!(300_000), &json!("private"))
    );

    let list = json_of(stack.modern("tools/list", json!({})).send().await.unwrap()).await["result"]
        .clone();
    assert_eq!(list["tools"].as_array().unwrap().len(), tool_count());
    assert_eq!(
        (&list["ttlMs"], &list["cacheScope"]),
        (&json!(300_000), &json!("private"))
    );
    assert_eq!(list["resultType"], "complete");

    let call = stack.modern(
        "tools/call",
        json!({"name": "get_note", "arguments": {"uid": UID}}),
    );
    let result = json_of(call.send().await.unwrap()).await["result"].clone();
    assert_eq!(
        (&result["isError"], &result["resultType"]),
        (&json!(false), &json!("complete"))
    );
    assert_eq!(result["structuredContent"]["uid"], "u");
}

#[tokio::test]
async fn the_modern_revision_requires_its_headers_and_metadata() {
    let stack = Stack::start().await;
    let call = json!({"name": "get_note", "arguments": {"uid": UID}});
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let with_meta = |meta: &Value| {
        message("tools/call", json!({"name": "get_note", "_meta": meta})).to_string()
    };
    let modern = || stack.post().header("mcp-protocol-version", MODERN);
    let client = json!({"name": "test", "version": "1"});
    let handshake = json!({"protocolVersion": MODERN, "capabilities": {}, "clientInfo": client});
    let future = json!({
        "io.modelcontextprotocol/protocolVersion": "2099-01-01",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let refused = [
        // Header and body name different methods or tools.
        (
            modern()
                .header("mcp-method", "tools/list")
                .header("mcp-name", "get_note")
                .body(with_meta(&meta)),
            400,
            -32020,
        ),
        (
            modern()
                .header("mcp-method", "tools/call")
                .header("mcp-name", "get_task")
                .body(with_meta(&meta)),
            400,
            -32020,
        ),
        (modern().body(with_meta(&meta)), 400, -32020),
        // Metadata without the header, and the header without metadata.
        (stack.post().body(with_meta(&meta)), 400, -32020),
        (
            modern()
                .header("mcp-method", "tools/call")
                .header("mcp-name", "get_note")
                .body(message("tools/call", call).to_string()),
            400,
            -32602,
        ),
        // An unknown revision.
        (
            stack
                .post()
                .header("mcp-protocol-version", "2099-01-01")
                .header("mcp-method", "tools/call")
                .header("mcp-name", "get_note")
                .body(with_meta(&future)),
            400,
            -32022,
        ),
        // Methods that the revision has removed.
        (stack.modern("ping", json!({})), 404, -32601),
        (stack.modern("prompts/list", json!({})), 404, -32601),
        (stack.modern("initialize", json!({})), 404, -32601),
        (stack.modern("initialize", handshake), 404, -32601),
    ];
    for (index, (request, status, code)) in refused.into_iter().enumerate() {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status, "request {index}");
        let body = json_of(response).await;
        assert_eq!(
            (&body["error"]["code"], &body["id"]),
            (&json!(code), &json!(1)),
            "request {index}: {body}"
        );
    }
    assert!(stack.api.seen().is_empty());
}

#[tokio::test]
async fn a_call_uses_one_api_session_and_forwards_no_client_headers() {
    let stack = Stack::start().await;
    let response = stack
        .post()
        .header("mcp-protocol-version", "2025-06-18")
        .header("x-correlation-id", "from-the-client")
        .header(
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        )
        .header("x-tb-tenant-id", "globex")
        .header("x-tb-signature", "forged")
        .header("x-sync-session", "stolen")
        .header("cookie", "a=b")
        .header("x-forwarded-for", "10.0.0.1")
        .body(
            message(
                "tools/call",
                json!({"name": "get_note", "arguments": {"uid": UID}}),
            )
            .to_string(),
        )
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["x-correlation-id"], "from-the-client");
    let result = json_of(response).await["result"].clone();
    let text: Value = serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(text, result["structuredContent"]);
    assert!(result.get("resultType").is_none());

    stack.api.until_no_session().await;
    let path = format!("GET /v1/notes/{UID}");
    assert_eq!(
        stack.api.lines(),
        [
            "POST /v1/sync/sessions",
            path.as_str(),
            "DELETE /v1/sync/sessions/…"
        ]
    );
    for seen in stack.api.seen() {
        assert_eq!(seen.header("x-tb-tenant-id"), "acme");
        assert_eq!(seen.header("x-correlation-id"), "from-the-client");
        assert_eq!(
            seen.header("traceparent"),
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        );
        assert!(seen.header("authorization").starts_with("Bearer eyJ"));
        assert_ne!(seen.header("x-sync-session"), "stolen");
        assert_eq!(
            (seen.header("cookie"), seen.header("x-forwarded-for")),
            ("", "")
        );
    }
    let drained = stack.stop().await;
    assert_eq!(drained, drained_completely(1));
}

#[tokio::test]
async fn reports_tool_failures_as_results_and_request_failures_as_errors() {
    let stack = Stack::start().await;
    let refused = stack.call("get_note", json!({"uid": "not-a-uid"})).await["result"].clone();
    assert_eq!(refused["isError"], true);
    assert_eq!(error_of(&refused)["code"], "invalid_argument");
    assert_eq!(
        refused.get("structuredContent"),
        None,
        "it would have to be as the outputSchema has it"
    );
    assert!(stack.api.seen().is_empty(), "a refused call sends nothing");

    for (method, params, code) in [
        (
            "tools/call",
            json!({"name": "get_nte", "arguments": {}}),
            -32602,
        ),
        ("tools/call", json!({"arguments": {}}), -32602),
        (
            "tools/call",
            json!({"name": "get_note", "arguments": [1]}),
            -32602,
        ),
        ("tools/list", json!({"cursor": "x"}), -32602),
        ("prompts/list", json!({}), -32601),
        ("resources/list", json!({}), -32601),
        ("resources/templates/list", json!({}), -32601),
        (
            "completion/complete",
            json!({
                "ref": {"type": "ref/prompt", "name": "x"},
                "argument": {"name": "a", "value": "b"},
            }),
            -32601,
        ),
        ("logging/setLevel", json!({"level": "info"}), -32601),
        ("no/such/method", json!({}), -32601),
    ] {
        let body = stack.legacy(method, params.clone()).await;
        assert_eq!(body["error"]["code"], code, "{method} {params}: {body}");
    }
    let unknown = stack.call("get_nte", json!({})).await;
    assert_eq!(
        unknown["error"]["message"],
        "Unknown tool: get_nte. Call get_note instead."
    );
    let endless = stack.call(&"x".repeat(60_000), json!({})).await;
    assert!(
        endless.to_string().len() < 500,
        "a name is not repeated in full"
    );
}

fn item(payload: Value) -> Step {
    Step::json(
        200,
        json!({
            "uid": UID,
            "version": 3,
            "updatedAt": "2025-11-20T11:00:00.000Z",
            "payload": payload,
        }),
    )
}

/// From the client's bytes to the API's and back, no number is converted to 64 bits.
#[tokio::test]
async fn numbers_keep_their_digits_in_both_directions() {
    let numbers = r#""n":123456789012345678901234567890,"far":1e+999,"two":1.50"#;
    let time = "2025-11-20T11:00:00.000Z";
    let stored =
        format!(r#"{{"uid":"{UID}","version":1,"updatedAt":"{time}","payload":{{{numbers}}}}}"#);
    let stack = Stack::start().await;
    for modern in [false, true] {
        stack.api.then([Step::text(201, &stored)]);
        let arguments = json!({"title": "t", "content": "c", "additional_fields": "NUMBERS"});
        let params = json!({"name": "create_note", "arguments": arguments});
        // Numbers in the parameters that rmcp reads and in those that it ignores.
        let meta = r#""progressToken":7,"odd":1e299,"deep":{"n":[1.50]}"#;
        let message = match modern {
            false => message("tools/call", params).to_string().replace(
                r#""params":{"#,
                &format!(r#""params":{{"_meta":{{{meta}}},"#),
            ),
            true => {
                let request = stack.modern("tools/call", params).build().unwrap();
                let body = String::from_utf8(request.body().unwrap().as_bytes().unwrap().to_vec())
                    .unwrap();
                body.replace(r#""_meta":{"#, &format!(r#""_meta":{{{meta},"#))
            }
        };
        let message = message.replace(r#""NUMBERS""#, &format!("{{{numbers}}}"));
        assert!(
            message.contains("1e299") && message.contains("progressToken"),
            "{message}"
        );
        let mut request = stack.post().body(message);
        if modern {
            request = request
                .header("mcp-protocol-version", MODERN)
                .header("mcp-method", "tools/call")
                .header("mcp-name", "create_note");
        }
        let answer = request.send().await.unwrap().text().await.unwrap();
        assert!(
            answer.contains(&format!(
                r#""structuredContent":{}"#,
                stored.replace("updatedAt", "updated_at")
            )),
            "{answer}"
        );
        let sent = stack
            .api
            .seen()
            .into_iter()
            .rfind(|seen| seen.path == "/v1/notes")
            .unwrap();
        let sent = String::from_utf8(sent.body.to_vec()).unwrap();
        assert!(sent.contains(numbers), "{sent}");
    }
}

#[tokio::test]
async fn echoes_ids_unchanged() {
    let stack = Stack::start().await;
    for id in [
        "0",
        "-1",
        "9007199254740993",
        "9223372036854775807",
        "\"1\"",
        "\"\"",
    ] {
        let params = format!(r#"{{"name":"get_note","arguments":{{"uid":"{UID}"}}}}"#);
        let message =
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{params}}}"#);
        let answer = stack
            .post()
            .body(message)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        assert!(
            answer.contains(&format!(r#""id":{id},"#))
                || answer.contains(&format!(r#""id":{id}}}"#)),
            "{answer}"
        );
        assert!(answer.contains(r#""isError":false"#), "{answer}");
    }
}

/// An update without its parent, which takes two API requests.
fn two_steps(progress: bool) -> Value {
    let mut params = json!({"name": "update_comment", "arguments": {"uid": UID, "content": "new"}});
    if progress {
        params["_meta"] = json!({"progressToken": 7});
    }
    message("tools/call", params)
}

#[tokio::test]
async fn reports_progress_to_clients_that_accept_streams() {
    let stack = Stack::start().await;
    let comment = || item(json!({"content": "old", "parentType": "note", "parentUid": UID}));
    for (accept, progress, streamed) in [
        ("application/json, text/event-stream", true, true),
        ("application/json", true, false),
        ("application/json, text/event-stream", false, false),
    ] {
        stack.api.then([comment(), comment()]);
        let request = stack
            .http
            .post(stack.url("/mcp"))
            .bearer_auth(token())
            .header("content-type", "application/json");
        let response = request
            .header("accept", accept)
            .body(two_steps(progress).to_string())
            .send()
            .await
            .unwrap();
        let content_type = response.headers()["content-type"]
            .to_str()
            .unwrap()
            .to_owned();
        assert_eq!(
            content_type == "text/event-stream",
            streamed,
            "{accept} {progress}"
        );
        let text = response.text().await.unwrap();
        let events: Vec<Value> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line.strip_prefix("data:")?.trim()).ok())
            .collect();
        if streamed {
            let progress_events: Vec<_> = events
                .iter()
                .map(|event| (&event["method"], &event["params"]["progress"]))
                .collect();
            let progress = json!("notifications/progress");
            assert_eq!(
                progress_events[..2],
                [(&progress, &json!(0.0)), (&progress, &json!(1.0))]
            );
            assert_eq!(events[0]["params"]["progressToken"], 7);
            assert_eq!(events[0]["params"]["total"], 2.0);
            assert_eq!(events[2]["result"]["isError"], false);
            assert_eq!(events.len(), 3);
        } else {
            assert_eq!(
                serde_json::from_str::<Value>(&text).unwrap()["result"]["isError"],
                false
            );
        }
    }
    stack.api.until_no_session().await;
}

/// A toolset whose tools fail.
#[derive(Default)]
pub(crate) struct FaultyToolset {
    begun: Notify,
    dropped: Arc<Notify>,
}

/// Notifies when it is dropped.
struct Dropped(Arc<Notify>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Toolset for FaultyToolset {
    fn list(&self, _features: Features) -> Vec<ListedTool> {
        let listed = |name| ListedTool {
            tool: Tool::new(name, "", Arc::default()),
            toolset: "trouble",
            access: Access::Read,
            also_in: None,
            only_if_named: false,
        };
        ["panic_at_once", "panic_later", "wait_for_ever"]
            .map(listed)
            .into()
    }

    fn call<'a>(&'a self, call: ToolCall<'a>) -> BoxFuture<'a, Outcome> {
        match call.name {
            "panic_at_once" => panic!("at once"),
            "panic_later" => async {
                tokio::task::yield_now().await;
                panic!("later")
            }
            .boxed(),
            "wait_for_ever" => {
                let dropped = Dropped(Arc::clone(&self.dropped));
                self.begun.notify_one();
                async move {
                    let _dropped = dropped;
                    std::future::pending().await
                }
                .boxed()
            }
            other => panic!("there is no tool {other}"),
        }
    }
}

#[tokio::test]
async fn a_panic_fails_only_its_own_call() {
    let stack = Stack::with(
        Settings::default(),
        auth_settings(),
        vec![Arc::<FaultyToolset>::default()],
        Duration::from_secs(10),
    )
    .await;
    for name in ["panic_at_once", "panic_later"] {
        let body = stack.call(name, json!({})).await;
        assert_eq!(body["error"]["code"], -32603, "{body}");
        assert!(body["error"]["data"]["correlation_id"].is_string());
    }
    assert_eq!(
        stack.call("no_such_tool", json!({})).await["error"]["code"],
        -32602
    );
}

#[tokio::test]
async fn cancels_a_tool_that_does_not_call_the_api() {
    let faulty = Arc::<FaultyToolset>::default();
    let stack = Stack::with(
        Settings::default(),
        auth_settings(),
        vec![faulty.clone()],
        Duration::from_secs(10),
    )
    .await;
    let call = message("tools/call", json!({"name": "wait_for_ever"}));
    for call in [call.clone(), by_rmcp(call)] {
        let calling = tokio::spawn(stack.post().body(call.to_string()).send());
        faulty.begun.notified().await;
        calling.abort();
        tokio::time::timeout(Duration::from_secs(5), faulty.dropped.notified())
            .await
            .unwrap();
    }
}

/// While the API has not been reached since the start, its features are unknown.
#[tokio::test]
async fn a_tool_that_needs_a_feature_is_unavailable_until_the_api_is_reached() {
    let vacant = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = vacant.local_addr().unwrap();
    drop(vacant);
    let unreachable = api::Settings {
        base_url: format!("http://{address}").parse().unwrap(),
        ..api::Settings::default()
    };
    let stack = Stack::before(
        ScriptedApi::start().await,
        unreachable,
        Settings::default(),
        auth_settings(),
        all_tools(),
        without_notice(Duration::from_secs(10)),
    )
    .await;
    let called = stack.call("search", json!({"query": "x"})).await;
    let text = called["result"]["content"][0]["text"].as_str().unwrap();
    let error = serde_json::from_str::<Value>(text).unwrap()["error"].take();
    assert_eq!(error["code"], "api_unreachable", "{called}");
    assert_eq!(error["retryable"], true, "{called}");
    let unknown = stack.call("find_all", json!({})).await;
    assert_eq!(unknown["error"]["code"], -32602, "{unknown}");
}
