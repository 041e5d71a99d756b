//! Bounds on connections, without a token and for each principal.

pub mod principal_limit;
pub mod unauthenticated_limit;
