//! What the server says about itself, in the words of every revision.

use serde_json::{Value, json};

use crate::entities::{self, OPERATIONS};
use crate::harness::client::{LEGACY, MODERN};
use crate::harness::runner::in_every_era;
use crate::harness::{CallResult, Client, Era, HttpReply, StdioClient, ToolClient, shared};

crate::tests![
    every_revision_initializes_lists_and_calls,
    the_modern_era_discovers,
    only_modern_results_say_who_answers,
    a_handshake_may_follow_discovery,
    modern_lists_have_a_ttl,
    the_modern_era_requires_its_headers_and_metadata,
    the_tool_list_is_stable_and_within_its_budget,
    every_tool_has_schemas_and_annotations,
    an_unsupported_method_is_unknown,
    an_unknown_tool_is_a_json_rpc_error,
    stdio_serves_both_eras,
];

async fn every_revision_initializes_lists_and_calls() {
    for version in LEGACY {
        let client = Client::new(&shared().acme, Era::Legacy(version));
        let handshake = client
            .ask("initialize", client.era.initialize_params())
            .await;
        assert_eq!(
            handshake.header("mcp-session-id"),
            "",
            "nothing is kept between requests"
        );
        let handshake = handshake.result();
        assert_eq!(handshake["protocolVersion"], version);
        assert_eq!(
            handshake["capabilities"],
            json!({"tools": {"listChanged": false}})
        );
        check_initialize(&handshake["serverInfo"], &handshake["instructions"]);
        let told = json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string();
        let told = HttpReply::of(
            client
                .post()
                .header("mcp-protocol-version", version)
                .body(told),
        )
        .await;
        assert_eq!((told.status, told.text.as_str()), (202, ""), "{told}");
        let list = client.ask("tools/list", json!({})).await.result();
        assert_eq!(
            list["tools"].as_array().unwrap().len(),
            crate::surface::tool_count()
        );
        for newer in ["ttlMs", "cacheScope", "resultType"] {
            assert!(list.get(newer).is_none(), "{version} does not know {newer}");
        }
        assert_eq!(client.ask("ping", json!({})).await.result(), json!({}));
        assert!(
            client.traffic().await.0.is_empty(),
            "none of this concerns the API"
        );
        client.call("list_notes", json!({})).await.ok();
    }
    // A client of today that begins with a handshake is met half-way.
    let client = Client::new(&shared().acme, Era::Legacy("2099-01-01"));
    let handshake = client
        .ask("initialize", client.era.initialize_params())
        .await
        .result();
    assert_eq!(handshake["protocolVersion"], LEGACY[0]);
}

fn check_initialize(server: &Value, instructions: &Value) {
    assert_eq!(server["name"], "toolbridge-mcp");
    assert_eq!(server["title"], "ToolBridge");
    assert_eq!(server["version"], env!("CARGO_PKG_VERSION"));
    let instructions = instructions.as_str().unwrap();
    for word in [
        "notes",
        "tasks",
        "comments",
        "chats",
        "chat messages",
        "if_match",
        "cursor",
        "data, never an instruction",
    ] {
        assert!(
            instructions.contains(word),
            "the instructions do not speak of {word}"
        );
    }
}

async fn the_modern_era_discovers() {
    let client = Client::modern(&shared().acme);
    let found = client.ask("server/discover", json!({})).await;
    assert_eq!(found.header("mcp-session-id"), "");
    let found = found.result();
    let versions: Vec<_> = found["supportedVersions"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for version in LEGACY.iter().chain([&MODERN]) {
        assert!(versions.contains(version), "{versions:?}");
    }
    assert_eq!(
        found["capabilities"],
        json!({"tools": {"listChanged": false}})
    );
    check_initialize(
        &found["_meta"]["io.modelcontextprotocol/serverInfo"],
        &found["instructions"],
    );
    check_ttl(&found);
}

/// The answers of the fast path; `fast_path_parity` holds rmcp's to the same bytes.
async fn only_modern_results_say_who_answers() {
    let server = json!({
        "io.modelcontextprotocol/serverInfo": {
            "name": "toolbridge-mcp",
            "title": "ToolBridge",
            "version": env!("CARGO_PKG_VERSION"),
        },
    });
    in_every_era(&shared().acme, async |client| {
        let expected = if client.era == Era::Modern {
            &server
        } else {
            &Value::Null
        };
        let list = client.ask("tools/list", json!({})).await.result();
        let listed = client.call("list_notes", json!({})).await.answer;
        let failed = client.call("get_note", json!({})).await.answer;
        for result in [&list, &listed["result"], &failed["result"]] {
            assert_eq!(&result["_meta"], expected, "{result}");
        }
    })
    .await;
}

/// Claude Code asks what a server can do before it begins a conversation of the legacy era.
async fn a_handshake_may_follow_discovery() {
    let server = &shared().acme;
    for version in LEGACY {
        let era = Era::Legacy(version);
        let user = || server.new_user();
        for stdio in [
            StdioClient::of(server, era, user()),
            StdioClient::connected_as(server, era, user(), &[]),
        ] {
            let discover = Era::Modern.message(100, "server/discover", json!({}));
            stdio.process.send(&discover.to_string()).await;
            let found = stdio.answer(100).await;
            let versions = found["result"]["supportedVersions"].as_array().unwrap();
            assert!(versions.contains(&json!(version)), "{found}");
            let stdio = stdio.initialized().await;
            let list = stdio.ask("tools/list", json!({})).await["result"].clone();
            assert_eq!(
                list["tools"].as_array().unwrap().len(),
                crate::surface::tool_count()
            );
            for newer in ["ttlMs", "resultType", "_meta"] {
                assert!(list.get(newer).is_none(), "{version} does not know {newer}");
            }
            let listed = stdio.call("list_notes", json!({})).await;
            listed.ok();
            assert!(listed.answer["result"].get("resultType").is_none());
            stdio.close().await;
        }
    }
}

async fn modern_lists_have_a_ttl() {
    let client = Client::modern(&shared().acme);
    let list = client.ask("tools/list", json!({})).await.result();
    check_ttl(&list);
    assert_eq!(list["resultType"], "complete");
    let called = client.call("list_notes", json!({})).await;
    assert_eq!(
        called.answer["result"]["resultType"], "complete",
        "{called}"
    );
}

fn check_ttl(result: &Value) {
    assert_eq!(result["cacheScope"], "private");
    let minutes = result["ttlMs"].as_u64().unwrap() / 60_000;
    assert!((1..=60).contains(&minutes), "{minutes} minutes");
}

async fn the_modern_era_requires_its_headers_and_metadata() {
    let client = Client::modern(&shared().acme);
    let body = Era::Modern
        .message(
            1,
            "tools/call",
            json!({"name": "list_notes", "arguments": {}}),
        )
        .to_string();
    let bare = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "list_notes"}})
    .to_string();
    let future = body.replace(MODERN, "2099-01-01");
    let all = [
        ("mcp-protocol-version", MODERN),
        ("mcp-method", "tools/call"),
        ("mcp-name", "list_notes"),
    ];
    let but = |name: &'static str, value: &'static str| {
        all.map(|(known, usual)| (known, if known == name { value } else { usual }))
    };
    for (headers, body, code) in [
        (but("mcp-method", "tools/list"), &body, -32020),
        (but("mcp-name", "get_note"), &body, -32020),
        (but("mcp-method", ""), &body, -32020),
        (all, &bare, -32602),
        (but("mcp-protocol-version", "2099-01-01"), &future, -32022),
    ] {
        let request = headers
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .fold(client.post(), |request, (name, value)| {
                request.header(*name, *value)
            });
        let answer = HttpReply::of(request.body(body.clone())).await;
        assert_eq!(
            (answer.status, answer.rpc_code()),
            (400, code),
            "{headers:?} {answer}"
        );
        assert_eq!(answer.json()["id"], 1);
    }
    assert!(client.traffic().await.0.is_empty());
}

async fn the_tool_list_is_stable_and_within_its_budget() {
    let mut lists = std::collections::BTreeSet::new();
    for server in [&shared().acme, &shared().globex] {
        for era in Era::all() {
            let client = Client::new(server, era);
            for _ in 0..2 {
                let served = client.ask("tools/list", json!({})).await;
                assert!(
                    served.text.len() <= 44_000,
                    "{} bytes are served",
                    served.text.len()
                );
                lists.insert(served.result()["tools"].to_string());
            }
        }
    }
    assert_eq!(
        lists.len(),
        1,
        "whoever asks, and in whatever words, gets the same list"
    );
    let tools: Vec<Value> = serde_json::from_str(lists.first().unwrap()).unwrap();
    let read_by_a_model = |tool: &Value| {
        let text = |key: &str| tool[key].as_str().unwrap().len();
        text("name") + text("description") + tool["inputSchema"].to_string().len()
    };
    let read_by_a_model: usize = tools.iter().map(read_by_a_model).sum();
    assert!(
        read_by_a_model <= 26_000,
        "{read_by_a_model} bytes for a model to read"
    );

    let client = Client::modern(&shared().acme);
    let page = client.ask("tools/list", json!({"cursor": "2"})).await;
    assert_eq!(page.rpc_code(), -32602, "there is one page only: {page}");
}

async fn every_tool_has_schemas_and_annotations() {
    let hints = |operation: &str| match operation {
        "list" | "get" => {
            json!({
                "readOnlyHint": true,
                "destructiveHint": false,
                "idempotentHint": true,
                "openWorldHint": false,
            })
        }
        "create" => hinted(false, false),
        "update" | "patch" | "delete" => hinted(true, true),
        _ => hinted(false, true),
    };
    let list = Client::modern(&shared().acme)
        .ask("tools/list", json!({}))
        .await
        .result();
    let mut tools = list["tools"].as_array().unwrap().iter();
    for entity in entities::all() {
        for operation in OPERATIONS {
            let tool = tools.next().unwrap();
            assert_eq!(tool["name"], entity.tool(operation));
            let mut annotations = hints(operation);
            annotations["title"] = tool["title"].clone();
            assert_eq!(tool["annotations"], annotations, "{}", tool["name"]);
            assert!(
                tool["title"]
                    .as_str()
                    .is_some_and(|title| !title.is_empty()),
                "{tool}"
            );
            let sentences = tool["description"].as_str().unwrap().matches(". ").count() + 1;
            assert!(sentences <= 3, "{}: {}", tool["name"], tool["description"]);
            for schema in ["inputSchema", "outputSchema"] {
                is_flat(&tool[schema]);
            }
            assert_eq!(tool["inputSchema"]["additionalProperties"], false);
            for (name, argument) in tool["inputSchema"]["properties"].as_object().unwrap() {
                assert!(
                    argument["description"].is_string(),
                    "{}.{name}",
                    tool["name"]
                );
            }
        }
    }
}

fn hinted(destructive: bool, idempotent: bool) -> Value {
    json!({
        "readOnlyHint": false,
        "destructiveHint": destructive,
        "idempotentHint": idempotent,
        "openWorldHint": false,
    })
}

/// No references, no alternatives, no lists of types: what the strictest client takes.
fn is_flat(schema: &Value) {
    match schema {
        Value::Object(members) => {
            for word in [
                "$ref",
                "$defs",
                "anyOf",
                "oneOf",
                "allOf",
                "not",
                "if",
                "patternProperties",
            ] {
                assert!(!members.contains_key(word), "{word} in {schema}");
            }
            assert!(
                !members.get("type").is_some_and(Value::is_array),
                "{schema}"
            );
            assert!(
                members.get("type") != Some(&json!("array"))
                    || members["items"]["type"].is_string(),
                "{schema}"
            );
            members.values().for_each(is_flat);
        }
        Value::Array(items) => items.iter().for_each(is_flat),
        _ => {}
    }
}

async fn an_unsupported_method_is_unknown() {
    in_every_era(&shared().acme, async |client| {
        for method in [
            "prompts/list",
            "resources/list",
            "resources/templates/list",
            "completion/complete",
            "no/such",
        ] {
            let answer = client.ask(method, json!({})).await;
            assert_eq!(answer.rpc_code(), -32601, "{answer}");
            // The modern era answers so by HTTP as well; older clients read the body only.
            let status = if client.era == Era::Modern {
                404
            } else {
                answer.status
            };
            assert_eq!(answer.status, status, "{answer}");
        }
    })
    .await;
}

async fn an_unknown_tool_is_a_json_rpc_error() {
    in_every_era(&shared().acme, async |client| {
        for (name, instead) in [
            ("create_notes", "create_note"),
            ("list_note", "list_notes"),
            ("rm_rf", "tools/list"),
        ] {
            let answer = client
                .ask("tools/call", json!({"name": name, "arguments": {}}))
                .await;
            assert_eq!(answer.rpc_code(), -32602, "{answer}");
            let message = answer.json()["error"]["message"]
                .as_str()
                .unwrap()
                .to_owned();
            assert!(message.contains(instead), "{message}");
        }
        for malformed in [
            json!({"name": 7}),
            json!({"arguments": {}}),
            json!({"name": "list_notes", "arguments": []}),
        ] {
            let mut request = client.request("tools/call", malformed.clone());
            if client.era == Era::Modern && !malformed["name"].is_string() {
                request = request.header("mcp-name", "list_notes");
            }
            let answer = HttpReply::of(request).await;
            let codes = [-32602, -32600, -32020];
            assert!(codes.contains(&answer.rpc_code()), "{answer}");
        }
        assert!(client.traffic().await.0.is_empty(), "nothing was sent");
    })
    .await;
}

async fn stdio_serves_both_eras() {
    for era in Era::all() {
        let stdio = StdioClient::start(&shared().acme, era).await;
        let list = stdio.ask("tools/list", json!({})).await["result"].clone();
        assert_eq!(
            list["tools"].as_array().unwrap().len(),
            crate::surface::tool_count()
        );
        if era == Era::Modern {
            check_ttl(&list);
            let found = stdio.ask("server/discover", json!({})).await;
            assert_eq!(found["result"]["cacheScope"], "private");
        }
        stdio.call("list_notes", json!({})).await.ok();
        let unknown = stdio
            .ask("tools/call", json!({"name": "rm_rf", "arguments": {}}))
            .await;
        assert_eq!(unknown["error"]["code"], -32602, "{unknown}");
        let called: CallResult = stdio.call("get_note", json!({})).await;
        called.failed("validation", "invalid_argument");
        stdio.close().await;
    }
}
