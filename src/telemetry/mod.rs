//! Observability: the log, [`metrics`], [`traces`], the [`audit`] trail and supervised background
//! [`tasks`].
//!
//! The log is human-readable on a terminal and one JSON object per line elsewhere, see [`json`].
//! Commands that print a result on standard output log to standard error; `serve` logs to standard
//! output. The level can be changed while the program runs, see [`level`]. Field names are
//! constants in [`fields`]. A failure is logged once, at the boundary that decides what happens.
//!
//! # What must never be logged
//!
//! - tokens, or any part of one, and the `Authorization` header;
//! - the tenant secret, the HS256 secret, and signatures made with them;
//! - session ids of the API, cursors and sealed request states, since possession is enough to use
//!   them;
//! - content of tenants: tool arguments, payloads, titles, search terms, items in API responses.
//!   The one exception is the truncated body of a response that violates the API contract, which
//!   could not be diagnosed otherwise;
//! - claims of a token other than `sub`; addresses and names of people;
//! - the environment, and URLs with a user name or a query.
//!
//! Allowed: a tool's name, a method, a status, a size, a duration, a version, a UID, the tenant id,
//! the subject, the correlation id. Three safeguards back the rule. Secrets have a type that prints
//! nothing. A field whose name is in [`fields::FORBIDDEN`] is redacted. Libraries that log what
//! they carry are limited by [`LIBRARIES`], whatever the filter says.

pub mod audit;
pub mod buffered_stdout;
pub mod fields;
pub mod json;
pub mod level;
pub mod metrics;
mod pretty;
pub mod settings;
pub mod tasks;
pub mod timings;
pub mod traces;

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use settings::{Log, LogFormat};

/// Libraries that print messages, headers or frames at lower levels, and the most verbose level
/// that each may use.
pub const LIBRARIES: &[(&str, LevelFilter)] = &[
    ("rmcp", LevelFilter::WARN),
    // Logs an ERROR for each caller that disconnects, which the line of the call reports already.
    ("rmcp::service", LevelFilter::OFF),
    ("h2", LevelFilter::INFO),
    ("hyper", LevelFilter::INFO),
    ("hyper_util", LevelFilter::INFO),
    ("reqwest", LevelFilter::INFO),
    ("rustls", LevelFilter::INFO),
];

/// The stream that the log is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    Stdout,
    Stderr,
}

/// Starts the log of this process. A second start changes nothing.
pub fn start(log: &Log, destination: Destination, colour: bool) {
    let (terminal, writer) = match destination {
        Destination::Stdout => (
            std::io::stdout().is_terminal(),
            BoxMakeWriter::new(buffered_stdout::Stdout),
        ),
        Destination::Stderr => (
            std::io::stderr().is_terminal(),
            BoxMakeWriter::new(std::io::stderr),
        ),
    };
    let pretty = match log.format {
        LogFormat::Auto => terminal,
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let layer: Box<dyn Layer<Registry> + Send + Sync> = if pretty {
        Box::new(pretty::lines(writer, colour && terminal))
    } else {
        Box::new(json::JsonLayer::new(writer))
    };
    let layer = layer
        .with_filter(level::changeable(&log.level))
        .with_filter(library_limits());
    if tracing_subscriber::registry()
        .with(layer)
        .try_init()
        .is_err()
    {
        tracing::debug!("the log was started before");
    }
}

fn library_limits() -> Targets {
    Targets::new()
        .with_default(LevelFilter::TRACE)
        .with_targets(LIBRARIES.iter().copied())
}
