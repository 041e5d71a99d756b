//! Tests of calls that take more than one request.

use std::sync::Mutex;

use super::*;
use crate::api::Features;
use crate::api::request::Repeat;

fn comment(version: u64, payload: Value) -> Value {
    json!({
        "uid": UID,
        "version": version,
        "updatedAt": "2026-01-02T03:04:05.678Z",
        "payload": payload,
    })
}

fn parented() -> Value {
    comment(
        7,
        json!({
            "content": "old",
            "parentType": "task",
            "parentUid": PARENT,
            "author": "ann",
            "tags": ["x"],
        }),
    )
}

fn methods(script: &Script) -> Vec<String> {
    script
        .sent()
        .iter()
        .map(|request| format!("{} {}", request.method, request.path))
        .collect()
}

#[tokio::test]
async fn an_update_that_omits_the_parent_keeps_it() {
    let script = Script::new([reply(200, parented()), reply(200, parented())]);
    let plan = prepare("update_comment", json!({"uid": UID, "content": "new"})).unwrap();
    assert_eq!(plan.steps(), 2);
    let reported = Mutex::new(Vec::new());
    plan.run(&script, &Limits::default(), |step| {
        reported.lock().unwrap().push((step.done, step.total))
    })
    .await
    .unwrap();
    assert_eq!(reported.into_inner().unwrap(), [(0, 2), (1, 2)]);

    let sent = script.sent();
    assert_eq!(
        methods(&script),
        [
            format!("GET /v1/comments/{UID}"),
            format!("PUT /v1/comments/{UID}")
        ]
    );
    // Only the parent is kept. Other omitted fields are cleared.
    let body: Value = serde_json::from_slice(sent[1].body.as_ref().unwrap()).unwrap();
    assert_eq!(
        body,
        json!({"content": "new", "parentType": "task", "parentUid": PARENT})
    );
    assert_eq!(sent[1].if_match, Some(7));
}

#[tokio::test]
async fn an_explicit_if_match_wins_over_the_version_read() {
    let script = Script::new([reply(200, parented()), reply(200, parented())]);
    call(
        "update_comment",
        json!({"uid": UID, "content": "new", "if_match": 4}),
        &script,
    )
    .await
    .unwrap();
    assert_eq!(script.sent()[1].if_match, Some(4));
}

#[tokio::test]
async fn a_chat_message_keeps_its_chat() {
    let stored = comment(2, json!({"chatUid": PARENT, "content": "old"}));
    let script = Script::new([reply(200, &stored), reply(200, &stored)]);
    call(
        "update_chat_message",
        json!({"uid": UID, "content": "new"}),
        &script,
    )
    .await
    .unwrap();
    let body: Value = serde_json::from_slice(script.sent()[1].body.as_ref().unwrap()).unwrap();
    assert_eq!(body, json!({"content": "new", "chatUid": PARENT}));
}

#[tokio::test]
async fn nothing_is_written_when_the_item_cannot_be_read_first() {
    for (answer, code) in [
        (
            reply(404, json!({"error": "not found"})),
            "comment_not_found",
        ),
        (
            reply(
                410,
                json!({"error": "deleted", "deletedAt": "2026-01-01T00:00:00Z"}),
            ),
            "comment_deleted",
        ),
        (reply(503, "down"), "api_unavailable"),
        (reply(200, "<html>"), "api_error"),
        (
            reply(200, comment(1, json!({"content": "orphan"}))),
            "invalid_argument",
        ),
        (Err(ApiError::AnswerLost), "api_unreachable"),
        (Err(ApiError::TimedOut { sent: true }), "api_timeout"),
    ] {
        let script = Script::new([answer]);
        let error = call(
            "update_comment",
            json!({"uid": UID, "content": "new"}),
            &script,
        )
        .await
        .unwrap_err();
        assert_eq!(error.code, code);
        assert_eq!(script.sent().len(), 1, "{code}");
    }
}

/// If the tool read the version itself, the same call can succeed. With the caller's version it
/// cannot.
#[tokio::test]
async fn a_version_conflict_is_retryable_without_if_match() {
    for (arguments, retryable) in [
        (json!({"uid": UID, "content": "n"}), true),
        (json!({"uid": UID, "content": "n", "if_match": 4}), false),
    ] {
        let lost = reply(
            412,
            json!({"error": "version mismatch: expected 7, actual 8"}),
        );
        let error = call(
            "update_comment",
            arguments,
            &Script::new([reply(200, parented()), lost]),
        )
        .await
        .unwrap_err();
        assert_eq!(
            (&*error.code, error.retryable),
            ("version_mismatch", retryable)
        );
    }
}

fn created(version: u64, content: &str) -> Value {
    json!({
        "uid": NEW_UID, "version": version, "updatedAt": "2026-01-02T03:04:05.678Z",
        "payload": {
            "content": content, "mood": 1.50, "title": "t", "uid": NEW_UID,
            "updatedTs": "2026-01-02T03:04:05.678Z",
            "sync": {"version": version, "isDeleted": false},
        },
    })
}

fn creating() -> Value {
    json!({"title": "t", "content": "c", "additional_fields": {"mood": 1.5}})
}

#[tokio::test]
async fn a_create_that_finds_its_own_item_succeeds() {
    let script = Script::new([
        reply(409, json!({"error": "already_exists"})),
        reply(200, created(1, "c")),
    ]);
    let success = call("create_note", creating(), &script).await.unwrap();
    assert_eq!(success.value(), as_result("note", &created(1, "c")));
    assert_eq!(
        methods(&script),
        [
            "POST /v1/notes".to_owned(),
            format!("GET /v1/notes/{NEW_UID}")
        ]
    );
}

/// Stores normalize numbers, and some keep only the precision of a double.
#[tokio::test]
async fn a_create_recognizes_its_item_with_normalized_numbers() {
    let sent = concat!(
        r#"{"title":"t","content":"c","additional_fields":"#,
        r#"{"n":[1.50,{"x":100}],"big":123456789012345678901234567890}}"#
    );
    let stored = |n: &str| {
        let payload = format!(r#"{{"content":"c","title":"t",{n}}}"#);
        format!(r#"{{"uid":"{NEW_UID}","version":1,"updatedAt":"t","payload":{payload}}}"#)
    };
    for (n, same) in [
        (
            r#""big":123456789012345678901234567890,"n":[1.5,{"x":1e2}]"#,
            true,
        ),
        (
            r#""big":1.2345678901234568e29,"n":[1.500,{"x":100.0}]"#,
            true,
        ),
        (
            r#""big":123456789012345678901234567890,"n":[1.5,{"x":101}]"#,
            false,
        ),
        (r#""big":123456789012345678901234567890,"n":[1.5]"#, false),
        (
            r#""big":"123456789012345678901234567890","n":[1.5,{"x":100}]"#,
            false,
        ),
    ] {
        let script = Script::new([
            reply(409, json!({"error": "already_exists"})),
            reply(200, stored(n)),
        ]);
        let outcome = call("create_note", serde_json::from_str(sent).unwrap(), &script).await;
        assert_eq!(outcome.is_ok(), same, "{n}");
    }
}

#[tokio::test]
async fn a_create_that_finds_another_item_is_a_conflict() {
    for (answer, code) in [
        (reply(200, created(1, "other")), "already_exists"),
        (reply(200, created(2, "c")), "already_exists"),
        (reply(410, json!({"error": "deleted"})), "already_exists"),
        (reply(500, "boom"), "unknown_outcome"),
        (Err(ApiError::Unreachable), "unknown_outcome"),
        (Err(ApiError::TimedOut { sent: true }), "unknown_outcome"),
    ] {
        let script = Script::new([reply(409, json!({"error": "already_exists"})), answer]);
        let error = call("create_note", creating(), &script).await.unwrap_err();
        assert_eq!(error.code, code);
        assert_eq!(error.details.uid.as_deref(), Some(NEW_UID));
    }
}

/// The item that the writes of [`repeated`] leave, at this version.
fn left(version: u64, title: &str, deleted: bool) -> Value {
    let mut item = json!({
        "uid": UID, "version": version, "updatedAt": "2026-01-02T03:04:05.678Z",
        "payload": {"title": title, "content": "c", "mood": 1.50, "uid": UID,
            "sync": {"version": version}},
    });
    if deleted {
        item["deletedAt"] = json!("2026-01-02T03:04:05.678Z");
    }
    item
}

/// A write of each repeatable kind, and the refusal of a retry if the write was carried out before.
fn repeated() -> [(&'static str, Value, Result<Reply, ApiError>); 3] {
    let stale = || {
        reply(
            412,
            json!({"error": "version mismatch: expected 3, actual 4"}),
        )
    };
    [
        (
            "update_note",
            json!({
                "uid": UID,
                "title": "t",
                "content": "c",
                "additional_fields": {"mood": 1.5},
                "if_match": 3,
            }),
            stale(),
        ),
        (
            "patch_note",
            json!({"uid": UID, "updates": {"title": "t"}, "if_match": 3}),
            stale(),
        ),
        (
            "delete_note",
            json!({"uid": UID}),
            reply(410, json!({"error": "deleted"})),
        ),
    ]
}

#[tokio::test]
async fn a_retry_that_finds_its_own_effect_succeeds() {
    for (tool, arguments, refusal) in repeated() {
        let left = left(4, "t", tool == "delete_note");
        let script = Script::new([maybe_applied(refusal), reply(200, &left)]);
        let success = call(tool, arguments, &script).await.unwrap();
        assert_eq!(success.value(), as_result(entity_of(tool), &left), "{tool}");
        let read = &script.sent()[1];
        assert_eq!(
            (read.method.as_str(), read.if_match),
            ("GET", None),
            "{tool}"
        );
        let includes_deleted = read.query.contains(&("includeDeleted", "true".to_owned()));
        assert_eq!(includes_deleted, tool == "delete_note");
    }
    let script = Script::new([
        maybe_applied(reply(409, json!({"error": "already_exists"}))),
        reply(200, created(1, "c")),
    ]);
    assert_eq!(
        call("create_note", creating(), &script)
            .await
            .unwrap()
            .value(),
        as_result("note", &created(1, "c"))
    );
}

/// Without an earlier attempt, the refusal is final, and the item is not read back.
#[tokio::test]
async fn a_refusal_of_the_only_attempt_is_final() {
    for (tool, arguments, refusal) in repeated() {
        let script = Script::new([refusal]);
        let error = call(tool, arguments, &script).await.unwrap_err();
        let expected = if tool == "delete_note" {
            "note_deleted"
        } else {
            "version_mismatch"
        };
        assert_eq!((&*error.code, script.sent().len()), (expected, 1), "{tool}");
    }
}

#[tokio::test]
async fn the_effect_of_another_write_is_not_taken_for_its_own() {
    for (tool, arguments, refusal) in repeated() {
        for (found, changed, deleted) in [
            (
                reply(200, left(4, "theirs", false)),
                "version_mismatch",
                "note_deleted",
            ),
            (
                reply(200, left(5, "t", false)),
                "unknown_outcome",
                "note_deleted",
            ),
            (
                reply(410, json!({"error": "deleted"})),
                "unknown_outcome",
                "note_deleted",
            ),
            (reply(500, "boom"), "unknown_outcome", "unknown_outcome"),
            (
                Err(ApiError::Unreachable),
                "unknown_outcome",
                "unknown_outcome",
            ),
        ] {
            let script = Script::new([maybe_applied(refusal.clone()), found]);
            let error = call(tool, arguments.clone(), &script).await.unwrap_err();
            let expected = if tool == "delete_note" {
                deleted
            } else {
                changed
            };
            assert_eq!(error.code, expected, "{tool}");
            assert_eq!(error.details.uid.as_deref(), Some(UID));
        }
    }
}

/// After a lost response, only success or an invalid request reveals the outcome of the first
/// attempt.
#[tokio::test]
async fn any_other_refusal_after_a_lost_response_leaves_the_outcome_unknown() {
    let writes = || {
        let own = repeated().map(|(tool, arguments, _)| (tool, arguments));
        own.into_iter().chain([
            ("create_note", creating()),
            ("archive_note", json!({"uid": UID})),
        ])
    };
    for (tool, arguments) in writes() {
        for answer in [
            reply(401, ""),
            reply(428, ""),
            reply(429, ""),
            reply(500, ""),
            reply(502, ""),
            reply(503, ""),
            reply(504, ""),
            reply(409, json!({"error": "epoch_mismatch"})),
        ] {
            let status = answer.as_ref().unwrap().status;
            let script = Script::new([maybe_applied(answer)]);
            let error = call(tool, arguments.clone(), &script).await.unwrap_err();
            assert_eq!(
                (&*error.code, error.retryable),
                ("unknown_outcome", false),
                "{tool} {status}"
            );
            assert_eq!(
                error.details.uid.as_deref(),
                Some(if tool == "create_note" { NEW_UID } else { UID })
            );
        }
        let script = Script::new([maybe_applied(reply(
            422,
            json!({"error": "x", "field": "title"}),
        ))]);
        assert_eq!(
            call(tool, arguments, &script).await.unwrap_err().code,
            "invalid_argument"
        );
    }
    let script = Script::new([maybe_applied(reply(404, ""))]);
    assert_eq!(
        call("archive_note", json!({"uid": UID}), &script)
            .await
            .unwrap_err()
            .code,
        "note_not_found"
    );
}

/// The complete list of the requests that may be sent again.
#[tokio::test]
async fn requests_state_whether_they_may_be_sent_again() {
    for spec in catalogue().specs() {
        let operation = spec.name.split('_').next().unwrap();
        for if_match in [None, Some(3)] {
            let mut arguments = minimal_arguments(spec);
            if let Some(version) = if_match {
                if !matches!(operation, "update" | "patch") {
                    continue;
                }
                arguments["if_match"] = json!(version);
            }
            let plan = prepare(&spec.name, arguments).unwrap();
            let expected = match (operation, if_match) {
                ("process", _) | ("update" | "patch", None) => Repeat::Never,
                _ => Repeat::Idempotent,
            };
            assert_eq!(plan.request.repeat, expected, "{} {if_match:?}", spec.name);
        }
    }
    // The version that is read with the parent makes the replacement repeatable.
    let script = Script::new([reply(200, parented()), reply(200, parented())]);
    call(
        "update_comment",
        json!({"uid": UID, "content": "new"}),
        &script,
    )
    .await
    .unwrap();
    assert_eq!(script.sent()[1].repeat, Repeat::Idempotent);
}

#[tokio::test]
async fn a_bare_500_on_a_child_reads_the_parent() {
    let bare_500 = || reply(500, json!({"error": "failed to create comment"}));
    let cases = [
        (
            "create_comment",
            json!({"content": "c", "parent_type": "task", "parent_uid": PARENT}),
            "tasks",
            "parent_uid",
        ),
        (
            "create_comment",
            json!({"content": "c", "parent_type": "note", "parent_uid": PARENT}),
            "notes",
            "parent_uid",
        ),
        (
            "create_chat_message",
            json!({"content": "c", "chat_uid": PARENT}),
            "chats",
            "chat_uid",
        ),
        (
            "update_chat_message",
            json!({"uid": UID, "content": "c", "chat_uid": PARENT}),
            "chats",
            "chat_uid",
        ),
        (
            "patch_chat_message",
            json!({"uid": UID, "updates": {"chat_uid": PARENT}}),
            "chats",
            "chat_uid",
        ),
    ];
    for (tool, arguments, parents, argument) in cases {
        for missing in [404, 410] {
            let script = Script::new([bare_500(), reply(missing, "gone")]);
            let error = call(tool, arguments.clone(), &script).await.unwrap_err();
            assert_eq!(
                (error.category, &*error.code),
                (Category::NotFound, "parent_not_found"),
                "{tool}"
            );
            assert_eq!(error.details.argument.as_deref(), Some(argument));
            assert!(!error.retryable);
            assert_eq!(methods(&script)[1], format!("GET /v1/{parents}/{PARENT}"));
        }
        for alive in [
            reply(200, item(json!({}))),
            reply(500, "x"),
            Err(ApiError::Unreachable),
        ] {
            let error = call(tool, arguments.clone(), &Script::new([bare_500(), alive]))
                .await
                .unwrap_err();
            assert_eq!(
                (error.category, &*error.code),
                (Category::Internal, "api_error"),
                "{tool}"
            );
        }
    }
}

#[tokio::test]
async fn a_kept_parent_is_read_too() {
    let script = Script::new([
        reply(200, parented()),
        reply(500, "failed to update comment"),
        reply(404, ""),
    ]);
    let error = call(
        "update_comment",
        json!({"uid": UID, "content": "new"}),
        &script,
    )
    .await
    .unwrap_err();
    assert_eq!(error.code, "parent_not_found");
    assert_eq!(methods(&script)[2], format!("GET /v1/tasks/{PARENT}"));
}

#[tokio::test]
async fn a_500_without_a_parent_reads_nothing() {
    for (tool, arguments) in [
        ("create_note", json!({"title": "t", "content": "c"})),
        (
            "patch_comment",
            json!({"uid": UID, "updates": {"content": "c"}}),
        ),
        ("delete_comment", json!({"uid": UID})),
        ("list_comments", json!({})),
    ] {
        let script = Script::new([reply(500, "boom")]);
        assert_eq!(
            call(tool, arguments, &script).await.unwrap_err().code,
            "api_error"
        );
        assert_eq!(script.sent().len(), 1);
    }
}

/// The server runs calls on a multi-threaded runtime and generates UIDs with `Uuid::now_v7`.
#[test]
fn calls_can_move_between_threads() {
    fn assert_send<T: Send>(_: &T) {}
    let catalogue = Catalogue::new(uuid::Uuid::now_v7, Features::NONE);
    assert_send(&catalogue);
    let plan = catalogue.prepare("list_notes", Json::EMPTY_OBJECT).unwrap();
    assert_send(&plan.run(&Script::default(), &Limits::default(), |_| {}));
}
