//! `search`: a full-text search over all items.

use bytes::Bytes;
use http::Method;
use serde_json::{Map, Value, json};

use super::{
    About, Tool, argument_error, malformed, objects, parse, read_request, reading_tool, refused,
};
use crate::api::Features;
use crate::api::request::{Api, Reply};
use crate::entities;
use crate::entities::Kind;
use crate::foundation::json::Json;
use crate::foundation::printable::is_unprintable;
use crate::tools::api_error_body::ApiErrorBody;
use crate::tools::api_outage;
use crate::tools::api_outage::answered;
use crate::tools::argument::{Argument, optional};
use crate::tools::coerce::Arguments;
use crate::tools::entities::Payload;
use crate::tools::error::ToolError;
use crate::tools::key_case::{camel_case, snake_case_keys};
use crate::tools::result::Limits;
use crate::tools::schema::object;

pub const NAME: &str = "search";

/// The longest explanation of a query's error that is passed on.
const MAX_EXPLANATION: usize = 200;

fn arguments() -> Vec<Argument> {
    let text = |name, description| optional(name, Kind::Token { max: 4096 }, description);
    let time = |name, description| optional(name, Kind::DateTime, description);
    let choice = |name, words, description| optional(name, Kind::Choice(words), description);
    let limit = Kind::Integer {
        min: 0,
        max: Some(50),
    };
    vec![
        text(
            "query",
            "All words must match; \"a phrase\", OR, -word, pre*, (). Without it, filters alone.",
        ),
        optional(
            "kinds",
            Kind::Choices(entities::keys()),
            "Only these kinds.",
        ),
        optional(
            "parent_uid",
            Kind::Uid,
            "Comments of an item, messages of a chat.",
        ),
        optional("tags", Kind::Texts, "All of them must be there."),
        text("status", "Exact match."),
        text("priority", "Exact match."),
        time("updated_after", "Date or time, included."),
        time("updated_before", "Date or time, excluded."),
        time("due_after", "Date or time, included."),
        time("due_before", "Date or time, excluded."),
        optional("include_archived", Kind::Flag, "Also archived."),
        choice(
            "deleted",
            &["exclude", "only", "include"],
            "Default exclude.",
        ),
        choice(
            "order",
            &["relevance", "newest", "oldest", "due"],
            "Default: relevance with a query, else newest.",
        ),
        choice(
            "group_by",
            &["kind", "status", "priority", "tag", "parent", "month"],
            "Adds counts of all matches.",
        ),
        choice(
            "detail",
            &["snippet", "passage"],
            "Text around a match; default snippet.",
        ),
        optional("limit", limit, "Most results; 0 only counts.").with_default(10),
        text("cursor", "next_cursor from before."),
    ]
}

pub fn tool() -> Tool {
    let about = About {
        name: NAME,
        title: "Search",
        description: "Searches the whole text of all items, or lists and counts them by filters. \
                      To read a result, use fetch.",
    };
    reading_tool(about, arguments(), output_schema(), Features::SEARCH).in_compact()
}

fn output_schema() -> Map<String, Value> {
    object([
        ("type", json!("object")),
        (
            "properties",
            json!({
                "results": objects(), "total": {"type": "integer"},
                "next_cursor": {"type": "string"},
            }),
        ),
        ("required", json!(["results", "total"])),
    ])
}

pub async fn run<A: Api>(
    given: &Arguments<'_>,
    api: &A,
    limits: &Limits,
) -> Result<String, ToolError> {
    let page = send(body(given, None), api).await?;
    let Some(fitting) = fitting(&page, limits) else {
        return Ok(page);
    };
    // Only the API knows the cursor of the results after those that fit.
    let shorter = send(body(given, Some(fitting)), api).await;
    Ok(shorter.unwrap_or(page))
}

/// The number of leading results that fit into a page, if this page has more.
fn fitting(page: &str, limits: &Limits) -> Option<u64> {
    let json = Json::trusted(page);
    let results = json.member("results")?.elements();
    let sizes: Vec<_> = results.map(|result| result.get().len()).collect();
    limits.fitting(&sizes, page.len(), json.member("next_cursor").is_some())
}

async fn send<A: Api>(body: Bytes, api: &A) -> Result<String, ToolError> {
    let mut request = read_request(Method::POST, "/v1/search".to_owned(), Vec::new());
    request.body = Some(body);
    let reply = api.send(request).await;
    let reply = reply.map_err(|failure| api_outage::unanswered(failure, NAME))?;
    match reply.status {
        200 => {}
        400 | 422 => return Err(rejected(&reply)),
        _ => return Err(refused(&reply, NAME)),
    }
    let answer = parse(&reply, NAME)?;
    let results = answer
        .member("results")
        .filter(|results| results.is_array());
    let total = answer.member("total").and_then(Json::as_u64);
    if results.is_none() || total.is_none() {
        return Err(malformed(NAME, "a search without results or total"));
    }
    let mut text = String::with_capacity(reply.body.len());
    snake_case_keys(answer, &mut text);
    Ok(text)
}

/// The arguments under the API's names, which are theirs in camel case. `limit` replaces that of
/// the arguments.
fn body(given: &Arguments<'_>, limit: Option<u64>) -> Bytes {
    let mut body = Payload::default();
    for (name, value) in given.iter() {
        if name != "limit" || limit.is_none() {
            body.push(&camel_case(name), value);
        }
    }
    if let Some(limit) = limit {
        body.push("limit", Json::trusted(&limit.to_string()));
    }
    body.finish().unwrap_or_else(|| Bytes::from_static(b"{}"))
}

/// The error for arguments that the API rejected: a query that cannot be read, or a cursor of
/// another search.
fn rejected(reply: &Reply) -> ToolError {
    let body = ApiErrorBody::of(reply);
    let field = body.field.as_deref().unwrap_or_default();
    let mut names = arguments().into_iter().map(|argument| argument.name);
    let Some(name) = names.find(|name| camel_case(name) == field) else {
        return refused(reply, NAME);
    };
    let error = match name {
        "cursor" => argument_error(
            name,
            "The API does not accept this `cursor`.".to_owned(),
            "Search again without cursor, and with the same other arguments for the pages after."
                .to_owned(),
        ),
        // The contract lets the API explain what is wrong with a query, because no other text can.
        "query" => argument_error(
            name,
            explanation(&body.reason),
            "Correct the query, or put the text into quotation marks.".to_owned(),
        ),
        _ => argument_error(
            name,
            format!("The API does not accept this `{name}`."),
            format!("Search again with another {name}."),
        ),
    };
    answered(error, reply)
}

/// The API's explanation of what is wrong with a query, as a sentence of limited length.
fn explanation(reason: &str) -> String {
    let reason = reason.strip_prefix("query: ").unwrap_or(reason);
    let shown = reason.chars().filter(|c| !is_unprintable(*c));
    let short: String = shown.take(MAX_EXPLANATION).collect();
    let short = short.trim_end_matches('.');
    // The API's words continue a sentence that begins with the query, or are one themselves.
    match short.split(' ').next() {
        Some("has" | "holds" | "is") => format!("The query {short}."),
        _ => format!("The query cannot be read: {short}."),
    }
}
