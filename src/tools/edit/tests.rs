//! Tests of the tools against a scripted API.

use serde_json::{Value, json};

use super::*;
use crate::tools::error::Category;
use crate::tools::tests::Script;

const UID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

fn note(version: u64, content: &str) -> (u16, Value) {
    let payload = json!({"title": "t", "content": content});
    let item = json!({"uid": UID, "version": version, "updatedAt": "t", "payload": payload});
    (200, item)
}

fn conflict() -> (u16, Value) {
    (
        412,
        json!({"error": "version_mismatch", "expected": 3, "actual": 4}),
    )
}

/// The result, and the requests as method, body and `If-Match`.
async fn call(
    arguments: Value,
    answers: impl IntoIterator<Item = (u16, Value)>,
) -> (Result<Value, ToolError>, Vec<(String, Value, Option<u64>)>) {
    call_tool(edit_text::NAME, arguments, answers).await
}

async fn call_tool(
    name: &str,
    arguments: Value,
    answers: impl IntoIterator<Item = (u16, Value)>,
) -> (Result<Value, ToolError>, Vec<(String, Value, Option<u64>)>) {
    let script = Script::answering(answers);
    let tools = EditTools::new(Limits::default());
    let text = arguments.to_string();
    let tool = tools.tools.iter().find(|tool| tool.spec.name == name);
    let arguments = Arguments::read(&tool.unwrap().arguments, Json::trusted(&text)).unwrap();
    let result = tools.run(name, &arguments, &script, |_| {}, None).await;
    let sent = script.sent();
    let sent = sent.iter().map(|request| {
        let body = request.body.as_deref().unwrap_or(b"null");
        let body = serde_json::from_slice(body).unwrap();
        (request.method.to_string(), body, request.if_match)
    });
    let sent = sent.collect();
    assert!(script.is_over(), "an answer that was not asked for");
    (
        result.map(|text| serde_json::from_str(&text).unwrap()),
        sent,
    )
}

fn arguments(operation: &str, text: &str) -> Value {
    json!({"kind": "note", "uid": UID, "operation": operation, "text": text})
}

#[tokio::test]
async fn a_text_is_read_and_patched_at_its_version() {
    let answers = [note(3, "one"), note(4, "one\ntwo")];
    let (result, sent) = call(arguments("append", "two"), answers).await;
    assert_eq!(
        result.unwrap(),
        json!({"uid": UID, "version": 4, "bytes_before": 3, "bytes_after": 7,
            "around": "one\ntwo"})
    );
    let patch = ("PATCH".to_owned(), json!({"content": "one\ntwo"}), Some(3));
    assert_eq!(sent, [("GET".to_owned(), json!(null), None), patch]);
}

#[tokio::test]
async fn after_a_conflict_the_edit_is_made_once_more_on_the_new_text() {
    let answers = [
        note(3, "a"),
        conflict(),
        note(4, "a\nb"),
        note(5, "a\nb\nc"),
    ];
    let (result, sent) = call(arguments("append", "c"), answers).await;
    assert_eq!(result.unwrap()["version"], 5);
    assert_eq!(
        sent[3],
        ("PATCH".to_owned(), json!({"content": "a\nb\nc"}), Some(4))
    );

    let answers = [note(3, "a"), conflict(), note(4, "a\nb"), conflict()];
    let (result, _) = call(arguments("append", "c"), answers).await;
    let error = result.unwrap_err();
    assert_eq!((&*error.code, error.retryable), ("version_mismatch", true));
    assert_eq!(error.suggested_action, "Call edit_text again.");
}

#[tokio::test]
async fn a_version_that_is_no_longer_current_changes_nothing() {
    let mut arguments = arguments("append", "c");
    arguments["if_match"] = json!(2);
    let (result, sent) = call(arguments.clone(), [note(3, "a")]).await;
    let error = result.unwrap_err();
    assert_eq!((&*error.code, error.retryable), ("version_mismatch", false));
    let versions = (error.details.expected_version, error.details.actual_version);
    assert_eq!(versions, (Some(2), Some(3)));
    assert_eq!(sent.len(), 1);
    // Nor is it tried again if the change came later.
    arguments["if_match"] = json!(3);
    let (result, _) = call(arguments, [note(3, "a"), conflict()]).await;
    assert_eq!(&*result.unwrap_err().code, "version_mismatch");
}

#[tokio::test]
async fn a_text_that_stays_the_same_is_not_written() {
    let mut arguments = arguments("replace", "a");
    arguments["find"] = json!("a");
    let (result, sent) = call(arguments, [note(3, "a")]).await;
    assert_eq!(result.unwrap()["version"], 3);
    assert_eq!(sent.len(), 1);
}

#[tokio::test]
async fn arguments_that_do_not_belong_together_send_nothing() {
    for (operation, more, argument) in [
        ("replace", json!({}), "find"),
        ("replace", json!({"find": ""}), "find"),
        ("insert_after", json!({"heading": "A"}), "find"),
        ("append", json!({"find": "a"}), "find"),
        ("append", json!({"heading": "A"}), "heading"),
        ("replace_section", json!({"find": "a"}), "find"),
        ("append", json!({"text": ""}), "text"),
        ("append", json!({"field": "tags"}), "field"),
        ("append", json!({"field": "due_date"}), "field"),
    ] {
        let mut given = arguments(operation, "x");
        given
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let (result, sent) = call(given, []).await;
        let error = result.unwrap_err();
        assert_eq!(&*error.code, "invalid_argument");
        assert_eq!(
            error.details.argument.as_deref(),
            Some(argument),
            "{operation}: {more}"
        );
        assert_eq!(sent.len(), 0);
    }
}

#[tokio::test]
async fn an_edit_that_does_not_fit_says_what_is_there() {
    let told = |find: &str, heading: &str, content: &str| {
        let mut given = arguments(
            if find.is_empty() {
                "replace_section"
            } else {
                "replace"
            },
            "x",
        );
        let (name, value) = if find.is_empty() {
            ("heading", heading)
        } else {
            ("find", find)
        };
        given[name] = json!(value);
        let answer = note(1, content);
        async move { call(given, [answer]).await.0.unwrap_err() }
    };
    let error = told("buy milk!", "", "- Buy milk\u{202e} and \"eggs\"").await;
    assert_eq!(
        error.message,
        concat!(
            "`find` is not in the content of this note. ",
            r#"The nearest line is "- Buy milk and \"eggs\""."#
        )
    );
    let error = told("x", "", "xx").await;
    assert_eq!(
        error.message,
        "`find` occurs 2 times in the content of this note."
    );
    let error = told("", "B", "# A\n## C").await;
    assert_eq!(error.details.allowed, ["# A", "## C"]);
    let error = told("", "A", "# A\n# A").await;
    assert!(
        error.message.ends_with("in the lines 1, 2."),
        "{}",
        error.message
    );
    let error = told("", "A", "none").await;
    assert!(
        error.message.starts_with("There is no Markdown heading"),
        "{}",
        error.message
    );
}

#[tokio::test]
async fn every_kind_has_a_text() {
    for (kind, field) in [
        ("note", "content"),
        ("task", "description"),
        ("comment", "content"),
        ("chat", "description"),
        ("chat_message", "content"),
    ] {
        let mut given = arguments("append", "x");
        given["kind"] = json!(kind);
        // A text that is not there is an empty one.
        let empty = json!({"uid": UID, "version": 1, "updatedAt": "t", "payload": {field: null}});
        let (result, sent) = call(given, [(200, empty), note(2, "")]).await;
        assert_eq!(result.unwrap()["bytes_before"], 0);
        assert_eq!(sent[1].1, json!({field: "x"}));
    }
    let mut given = arguments("append", "x");
    given["field"] = json!("title");
    let (_, sent) = call(given, [note(1, "c"), note(2, "")]).await;
    assert_eq!(sent[1].1, json!({"title": "t\nx"}));
    let odd = json!({"uid": UID, "version": 1, "updatedAt": "t", "payload": {"content": 1}});
    let (result, _) = call(arguments("append", "x"), [(200, odd)]).await;
    assert_eq!(
        result.unwrap_err().message,
        "The content of this note is not a text."
    );
}

#[tokio::test]
async fn the_result_shows_at_most_300_characters() {
    let long = "é".repeat(1000);
    let mut given = arguments("replace", &"ü".repeat(500));
    given["find"] = json!("@");
    let (result, _) = call(given, [note(1, &format!("{long}@{long}")), note(2, "")]).await;
    let around = result.unwrap()["around"].as_str().unwrap().to_owned();
    assert!(around.chars().count() <= 300, "{}", around.chars().count());
    assert!(
        around.contains("éü") && around.contains("ü…ü") && around.contains("üé"),
        "{around}"
    );
}

#[tokio::test]
async fn a_history_has_the_names_of_arguments() {
    let task = json!({"kind": "task", "uid": UID, "limit": 2});
    let answer = json!({"versions": [
        {"version": 3, "updatedAt": "t", "operation": "restore", "fromVersion": 1, "bytes": 5,
            "changed": ["dueDate", "myField"], "changedMore": 1},
        {"version": 2, "updatedAt": "s", "deletedAt": "s", "bytes": 5},
    ], "nextBefore": 2});
    let (result, sent) = call_tool("history", task, [(200, answer)]).await;
    assert_eq!(
        result.unwrap(),
        json!({"versions": [
            {"version": 3, "updated_at": "t", "operation": "restore", "from_version": 1,
                "bytes": 5, "changed": ["due_date", "myField"], "changed_more": 1},
            {"version": 2, "updated_at": "s", "deleted_at": "s", "bytes": 5},
        ]})
    );
    assert_eq!(sent, [("GET".to_owned(), json!(null), None)]);

    let arguments = json!({"kind": "note", "uid": UID, "version": 3});
    let (result, _) = call_tool("history", arguments, [note(3, "as it was")]).await;
    assert_eq!(result.unwrap()["payload"]["content"], "as it was");
}

#[tokio::test]
async fn a_history_that_violates_the_contract_is_an_error_of_the_api() {
    for answer in [
        json!([]),
        json!({}),
        json!({"versions": {}}),
        json!({"versions": [1]}),
        json!({"versions": [{}]}),
        json!({"versions": [{"version": "1"}]}),
    ] {
        let arguments = json!({"kind": "note", "uid": UID});
        let (result, _) = call_tool("history", arguments, [(200, answer)]).await;
        assert_eq!(&*result.unwrap_err().code, "api_error");
    }
}

#[tokio::test]
async fn a_restore_names_the_version_and_is_sent_once() {
    let (result, sent) = call_tool(
        "restore",
        json!({"kind": "note", "uid": UID, "to_version": 2}),
        [note(5, "old")],
    )
    .await;
    assert_eq!(result.unwrap()["version"], 5);
    assert_eq!(sent, [("POST".to_owned(), json!({"toVersion": 2}), None)]);
    let arguments = json!({"kind": "note", "uid": UID});
    let (_, sent) = call_tool("restore", arguments, [note(5, "old")]).await;
    assert_eq!(sent, [("POST".to_owned(), json!({}), None)]);
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    for (tool, version, status, code, word) in [
        ("restore", None, 400, "not_deleted", "to_version"),
        (
            "restore",
            Some(2),
            400,
            "invalid_argument",
            "another version",
        ),
        ("restore", Some(2), 404, "version_not_found", "history"),
        ("restore", None, 404, "note_not_found", "search"),
        ("restore", None, 422, "parent_not_found", "parent first"),
        ("restore", None, 502, "unknown_outcome", "history"),
        (
            "restore",
            None,
            500,
            "api_error",
            "whether anything changed",
        ),
        ("history", None, 404, "note_not_found", "search"),
        ("history", Some(2), 404, "version_not_found", "history"),
        ("history", None, 429, "rate_limited", "repeat the call"),
        ("history", None, 503, "api_unavailable", "repeat the call"),
    ] {
        let mut arguments = json!({"kind": "note", "uid": UID});
        let name = if tool == "restore" {
            "to_version"
        } else {
            "version"
        };
        if let Some(version) = version {
            arguments[name] = json!(version);
        }
        let (result, _) = call_tool(tool, arguments, [(status, json!({"error": "x"}))]).await;
        let error = result.unwrap_err();
        assert_eq!(&*error.code, code, "{tool} {status}");
        if code.ends_with("_not_found") {
            assert_eq!(error.category, Category::NotFound);
        }
        assert!(
            error.suggested_action.contains(word),
            "{}",
            error.suggested_action
        );
    }
}

fn batch(operations: Value) -> Value {
    json!({"operations": operations})
}

#[tokio::test]
async fn a_batch_has_the_names_of_the_api() {
    let operations = json!([
        {"op": "create", "kind": "task", "uid": UID,
            "fields": {"title": "t", "due_date": "2026-01-01", "mine": {"due_date": 1.50}}},
        {"op": "patch", "kind": "comment", "uid": UID,
            "updates": {"parent_uid": UID}, "if_match": 3},
        {"op": "tag", "kind": "note", "uid": UID, "add_tags": ["a"], "remove_tags": ["b"]},
        {"op": "restore", "kind": "note", "uid": UID, "to_version": 2},
    ]);
    let mut arguments = batch(operations);
    arguments["dry_run"] = json!(true);
    let answer = json!({"atomic": true, "dryRun": true, "done": 4, "failed": 0, "results": [
        {"index": 0, "op": "create", "kind": "task", "uid": UID, "status": 201, "version": 1,
            "updatedAt": "t"}]});
    let (result, sent) = call_tool("batch", arguments, [(200, answer)]).await;
    assert_eq!(
        result.unwrap(),
        json!({"atomic": true, "dry_run": true, "done": 4, "failed": 0, "results": [
            {"index": 0, "op": "create", "kind": "task", "uid": UID, "status": 201, "version": 1,
                "updated_at": "t"}]})
    );
    let expected = json!({"operations": [
        {"op": "create", "kind": "task", "uid": UID,
            "fields": {"title": "t", "dueDate": "2026-01-01", "mine": {"due_date": 1.50}}},
        {"op": "patch", "kind": "comment", "uid": UID,
            "updates": {"parentUid": UID}, "ifMatch": 3},
        {"op": "tag", "kind": "note", "uid": UID, "addTags": ["a"], "removeTags": ["b"]},
        {"op": "restore", "kind": "note", "uid": UID, "toVersion": 2},
    ], "dryRun": true});
    assert_eq!(sent, [("POST".to_owned(), expected, None)]);
}

#[tokio::test]
async fn a_batch_that_is_malformed_is_not_sent() {
    let many = vec![json!({"op": "archive", "kind": "note", "uid": UID}); 101];
    let large = json!({"op": "create", "kind": "note", "fields": {"content": "x".repeat(1 << 20)}});
    for (operations, argument) in [
        (json!([]), "operations"),
        (json!(many), "operations"),
        (json!([large]), "operations"),
        (json!([{"kind": "note"}]), "operations[0].op"),
        (json!([{"op": "drop", "kind": "note"}]), "operations[0].op"),
        (
            json!([{"op": "delete", "kind": "notes"}]),
            "operations[0].kind",
        ),
        (json!([{"op": "delete", "kind": 1}]), "operations[0].kind"),
        (
            json!([{"op": "delete", "kind": "note", "id": UID}]),
            "operations[0].id",
        ),
    ] {
        let (result, sent) = call_tool("batch", batch(operations), []).await;
        let error = result.unwrap_err();
        assert_eq!(error.details.argument.as_deref(), Some(argument));
        assert_eq!(sent.len(), 0);
    }
}

#[tokio::test]
async fn a_refused_batch_names_the_operation() {
    let operation = json!({"op": "edit", "kind": "note", "uid": UID, "operation": "replace",
        "find": "a", "text": "b"});
    for (answer, code, words) in [
        (
            json!({"index": 1, "operationStatus": 422, "field": "find", "count": 2, "error": "x"}),
            "invalid_argument",
            "Operation 1 (edit note) was refused: its find occurs 2 times. Nothing was changed.",
        ),
        (
            json!({"index": 1, "operationStatus": 412, "error": "x"}),
            "version_mismatch",
            "changed in the meantime",
        ),
        (
            json!({"index": 1, "operationStatus": 410, "error": "x"}),
            "item_deleted",
            "deleted",
        ),
        (
            json!({"index": 99, "operationStatus": 404, "error": "x"}),
            "item_not_found",
            "no such",
        ),
        (json!({"error": "x"}), "api_error", "failed"),
    ] {
        let operations = json!([operation, operation]);
        let (result, _) = call_tool("batch", batch(operations), [(422, answer)]).await;
        let error = result.unwrap_err();
        assert_eq!(&*error.code, code);
        assert!(error.message.contains(words), "{}", error.message);
        assert!(!error.retryable);
    }
    let operations = json!([operation]);
    let (result, _) = call_tool("batch", batch(operations.clone()), [(502, json!({}))]).await;
    assert_eq!(&*result.unwrap_err().code, "unknown_outcome");
    let (result, _) = call_tool("batch", batch(operations.clone()), [(500, json!({}))]).await;
    let error = result.unwrap_err();
    assert_eq!((&*error.code, error.retryable), ("api_error", false));
    let (result, _) = call_tool("batch", batch(operations), [(200, json!({"done": 1}))]).await;
    assert_eq!(&*result.unwrap_err().code, "unknown_outcome");
}
