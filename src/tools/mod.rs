//! The forty tools: from a name and arguments to requests, and from the API's answers to a result or an error.
//!
//! [`Catalogue`] is the product of [`crate::entities`] and [`Operation`], built once. A call takes two steps, so that
//! a refused call sends nothing: [`Catalogue::prepare`] checks the arguments and yields a [`Plan`], and [`Plan::run`]
//! sends its requests through an [`Api`](crate::api::request::Api) and reads what comes back.
//!
//! The trick is that every argument is one table row, from which its schema and its check both follow. Nothing here
//! knows of HTTP clients, tokens, sessions or JSON-RPC.

mod api_error;
mod api_error_body;
mod api_outage;
mod argument;
mod argument_error;
mod catalogue;
mod coerce;
mod description;
mod error;
mod execute;
mod json_text;
mod operation;
mod parent;
mod payload;
mod plan;
mod result;
mod rfc3339;
mod schema;
mod spec;

pub use catalogue::Catalogue;
pub use error::ToolError;
pub use execute::Progress;
pub use result::{Limits, value_of};
#[cfg(feature = "pieces")]
pub use result::{read_item, read_page};
pub use spec::{Access, ToolSpec};

#[cfg(any(test, feature = "pieces"))]
#[path = "../../fuzz/targets/answers.rs"]
pub mod hostile_answers;
#[cfg(any(test, feature = "pieces"))]
#[path = "../../fuzz/targets/arguments.rs"]
pub mod hostile_arguments;
#[cfg(test)]
mod tests;
