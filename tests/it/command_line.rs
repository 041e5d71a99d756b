//! The command line as a person uses it, beside a running pair.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::entities::{self, OPERATIONS};
use crate::harness::token::new_secret;
use crate::harness::{CONTENT, Client, CommandOutput, Era, SECRETS, ToolClient, User, run, shared};

crate::tests![
    tools_lists_what_clients_see,
    call_runs_the_lifecycle_of_an_item,
    call_prints_json_for_programs,
    search_prints_results_counts_and_the_next_page,
    history_and_restore_undo_a_delete,
    batch_makes_the_operations_of_a_file,
    call_prints_the_command_for_the_next_page,
    call_exits_with_the_code_of_the_error,
    call_ends_its_session_and_sends_only_needed_requests,
    a_minted_token_is_accepted,
    healthcheck_distinguishes_ready_from_unready,
    config_show_prints_origins_and_hides_secrets,
    invalid_settings_stop_startup_with_one_sentence,
    serves_nothing_without_a_tenant_secret,
];

/// A person at a terminal, with the environment of acme's server.
struct CommandUser(User);

impl CommandUser {
    fn new() -> Self {
        Self(shared().acme.new_user())
    }

    async fn runs(&self, words: &[&str]) -> CommandOutput {
        let token = [("TOOLBRIDGE_TOKEN", self.0.token.as_str())];
        run(words, shared().acme.environment().chain(token)).await
    }
}

async fn tools_lists_what_clients_see() {
    let command_user = CommandUser::new();
    let all = command_user.runs(&["tools"]).await.done();
    for entity in entities::all() {
        for operation in OPERATIONS {
            assert!(all.out.contains(&entity.tool(operation)), "{all}");
        }
    }
    let listed = Client::modern(&shared().acme)
        .ask("tools/list", json!({}))
        .await
        .result();
    assert_eq!(
        command_user.runs(&["tools", "--json"]).await.done().json(),
        listed["tools"]
    );

    let one = command_user.runs(&["tools", "create_task"]).await.done();
    for word in [
        "create_task",
        "priority",
        "low|medium|high",
        "due_date",
        "* required",
        "toolbridge-mcp call create_task",
    ] {
        assert!(one.out.contains(word), "{word} is missing: {one}");
    }
    let one = command_user
        .runs(&["tools", "create_task", "--json"])
        .await
        .done()
        .json();
    assert_eq!(one["inputSchema"]["required"], json!(["title"]));
    let none = command_user.runs(&["tools", "create_tsak"]).await;
    assert_eq!(none.code, 2, "{none}");
    assert!(none.err.contains("did you mean create_task?"), "{none}");
}

async fn call_runs_the_lifecycle_of_an_item() {
    let command_user = CommandUser::new();
    let title = format!("title={CONTENT} at home");
    let made = command_user
        .runs(&[
            "call",
            "create_note",
            &title,
            "content=milk",
            "tags=home,food",
        ])
        .await
        .done();
    assert!(
        made.out.starts_with("note ") && made.out.contains("version 1"),
        "{made}"
    );
    assert!(made.out.contains("home, food"), "{made}");
    let uid = made.out.split_whitespace().nth(1).unwrap();
    Uuid::parse_str(uid).unwrap();
    let uid = format!("uid={uid}");

    let listed = command_user.runs(&["call", "list_notes"]).await.done();
    assert!(
        listed.out.contains("UID") && listed.out.contains("at home"),
        "{listed}"
    );
    let edited = command_user
        .runs(&[
            "call",
            "patch_note",
            &uid,
            "updates.title=Weekend",
            "if_match=1",
        ])
        .await
        .done();
    assert!(
        edited.out.contains("version 2") && edited.out.contains("Weekend"),
        "{edited}"
    );
    let replaced = command_user
        .runs(&["call", "update_note", &uid, "title=New", "content=new"])
        .await
        .done();
    assert!(
        replaced.out.contains("version 3") && !replaced.out.contains("home"),
        "{replaced}"
    );
    let deleted = command_user
        .runs(&["call", "delete_note", &uid])
        .await
        .done();
    assert!(deleted.out.contains("deleted"), "{deleted}");
    let empty = command_user.runs(&["call", "list_notes"]).await.done();
    assert_eq!((empty.out.as_str(), empty.err.trim()), ("", "no notes"));

    // What the terminal shows is what an MCP client sees.
    let client = Client::of(&shared().acme, Era::Modern, command_user.0.clone());
    let page = client
        .call("list_notes", json!({"include_deleted": true}))
        .await
        .ok();
    assert_eq!(page["items"][0]["version"], 4);
    client.traffic().await;
}

async fn call_prints_json_for_programs() {
    let command_user = CommandUser::new();
    let arguments =
        json!({"title": "t", "content": CONTENT, "additional_fields": {"stars": 5}}).to_string();
    let made = command_user
        .runs(&[
            "call",
            "create_note",
            "--args",
            &arguments,
            "title=wins",
            "--json",
        ])
        .await
        .done();
    assert_eq!(made.err, "", "{made}");
    let made = made.json();
    let payload = &made["payload"];
    assert_eq!(
        (&payload["title"], &payload["stars"]),
        (&json!("wins"), &json!(5))
    );
    let uid = format!("uid={}", made["uid"].as_str().unwrap());
    assert_eq!(
        command_user
            .runs(&["call", "get_note", &uid, "--json"])
            .await
            .done()
            .json(),
        made
    );
    let page = command_user
        .runs(&["call", "list_notes", "--json"])
        .await
        .done()
        .json();
    assert_eq!(page, json!({"items": [made]}));

    let failed = command_user
        .runs(&[
            "call",
            "patch_note",
            &uid,
            "updates.x=1",
            "if_match=9",
            "--json",
        ])
        .await;
    assert_eq!(failed.code, 1, "{failed}");
    let error = failed.json()["error"].clone();
    assert_eq!(
        (&error["category"], &error["code"]),
        (&json!("conflict"), &json!("version_mismatch"))
    );
}

async fn batch_makes_the_operations_of_a_file() {
    let command_user = CommandUser::new();
    let file = crate::harness::api::temporary().join("operations.json");
    let path = file.to_str().unwrap();
    let create = json!({"op": "create", "kind": "note", "fields": {"title": "t", "content": "c"}});
    let refused = json!({"op": "delete", "kind": "note", "uid": uuid::Uuid::now_v7()});
    std::fs::write(&file, json!([create, refused]).to_string()).unwrap();
    let called = command_user.runs(&["batch", path]).await;
    assert_eq!(called.code, 1, "{called}");
    assert!(
        called.err.contains("Operation 1 (delete note) was refused"),
        "{called}"
    );
    let each = command_user.runs(&["batch", path, "--each"]).await;
    assert_eq!(each.code, 1, "{each}");
    assert!(each.err.contains("1 made, 1 refused"), "{each}");
    assert!(each.out.contains("    0     201  create note "), "{each}");
    std::fs::write(&file, json!([create]).to_string()).unwrap();
    let dry = command_user
        .runs(&["batch", path, "--dry-run"])
        .await
        .done();
    assert!(dry.err.contains("1 would be made, 0 refused"), "{dry}");
    let json = command_user
        .runs(&["batch", path, "--json"])
        .await
        .done()
        .json();
    assert_eq!(json["done"], 1);
    for (text, words) in [("{}", "is not a list"), ("[", "is not valid JSON")] {
        std::fs::write(&file, text).unwrap();
        let usage = command_user.runs(&["batch", path]).await;
        assert_eq!(usage.code, 2, "{usage}");
        assert!(usage.err.contains(words), "{usage}");
    }
}

async fn history_and_restore_undo_a_delete() {
    let command_user = CommandUser::new();
    let note = [
        "call",
        "create_note",
        "title=one",
        "content=A text",
        "--json",
    ];
    let made = command_user.runs(&note).await.done().json();
    let uid = made["uid"].as_str().unwrap();
    let id = format!("note/{uid}");
    let refused = command_user.runs(&["restore", &id]).await;
    assert_eq!(refused.code, 1, "{refused}");
    assert!(refused.err.contains("is not deleted"), "{refused}");
    let delete = ["call", "delete_note", &format!("uid={uid}")];
    command_user.runs(&delete).await.done();
    let restored = command_user.runs(&["restore", &id]).await.done();
    assert!(restored.out.contains("A text"), "{restored}");
    let back = ["restore", &id, "--to-version", "1", "--json"];
    assert_eq!(command_user.runs(&back).await.done().json()["version"], 4);
    let history = command_user.runs(&["history", &id]).await.done();
    let lines: Vec<_> = history.out.lines().collect();
    assert_eq!(lines.len(), 5, "{history}");
    for (line, words) in
        lines
            .iter()
            .zip(["CHANGED", "from version 1", "restore", "delete", "create"])
    {
        assert!(line.contains(words), "{history}");
    }
    assert!(history.err.contains("4 versions"), "{history}");
    let first = command_user
        .runs(&["history", &id, "--version", "1"])
        .await
        .done();
    assert!(first.out.contains("A text"), "{first}");
    let usage = command_user.runs(&["history", uid]).await;
    assert_eq!(usage.code, 2, "{usage}");
}

async fn search_prints_results_counts_and_the_next_page() {
    let command_user = CommandUser::new();
    for number in ["one", "two", "three"] {
        let title = format!("title={number}");
        let note = [
            "call",
            "create_note",
            &title,
            "content=A wandering albatross",
        ];
        command_user.runs(&note).await.done();
    }
    let first = ["search", "albatross", "--limit", "2", "--group-by", "kind"];
    let first = command_user.runs(&first).await.done();
    assert!(
        first.out.contains("three") && !first.out.contains("one"),
        "{first}"
    );
    assert!(first.out.contains("    A wandering albatross\n"), "{first}");
    assert!(first.out.contains("    3  note\n"), "{first}");
    assert!(first.err.contains("3 matches"), "{first}");
    let more = first
        .err
        .trim()
        .rsplit("more: toolbridge-mcp ")
        .next()
        .unwrap();
    let more: Vec<_> = more.split(' ').collect();
    let second = command_user.runs(&more).await.done();
    assert!(
        second.out.contains("one") && !second.out.contains("three"),
        "{second}"
    );

    let json = command_user.runs(&["search", "albatross", "--json"]);
    assert_eq!(json.await.done().json()["total"], 3);
    let nothing = command_user.runs(&["search", "albatros"]).await.done();
    assert!(nothing.err.contains("0 matches\nhint: "), "{nothing}");
    let refused = command_user.runs(&["search", "(albatross"]).await;
    assert_eq!(refused.code, 1, "{refused}");
    assert!(refused.err.contains("The query "), "{refused}");
}

async fn call_prints_the_command_for_the_next_page() {
    let command_user = CommandUser::new();
    for number in ["one", "two", "three"] {
        command_user
            .runs(&["call", "create_chat", &format!("title={number}")])
            .await
            .done();
    }
    let first = command_user
        .runs(&["call", "list_chats", "limit=2"])
        .await
        .done();
    assert!(
        first.out.contains("three") && first.out.contains("two") && !first.out.contains("one"),
        "{first}"
    );
    let more = first
        .err
        .trim()
        .strip_prefix("more: toolbridge-mcp ")
        .unwrap_or_else(|| panic!("{first}"));
    let words: Vec<_> = more
        .split(' ')
        .map(|word| word.trim_matches('\''))
        .collect();
    let second = command_user.runs(&words).await.done();
    assert!(
        second.out.contains("one") && !second.out.contains("three"),
        "{second}"
    );
    assert_eq!(second.err, "", "there is no third page: {second}");
}

async fn call_exits_with_the_code_of_the_error() {
    let command_user = CommandUser::new();
    let uid = format!("uid={}", Uuid::now_v7());
    let nowhere = ["--api-url", "http://127.0.0.1:9"];
    for (code, words, said) in [
        (2, vec!["call", "create_notes"], "did you mean create_note?"),
        (2, vec!["call", "create_note", "title"], "key=value"),
        (1, vec!["call", "get_note", &uid], "There is no note"),
        (1, vec!["call", "create_note", "title=t"], "content"),
        (1, vec!["call", "list_notes", "limit=0"], "limit"),
        (
            69,
            [&["call", "list_notes"][..], &nowhere].concat(),
            "cannot be reached",
        ),
    ] {
        let output = command_user.runs(&words).await;
        assert_eq!(output.code, code, "{output}");
        assert!(
            output.err.contains(said) && output.out.is_empty(),
            "{output}"
        );
    }
    let failed = command_user.runs(&["call", "get_note", &uid]).await;
    for part in ["error: ", "(note_not_found)", "next: ", "correlation id: "] {
        assert!(failed.err.contains(part), "{part} is missing: {failed}");
    }
    // No token, and tokens that will not do.
    let unauthenticated = [
        String::new(),
        "garbled".to_owned(),
        User::with_claims(json!({"sub": "late", "exp": 1_000_000_000})).token,
        shared().globex.new_user().token,
    ];
    for token in unauthenticated {
        let variable = [("TOOLBRIDGE_TOKEN", token.as_str())];
        let output = run(
            &["call", "list_notes"],
            shared().acme.environment().chain(variable),
        )
        .await;
        assert_eq!(output.code, 77, "{output}");
    }
}

async fn call_ends_its_session_and_sends_only_needed_requests() {
    let command_user = CommandUser::new();
    let forwarder = &shared().acme.forwarder;
    command_user.runs(&["call", "list_notes"]).await.done();
    // The program is gone, so what it did not end by now it will never end.
    assert_eq!(
        forwarder.so_far(&command_user.0).lines(),
        ["open", "GET /v1/notes?limit=50&order=newest", "end"]
    );
    let refused = command_user.runs(&["call", "list_notes", "limit=0"]).await;
    assert_eq!(
        (refused.code, forwarder.so_far(&command_user.0).0.len()),
        (1, 3),
        "{refused}"
    );
}

async fn a_minted_token_is_accepted() {
    let sub = Uuid::new_v4().to_string();
    let made = CommandUser::new()
        .runs(&["token", "--sub", &sub, "--ttl", "5m"])
        .await
        .done();
    assert_eq!(
        (made.out.lines().count(), made.err.as_str()),
        (1, ""),
        "only the token is printed"
    );
    let token = made.out.trim().to_owned();
    let client = Client::of(
        &shared().acme,
        Era::Modern,
        User {
            sub: sub.clone(),
            token: token.clone(),
        },
    );
    let note = client
        .call("create_note", json!({"title": "t", "content": "c"}))
        .await
        .ok();
    client.traffic().await;
    // `--as` is the same person without the detour, and a file will do too.
    let command_user = CommandUser::new();
    let page = command_user
        .runs(&["call", "list_notes", "--as", &sub, "--json"])
        .await
        .done()
        .json();
    assert_eq!(page["items"], json!([note]));
    let file = crate::harness::api::temporary().join(format!("token-{sub}"));
    std::fs::write(&file, format!("{token}\n")).unwrap();
    let page = command_user
        .runs(&[
            "call",
            "list_notes",
            "--token-file",
            file.to_str().unwrap(),
            "--json",
        ])
        .await
        .done()
        .json();
    assert_eq!(page["items"], json!([note]));
    std::fs::remove_file(file).unwrap();

    let elsewhere = command_user
        .runs(&["token", "--sub", &sub, "--tenant", "globex"])
        .await
        .done();
    let token = [("TOOLBRIDGE_TOKEN", elsewhere.out.trim())];
    assert_eq!(
        run(
            &["call", "list_notes"],
            shared().acme.environment().chain(token)
        )
        .await
        .code,
        77
    );
}

async fn healthcheck_distinguishes_ready_from_unready() {
    let acme = &shared().acme;
    let port = acme.url.rsplit(':').next().unwrap();
    let well = run(
        &["healthcheck"],
        acme.environment()
            .filter(|(name, _)| *name != "TOOLBRIDGE_PORT")
            .chain([("TOOLBRIDGE_PORT", port)]),
    )
    .await
    .done();
    assert!(well.out.contains("healthy: "), "{well}");
    let url = format!("{}/healthz", acme.url);
    run(&["healthcheck", "--url", &url, "--timeout", "2s"], [])
        .await
        .done();
    for url in [
        format!("{}/nowhere", acme.url),
        "http://127.0.0.1:9/healthz".to_owned(),
        "no url".to_owned(),
    ] {
        let ill = run(&["healthcheck", "--url", &url], []).await;
        assert_eq!((ill.code, ill.err.lines().count()), (1, 1), "{ill}");
    }
    // A server that is off leaves the API's health as the container's.
    let off = run(
        &["healthcheck"],
        [("TOOLBRIDGE_API_BASE_URL", shared().api.url.as_str())],
    );
    let off = off.await.done();
    assert!(
        off.out.starts_with("off: ") && off.out.contains("healthy: "),
        "{off}"
    );
    let off = run(
        &["healthcheck"],
        [("TOOLBRIDGE_API_BASE_URL", "http://127.0.0.1:9")],
    );
    assert_eq!(off.await.code, 1);
}

async fn config_show_prints_origins_and_hides_secrets() {
    let command_user = CommandUser::new();
    let shown = command_user
        .runs(&["config", "show", "--set", "api.call_deadline=9s"])
        .await
        .done();
    for part in [
        "acme",
        "<redacted>",
        "TOOLBRIDGE_TENANT_ID",
        "\"9s\"",
        "--set",
    ] {
        assert!(shown.out.contains(part), "{part} is missing: {shown}");
    }
    let json = command_user
        .runs(&["config", "show", "--json"])
        .await
        .done();
    for out in [&shown.out, &json.out] {
        assert!(
            !out.contains(&SECRETS.jwt) && !out.contains(&SECRETS.tenant),
            "a secret is shown"
        );
    }
    let settings = json.json()["settings"].clone();
    let of = |key: &str| {
        settings
            .as_array()
            .unwrap()
            .iter()
            .find(|line| line["key"] == key)
            .cloned()
            .unwrap()
    };
    assert_eq!(of("tenant.id")["value"], "acme");
    assert_eq!(of("tenant.header_secret")["value"], "<redacted>");
    assert_eq!(of("server.drain_timeout")["from"], "default");
    command_user.runs(&["config", "check"]).await.done();
}

async fn invalid_settings_stop_startup_with_one_sentence() {
    let good = || -> Vec<(&str, &str)> { shared().acme.environment().collect() };
    let short = "0123456789abcdef";
    let placeholder = "changeme-changeme-changeme-changeme";
    let other = new_secret();
    for (variable, value, named) in [
        ("TOOLBRIDGE_PROT", "1", "TOOLBRIDGE_PORT"),
        ("TOOLBRIDGE_PORT", "80o1", "server.port"),
        ("JWT_HS256_SECRET", short, "auth.hs256_secret"),
        ("JWT_HS256_SECRET", "", "auth.hs256_secret"),
        (
            "TOOLBRIDGE_TENANT_HEADER_SECRET",
            placeholder,
            "tenant.header_secret",
        ),
        ("TENANT_HEADER_SECRET", &other, "tenant.header_secret"),
        ("TOOLBRIDGE_TENANT_ID", "", "tenant.id"),
        ("TOOLBRIDGE_GO_API_BASE_URL", "localhost", "api.base_url"),
        (
            "TOOLBRIDGE_GO_API_BASE_URL",
            "ftp://localhost",
            "api.base_url",
        ),
        ("TOOLBRIDGE_API_CALL_DEADLINE", "25", "api.call_deadline"),
        ("TOOLBRIDGE_API_CALL_DEADLINE", "0s", "api.call_deadline"),
        ("TOOLBRIDGE_LOG_LEVEL", "loud", "log.level"),
        (
            "TOOLBRIDGE_CONFIG",
            "/nowhere/toolbridge.toml",
            "/nowhere/toolbridge.toml",
        ),
        (
            "TOOLBRIDGE_AUTH_AUTHORIZATION_SERVERS",
            "https://login.example.com",
            "server.public_url",
        ),
    ] {
        let environment = good()
            .into_iter()
            .filter(|(name, _)| *name != variable)
            .chain([(variable, value)]);
        let output = run(&["serve"], environment).await;
        assert_eq!(
            (output.code, output.err.lines().count(), output.out.as_str()),
            (64, 1, ""),
            "{variable}={value}: {output}"
        );
        assert!(
            output.err.starts_with("error: ") && output.err.contains(named),
            "{output}"
        );
        for secret in [short, placeholder, &other] {
            assert!(!output.err.contains(secret), "a secret is quoted: {output}");
        }
    }
    let taken = shared().acme.url.rsplit(':').next().unwrap();
    let environment = good()
        .into_iter()
        .filter(|(name, _)| !["TOOLBRIDGE_PORT", "TOOLBRIDGE_AUDIT_TO"].contains(name))
        .chain([("TOOLBRIDGE_PORT", taken)]);
    let output = run(&["serve"], environment).await;
    assert_eq!(output.code, 71, "{output}");
    assert!(
        output.out.contains("cannot listen on") && output.err.is_empty(),
        "{output}"
    );
}

async fn serves_nothing_without_a_tenant_secret() {
    let environment = || {
        let all = shared().acme.environment();
        all.filter(|(name, _)| *name != "TOOLBRIDGE_TENANT_HEADER_SECRET")
    };
    let off = run(&["serve"], environment()).await.done();
    let line: Value =
        serde_json::from_str(off.out.trim()).unwrap_or_else(|_| panic!("one line: {off}"));
    assert!(
        line["msg"]
            .as_str()
            .unwrap()
            .contains("TENANT_HEADER_SECRET"),
        "{off}"
    );
    assert_eq!(off.err, "");
    run(&["healthcheck"], environment()).await.done();
    for words in [&["call", "list_notes"][..], &["stdio"]] {
        assert_eq!(run(words, environment()).await.code, 64);
    }
}
