//! `batch`: several writes in one call, all or nothing unless it says otherwise.

use bytes::Bytes;
use http::Method;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::changing_tool;
use crate::api::Features;
use crate::api::request::{Api, Repeat, Reply, Request};
use crate::entities::{self, Entity, Kind};
use crate::foundation::json::Json;
use crate::tools::api_error_body::ApiErrorBody;
use crate::tools::api_outage;
use crate::tools::api_outage::answered;
use crate::tools::argument::{Argument, optional, required};
use crate::tools::argument_error::{ArgumentError, Remedy};
use crate::tools::coerce::Arguments;
use crate::tools::destruction::{Act, Destruction, Effect};
use crate::tools::entities::{MAX_BODY_BYTES, Payload};
use crate::tools::error::{Category, ToolError};
use crate::tools::key_case::{camel_case, snake_case, snake_case_keys};
use crate::tools::schema::object;
use crate::tools::standalone_tool::{self, About, Tool};
use crate::tools::toolset::Confirmed;
use crate::tools::write_errors::WriteErrors;

pub const NAME: &str = "batch";

/// The most operations that the API takes.
const MAX_OPERATIONS: usize = 100;

const OPS: &[&str] = &[
    "create", "patch", "tag", "edit", "process", "archive", "delete", "restore",
];

/// The members of an operation.
const MEMBERS: &[&str] = &[
    "op",
    "kind",
    "uid",
    "fields",
    "updates",
    "add_tags",
    "remove_tags",
    "action",
    "text",
    "operation",
    "find",
    "heading",
    "field",
    "if_match",
    "to_version",
];

pub fn tool() -> Tool {
    let about = About {
        name: NAME,
        title: "Batch",
        description: "Makes up to 100 writes, all or none unless atomic is false. Refer to a new \
                      item by the uid you give it. For one write, use its own tool.",
    };
    changing_tool(about, arguments(), output_schema(), Features::BATCH).in_compact()
}

fn arguments() -> Vec<Argument> {
    vec![
        required(
            "operations",
            Kind::Objects,
            "Each {op, kind, uid, if_match?} with: create {fields}; patch {updates}; tag \
             {add_tags?, remove_tags?}; edit {operation, text, find?, heading?, field?}; process \
             {action}; archive; delete; restore {to_version?}.",
        ),
        optional("atomic", Kind::Flag, "Default true."),
        optional("dry_run", Kind::Flag, "Only say what would happen."),
    ]
}

fn output_schema() -> Map<String, Value> {
    let number = json!({"type": "integer"});
    object([
        ("type", json!("object")),
        (
            "properties",
            json!({
                "done": number, "failed": number,
                "results": {"type": "array", "items": {"type": "object"}},
            }),
        ),
        ("required", json!(["done", "failed", "results"])),
    ])
}

/// The number of operations.
pub fn count(given: &Arguments<'_>) -> usize {
    let operations = given.get("operations").unwrap_or(Json::NULL);
    operations.elements().count()
}

/// What the batch would destroy. `None` if that is nothing, or if it is invalid or only a trial.
pub fn destruction(given: &Arguments<'_>) -> Option<Destruction> {
    if is_dry(given) {
        return None;
    }
    let mut destruction = Destruction::default();
    for operation in given.get("operations")?.elements() {
        let text_of = |name| operation.member(name).and_then(Json::as_str);
        let version = operation.member("to_version").and_then(Json::as_u64);
        let effect = match (text_of("op").as_deref(), version) {
            (Some("delete"), _) => Effect::Delete,
            (Some("restore"), Some(version)) => Effect::Replace(version),
            _ => {
                destruction.others += 1;
                continue;
            }
        };
        destruction.acts.push(Act {
            entity: Entity::by_key(&text_of("kind")?)?,
            uid: text_of("uid").and_then(|uid| uid.parse().ok()),
            effect,
        });
    }
    // Most batches destroy nothing, so their body is made only once, by the call.
    let is_any = !destruction.acts.is_empty() && body(given).is_ok();
    is_any.then_some(destruction)
}

fn is_dry(given: &Arguments<'_>) -> bool {
    given.get("dry_run").and_then(Json::as_bool) == Some(true)
}

pub async fn run<A: Api>(
    given: &Arguments<'_>,
    api: &A,
    confirmed: Option<Confirmed>,
) -> Result<String, ToolError> {
    let body = body(given).map_err(|error| ToolError::invalid_argument(NAME, error))?;
    let is_dry = is_dry(given);
    let request = Request {
        method: Method::POST,
        path: "/v1/batch".to_owned(),
        query: Vec::new(),
        body: Some(body),
        if_match: None,
        // With its key, a second one is answered with the answer to the first.
        idempotency_key: Some(confirmed.map_or_else(Uuid::now_v7, |confirmed| confirmed.key)),
        repeat: Repeat::Idempotent,
    };
    let write = write_errors();
    let reply = api.send(request).await.map_err(|failure| {
        if is_dry {
            api_outage::unanswered(failure, NAME)
        } else {
            write.unanswered(failure)
        }
    })?;
    match reply.status {
        200 => result(&reply),
        _ if reply.maybe_applied && !is_dry => {
            Err(answered(write.refused_after_lost_response(), &reply))
        }
        _ => Err(refused(given, &reply).unwrap_or_else(|| {
            if is_dry {
                standalone_tool::refused(&reply, NAME)
            } else {
                answered(
                    write.refused(reply.status, &ApiErrorBody::of(&reply)),
                    &reply,
                )
            }
        })),
    }
}

fn write_errors() -> WriteErrors<'static> {
    WriteErrors {
        tool: NAME,
        check: "search or history".to_owned(),
        uid: None,
    }
}

/// The request, with the names of the API.
fn body(given: &Arguments<'_>) -> Result<Bytes, ArgumentError> {
    let operations = given.get("operations").unwrap_or(Json::NULL);
    let count = count(given);
    if !(1..=MAX_OPERATIONS).contains(&count) {
        let problem = format!("must have 1 to {MAX_OPERATIONS} operations; it has {count}");
        return Err(ArgumentError::new("operations", problem));
    }
    let mut list = String::with_capacity(operations.get().len() + 64);
    for (index, operation) in operations.elements().enumerate() {
        list.push(if index == 0 { '[' } else { ',' });
        list.push_str(&with_names_of_the_api(index, operation)?);
    }
    list.push(']');
    let mut body = Payload::default();
    body.push("operations", Json::trusted(&list));
    for (name, value) in given.iter().filter(|(name, _)| *name != "operations") {
        body.push(&camel_case(name), value);
    }
    let body = body.finish().unwrap_or_default();
    if body.len() > MAX_BODY_BYTES {
        let problem = format!("makes the request larger than {MAX_BODY_BYTES} bytes");
        return Err(ArgumentError::new("operations", problem).remedy(Remedy::Shorten));
    }
    Ok(body)
}

fn with_names_of_the_api(index: usize, operation: Json<'_>) -> Result<String, ArgumentError> {
    let path = |name: &str| format!("operations[{index}].{name}");
    let choose = |name: &str, allowed: &[&str]| {
        let value = operation.sole_member(name).and_then(Json::as_str);
        match value {
            Some(value) if allowed.contains(&&*value) => Ok(value.into_owned()),
            _ => {
                let problem = format!("must be one of {}", allowed.join(", "));
                Err(ArgumentError::new(path(name), problem).allowed(allowed))
            }
        }
    };
    choose("op", OPS)?;
    let kind = choose("kind", entities::keys())?;
    let entity = Entity::by_key(&kind);
    let (mut renamed, mut seen) = (Payload::default(), Vec::new());
    for (name, value) in operation.members() {
        let Some(known) = MEMBERS.iter().find(|known| **known == name) else {
            return Err(ArgumentError::unknown(&path(&name), MEMBERS));
        };
        if seen.contains(known) {
            return Err(ArgumentError::new(path(known), "is given twice"));
        }
        seen.push(known);
        let fields = entity.filter(|_| ["fields", "updates"].contains(known) && value.is_object());
        let fields = fields.map(|entity| text_of(fields_of(entity, value)));
        renamed.push(
            &camel_case(known),
            fields.as_deref().map_or(value, Json::trusted),
        );
    }
    Ok(text_of(renamed))
}

/// Fields with the names of the API.
fn fields_of(entity: &Entity, fields: Json<'_>) -> Payload {
    let mut renamed = Payload::default();
    for (name, value) in fields.members() {
        let field = entity.fields.iter().find(|field| field.name == name);
        renamed.push(field.map_or(&*name, |field| field.wire), value);
    }
    renamed
}

fn text_of(payload: Payload) -> String {
    Payload::of(payload.finish().as_ref()).get().to_owned()
}

fn result(reply: &Reply) -> Result<String, ToolError> {
    // The writes have been made, so no failure may suggest to repeat them.
    let unusable = |why: String| write_errors().unreadable(why);
    let answer = Json::parse(&reply.body).map_err(|error| unusable(error.to_string()))?;
    let is_proper = |name| answer.member(name).and_then(Json::as_u64).is_some();
    let results = answer.member("results").is_some_and(Json::is_array);
    if !(results && is_proper("done") && is_proper("failed")) {
        return Err(unusable(
            "a batch without done, failed or results".to_owned(),
        ));
    }
    let mut text = String::with_capacity(reply.body.len());
    snake_case_keys(answer, &mut text);
    Ok(text)
}

/// The error for a batch of which nothing was done, because of the operation that it names.
fn refused(given: &Arguments<'_>, reply: &Reply) -> Option<ToolError> {
    let body = ApiErrorBody::of(reply);
    let answer = Json::parse(&reply.body).unwrap_or(Json::NULL);
    let number = |name| answer.member(name).and_then(Json::as_u64);
    let index = number("index").filter(|_| matches!(reply.status, 400 | 422))?;
    let operations = given.get("operations").unwrap_or(Json::NULL);
    let at = usize::try_from(index).unwrap_or(usize::MAX);
    let operation = operations.elements().nth(at).unwrap_or(Json::NULL);
    let member = |name| {
        let value = operation.member(name).and_then(Json::as_str);
        value.unwrap_or_default().into_owned()
    };
    let status = number("operationStatus").unwrap_or(400);
    let argument = body.field.as_deref().map(snake_case);
    let (category, code, why) = match (status, number("count"), &argument) {
        (422, Some(0), Some(name)) => invalid(format!("its {name} is not in the text")),
        (422, Some(count), Some(name)) => invalid(format!("its {name} occurs {count} times")),
        (400 | 422, _, Some(name)) => invalid(format!("its {name} is not valid")),
        (404, ..) => (
            Category::NotFound,
            "item_not_found",
            "there is no such item".to_owned(),
        ),
        (410, ..) => (
            Category::NotFound,
            "item_deleted",
            "the item is deleted".to_owned(),
        ),
        (412, ..) => (
            Category::Conflict,
            "version_mismatch",
            "the item has been changed in the meantime".to_owned(),
        ),
        (409, ..) => (
            Category::Conflict,
            "already_exists",
            "there is an item with this uid already".to_owned(),
        ),
        (413, ..) => (
            Category::TooLarge,
            "request_too_large",
            "it is too large".to_owned(),
        ),
        _ => invalid("it is not valid".to_owned()),
    };
    let message = format!(
        "Operation {index} ({} {}) was refused: {why}. Nothing was changed.",
        member("op"),
        member("kind")
    );
    let remedy = format!(
        "Correct or leave out this operation and call {NAME} again; with atomic false the others \
         are made all the same."
    );
    let error = ToolError::new(category, code, message, remedy).details(|details| {
        let below = argument.map(|name| format!(".{name}")).unwrap_or_default();
        details.argument = Some(format!("operations[{index}]{below}"));
        details.uid = Some(member("uid")).filter(|uid| Uuid::try_parse(uid).is_ok());
    });
    Some(answered(error, reply))
}

fn invalid(why: String) -> (Category, &'static str, String) {
    (Category::Validation, "invalid_argument", why)
}
