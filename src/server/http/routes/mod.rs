//! The routes of the HTTP server.

pub mod health;
pub mod landing;
pub mod mcp_post;
pub mod metrics_server;
pub mod router;
