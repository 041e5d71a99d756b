//! What the tests are written with: real programs, a forwarder between them, clients, people, and a runner.

pub mod api;
pub mod client;
pub mod collector;
pub mod figures;
pub mod forwarder;
pub mod front;
pub mod place;
pub mod process;
pub mod runner;
pub mod stdio;
pub mod stream;
pub mod token;

pub use api::Api;
pub use client::{Called, Caller, Client, Era, Exchange};
pub use collector::Collector;
pub use figures::Figures;
pub use forwarder::{Forwarder, Gate, Mishap, Record, Stage, Traffic};
pub use front::{Certificate, Front, Manner};
pub use place::{Place, Ran, kept_port, new_trail, run};
pub use runner::{trial, trial_within, world};
pub use stdio::Piped;
pub use stream::Stream;
pub use token::{SECRETS, User};

/// Stands in every title and text that the suite makes up, so that none can get into a log unseen.
pub const CONTENT: &str = "quetzal";
