//! JSON-RPC messages, for all transports.

pub mod structured_content;
pub mod validate;
