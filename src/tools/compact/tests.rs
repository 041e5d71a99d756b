//! Tests of the calls that are delegated, and of the words of their errors.

use super::*;

fn given(name: &str, arguments: Value) -> (String, Value) {
    let tools = [create(), patch(), delete()];
    let tool = tools.iter().find(|tool| tool.spec.name == name).unwrap();
    let text = arguments.to_string();
    let arguments = Arguments::read(&tool.arguments, Json::trusted(&text)).unwrap();
    let (name, arguments) = delegated(name, &arguments).unwrap();
    (name, serde_json::from_str(&arguments).unwrap())
}

#[test]
fn calls_are_those_of_the_tools_of_one_kind() {
    let uid = "01890a5d-ac96-774b-bcce-b302099a8057";
    let fields = json!({"title": "a \"b\"", "kind": "x", "n": 0.10});
    assert_eq!(
        given("create", json!({"kind": "note", "fields": fields})),
        ("create_note".to_owned(), fields)
    );
    let patch = json!({"uid": uid, "updates": {"status": "done"}, "if_match": 3});
    let mut with_kind = patch.clone();
    with_kind["kind"] = json!("task");
    assert_eq!(given("patch", with_kind), ("patch_task".to_owned(), patch));
    assert_eq!(
        given("delete", json!({"kind": "chat_message", "uid": uid})),
        ("delete_chat_message".to_owned(), json!({"uid": uid}))
    );
}

#[test]
fn errors_name_tools_that_are_listed() {
    for (text, expected) in [
        (
            "Get it with get_note (uid 1).",
            "Get it with fetch (uid 1).",
        ),
        ("get_chat or get_chat_message", "fetch or fetch"),
        ("list_chats, list_chat_messages", "search, search"),
        (
            "create_task_x and my_get_note_",
            "create_task_x and my_get_note_",
        ),
        ("update_note", "patch"),
    ] {
        assert_eq!(renamed(text.to_owned()), expected);
    }
}
