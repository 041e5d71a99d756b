//! Checks that `docs/TOOLS.md`, which is written by hand, documents every name in the code.

use super::*;

pub(super) const PAGE: &str = include_str!("../../../docs/TOOLS.md");

pub(super) fn explains(word: &str) -> bool {
    PAGE.contains(&format!("`{word}`"))
}

#[test]
fn tools_arguments_and_actions_are_documented() {
    for tool in surface::every_tool() {
        let tool_name = tool["name"].as_str().unwrap();
        assert!(explains(tool_name), "{tool_name}");
        for (name, argument) in tool["inputSchema"]["properties"].as_object().unwrap() {
            assert!(explains(name), "{tool_name}.{name}");
            let choices = argument.get("enum").and_then(Value::as_array);
            for choice in choices.into_iter().flatten().filter(|_| name == "action") {
                let choice = choice.as_str().unwrap();
                assert!(explains(choice), "{tool_name}: {choice}");
            }
        }
    }
}

#[test]
fn details_are_documented() {
    let full = Details {
        status: Some(1),
        argument: Some(String::new()),
        received: Some(String::new()),
        allowed: vec![String::new()],
        uid: Some(String::new()),
        expected_version: Some(1),
        actual_version: Some(1),
        deleted_at: Some(String::new()),
        limit: Some(1),
        size_bytes: Some(1),
        max_bytes: Some(1),
    };
    for key in args(json!(full)).keys() {
        assert!(explains(key), "{key}");
    }
}

/// Checks the reverse: the code contains every error code that the page documents.
#[test]
fn documented_codes_can_occur() {
    let sources = [
        include_str!("../entities/api_error.rs"),
        include_str!("../error.rs"),
        include_str!("../api_outage.rs"),
        include_str!("../write_errors.rs"),
        include_str!("../find/fetch.rs"),
        include_str!("../edit/item.rs"),
    ];
    let (_, table) = PAGE.split_once("| category | code |").unwrap();
    let codes: Vec<_> = table
        .lines()
        .skip(2)
        .take_while(|row| row.starts_with('|'))
        .flat_map(|row| row.split('|').nth(2).unwrap().split('`').skip(1).step_by(2))
        .collect();
    assert!(codes.len() > 20, "{codes:?}");
    for code in codes {
        let of_an_entity = crate::entities::ALL.iter().any(|entity| {
            [
                format!("{}_not_found", entity.key),
                format!("{}_deleted", entity.key),
            ]
            .contains(&code.into())
        });
        let made = sources
            .iter()
            .any(|source| source.contains(&format!("\"{code}\"")));
        assert!(
            made || of_an_entity,
            "docs/TOOLS.md knows {code}, the code does not"
        );
    }
}

#[test]
fn the_documented_sizes_are_the_measured_ones() {
    let grouped = |bytes: usize| format!("{},{:03}", bytes / 1000, bytes % 1000);
    let (served, read_by_models) = surface::sizes();
    let both = format!(
        "({} and {} at the time of writing)",
        grouped(served),
        grouped(read_by_models)
    );
    assert!(PAGE.contains(&both), "docs/TOOLS.md says otherwise: {both}");
}
