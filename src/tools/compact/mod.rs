//! The toolset `compact`: a short list of tools for clients that pay for each token of it.
//!
//! It has the tools of other toolsets that serve every kind of item, and `create`, `patch` and
//! `delete`, which take the kind as an argument and are executed by the tools of that kind. It is
//! offered only where the settings or a request name it.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures::future::BoxFuture;
#[cfg(test)]
use serde_json::{Value, json};

use super::argument::{Argument, optional, required};
use super::coerce::Arguments;
use super::destruction::Destruction;
use super::entities::EntityTools;
use super::error::ToolError;
use super::json_text::to_json;
use super::schema::written;
use super::spec::Hints;
use super::standalone_tool::{self, About, Tool};
use super::toolset::{ListedTool, Outcome, ToolCall, Toolset};
use crate::api::Features;
use crate::entities::{self, Entity, Kind};
use crate::foundation::json::Json;

/// The name of the toolset, in filters and scopes.
pub(super) const NAME: &str = "compact";

const CREATE: &str = "create";
const PATCH: &str = "patch";
const DELETE: &str = "delete";

/// The toolset.
#[derive(Debug)]
pub struct CompactTools {
    tools: [Tool; 3],
    entities: Arc<EntityTools>,
}

impl CompactTools {
    /// `entities` executes the calls.
    pub fn new(entities: Arc<EntityTools>) -> Self {
        Self {
            tools: [create(), patch(), delete()],
            entities,
        }
    }
}

fn create() -> Tool {
    let about = About {
        name: CREATE,
        title: "Create",
        description: "Creates an item. For several at once, use batch.",
    };
    let fields = required(
        "fields",
        Kind::Object,
        "note {title, content?}; task {title, description?, status?, priority?, due_date?}; \
         comment {content, parent_type, parent_uid}; chat {title}; chat_message {chat_uid, \
         content}; all: tags?.",
    );
    tool(about, Hints::writes(false, false), vec![kind(), fields])
}

fn patch() -> Tool {
    let about = About {
        name: PATCH,
        title: "Change",
        description: "Changes the named fields and keeps the rest. For part of a long text, use \
                      edit_text.",
    };
    let updates = required("updates", Kind::Object, "As in create.");
    let if_match = optional(
        "if_match",
        Kind::Integer { min: 1, max: None },
        "Version it must still have.",
    );
    let arguments = vec![kind(), uid(), updates, if_match];
    tool(about, Hints::writes(true, true), arguments)
}

fn delete() -> Tool {
    let about = About {
        name: DELETE,
        title: "Delete",
        description: "Deletes an item; restore brings it back.",
    };
    tool(about, Hints::writes(true, true), vec![kind(), uid()])
}

/// Without search, the toolset has no way to read, so its own tools need it too.
fn tool(about: About, hints: Hints, arguments: Vec<Argument>) -> Tool {
    let needs = Features::SEARCH;
    Tool::new(NAME, hints, about, arguments, written(), needs).only_if_named()
}

fn kind() -> Argument {
    required("kind", Kind::Choice(entities::keys()), "Its kind.")
}

fn uid() -> Argument {
    required("uid", Kind::Uid, "Its UID.")
}

/// The tool of one kind that executes a call, and its arguments.
fn delegated(name: &str, given: &Arguments<'_>) -> Result<(String, String), ToolError> {
    let kind = given.get("kind").and_then(Json::as_str).unwrap_or_default();
    let entity =
        Entity::by_key(&kind).ok_or_else(|| ToolError::internal("a kind without entity"))?;
    let arguments = match given.get("fields") {
        Some(fields) => fields.get().to_owned(),
        None => {
            let rest = given.iter().filter(|(name, _)| *name != "kind");
            let members: Vec<_> = rest
                .map(|(name, value)| format!("{}:{}", to_json(name), value.get()))
                .collect();
            format!("{{{}}}", members.join(","))
        }
    };
    Ok((format!("{name}_{}", entity.key), arguments))
}

/// The text of an error, with the names of this toolset's tools.
fn renamed(text: String) -> String {
    entities::ALL.iter().fold(text, |text, entity| {
        let names = [
            ("get", entity.key, "fetch"),
            ("create", entity.key, CREATE),
            ("update", entity.key, PATCH),
            ("patch", entity.key, PATCH),
            ("delete", entity.key, DELETE),
            ("list", entity.plural, "search"),
        ];
        names.into_iter().fold(text, |text, (verb, noun, new)| {
            replace_word(&text, &format!("{verb}_{noun}"), new)
        })
    })
}

/// Replaces a name, but not where it is the beginning of a longer one.
fn replace_word(text: &str, old: &str, new: &str) -> String {
    let mut parts = text.split(old).peekable();
    let mut replaced = String::with_capacity(text.len());
    while let Some(part) = parts.next() {
        replaced.push_str(part);
        if let Some(after) = parts.peek() {
            let goes_on = after.starts_with(|c: char| c.is_alphanumeric() || c == '_');
            replaced.push_str(if goes_on { old } else { new });
        }
    }
    replaced
}

impl Toolset for CompactTools {
    fn list(&self, features: Features) -> Vec<ListedTool> {
        standalone_tool::list(&self.tools, features)
    }

    fn call<'a>(&'a self, call: ToolCall<'a>) -> BoxFuture<'a, Outcome> {
        standalone_tool::delegate(&self.tools, call, move |name, arguments, call| async move {
            let (name, arguments) = match delegated(name, &arguments) {
                Ok(delegated) => delegated,
                Err(error) => return Outcome::failure(&error, call.correlation_id),
            };
            let delegated = ToolCall {
                name: &name,
                arguments: Json::trusted(&arguments),
                ..call
            };
            let mut outcome = self.entities.call(delegated).await;
            if outcome.failed.is_some() {
                outcome.text = renamed(outcome.text);
            }
            outcome
        })
    }

    fn destruction(
        &self,
        name: &str,
        arguments: Json<'_>,
        features: Features,
    ) -> Option<Destruction> {
        let tool = self.tools.iter().find(|tool| tool.spec.name == name)?;
        let arguments = Arguments::read(&tool.arguments, arguments).ok()?;
        let (name, arguments) = delegated(name, &arguments).ok()?;
        let arguments = Json::trusted(&arguments);
        self.entities.destruction(&name, arguments, features)
    }
}
