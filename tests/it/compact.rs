//! The toolset `compact`: nine tools over every kind, for requests that name it.

use serde_json::{Value, json};

use crate::harness::{CONTENT, Client, Era, HttpReply, ToolClient, shared};

crate::tests![
    a_request_that_names_compact_can_do_everything_with_nine_tools,
    errors_of_compact_name_its_own_tools,
    compact_reaches_nothing_of_other_users,
    compact_is_offered_only_where_it_is_named,
];

/// The result of a call by a request that names the toolset.
async fn called(client: &Client<'_>, tool: &str, arguments: Value) -> Value {
    let request = client.calling(tool, arguments);
    let reply = HttpReply::of(request.header("x-mcp-toolsets", "compact")).await;
    assert_eq!(reply.status, 200, "{reply}");
    reply.result()
}

/// The structured result of a call that succeeds.
async fn done(client: &Client<'_>, tool: &str, arguments: Value) -> Value {
    let result = called(client, tool, arguments).await;
    assert_ne!(result["isError"], true, "{tool}: {result}");
    result["structuredContent"].clone()
}

/// The error of a call that fails.
async fn failed(client: &Client<'_>, tool: &str, arguments: Value) -> Value {
    let result = called(client, tool, arguments).await;
    assert_eq!(result["isError"], true, "{tool}: {result}");
    let text = result["content"][0]["text"].as_str().unwrap();
    serde_json::from_str::<Value>(text).unwrap()["error"].take()
}

async fn a_request_that_names_compact_can_do_everything_with_nine_tools() {
    for era in [Era::Modern, Era::Legacy("2025-06-18")] {
        let client = Client::new(&shared().acme, era);
        let list = client.request("tools/list", json!({}));
        let list = HttpReply::of(list.header("x-mcp-toolsets", "compact")).await;
        let tools = list.result()["tools"].as_array().unwrap().clone();
        let names: Vec<_> = tools.iter().map(|tool| tool["name"].as_str()).collect();
        assert_eq!(names.len(), 9, "{names:?}");
        let bytes = json!({ "tools": tools }).to_string().len();
        assert!(bytes <= 9_000, "{bytes}");

        let create = |kind: &str, fields: Value| json!({"kind": kind, "fields": fields});
        let note = create("note", json!({"title": CONTENT, "content": "a quokka"}));
        let note = done(&client, "create", note).await;
        let comment = json!({"content": CONTENT, "parent_type": "note", "parent_uid": note["uid"]});
        let comment = done(&client, "create", create("comment", comment)).await;
        let patch = json!({
            "kind": "note", "uid": note["uid"], "updates": {"tags": ["zoo"]}, "if_match": 1,
        });
        assert_eq!(done(&client, "patch", patch).await["version"], 2);
        let found = done(
            &client,
            "search",
            json!({"query": "quokka", "tags": ["zoo"]}),
        )
        .await;
        assert_eq!(
            (&found["total"], &found["results"][0]["uid"]),
            (&json!(1), &note["uid"])
        );
        let both = [("comment", &comment["uid"]), ("note", &note["uid"])];
        for (kind, uid) in both {
            done(&client, "delete", json!({"kind": kind, "uid": uid})).await;
        }
        let restore = json!({"kind": "note", "uid": note["uid"]});
        assert_eq!(done(&client, "restore", restore).await["uid"], note["uid"]);
        let read = done(&client, "fetch", json!({"id": note["uid"]})).await;
        assert!(read["text"].as_str().unwrap().contains("quokka"), "{read}");
    }
}

async fn errors_of_compact_name_its_own_tools() {
    let client = Client::modern(&shared().acme);
    let fields = json!({"title": CONTENT});
    let create = json!({"kind": "task", "fields": fields});
    let task = done(&client, "create", create).await;
    let at = |extra: Value| {
        let mut arguments = json!({"kind": "task", "uid": task["uid"]});
        arguments
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        arguments
    };
    let stale = at(json!({"updates": {"status": "done"}, "if_match": 7}));
    let unknown = json!({"kind": "task", "fields": {"title": CONTENT, "colour": {}}});
    let without = json!({"kind": "comment", "fields": {"content": "x"}});
    let gone = json!({
        "kind": "task", "uid": "01890a5d-ac96-774b-bcce-b302099a8057", "updates": {"title": "x"},
    });
    for (tool, arguments, code) in [
        ("patch", stale, "version_mismatch"),
        ("patch", gone, "task_not_found"),
        ("create", unknown, "invalid_argument"),
        ("create", without, "invalid_argument"),
        ("patch", at(json!({"updates": {}})), "invalid_argument"),
        (
            "delete",
            json!({"kind": "thing", "uid": task["uid"]}),
            "invalid_argument",
        ),
    ] {
        let error = failed(&client, tool, arguments).await;
        assert_eq!(error["code"], code, "{error}");
        let text = error.to_string();
        for verb in ["get_", "list_", "create_", "update_", "patch_", "delete_"] {
            assert!(!text.contains(&format!("{verb}task")), "{text}");
            assert!(!text.contains(&format!("{verb}comment")), "{text}");
        }
    }
}

async fn compact_reaches_nothing_of_other_users() {
    let server = &shared().acme;
    let (owner, other) = (Client::modern(server), Client::modern(server));
    let create = json!({"kind": "note", "fields": {"title": CONTENT, "content": "wombat"}});
    let uid = done(&owner, "create", create).await["uid"].clone();
    let patch = json!({"kind": "note", "uid": uid, "updates": {"title": "mine"}});
    for (tool, arguments) in [
        ("patch", patch),
        ("delete", json!({"kind": "note", "uid": uid})),
        ("restore", json!({"kind": "note", "uid": uid})),
        ("fetch", json!({"id": uid})),
    ] {
        let error = failed(&other, tool, arguments).await;
        assert_eq!(error["category"], "not_found", "{tool}: {error}");
    }
    let found = done(&other, "search", json!({"query": "wombat"})).await;
    assert_eq!(found["total"], 0);
    let kept = owner.call("get_note", json!({"uid": uid})).await.ok();
    assert_eq!(kept["version"], 1);
}

async fn compact_is_offered_only_where_it_is_named() {
    let client = Client::modern(&shared().acme);
    let create = json!({"kind": "note", "fields": {"title": CONTENT}});
    let refused = client.calling("create", create);
    let refused = HttpReply::of(refused).await;
    assert!(
        refused.text.contains("has to name the toolset compact"),
        "{refused}"
    );
    assert!(client.traffic().await.0.is_empty(), "nothing was sent");
}
