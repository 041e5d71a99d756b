//! What the tests are written with: real programs, a forwarder between them, clients, people, and a
//! runner.

pub mod api;
pub mod client;
pub mod collector;
pub mod forwarder;
pub mod metrics;
pub mod process;
mod rng;
pub mod runner;
pub mod server;
mod session_client;
pub mod sse_client;
pub mod stdio_client;
pub mod tls_proxy;
pub mod token;

pub use api::Api;
pub use client::{CallResult, Client, Era, HttpReply, ToolClient};
pub use collector::Collector;
pub use forwarder::{Fault, Forwarder, Gate, Record, Stage, Traffic};
pub use metrics::Metrics;
pub use rng::Rng;
pub use runner::{shared, trial, trial_within};
pub use server::{CommandOutput, Server, new_trail, reserved_port, run};
pub use session_client::SessionClient;
pub use sse_client::SseClient;
pub use stdio_client::StdioClient;
pub use tls_proxy::{Certificate, ProxySettings, TlsProxy};
pub use token::{SECRETS, User};

/// Stands in every title and text that the suite makes up, so that none can get into a log unseen.
pub const CONTENT: &str = "quetzal";
