//! The tools that a server without a filter lists, by the snapshot of them.

/// The number of tools.
pub fn tool_count() -> usize {
    let surface = include_str!("../snapshots/tools.json");
    let surface: serde_json::Value = serde_json::from_str(surface).expect("a snapshot in JSON");
    surface["tools"].as_array().expect("a list of tools").len()
}
