//! Tests of the list of tools, as clients see it.

use std::collections::HashSet;

use super::*;

fn every_listed_tool(features: Features) -> impl Iterator<Item = ListedTool> {
    let toolsets = crate::tools::all(Limits::default());
    toolsets
        .into_iter()
        .flat_map(move |toolset| toolset.list(features))
}

/// Every tool that is offered to a client that names no toolset, if the API has all features.
pub(super) fn every_tool() -> Vec<Value> {
    let offered = every_listed_tool(Features::ALL).filter(|tool| !tool.only_if_named);
    offered.map(|listed| json!(listed.tool)).collect()
}

#[test]
fn lists_the_product_in_a_stable_order() {
    let nouns = [
        ("notes", "note"),
        ("tasks", "task"),
        ("comments", "comment"),
        ("chats", "chat"),
        ("chat_messages", "chat_message"),
    ];
    let expected: Vec<_> = nouns
        .iter()
        .flat_map(|(many, one)| {
            let others = [
                "get", "create", "update", "patch", "delete", "archive", "process",
            ];
            [format!("list_{many}")]
                .into_iter()
                .chain(others.map(|verb| format!("{verb}_{one}")))
        })
        .collect();
    let names: Vec<_> = catalogue().specs().map(|spec| spec.name.clone()).collect();
    assert_eq!(names, expected);
}

#[test]
fn every_tool_is_found_by_its_name() {
    let catalogue = catalogue();
    for spec in catalogue.specs() {
        assert_eq!(catalogue.get(&spec.name).unwrap().spec.name, spec.name);
    }
    assert!(catalogue.get("list_note").is_none());
}

#[test]
fn hints_match_the_operation() {
    for spec in catalogue().specs() {
        let verb = spec.name.split('_').next().unwrap();
        let (read_only, destructive, idempotent) = match verb {
            "list" | "get" => (true, false, true),
            "create" => (false, false, false),
            "update" | "patch" | "delete" => (false, true, true),
            "process" | "archive" => (false, false, true),
            other => panic!("no hints for {other}"),
        };
        let expected = Hints {
            read_only,
            destructive,
            idempotent,
            open_world: false,
        };
        assert_eq!(spec.hints, expected, "{}", spec.name);

        let served = json!({
            "title": spec.title,
            "readOnlyHint": read_only,
            "destructiveHint": destructive,
            "idempotentHint": idempotent,
            "openWorldHint": false,
        });
        let entry = json!(ListedTool::from(spec).tool);
        assert_eq!(entry["annotations"], served, "{}", spec.name);
    }
}

/// Directories of clients refuse tools whose title or hints are left to defaults.
#[test]
fn every_tool_spells_out_its_title_and_hints() {
    for tool in every_listed_tool(Features::ALL).map(|listed| json!(listed.tool)) {
        let annotations = &tool["annotations"];
        let title = tool["title"].as_str();
        assert!(title.is_some_and(|title| !title.is_empty()), "{tool}");
        assert_eq!(annotations["title"].as_str(), title, "{tool}");
        for hint in [
            "readOnlyHint",
            "destructiveHint",
            "idempotentHint",
            "openWorldHint",
        ] {
            assert!(annotations[hint].is_boolean(), "{}: {hint}", tool["name"]);
        }
        if annotations["readOnlyHint"] == true {
            assert_eq!(annotations["destructiveHint"], false, "{}", tool["name"]);
        }
    }
}

/// The limit of 200 characters is that of ChatGPT's directory.
#[test]
fn descriptions_have_at_most_200_characters() {
    let tools = every_listed_tool(Features::ALL).chain(every_listed_tool(Features::NONE));
    for tool in tools.map(|listed| json!(listed.tool)) {
        let length = tool["description"].as_str().unwrap().chars().count();
        assert!(length <= 200, "{}: {length} characters", tool["name"]);
    }
}

#[test]
fn entries_have_the_keys_of_tools_list() {
    for spec in catalogue().specs() {
        let entry = args(json!(ListedTool::from(spec).tool));
        let mut keys: Vec<_> = entry.keys().map(String::as_str).collect();
        if spec.hints.read_only {
            assert_eq!(keys.pop(), Some("_meta"), "{}", spec.name);
        }
        assert_eq!(
            keys,
            [
                "name",
                "title",
                "description",
                "inputSchema",
                "outputSchema",
                "annotations"
            ],
            "{}",
            spec.name
        );
    }
}

/// The size of the list of tools as served, and the size of the part that a model reads: names,
/// descriptions and input schemas.
pub(super) fn sizes() -> (usize, usize) {
    let tools = every_tool();
    let served = json!({ "tools": tools }).to_string().len();
    let read = ["name", "description", "inputSchema"];
    let read_by_models = tools
        .iter()
        .flat_map(|tool| read.map(|key| tool[key].to_string().len()));
    (served, read_by_models.sum())
}

/// The list is part of the model's context in every turn, so each byte has a recurring cost.
#[test]
fn the_list_stays_within_its_budget() {
    let (served, read_by_models) = sizes();
    assert!(served <= 44_000, "{served} bytes");
    assert!(read_by_models <= 26_000, "{read_by_models} bytes");
}

#[test]
fn descriptions_are_short_and_name_a_sibling() {
    let catalogue = catalogue();
    for spec in catalogue.specs() {
        let sentences = spec.description.matches(". ").count() + 1;
        assert!(sentences <= 3, "{}: {sentences} sentences", spec.name);
        assert!(spec.description.ends_with('.'), "{}", spec.name);
        let siblings = catalogue
            .specs()
            .filter(|other| other.name != spec.name && other.toolset == spec.toolset);
        let words: HashSet<_> = spec
            .description
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .collect();
        let named = siblings
            .filter(|other| words.contains(other.name.as_str()))
            .count();
        assert!(named > 0, "{} names no sibling", spec.name);
        for word in words.iter().filter(|word| word.contains('_')) {
            let is_tool = catalogue.get(word).is_some();
            let verb = [
                "list_", "get_", "create_", "update_", "patch_", "delete_", "archive_", "process_",
            ]
            .iter()
            .any(|verb| word.starts_with(verb));
            assert!(
                is_tool || !verb,
                "{} sends the model to {word}, which does not exist",
                spec.name
            );
        }
    }
}

#[test]
fn schemas_are_flat_and_every_argument_is_described() {
    const FORBIDDEN: [&str; 8] = [
        "$ref",
        "$defs",
        "definitions",
        "anyOf",
        "oneOf",
        "allOf",
        "not",
        "format",
    ];
    fn walk(at: &str, schema: &Value) {
        let Some(members) = schema.as_object() else {
            return;
        };
        for (key, value) in members {
            assert!(!FORBIDDEN.contains(&key.as_str()), "{at}: {key}");
            assert!(
                key != "type" || value.is_string() || value.is_object(),
                "{at}: a list of types"
            );
            walk(&format!("{at}.{key}"), value);
        }
        if members.get("type") == Some(&json!("array")) {
            assert!(members["items"]["type"].is_string(), "{at}: untyped items");
        }
    }
    for tool in every_listed_tool(Features::ALL).map(|listed| json!(listed.tool)) {
        let tool_name = tool["name"].as_str().unwrap();
        for schema in [&tool["inputSchema"], &tool["outputSchema"]] {
            assert_eq!(schema["type"], "object", "{tool_name}");
            walk(tool_name, schema);
            let valid = jsonschema::draft202012::meta::validate(schema);
            assert!(valid.is_ok(), "{tool_name}");
        }
        let input = &tool["inputSchema"];
        assert_eq!(input["additionalProperties"], false, "{tool_name}");
        for (name, argument) in input["properties"].as_object().unwrap() {
            assert!(argument["type"].is_string(), "{tool_name}.{name}");
            let description = argument["description"].as_str();
            assert!(
                description.is_some_and(|text| text.len() > 6),
                "{tool_name}.{name}"
            );
        }
    }
}

/// The list of tools is a contract with every client, so each change must be deliberate.
/// `UPDATE_SNAPSHOTS=1 cargo test --lib surface` writes the file, and the diff is reviewed.
#[test]
fn the_surface_matches_the_committed_snapshot() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots/tools.json");
    let tools = every_tool();
    let surface = serde_json::to_string_pretty(&json!({ "tools": tools })).unwrap() + "\n";
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(path, &surface).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    let changed = surface
        .lines()
        .zip(committed.lines())
        .find(|(now, then)| now != then);
    assert!(
        surface == committed,
        "tests/snapshots/tools.json is out of date; first difference: {changed:?}"
    );
}
