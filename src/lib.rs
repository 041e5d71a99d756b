//! ToolBridge MCP: forty tools over a tenant's notes, tasks, comments, chats and chat messages.
//!
//! A call walks through the house in one direction:
//!
//! [`transport`] turns bytes into JSON-RPC, [`auth`] turns the token into a principal, [`mcp`] turns the method
//! into a tool, [`tools`] turns the arguments into requests that an [`entities`] row describes, and
//! [`upstream`] opens a session at the Go API, signs, sends, and ends the session off the critical path. The answer
//! comes back as an item, a page or an error.
//!
//! No room reaches over its neighbour: `tools` knows nothing of HTTP clients or tokens, `upstream` nothing of tools
//! or JSON-RPC, `auth` nothing of MCP. [`clients`] says how programs that speak MCP are connected, and [`page`] shows
//! it to people at `/`. [`config`] is read once, in [`cli`]; [`telemetry`] names what is logged.
//!
//! [`connect`] and [`doctor`] stand apart: they are clients, one from a pipe to a server like this one, the other to say
//! what is wrong with a server and its API.

// Only the binary's way in is public, so that the compiler finds what nobody uses.
mod auth;
pub mod cli;
mod clients;
mod config;
mod connect;
mod doctor;
mod entities;
mod foundation;
mod loops;
mod mcp;
mod page;
mod printable;
mod telemetry;
mod tools;
mod transport;
mod upstream;

// What the conformance suite is run against: the transport with another server behind it.
#[cfg(feature = "conformance")]
#[path = "../tests/conformance/fixture/mod.rs"]
pub mod fixture;

// What the benchmarks measure by itself.
#[cfg(feature = "pieces")]
#[path = "../benches/pieces.rs"]
pub mod pieces;

// What fuzzing feeds, and what has to hold then. The tests feed it with what fuzzing has left behind.
#[cfg(any(test, feature = "pieces"))]
#[path = "../fuzz/targets/mod.rs"]
pub mod hostile;
