//! What the program says about itself while it runs: its log, its figures ([`metrics`]), its [`traces`] and, where it is
//! wanted, its [`audit`] trail. What runs in the background is [`supervised`].
//!
//! On a terminal the log is for people; elsewhere it is one JSON object per line, see [`json`]. A command that
//! answers on standard output logs to standard error; `serve` has nothing else to say and logs to standard output.
//! How much is logged can be changed while it runs, see [`level`].
//! Field names are constants in [`fields`]; a failure is logged once, at the boundary that decides what happens.
//!
//! # What must never be logged
//!
//! - tokens, or any part of one, and the `Authorization` header;
//! - the tenant secret, the HS256 secret, and signatures made with them;
//! - session ids of the API, cursors and sealed request states: whoever has one can use it;
//! - what tenants write: arguments of tools, payloads, titles, search words, items that the API answers with. The one
//!   exception is the shortened body of an answer that the contract does not know, which nobody could mend unseen;
//! - claims of a token other than `sub`; addresses and names of people;
//! - the environment, and URLs with a user name or a query.
//!
//! What may be: a tool's name, a method, a status, a size, a duration, a version, a UID, the tenant id, the subject,
//! the correlation id. Three things stand behind the rule. Secrets have a type that shows nothing. A field whose name
//! is in [`fields::FORBIDDEN`] is written as redacted. And libraries that log what they carry are held to
//! [`LIBRARIES`], whatever the filter says.

pub mod audit;
pub mod buffered_stdout;
pub mod fields;
pub mod json;
pub mod level;
pub mod metrics;
mod pretty;
pub mod tasks;
pub mod timestamp;
pub mod timings;
pub mod traces;

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use crate::config::{Log, LogFormat};

/// Libraries that print messages, headers or frames at lower levels, and the lowest level that they may speak at.
pub const LIBRARIES: &[(&str, LevelFilter)] = &[
    ("rmcp", LevelFilter::WARN),
    // Cries ERROR over each caller that hangs up, which the call's own line tells already.
    ("rmcp::service", LevelFilter::OFF),
    ("h2", LevelFilter::INFO),
    ("hyper", LevelFilter::INFO),
    ("hyper_util", LevelFilter::INFO),
    ("reqwest", LevelFilter::INFO),
    ("rustls", LevelFilter::INFO),
];

/// Where a log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    Stdout,
    Stderr,
}

/// Starts the log of this process. A second start changes nothing: the first one stays.
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
        Box::new(json::Lines::new(writer))
    };
    let layer = layer
        .with_filter(level::changeable(&log.level))
        .with_filter(libraries_held());
    if tracing_subscriber::registry()
        .with(layer)
        .try_init()
        .is_err()
    {
        tracing::debug!("the log was started before");
    }
}

fn libraries_held() -> Targets {
    Targets::new()
        .with_default(LevelFilter::TRACE)
        .with_targets(LIBRARIES.iter().copied())
}
