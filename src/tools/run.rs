//! Carries out a [`Plan`]: sends its request, reads the answer, and looks once more where one answer is not enough.
//!
//! Three calls may need a second look. An update that leaves the parent out reads it first. A create whose answer was
//! lost is sent once more, and one that meets its own UID reads the item back, since an earlier try of the same call
//! may have made it. And where an API says no more than 500 to a comment or a message, its parent is looked up, since a
//! dead one is the usual reason.

use serde_json::{Map, Value};

use super::answer::{self, Asked};
use super::error::ToolError;
use super::operation::Operation;
use super::parent;
use super::payload::SERVER_KEYS;
use super::plan::{Plan, encode};
use super::result::{self, Limits, Success, Unusable};
use crate::upstream::exchange::{Api, Failure, Reply, Request};

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
            return self.send(api, self.request.clone(), &self.payload, limits).await;
        }
        let total = self.steps();
        progress(Progress {
            done: 0,
            total,
            message: "Reading the item, to keep its parent",
        });
        let (request, payload) = self.with_parent(api, limits).await?;
        progress(Progress {
            done: 1,
            total,
            message: "Replacing the item",
        });
        self.send(api, request, &payload, limits).await
    }

    async fn send<A: Api>(
        &self,
        api: &A,
        request: Request,
        payload: &Map<String, Value>,
        limits: &Limits,
    ) -> Result<Success, ToolError> {
        let asked = Asked::for_result(self);
        let mut outcome = api.send(request.clone()).await;
        let again = self.operation == Operation::Create && answer::was_lost(&outcome);
        if again {
            // The UID is the call's own, so this cannot make a second item.
            outcome = api.send(request).await;
        }
        let reply = match outcome {
            Ok(reply) => reply,
            Err(failure @ Failure::Cancelled) => return Err(asked.unanswered(failure)),
            Err(_) if again => return Err(asked.outcome_unknown("no answer came, twice")),
            Err(failure) => return Err(asked.unanswered(failure)),
        };
        match reply.status {
            200 | 201 => self
                .read(&reply, limits)
                .map_err(|unusable| asked.unusable(unusable, limits)),
            409 if self.operation == Operation::Create && answer::already_exists(&reply) => {
                self.read_back(api, limits, &reply).await
            }
            500 if self.writes() && self.parent_is_gone(api, payload).await => Err(asked.parent_not_found(&reply)),
            // What is wrong with the request was wrong the first time; every other refusal leaves that open.
            400 | 413 | 422 => Err(asked.refused(&reply)),
            _ if again => Err(asked.refused_after_a_loss(&reply)),
            _ => Err(asked.refused(&reply)),
        }
    }

    fn read(&self, reply: &Reply, limits: &Limits) -> Result<Success, Unusable> {
        match self.operation {
            Operation::List => result::page(&reply.body, self.page, reply.has_next, limits),
            // What has been written is not reported as a failure only because it is large.
            _ => result::item(&reply.body, !self.writes(), limits),
        }
    }

    /// The planned request with the parent that the item has now, on condition that the item stays as it was read.
    async fn with_parent<A: Api>(&self, api: &A, limits: &Limits) -> Result<(Request, Map<String, Value>), ToolError> {
        let asked = Asked::for_reading_first(self);
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
        let item = result::item(&reply.body, true, &anything).map_err(|unusable| asked.unusable(unusable, limits))?;

        let mut payload = self.payload.clone();
        let item = result::value_of(&item.text);
        let stored = item.get("payload").and_then(Value::as_object);
        if !stored.is_some_and(|stored| parent::keep(self.entity, stored, &mut payload)) {
            return Err(asked.without_parent());
        }
        let mut request = self.request.clone();
        request.if_match = request.if_match.or_else(|| item.get("version").and_then(Value::as_u64));
        request.body = Some(encode(&payload));
        Ok((request, payload))
    }

    /// The UID was chosen for this call alone, so an item that has it and says the same is this call's own work.
    async fn read_back<A: Api>(&self, api: &A, limits: &Limits, refusal: &Reply) -> Result<Success, ToolError> {
        let asked = Asked::for_result(self);
        let Some(uid) = self.uid else {
            return Err(asked.refused(refusal));
        };
        let Ok(reply) = api.send(Self::read_request(self.entity, uid)).await else {
            return Err(asked.outcome_unknown("the item could not be read back"));
        };
        match reply.status {
            200 => {}
            404 | 410 => return Err(asked.refused(refusal)),
            _ => return Err(asked.outcome_unknown("the item could not be read back")),
        }
        let item = self
            .read(&reply, limits)
            .map_err(|unusable| asked.unusable(unusable, limits))?;
        let stored: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let first = stored.get("version").and_then(Value::as_u64) == Some(1);
        let same = stored
            .get("payload")
            .and_then(Value::as_object)
            .is_some_and(|stored| self.says_the_same(stored));
        if first && same {
            Ok(item)
        } else {
            Err(asked.refused(refusal))
        }
    }

    fn says_the_same(&self, stored: &Map<String, Value>) -> bool {
        let own = |payload: &Map<String, Value>| {
            let members = payload.iter().filter(|(key, _)| !SERVER_KEYS.contains(&key.as_str()));
            Value::Object(members.map(|(key, value)| (key.clone(), value.clone())).collect())
        };
        alike(&own(stored), &own(&self.payload))
    }

    /// Whether the payload names a parent that the API does not have alive.
    async fn parent_is_gone<A: Api>(&self, api: &A, payload: &Map<String, Value>) -> bool {
        let Some((entity, uid)) = parent::named_in(self.entity, payload) else {
            return false;
        };
        let looked = api.send(Self::read_request(entity, uid)).await;
        matches!(looked, Ok(Reply { status: 404 | 410, .. }))
    }
}

/// Equal but for how numbers are written: stores write `1.50` as `1.5`, and some keep no more than a double holds.
fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            one == other || (one.as_f64().is_some() && one.as_f64() == other.as_f64())
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| alike(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let in_other = |(key, value): (&String, &Value)| other.get(key).is_some_and(|other| alike(value, other));
            one.len() == other.len() && one.iter().all(in_other)
        }
        _ => one == other,
    }
}
