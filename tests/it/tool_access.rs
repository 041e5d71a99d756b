//! Which tools a request may see and call: scopes of tokens, settings of the server, and what a
//! request leaves out.
//!
//! Whatever is out of reach is refused before anything is sent, and each test looks that nothing
//! was.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::entities::{self, OPERATIONS};
use crate::harness::{
    CONTENT, Client, Era, HttpReply, Server, StdioClient, ToolClient, User, run, shared,
};

crate::tests![
    scopes_limit_listing_and_calling,
    the_challenge_names_the_required_scope,
    a_token_with_malformed_scopes_is_invalid,
    a_token_without_scopes_has_the_configured_default,
    scopes_apply_over_stdio_and_on_the_command_line,
    serves_only_the_configured_tools,
    a_request_filter_never_widens_access,
    refuses_an_invalid_request_filter,
];

const READING: [&str; 2] = ["list", "get"];

fn with_scope(tenant: &str, claims: &Value) -> User {
    let mut all = json!({"sub": User::of(tenant).sub, "tenant_id": tenant});
    let more = claims.as_object().unwrap().clone();
    all.as_object_mut().unwrap().extend(more);
    User::with_claims(all)
}

/// The tools that pass, by toolset and by whether they only read.
fn tools_where(passes: impl Fn(&str, bool) -> bool) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entity in entities::all() {
        for operation in OPERATIONS {
            if passes(entity.plural, READING.contains(&operation)) {
                names.insert(entity.tool(operation));
            }
        }
    }
    if passes("find", true) {
        names.extend(["search", "fetch", "overview"].map(str::to_owned));
    }
    for (tool, reads) in [
        ("edit_text", false),
        ("history", true),
        ("restore", false),
        ("batch", false),
    ] {
        if passes("edit", reads) {
            names.insert(tool.to_owned());
        }
    }
    names
}

fn names(result: &Value) -> BTreeSet<String> {
    let tools = result["tools"].as_array().unwrap();
    tools
        .iter()
        .map(|tool| tool["name"].as_str().unwrap().to_owned())
        .collect()
}

async fn scopes_limit_listing_and_calling() {
    let server = &shared().acme;
    for (claims, allowed) in [
        (
            json!({"scope": "toolbridge:read"}),
            tools_where(|_, reads| reads),
        ),
        (
            json!({"scp": "toolbridge:write"}),
            tools_where(|_, reads| !reads),
        ),
        (
            json!({"scope": "openid toolbridge:read", "permissions": ["toolbridge:tasks:write"]}),
            tools_where(|toolset, reads| reads || toolset == "tasks"),
        ),
        (
            json!({"scp": ["toolbridge:chat_messages:read"]}),
            tools_where(|toolset, reads| reads && toolset == "chat_messages"),
        ),
        (json!({"scope": "openid profile"}), BTreeSet::new()),
        (json!({"permissions": []}), BTreeSet::new()),
    ] {
        for era in [Era::Modern, Era::Legacy("2025-06-18")] {
            let client = Client::of(server, era, with_scope("acme", &claims));
            let listed = client.ask("tools/list", json!({})).await.result();
            assert_eq!(names(&listed), allowed, "{claims}");
            for tool in tools_where(|_, _| true) {
                // Without its arguments, a tool that may be called is refused for them.
                let answer = HttpReply::of(client.calling(&tool, json!({"wrong": 1}))).await;
                let expected = if allowed.contains(&tool) { 200 } else { 403 };
                assert_eq!(answer.status, expected, "{claims}: {answer}");
            }
            assert!(client.traffic().await.0.is_empty(), "nothing was sent");
        }
    }
    let client = Client::of(
        server,
        Era::Modern,
        with_scope(
            "acme",
            &json!({"scope": "toolbridge:notes:read toolbridge:notes:write"}),
        ),
    );
    let note = json!({"title": CONTENT, "content": CONTENT});
    client.call("create_note", note).await.ok();
    client.call("list_notes", json!({})).await.ok();
    client.traffic().await;
}

async fn the_challenge_names_the_required_scope() {
    let settings = [
        ("TOOLBRIDGE_SERVER_PUBLIC_URL", "https://acme.example.com"),
        (
            "TOOLBRIDGE_AUTH_AUTHORIZATION_SERVERS",
            "https://login.example.com",
        ),
    ];
    let server = Server::with("acme", &shared().api, &settings).await;
    let metadata = "https://acme.example.com/.well-known/oauth-protected-resource/mcp";
    for era in Era::all() {
        let reader = with_scope("acme", &json!({"scope": "toolbridge:read"}));
        let client = Client::of(&server, era, reader);
        let answer =
            HttpReply::of(client.calling("delete_chat_message", json!({"uid": "x"}))).await;
        let challenge = format!(
            "Bearer error=\"insufficient_scope\", scope=\"toolbridge:chat_messages:write\", \
             resource_metadata=\"{metadata}\", error_description=\"the token does not have the \
             scope that this needs\""
        );
        assert_eq!(
            (answer.status, answer.header("www-authenticate")),
            (403, challenge.as_str())
        );
        let said = answer.json();
        assert_eq!(
            (&said["id"], &said["error"]["code"]),
            (&json!(1), &json!(-31010)),
            "{answer}"
        );
        let error = &said["error"]["data"];
        assert_eq!(
            (&error["category"], &error["code"], &error["retryable"]),
            (
                &json!("permission"),
                &json!("insufficient_scope"),
                &json!(false)
            )
        );
        assert_eq!(error["correlation_id"], answer.header("x-correlation-id"));
        let message = said["error"]["message"].as_str().unwrap();
        assert!(
            message.contains("it needs the scope toolbridge:chat_messages:write"),
            "{message}"
        );
        // A tool that does not exist needs no scope.
        let unknown = HttpReply::of(client.calling("delete_everything", json!({}))).await;
        assert_eq!(unknown.rpc_code(), -32602, "{unknown}");
        assert!(client.traffic().await.0.is_empty(), "nothing was sent");
    }
    let client = Client::modern(&server);
    let answer = HttpReply::of(client.bare_post().body("{}")).await;
    let asked = format!(
        "Bearer resource_metadata=\"{metadata}\", scope=\"toolbridge:read toolbridge:write\""
    );
    assert_eq!(
        (answer.status, answer.header("www-authenticate")),
        (401, asked.as_str())
    );
    let document = HttpReply::of(client.get("/.well-known/oauth-protected-resource/mcp"))
        .await
        .json();
    let supported = document["scopes_supported"].as_array().unwrap();
    assert_eq!(supported.len(), 16, "{document}");
    assert!(
        supported.contains(&json!("toolbridge:chat_messages:write")),
        "{document}"
    );
    assert_eq!(document["resource_name"], "ToolBridge");
    server.stop().await;
}

async fn a_token_with_malformed_scopes_is_invalid() {
    for claims in [
        json!({"scope": ["toolbridge:read"]}),
        json!({"scope": null}),
        json!({"scp": 7}),
        json!({"permissions": "toolbridge:read"}),
        json!({"scope": "toolbridge:read", "permissions": [1]}),
    ] {
        let client = Client::of(&shared().acme, Era::Modern, with_scope("acme", &claims));
        let answer = HttpReply::of(client.calling("list_notes", json!({}))).await;
        assert_eq!(
            (answer.status, &answer.json()["reason"]),
            (401, &json!("malformed")),
            "{claims}"
        );
        assert!(client.traffic().await.0.is_empty(), "nothing was sent");
    }
}

async fn a_token_without_scopes_has_the_configured_default() {
    let server = Server::with(
        "acme",
        &shared().api,
        &[("TOOLBRIDGE_AUTH_SCOPELESS_TOKENS", "none")],
    )
    .await;
    let client = Client::modern(&server);
    assert!(names(&client.ask("tools/list", json!({})).await.result()).is_empty());
    let answer = HttpReply::of(client.calling("list_notes", json!({}))).await;
    assert_eq!(answer.status, 403, "{answer}");
    assert!(client.traffic().await.0.is_empty(), "nothing was sent");
    let reader = Client::of(
        &server,
        Era::Modern,
        with_scope("acme", &json!({"scope": "toolbridge:read"})),
    );
    reader.call("list_notes", json!({})).await.ok();
    reader.traffic().await;
    server.stop().await;
}

async fn scopes_apply_over_stdio_and_on_the_command_line() {
    let server = &shared().acme;
    for era in [Era::Modern, Era::Legacy("2025-06-18")] {
        let reader = with_scope("acme", &json!({"scope": "toolbridge:notes:read"}));
        let stdio = StdioClient::of(server, era, reader);
        if era != Era::Modern {
            stdio.ask("initialize", era.initialize_params()).await;
            stdio.notify("notifications/initialized", json!({})).await;
        }
        let listed = names(&stdio.ask("tools/list", json!({})).await["result"]);
        assert_eq!(
            listed,
            tools_where(|toolset, reads| reads && toolset == "notes")
        );
        let called = stdio
            .call("create_note", json!({"title": CONTENT, "content": CONTENT}))
            .await;
        let error = called.failed("permission", "insufficient_scope");
        assert!(
            error["message"]
                .as_str()
                .unwrap()
                .contains("toolbridge:notes:write"),
            "{called}"
        );
        assert!(stdio.traffic().await.0.is_empty(), "nothing was sent");
        stdio.call("list_notes", json!({})).await.ok();
        stdio.traffic().await;
        stdio.close().await;
    }
    let words = [
        "token",
        "--sub",
        "ada",
        "--scope",
        "toolbridge:read",
        "--scope",
        "toolbridge:notes:write",
    ];
    let token = run(&words, server.environment()).await.done().out;
    let environment = || {
        server
            .environment()
            .chain([("TOOLBRIDGE_TOKEN", token.trim())])
    };
    let call = ["call", "create_task", "title=t", "--json"];
    let refused = run(&call, environment()).await;
    assert_eq!(
        (refused.code, &refused.json()["error"]["code"]),
        (77, &json!("insufficient_scope"))
    );
    run(&["call", "list_tasks"], environment()).await.done();
}

async fn serves_only_the_configured_tools() {
    let settings = [
        ("TOOLBRIDGE_TOOLS_TOOLSETS", "notes, chats"),
        ("TOOLBRIDGE_TOOLS_READ_ONLY", "true"),
    ];
    let server = Server::with("acme", &shared().api, &settings).await;
    let served = tools_where(|toolset, reads| reads && ["notes", "chats"].contains(&toolset));
    for era in Era::all() {
        let client = Client::new(&server, era);
        assert_eq!(
            names(&client.ask("tools/list", json!({})).await.result()),
            served
        );
        for tool in ["create_note", "list_tasks"] {
            check_reason(
                &client.ask("tools/call", json!({"name": tool})).await,
                tool,
                "this server is set to serve without it",
            );
        }
        // The error for a misspelt name differs from that for a tool that is left out.
        let misspelt = client
            .ask("tools/call", json!({"name": "list_note"}))
            .await
            .json();
        assert_eq!(
            misspelt["error"]["message"],
            "Unknown tool: list_note. Call list_notes instead."
        );
        assert!(client.traffic().await.0.is_empty(), "nothing was sent");
        client.call("list_notes", json!({})).await.ok();
        client.traffic().await;
    }
    let challenge = HttpReply::of(Client::modern(&server).bare_post().body("{}")).await;
    assert_eq!(
        challenge.header("www-authenticate"),
        "Bearer scope=\"toolbridge:read\"",
        "nobody is asked for what cannot be used"
    );
    let page = reqwest::get(&server.url)
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    for (tool, shown) in [
        ("list_notes", true),
        ("create_note", false),
        ("list_tasks", false),
    ] {
        assert_eq!(page.contains(tool), shown, "{tool} on the page");
    }
    let stdio = StdioClient::start(&server, Era::Modern).await;
    assert_eq!(
        names(&stdio.ask("tools/list", json!({})).await["result"]),
        served
    );
    let called = stdio
        .ask(
            "tools/call",
            json!({"name": "create_note", "arguments": {}}),
        )
        .await;
    assert_eq!(called["error"]["code"], -32602, "{called}");
    stdio.close().await;
    let refused = run(
        &["call", "create_note", "title=t", "content=c", "--as", "ada"],
        server.environment(),
    )
    .await;
    assert_eq!(refused.code, 2, "{refused}");
    server.stop().await;

    for (words, said) in [
        (
            &["serve", "--toolsets", "notes,chat"][..],
            "did you mean \"chats\"?",
        ),
        (
            &["stdio", "--as", "ada", "--toolsets", "wibble"],
            "choose among notes, tasks",
        ),
    ] {
        let stopped = run(words, shared().acme.environment()).await;
        assert_eq!(stopped.code, 64, "{stopped}");
        assert!(
            stopped.err.contains("tools.toolsets (from --toolsets)") && stopped.err.contains(said),
            "{stopped}"
        );
    }
    let stopped = run(&["stdio", "--toolsets", ""], shared().acme.environment()).await;
    assert_eq!(stopped.code, 2, "{stopped}");
    let flags = ["serve", "--check", "--toolsets", "notes", "--read-only"];
    run(&flags, shared().acme.environment()).await.done();
}

fn check_reason(answer: &HttpReply, tool: &str, who: &str) {
    let error = &answer.json()["error"];
    let message = error["message"].as_str().unwrap();
    assert_eq!(error["code"], -32602, "{answer}");
    assert!(
        message.starts_with(&format!("Unknown tool: {tool}.")) && message.contains(who),
        "{message}"
    );
}

async fn a_request_filter_never_widens_access() {
    let server = &shared().acme;
    let limited = Server::with(
        "acme",
        &shared().api,
        &[("TOOLBRIDGE_TOOLS_TOOLSETS", "notes,tasks")],
    )
    .await;
    for (server, toolsets, read_only, query, kept) in [
        (
            server,
            Some("notes,tasks"),
            None,
            "",
            tools_where(|toolset, _| ["notes", "tasks"].contains(&toolset)),
        ),
        (
            server,
            None,
            Some("true"),
            "",
            tools_where(|_, reads| reads),
        ),
        (
            server,
            Some("notes"),
            Some("TRUE"),
            "",
            tools_where(|toolset, reads| reads && toolset == "notes"),
        ),
        (
            server,
            None,
            None,
            "?toolsets=chats&readonly=true",
            tools_where(|toolset, reads| reads && toolset == "chats"),
        ),
        (
            server,
            Some("notes,tasks"),
            None,
            "?toolsets=tasks,chats",
            tools_where(|toolset, _| toolset == "tasks"),
        ),
        (
            server,
            Some("notes"),
            None,
            "?toolsets=tasks",
            BTreeSet::new(),
        ),
        (
            server,
            None,
            Some("false"),
            "?readonly=true",
            tools_where(|_, reads| reads),
        ),
        (
            &limited,
            Some("tasks,chats"),
            Some("false"),
            "",
            tools_where(|toolset, _| toolset == "tasks"),
        ),
    ] {
        for era in [Era::Modern, Era::Legacy("2025-06-18")] {
            let client = Client::new(server, era);
            let narrowed = |request: reqwest::RequestBuilder| {
                let (http, request) = request.build_split();
                let mut request = request.unwrap();
                request.url_mut().set_query(query.strip_prefix('?'));
                let headers = request.headers_mut();
                for (name, value) in [("x-mcp-toolsets", toolsets), ("x-mcp-readonly", read_only)] {
                    if let Some(value) = value {
                        headers.insert(name, value.parse().unwrap());
                    }
                }
                reqwest::RequestBuilder::from_parts(http, request)
            };
            let listed = HttpReply::of(narrowed(client.request("tools/list", json!({})))).await;
            assert_eq!(
                names(&listed.result()),
                kept,
                "{toolsets:?} {read_only:?} {query}"
            );
            for tool in tools_where(|_, _| true) {
                let answer =
                    HttpReply::of(narrowed(client.calling(&tool, json!({"wrong": 1})))).await;
                if kept.contains(&tool) {
                    assert_eq!(answer.result()["isError"], true, "{answer}");
                } else {
                    check_reason(&answer, &tool, "It exists, but this");
                }
            }
            assert!(client.traffic().await.0.is_empty(), "nothing was sent");
        }
    }
    limited.stop().await;
}

async fn refuses_an_invalid_request_filter() {
    let client = Client::modern(&shared().acme);
    for (name, value, said) in [
        (
            "x-mcp-toolsets",
            "notes,note",
            "there are: notes, tasks, comments, chats, chat_messages",
        ),
        ("x-mcp-toolsets", "", "names no toolset"),
        ("x-mcp-toolsets", "*", "names a toolset \"*\""),
        ("x-mcp-readonly", "maybe", "must be true or false"),
    ] {
        let answer =
            HttpReply::of(client.calling("list_notes", json!({})).header(name, value)).await;
        assert_eq!(
            (answer.status, answer.rpc_code()),
            (400, -32600),
            "{answer}"
        );
        assert!(answer.text.contains(&said.replace('"', "\\\"")), "{answer}");
    }
    let twice = client
        .calling("list_notes", json!({}))
        .header("x-mcp-readonly", "true");
    let answer = HttpReply::of(twice.header("x-mcp-readonly", "false")).await;
    assert_eq!(answer.status, 400, "{answer}");
    assert!(client.traffic().await.0.is_empty(), "nothing was sent");
}
