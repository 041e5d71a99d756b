//! `history`: the versions of an item, or the item as it was at one of them.

use http::Method;
use serde_json::{Map, Value, json};

use super::NAME as TOOLSET;
use super::item::{self, Item, VERSION};
use crate::api::Features;
use crate::api::request::Api;
use crate::entities::{Entity, Kind};
use crate::foundation::json::Json;
use crate::tools::api_outage;
use crate::tools::argument::{Argument, optional};
use crate::tools::coerce::Arguments;
use crate::tools::error::ToolError;
use crate::tools::json_text::push_string;
use crate::tools::key_case::{snake_case, snake_case_keys};
use crate::tools::result::{self, Limits};
use crate::tools::schema::object;
use crate::tools::spec::Hints;
use crate::tools::standalone_tool::{About, Tool, malformed, read_request, refused};

pub const NAME: &str = "history";

pub fn tool() -> Tool {
    let about = About {
        name: NAME,
        title: "Earlier versions",
        description: "Lists the versions of an item, newest first, deleted items too: time, \
                      operation, changed fields. With version, reads it. To go back to one, use \
                      restore.",
    };
    Tool::new(
        TOOLSET,
        Hints::READS,
        about,
        arguments(),
        output_schema(),
        Features::VERSIONS,
    )
}

fn arguments() -> Vec<Argument> {
    let limit = Kind::Integer {
        min: 1,
        max: Some(100),
    };
    let own = [
        optional("version", VERSION, "Read the item as it was then."),
        optional("limit", limit, "Most versions to list.").with_default(20),
    ];
    item::arguments().into_iter().chain(own).collect()
}

/// A list of versions, or an item.
fn output_schema() -> Map<String, Value> {
    let number = json!({"type": "integer"});
    object([
        ("type", json!("object")),
        (
            "properties",
            json!({
                "uid": {"type": "string"},
                "version": number,
                "payload": {"type": "object"},
                "versions": {"type": "array", "items": {"type": "object", "properties": {
                    "version": number, "operation": {"type": "string"},
                }}},
            }),
        ),
    ])
}

pub async fn run<A: Api>(
    given: &Arguments<'_>,
    api: &A,
    limits: &Limits,
) -> Result<String, ToolError> {
    let item = Item::of(given)?;
    let version = given.get("version").and_then(Json::as_u64);
    let path = item.path("versions");
    let request = match version {
        Some(version) => read_request(Method::GET, format!("{path}/{version}"), Vec::new()),
        None => {
            let limit = given.get("limit").and_then(Json::as_u64).unwrap_or(20);
            read_request(Method::GET, path, vec![("limit", limit.to_string())])
        }
    };
    let reply = api.send(request).await;
    let reply = reply.map_err(|failure| api_outage::unanswered(failure, NAME))?;
    if reply.status != 200 {
        let error = item.refused(&reply, NAME, version);
        return Err(error.unwrap_or_else(|| refused(&reply, NAME)));
    }
    let max = limits.max_result_bytes;
    let too_large = |size| api_outage::too_large(Some(size), max, NAME);
    if version.is_some() {
        let read = result::item(&reply.body, item.entity, true, limits);
        return read.map(|item| item.text).map_err(|error| match error {
            result::ResultError::TooLarge { size, .. } => too_large(size),
            result::ResultError::Malformed(why) => malformed(NAME, &why),
        });
    }
    let text = list(item.entity, &reply.body)?;
    if text.len() > max {
        Err(too_large(text.len()))
    } else {
        Ok(text)
    }
}

/// The list with the names that arguments have, those of changed fields included.
fn list(entity: &Entity, body: &[u8]) -> Result<String, ToolError> {
    let answer = Json::parse(body).map_err(|error| malformed(NAME, &error.to_string()))?;
    let versions = answer
        .member("versions")
        .filter(|versions| versions.is_array());
    let versions = versions.ok_or_else(|| malformed(NAME, "a history without versions"))?;
    let mut text = String::with_capacity(body.len());
    text.push_str(r#"{"versions":["#);
    for (at, version) in versions.elements().enumerate() {
        if at > 0 {
            text.push(',');
        }
        if !version.is_object() || version.member("version").and_then(Json::as_u64).is_none() {
            return Err(malformed(NAME, "a version without its number"));
        }
        write_version(entity, version, &mut text);
    }
    text.push_str("]}");
    Ok(text)
}

fn write_version(entity: &Entity, version: Json<'_>, text: &mut String) {
    text.push('{');
    for (at, (key, value)) in version.members().enumerate() {
        if at > 0 {
            text.push(',');
        }
        push_string(&snake_case(&key), text);
        text.push(':');
        if key == "changed" && value.is_array() {
            text.push('[');
            for (at, name) in value.elements().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                let wire = name.as_str().unwrap_or_default();
                let field = entity.fields.iter().find(|field| field.wire == wire);
                push_string(field.map_or(&*wire, |field| field.name), text);
            }
            text.push(']');
        } else {
            snake_case_keys(value, text);
        }
    }
    text.push('}');
}
