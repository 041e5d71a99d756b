//! What answers at each path.

pub mod health;
pub mod landing;
pub mod mcp_post;
pub mod metrics_server;
pub mod router;
