//! HTTP middleware, one concern per file. [`service`](super::service) fixes the order.

pub mod authenticate;
pub mod correlation;
pub mod cors;
pub mod host_origin;
pub mod http_span;
pub mod scope_challenge;
pub mod tool_filter;
