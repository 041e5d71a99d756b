//! The checks that stand before a path, one concern per file. [`service`](super::service) calls them in their order.

pub mod authenticate;
pub mod correlation;
pub mod cors;
pub mod host_origin;
pub mod http_span;
pub mod scope_challenge;
pub mod tool_filter;
