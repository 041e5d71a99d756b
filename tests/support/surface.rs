//! The tools that a server without a filter lists, by the snapshot of them.

#![allow(dead_code, reason = "each test program uses a part")]

/// The names of all tools.
fn names() -> Vec<String> {
    let surface = include_str!("../snapshots/tools.json");
    let surface: serde_json::Value = serde_json::from_str(surface).expect("a snapshot in JSON");
    let tools = surface["tools"].as_array().expect("a list of tools");
    let name = |tool: &serde_json::Value| tool["name"].as_str().expect("a name").to_owned();
    tools.iter().map(name).collect()
}

/// The number of tools beside an API that has every feature.
pub fn tool_count() -> usize {
    names().len()
}

/// The number of tools beside an API without features. Those that need a feature have names of one
/// word.
pub fn featureless_tool_count() -> usize {
    names().iter().filter(|name| name.contains('_')).count()
}
