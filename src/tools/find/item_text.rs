//! An item as text for a model.

use serde_json::{Map, Value};

use crate::entities::Entity;
use crate::foundation::json::Json;
use crate::tools::result::{self, Limits};

/// The most bytes of an item's own text, and of all its children together. Clients cut results that
/// are much longer.
pub const MAX_TEXT: usize = 24 * 1024;

/// The longest title that is made of an item's text.
const MAX_TITLE: usize = 80;

/// The most bytes of one value of the metadata.
const MAX_VALUE: usize = 1000;

/// The fields that hold the main text of an item, by entity.
const BODIES: [&str; 2] = ["content", "description"];

/// An item that was read from the API.
#[derive(Debug)]
pub struct Item {
    pub entity: &'static Entity,
    pub uid: String,
    envelope: Map<String, Value>,
    /// The payload.
    fields: Map<String, Value>,
}

impl Item {
    /// Reads an item of the API. The error is for the log.
    pub fn read(entity: &'static Entity, body: &[u8]) -> Result<Self, String> {
        let unlimited = Limits {
            max_result_bytes: usize::MAX,
        };
        let item =
            result::item(body, entity, true, &unlimited).map_err(|error| format!("{error:?}"))?;
        Self::of_result(entity, &item.text)
    }

    /// Reads an item of a result.
    pub fn of_result(entity: &'static Entity, text: &str) -> Result<Self, String> {
        let value = Json::trusted(text).to_value();
        let Some(Value::Object(mut envelope)) = value else {
            return Err("an item that cannot be read".to_owned());
        };
        let uid = envelope.remove("uid");
        let payload = envelope.remove("payload");
        let (Some(Value::String(uid)), Some(Value::Object(payload))) = (uid, payload) else {
            return Err("an item without uid or payload".to_owned());
        };
        Ok(Self {
            entity,
            uid,
            envelope,
            fields: payload,
        })
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(Value::as_str)
    }

    fn has_title(&self) -> bool {
        self.field("title").is_some_and(|title| !title.is_empty())
    }

    /// The title, or the beginning of the text of an item without one.
    pub fn title(&self) -> String {
        if let Some(title) = self.field("title").filter(|title| !title.is_empty()) {
            return title.to_owned();
        }
        let body = self.body();
        let line = body.lines().next().unwrap_or_default();
        let mut title: String = line.chars().take(MAX_TITLE).collect();
        if title.len() < line.len() {
            title.push('…');
        }
        title
    }

    /// The main text.
    pub fn body(&self) -> String {
        let bodies = BODIES.into_iter().filter_map(|name| self.field(name));
        bodies.collect::<Vec<_>>().join("\n\n")
    }

    /// Time and author, where the item has them.
    pub fn heading(&self) -> String {
        let time = ["created_at", "updated_at"]
            .into_iter()
            .find_map(|key| self.envelope.get(key)?.as_str());
        let author = ["sender", "author"]
            .into_iter()
            .find_map(|name| self.field(name));
        let words = [time, author].into_iter().flatten();
        words.collect::<Vec<_>>().join(" ")
    }

    /// Title and text, in Markdown.
    pub fn to_text(&self) -> String {
        if self.has_title() {
            format!("# {}\n\n{}", self.title(), self.body())
        } else {
            self.body()
        }
    }

    /// All that the text does not have: version, times, status, tags and the caller's own fields.
    /// Long values are left out; `omitted` names them.
    pub fn metadata(&self) -> Map<String, Value> {
        let mut metadata = Map::new();
        metadata.insert("kind".to_owned(), self.entity.key.into());
        metadata.insert("uid".to_owned(), self.uid.clone().into());
        for (key, value) in &self.envelope {
            metadata.insert(key.clone(), value.clone());
        }
        let in_text = |name: &str| name == "title" || BODIES.contains(&name);
        let mut omitted = Vec::new();
        for (name, value) in &self.fields {
            if in_text(name) || metadata.contains_key(name) {
                continue;
            }
            if value.to_string().len() <= MAX_VALUE && name.len() <= MAX_VALUE {
                metadata.insert(name.clone(), value.clone());
            } else {
                omitted.push(name.chars().take(MAX_TITLE).collect::<String>());
            }
        }
        if !omitted.is_empty() {
            metadata.insert("omitted".to_owned(), omitted.into());
        }
        metadata
    }
}

/// Cuts a text to at most `max` bytes. Returns whether it was longer.
pub fn shorten(text: &mut String, max: usize) -> bool {
    if text.len() <= max {
        return false;
    }
    let end = (0..=max).rev().find(|at| text.is_char_boundary(*at));
    text.truncate(end.unwrap_or_default());
    text.push('…');
    true
}
