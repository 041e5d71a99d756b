//! Connection limits: for unauthenticated clients and for each principal.

pub mod principal_limit;
pub mod unauthenticated_limit;
