//! Tests which arguments are accepted, which are refused, and the wording of the errors.

use super::*;

/// The request body that the arguments produce.
fn body(tool: &str, arguments: Value) -> Value {
    let plan = prepare(tool, arguments).unwrap_or_else(|error| panic!("{tool}: {error}"));
    serde_json::from_slice(plan.request.body.as_ref().expect("a body")).unwrap()
}

fn with(tool: &str, more: Value) -> Value {
    let catalogue = catalogue();
    let mut arguments = minimal_arguments(&catalogue.get(tool).unwrap().spec);
    arguments.as_object_mut().unwrap().extend(args(more));
    arguments
}

/// Numbers are not converted to 64 bits on the way to the API.
#[test]
fn numbers_reach_the_api_digit_for_digit() {
    let numbers = concat!(
        r#"{"huge":123456789012345678901234567890,"far":1e+999,"#,
        r#""fine":0.10000000000000000000001,"zero":-0.0,"two":1.50}"#
    );
    for (tool, argument) in [
        ("create_note", "additional_fields"),
        ("process_note", "metadata"),
    ] {
        for given in [numbers.to_owned(), json!(numbers).to_string()] {
            let arguments = with(tool, json!({argument: "GIVEN"})).to_string();
            let plan = prepare_text(tool, &arguments.replace("\"GIVEN\"", &given)).unwrap();
            let body = String::from_utf8(plan.request.body.unwrap().to_vec()).unwrap();
            assert!(body.contains(&numbers[1..numbers.len() - 1]), "{body}");
        }
    }
    let endless = format!(r#"{{"limit":{}}}"#, "9".repeat(100_000));
    let refused = prepare_text("list_notes", &endless).unwrap_err();
    assert_eq!(refused.details.argument.as_deref(), Some("limit"));
    assert!(
        refused.body("c").to_string().len() < 1000,
        "a number is not repeated in full"
    );
}

#[test]
fn unambiguous_values_are_normalized() {
    let same_body = |tool: &str, given: Value, canonical: Value| {
        assert_eq!(
            body(tool, with(tool, given.clone())),
            body(tool, with(tool, canonical)),
            "{tool} {given}"
        );
    };
    same_body(
        "create_note",
        json!({"tags": "[\"a\", \"b\"]"}),
        json!({"tags": ["a", "b"]}),
    );
    same_body(
        "create_note",
        json!({"additional_fields": "{\"mood\": 1.5}"}),
        json!({"additional_fields": {"mood": 1.5}}),
    );
    same_body(
        "create_note",
        json!({"tags": null, "additional_fields": null}),
        json!({}),
    );
    same_body(
        "patch_note",
        json!({"updates": "{\"title\":\"x\"}"}),
        json!({"updates": {"title": "x"}}),
    );
    same_body(
        "patch_task",
        json!({"updates": {"due_date": "2026-01-01"}}),
        json!({"updates": {"dueDate": "2026-01-01"}}),
    );
    same_body(
        "patch_task",
        json!({"updates": {"tags": "[\"a\"]"}}),
        json!({"updates": {"tags": ["a"]}}),
    );
    same_body(
        "process_note",
        json!({"metadata": "{}"}),
        json!({"metadata": {}}),
    );
    same_body(
        "create_task",
        json!({"due_date": " 2026-01-01 "}),
        json!({"due_date": "2026-01-01"}),
    );
    same_body(
        "create_chat",
        json!({"archived": "true"}),
        json!({"archived": true}),
    );
    let uppercase = format!("  {} ", PARENT.to_uppercase());
    same_body(
        "create_comment",
        json!({"parent_uid": uppercase}),
        json!({"parent_uid": PARENT}),
    );
}

#[test]
fn uids_and_numbers_are_accepted_in_several_notations() {
    for uid in [
        UID.to_uppercase(),
        format!("\t{UID}\n"),
        format!("{{{UID}}}"),
        UID.replace('-', ""),
    ] {
        let plan = prepare("get_note", json!({"uid": uid})).unwrap();
        assert_eq!(plan.request.path, format!("/v1/notes/{UID}"));
    }
    for limit in [json!("10"), json!(" 10 "), json!(10.0), json!(10)] {
        let plan = prepare("list_notes", json!({"limit": limit})).unwrap();
        assert_eq!(plan.request.query, [("limit", "10".to_owned())]);
    }
    for version in [json!("3"), json!("\"3\""), json!(3)] {
        let plan = prepare(
            "patch_note",
            with("patch_note", json!({"if_match": version})),
        )
        .unwrap();
        assert_eq!(plan.request.if_match, Some(3));
    }
    let plan = prepare(
        "list_notes",
        json!({"limit": null, "cursor": null, "full": null}),
    )
    .unwrap();
    assert_eq!(plan.request.query, [("limit", "50".to_owned())]);
}

#[test]
fn text_that_looks_like_json_stays_text() {
    let sent = body(
        "create_note",
        with(
            "create_note",
            json!({"title": "[1]", "content": "{\"a\":1}"}),
        ),
    );
    assert_eq!(
        (&sent["title"], &sent["content"]),
        (&json!("[1]"), &json!("{\"a\":1}"))
    );
    let sent = body(
        "create_note",
        with("create_note", json!({"additional_fields": {"raw": "[1]"}})),
    );
    assert_eq!(sent["raw"], "[1]");
}

#[test]
#[rustfmt::skip]
fn errors_name_the_argument_the_value_and_the_allowed_values() {
    let table = [
        // tool, arguments added to the minimal ones, argument named, message
        ("list_notes", json!({"limit": 0}), "limit", "`limit` must be an integer from 1 to 1000; \
            got 0."),
        ("list_notes", json!({"limit": 1001}), "limit", "`limit` must be an integer from 1 to \
            1000; got 1001."),
        ("list_notes", json!({"limit": "many"}), "limit", "`limit` must be an integer from 1 to \
            1000; got \"many\"."),
        ("list_notes", json!({"limit": 1.5}), "limit", "`limit` must be an integer from 1 to 1000; \
            got 1.5."),
        ("list_notes", json!({"limit": -1}), "limit", "`limit` must be an integer from 1 to 1000; \
            got -1."),
        ("list_notes", json!({"limit": true}), "limit", "`limit` must be an integer from 1 to \
            1000; got true."),
        ("list_notes", json!({"cursor": ""}), "cursor", "`cursor` must not be empty; leave it out \
            instead."),
        ("list_notes", json!({"cursor": 5}), "cursor", "`cursor` must be a string; got 5."),
        ("list_notes", json!({"full": "yes"}), "full", "`full` must be true or false; got \
            \"yes\"."),
        ("list_notes", json!({"include_deleted": 1}), "include_deleted", "`include_deleted` must \
            be true or false; got 1."),
        ("list_notes", json!({"uid": UID}), "uid", "`uid` is not an argument of this tool."),
        ("get_note", json!({"uid": "42"}), "uid", "`uid` must be a UUID like \
            01890a5d-ac96-774b-bcce-b302099a8057; got \"42\"."),
        ("get_note", json!({"uid": null}), "uid", "`uid` is required."),
        ("get_note", json!({"uuid": UID}), "uuid", "`uuid` is not an argument of this tool; did \
            you mean `uid`?"),
        ("create_note", json!({"title": null}), "title", "`title` is required."),
        ("create_note", json!({"title": 5}), "title", "`title` must be a string; got 5."),
        ("create_note", json!({"titel": "x"}), "titel", "`titel` is not an argument of this tool; \
            did you mean `title`?"),
        ("create_note", json!({"color": "x"}), "color", "`color` is not an argument of this tool."),
        ("create_note", json!({"tags": "work"}), "tags", "`tags` must be a list of strings like \
            [\"a\",\"b\"]; got \"work\"."),
        ("create_note", json!({"tags": "{}"}), "tags", "`tags` must be a list of strings like \
            [\"a\",\"b\"]; got an object with 0 keys."),
        ("create_note", json!({"tags": ["a", 1]}), "tags[1]", "`tags[1]` must be a string; got 1."),
        ("create_note", json!({"additional_fields": []}), "additional_fields",
            "`additional_fields` must be an object; got a list of 0."),
        ("create_note", json!({"additional_fields": {"title": "x"}}), "additional_fields.title",
            "`additional_fields.title` belongs among the arguments; did you mean `title`?"),
        ("create_task", json!({"additional_fields": {"dueDate": "x"}}), "additional_fields.dueDate",
            "`additional_fields.dueDate` belongs among the arguments; did you mean `due_date`?"),
        ("create_task", json!({"additional_fields": {"due_date": "x"}}),
            "additional_fields.due_date",
            "`additional_fields.due_date` belongs among the arguments; did you mean `due_date`?"),
        ("create_note", json!({"additional_fields": {"uid": UID}}), "additional_fields.uid",
            "`additional_fields.uid` is written by the server and cannot be set."),
        ("update_note", json!({"additional_fields": {"sync": {}}}), "additional_fields.sync",
            "`additional_fields.sync` is written by the server and cannot be set."),
        ("create_task", json!({"dueDate": "2026-01-01"}), "dueDate", "`dueDate` is not an argument \
            of this tool; did you mean `due_date`?"),
        ("create_task", json!({"priority": "urgent"}), "priority", "`priority` must be one of low, \
            medium, high; got \"urgent\"."),
        ("create_task", json!({"due_date": "tomorrow"}), "due_date", "`due_date` must be a date \
            like 2026-03-01 or a time like 2026-03-01T09:00:00Z; got \"tomorrow\"."),
        ("create_comment", json!({"parent_type": "chat"}), "parent_type", "`parent_type` must be \
            one of note, task; got \"chat\"."),
        ("create_comment", json!({"parent_uid": "x"}), "parent_uid", "`parent_uid` must be a UUID \
            like 01890a5d-ac96-774b-bcce-b302099a8057; got \"x\"."),
        ("create_comment", json!({"parent_type": null}), "parent_type", "`parent_type` is \
            required."),
        ("update_comment", json!({"parent_uid": PARENT}), "parent_type", "`parent_type` is \
            required beside `parent_uid`; leave out both to keep the parent."),
        ("update_comment", json!({"parent_type": "note"}), "parent_uid", "`parent_uid` is required \
            beside `parent_type`; leave out both to keep the parent."),
        ("update_note", json!({"if_match": 0}), "if_match", "`if_match` must be an integer of at \
            least 1; got 0."),
        ("patch_note", json!({"updates": {}}), "updates", "`updates` must name at least one field \
            to change."),
        ("patch_note", json!({"updates": null}), "updates", "`updates` is required."),
        ("patch_note", json!({"updates": "title"}), "updates", "`updates` must be an object; got \
            \"title\"."),
        ("patch_note", json!({"updates": {"uid": UID}}), "updates.uid", "`updates.uid` is written \
            by the server and cannot be set."),
        ("patch_note", json!({"updates": {"sync": {}}}), "updates.sync", "`updates.sync` is \
            written by the server and cannot be set."),
        ("patch_note", json!({"updates": {"updatedTs": 1}}), "updates.updatedTs",
            "`updates.updatedTs` is written by the server and cannot be set."),
        ("patch_note", json!({"updates": {"title": 1}}), "updates.title", "`updates.title` must be \
            a string; got 1."),
        ("patch_note", json!({"updates": {"title": null}}), "updates.title", "`updates.title` \
            cannot be null: a note needs it; got null."),
        ("patch_task", json!({"updates": {"due_date": "x"}}), "updates.due_date",
            "`updates.due_date` must be a date like 2026-03-01 or a time like \
             2026-03-01T09:00:00Z; got \"x\"."),
        ("patch_task", json!({"updates": {"due_date": "2026-01-01", "dueDate": "2026-01-01"}}),
            "updates.dueDate", "`updates.dueDate` comes twice, as `due_date` and as `dueDate`."),
        ("patch_note", json!({"title": "x"}), "title", "`title` is not an argument of this tool."),
        ("process_note", json!({"action": "complete"}), "action", "`action` must be one of pin, \
            unpin, archive, unarchive; got \"complete\"."),
        ("process_note", json!({"action": null}), "action", "`action` is required."),
        ("process_note", json!({"metadata": "x"}), "metadata", "`metadata` must be an object; got \
            \"x\"."),
        ("delete_note", json!({"if_match": 1}), "if_match", "`if_match` is not an argument of this \
            tool."),
    ];
    for (tool, more, argument, message) in table {
        let error = refusal(tool, with(tool, more.clone()));
        assert_eq!(error.message, message, "{tool} {more}");
        assert_eq!((error.category, &*error.code), (Category::Validation, "invalid_argument"),
            "{tool} {more}");
        assert_eq!(error.details.argument.as_deref(), Some(argument), "{tool} {more}");
        assert!(!error.retryable);
        assert!(error.suggested_action.contains(tool), "{}", error.suggested_action);
        assert!(error.suggested_action.contains(argument), "{}", error.suggested_action);
    }
}

#[test]
fn an_error_lists_the_allowed_values() {
    let error = refusal("create_task", json!({"title": "t", "priority": "urgent"}));
    assert_eq!(error.details.allowed, ["low", "medium", "high"]);
    assert_eq!(
        error.suggested_action,
        "Call create_task again with `priority` one of: low, medium, high."
    );
    let error = refusal("get_note", json!({"uid": UID, "colour": 1}));
    assert_eq!(error.details.allowed, ["uid", "include_deleted"]);
    assert_eq!(
        error.suggested_action,
        "Call get_note again without `colour`."
    );
    let error = refusal("create_note", json!({"titel": "x", "content": "y"}));
    assert_eq!(
        error.suggested_action,
        "Call create_note again with `title` in place of `titel`."
    );
}

#[test]
fn invalid_values_are_echoed_truncated() {
    for (tool, arguments) in [
        ("get_note", json!({"uid": "ü".repeat(1 << 20)})),
        ("get_note", json!({"uid": UID, "x".repeat(1 << 20): 1})),
        (
            "create_note",
            json!({
                "title": "t",
                "content": "c",
                "additional_fields": {"y".repeat(9000): 1, "uid": 1},
            }),
        ),
        ("list_notes", json!({"cursor": "c".repeat(5000)})),
        ("list_notes", json!({"limit": [1, 2, "z".repeat(9000)]})),
        (
            "create_task",
            json!({"title": "t", "priority": "\u{0}\"\u{202e}".repeat(100)}),
        ),
    ] {
        let error = refusal(tool, arguments);
        let served = error.body("c").to_string();
        assert!(
            served.len() < 2500,
            "{} bytes: {}",
            served.len(),
            error.message
        );
    }
}

#[test]
fn an_unknown_tool_suggests_the_nearest_name() {
    let error = refusal("list_note", json!({}));
    assert_eq!(error.code, "unknown_tool");
    assert_eq!(error.suggested_action, "Call list_notes instead.");
    assert_eq!(
        refusal("launch_rocket", json!({})).suggested_action,
        "Choose one of the tools that tools/list names."
    );
}

#[test]
fn a_body_above_the_limit_of_the_api_is_refused() {
    let large = "x".repeat(1 << 20);
    for (tool, arguments, argument) in [
        (
            "create_note",
            json!({"title": "t", "content": large}),
            "content",
        ),
        (
            "update_note",
            json!({"uid": UID, "title": "t", "content": "c", "additional_fields": {"a": large}}),
            "additional_fields",
        ),
        (
            "patch_note",
            json!({"uid": UID, "updates": {"content": large}}),
            "updates",
        ),
        (
            "process_note",
            json!({"uid": UID, "action": "pin", "metadata": {"a": large}}),
            "metadata",
        ),
    ] {
        let error = refusal(tool, arguments);
        assert_eq!(
            (error.category, &*error.code),
            (Category::TooLarge, "request_too_large"),
            "{tool}"
        );
        assert_eq!(error.details.argument.as_deref(), Some(argument));
    }
}

/// The API counts the body itself as the first of its 64 levels.
#[test]
fn nesting_above_the_limit_of_the_api_is_refused() {
    let nested = |levels: usize| (0..levels).fold(json!(1), |value, _| json!([value]));
    for (tool, argument) in [
        ("create_note", "additional_fields"),
        ("patch_note", "updates"),
    ] {
        let deep = |levels| with(tool, json!({argument: {"deep": nested(levels)}}));
        assert!(prepare(tool, deep(63)).is_ok(), "{tool}");
        let error = refusal(tool, deep(64));
        assert_eq!(error.details.argument, Some(format!("{argument}.deep")));
    }
    let deep = |levels| {
        with(
            "process_note",
            json!({"metadata": {"deep": nested(levels)}}),
        )
    };
    assert!(prepare("process_note", deep(62)).is_ok());
    assert_eq!(
        refusal("process_note", deep(63))
            .details
            .argument
            .as_deref(),
        Some("metadata")
    );
}

#[test]
fn recognizes_dates_and_rfc_3339_times() {
    use crate::tools::rfc3339::is_date_or_time;
    for good in [
        "2026-03-01",
        "2024-02-29",
        "2000-02-29",
        "2026-03-01T09:00:00Z",
        "2026-03-01t09:00:00z",
        "2026-03-01 09:00:00Z",
        "2026-03-01T09:00:00.123456789Z",
        "2026-03-01T09:00:00+05:45",
        "2026-03-01T23:59:60-00:00",
    ] {
        assert!(is_date_or_time(good), "{good}");
    }
    for bad in [
        "",
        "tomorrow",
        "2026",
        "2026-3-1",
        "2026-02-29",
        "1900-02-29",
        "2026-13-01",
        "2026-00-10",
        "2026-01-00",
        "2026-04-31",
        "2026-03-01T",
        "2026-03-01T09:00",
        "2026-03-01T09:00:00",
        "2026-03-01T24:00:00Z",
        "2026-03-01T09:60:00Z",
        "2026-03-01T09:00:61Z",
        "2026-03-01T09:00:00.Z",
        "2026-03-01T09:00:00+24:00",
        "2026-03-01T09:00:00+0100",
        "2026-03-01T09:00:00ZZ",
        "+026-03-01",
        "２０２６-03-01",
        "2026-03-01Ü09:00:00Z",
        "2026-03-0ü",
        "01-03-2026",
    ] {
        assert!(!is_date_or_time(bad), "{bad}");
    }
}
