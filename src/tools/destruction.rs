//! What a call would destroy, so that a person can be asked before it does.

use http::Method;
use uuid::Uuid;

use super::api_outage;
use super::error::ToolError;
use super::standalone_tool;
use crate::api::request::{Api, Reply};
use crate::entities::Entity;
use crate::foundation::json::Json;

/// How many items are named to a person.
const MAX_NAMED: usize = 3;

/// The members of a payload that tell a person which item it is, the best one first.
const NAMING: [&str; 3] = ["title", "content", "description"];

/// What a call would destroy.
#[derive(Debug, Clone, Default)]
pub struct Destruction {
    pub acts: Vec<Act>,
    /// The number of other changes that the call makes.
    pub others: usize,
}

/// What is done to one item.
#[derive(Debug, Clone, Copy)]
pub struct Act {
    pub entity: &'static Entity,
    /// `None` if the UID is not valid, so that the API refuses the call.
    pub uid: Option<Uuid>,
    pub effect: Effect,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Delete,
    /// Replaces the item by this version of it.
    Replace(u64),
}

/// An item that would be destroyed, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Found {
        title: String,
        version: Option<u64>,
    },
    /// It does not exist, or is deleted.
    Gone,
}

impl Destruction {
    pub fn of(act: Act) -> Self {
        Self {
            acts: vec![act],
            others: 0,
        }
    }

    pub fn deletes(&self) -> usize {
        let deletes = self.acts.iter();
        deletes.filter(|act| act.effect == Effect::Delete).count()
    }

    /// Reads the first items.
    pub async fn look<A: Api>(&self, tool: &str, api: &A) -> Result<Vec<Seen>, ToolError> {
        let mut seen = Vec::new();
        for act in self.acts.iter().take(MAX_NAMED) {
            seen.push(act.look(tool, api).await?);
        }
        Ok(seen)
    }

    /// Whether it is about one item, of which nothing would be lost.
    pub fn is_harmless(&self, seen: &[Seen]) -> bool {
        match (self.acts.as_slice(), seen) {
            _ if self.others > 0 => false,
            ([_], [Seen::Gone]) => true,
            ([act], [Seen::Found { version, .. }]) => {
                version.is_some_and(|version| act.effect == Effect::Replace(version))
            }
            _ => false,
        }
    }

    /// The version of the item, if it is about one.
    pub fn version(&self, seen: &[Seen]) -> Option<u64> {
        match (self.acts.as_slice(), seen) {
            ([_], [Seen::Found { version, .. }]) => *version,
            _ => None,
        }
    }
}

impl Act {
    async fn look<A: Api>(&self, tool: &str, api: &A) -> Result<Seen, ToolError> {
        let Some(uid) = self.uid else {
            return Ok(Seen::Gone);
        };
        let path = format!("/v1/{}/{uid}", self.entity.plural);
        let request = standalone_tool::read_request(Method::GET, path, Vec::new());
        let reply = api.send(request).await;
        let reply = reply.map_err(|failure| api_outage::unanswered(failure, tool))?;
        match reply.status {
            200 => Ok(found(&reply)),
            404 | 410 => Ok(Seen::Gone),
            _ => Err(standalone_tool::refused(&reply, tool)),
        }
    }
}

fn found(reply: &Reply) -> Seen {
    let item = Json::parse(&reply.body).unwrap_or(Json::NULL);
    let payload = item.member("payload").unwrap_or(Json::NULL);
    let texts = NAMING
        .into_iter()
        .filter_map(|name| payload.member(name)?.as_str());
    let title = texts.into_iter().find(|text| !text.trim().is_empty());
    Seen::Found {
        title: title.unwrap_or_default().into_owned(),
        version: item.member("version").and_then(Json::as_u64),
    }
}
