//! Types and functions that several modules share.

pub mod bounded_body;
pub mod clock;
pub mod deadline;
pub mod http_client;
pub mod json;
pub mod memory_budget;
pub mod parse;
pub mod platform;
pub mod printable;
pub mod secret;

#[cfg(any(test, feature = "internals"))]
#[path = "../../fuzz/targets/json.rs"]
pub mod hostile_json;
