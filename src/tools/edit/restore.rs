//! `restore`: brings back a deleted item, or an earlier version of one.

use bytes::Bytes;
use http::Method;

use super::changing_tool;
use super::item::{self, Item, VERSION};
use crate::api::Features;
use crate::api::request::{Api, Repeat, Request};
use crate::foundation::json::Json;
use crate::tools::api_error_body::ApiErrorBody;
use crate::tools::api_outage::answered;
use crate::tools::argument::{Argument, optional};
use crate::tools::coerce::Arguments;
use crate::tools::destruction::{Act, Destruction, Effect};
use crate::tools::error::ToolError;
use crate::tools::result::{self, Limits};
use crate::tools::schema::written;
use crate::tools::standalone_tool::{About, Tool};
use crate::tools::toolset::Confirmed;

pub const NAME: &str = "restore";

pub fn tool() -> Tool {
    let about = About {
        name: NAME,
        title: "Restore",
        description: "Brings back a deleted item, or an earlier version as a new one. Can be \
                      undone too. To find the version, use history.",
    };
    changing_tool(about, arguments(), written(), Features::VERSIONS).in_compact()
}

fn arguments() -> Vec<Argument> {
    let description = "Required unless the item is deleted.";
    let version = optional("to_version", VERSION, description);
    item::arguments().into_iter().chain([version]).collect()
}

/// The version that would take the place of a newer one.
pub fn destruction(given: &Arguments<'_>) -> Option<Destruction> {
    let version = given.get("to_version").and_then(Json::as_u64)?;
    let item = Item::of(given).ok()?;
    let uid = item.uid.parse().ok();
    let act = Act {
        entity: item.entity,
        uid,
        effect: Effect::Replace(version),
    };
    Some(Destruction::of(act))
}

pub async fn run<A: Api>(
    given: &Arguments<'_>,
    api: &A,
    limits: &Limits,
    confirmed: Option<Confirmed>,
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
        if_match: confirmed.and_then(|confirmed| confirmed.version),
        idempotency_key: None,
        // A second one would be refused, or be a version more.
        repeat: Repeat::Never,
    };
    let write = item.write(NAME);
    let reply = api.send(request).await;
    let reply = reply.map_err(|failure| write.unanswered(failure))?;
    if reply.status != 200 {
        let refused = || {
            answered(
                write.refused(reply.status, &ApiErrorBody::of(&reply)),
                &reply,
            )
        };
        return Err(item.refused(&reply, NAME, version).unwrap_or_else(refused));
    }
    // The item may be cut, so that its size is not reported as a failure.
    let read = result::item(&reply.body, item.entity, false, limits);
    read.map(|item| item.text)
        .map_err(|error| write.unreadable(format!("{error:?}")))
}
