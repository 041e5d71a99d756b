//! Turns the API's responses into results: a single item, or a page of items.
//!
//! A result is text that is assembled from the response, which preserves the digits of numbers and
//! the order of keys. In a page, long strings are cut, and `truncated` names the fields that were
//! cut. A `nextCursor` that leads to no further page is dropped. A result that is too large is
//! refused with an error that names a page size that would fit.

use serde_json::Value;

use crate::foundation::json::Json;

use super::json_text::{TooDeepError, compact, push_string};

/// The number of characters to which the strings in a page are cut.
const PREVIEW: usize = 280;

/// The limits on results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest JSON text of a result, in bytes.
    pub max_result_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_result_bytes: 1 << 20,
        }
    }
}

/// The result of a successful call.
#[derive(Debug, Clone, PartialEq)]
pub struct Success {
    /// Compact JSON, with numbers exactly as the API sent them.
    pub text: String,
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
        /// The number of the page's items that would fit.
        fitting: u64,
    },
}

/// The arguments that a page was requested with.
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

/// The result for a single item. Unless `whole` is set, long strings are cut if the item would be
/// too large otherwise.
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

/// The result for a page. `has_next` is set if the API announced another page in a `Link` header.
pub(super) fn page(
    body: &[u8],
    request: PageRequest,
    has_next: bool,
    limits: &Limits,
) -> Result<Success, ResultError> {
    let members: Vec<_> = parse(body)?.members().collect();
    let listed = members
        .iter()
        .find(|(key, value)| key == "items" && value.is_array());
    let (_, listed) = listed.ok_or_else(|| malformed("a page without items"))?;
    let items: Vec<_> = listed.elements().collect();
    let longest = if request.full { None } else { Some(PREVIEW) };

    // Some compatible APIs send a cursor with the last page too. A page that is neither full nor
    // announced as continued is the last one.
    let full_page = u64::try_from(items.len()).unwrap_or(u64::MAX) >= request.limit;
    let continues = !items.is_empty() && (has_next || full_page);

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
            ("nextCursor", _) if !continues => {}
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

/// The number of leading items that would make a page of at most `max` bytes.
fn fitting(items: &[usize], size: usize, max: usize) -> u64 {
    let envelope = size.saturating_sub(items.iter().map(|item| item + 1).sum::<usize>());
    let fits = |size: &mut usize, item: &usize| {
        *size += item + 1;
        (*size <= max).then_some(())
    };
    items.iter().scan(envelope, fits).map(|()| 1).sum()
}

/// Validates an item and appends it to `out`. Cuts the strings of its payload to `longest`
/// characters.
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
            // Omitted, because the output schema does not allow null.
            ("deletedAt", "null") => {}
            // Where strings are cut, this server writes `truncated`.
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

/// Reads a single item, for the benchmarks.
#[cfg(feature = "pieces")]
pub fn read_item(body: &[u8], limits: &Limits) -> Option<Success> {
    item(body, true, limits).ok()
}

/// Reads a page, for the benchmarks.
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

/// Parses the text of a result, which is always valid JSON.
pub fn value_of(text: &str) -> Value {
    Json::trusted(text).to_value().unwrap_or_default()
}

/// Parses a response. Depth and surrogates are checked where the text is copied.
fn parse(body: &[u8]) -> Result<Json<'_>, ResultError> {
    Json::parse_syntax(body).map_err(|error| malformed(error.to_string()))
}

fn malformed(why: impl Into<String>) -> ResultError {
    ResultError::Malformed(why.into())
}

/// Writes a JSON object to the end of a text.
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

    /// Appends a key. The caller must append the value next.
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
