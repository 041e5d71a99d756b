//! ToolBridge MCP: an MCP server over a tenant's notes, tasks, comments, chats and chat messages.
//!
//! The path of a tool call:
//!
//! - [`server`] turns bytes into a JSON-RPC message, over HTTP, event streams or stdio;
//! - [`auth`] turns the token into a principal;
//! - [`mcp`] decides which tool may be called, and runs the call;
//! - [`tools`] turns its arguments into requests that an [`entities`] row describes;
//! - [`api`] opens a session at the REST API, signs, sends, and ends the session in the background.
//!
//! `tools` does not depend on HTTP clients or tokens, `api` not on tools or JSON-RPC, `auth` not on
//! MCP. [`config`] is read once, in [`cli`]. [`telemetry`] holds the log, metrics, traces and the
//! audit trail, [`foundation`] what several modules need.
//!
//! [`clients`] describes how MCP clients are connected, and [`page`] shows it at `/`. [`connect`],
//! a bridge from stdio to a remote server, and [`doctor`], which diagnoses a deployment, are
//! clients.

// Only the binary's way in is public, so that the compiler finds dead code.
mod api;
#[cfg(test)]
mod architecture;
mod auth;
pub mod cli;
mod clients;
mod config;
mod connect;
mod doctor;
mod entities;
mod foundation;
mod mcp;
mod page;
mod server;
mod telemetry;
mod tools;
mod workers;

// What the conformance suite is run against: the HTTP side with another handler behind it.
#[cfg(feature = "conformance")]
#[path = "../tests/conformance/fixture/mod.rs"]
pub mod fixture;

// What the micro benchmarks measure.
#[cfg(feature = "internals")]
#[path = "../benches/micro_cases.rs"]
pub mod micro_cases;

// Fuzz targets. The tests feed them with the corpus.
#[cfg(any(test, feature = "internals"))]
#[path = "../fuzz/targets/mod.rs"]
pub mod hostile;
