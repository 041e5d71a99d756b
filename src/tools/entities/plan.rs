//! Turns validated arguments into the request that a call will send.
//!
//! Creating a plan sends nothing, so invalid arguments are reported before any request is made.
//! [`execute`](super::execute) runs the plan.

use bytes::Bytes;
use http::Method;
use uuid::Uuid;

use super::catalogue::Tool;
use super::draft::{Draft, include_deleted};
use super::operation::{self, Operation, Target};
use super::payload::Payload;
use crate::api::request::{Repeat, Request};
use crate::entities::Entity;
use crate::foundation::json::Json;
use crate::tools::argument_error::{ArgumentError, Remedy};
use crate::tools::coerce::Arguments;
use crate::tools::result::PageRequest;

/// The largest request body that the API accepts.
pub const MAX_BODY_BYTES: usize = 1 << 20;

/// A validated call, ready to be executed.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(in crate::tools) tool: String,
    pub(in crate::tools) entity: &'static Entity,
    pub(in crate::tools) operation: &'static dyn Operation,
    /// The item that the call is about; on create, the new item.
    pub(in crate::tools) uid: Option<Uuid>,
    pub(in crate::tools) request: Request,
    pub(in crate::tools) page: PageRequest,
    /// Whether the arguments omit the parent, which is then read from the item and kept.
    pub(in crate::tools) keeps_parent: bool,
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
        let mut draft = Draft::new(entity, tool.features, arguments, new_uid);
        operation.fill(&mut draft)?;
        let Draft {
            uid,
            page,
            mut query,
            payload,
            keeps_parent,
            ..
        } = draft;
        let deleted = arguments.get("include_deleted").and_then(Json::as_bool);
        query.extend(
            deleted
                .filter(|deleted| *deleted)
                .map(|_| include_deleted()),
        );

        let body = payload.finish();
        let size = body.as_ref().map_or(0, Bytes::len);
        if size > MAX_BODY_BYTES {
            let argument = operation.largest_argument(entity, Payload::of(body.as_ref()));
            let problem = format!("makes the request larger than {MAX_BODY_BYTES} bytes");
            return Err(ArgumentError::new(argument, problem).remedy(Remedy::Shorten));
        }
        let if_match = arguments.get("if_match").and_then(Json::as_u64);
        let request = Request {
            method: operation.method(),
            path: operation.path(entity, uid),
            query,
            body,
            if_match,
            idempotency_key: None,
            repeat: repeat(operation, if_match),
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

    /// The plan of a page of fewer items.
    pub(super) fn with_limit(&self, limit: u64) -> Self {
        let mut plan = self.clone();
        plan.page.limit = limit;
        for (name, value) in &mut plan.request.query {
            if *name == "limit" {
                *value = limit.to_string();
            }
        }
        plan
    }

    /// The number of requests that a run without errors takes.
    #[must_use]
    pub fn steps(&self) -> u32 {
        if self.keeps_parent { 2 } else { 1 }
    }

    pub(super) fn writes(&self) -> bool {
        self.operation.writes()
    }

    /// Whether 404 and 410 refer to the item rather than to the route.
    pub(super) fn names_an_item(&self) -> bool {
        self.operation.target() == Target::Item
    }

    /// The request that reads an item.
    pub(super) fn read_request(entity: &Entity, uid: Uuid) -> Request {
        Request {
            method: Method::GET,
            path: operation::get().path(entity, Some(uid)),
            query: Vec::new(),
            body: None,
            if_match: None,
            idempotency_key: None,
            repeat: repeat(operation::get(), None),
        }
    }
}

/// Whether a request may be sent again, given the version that it expects.
pub(super) fn repeat(operation: &dyn Operation, if_match: Option<u64>) -> Repeat {
    if operation.is_repeatable(if_match) {
        Repeat::Idempotent
    } else {
        Repeat::Never
    }
}
