//! MCP over HTTP: the listener, the middleware and the routes.

pub mod drain_body;
pub mod fast_path;
pub mod in_flight;
pub mod limits;
pub mod listener;
pub mod middleware;
pub mod request_body;
pub mod response;
pub mod routes;
pub mod service;
