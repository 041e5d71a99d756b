//! `search`, `fetch` and `overview`, and the order and parents of lists, with the real API.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{
    CONTENT, CallResult, Client, Era, Forwarder, HttpReply, Server, ToolClient, User, shared,
};

crate::tests![
    what_was_written_is_found_at_once_and_what_was_deleted_is_not,
    other_users_and_tenants_are_not_searched,
    a_query_that_cannot_be_read_is_explained,
    a_walk_through_results_meets_each_once,
    a_cursor_belongs_to_one_search_of_one_user,
    an_item_is_fetched_with_its_children,
    lists_have_an_order_and_a_parent,
    an_overview_counts,
    an_api_without_features_keeps_the_tools_that_need_none,
    a_token_for_one_toolset_does_not_search,
];

/// The UIDs of a search's results.
fn found(result: &Value) -> BTreeSet<String> {
    let results = result["results"].as_array().unwrap().iter();
    let uid = |item: &Value| item["uid"].as_str().unwrap().to_owned();
    results.map(uid).collect()
}

async fn note(client: &impl ToolClient, title: &str, content: &str) -> String {
    let note = json!({"title": title, "content": content});
    let made = client.call("create_note", note).await.ok();
    made["uid"].as_str().unwrap().to_owned()
}

async fn search(client: &impl ToolClient, arguments: Value) -> CallResult {
    client.call("search", arguments).await
}

async fn what_was_written_is_found_at_once_and_what_was_deleted_is_not() {
    for era in Era::all() {
        let client = Client::new(&shared().acme, era);
        let long = format!(
            "{}the ибис and the Straße, batteries",
            "word ".repeat(10_000)
        );
        let uid = note(&client, CONTENT, &long).await;
        for query in ["ибис", "STRASSE", "battery", "\"the ИБИС\" OR x", CONTENT] {
            let result = search(&client, json!({"query": query})).await.ok();
            assert_eq!(found(&result), BTreeSet::from([uid.clone()]), "{query}");
            assert_eq!(result["total"], 1, "{query}");
        }
        let result = &search(&client, json!({"query": "ибис"})).await.ok()["results"][0];
        assert_eq!(result["id"], format!("note/{uid}"));
        let snippet = result["snippet"].as_str().unwrap();
        assert!(
            snippet.contains("ибис") && snippet.chars().count() <= 200,
            "{snippet}"
        );
        client.call("delete_note", json!({"uid": uid})).await.ok();
        let nothing = search(&client, json!({"query": "ибис"})).await.ok();
        assert_eq!(nothing["total"], 0);
        assert_eq!(nothing["hints"][0]["reason"], "deleted", "{nothing}");
        let deleted = json!({"query": "ибис", "deleted": "only"});
        let deleted = search(&client, deleted).await.ok();
        assert_eq!(found(&deleted), BTreeSet::from([uid]));
        client.traffic().await;
    }
}

async fn other_users_and_tenants_are_not_searched() {
    let clients = [&shared().acme, &shared().globex].map(|server| {
        let users = [User::of(&server.tenant), User::of(&server.tenant)];
        users.map(|user| Client::of(server, Era::Modern, user))
    });
    let clients: Vec<_> = clients.into_iter().flatten().collect();
    for (number, client) in clients.iter().enumerate() {
        note(client, &format!("{CONTENT} own{number}"), "pelican").await;
    }
    for (number, client) in clients.iter().enumerate() {
        let grouped = json!({"query": "pelican", "group_by": "kind"});
        let result = search(client, grouped).await.ok();
        assert_eq!(result["total"], 1, "{result}");
        assert_eq!(result["groups"], json!([{"value": "note", "count": 1}]));
        assert_eq!(
            result["results"][0]["title"],
            format!("{CONTENT} own{number}")
        );
        // Hints do not reveal words of others either.
        let other = format!("own{}", (number + 1) % clients.len());
        let nothing = search(client, json!({ "query": other })).await.ok();
        assert_eq!(nothing["total"], 0, "{nothing}");
        let hints = nothing["hints"].to_string();
        assert!(hints.contains("unknown_word"), "{hints}");
        let overview = client.call("overview", json!({})).await.ok();
        assert_eq!(overview["kinds"][0], json!({"kind": "note", "total": 1}));
    }
    // A UID of another user is unknown.
    let result = search(&clients[0], json!({"query": "pelican"})).await.ok();
    let theirs = json!({"id": result["results"][0]["id"]});
    let called = clients[1].call("fetch", theirs).await;
    called.failed("not_found", "item_not_found");
    for client in &clients {
        client.traffic().await;
    }
}

async fn a_query_that_cannot_be_read_is_explained() {
    let client = Client::modern(&shared().acme);
    let deep = "(".repeat(50);
    for query in ["\"open", "(a", "a)", "OR", "a OR", "...", "a\u{7}b", &deep] {
        let called = search(&client, json!({ "query": query })).await;
        let error = called.failed("validation", "invalid_argument");
        assert_eq!(error["details"]["argument"], "query", "{called}");
        let message = error["message"].as_str().unwrap();
        assert!(
            message.starts_with("The query ") && message.len() < 300,
            "{called}"
        );
    }
    for (argument, value) in [
        ("limit", json!(51)),
        ("kinds", json!(["user"])),
        ("order", json!("best")),
        ("due_after", json!("tomorrow")),
        ("parent_uid", json!("x")),
        ("cursor", json!("x")),
    ] {
        let called = search(&client, json!({ argument: value })).await;
        let error = called.failed("validation", "invalid_argument");
        let named = error["details"]["argument"].as_str().unwrap();
        assert!(named.starts_with(argument), "{called}");
    }
    client.traffic().await;
}

async fn a_walk_through_results_meets_each_once() {
    let client = Client::modern(&shared().acme);
    let mut made = BTreeSet::new();
    for number in 0..25 {
        made.insert(note(&client, CONTENT, &format!("heron {number}")).await);
    }
    for order in ["newest", "oldest", "relevance"] {
        let mut met = Vec::new();
        let mut arguments = json!({"query": "heron", "limit": 10, "order": order});
        loop {
            let page = search(&client, arguments.clone()).await.ok();
            assert_eq!(page["total"], 25);
            met.extend(found(&page));
            match page.get("next_cursor") {
                Some(cursor) => arguments["cursor"] = cursor.clone(),
                None => break,
            }
        }
        assert_eq!(met.len(), 25, "{order}");
        assert_eq!(BTreeSet::from_iter(met), made, "{order}");
    }
    let count = search(&client, json!({"query": "heron", "limit": 0}))
        .await
        .ok();
    assert_eq!(
        (&count["total"], &count["results"]),
        (&json!(25), &json!([]))
    );
    client.traffic().await;
}

async fn a_cursor_belongs_to_one_search_of_one_user() {
    let [one, other] = [0, 1].map(|_| Client::modern(&shared().acme));
    for client in [&one, &other] {
        for _ in 0..3 {
            note(client, CONTENT, "egret").await;
        }
    }
    let first = json!({"query": "egret", "limit": 1});
    let first = search(&one, first).await.ok();
    let cursor = &first["next_cursor"];
    let mine = json!({"query": "egret", "limit": 2, "cursor": cursor});
    assert_eq!(found(&search(&one, mine.clone()).await.ok()).len(), 2);
    for (client, arguments) in [
        (&other, mine),
        (&one, json!({"query": "heron", "cursor": cursor})),
        (
            &one,
            json!({"query": "egret", "kinds": ["note"], "cursor": cursor}),
        ),
    ] {
        let called = search(client, arguments).await;
        let error = called.failed("validation", "invalid_argument");
        assert_eq!(error["details"]["argument"], "cursor", "{called}");
    }
    for client in [&one, &other] {
        client.traffic().await;
    }
}

async fn an_item_is_fetched_with_its_children() {
    let client = Client::modern(&shared().acme);
    let chat = json!({"title": format!("{CONTENT} launch")});
    let chat = client.call("create_chat", chat).await.ok()["uid"].clone();
    for number in 0..22 {
        let message = json!({"chat_uid": chat, "content": format!("{CONTENT} <{number}>")});
        client.call("create_chat_message", message).await.ok();
    }
    let id = format!("chat/{}", chat.as_str().unwrap());
    let fetched = client.call("fetch", json!({ "id": id })).await.ok();
    assert_eq!(fetched["id"], id);
    assert_eq!(fetched["title"], format!("{CONTENT} launch"));
    let text = fetched["text"].as_str().unwrap();
    assert!(!text.contains("<1>") && text.contains("<2>"), "{text}");
    assert!(
        text.find("<20>").unwrap() < text.find("<21>").unwrap(),
        "{text}"
    );
    // The way to the rest that the text names leads there.
    let cursor = text.split("and cursor ").nth(1).unwrap();
    let cursor = cursor.split(')').next().unwrap();
    let rest = json!({"chat_uid": chat, "cursor": cursor});
    let rest = client.call("list_chat_messages", rest).await.ok();
    let newest = &rest["items"][0]["payload"]["content"];
    assert_eq!(*newest, format!("{CONTENT} <1>"));

    let uid = note(&client, CONTENT, "# Text").await;
    let comment = json!({"parent_type": "note", "parent_uid": uid, "content": "A remark"});
    client.call("create_comment", comment).await.ok();
    let fetched = client.call("fetch", json!({ "id": uid })).await.ok();
    let text = fetched["text"].as_str().unwrap();
    assert!(
        text.contains("# Text") && text.contains("A remark"),
        "{text}"
    );
    assert_eq!(fetched["metadata"]["version"], 1);
    client.call("delete_note", json!({ "uid": uid })).await.ok();
    let called = client.call("fetch", json!({ "id": uid })).await;
    called.failed("not_found", "item_deleted");
    client.traffic().await;
}

async fn lists_have_an_order_and_a_parent() {
    let client = Client::modern(&shared().acme);
    let mut chats = Vec::new();
    for _ in 0..2 {
        let chat = client.call("create_chat", json!({"title": CONTENT})).await;
        chats.push(chat.ok()["uid"].clone());
    }
    for number in 0..6 {
        let message = json!({"chat_uid": chats[number % 2], "content": format!("{number}")});
        client.call("create_chat_message", message).await.ok();
    }
    for (order, expected) in [
        (None, ["5", "3"]),
        (Some("newest"), ["5", "3"]),
        (Some("oldest"), ["1", "3"]),
    ] {
        let mut arguments = json!({"chat_uid": chats[1], "limit": 2});
        if let Some(order) = order {
            arguments["order"] = json!(order);
        }
        let page = client.call("list_chat_messages", arguments).await.ok();
        let items = page["items"].as_array().unwrap().iter();
        let contents: Vec<_> = items
            .map(|item| item["payload"]["content"].clone())
            .collect();
        assert_eq!(contents, expected, "{order:?}");
    }
    client.traffic().await;
}

async fn an_overview_counts() {
    let client = Client::modern(&shared().acme);
    for (status, due) in [
        ("open", "2026-03-01"),
        ("open", "2026-03-09"),
        ("completed", "2026-03-01"),
    ] {
        let task = json!({"title": CONTENT, "status": status, "due_date": due, "tags": ["home"]});
        client.call("create_task", task).await.ok();
    }
    let overview = json!({"today": "2026-03-08"});
    let overview = client.call("overview", overview).await.ok();
    assert_eq!(overview["overdue"]["count"], 1, "{overview}");
    assert_eq!(overview["due_this_week"]["count"], 1, "{overview}");
    assert_eq!(overview["tags"], json!([{"tag": "home", "count": 3}]));
    let called = client.call("overview", json!({"today": "soon"})).await;
    called.failed("validation", "invalid_argument");
    client.traffic().await;
}

async fn an_api_without_features_keeps_the_tools_that_need_none() {
    let forwarder = Forwarder::without_features(&shared().api.url).await;
    let server = Server::with_forwarder(forwarder, "acme", &[]).await;
    let client = Client::modern(&server);
    let listed = client.ask("tools/list", json!({})).await.result();
    let listed = listed["tools"].as_array().unwrap();
    assert_eq!(listed.len(), crate::surface::featureless_tool_count());
    let list_notes = &listed[0]["inputSchema"]["properties"];
    assert!(list_notes.get("order").is_none(), "{list_notes}");
    let called = HttpReply::of(client.calling("search", json!({"query": "x"}))).await;
    assert_eq!(called.rpc_code(), -32602, "{called}");
    let page = client.call("list_notes", json!({})).await.ok();
    assert_eq!(page["items"], json!([]));
    assert_eq!(client.traffic().await.operations()[0].query, "limit=50");
    server.stop().await;
}

async fn a_token_for_one_toolset_does_not_search() {
    for (scope, allowed) in [
        ("toolbridge:notes:read toolbridge:write", false),
        ("toolbridge:find:read", true),
        ("toolbridge:read", true),
    ] {
        let claims = json!({"sub": User::of("acme").sub, "tenant_id": "acme", "scope": scope});
        let era = Era::Legacy("2025-11-25");
        let client = Client::of(&shared().acme, era, User::with_claims(claims));
        for tool in ["search", "overview"] {
            let answer = HttpReply::of(client.calling(tool, json!({}))).await;
            assert_eq!(answer.status == 200, allowed, "{scope} {tool}: {answer}");
        }
        client.traffic().await;
    }
}
