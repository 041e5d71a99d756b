//! What several modules need and none of them owns.

pub mod bounded_body;
pub mod http_client;
pub mod json;
pub mod memory_budget;

#[cfg(any(test, feature = "pieces"))]
#[path = "../../fuzz/targets/json.rs"]
pub mod hostile_json;
