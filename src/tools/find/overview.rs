//! `overview`: what there is, in counts.

use http::Method;
use serde_json::{Map, Value, json};

use super::{
    About, Tool, argument_error, malformed, objects, parse, read_request, reading_tool, refused,
};
use crate::api::Features;
use crate::api::request::Api;
use crate::entities::Kind;
use crate::foundation::json::Json;
use crate::tools::api_outage;
use crate::tools::api_outage::answered;
use crate::tools::argument::optional;
use crate::tools::coerce::Arguments;
use crate::tools::error::ToolError;
use crate::tools::key_case::snake_case_keys;
use crate::tools::schema::object;

pub const NAME: &str = "overview";

pub fn tool() -> Tool {
    let today = "Default: today in UTC.";
    let about = About {
        name: NAME,
        title: "Overview",
        description: "Counts items per kind and status, tasks overdue and due, unread messages per \
                      chat; latest changes, top tags. To list items, use search.",
    };
    reading_tool(
        about,
        vec![optional("today", Kind::DateTime, today)],
        output_schema(),
        Features::OVERVIEW,
    )
    .in_compact()
}

fn output_schema() -> Map<String, Value> {
    object([
        ("type", json!("object")),
        (
            "properties",
            json!({"today": {"type": "string"}, "kinds": objects()}),
        ),
        ("required", json!(["kinds"])),
    ])
}

pub async fn run<A: Api>(given: &Arguments<'_>, api: &A) -> Result<String, ToolError> {
    let today = given.get("today").and_then(Json::as_str);
    // The API takes a date. Of a time, the date as written counts.
    let today = today.and_then(|today| Some(("today", today.get(..10)?.to_owned())));
    let path = "/v1/overview".to_owned();
    let request = read_request(Method::GET, path, today.into_iter().collect());
    let reply = api.send(request).await;
    let reply = reply.map_err(|failure| api_outage::unanswered(failure, NAME))?;
    match reply.status {
        200 => {}
        400 => {
            let message = "The API does not accept this `today`.".to_owned();
            let remedy = "Call overview again with a date like 2026-03-01.".to_owned();
            return Err(answered(argument_error("today", message, remedy), &reply));
        }
        _ => return Err(refused(&reply, NAME)),
    }
    let answer = parse(&reply, NAME)?;
    if !answer.member("kinds").is_some_and(Json::is_array) {
        return Err(malformed(NAME, "an overview without kinds"));
    }
    let mut text = String::with_capacity(reply.body.len());
    snake_case_keys(answer, &mut text);
    Ok(text)
}
