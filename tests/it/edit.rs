//! `edit_text`, with the real API.

use serde_json::{Value, json};

use crate::harness::{CONTENT, Client, Era, HttpReply, Sidecar, ToolClient, User, world};

crate::tests![
    a_large_text_is_edited_with_little_traffic,
    edits_of_several_callers_are_all_kept,
    a_text_of_somebody_else_is_not_edited,
    a_token_without_its_scope_edits_nothing,
    an_edit_is_refused_without_changing_anything,
];

async fn note(client: &impl ToolClient, content: &str) -> String {
    let note = json!({"title": CONTENT, "content": content});
    let made = client.call("create_note", note).await.ok();
    made["uid"].as_str().unwrap().to_owned()
}

async fn content(client: &impl ToolClient, uid: &str) -> String {
    let note = client.call("get_note", json!({"uid": uid})).await.ok();
    note["payload"]["content"].as_str().unwrap().to_owned()
}

fn edit(uid: &str, operation: &str, text: &str) -> Value {
    json!({"kind": "note", "uid": uid, "operation": operation, "text": text})
}

async fn a_large_text_is_edited_with_little_traffic() {
    for era in Era::all() {
        let client = Client::new(&world().acme, era);
        let line = "a line of some text\r\n";
        let long = format!(
            "# One\r\n{}# Two\r\nold\r\n```\r\n# Two\r\n```\r\n# Three\r\n{}",
            line.repeat(20_000),
            line.repeat(20_000)
        );
        assert!(long.len() > 800 << 10);
        let uid = note(&client, &long).await;
        let mut arguments = edit(&uid, "replace_section", "new\ntext");
        arguments["heading"] = json!("Two");
        let called = client.call("edit_text", arguments.clone()).await;
        assert!(arguments.to_string().len() + called.text().len() < 4096);
        let result = called.ok();
        let edited = long.replace("old\r\n```\r\n# Two\r\n```\r\n", "new\r\ntext\r\n");
        assert_eq!(result["version"], 2);
        assert_eq!(
            (&result["bytes_before"], &result["bytes_after"]),
            (&json!(long.len()), &json!(edited.len()))
        );
        let around = result["around"].as_str().unwrap();
        assert!(
            around.contains("# Two\r\nnew\r\ntext\r\n# Three"),
            "{around}"
        );
        assert_eq!(content(&client, &uid).await, edited);
        client.traffic().await;
    }
}

async fn edits_of_several_callers_are_all_kept() {
    let client = Client::modern(&world().acme);
    let uid = note(&client, "begin").await;
    let append = |number: usize| {
        let (client, arguments) = (&client, edit(&uid, "append", &format!("line {number}")));
        async move {
            // Each attempt edits the text as it is then, so one of the callers always succeeds.
            loop {
                let called = client.call("edit_text", arguments.clone()).await;
                if !called.is_error() {
                    return;
                }
                assert_eq!(
                    called.failed("conflict", "version_mismatch")["retryable"],
                    true
                );
            }
        }
    };
    futures::future::join_all((0..8).map(append)).await;
    let content = content(&client, &uid).await;
    let mut lines: Vec<_> = content.lines().collect();
    lines.sort_unstable();
    let mut expected: Vec<_> = (0..8).map(|number| format!("line {number}")).collect();
    expected.insert(0, "begin".to_owned());
    assert_eq!(lines, expected);
    client.traffic().await;
}

async fn a_text_of_somebody_else_is_not_edited() {
    let owner = Client::modern(&world().acme);
    let uid = note(&owner, "mine").await;
    for sidecar in [&world().acme, &world().globex] {
        let other = Client::modern(sidecar);
        let called = other.call("edit_text", edit(&uid, "append", "x")).await;
        called.failed("not_found", "note_not_found");
        other.traffic().await;
    }
    assert_eq!(content(&owner, &uid).await, "mine");
    owner.traffic().await;
}

async fn a_token_without_its_scope_edits_nothing() {
    let owner = Client::modern(&world().acme);
    let uid = note(&owner, "mine").await;
    for (scope, allowed) in [
        ("toolbridge:read toolbridge:notes:write", false),
        ("toolbridge:edit:read", false),
        ("toolbridge:edit:write", true),
        ("toolbridge:write", true),
    ] {
        let claims = json!({"sub": owner.user.sub, "tenant_id": "acme", "scope": scope});
        let client = Client::of(&world().acme, Era::Modern, User::with_claims(claims));
        let call = client.calling("edit_text", edit(&uid, "append", "x"));
        let answer = HttpReply::of(call).await;
        assert_eq!(answer.status == 200, allowed, "{scope}: {answer}");
    }
    let read_only = [("TOOLBRIDGE_TOOLS_READ_ONLY", "true")];
    let sidecar = Sidecar::with("acme", &world().api, &read_only).await;
    let client = Client::of(&sidecar, Era::Modern, owner.user.clone());
    let answer = HttpReply::of(client.calling("edit_text", edit(&uid, "append", "x"))).await;
    assert_eq!(answer.rpc_code(), -32602, "{answer}");
    sidecar.stop().await;
    assert_eq!(content(&owner, &uid).await, "mine\nx\nx");
    owner.traffic().await;
}

async fn an_edit_is_refused_without_changing_anything() {
    let client = Client::modern(&world().acme);
    let uid = note(&client, "one two two").await;
    for (more, category, code) in [
        (json!({"find": "two"}), "validation", "invalid_argument"),
        (json!({"find": "three"}), "validation", "invalid_argument"),
        (json!({}), "validation", "invalid_argument"),
        (
            json!({"find": "one", "if_match": 2}),
            "conflict",
            "version_mismatch",
        ),
        (
            json!({"find": "one", "text": "x".repeat(1 << 20)}),
            "too_large",
            "request_too_large",
        ),
    ] {
        let mut arguments = edit(&uid, "replace", "x");
        arguments
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        client
            .call("edit_text", arguments)
            .await
            .failed(category, code);
    }
    let note = client.call("get_note", json!({"uid": uid})).await.ok();
    assert_eq!(
        (&note["version"], &note["payload"]["content"]),
        (&json!(1), &json!("one two two"))
    );
    client.call("delete_note", json!({"uid": uid})).await.ok();
    let called = client.call("edit_text", edit(&uid, "append", "x")).await;
    called.failed("not_found", "note_deleted");
    client.traffic().await;
}
