//! Carries out a [`Plan`]: sends its request, reads the answer, and looks once more where one answer is not enough.
//!
//! Three calls may need a second look. An update that leaves the parent out reads it first. A write that may have been
//! carried out before, and now meets what it would itself have left behind, reads the item back: see [`Trace`]. And where
//! an API says no more than 500 to a comment or a message, its parent is looked up, since a dead one is the usual reason.

use std::borrow::Cow;
use std::collections::HashMap;

use super::api_error;
use super::api_error::ErrorContext;
use super::error::ToolError;
use super::operation::Operation;
use super::parent;
use super::payload::{Payload, SERVER_KEYS};
use super::plan::{Plan, include_deleted};
use super::result;
use super::result::{Limits, ResultError, Success};
use crate::api::request::{Api, Reply, Request};
use crate::foundation::json::Json;

/// How far a call of several steps has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub done: u32,
    pub total: u32,
    /// What begins now.
    pub message: &'static str,
}

impl Plan {
    /// Sends what was planned and reads what comes back. `progress` is told of each step, if there are several.
    pub async fn run<A: Api>(
        &self,
        api: &A,
        limits: &Limits,
        progress: impl Fn(Progress) + Send + Sync,
    ) -> Result<Success, ToolError> {
        if !self.keeps_parent {
            return self.send(api, self.request.clone(), limits).await;
        }
        let total = self.steps();
        progress(Progress {
            done: 0,
            total,
            message: "Reading the item, to keep its parent",
        });
        let request = self.with_parent(api, limits).await?;
        progress(Progress {
            done: 1,
            total,
            message: "Replacing the item",
        });
        self.send(api, request, limits).await
    }

    async fn send<A: Api>(
        &self,
        api: &A,
        request: Request,
        limits: &Limits,
    ) -> Result<Success, ToolError> {
        let asked = ErrorContext::for_result(self);
        let if_match = request.if_match;
        let body = request.body.clone();
        let payload = Payload::of(body.as_ref());
        let reply = api
            .send(request)
            .await
            .map_err(|failure| asked.unanswered(failure))?;
        if let Some(trace) = self.trace(&reply, if_match) {
            return self.read_back(api, limits, payload, trace, &reply).await;
        }
        match reply.status {
            200 | 201 => self
                .read(&reply, limits)
                .map_err(|unusable| asked.unusable(unusable, limits)),
            // What is wrong with the request was wrong the first time; every other refusal leaves that open.
            400 | 413 | 422 => Err(asked.refused(&reply)),
            404 if self.names_an_item() => Err(asked.refused(&reply)),
            _ if reply.doubtful => Err(asked.refused_after_a_loss(&reply)),
            500 if self.writes() && self.parent_is_gone(api, payload).await => {
                Err(asked.parent_not_found(&reply))
            }
            _ => Err(asked.refused(&reply)),
        }
    }

    /// What a refusal may be the trace of, if the request was carried out before.
    fn trace(&self, reply: &Reply, if_match: Option<u64>) -> Option<Trace> {
        let next = if_match.map(|version| version.saturating_add(1));
        match (self.operation, reply.status) {
            // Nobody else knows the UID, so it is worth a look even if the request is not known to have been sent before.
            (Operation::Create, 409) if api_error::already_exists(reply) => Some(Trace::New),
            (Operation::Update, 412) if reply.doubtful => next.map(Trace::Replaced),
            (Operation::Patch, 412) if reply.doubtful => next.map(Trace::Merged),
            (Operation::Delete, 410) if reply.doubtful => Some(Trace::Tombstone),
            _ => None,
        }
    }

    fn read(&self, reply: &Reply, limits: &Limits) -> Result<Success, ResultError> {
        match self.operation {
            Operation::List => result::page(&reply.body, self.page, reply.has_next, limits),
            // What has been written is not reported as a failure only because it is large.
            _ => result::item(&reply.body, !self.writes(), limits),
        }
    }

    /// The planned request with the parent that the item has now, on condition that the item stays as it was read.
    async fn with_parent<A: Api>(&self, api: &A, limits: &Limits) -> Result<Request, ToolError> {
        let asked = ErrorContext::for_reading_first(self);
        let Some(uid) = self.uid else {
            return Err(ToolError::internal("an update without a UID"));
        };
        let reply = api
            .send(Self::read_request(self.entity, uid))
            .await
            .map_err(|failure| asked.unanswered(failure))?;
        if reply.status != 200 {
            return Err(asked.refused(&reply));
        }
        // The item stays in the house, so its size does not matter.
        let anything = Limits {
            max_result_bytes: usize::MAX,
        };
        let item = result::item(&reply.body, true, &anything)
            .map_err(|unusable| asked.unusable(unusable, limits))?;

        let item = Json::trusted(&item.text);
        let mut payload = Payload::default();
        for (key, value) in Payload::of(self.request.body.as_ref()).members() {
            payload.push(&key, value);
        }
        let stored = item.member("payload").unwrap_or(Json::NULL);
        if !parent::keep(self.entity, stored, &mut payload) {
            return Err(asked.without_parent());
        }
        let mut request = self.request.clone();
        request.if_match = request
            .if_match
            .or_else(|| item.member("version")?.as_u64());
        request.repeat = self.operation.repeat(request.if_match);
        request.body = payload.finish();
        Ok(request)
    }

    /// Looks whether a refusal is the trace of the request's own first success, and reports that if it is.
    async fn read_back<A: Api>(
        &self,
        api: &A,
        limits: &Limits,
        payload: Json<'_>,
        trace: Trace,
        refusal: &Reply,
    ) -> Result<Success, ToolError> {
        let asked = ErrorContext::for_result(self);
        let Some(uid) = self.uid else {
            return Err(asked.refused(refusal));
        };
        let mut request = Self::read_request(self.entity, uid);
        if trace == Trace::Tombstone {
            request.query.push(include_deleted());
        }
        let Ok(reply) = api.send(request).await else {
            return Err(asked.outcome_unknown("the item could not be read back"));
        };
        match (reply.status, trace) {
            (200, _) => {}
            // There is nothing to be known again, and the refusal says what there is.
            (404 | 410, Trace::New | Trace::Tombstone) => return Err(asked.refused(refusal)),
            _ => return Err(asked.outcome_unknown("the item could not be read back")),
        }
        let item = self
            .read(&reply, limits)
            .map_err(|unusable| asked.unusable(unusable, limits))?;
        let stored = Json::parse_syntax(&reply.body).unwrap_or(Json::NULL);
        match trace.is_of(payload, stored) {
            Some(true) => Ok(item),
            Some(false) => Err(asked.refused(refusal)),
            None => Err(asked.outcome_unknown("the item has been changed again since")),
        }
    }

    /// Whether the payload names a parent that the API does not have alive.
    async fn parent_is_gone<A: Api>(&self, api: &A, payload: Json<'_>) -> bool {
        let Some((entity, uid)) = parent::named_in(self.entity, payload) else {
            return false;
        };
        let looked = api.send(Self::read_request(entity, uid)).await;
        matches!(
            looked,
            Ok(Reply {
                status: 404 | 410,
                ..
            })
        )
    }
}

/// What a write leaves behind, by which it knows its own work again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trace {
    /// A first version with this payload and nothing else; its UID was chosen for the call alone.
    New,
    /// This version, with this payload and nothing else.
    Replaced(u64),
    /// This version, with these members.
    Merged(u64),
    Tombstone,
}

impl Trace {
    /// Whether the stored item is the work of a request with this payload; `None` when too much has happened since to
    /// tell.
    fn is_of(self, payload: Json<'_>, stored: Json<'_>) -> Option<bool> {
        let version = stored.member("version").and_then(Json::as_u64);
        let says = |only| {
            let members = stored
                .member("payload")
                .filter(|members| members.is_object());
            members.is_some_and(|members| says_the_same(members, payload, only))
        };
        match self {
            Self::New => Some(version == Some(1) && says(true)),
            Self::Replaced(own) | Self::Merged(own) if version > Some(own) => None,
            Self::Replaced(own) => Some(version == Some(own) && says(true)),
            Self::Merged(own) => Some(version == Some(own) && says(false)),
            Self::Tombstone => Some(stored.member("deletedAt").is_some_and(Json::is_string)),
        }
    }
}

/// An object's members by name. Of a name that comes twice the last one counts, as for most readers.
fn by_name(object: Json<'_>) -> HashMap<Cow<'_, str>, Json<'_>> {
    object.members().collect()
}

/// Whether what was sent is stored; with `only`, nothing else may be. What the server writes does not count.
fn says_the_same(stored: Json<'_>, sent: Json<'_>, only: bool) -> bool {
    let [mut stored, mut sent] = [stored, sent].map(by_name);
    for key in SERVER_KEYS {
        stored.remove(key);
        sent.remove(key);
    }
    let kept = |(key, value): (&Cow<'_, str>, &Json<'_>)| {
        stored.get(key).is_some_and(|stored| alike(*stored, *value))
    };
    sent.iter().all(kept) && (!only || stored.len() == sent.len())
}

/// Equal but for how it is written: stores write `1.50` as `1.5`, and some keep no more than a double holds. The depth of
/// both has been checked.
fn alike(one: Json<'_>, other: Json<'_>) -> bool {
    if one.get() == other.get() {
        true
    } else if one.is_number() && other.is_number() {
        one.as_f64() == other.as_f64()
    } else if one.is_array() && other.is_array() {
        one.elements().count() == other.elements().count()
            && one
                .elements()
                .zip(other.elements())
                .all(|(one, other)| alike(one, other))
    } else if one.is_object() && other.is_object() {
        let [one, other] = [one, other].map(by_name);
        let in_other = |(key, value): (&Cow<'_, str>, &Json<'_>)| {
            other.get(key).is_some_and(|other| alike(*value, *other))
        };
        one.len() == other.len() && one.iter().all(in_other)
    } else {
        one.is_string() && one.as_str().is_some() && one.as_str() == other.as_str()
    }
}
