//! Turns the API's responses into results: a single item, or a page of items.
//!
//! A result is a copy of the response, checked and made in one pass ([`Copier`]), which preserves
//! the digits of numbers and the order of keys. Fields have the names that arguments have, and what
//! the API repeats of an item in its payload is left out. In a page, long strings are cut, and
//! `truncated` names the fields that were cut. The cursor comes last, and one that leads to no
//! further page is dropped. A page that is larger than pages should be comes with the number of its
//! items that would fit. A result that is too large is refused with an error.

use serde_json::Value;

use super::argument::MAX_LIMIT;
use super::entities::SERVER_KEYS;
use super::json_text::{self, Member};
use crate::entities::Entity;
use crate::foundation::json::{Copier, Json, JsonError, Object, replace_lone_surrogates};

/// The number of characters to which the strings in a page are cut.
const PREVIEW: usize = 280;

/// The most items of a page, since no page of more is asked for.
const MAX_ITEMS: usize = MAX_LIMIT as usize;

/// The most members of an item: its payload, and 64 others.
const MAX_MEMBERS: usize = 65;

/// What a cursor adds to a page, as far as it is not known.
const CURSOR_BYTES: usize = 128;

/// The limits on results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest JSON text of a result, in bytes.
    pub max_result_bytes: usize,
    /// The JSON text at which a page ends, in bytes, if it has more than one item.
    pub max_page_bytes: usize,
}

impl Limits {
    /// For results that are not for a client.
    pub const UNLIMITED: Self = Self {
        max_result_bytes: usize::MAX,
        max_page_bytes: usize::MAX,
    };

    /// The number of leading items that fit into a page, if a page of this size has too many.
    /// `items` are the sizes of its items.
    pub(super) fn fitting(&self, items: &[usize], size: usize, has_cursor: bool) -> Option<u64> {
        let max = self.max_page_bytes.min(self.max_result_bytes);
        if size <= max || items.len() < 2 {
            return None;
        }
        // A shorter page has a cursor, even if this one has none.
        let size = size + if has_cursor { 0 } else { CURSOR_BYTES };
        let envelope = size.saturating_sub(items.iter().map(|item| item + 1).sum::<usize>());
        let fits = |size: &mut usize, item: &usize| {
            *size += item + 1;
            (*size <= max).then_some(())
        };
        let fitting: u64 = items.iter().scan(envelope, fits).map(|()| 1).sum();
        Some(fitting.max(1))
    }
}

/// The result of a successful call.
#[derive(Debug, Clone, PartialEq)]
pub struct Success {
    /// Compact JSON, with numbers exactly as the API sent them.
    pub text: String,
    /// The number of leading items that fit into a page, if this page has more.
    pub fitting: Option<u64>,
}

#[cfg(test)]
impl Success {
    pub fn value(&self) -> Value {
        value_of(&self.text)
    }
}

/// Why a response cannot be turned into a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ResultError {
    /// The response violates the contract. The reason contains no text from the API.
    Malformed(String),
    TooLarge {
        size: usize,
        /// The number of the page's items that would fit into a page; 0 for a single item.
        fitting: u64,
    },
}

/// The arguments that a page was requested with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageRequest {
    pub limit: u64,
    pub full: bool,
}

impl From<JsonError> for ResultError {
    fn from(error: JsonError) -> Self {
        malformed(error.to_string())
    }
}

/// The result for a single item. Unless `whole` is set, long strings are cut if the item would be
/// too large otherwise.
pub(super) fn item(
    body: &[u8],
    entity: &Entity,
    whole: bool,
    limits: &Limits,
) -> Result<Success, ResultError> {
    let max = limits.max_result_bytes;
    let read = |longest| {
        let mut copier = Copier::new(body, max)?;
        copy_item(&mut copier, entity, longest)?;
        Ok::<_, ResultError>(copier.finish()?)
    };
    let (mut text, mut size) = read(None)?;
    if size > max && !whole {
        (text, size) = read(Some(PREVIEW))?;
    }
    if size > max {
        return Err(ResultError::TooLarge { size, fitting: 0 });
    }
    Ok(Success {
        text,
        fitting: None,
    })
}

/// The result for a page. `has_next` is set if the API announced another page in a `Link` header.
///
/// If `items` occurs several times, the first array counts. Of several cursors, the last one does.
pub(super) fn page(
    body: &[u8],
    entity: &Entity,
    request: PageRequest,
    has_next: bool,
    limits: &Limits,
) -> Result<Success, ResultError> {
    let max = limits.max_result_bytes;
    let longest = if request.full { None } else { Some(PREVIEW) };
    let mut copier = Copier::new(body, max)?;
    if copier.peek() != Some(b'{') {
        copier.value(None)?;
        return Err(malformed("a page without items"));
    }
    let mut page = copier.begin_object()?;
    let (mut sizes, mut cursor) = (None, None);
    while let Some(key) = copier.next_member(&mut page)? {
        match &*key.decoded() {
            "items" if sizes.is_none() && copier.peek() == Some(b'[') => {
                sizes = Some(copy_items(&mut copier, entity, longest)?);
            }
            "items" => drop(copier.omit_member(&mut page)?),
            // Whether it is kept depends on the items, which may follow.
            "nextCursor" => match copier.omit_member(&mut page)?.get() {
                "null" | "\"\"" => {}
                other => cursor = Some(other),
            },
            _ => drop(copier.value(None)?),
        }
    }
    let sizes = sizes.ok_or_else(|| malformed("a page without items"))?;

    // Some compatible APIs send a cursor with the last page too. A page that is neither full nor
    // announced as continued is the last one.
    let full_page = u64::try_from(sizes.len()).unwrap_or(u64::MAX) >= request.limit;
    let continues = !sizes.is_empty() && (has_next || full_page);
    let cursor = cursor.filter(|_| continues);
    let has_cursor = cursor.is_some();
    if let Some(cursor) = cursor {
        if !cursor.starts_with('"') {
            return Err(malformed("a nextCursor that is no string"));
        }
        copier.add_member(&mut page, "next_cursor", &replace_lone_surrogates(cursor));
    }
    copier.end_object(page)?;
    let (text, size) = copier.finish()?;
    let fitting = limits.fitting(&sizes, size, has_cursor);
    if size > max {
        let fitting = fitting.unwrap_or_default();
        return Err(ResultError::TooLarge { size, fitting });
    }
    Ok(Success { text, fitting })
}

/// Copies the items of a page, and returns their sizes in the copy.
fn copy_items(
    copier: &mut Copier<'_>,
    entity: &Entity,
    longest: Option<usize>,
) -> Result<Vec<usize>, ResultError> {
    let mut sizes = Vec::new();
    let mut items = copier.begin_array()?;
    while copier.next_element(&mut items)? {
        if sizes.len() == MAX_ITEMS {
            return Err(malformed(format!("a page of more than {MAX_ITEMS} items")));
        }
        copier.peek();
        let before = copier.length();
        copy_item(copier, entity, longest)?;
        sizes.push(copier.length() - before);
    }
    copier.end_array(items)?;
    Ok(sizes)
}

/// The members that every item has. Of several members with the same name, the first one is
/// checked.
const REQUIRED: [&str; 4] = ["uid", "version", "updatedAt", "payload"];

/// Validates and copies an item. Cuts the strings of its payload to `longest` characters.
fn copy_item(
    copier: &mut Copier<'_>,
    entity: &Entity,
    longest: Option<usize>,
) -> Result<(), ResultError> {
    let mut proper = [None; REQUIRED.len()];
    let mut cut = Vec::new();
    if copier.peek() != Some(b'{') {
        copier.value(None)?;
        return Err(malformed("an item that is no object"));
    }
    let mut item = copier.begin_object()?;
    let mut members = 0;
    while let Some(key) = copier.next_member(&mut item)? {
        members += 1;
        if members > MAX_MEMBERS {
            return Err(malformed(format!(
                "an item of more than {MAX_MEMBERS} members"
            )));
        }
        let first = copier.peek();
        let key = key.decoded();
        if let Some(at) = REQUIRED.iter().position(|name| *name == key) {
            let is_proper = match (&*key, first) {
                ("version", first) => first.is_some_and(|byte| byte.is_ascii_digit()),
                ("payload", first) => first == Some(b'{'),
                (_, first) => first == Some(b'"'),
            };
            proper
                .get_mut(at)
                .map(|known| known.get_or_insert(is_proper));
        }
        match &*key {
            "payload" if first == Some(b'{') => cut = copy_payload(copier, entity, longest)?,
            // Omitted, because the output schema does not allow null.
            "deletedAt" if first == Some(b'n') => drop(copier.omit_member(&mut item)?),
            // Where strings are cut, this server writes `truncated`.
            "truncated" if longest.is_some() => drop(copier.omit_member(&mut item)?),
            "createdAt" => copy_renamed(copier, &item, "created_at")?,
            "updatedAt" => copy_renamed(copier, &item, "updated_at")?,
            "deletedAt" => copy_renamed(copier, &item, "deleted_at")?,
            _ => drop(copier.value(None)?),
        }
    }
    if let Some((name, _)) = REQUIRED
        .iter()
        .zip(proper)
        .find(|(_, proper)| *proper != Some(true))
    {
        return Err(malformed(format!("an item without a proper {name}")));
    }
    if !cut.is_empty() {
        copier.add_member(&mut item, "truncated", &Value::from(cut).to_string());
    }
    copier.end_object(item)?;
    Ok(())
}

fn copy_renamed(copier: &mut Copier<'_>, item: &Object, name: &str) -> Result<(), JsonError> {
    copier.rename_member(item, name);
    copier.value(None).map(drop)
}

/// Copies a payload with the names that its fields have as arguments, and without what the API
/// repeats in it of the item. Returns the names of the fields in which a string was cut.
fn copy_payload(
    copier: &mut Copier<'_>,
    entity: &Entity,
    longest: Option<usize>,
) -> Result<Vec<String>, ResultError> {
    let decide = |key: &str| {
        if SERVER_KEYS.contains(&key) {
            return Member::Omitted;
        }
        let field = entity.fields.iter().find(|field| field.wire == key);
        match field {
            Some(field) if field.name != field.wire => Member::Renamed(field.name),
            _ => Member::Kept,
        }
    };
    Ok(json_text::object(copier, longest, decide)?)
}

/// Reads a single item, for the benchmarks.
#[cfg(feature = "internals")]
pub fn read_item(body: &[u8], limits: &Limits) -> Option<Success> {
    item(body, Entity::by_key("note")?, true, limits).ok()
}

/// Reads a page, for the benchmarks.
#[cfg(feature = "internals")]
pub fn read_page(body: &[u8], limits: &Limits) -> Option<Success> {
    page(
        body,
        Entity::by_key("note")?,
        PageRequest {
            limit: 50,
            full: false,
        },
        false,
        limits,
    )
    .ok()
}

/// Parses the text of a result, which is always valid JSON.
pub fn value_of(text: &str) -> Value {
    Json::trusted(text).to_value().unwrap_or_default()
}

fn malformed(why: impl Into<String>) -> ResultError {
    ResultError::Malformed(why.into())
}
