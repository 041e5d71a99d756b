//! JSON-RPC messages, whichever transport they come by.

pub mod structured_content;
pub mod validate;
