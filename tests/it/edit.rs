//! `edit_text`, `history`, `restore` and `batch`, with the real API.

use serde_json::{Value, json};

use crate::harness::{
    CONTENT, Client, Era, Fault, Forwarder, HttpReply, Server, Stage, ToolClient, User, shared,
};

crate::tests![
    a_large_text_is_edited_with_little_traffic,
    edits_of_several_callers_are_all_kept,
    a_text_of_somebody_else_is_not_edited,
    a_token_without_its_scope_edits_nothing,
    an_edit_is_refused_without_changing_anything,
    a_deleted_item_comes_back_with_what_belongs_to_it,
    an_earlier_version_comes_back_and_can_be_left_again,
    versions_of_somebody_else_are_not_there,
    an_api_without_versions_has_no_history,
    a_batch_is_made_as_a_whole_or_not_at_all,
    a_batch_without_atomic_reports_each_operation,
    a_batch_whose_answer_is_lost_is_made_once,
    a_batch_on_items_of_somebody_else_changes_nothing,
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
        let client = Client::new(&shared().acme, era);
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
    let client = Client::modern(&shared().acme);
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
    let owner = Client::modern(&shared().acme);
    let uid = note(&owner, "mine").await;
    for server in [&shared().acme, &shared().globex] {
        let other = Client::modern(server);
        let called = other.call("edit_text", edit(&uid, "append", "x")).await;
        called.failed("not_found", "note_not_found");
        other.traffic().await;
    }
    assert_eq!(content(&owner, &uid).await, "mine");
    owner.traffic().await;
}

async fn a_token_without_its_scope_edits_nothing() {
    let owner = Client::modern(&shared().acme);
    let uid = note(&owner, "mine").await;
    for (scope, allowed) in [
        ("toolbridge:read toolbridge:notes:write", false),
        ("toolbridge:edit:read", false),
        ("toolbridge:edit:write", true),
        ("toolbridge:write", true),
    ] {
        let claims = json!({"sub": owner.user.sub, "tenant_id": "acme", "scope": scope});
        let client = Client::of(&shared().acme, Era::Modern, User::with_claims(claims));
        let call = client.calling("edit_text", edit(&uid, "append", "x"));
        let answer = HttpReply::of(call).await;
        assert_eq!(answer.status == 200, allowed, "{scope}: {answer}");
    }
    let read_only = [("TOOLBRIDGE_TOOLS_READ_ONLY", "true")];
    let server = Server::with("acme", &shared().api, &read_only).await;
    let client = Client::of(&server, Era::Modern, owner.user.clone());
    let answer = HttpReply::of(client.calling("edit_text", edit(&uid, "append", "x"))).await;
    assert_eq!(answer.rpc_code(), -32602, "{answer}");
    server.stop().await;
    assert_eq!(content(&owner, &uid).await, "mine\nx\nx");
    owner.traffic().await;
}

async fn an_edit_is_refused_without_changing_anything() {
    let client = Client::modern(&shared().acme);
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

fn of(uid: &str) -> Value {
    json!({"kind": "note", "uid": uid})
}

async fn a_deleted_item_comes_back_with_what_belongs_to_it() {
    for era in Era::all() {
        let client = Client::new(&shared().acme, era);
        let uid = note(&client, "to be deleted").await;
        let comment = json!({"content": "c", "parent_type": "note", "parent_uid": uid});
        let comment = client.call("create_comment", comment).await.ok()["uid"].clone();
        client
            .call("restore", of(&uid))
            .await
            .failed("conflict", "not_deleted");
        client.call("delete_note", json!({"uid": uid})).await.ok();
        let change = json!({"uid": comment, "content": "d"});
        client
            .call("update_comment", change.clone())
            .await
            .failed("not_found", "parent_not_found");
        let restored = client.call("restore", of(&uid)).await.ok();
        assert_eq!(
            (&restored["uid"], &restored["version"]),
            (&json!(uid), &json!(3))
        );
        assert_eq!(content(&client, &uid).await, "to be deleted");
        client.call("update_comment", change).await.ok();
        let history = client.call("history", of(&uid)).await.ok();
        let operations: Vec<_> = history["versions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|version| version["operation"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(operations, ["restore", "delete", "create"]);
        client.traffic().await;
    }
}

async fn an_earlier_version_comes_back_and_can_be_left_again() {
    let client = Client::modern(&shared().acme);
    let uid = note(&client, "one").await;
    for text in ["two", "three"] {
        client
            .call("edit_text", edit(&uid, "append", text))
            .await
            .ok();
    }
    let with = |name: &str, value: u64| {
        let mut arguments = of(&uid);
        arguments[name] = json!(value);
        arguments
    };
    let first = client.call("history", with("version", 1)).await.ok();
    assert_eq!(first["payload"]["content"], "one");
    let history = client.call("history", with("limit", 1)).await.ok();
    assert_eq!(history["versions"].as_array().unwrap().len(), 1);
    assert_eq!(history["versions"][0]["changed"], json!(["content"]));
    let restored = client.call("restore", with("to_version", 1)).await.ok();
    assert_eq!(
        (&restored["version"], content(&client, &uid).await.as_str()),
        (&json!(4), "one")
    );
    client.call("restore", with("to_version", 3)).await.ok();
    assert_eq!(content(&client, &uid).await, "one\ntwo\nthree");
    for (tool, name) in [("restore", "to_version"), ("history", "version")] {
        let called = client.call(tool, with(name, 99)).await;
        called.failed("not_found", "version_not_found");
    }
    client.traffic().await;
}

async fn versions_of_somebody_else_are_not_there() {
    let owner = Client::modern(&shared().acme);
    let uid = note(&owner, "mine").await;
    owner.call("delete_note", json!({"uid": uid})).await.ok();
    for server in [&shared().acme, &shared().globex] {
        let other = Client::modern(server);
        for (tool, name) in [("restore", "to_version"), ("history", "version")] {
            other
                .call(tool, of(&uid))
                .await
                .failed("not_found", "note_not_found");
            let mut arguments = of(&uid);
            arguments[name] = json!(1);
            other
                .call(tool, arguments)
                .await
                .failed("not_found", "version_not_found");
        }
        other.traffic().await;
    }
    let history = owner.call("history", of(&uid)).await.ok();
    assert_eq!(history["versions"].as_array().unwrap().len(), 2);
    owner.traffic().await;
}

async fn an_api_without_versions_has_no_history() {
    let forwarder = Forwarder::without_features(&shared().api.url).await;
    let server = Server::with_forwarder(forwarder, "acme", &[]).await;
    let client = Client::modern(&server);
    let uid = note(&client, "one").await;
    for tool in ["history", "restore", "batch"] {
        let answer = HttpReply::of(client.calling(tool, of(&uid))).await;
        assert_eq!(answer.rpc_code(), -32602, "{answer}");
    }
    // This tool needs nothing but the common routes.
    client
        .call("edit_text", edit(&uid, "append", "two"))
        .await
        .ok();
    assert_eq!(content(&client, &uid).await, "one\ntwo");
    client.traffic().await;
    server.stop().await;
}

async fn a_batch_is_made_as_a_whole_or_not_at_all() {
    for era in Era::all() {
        let client = Client::new(&shared().acme, era);
        let uid = note(&client, "one").await;
        let new = uuid::Uuid::now_v7().to_string();
        let mut operations = vec![
            json!({"op": "create", "kind": "note", "uid": new,
                "fields": {"title": "new", "content": "c"}}),
            json!({"op": "create", "kind": "comment", "fields": {"content": "c",
                "parent_type": "note", "parent_uid": new}}),
            json!({"op": "edit", "kind": "note", "uid": uid, "operation": "append", "text": "two"}),
            json!({"op": "tag", "kind": "note", "uid": uid, "add_tags": ["x"]}),
        ];
        let dry = json!({"operations": operations, "dry_run": true});
        let dry = client.call("batch", dry).await.ok();
        assert_eq!((&dry["done"], &dry["dry_run"]), (&json!(4), &json!(true)));
        client
            .call("get_note", json!({"uid": new}))
            .await
            .failed("not_found", "note_not_found");

        operations.push(json!({"op": "delete", "kind": "note", "uid": uid, "if_match": 99}));
        let refused = client
            .call("batch", json!({"operations": operations}))
            .await;
        let error = refused.failed("conflict", "version_mismatch");
        assert_eq!(error["details"]["argument"], "operations[4]");
        client
            .call("get_note", json!({"uid": new}))
            .await
            .failed("not_found", "note_not_found");
        assert_eq!(content(&client, &uid).await, "one");

        operations.pop();
        let made = client
            .call("batch", json!({"operations": operations}))
            .await
            .ok();
        assert_eq!(
            (&made["done"], &made["failed"]),
            (&json!(4), &json!(0)),
            "{made}"
        );
        assert_eq!(content(&client, &uid).await, "one\ntwo");
        let comments = json!({"parent_uid": new});
        let comments = client.call("list_comments", comments).await.ok();
        assert_eq!(comments["items"].as_array().unwrap().len(), 1);
        client.traffic().await;
    }
}

async fn a_batch_without_atomic_reports_each_operation() {
    let client = Client::modern(&shared().acme);
    let uid = note(&client, "one").await;
    let missing = uuid::Uuid::now_v7();
    let operations = json!([
        {"op": "delete", "kind": "note", "uid": missing},
        {"op": "patch", "kind": "note", "uid": uid, "updates": {"content": "two"}},
    ]);
    let arguments = json!({"operations": operations, "atomic": false});
    let made = client.call("batch", arguments).await.ok();
    assert_eq!(
        (&made["done"], &made["failed"]),
        (&json!(1), &json!(1)),
        "{made}"
    );
    assert_eq!(made["results"][0]["status"], 404, "{made}");
    assert_eq!(content(&client, &uid).await, "two");
    client.traffic().await;
}

/// The API remembers its answer by the key of the request, and does nothing twice.
async fn a_batch_whose_answer_is_lost_is_made_once() {
    let client = Client::modern(&shared().acme);
    let uid = note(&client, "one").await;
    let append = json!([{"op": "edit", "kind": "note", "uid": uid, "operation": "append",
        "text": "two"}]);
    let forwarder = &client.server.forwarder;
    forwarder.inject(&client.user, Stage::Operation, Fault::LoseAnswer);
    let made = client
        .call("batch", json!({"operations": append}))
        .await
        .ok();
    assert_eq!(made["results"][0]["version"], 2, "{made}");
    assert_eq!(content(&client, &uid).await, "one\ntwo");
    client.traffic().await;
}

async fn a_batch_on_items_of_somebody_else_changes_nothing() {
    let owner = Client::modern(&shared().acme);
    let uid = note(&owner, "mine").await;
    for server in [&shared().acme, &shared().globex] {
        let other = Client::modern(server);
        for operation in [
            json!({"op": "delete", "kind": "note", "uid": uid}),
            json!({"op": "patch", "kind": "note", "uid": uid, "updates": {"content": "x"}}),
            json!({"op": "restore", "kind": "note", "uid": uid, "to_version": 1}),
            json!({"op": "create", "kind": "comment", "fields": {"content": "c",
                "parent_type": "note", "parent_uid": uid}}),
        ] {
            let called = other
                .call("batch", json!({"operations": [operation]}))
                .await;
            assert!(called.is_error(), "{called}");
        }
        other.traffic().await;
    }
    let note = owner.call("get_note", json!({"uid": uid})).await.ok();
    assert_eq!(
        (&note["version"], &note["payload"]["content"]),
        (&json!(1), &json!("mine"))
    );
    owner.traffic().await;
}
