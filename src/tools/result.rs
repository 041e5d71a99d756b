//! Turns the API's answers into results: an item, or a page that is meant for finding things.
//!
//! A result is text, spliced from the API's own, so digits and the order of keys survive; it is read into a value only
//! where one is asked for. A page's long strings are cut and the cut is named, a `nextCursor` that leads nowhere is
//! dropped, and a result that is too large is refused together with a page size that would fit.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::text::{TooDeep, compact, push_string};

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
pub(super) enum Unusable {
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
pub(super) struct PageWish {
    pub limit: u64,
    pub full: bool,
}

impl From<TooDeep> for Unusable {
    fn from(_: TooDeep) -> Self {
        malformed("nested too deeply")
    }
}

/// An item. With `whole` nothing in it is cut; without, long strings are, if it would be too large otherwise.
pub(super) fn item(body: &[u8], whole: bool, limits: &Limits) -> Result<Success, Unusable> {
    let body = utf8(body)?;
    let mut text = String::with_capacity(body.len());
    let members = parse(body)?;
    splice_item(&members, None, &mut text)?;
    if text.len() > limits.max_result_bytes && !whole {
        text.clear();
        splice_item(&members, Some(PREVIEW), &mut text)?;
    }
    if text.len() > limits.max_result_bytes {
        return Err(Unusable::TooLarge {
            size: text.len(),
            fitting: 0,
        });
    }
    Ok(Success { text })
}

/// A page. `has_next` is the API's own word that another one follows.
pub(super) fn page(body: &[u8], wish: PageWish, has_next: bool, limits: &Limits) -> Result<Success, Unusable> {
    let Page(members) = parse(utf8(body)?)?;
    let listed = members.iter().find_map(|(_, part)| match part {
        Part::Items(items) => Some(items),
        Part::Other(_) => None,
    });
    let listed = listed.ok_or_else(|| malformed("a page without items"))?;
    let longest = if wish.full { None } else { Some(PREVIEW) };
    let full_page = u64::try_from(listed.len()).unwrap_or(u64::MAX) >= wish.limit;
    let leads_on = !listed.is_empty() && (has_next || full_page);

    let mut text = String::with_capacity(body.len());
    let mut sizes = Vec::with_capacity(listed.len());
    let mut page = Object::new(&mut text);
    for (key, part) in &members {
        let value = match part {
            Part::Items(items) => {
                let out = page.key(key);
                out.push('[');
                for (place, item) in items.iter().enumerate() {
                    if place > 0 {
                        out.push(',');
                    }
                    let before = out.len();
                    splice_item(item, longest, out)?;
                    sizes.push(out.len() - before);
                }
                out.push(']');
                continue;
            }
            Part::Other(value) => value.get(),
        };
        match (key.as_ref(), value) {
            ("nextCursor", "null" | "\"\"") => {}
            ("nextCursor", _) if !leads_on => {}
            ("nextCursor", cursor) if !cursor.starts_with('"') => {
                return Err(malformed("a nextCursor that is no string"));
            }
            (_, other) => drop(compact(other, None, page.key(key))?),
        }
    }
    page.finish();
    if text.len() > limits.max_result_bytes {
        let fitting = fitting(&sizes, text.len(), limits.max_result_bytes);
        return Err(Unusable::TooLarge {
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
fn splice_item(Members(members): &Members<'_>, longest: Option<usize>, out: &mut String) -> Result<(), Unusable> {
    for (key, opening) in [("uid", '"'), ("version", '0'), ("updatedAt", '"'), ("payload", '{')] {
        let first = members
            .iter()
            .find(|(name, _)| name == key)
            .and_then(|(_, value)| value.get().chars().next());
        let fits = first.is_some_and(|first| {
            if opening == '0' {
                first.is_ascii_digit()
            } else {
                first == opening
            }
        });
        if !fits {
            return Err(malformed(format!("an item without a proper {key}")));
        }
    }
    let mut item = Object::new(out);
    let mut cut = Vec::new();
    for (key, value) in members {
        match (key.as_ref(), value.get()) {
            // To a client that checks results against the schema, absent and null are not the same.
            ("deletedAt", "null") => {}
            // In a page the word is ours.
            ("truncated", _) if longest.is_some() => {}
            ("payload", payload) => cut = compact(payload, longest, item.key(key))?,
            (_, other) => drop(compact(other, None, item.key(key))?),
        }
    }
    if !cut.is_empty() {
        item.key("truncated").push_str(&Value::from(cut).to_string());
    }
    item.finish();
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
    page(body, PageWish { limit: 50, full: false }, false, limits).ok()
}

/// What a result's text says. It was put together from JSON, so there is nothing in it that cannot be read.
pub fn value_of(text: &str) -> Value {
    read(text).unwrap_or_default()
}

/// serde_json hands numbers and raw text around as objects with a key of its own making, and takes an object that really
/// has such a key for one. Stored data may contain anything, so where the word turns up, objects are read one by one.
fn read(text: &str) -> Result<Value, Unusable> {
    if text.contains("serde_json::private") {
        return read_by_hand(text);
    }
    serde_json::from_str(text).or_else(|_| read_by_hand(text))
}

fn read_by_hand(text: &str) -> Result<Value, Unusable> {
    match text.as_bytes().first() {
        Some(b'{') => {
            let Members(members) = parse(text)?;
            let members = members
                .into_iter()
                .map(|(key, value)| Ok((key.into_owned(), read_by_hand(value.get())?)));
            members.collect::<Result<_, _>>().map(Value::Object)
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = parse(text)?;
            let items = items.into_iter().map(|item| read_by_hand(item.get()));
            items.collect::<Result<_, _>>().map(Value::Array)
        }
        _ => parse(text),
    }
}

fn utf8(body: &[u8]) -> Result<&str, Unusable> {
    std::str::from_utf8(body).map_err(|_| malformed("not UTF-8"))
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Unusable> {
    serde_json::from_str(text).map_err(|error| malformed(error.to_string()))
}

fn malformed(why: impl Into<String>) -> Unusable {
    Unusable::Malformed(why.into())
}

/// An object's members in their order, each value still as text.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// A page's members in their order, its items split as well, so that the text is read through once.
struct Page<'a>(Vec<(Cow<'a, str>, Part<'a>)>);

enum Part<'a> {
    Items(Vec<Members<'a>>),
    Other(&'a RawValue),
}

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Key(key), value)) = map.next_entry()? {
                    members.push((key, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

impl<'de> Deserialize<'de> for Page<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Page<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a page")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(Key(key)) = map.next_key()? {
                    let part = if key == "items" {
                        Part::Items(map.next_value()?)
                    } else {
                        Part::Other(map.next_value()?)
                    };
                    members.push((key, part));
                }
                Ok(Page(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// An object in the making, at the end of a text.
struct Object<'a> {
    out: &'a mut String,
    is_empty: bool,
}

impl<'a> Object<'a> {
    fn new(out: &'a mut String) -> Self {
        out.push('{');
        Self { out, is_empty: true }
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
