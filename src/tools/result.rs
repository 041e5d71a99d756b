//! Turns the API's answers into results: an item, or a page that is meant for finding things.
//!
//! A result is text, spliced from the API's own, so digits and the order of keys survive; it is read into a value only
//! where one is asked for. A page's long strings are cut and the cut is named, a `nextCursor` that leads nowhere is
//! dropped, and a result that is too large is refused together with a page size that would fit.

use serde_json::Value;

use crate::foundation::json::Json;

use super::json_text::{TooDeepError, compact, push_string};

/// Strings in a page are cut after so many characters.
const PREVIEW: usize = 280;

/// What the server is willing to hand out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A result's JSON text may have so many bytes.
    pub max_result_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_result_bytes: 1 << 20,
        }
    }
}

/// A call that did what it should.
#[derive(Debug, Clone, PartialEq)]
pub struct Success {
    /// Compact JSON, digit for digit what the API sent.
    pub text: String,
}

#[cfg(test)]
impl Success {
    pub fn value(&self) -> Value {
        value_of(&self.text)
    }
}

/// Why an answer is no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ResultError {
    /// Not what the contract promises. The reason is ours, not the API's.
    Malformed(String),
    TooLarge {
        size: usize,
        /// So many of the page's items would fit.
        fitting: u64,
    },
}

/// How a page was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageRequest {
    pub limit: u64,
    pub full: bool,
}

impl From<TooDeepError> for ResultError {
    fn from(_: TooDeepError) -> Self {
        malformed("nested too deeply")
    }
}

/// An item. With `whole` nothing in it is cut; without, long strings are, if it would be too large otherwise.
pub(super) fn item(body: &[u8], whole: bool, limits: &Limits) -> Result<Success, ResultError> {
    let item = parse(body)?;
    let mut text = String::with_capacity(body.len());
    splice_item(item, None, &mut text)?;
    if text.len() > limits.max_result_bytes && !whole {
        text.clear();
        splice_item(item, Some(PREVIEW), &mut text)?;
    }
    if text.len() > limits.max_result_bytes {
        return Err(ResultError::TooLarge {
            size: text.len(),
            fitting: 0,
        });
    }
    Ok(Success { text })
}

/// A page. `has_next` is the API's own word that another one follows.
pub(super) fn page(
    body: &[u8],
    wish: PageRequest,
    has_next: bool,
    limits: &Limits,
) -> Result<Success, ResultError> {
    let members: Vec<_> = parse(body)?.members().collect();
    let listed = members
        .iter()
        .find(|(key, value)| key == "items" && value.is_array());
    let (_, listed) = listed.ok_or_else(|| malformed("a page without items"))?;
    let items: Vec<_> = listed.elements().collect();
    let longest = if wish.full { None } else { Some(PREVIEW) };

    let full_page = u64::try_from(items.len()).unwrap_or(u64::MAX) >= wish.limit;
    let leads_on = !items.is_empty() && (has_next || full_page);

    let mut text = String::with_capacity(body.len());
    let mut sizes = Vec::with_capacity(items.len());
    let mut object = Object::new(&mut text);
    for (key, value) in &members {
        match (key.as_ref(), value.get()) {
            ("items", _) => {
                let out = object.key(key);
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    let before = out.len();
                    splice_item(*item, longest, out)?;
                    sizes.push(out.len() - before);
                }
                out.push(']');
            }
            ("nextCursor", "null" | "\"\"") => {}
            ("nextCursor", _) if !leads_on => {}
            ("nextCursor", cursor) if !cursor.starts_with('"') => {
                return Err(malformed("a nextCursor that is no string"));
            }
            (_, other) => drop(compact(other, None, object.key(key))?),
        }
    }
    object.finish();
    if text.len() > limits.max_result_bytes {
        let fitting = fitting(&sizes, text.len(), limits.max_result_bytes);
        return Err(ResultError::TooLarge {
            size: text.len(),
            fitting,
        });
    }
    Ok(Success { text })
}

/// How many of the first items would have made a page of at most `max` bytes.
fn fitting(items: &[usize], size: usize, max: usize) -> u64 {
    let around = size.saturating_sub(items.iter().map(|item| item + 1).sum::<usize>());
    let fits = |size: &mut usize, item: &usize| {
        *size += item + 1;
        (*size <= max).then_some(())
    };
    items.iter().scan(around, fits).map(|()| 1).sum()
}

/// Writes an item anew with its payload cut if need be, after making sure that it is one.
fn splice_item(
    item: Json<'_>,
    longest: Option<usize>,
    out: &mut String,
) -> Result<(), ResultError> {
    let members: Vec<_> = item.members().collect();
    let is_version = |version: Json<'_>| {
        version
            .get()
            .starts_with(|first: char| first.is_ascii_digit())
    };
    for (name, is_proper) in [
        (
            "uid",
            &(|uid: Json<'_>| uid.is_string()) as &dyn Fn(Json<'_>) -> bool,
        ),
        ("version", &is_version),
        ("updatedAt", &|time| time.is_string()),
        ("payload", &|payload| payload.is_object()),
    ] {
        let member = members.iter().find(|(key, _)| key == name);
        if !member.is_some_and(|(_, value)| is_proper(*value)) {
            return Err(malformed(format!("an item without a proper {name}")));
        }
    }
    let mut object = Object::new(out);
    let mut cut = Vec::new();
    for (key, value) in &members {
        match (key.as_ref(), value.get()) {
            // To a client that checks results against the schema, absent and null are not the same.
            ("deletedAt", "null") => {}
            // In a page the word is ours.
            ("truncated", _) if longest.is_some() => {}
            ("payload", payload) => cut = compact(payload, longest, object.key(key))?,
            (_, other) => drop(compact(other, None, object.key(key))?),
        }
    }
    if !cut.is_empty() {
        object
            .key("truncated")
            .push_str(&Value::from(cut).to_string());
    }
    object.finish();
    Ok(())
}

/// An item that was asked for, for the benchmarks.
#[cfg(feature = "pieces")]
pub fn read_item(body: &[u8], limits: &Limits) -> Option<Success> {
    item(body, true, limits).ok()
}

/// A page as it is listed, for the benchmarks.
#[cfg(feature = "pieces")]
pub fn read_page(body: &[u8], limits: &Limits) -> Option<Success> {
    page(
        body,
        PageRequest {
            limit: 50,
            full: false,
        },
        false,
        limits,
    )
    .ok()
}

/// What a result's text says. It was put together from JSON, so there is nothing in it that cannot be read.
pub fn value_of(text: &str) -> Value {
    Json::trusted(text).to_value().unwrap_or_default()
}

/// Depth and surrogates are looked after where the text is copied.
fn parse(body: &[u8]) -> Result<Json<'_>, ResultError> {
    Json::parse_syntax(body).map_err(|error| malformed(error.to_string()))
}

fn malformed(why: impl Into<String>) -> ResultError {
    ResultError::Malformed(why.into())
}

/// An object in the making, at the end of a text.
struct Object<'a> {
    out: &'a mut String,
    is_empty: bool,
}

impl<'a> Object<'a> {
    fn new(out: &'a mut String) -> Self {
        out.push('{');
        Self {
            out,
            is_empty: true,
        }
    }

    /// The value is to be appended next.
    fn key(&mut self, key: &str) -> &mut String {
        if !std::mem::take(&mut self.is_empty) {
            self.out.push(',');
        }
        push_string(key, self.out);
        self.out.push(':');
        self.out
    }

    fn finish(self) {
        self.out.push('}');
    }
}
