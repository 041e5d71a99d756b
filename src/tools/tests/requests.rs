//! Tests the exact request that each of the forty tools sends.

use std::collections::HashSet;

use super::*;

struct Sends {
    tool: &'static str,
    arguments: Value,
    request: &'static str,
    if_match: Option<u64>,
    body: Option<Value>,
}

fn sends(
    tool: &'static str,
    arguments: Value,
    request: &'static str,
    body: impl Into<Option<Value>>,
) -> Sends {
    let if_match = arguments.get("if_match").and_then(Value::as_u64);
    Sends {
        tool,
        arguments,
        request,
        if_match,
        body: body.into(),
    }
}

fn wire(request: &Request) -> String {
    let query: Vec<_> = request
        .query
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let query = if query.is_empty() {
        String::new()
    } else {
        format!("?{}", query.join("&"))
    };
    format!("{} {}{query}", request.method, request.path)
}

#[rustfmt::skip]
fn table() -> Vec<Sends> {
    let uid = || json!({"uid": UID});
    vec![
        sends("list_notes", json!({}), "GET /v1/notes?limit=50", None),
        sends("get_note", uid(), "GET /v1/notes/01890a5d-ac96-774b-bcce-b302099a8057", None),
        sends("create_note",
            json!({
                "title": "T",
                "content": "# C",
                "tags": ["a"],
                "additional_fields": {"mood": 1},
            }),
            "POST /v1/notes",
            json!({"uid": NEW_UID, "title": "T", "content": "# C", "tags": ["a"], "mood": 1})),
        sends("update_note", json!({"uid": UID, "title": "T", "content": "C", "if_match": 3}),
            "PUT /v1/notes/01890a5d-ac96-774b-bcce-b302099a8057",
            json!({"title": "T", "content": "C"})),
        sends("patch_note",
            json!({"uid": UID, "updates": {"title": "N", "mood": null}, "if_match": 7}),
            "PATCH /v1/notes/01890a5d-ac96-774b-bcce-b302099a8057",
            json!({"title": "N", "mood": null})),
        sends("delete_note", uid(), "DELETE /v1/notes/01890a5d-ac96-774b-bcce-b302099a8057", None),
        sends("archive_note", uid(), "POST /v1/notes/01890a5d-ac96-774b-bcce-b302099a8057/archive",
            None),
        sends("process_note", json!({"uid": UID, "action": "pin", "metadata": {"why": "x"}}),
            "POST /v1/notes/01890a5d-ac96-774b-bcce-b302099a8057/process",
            json!({"action": "pin", "metadata": {"why": "x"}})),

        sends("list_tasks",
            json!({"limit": 1000, "cursor": "a&b=c d", "include_deleted": true, "full": true}),
            "GET /v1/tasks?limit=1000&cursor=a&b=c d&includeDeleted=true", None),
        sends("get_task", json!({"uid": UID, "include_deleted": true}),
            "GET /v1/tasks/01890a5d-ac96-774b-bcce-b302099a8057?includeDeleted=true", None),
        sends("create_task",
            json!({
                "title": "T",
                "description": "D",
                "status": "open",
                "priority": "high",
                "due_date": "2026-03-01",
                "tags": [],
            }),
            "POST /v1/tasks",
            json!({
                "uid": NEW_UID,
                "title": "T",
                "description": "D",
                "status": "open",
                "priority": "high",
                "dueDate": "2026-03-01",
                "tags": [],
            })),
        sends("update_task",
            json!({"uid": UID, "title": "T", "due_date": "2026-03-01T09:00:00+01:00"}),
            "PUT /v1/tasks/01890a5d-ac96-774b-bcce-b302099a8057",
            json!({"title": "T", "dueDate": "2026-03-01T09:00:00+01:00"})),
        sends("patch_task", json!({"uid": UID, "updates": {"due_date": null, "priority": "low"}}),
            "PATCH /v1/tasks/01890a5d-ac96-774b-bcce-b302099a8057",
            json!({"dueDate": null, "priority": "low"})),
        sends("delete_task", uid(), "DELETE /v1/tasks/01890a5d-ac96-774b-bcce-b302099a8057", None),
        sends("archive_task", uid(), "POST /v1/tasks/01890a5d-ac96-774b-bcce-b302099a8057/archive",
            None),
        sends("process_task", json!({"uid": UID, "action": "complete"}),
            "POST /v1/tasks/01890a5d-ac96-774b-bcce-b302099a8057/process",
            json!({"action": "complete"})),

        sends("list_comments", json!({"include_deleted": false}), "GET /v1/comments?limit=50",
            None),
        sends("get_comment", uid(), "GET /v1/comments/01890a5d-ac96-774b-bcce-b302099a8057", None),
        sends("create_comment",
            json!({"content": "C", "parent_type": "task", "parent_uid": PARENT, "author": "me"}),
            "POST /v1/comments",
            json!({
                "uid": NEW_UID,
                "content": "C",
                "parentType": "task",
                "parentUid": PARENT,
                "author": "me",
            })),
        sends("update_comment",
            json!({"uid": UID, "content": "C", "parent_type": "note", "parent_uid": PARENT}),
            "PUT /v1/comments/01890a5d-ac96-774b-bcce-b302099a8057",
            json!({"content": "C", "parentType": "note", "parentUid": PARENT})),
        sends("patch_comment",
            json!({"uid": UID, "updates": {"parent_uid": PARENT, "parentType": "note"}}),
            "PATCH /v1/comments/01890a5d-ac96-774b-bcce-b302099a8057",
            json!({"parentUid": PARENT, "parentType": "note"})),
        sends("delete_comment", uid(), "DELETE /v1/comments/01890a5d-ac96-774b-bcce-b302099a8057",
            None),
        sends("archive_comment", uid(),
            "POST /v1/comments/01890a5d-ac96-774b-bcce-b302099a8057/archive", None),
        sends("process_comment", json!({"uid": UID, "action": "resolve"}),
            "POST /v1/comments/01890a5d-ac96-774b-bcce-b302099a8057/process",
            json!({"action": "resolve"})),

        sends("list_chats", json!({"limit": 1}), "GET /v1/chats?limit=1", None),
        sends("get_chat", uid(), "GET /v1/chats/01890a5d-ac96-774b-bcce-b302099a8057", None),
        sends("create_chat",
            json!({
                "title": "T",
                "description": "D",
                "participants": ["a", "b"],
                "archived": false,
            }),
            "POST /v1/chats",
            json!({
                "uid": NEW_UID,
                "title": "T",
                "description": "D",
                "participants": ["a", "b"],
                "archived": false,
            })),
        sends("update_chat", json!({"uid": UID, "title": "T", "archived": true}),
            "PUT /v1/chats/01890a5d-ac96-774b-bcce-b302099a8057",
            json!({"title": "T", "archived": true})),
        sends("patch_chat", json!({"uid": UID, "updates": {"archived": false}}),
            "PATCH /v1/chats/01890a5d-ac96-774b-bcce-b302099a8057", json!({"archived": false})),
        sends("delete_chat", uid(), "DELETE /v1/chats/01890a5d-ac96-774b-bcce-b302099a8057", None),
        sends("archive_chat", uid(), "POST /v1/chats/01890a5d-ac96-774b-bcce-b302099a8057/archive",
            None),
        sends("process_chat", json!({"uid": UID, "action": "reopen"}),
            "POST /v1/chats/01890a5d-ac96-774b-bcce-b302099a8057/process",
            json!({"action": "reopen"})),

        sends("list_chat_messages", json!({}), "GET /v1/chat_messages?limit=50", None),
        sends("get_chat_message", uid(),
            "GET /v1/chat_messages/01890a5d-ac96-774b-bcce-b302099a8057", None),
        sends("create_chat_message",
            json!({"chat_uid": PARENT, "content": "C", "sender": "s", "message_type": "text"}),
            "POST /v1/chat_messages",
            json!({
                "uid": NEW_UID,
                "chatUid": PARENT,
                "content": "C",
                "sender": "s",
                "messageType": "text",
            })),
        sends("update_chat_message", json!({"uid": UID, "chat_uid": PARENT, "content": "C"}),
            "PUT /v1/chat_messages/01890a5d-ac96-774b-bcce-b302099a8057",
            json!({"chatUid": PARENT, "content": "C"})),
        sends("patch_chat_message", json!({"uid": UID, "updates": {"message_type": "system"}}),
            "PATCH /v1/chat_messages/01890a5d-ac96-774b-bcce-b302099a8057",
            json!({"messageType": "system"})),
        sends("delete_chat_message", uid(),
            "DELETE /v1/chat_messages/01890a5d-ac96-774b-bcce-b302099a8057", None),
        sends("archive_chat_message", uid(),
            "POST /v1/chat_messages/01890a5d-ac96-774b-bcce-b302099a8057/archive", None),
        sends("process_chat_message", json!({"uid": UID, "action": "mark_read"}),
            "POST /v1/chat_messages/01890a5d-ac96-774b-bcce-b302099a8057/process",
            json!({"action": "mark_read"})),
    ]
}

#[tokio::test]
async fn every_tool_sends_its_request_and_returns_the_response() {
    let mut tried = HashSet::new();
    for Sends {
        tool,
        arguments,
        request,
        if_match,
        body,
    } in table()
    {
        let is_list = tool.starts_with("list_");
        let answer = if is_list {
            json!({"items": [item(json!({"a": 1}))]})
        } else {
            item(json!({"a": 1}))
        };
        let status = if tool.starts_with("create_") {
            201
        } else {
            200
        };
        let script = Script::new([reply(status, &answer)]);
        let success = call(tool, arguments, &script)
            .await
            .unwrap_or_else(|error| panic!("{tool}: {error}"));
        let answer = as_result(entity_of(tool), &answer);
        assert_eq!(success.value(), answer, "{tool}");
        assert_eq!(success.text, answer.to_string(), "{tool}");

        let sent = script.sent();
        assert_eq!(sent.len(), 1, "{tool}");
        assert_eq!(wire(&sent[0]), request, "{tool}");
        assert_eq!(sent[0].if_match, if_match, "{tool}");
        let text = sent[0]
            .body
            .as_ref()
            .map(|body| String::from_utf8(body.to_vec()).unwrap());
        // Compared as text, because the order of the keys is preserved too.
        assert_eq!(text, body.map(|body| body.to_string()), "{tool}");
        assert!(tried.insert(tool), "{tool} is tried twice");
    }
    let all: HashSet<_> = catalogue().specs().map(|spec| spec.name.clone()).collect();
    assert_eq!(tried.len(), all.len(), "a tool is missing from the table");
}

#[test]
fn a_plan_names_its_tool_and_item() {
    let plan = prepare("create_note", json!({"title": "t", "content": "c"})).unwrap();
    assert_eq!((&*plan.tool, plan.steps()), ("create_note", 1));
    assert_eq!(plan.uid.unwrap().to_string(), NEW_UID);
    let plan = prepare("list_notes", json!({})).unwrap();
    assert_eq!(plan.uid, None);
}
