//! What several modules need and none of them owns.

pub mod bounded_body;
pub mod http_client;
