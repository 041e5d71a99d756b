//! Questions to the person behind a client of 2026-07-28, which are results, and their answers.

use serde_json::{Value, json};

use crate::harness::{
    Api, CONTENT, CallResult, Client, Era, Forwarder, HttpReply, Server, SseClient, StdioClient,
    ToolClient, User, shared,
};

crate::tests![
    a_bulk_delete_is_made_once_it_is_confirmed,
    what_is_not_confirmed_is_not_made,
    an_answer_counts_once,
    an_answer_belongs_to_its_call,
    an_answer_belongs_to_its_caller,
    an_altered_state_changes_nothing,
    an_answer_is_good_after_a_restart_and_makes_nothing_twice,
    an_answer_is_good_at_another_process_and_makes_nothing_twice,
    clients_that_cannot_be_asked_are_served_at_once,
    only_what_destroys_much_is_asked_about,
    every_delete_is_asked_about_where_that_is_set,
    a_delete_of_the_compact_toolset_is_asked_about,
    a_restore_is_asked_about_where_something_would_be_lost,
    a_change_after_the_question_is_not_lost,
    always_refuses_clients_that_cannot_be_asked,
    off_asks_nothing,
    a_question_shows_titles_as_plain_text,
    titles_are_not_shown_to_a_token_that_cannot_read,
    an_api_that_is_away_is_not_asked_about,
    a_call_by_stdio_is_asked_about,
];

/// As many as are deleted without a question.
const BULK: usize = 5;

pub async fn with_confirm(setting: &str) -> Server {
    let settings = [("TOOLBRIDGE_SERVER_CONFIRM", setting)];
    Server::with("acme", &shared().api, &settings).await
}

pub async fn note(client: &impl ToolClient, title: &str) -> String {
    let note = json!({"title": title, "content": CONTENT});
    let made = client.call("create_note", note).await.ok();
    made["uid"].as_str().unwrap().to_owned()
}

pub async fn notes(client: &impl ToolClient, count: usize) -> Vec<String> {
    let mut uids = Vec::new();
    for number in 0..count {
        uids.push(note(client, &format!("Note {number}")).await);
    }
    uids
}

/// A batch that deletes them.
pub fn deletion(uids: &[String]) -> Value {
    let delete = |uid| json!({"op": "delete", "kind": "note", "uid": uid});
    json!({"operations": uids.iter().map(delete).collect::<Vec<_>>()})
}

pub async fn is_there(client: &impl ToolClient, uid: &str) -> bool {
    !client
        .call("get_note", json!({"uid": uid}))
        .await
        .is_error()
}

pub async fn are_there(client: &impl ToolClient, uids: &[String], expected: bool) {
    for uid in uids {
        assert_eq!(is_there(client, uid).await, expected, "{uid}");
    }
}

/// A call by a client that can show a form.
async fn call_with(client: &Client<'_>, tool: &str, arguments: &Value, extra: Value) -> HttpReply {
    let mut params = json!({"name": tool, "arguments": arguments});
    for (name, value) in extra.as_object().into_iter().flatten() {
        params[name] = value.clone();
    }
    HttpReply::of(calling_with_form(client, &params)).await
}

fn calling_with_form(client: &Client<'_>, params: &Value) -> reqwest::RequestBuilder {
    let mut message = Era::Modern.message(1, "tools/call", params.clone());
    let capabilities = "io.modelcontextprotocol/clientCapabilities";
    message["params"]["_meta"][capabilities] = json!({"elicitation": {"form": {}}});
    let request = client.request("tools/call", params.clone());
    request.body(message.to_string())
}

/// The question and its state.
async fn asked(client: &Client<'_>, tool: &str, arguments: &Value) -> (String, Value) {
    let result = call_with(client, tool, arguments, json!({})).await.result();
    question_of(&result)
}

pub fn question_of(result: &Value) -> (String, Value) {
    assert_eq!(result["resultType"], "input_required", "{result}");
    assert_eq!(result["inputRequests"].as_object().unwrap().len(), 1);
    let question = &result["inputRequests"]["confirm"];
    assert_eq!(question["method"], "elicitation/create", "{result}");
    let form = &question["params"];
    assert_eq!(form["mode"], "form", "{result}");
    assert_eq!(form["requestedSchema"]["type"], "object", "{result}");
    assert_eq!(form["requestedSchema"]["properties"], json!({}), "{result}");
    let state = &result["requestState"];
    assert!(
        state.as_str().is_some_and(|state| state.len() < 400),
        "{result}"
    );
    (form["message"].as_str().unwrap().to_owned(), state.clone())
}

fn answer(action: &str, state: &Value) -> Value {
    json!({"requestState": state, "inputResponses": {"confirm": {"action": action}}})
}

async fn answered(
    client: &Client<'_>,
    tool: &str,
    arguments: &Value,
    action: &str,
    state: &Value,
) -> CallResult {
    let reply = call_with(client, tool, arguments, answer(action, state)).await;
    CallResult::read(client, tool, arguments, reply.json())
}

async fn accepted(client: &Client<'_>, tool: &str, arguments: &Value, state: &Value) -> CallResult {
    answered(client, tool, arguments, "accept", state).await
}

fn batches(forwarder: &Forwarder, user: &User) -> Vec<String> {
    let traffic = forwarder.so_far(user);
    let sent = traffic.operations().into_iter();
    sent.filter(|sent| sent.path == "/v1/batch")
        .map(|sent| sent.header("idempotency-key").to_owned())
        .collect()
}

async fn a_bulk_delete_is_made_once_it_is_confirmed() {
    let client = Client::modern(&shared().acme);
    let uids = notes(&client, BULK + 2).await;
    let mut batch = deletion(&uids);
    let task = json!({"op": "create", "kind": "task", "fields": {"title": CONTENT}});
    batch["operations"].as_array_mut().unwrap().push(task);
    let (question, state) = asked(&client, "batch", &batch).await;
    assert_eq!(
        question,
        "Delete 7 notes? “Note 0”, “Note 1”, “Note 2” and 4 more. One other change is made with \
         it. This can be undone later."
    );
    // While the person thinks, nothing is held: every session of the API has ended.
    client.traffic().await;
    are_there(&client, &uids, true).await;
    assert!(batches(&client.server.forwarder, &client.user).is_empty());
    let done = accepted(&client, "batch", &batch, &state).await.ok();
    assert_eq!((&done["done"], &done["failed"]), (&json!(8), &json!(0)));
    are_there(&client, &uids, false).await;
    client.traffic().await;
}

async fn what_is_not_confirmed_is_not_made() {
    let client = Client::modern(&shared().acme);
    let uids = notes(&client, BULK + 1).await;
    let batch = deletion(&uids);
    for action in ["decline", "cancel"] {
        let (_, state) = asked(&client, "batch", &batch).await;
        let refused = answered(&client, "batch", &batch, action, &state).await;
        let error = refused.failed("permission", "not_confirmed");
        assert_eq!(error["retryable"], false);
        assert!(
            error["message"]
                .as_str()
                .unwrap()
                .contains("did not confirm")
        );
        // The refusal stands.
        let again = accepted(&client, "batch", &batch, &state).await;
        again.failed("validation", "confirmation_invalid");
    }
    let (_, state) = asked(&client, "batch", &batch).await;
    let strange = answered(&client, "batch", &batch, "maybe", &state).await;
    strange.failed("validation", "confirmation_invalid");
    // The state without an answer, or an answer without the state: another question.
    for extra in [
        json!({"requestState": state}),
        json!({"requestState": state, "inputResponses": {"other": {"action": "accept"}}}),
        json!({"inputResponses": {"confirm": {"action": "accept"}}}),
    ] {
        let reply = call_with(&client, "batch", &batch, extra).await;
        let (_, new) = question_of(&reply.result());
        assert_ne!(new, state);
    }
    are_there(&client, &uids, true).await;
    assert!(batches(&client.server.forwarder, &client.user).is_empty());
    client.traffic().await;
}

async fn an_answer_counts_once() {
    let client = Client::modern(&shared().acme);
    let uids = notes(&client, BULK + 1).await;
    let batch = deletion(&uids);
    let (_, state) = asked(&client, "batch", &batch).await;
    accepted(&client, "batch", &batch, &state).await.ok();
    for uid in &uids {
        let item = json!({"kind": "note", "uid": uid});
        client.call("restore", item).await.ok();
    }
    let again = accepted(&client, "batch", &batch, &state).await;
    let error = again.failed("validation", "confirmation_invalid");
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("answered before")
    );
    are_there(&client, &uids, true).await;
    assert_eq!(batches(&client.server.forwarder, &client.user).len(), 1);
    // Both at once: one of them.
    let (_, state) = asked(&client, "batch", &batch).await;
    let both = futures::future::join_all(
        (0..2).map(|_| async { accepted(&client, "batch", &batch, &state).await.is_error() }),
    );
    let failed = both.await.into_iter().filter(|failed| *failed).count();
    assert_eq!(failed, 1);
    assert_eq!(batches(&client.server.forwarder, &client.user).len(), 2);
    client.traffic().await;
}

async fn an_answer_belongs_to_its_call() {
    let client = Client::modern(&shared().acme);
    let uids = notes(&client, 2 * (BULK + 1)).await;
    let (one, other) = uids.split_at(BULK + 1);
    let (_, state) = asked(&client, "batch", &deletion(one)).await;
    let mut more = deletion(one);
    let extra = deletion(&other[..1])["operations"][0].clone();
    more["operations"].as_array_mut().unwrap().push(extra);
    let single = json!({"uid": one[0]});
    let restore = json!({"kind": "note", "uid": one[0], "to_version": 1});
    for (tool, arguments) in [
        ("batch", &deletion(other)),
        ("batch", &more),
        ("batch", &deletion(&one[..1])),
        ("delete_note", &single),
        ("restore", &restore),
        ("get_note", &single),
    ] {
        let called = accepted(&client, tool, arguments, &state).await;
        called.failed("validation", "confirmation_invalid");
    }
    are_there(&client, &uids, true).await;
    // None of this was its answer.
    accepted(&client, "batch", &deletion(one), &state)
        .await
        .ok();
    are_there(&client, other, true).await;
    client.traffic().await;
}

async fn an_answer_belongs_to_its_caller() {
    let ann = Client::modern(&shared().acme);
    let bob = Client::modern(&shared().acme);
    let eve = Client::modern(&shared().globex);
    let uids = notes(&ann, BULK + 1).await;
    let batch = deletion(&uids);
    let (_, state) = asked(&ann, "batch", &batch).await;
    // Bob's question is about the same items, which are none of his: no title of them is shown.
    let (question, states) = asked(&bob, "batch", &batch).await;
    assert!(!question.contains("Note"), "{question}");
    for (client, state) in [(&bob, &state), (&eve, &state), (&ann, &states)] {
        let called = accepted(client, "batch", &batch, state).await;
        called.failed("validation", "confirmation_invalid");
    }
    // The same person of another tenant, whose processes have the same secret here.
    let same = User::with_claims(json!({"sub": ann.user.sub, "tenant_id": "globex"}));
    let same = Client::of(&shared().globex, Era::Modern, same);
    let called = accepted(&same, "batch", &batch, &state).await;
    called.failed("validation", "confirmation_invalid");
    are_there(&ann, &uids, true).await;
    let mine = accepted(&bob, "batch", &batch, &states).await;
    mine.failed("not_found", "item_not_found");
    accepted(&ann, "batch", &batch, &state).await.ok();
    for client in [ann, bob, eve, same] {
        client.traffic().await;
    }
}

async fn an_altered_state_changes_nothing() {
    let client = Client::modern(&shared().acme);
    let uids = notes(&client, BULK + 1).await;
    let batch = deletion(&uids);
    let (_, state) = asked(&client, "batch", &batch).await;
    let text = state.as_str().unwrap();
    let middle = text.len() / 2;
    for altered in [
        String::new(),
        "x".repeat(60_000),
        text[1..].to_owned(),
        text[..text.len() - 1].to_owned(),
        format!("{text}="),
        format!("{}{}", &text[..middle], &text[middle + 1..]),
        text.to_uppercase(),
    ] {
        let called = accepted(&client, "batch", &batch, &json!(altered)).await;
        called.failed("validation", "confirmation_invalid");
    }
    are_there(&client, &uids, true).await;
    client.traffic().await;
}

async fn an_answer_is_good_after_a_restart_and_makes_nothing_twice() {
    let forwarder = Forwarder::start(&shared().api.url).await;
    let mut server = Server::with_forwarder(forwarder, "acme", &[]).await;
    let user = server.new_user();
    let (uids, batch, state) = {
        let client = Client::of(&server, Era::Modern, user.clone());
        let uids = notes(&client, BULK + 1).await;
        let batch = deletion(&uids);
        let (_, state) = asked(&client, "batch", &batch).await;
        client.traffic().await;
        (uids, batch, state)
    };
    let mut results = Vec::new();
    for _ in 0..2 {
        server.stop().await;
        server = server.restart().await;
        let client = Client::of(&server, Era::Modern, user.clone());
        results.push(accepted(&client, "batch", &batch, &state).await.ok());
        client.traffic().await;
    }
    assert_eq!(results[0], results[1]);
    let client = Client::of(&server, Era::Modern, user.clone());
    for uid in &uids {
        let item = json!({"kind": "note", "uid": uid});
        let restored = client.call("restore", item).await.ok();
        assert_eq!(restored["version"], 3, "deleted once");
    }
    let keys = batches(&server.forwarder, &user);
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
    client.traffic().await;
    server.stop().await;
}

async fn an_answer_is_good_at_another_process_and_makes_nothing_twice() {
    let (one, other) = tokio::join!(with_confirm("destructive"), with_confirm("destructive"));
    let user = one.new_user();
    let [first, second] = [&one, &other].map(|at| Client::of(at, Era::Modern, user.clone()));
    let uid = note(&first, "A").await;
    let delete = json!({"uid": uid});
    let (question, state) = asked(&first, "delete_note", &delete).await;
    assert_eq!(question, "Delete the note “A”? This can be undone later.");
    accepted(&second, "delete_note", &delete, &state).await.ok();
    let item = json!({"kind": "note", "uid": uid});
    first.call("restore", item.clone()).await.ok();
    // This process has not heard the answer yet. The version that it was about is gone.
    let again = accepted(&first, "delete_note", &delete, &state).await;
    again.failed("conflict", "version_mismatch");
    assert!(is_there(&first, &uid).await);
    for client in [first, second] {
        client.traffic().await;
    }
    tokio::join!(one.stop(), other.stop());
}

async fn clients_that_cannot_be_asked_are_served_at_once() {
    for era in Era::all() {
        let client = Client::new(&shared().acme, era);
        let uids = notes(&client, BULK + 1).await;
        client.call("batch", deletion(&uids)).await.ok();
        are_there(&client, &uids, false).await;
        client.traffic().await;
        let stdio = StdioClient::start(&shared().acme, era).await;
        let uids = notes(&stdio, BULK + 1).await;
        stdio.call("batch", deletion(&uids)).await.ok();
        stdio.close().await;
    }
    let stream = SseClient::start(&shared().acme, "2024-11-05").await;
    let uids = notes(&stream, BULK + 1).await;
    stream.call("batch", deletion(&uids)).await.ok();
    stream.traffic().await;
    // One that can only open URLs cannot show the question.
    let client = Client::modern(&shared().acme);
    let uids = notes(&client, BULK + 1).await;
    let params = json!({"name": "batch", "arguments": deletion(&uids)});
    let mut message = Era::Modern.message(1, "tools/call", params.clone());
    message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] =
        json!({"elicitation": {"url": {}}, "sampling": {}});
    let request = client.request("tools/call", params);
    let reply = HttpReply::of(request.body(message.to_string())).await;
    assert_eq!(reply.result()["isError"], false, "{reply}");
    client.traffic().await;
}

async fn only_what_destroys_much_is_asked_about() {
    let client = Client::modern(&shared().acme);
    let uids = notes(&client, BULK + 1).await;
    let mut trial = deletion(&uids);
    trial["dry_run"] = json!(true);
    let mut invalid = deletion(&uids);
    invalid["operations"][5]["kind"] = json!("nothing");
    for (arguments, fails) in [
        (&trial, false),
        (&invalid, true),
        (&deletion(&uids[..BULK]), false),
    ] {
        let reply = call_with(&client, "batch", arguments, json!({})).await;
        assert_eq!(reply.result()["isError"], fails, "{reply}");
    }
    let single = call_with(&client, "delete_note", &json!({"uid": uids[5]}), json!({})).await;
    assert_eq!(single.result()["isError"], false, "{single}");
    // A mistake that is corrected does not hide anything.
    let more = notes(&client, BULK + 1).await;
    let text = deletion(&more)["operations"].to_string();
    asked(&client, "batch", &json!({"operations": text})).await;
    client.traffic().await;
}

async fn every_delete_is_asked_about_where_that_is_set() {
    let server = with_confirm("destructive").await;
    let client = Client::modern(&server);
    let chat = client
        .call("create_chat", json!({"title": "Team"}))
        .await
        .ok();
    let message = json!({"chat_uid": chat["uid"], "content": "Hello\nworld"});
    let message = client.call("create_chat_message", message).await.ok();
    let delete = json!({"uid": message["uid"]});
    let (question, state) = asked(&client, "delete_chat_message", &delete).await;
    assert_eq!(
        question,
        "Delete the chat message “Hello world”? This can be undone later."
    );
    accepted(&client, "delete_chat_message", &delete, &state)
        .await
        .ok();
    // What is deleted already needs no question.
    let again = call_with(&client, "delete_chat_message", &delete, json!({})).await;
    let again = CallResult::read(&client, "delete_chat_message", &delete, again.json());
    again.failed("not_found", "chat_message_deleted");
    let uid = note(&client, "A").await;
    let batch = deletion(std::slice::from_ref(&uid));
    let (question, state) = asked(&client, "batch", &batch).await;
    assert_eq!(question, "Delete the note “A”? This can be undone later.");
    accepted(&client, "batch", &batch, &state).await.ok();
    // Those that cannot be asked are served.
    let uid = note(&client, "B").await;
    client.call("delete_note", json!({"uid": uid})).await.ok();
    client.traffic().await;
    server.stop().await;
}

async fn a_delete_of_the_compact_toolset_is_asked_about() {
    let server = with_confirm("destructive").await;
    let client = Client::modern(&server);
    let uid = note(&client, "Minutes").await;
    let arguments = json!({"kind": "note", "uid": uid});
    let mut params = json!({"name": "delete", "arguments": arguments});
    for (answered, is_kept) in [
        (None, true),
        (Some("decline"), true),
        (Some("accept"), false),
    ] {
        if let Some(action) = answered {
            let answer = answer(action, &question(&client, &params).await.1);
            let mut with_answer = params.clone();
            let members = with_answer.as_object_mut().unwrap();
            members.extend(answer.as_object().unwrap().clone());
            compact(&client, &with_answer).await;
        } else {
            let (message, _) = question(&client, &params).await;
            assert!(message.contains("Minutes"), "{message}");
        }
        assert_eq!(is_there(&client, &uid).await, is_kept, "{answered:?}");
    }
    params["arguments"]["kind"] = json!("task");
    let refused = compact(&client, &params).await.result();
    assert_eq!(refused["isError"], true, "no such task: {refused}");
    server.stop().await;
}

/// A call by a client that can show a form, and that names the toolset.
async fn compact(client: &Client<'_>, params: &Value) -> HttpReply {
    let request = calling_with_form(client, params);
    HttpReply::of(request.header("x-mcp-toolsets", "compact")).await
}

async fn question(client: &Client<'_>, params: &Value) -> (String, Value) {
    question_of(&compact(client, params).await.result())
}

async fn a_restore_is_asked_about_where_something_would_be_lost() {
    let server = with_confirm("destructive").await;
    let client = Client::modern(&server);
    let uid = note(&client, "First").await;
    let patch = json!({"uid": uid, "updates": {"title": "Second"}});
    client.call("patch_note", patch).await.ok();
    let over = json!({"kind": "note", "uid": uid, "to_version": 1});
    let (question, state) = asked(&client, "restore", &over).await;
    assert_eq!(
        question,
        "Replace the note “Second” with version 1 of it? This can be undone later."
    );
    let restored = accepted(&client, "restore", &over, &state).await.ok();
    assert_eq!(restored["version"], 3);
    // To what it is already, and what brings back something that is deleted.
    let same = json!({"kind": "note", "uid": uid, "to_version": 3});
    let reply = call_with(&client, "restore", &same, json!({})).await;
    assert_eq!(reply.result()["isError"], false, "{reply}");
    client.call("delete_note", json!({"uid": uid})).await.ok();
    for arguments in [
        json!({"kind": "note", "uid": uid}),
        json!({"kind": "note", "uid": uid, "to_version": 2}),
    ] {
        let reply = call_with(&client, "restore", &arguments, json!({})).await;
        assert_eq!(reply.result()["isError"], false, "{reply}");
        client.call("delete_note", json!({"uid": uid})).await.ok();
    }
    client.traffic().await;
    server.stop().await;
}

async fn a_change_after_the_question_is_not_lost() {
    let server = with_confirm("destructive").await;
    let client = Client::modern(&server);
    let uid = note(&client, "First").await;
    let patch = |title: &str| json!({"uid": uid, "updates": {"title": title}});
    client.call("patch_note", patch("Second")).await.ok();
    let delete = json!({"uid": uid});
    let over = json!({"kind": "note", "uid": uid, "to_version": 1});
    let (_, one) = asked(&client, "delete_note", &delete).await;
    let (_, other) = asked(&client, "restore", &over).await;
    client.call("patch_note", patch("Third")).await.ok();
    let deleted = accepted(&client, "delete_note", &delete, &one).await;
    let error = deleted.failed("conflict", "version_mismatch");
    let action = error["suggested_action"].as_str().unwrap();
    assert!(
        action.contains("delete_note") && !action.contains("if_match"),
        "{action}"
    );
    let restored = accepted(&client, "restore", &over, &other).await;
    restored.failed("conflict", "version_mismatch");
    let kept = client.call("get_note", json!({"uid": uid})).await.ok();
    assert_eq!(kept["payload"]["title"], "Third");
    client.traffic().await;
    server.stop().await;
}

async fn always_refuses_clients_that_cannot_be_asked() {
    let server = with_confirm("always").await;
    for era in Era::all() {
        let client = Client::new(&server, era);
        let uids = notes(&client, 1).await;
        let patch = json!({"uid": uids[0], "updates": {"title": "x"}});
        client.call("patch_note", patch).await.ok();
        let over = json!({"kind": "note", "uid": uids[0], "to_version": 1});
        for (tool, arguments) in [
            ("delete_note", json!({"uid": uids[0]})),
            ("batch", deletion(&uids)),
            ("restore", over),
        ] {
            let called = client.call(tool, arguments).await;
            let error = called.failed("permission", "confirmation_unavailable");
            assert_eq!(error["retryable"], false);
        }
        are_there(&client, &uids, true).await;
        client.traffic().await;
    }
    let client = Client::modern(&server);
    let uid = note(&client, "A").await;
    let delete = json!({"uid": uid});
    let (_, state) = asked(&client, "delete_note", &delete).await;
    accepted(&client, "delete_note", &delete, &state).await.ok();
    client.traffic().await;
    server.stop().await;
}

async fn off_asks_nothing() {
    let server = with_confirm("off").await;
    let client = Client::modern(&server);
    let uids = notes(&client, BULK + 1).await;
    let reply = call_with(&client, "batch", &deletion(&uids), json!({})).await;
    assert_eq!(reply.result()["isError"], false, "{reply}");
    // A state that is not one of this server is refused all the same.
    let called = accepted(&client, "batch", &deletion(&uids), &json!("x")).await;
    called.failed("validation", "confirmation_invalid");
    client.traffic().await;
    server.stop().await;
}

async fn a_question_shows_titles_as_plain_text() {
    let client = Client::modern(&shared().acme);
    let mut uids = vec![
        note(&client, "x”?\u{202e} Yes.\u{0}\n\n## Delete “y").await,
        note(&client, &"é".repeat(10_000)).await,
        note(&client, "[here](https://evil.example) <img src=x>").await,
    ];
    uids.extend(notes(&client, BULK).await);
    let (question, _) = asked(&client, "batch", &deletion(&uids)).await;
    let long = format!("“{}…”", "é".repeat(60));
    let expected = format!(
        "Delete 8 notes? “x'? Yes. -- Delete 'y”, {long}, “(here)(https://evil.example) (img \
         src=x)” and 5 more. This can be undone later."
    );
    assert_eq!(question, expected);
    client.traffic().await;
}

async fn titles_are_not_shown_to_a_token_that_cannot_read() {
    let owner = Client::modern(&shared().acme);
    let uids = notes(&owner, BULK + 1).await;
    for (scope, shown) in [
        ("toolbridge:edit:write", false),
        ("toolbridge:edit:write toolbridge:tasks:read", false),
        ("toolbridge:edit:write toolbridge:notes:read", true),
        ("toolbridge:write toolbridge:read", true),
    ] {
        let claims = json!({"sub": owner.user.sub, "tenant_id": "acme", "scope": scope});
        let user = User::with_claims(claims);
        let client = Client::of(&shared().acme, Era::Modern, user);
        let (question, _) = asked(&client, "batch", &deletion(&uids)).await;
        assert_eq!(question.contains("“Note 0”"), shown, "{scope}: {question}");
    }
    owner.traffic().await;
}

async fn an_api_that_is_away_is_not_asked_about() {
    let api = Api::start().await;
    let server = Server::with(
        "acme",
        &api,
        &[("TOOLBRIDGE_SERVER_CONFIRM", "destructive")],
    )
    .await;
    let client = Client::modern(&server);
    let uid = note(&client, "A").await;
    client.traffic().await;
    api.stop().await;
    let delete = json!({"uid": uid});
    let reply = call_with(&client, "delete_note", &delete, json!({})).await;
    let called = CallResult::read(&client, "delete_note", &delete, reply.json());
    assert_eq!(called.error()["category"], "unavailable");
    server.stop().await;
}

async fn a_call_by_stdio_is_asked_about() {
    let stdio = StdioClient::start(&shared().acme, Era::Modern).await;
    let uids = notes(&stdio, BULK + 1).await;
    let params = json!({"name": "batch", "arguments": deletion(&uids)});
    let ask = async |id: u64, extra: Value| {
        let mut params = params.clone();
        for (name, value) in extra.as_object().unwrap() {
            params[name] = value.clone();
        }
        let mut message = Era::Modern.message(id, "tools/call", params);
        message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] =
            json!({"elicitation": {}});
        stdio.send(&message).await;
        stdio.answer(id).await["result"].clone()
    };
    let (_, state) = question_of(&ask(1001, json!({})).await);
    are_there(&stdio, &uids, true).await;
    let done = ask(1002, answer("accept", &state)).await;
    assert_eq!(done["structuredContent"]["done"], 6, "{done}");
    stdio.traffic().await;
    stdio.close().await;
}
