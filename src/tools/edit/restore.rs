//! `restore`: brings back a deleted item, or an earlier version of one.

use bytes::Bytes;
use http::Method;
use serde_json::{Map, Value, json};

use super::NAME as TOOLSET;
use super::item::Item;
use crate::api::Features;
use crate::api::request::{Api, ApiError, Repeat, Request};
use crate::entities::{self, Kind};
use crate::foundation::json::Json;
use crate::tools::api_outage;
use crate::tools::argument::{Argument, optional, required};
use crate::tools::coerce::Arguments;
use crate::tools::error::{Category, ToolError};
use crate::tools::result::{self, Limits};
use crate::tools::schema::object;
use crate::tools::spec::Hints;
use crate::tools::tool::{About, Tool};

pub const NAME: &str = "restore";

pub fn tool() -> Tool {
    let about = About {
        name: NAME,
        title: "Restore",
        description: "Brings back a deleted item with its UID, or an earlier version as a new one. \
                      A restore can itself be undone. To find the version, use history.",
    };
    Tool::new(
        TOOLSET,
        Hints::writes(true, false),
        about,
        arguments(),
        output_schema(),
        Features::VERSIONS,
    )
}

fn arguments() -> Vec<Argument> {
    let version = Kind::Integer { min: 1, max: None };
    vec![
        required("kind", Kind::Choice(entities::keys()), "The kind of item."),
        required("uid", Kind::Uid, "The item's UID."),
        optional(
            "to_version",
            version,
            "Required unless the item is deleted.",
        ),
    ]
}

fn output_schema() -> Map<String, Value> {
    object([
        ("type", json!("object")),
        (
            "properties",
            json!({"uid": {"type": "string"}, "version": {"type": "integer"}}),
        ),
        ("required", json!(["uid", "version"])),
    ])
}

pub async fn run<A: Api>(
    given: &Arguments<'_>,
    api: &A,
    limits: &Limits,
) -> Result<String, ToolError> {
    let item = Item::of(given)?;
    let version = given.get("to_version").and_then(Json::as_u64);
    let body = version.map_or_else(
        || Bytes::from_static(b"{}"),
        |version| format!(r#"{{"toVersion":{version}}}"#).into(),
    );
    let request = Request {
        method: Method::POST,
        path: item.path("restore"),
        query: Vec::new(),
        body: Some(body),
        if_match: None,
        idempotency_key: None,
        // A second one would be refused, or be a version more.
        repeat: Repeat::Never,
    };
    let reply = api
        .send(request)
        .await
        .map_err(|failure| unanswered(failure, &item))?;
    match reply.status {
        200 => {}
        502 | 504 => {
            return Err(unknown_outcome(
                &item,
                "the confirmation was lost on the way",
            ));
        }
        _ => return Err(item.refused(&reply, NAME, version)),
    }
    // The item may be cut, so that its size is not reported as a failure.
    let read = result::item(&reply.body, item.entity, false, limits);
    read.map(|item| item.text).map_err(|error| {
        let mut told = unknown_outcome(&item, "the API's answer could not be read");
        told.log_only = Some(format!("{error:?}").into());
        told
    })
}

fn unanswered(failure: ApiError, item: &Item) -> ToolError {
    match failure {
        failure if failure.nothing_was_sent() => api_outage::unanswered(failure, NAME),
        ApiError::Cancelled => ToolError::new(
            Category::Timeout,
            "cancelled",
            "The call was cancelled.",
            format!("Look with {} how things are, if it matters.", item.check()),
        )
        .retryable(false),
        _ => unknown_outcome(item, "the API did not confirm it"),
    }
}

fn unknown_outcome(item: &Item, why: &str) -> ToolError {
    ToolError::new(
        Category::Unavailable,
        "unknown_outcome",
        format!("It is not known whether {NAME} took effect: {why}."),
        format!(
            "Look with {} whether it did before calling {NAME} again.",
            item.check()
        ),
    )
    .retryable(false)
    .details(|details| details.uid = Some(item.uid.clone()))
}
