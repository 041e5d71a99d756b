//! The forty tools: they turn a name and arguments into API requests, and the API's responses into
//! a result or an error.
//!
//! [`Catalogue`] is the product of [`crate::entities`] and `Operation`, built once. A call takes
//! two steps, so that nothing is sent if the arguments are invalid: [`Catalogue::prepare`]
//! validates the arguments and returns a `Plan`, and running the plan sends its requests through
//! an [`Api`](crate::api::request::Api) and interprets the responses.
//!
//! Each argument is one table row, from which both its schema and its validation are derived. This
//! module does not depend on HTTP clients, tokens, sessions or JSON-RPC.

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
