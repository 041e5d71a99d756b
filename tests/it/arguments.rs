//! What models get wrong: what is forgiven is sent as it was meant, what is refused is refused
//! before anything leaves.

use http::Method;
use serde_json::{Map, Value, json};

use crate::entities::{self, OPERATIONS, with};
use crate::harness::runner::in_every_era;
use crate::harness::{CONTENT, Client, Record, StdioClient, ToolClient, shared};
use crate::harness::{CallResult, Era};

crate::tests![
    normalizes_unambiguous_arguments,
    a_null_optional_counts_as_omitted,
    patch_accepts_nulls_and_unknown_fields,
    names_the_argument_that_violates_the_schema,
    names_the_argument_that_violates_a_rule_of_the_tool,
    an_error_has_the_received_and_the_allowed_values,
    an_error_is_identical_in_every_era_and_over_stdio,
];

const UID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

async fn normalizes_unambiguous_arguments() {
    let client = Client::modern(&shared().acme);
    let text = CONTENT;
    let create = |more: Value| with(&json!({"title": text, "content": text}), &more);
    let sent_query = |query: &'static str| json!({ "query": query });
    let sent_body = |key: &str, value: Value| json!({ "body": { (key): value } });
    for (tool, arguments, expected) in [
        // Lists and objects that came as JSON texts.
        (
            "create_note",
            create(json!({"tags": "[\"a\",\"b\"]"})),
            sent_body("tags", json!(["a", "b"])),
        ),
        (
            "create_note",
            create(json!({"tags": " [ ] "})),
            sent_body("tags", json!([])),
        ),
        (
            "create_chat",
            json!({"title": text, "participants": "[\"Ada\"]"}),
            sent_body("participants", json!(["Ada"])),
        ),
        (
            "create_note",
            create(json!({"additional_fields": "{\"stars\": 5}"})),
            sent_body("stars", json!(5)),
        ),
        (
            "patch_note",
            json!({"uid": UID, "updates": "{\"title\":\"x\"}"}),
            sent_body("title", json!("x")),
        ),
        (
            "patch_note",
            json!({"uid": UID, "updates": {"tags": "[\"a\"]"}}),
            sent_body("tags", json!(["a"])),
        ),
        (
            "process_note",
            json!({"uid": UID, "action": "pin", "metadata": "{\"why\":1}"}),
            sent_body("metadata", json!({"why": 1})),
        ),
        // Numbers and truths as texts.
        (
            "list_notes",
            json!({"limit": "10"}),
            sent_query("limit=10&order=newest"),
        ),
        (
            "list_notes",
            json!({"limit": " 10 "}),
            sent_query("limit=10&order=newest"),
        ),
        (
            "list_notes",
            json!({"limit": 10.0}),
            sent_query("limit=10&order=newest"),
        ),
        (
            "list_notes",
            json!({"include_deleted": "true"}),
            sent_query("limit=50&order=newest&includeDeleted=true"),
        ),
        (
            "list_notes",
            json!({"include_deleted": "false"}),
            sent_query("limit=50&order=newest"),
        ),
        (
            "create_chat",
            json!({"title": text, "archived": "true"}),
            sent_body("archived", json!(true)),
        ),
        (
            "patch_note",
            json!({"uid": UID, "updates": {"x": 1}, "if_match": "3"}),
            json!({"if-match": "3"}),
        ),
        (
            "patch_note",
            json!({"uid": UID, "updates": {"x": 1}, "if_match": "\"3\""}),
            json!({"if-match": "3"}),
        ),
        // UIDs with space around them, or in capitals.
        (
            "get_note",
            json!({"uid": format!("  {UID}\n")}),
            json!({"path": format!("/v1/notes/{UID}")}),
        ),
        (
            "get_note",
            json!({"uid": UID.to_uppercase()}),
            json!({"path": format!("/v1/notes/{UID}")}),
        ),
        (
            "create_comment",
            json!({"content": text, "parent_type": "task", "parent_uid": UID.to_uppercase()}),
            sent_body("parentUid", json!(UID)),
        ),
        // Fields of an update in either spelling.
        (
            "patch_task",
            json!({"uid": UID, "updates": {"due_date": "2027-01-01"}}),
            sent_body("dueDate", json!("2027-01-01")),
        ),
        (
            "patch_task",
            json!({"uid": UID, "updates": {"dueDate": "2027-01-01"}}),
            sent_body("dueDate", json!("2027-01-01")),
        ),
        // What looks like something else but is what it says.
        (
            "create_note",
            create(json!({"content": "[1]"})),
            sent_body("content", json!("[1]")),
        ),
        (
            "create_note",
            create(json!({"content": ""})),
            sent_body("content", json!("")),
        ),
    ] {
        let seen = client.traffic().await.operations().len();
        let called = client.call(tool, arguments).await;
        let traffic = client.traffic().await;
        let sent = traffic.operations()[seen].clone();
        is_as_expected(&sent, &expected, &called);
    }
}

fn is_as_expected(sent: &Record, expected: &Value, called: &CallResult) {
    for (part, expected) in expected.as_object().unwrap() {
        match part.as_str() {
            "query" => assert_eq!(sent.query, expected.as_str().unwrap(), "{called}"),
            "path" => assert_eq!(sent.path, expected.as_str().unwrap(), "{called}"),
            "body" => {
                for (key, value) in expected.as_object().unwrap() {
                    assert_eq!(sent.json()[key], *value, "{called}");
                }
            }
            header => assert_eq!(
                sent.header(header).trim_matches('"'),
                expected.as_str().unwrap(),
                "{called}"
            ),
        }
    }
}

async fn a_null_optional_counts_as_omitted() {
    let client = Client::modern(&shared().acme);
    for tool in listed(&client).await {
        let required = names(&tool["inputSchema"]["required"]);
        let mut arguments = entities_arguments(&tool);
        let plain = arguments.clone();
        for name in tool["inputSchema"]["properties"]
            .as_object()
            .unwrap()
            .keys()
        {
            if !required.contains(name) && plain.get(name).is_none() {
                arguments[name] = Value::Null;
            }
        }
        // A parent may be left out of an update, but then another request is sent first.
        let sent = async |arguments: Value| {
            let seen = client.traffic().await.operations().len();
            client.call(tool["name"].as_str().unwrap(), arguments).await;
            let traffic = client.traffic().await;
            let sent: Vec<_> = traffic
                .operations()
                .split_off(seen)
                .into_iter()
                .cloned()
                .collect();
            sent
        };
        let (with_nulls, without_them) = (sent(arguments).await, sent(plain).await);
        assert_eq!(with_nulls.len(), without_them.len(), "{}", tool["name"]);
        for (one, other) in with_nulls.iter().zip(&without_them) {
            let made = one.method == Method::POST;
            let body = |record: &Record| entities::without(&record.json(), &["uid"]);
            assert!(
                made || one.line() == other.line(),
                "{} {}",
                one.line(),
                other.line()
            );
            assert!(
                one.body.is_empty() && other.body.is_empty() || body(one) == body(other),
                "{}",
                tool["name"]
            );
        }
    }
}

async fn patch_accepts_nulls_and_unknown_fields() {
    let client = Client::modern(&shared().acme);
    let note = client
        .call(
            "create_note",
            json!({"title": "t", "content": "c", "tags": ["x"]}),
        )
        .await
        .ok();
    let updates = json!({"tags": null, "colour": {"r": 255}, "Ünïcode key": [1, "two"]});
    let item = client
        .call(
            "patch_note",
            json!({"uid": note["uid"], "updates": updates}),
        )
        .await
        .ok();
    for (key, value) in updates.as_object().unwrap() {
        assert_eq!(item["payload"][key], *value);
    }
    client.traffic().await;
}

async fn listed(client: &Client<'_>) -> Vec<Value> {
    let list = client.ask("tools/list", json!({})).await.result();
    list["tools"].as_array().unwrap().clone()
}

fn names(list: &Value) -> Vec<String> {
    let names = list.as_array().into_iter().flatten();
    names
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

/// Arguments that a tool takes, from the table.
fn entities_arguments(tool: &Value) -> Value {
    let name = tool["name"].as_str().unwrap();
    match name {
        "search" | "overview" => return json!({}),
        "fetch" => return json!({"id": format!("note/{UID}")}),
        "history" | "restore" => return json!({"kind": "note", "uid": UID}),
        "batch" => return json!({"operations": [{"op": "archive", "kind": "note", "uid": UID}]}),
        "edit_text" => {
            return json!({"kind": "note", "uid": UID, "operation": "append", "text": "x"});
        }
        _ => {}
    }
    let found = entities::all().into_iter().find_map(|entity| {
        let operation = OPERATIONS
            .into_iter()
            .find(|operation| entity.tool(operation) == name)?;
        Some(entity.minimal_arguments(operation, UID, UID))
    });
    found.unwrap()
}

/// Whatever is wrong, it is said by the name of the argument, and nothing is sent.
async fn refused(caller: &impl ToolClient, tool: &str, arguments: Value, argument: &str) -> Value {
    let called = caller.call(tool, arguments).await;
    let error = called.failed("validation", "invalid_argument");
    assert_eq!(error["details"]["argument"], argument, "{called}");
    assert_eq!(error["retryable"], false, "{called}");
    assert!(
        error["message"].as_str().unwrap().contains(argument),
        "{called}"
    );
    assert!(
        error["suggested_action"].as_str().unwrap().contains(tool),
        "{called}"
    );
    error
}

async fn nothing_was_sent(client: &impl ToolClient) {
    // What was sent too late to be seen would be seen beside this call.
    client.call("list_notes", json!({})).await.ok();
    let traffic = client.traffic().await;
    assert_eq!(
        traffic.lines(),
        ["open", "GET /v1/notes?limit=50&order=newest", "end"],
        "{traffic}"
    );
}

/// For every argument of every tool: what its schema does not let through.
async fn names_the_argument_that_violates_the_schema() {
    let client = Client::modern(&shared().acme);
    let mut tried = 0;
    for tool in listed(&client).await {
        let name = tool["name"].as_str().unwrap();
        let right = entities_arguments(&tool);
        let valid = jsonschema::draft202012::new(&tool["inputSchema"]).unwrap();
        assert!(valid.is_valid(&right), "{name} {right}");

        let error = refused(
            &client,
            name,
            with(&right, &json!({"wholly_unknown": 1})),
            "wholly_unknown",
        )
        .await;
        let properties: &Map<_, _> = tool["inputSchema"]["properties"].as_object().unwrap();
        let known: Vec<_> = properties.keys().map(String::as_str).collect();
        assert_eq!(error["details"]["allowed"], json!(known), "{name}");
        for required in names(&tool["inputSchema"]["required"]) {
            refused(
                &client,
                name,
                entities::without(&right, &[&required]),
                &required,
            )
            .await;
            refused(
                &client,
                name,
                with(&right, &json!({(&required): null})),
                &required,
            )
            .await;
        }
        for (argument, schema) in properties {
            for wrong in wrong_values(schema) {
                let arguments = with(&right, &json!({(argument): wrong}));
                assert!(
                    !valid.is_valid(&arguments),
                    "the schema lets {arguments} through"
                );
                refused(&client, name, arguments, argument).await;
                tried += 1;
            }
        }
    }
    assert!(tried > 400, "only {tried}");
    nothing_was_sent(&client).await;
}

fn wrong_values(schema: &Value) -> Vec<Value> {
    match schema["type"].as_str().unwrap() {
        "string" if schema.get("enum").is_some() => {
            vec![json!("nonsense"), json!(""), json!(7), json!(["a"])]
        }
        "string" => vec![json!(7), json!(true), json!({"a": 1}), json!(["a"])],
        "boolean" => vec![json!("yes"), json!(1), json!({}), json!([])],
        "integer" => {
            let mut wrong = vec![
                json!(schema["minimum"].as_i64().unwrap() - 1),
                json!(-1),
                json!(1.5),
                json!(true),
                json!({}),
                json!([]),
            ];
            wrong.extend(schema["maximum"].as_u64().map(|most| json!(most + 1)));
            wrong
        }
        "array" => vec![json!("a,b"), json!("{}"), json!(7), json!({"0": "a"})],
        "object" => vec![json!("not json"), json!("[1]"), json!(7), json!([["a", 1]])],
        other => unreachable!("an argument of type {other}"),
    }
}

async fn names_the_argument_that_violates_a_rule_of_the_tool() {
    let client = Client::modern(&shared().acme);
    let note = |more: Value| with(&json!({"title": "t", "content": "c"}), &more);
    let task = |more: Value| with(&json!({"title": "t"}), &more);
    let deep = (0..70).fold(json!(1), |inner, _| json!([inner]));
    for (tool, arguments, argument) in [
        // UIDs that are none.
        ("get_note", json!({"uid": ""}), "uid"),
        ("get_note", json!({"uid": "7"}), "uid"),
        ("get_note", json!({"uid": format!("{UID}/archive")}), "uid"),
        ("get_note", json!({"uid": "../tasks"}), "uid"),
        (
            "create_chat_message",
            json!({"chat_uid": "x", "content": "c"}),
            "chat_uid",
        ),
        // Times that are none.
        (
            "create_task",
            task(json!({"due_date": "tomorrow"})),
            "due_date",
        ),
        (
            "create_task",
            task(json!({"due_date": "2027-02-30"})),
            "due_date",
        ),
        (
            "create_task",
            task(json!({"due_date": "2027-02-03T25:00:00Z"})),
            "due_date",
        ),
        (
            "patch_task",
            json!({"uid": UID, "updates": {"due_date": "soon"}}),
            "updates.due_date",
        ),
        // Lists that hold something else.
        ("create_note", note(json!({"tags": ["a", 7]})), "tags[1]"),
        ("create_note", note(json!({"tags": "[1]"})), "tags[0]"),
        // Nothing to do.
        ("patch_note", json!({"uid": UID, "updates": {}}), "updates"),
        (
            "patch_note",
            json!({"uid": UID, "updates": "{}"}),
            "updates",
        ),
        ("list_notes", json!({"cursor": ""}), "cursor"),
        // Two places for one thing.
        (
            "create_note",
            note(json!({"additional_fields": {"title": "x"}})),
            "additional_fields.title",
        ),
        (
            "create_task",
            task(json!({"additional_fields": {"dueDate": "2027-01-01"}})),
            "additional_fields.dueDate",
        ),
        (
            "create_task",
            task(json!({"additional_fields": {"due_date": "2027-01-01"}})),
            "additional_fields.due_date",
        ),
        (
            "patch_task",
            json!({"uid": UID, "updates": {"due_date": "2027-01-01", "dueDate": "2027-01-02"}}),
            "updates.dueDate",
        ),
        // What only the server writes.
        (
            "create_note",
            note(json!({"additional_fields": {"uid": UID}})),
            "additional_fields.uid",
        ),
        (
            "create_note",
            note(json!({"additional_fields": {"sync": {}}})),
            "additional_fields.sync",
        ),
        (
            "update_note",
            note(json!({"uid": UID, "additional_fields": {"sync": {}}})),
            "additional_fields.sync",
        ),
        (
            "patch_note",
            json!({"uid": UID, "updates": {"uid": UID}}),
            "updates.uid",
        ),
        (
            "patch_note",
            json!({"uid": UID, "updates": {"sync": {"version": 9}}}),
            "updates.sync",
        ),
        ("create_note", note(json!({"uid": UID})), "uid"),
        // A required field emptied.
        (
            "patch_note",
            json!({"uid": UID, "updates": {"title": null}}),
            "updates.title",
        ),
        (
            "patch_task",
            json!({"uid": UID, "updates": {"priority": "urgent"}}),
            "updates.priority",
        ),
        // Half a parent.
        (
            "update_comment",
            json!({"uid": UID, "content": "c", "parent_type": "note"}),
            "parent_uid",
        ),
        (
            "update_comment",
            json!({"uid": UID, "content": "c", "parent_uid": UID}),
            "parent_type",
        ),
        // Deeper than the API takes it.
        (
            "create_note",
            note(json!({"additional_fields": {"deep": deep}})),
            "additional_fields.deep",
        ),
        (
            "patch_note",
            json!({"uid": UID, "updates": {"deep": deep}}),
            "updates.deep",
        ),
    ] {
        refused(&client, tool, arguments, argument).await;
    }
    nothing_was_sent(&client).await;
}

async fn an_error_has_the_received_and_the_allowed_values() {
    let client = Client::modern(&shared().acme);
    let error = refused(
        &client,
        "create_task",
        json!({"title": "t", "priority": "urgent"}),
        "priority",
    )
    .await;
    assert_eq!(error["details"]["received"], "\"urgent\"");
    assert_eq!(
        error["details"]["allowed"],
        json!(["low", "medium", "high"])
    );
    let error = refused(&client, "list_notes", json!({"limit": 5000}), "limit").await;
    assert_eq!(error["details"]["received"], "5000");
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("from 1 to 1000"),
        "{error}"
    );
    let error = refused(
        &client,
        "process_note",
        json!({"uid": UID, "action": "resolve"}),
        "action",
    )
    .await;
    assert_eq!(
        error["details"]["allowed"],
        json!(["pin", "unpin", "archive", "unarchive"])
    );
    // The error for a misspelt argument names the right one.
    let error = refused(
        &client,
        "create_task",
        json!({"title": "t", "dueDate": "2027-01-01"}),
        "dueDate",
    )
    .await;
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("did you mean `due_date`?"),
        "{error}"
    );
    // What came is shown, not repeated in full, and cannot pass for words of ours.
    let error = refused(
        &client,
        "get_note",
        json!({"uid": format!("\"]}}{}", "z".repeat(10_000))}),
        "uid",
    )
    .await;
    assert!(error.to_string().len() < 1_000, "{error}");
    nothing_was_sent(&client).await;
}

async fn an_error_is_identical_in_every_era_and_over_stdio() {
    let said = |error: Value| entities::without(&error, &["correlation_id"]).to_string();
    let mut all = std::collections::BTreeSet::new();
    in_every_era(&shared().acme, async |client| {
        all.insert(said(
            refused(client, "get_note", json!({"uid": "x"}), "uid").await,
        ));
        nothing_was_sent(client).await;
    })
    .await;
    let stdio = StdioClient::start(&shared().acme, Era::Legacy("2024-11-05")).await;
    all.insert(said(
        refused(&stdio, "get_note", json!({"uid": "x"}), "uid").await,
    ));
    nothing_was_sent(&stdio).await;
    stdio.close().await;
    assert_eq!(all.len(), 1, "{all:?}");
}
