//! Turns validated arguments into the request that a call will send.
//!
//! Creating a plan sends nothing, so invalid arguments are reported before any request is made.
//! [`execute`](super::execute) runs the plan.

use http::Method;
use uuid::Uuid;

use super::argument::DEFAULT_LIMIT;
use super::argument_error::{ArgumentError, Remedy};
use super::catalogue::Tool;
use super::coerce::Arguments;
use super::json_text::to_json;
use super::operation::Operation;
use super::payload::{self, Payload};
use super::result::PageRequest;
use super::spec::Access;
use crate::api::request::Request;
use crate::entities::Entity;
use crate::foundation::json::Json;

/// The largest request body that the API accepts.
const MAX_BODY_BYTES: usize = 1 << 20;

/// A validated call, ready to be executed.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(super) tool: String,
    pub(super) entity: &'static Entity,
    pub(super) operation: Operation,
    /// The item that the call is about; on create, the new item.
    pub(super) uid: Option<Uuid>,
    pub(super) request: Request,
    pub(super) page: PageRequest,
    /// Whether the arguments omit the parent, which is then read from the item and kept.
    pub(super) keeps_parent: bool,
}

impl Plan {
    pub(super) fn new(
        tool: &Tool,
        arguments: &Arguments<'_>,
        new_uid: &dyn Fn() -> Uuid,
    ) -> Result<Self, ArgumentError> {
        let &Tool {
            entity, operation, ..
        } = tool;
        let mut query = Vec::new();
        let mut keeps_parent = false;
        let uid = arguments.get("uid").and_then(Json::as_str);
        let mut uid = uid.and_then(|uid| uid.parse().ok());
        let flag = |name: &str| {
            arguments
                .get(name)
                .and_then(Json::as_bool)
                .unwrap_or_default()
        };
        let number = |name: &str| arguments.get(name).and_then(Json::as_u64);

        let page = PageRequest {
            limit: number("limit").unwrap_or(DEFAULT_LIMIT),
            full: flag("full"),
        };
        let if_match = number("if_match");
        if operation == Operation::List {
            query.push(("limit", page.limit.to_string()));
            let cursor = arguments.get("cursor").and_then(Json::as_str);
            query.extend(cursor.map(|cursor| ("cursor", cursor.into_owned())));
        }
        if flag("include_deleted") {
            query.push(include_deleted());
        }

        let mut payload = Payload::default();
        match operation {
            Operation::Create => {
                let generated = new_uid();
                uid = Some(generated);
                payload.push("uid", Json::trusted(&to_json(&generated.to_string())));
                payload::whole(entity, arguments, &mut payload)?;
            }
            Operation::Update => {
                keeps_parent = omits_parent(entity, arguments)?;
                payload::whole(entity, arguments, &mut payload)?;
            }
            Operation::Patch => {
                let updates = arguments.get("updates").unwrap_or(Json::EMPTY_OBJECT);
                payload::changes(entity, updates, &mut payload)?;
            }
            Operation::Process => {
                for (name, value) in arguments.iter().filter(|(name, _)| *name != "uid") {
                    if name == "metadata" {
                        payload::refuse_deep(name, value)?;
                    }
                    payload.push(name, value);
                }
            }
            Operation::List | Operation::Get | Operation::Delete | Operation::Archive => {}
        }

        let body = payload.finish();
        if body
            .as_ref()
            .is_some_and(|body| body.len() > MAX_BODY_BYTES)
        {
            return Err(body_too_large(
                entity,
                operation,
                Payload::of(body.as_ref()),
            ));
        }
        let item = uid.filter(|_| operation != Operation::Create);
        let path = path(entity, item, operation.suffix());
        let request = Request {
            method: operation.method(),
            path,
            query,
            body,
            if_match,
            repeat: operation.repeat(if_match),
        };
        Ok(Self {
            tool: tool.spec.name.clone(),
            entity,
            operation,
            uid,
            request,
            page,
            keeps_parent,
        })
    }

    /// The item that the call is about; on create, the new item.
    pub fn item(&self) -> Option<Uuid> {
        self.uid
    }

    /// The number of requests that a run without errors takes.
    #[must_use]
    pub fn steps(&self) -> u32 {
        if self.keeps_parent { 2 } else { 1 }
    }

    pub(super) fn writes(&self) -> bool {
        self.operation.access() == Access::Write
    }

    /// Whether 404 and 410 refer to the item rather than to the route.
    pub(super) fn names_an_item(&self) -> bool {
        !matches!(self.operation, Operation::List | Operation::Create)
    }

    /// The request that reads an item.
    pub(super) fn read_request(entity: &Entity, uid: Uuid) -> Request {
        Request {
            method: Method::GET,
            path: path(entity, Some(uid), ""),
            query: Vec::new(),
            body: None,
            if_match: None,
            repeat: Operation::Get.repeat(None),
        }
    }
}

/// The query parameter that makes the API return deleted items.
pub(super) fn include_deleted() -> (&'static str, String) {
    ("includeDeleted", "true".to_owned())
}

fn path(entity: &Entity, uid: Option<Uuid>, suffix: &str) -> String {
    let item = uid.map(|uid| format!("/{uid}")).unwrap_or_default();
    format!("/v1/{}{item}{suffix}", entity.plural)
}

/// Whether the arguments omit the parent. Arguments that identify it only partly are refused,
/// because that is probably a mistake.
fn omits_parent(entity: &Entity, arguments: &Arguments<'_>) -> Result<bool, ArgumentError> {
    let (given, missing): (Vec<_>, Vec<_>) = entity
        .parent_fields()
        .map(|field| field.name)
        .partition(|name| arguments.has(name));
    match (given.as_slice(), missing.as_slice()) {
        (_, []) => Ok(false),
        ([], _) => Ok(true),
        ([given, ..], [missing, ..]) => {
            let problem =
                format!("is required beside `{given}`; leave out both to keep the parent");
            let field = entity.field(missing);
            let allowed = field
                .and_then(|field| field.kind.choices())
                .unwrap_or_default();
            Err(ArgumentError::new(missing, problem)
                .allowed(allowed)
                .remedy(Remedy::Add))
        }
    }
}

/// The error for a body that is too large. Names the argument that contributes the most to it.
fn body_too_large(entity: &Entity, operation: Operation, payload: Json<'_>) -> ArgumentError {
    let argument = match operation {
        Operation::Patch => "updates",
        Operation::Process => "metadata",
        _ => {
            let largest = payload.members().max_by_key(|(_, value)| value.get().len());
            let field = largest.and_then(|(key, _)| entity.field(&key));
            field.map_or("additional_fields", |field| field.name)
        }
    };
    let problem = format!("makes the request larger than {MAX_BODY_BYTES} bytes");
    ArgumentError::new(argument, problem).remedy(Remedy::Shorten)
}
