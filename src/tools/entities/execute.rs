//! Executes a [`Plan`]: sends its request, and interprets the response.
//!
//! Four kinds of calls take a second request. A page that is too large is read again with fewer
//! items, because only the API knows the cursor of the items after those. An update that omits the
//! parent reads it first. A write whose refusal may be due to its own earlier attempt reads the
//! item back, see [`Effect`]. And if the API answers 500 to a write of a comment or a chat message,
//! the parent is read, because compatible APIs answer 500 for a deleted parent.

use std::borrow::Cow;
use std::collections::HashMap;

use super::api_error::ErrorContext;
use super::draft::include_deleted;
use super::operation::Target;
use super::parent;
use super::payload::{Payload, SERVER_KEYS};
use super::plan::{Plan, repeat};
use crate::api::request::{Api, Reply, Request};
use crate::foundation::json::Json;
use crate::tools::error::ToolError;
use crate::tools::result;
use crate::tools::result::{Limits, ResultError, Success};
use crate::tools::toolset::Progress;

impl Plan {
    /// Executes the plan. `progress` is called before each step, if there are several.
    pub async fn run<A: Api>(
        &self,
        api: &A,
        limits: &Limits,
        progress: impl Fn(Progress) + Send + Sync,
    ) -> Result<Success, ToolError> {
        if self.operation.target() == Target::Collection {
            return self.read_page(api, limits).await;
        }
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

    /// Reads a page, which ends early if its items are large.
    async fn read_page<A: Api>(&self, api: &A, limits: &Limits) -> Result<Success, ToolError> {
        let page = self.send(api, self.request.clone(), limits).await;
        let fitting = match &page {
            Ok(page) => page.fitting,
            // Without a size, the answer was too large to be read.
            Err(error) => error.details.size_bytes.and(error.details.limit),
        };
        let Some(limit) = fitting.filter(|limit| *limit < self.page.limit) else {
            return page;
        };
        let shorter = self.with_limit(limit);
        let again = shorter.send(api, shorter.request.clone(), limits).await;
        // A page that is only larger than it should be is better than none.
        if again.is_err() && page.is_ok() {
            return page;
        }
        again
    }

    async fn send<A: Api>(
        &self,
        api: &A,
        request: Request,
        limits: &Limits,
    ) -> Result<Success, ToolError> {
        let context = ErrorContext::for_result(self);
        let if_match = request.if_match;
        let body = request.body.clone();
        let payload = Payload::of(body.as_ref());
        let reply = api
            .send(request)
            .await
            .map_err(|failure| context.unanswered(failure))?;
        if let Some(effect) = self.operation.own_effect(&reply, if_match) {
            return self.read_back(api, limits, payload, effect, &reply).await;
        }
        match reply.status {
            200 | 201 => self
                .read(&reply, limits)
                .map_err(|unusable| context.unusable(unusable, limits)),
            // An invalid request was invalid in every attempt. After any other refusal, an earlier
            // attempt may have been carried out.
            400 | 413 | 422 => Err(context.refused(&reply)),
            404 if self.names_an_item() => Err(context.refused(&reply)),
            _ if reply.maybe_applied => Err(context.refused_after_lost_response(&reply)),
            500 if self.writes() && self.parent_is_gone(api, payload).await => {
                Err(context.parent_not_found(&reply))
            }
            _ => Err(context.refused(&reply)),
        }
    }

    /// Turns a successful response into a result.
    fn read(&self, reply: &Reply, limits: &Limits) -> Result<Success, ResultError> {
        match self.operation.target() {
            Target::Collection => {
                result::page(&reply.body, self.entity, self.page, reply.has_next, limits)
            }
            // The item of a successful write may be cut, so that its size is not reported as a
            // failure.
            Target::NewItem | Target::Item => {
                result::item(&reply.body, self.entity, !self.writes(), limits)
            }
        }
    }

    /// The planned request with the item's current parent, on the condition that the item does not
    /// change in the meantime.
    async fn with_parent<A: Api>(&self, api: &A, limits: &Limits) -> Result<Request, ToolError> {
        let context = ErrorContext::for_preliminary_read(self);
        let Some(uid) = self.uid else {
            return Err(ToolError::internal("an update without a UID"));
        };
        let reply = api
            .send(Self::read_request(self.entity, uid))
            .await
            .map_err(|failure| context.unanswered(failure))?;
        if reply.status != 200 {
            return Err(context.refused(&reply));
        }
        // The item is not returned to the caller, so its size is not limited.
        let unlimited = Limits {
            max_result_bytes: usize::MAX,
            ..*limits
        };
        result::item(&reply.body, self.entity, true, &unlimited)
            .map_err(|unusable| context.unusable(unusable, limits))?;

        // The parent is kept under the API's names.
        let item = Json::parse_syntax(&reply.body).unwrap_or(Json::NULL);
        let mut payload = Payload::default();
        for (key, value) in Payload::of(self.request.body.as_ref()).members() {
            payload.push(&key, value);
        }
        let stored = item.member("payload").unwrap_or(Json::NULL);
        if !parent::keep(self.entity, stored, &mut payload) {
            return Err(context.without_parent());
        }
        let mut request = self.request.clone();
        request.if_match = request
            .if_match
            .or_else(|| item.member("version")?.as_u64());
        request.repeat = repeat(self.operation, request.if_match);
        request.body = payload.finish();
        Ok(request)
    }

    /// Checks whether the refusal is due to the earlier success of this request. If it is, returns
    /// the item as the result.
    async fn read_back<A: Api>(
        &self,
        api: &A,
        limits: &Limits,
        payload: Json<'_>,
        effect: Effect,
        refusal: &Reply,
    ) -> Result<Success, ToolError> {
        let context = ErrorContext::for_result(self);
        let Some(uid) = self.uid else {
            return Err(context.refused(refusal));
        };
        let mut request = Self::read_request(self.entity, uid);
        if effect == Effect::Tombstone {
            request.query.push(include_deleted());
        }
        let Ok(reply) = api.send(request).await else {
            return Err(context.outcome_unknown("the item could not be read back"));
        };
        match (reply.status, effect) {
            (200, _) => {}
            // The item does not exist, so the refusal was not due to this request.
            (404 | 410, Effect::New | Effect::Tombstone) => return Err(context.refused(refusal)),
            _ => return Err(context.outcome_unknown("the item could not be read back")),
        }
        let item = self
            .read(&reply, limits)
            .map_err(|unusable| context.unusable(unusable, limits))?;
        let stored = Json::parse_syntax(&reply.body).unwrap_or(Json::NULL);
        match effect.is_in(payload, stored) {
            Some(true) => Ok(item),
            Some(false) => Err(context.refused(refusal)),
            None => Err(context.outcome_unknown("the item has been changed again since")),
        }
    }

    /// Whether the payload names a parent that does not exist or is deleted.
    async fn parent_is_gone<A: Api>(&self, api: &A, payload: Json<'_>) -> bool {
        let Some((entity, uid)) = parent::named_in(self.entity, payload) else {
            return false;
        };
        let reply = api.send(Self::read_request(entity, uid)).await;
        matches!(
            reply,
            Ok(Reply {
                status: 404 | 410,
                ..
            })
        )
    }
}

/// The state that a successful write leaves, by which a retry recognizes its earlier attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The first version, with exactly the payload that was sent.
    New,
    /// This version, with exactly the payload that was sent.
    Replaced(u64),
    /// This version, with at least the members that were sent.
    Merged(u64),
    /// A deleted item.
    Tombstone,
}

impl Effect {
    /// Whether the stored item shows the effect of a request with this payload. `None` if later
    /// changes make it impossible to tell.
    fn is_in(self, payload: Json<'_>, stored: Json<'_>) -> Option<bool> {
        let version = stored.member("version").and_then(Json::as_u64);
        let holds_payload = |exactly| {
            let members = stored
                .member("payload")
                .filter(|members| members.is_object());
            members.is_some_and(|members| contains_sent(members, payload, exactly))
        };
        match self {
            Self::New => Some(version == Some(1) && holds_payload(true)),
            Self::Replaced(own) | Self::Merged(own) if version > Some(own) => None,
            Self::Replaced(own) => Some(version == Some(own) && holds_payload(true)),
            Self::Merged(own) => Some(version == Some(own) && holds_payload(false)),
            Self::Tombstone => Some(stored.member("deletedAt").is_some_and(Json::is_string)),
        }
    }
}

/// The members of an object by name. The last of several members with the same name counts, as in
/// most parsers.
fn by_name(object: Json<'_>) -> HashMap<Cow<'_, str>, Json<'_>> {
    object.members().collect()
}

/// Whether all sent members are stored and, with `exactly`, no others. Ignores the members that the
/// API writes itself.
fn contains_sent(stored: Json<'_>, sent: Json<'_>, exactly: bool) -> bool {
    let [mut stored, mut sent] = [stored, sent].map(by_name);
    for key in SERVER_KEYS {
        stored.remove(key);
        sent.remove(key);
    }
    let is_stored = |(key, value): (&Cow<'_, str>, &Json<'_>)| {
        stored
            .get(key)
            .is_some_and(|stored| equivalent(*stored, *value))
    };
    sent.iter().all(is_stored) && (!exactly || stored.len() == sent.len())
}

/// Whether two values are equal, regardless of notation: stores write `1.50` as `1.5`, and some
/// keep numbers with the precision of a double. The depth of both has been validated.
fn equivalent(one: Json<'_>, other: Json<'_>) -> bool {
    if one.get() == other.get() {
        true
    } else if one.is_number() && other.is_number() {
        one.as_f64() == other.as_f64()
    } else if one.is_array() && other.is_array() {
        one.elements().count() == other.elements().count()
            && one
                .elements()
                .zip(other.elements())
                .all(|(one, other)| equivalent(one, other))
    } else if one.is_object() && other.is_object() {
        let [one, other] = [one, other].map(by_name);
        let in_other = |(key, value): (&Cow<'_, str>, &Json<'_>)| {
            other
                .get(key)
                .is_some_and(|other| equivalent(*value, *other))
        };
        one.len() == other.len() && one.iter().all(in_other)
    } else {
        one.is_string() && one.as_str().is_some() && one.as_str() == other.as_str()
    }
}
