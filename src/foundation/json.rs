//! Reads JSON from other programs without building a document.
//!
//! A parsed document takes up to 36 times the memory of its text (`[0,0,…]`), and most input is
//! only passed on. Messages, arguments and answers therefore stay text: [`Json`] is a slice known
//! to be one value, and its members and elements are slices of it.
//!
//! [`MAX_DEPTH`] bounds the nesting of all input, here and in `serde_json`, which has the same
//! limit. The features `raw_value` and `arbitrary_precision` of `serde_json` must stay off: with
//! them it interprets objects with certain keys as raw text or as numbers, and restarts the depth
//! limit inside. The test `the_build_reads_no_magic_keys` enforces this.

mod copier;

use std::borrow::Cow;
use std::io::Write;

use memchr::{memchr, memchr2, memchr2_iter};
use serde::de::IgnoredAny;
use serde_json::Value;

pub use copier::{Copier, Object};

/// Maximum nesting of objects and arrays, the outermost included. Equals the limit of `serde_json`.
pub const MAX_DEPTH: usize = 127;

/// The UTF-8 byte order mark, which some editors and shells put before a text. RFC 8259 lets
/// readers ignore it.
pub const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Strings up to this length are searched without `memchr`.
const SHORT_STRING: usize = 48;

/// The text of one JSON value, without surrounding white space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Json<'a>(&'a str);

/// Why a text is not accepted as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    #[error("it is not valid JSON")]
    Syntax,
    #[error("it is nested too deeply")]
    TooDeep,
    /// JSON can express it (`\ud83d`), but no Unicode text contains it.
    #[error("a text holds half of a surrogate pair")]
    LoneSurrogate,
}

impl<'a> Json<'a> {
    pub const NULL: Json<'static> = Json("null");
    pub const EMPTY_OBJECT: Json<'static> = Json("{}");

    /// Parses `text` and enforces every limit.
    pub fn parse(text: &'a [u8]) -> Result<Self, JsonError> {
        let json = Self::parse_syntax(text)?;
        json.check()?;
        Ok(json)
    }

    /// Checks the grammar only. This check and the other methods of [`Json`] are safe at any depth,
    /// except [`Json::to_value`], which has its own limit, and [`Json::to_pretty`], which recurses.
    /// Call [`Json::check`] before passing the text on.
    pub fn parse_syntax(text: &'a [u8]) -> Result<Self, JsonError> {
        let text = std::str::from_utf8(text).map_err(|_| JsonError::Syntax)?;
        // `IgnoredAny` neither recurses nor allocates.
        serde_json::from_str::<IgnoredAny>(text).map_err(|_| JsonError::Syntax)?;
        Ok(Self(text.trim_matches(is_space)))
    }

    /// Wraps text that this program has written, without checking it.
    pub fn trusted(text: &'a str) -> Self {
        Self(text)
    }

    /// Refuses text that is nested too deeply or contains half of a surrogate pair.
    pub fn check(self) -> Result<(), JsonError> {
        let bytes = self.0.as_bytes();
        // Most texts have neither escapes nor enough brackets, wherever these stand.
        let mut brackets = memchr2_iter(b'{', b'[', bytes);
        if memchr(b'\\', bytes).is_none() && brackets.nth(MAX_DEPTH).is_none() {
            return Ok(());
        }
        let (mut depth, mut at) = (0_usize, 0);
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'{' | b'[' => {
                    depth += 1;
                    if depth > MAX_DEPTH {
                        return Err(JsonError::TooDeep);
                    }
                }
                b'}' | b']' => depth = depth.saturating_sub(1),
                b'"' => {
                    let (end, escapes) = end_of_string(bytes, at + 1);
                    let inner = self.0.get(at + 1..end).unwrap_or_default();
                    if escapes && inner.contains("\\u") && decode(inner).is_none() {
                        return Err(JsonError::LoneSurrogate);
                    }
                    at = end;
                }
                _ => {}
            }
            at += 1;
        }
        Ok(())
    }

    /// Nesting depth of objects and arrays, this one included.
    pub fn depth(self) -> usize {
        let (mut depth, mut deepest) = (0_usize, 0);
        for byte in outside_strings(self.0) {
            match byte {
                b'{' | b'[' => {
                    depth += 1;
                    deepest = deepest.max(depth);
                }
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        deepest
    }

    /// The text before and after `part`, which is a slice of this value.
    pub fn around(self, part: Json<'_>) -> Option<(&'a str, &'a str)> {
        let begin = part.0.as_ptr().addr().checked_sub(self.0.as_ptr().addr())?;
        let (head, rest) = self.0.split_at_checked(begin)?;
        Some((head, rest.strip_prefix(part.0)?))
    }

    pub fn get(self) -> &'a str {
        self.0
    }

    pub fn is_object(self) -> bool {
        self.0.starts_with('{')
    }

    pub fn is_array(self) -> bool {
        self.0.starts_with('[')
    }

    pub fn is_string(self) -> bool {
        self.0.starts_with('"')
    }

    pub fn is_number(self) -> bool {
        self.0
            .starts_with(|first: char| first == '-' || first.is_ascii_digit())
    }

    pub fn is_null(self) -> bool {
        self.0 == "null"
    }

    pub fn as_bool(self) -> Option<bool> {
        match self.0 {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    pub fn as_u64(self) -> Option<u64> {
        self.0.parse().ok().filter(|_| self.is_number())
    }

    pub fn as_f64(self) -> Option<f64> {
        self.0.parse().ok().filter(|_| self.is_number())
    }

    /// The unescaped string. `None` for other values and for text that is not Unicode.
    pub fn as_str(self) -> Option<Cow<'a, str>> {
        let inner = self.0.strip_prefix('"')?.strip_suffix('"')?;
        decode(inner)
    }

    /// The members of an object, in order. Other values have none.
    pub fn members(self) -> Members<'a> {
        let at = if self.is_object() { 1 } else { self.0.len() };
        Members(Parts { text: self.0, at })
    }

    /// The first member named `name`.
    pub fn member(self, name: &str) -> Option<Self> {
        self.members()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }

    /// The member named `name`. `None` if it occurs twice, because two readers could disagree on
    /// which one counts.
    pub fn sole_member(self, name: &str) -> Option<Self> {
        let mut found = self.members().filter(|(key, _)| key == name);
        let (_, value) = found.next()?;
        found.next().is_none().then_some(value)
    }

    /// The elements of an array. Other values have none.
    pub fn elements(self) -> Elements<'a> {
        let at = if self.is_array() { 1 } else { self.0.len() };
        Elements(Parts { text: self.0, at })
    }

    /// The same value without white space between tokens.
    pub fn to_compact(self) -> Cow<'a, str> {
        if !self.0.contains([' ', '\n', '\t', '\r']) {
            return self.0.into();
        }
        let bytes = self.0.as_bytes();
        let mut out = String::with_capacity(bytes.len());
        let (mut copied, mut at) = (0, 0);
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'"' => at = end_of_string(bytes, at + 1).0,
                b' ' | b'\t' | b'\n' | b'\r' => {
                    out.push_str(self.0.get(copied..at).unwrap_or_default());
                    copied = at + 1;
                }
                _ => {}
            }
            at += 1;
        }
        out.push_str(self.0.get(copied..).unwrap_or_default());
        out.into()
    }

    /// The same value on several lines, indented by two spaces.
    pub fn to_pretty(self) -> String {
        let mut out = String::with_capacity(self.0.len() * 2);
        self.write_pretty(0, &mut out);
        out
    }

    fn write_pretty(self, indent: usize, out: &mut String) {
        let parts = Parts {
            text: self.0,
            at: 1,
        };
        let (open, close) = match self.0.as_bytes().first() {
            Some(b'{') => ('{', '}'),
            Some(b'[') => ('[', ']'),
            _ => return out.push_str(self.0),
        };
        out.push(open);
        let (mut is_empty, mut is_value) = (true, self.is_array());
        for part in parts {
            if is_value && self.is_object() {
                out.push_str(": ");
            } else {
                out.push_str(if is_empty { "\n" } else { ",\n" });
                out.extend(std::iter::repeat_n("  ", indent + 1));
            }
            part.write_pretty(indent + 1, out);
            is_empty = false;
            is_value ^= self.is_object();
        }
        if !is_empty {
            out.push('\n');
            out.extend(std::iter::repeat_n("  ", indent));
        }
        out.push(close);
    }

    /// Builds a document. Use it for small texts only: see the [module](self).
    pub fn to_value(self) -> Option<Value> {
        serde_json::from_str(self.0).ok()
    }
}

/// Counts objects, arrays and commas, which bounds the number of values in the text. The text may
/// be a piece of a document, but must not start or end inside a string.
pub fn count_parts(text: &str) -> usize {
    let is_part = |byte: &u8| matches!(byte, b'{' | b'[' | b',');
    outside_strings(text).filter(is_part).count()
}

/// The bytes of the text outside strings, except that each opening quote is included.
fn outside_strings(text: &str) -> impl Iterator<Item = u8> {
    let (bytes, mut at) = (text.as_bytes(), 0);
    std::iter::from_fn(move || {
        let byte = *bytes.get(at)?;
        if byte == b'"' {
            at = end_of_string(bytes, at + 1).0;
        }
        at += 1;
        Some(byte)
    })
}

/// See [`Json::members`].
#[derive(Debug, Clone)]
pub struct Members<'a>(Parts<'a>);

/// See [`Json::elements`].
#[derive(Debug, Clone)]
pub struct Elements<'a>(Parts<'a>);

impl<'a> Iterator for Members<'a> {
    type Item = (Cow<'a, str>, Json<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, escapes) = self.0.next_part()?;
        let value = self.0.next()?;
        let inner = key.0.strip_prefix('"')?.strip_suffix('"')?;
        let name = if escapes {
            decode_lossy(inner)
        } else {
            inner.into()
        };
        Some((name, value))
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Json<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

/// Iterates over the values directly inside an object or an array, keys included.
#[derive(Debug, Clone)]
struct Parts<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Iterator for Parts<'a> {
    type Item = Json<'a>;

    fn next(&mut self) -> Option<Json<'a>> {
        self.next_part().map(|(part, _)| part)
    }
}

impl<'a> Parts<'a> {
    /// The next value, and whether it is a string with escapes.
    fn next_part(&mut self) -> Option<(Json<'a>, bool)> {
        let bytes = self.text.as_bytes();
        let between = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':');
        while bytes.get(self.at).is_some_and(between) {
            self.at += 1;
        }
        let mut escapes = false;
        let end = match bytes.get(self.at)? {
            b'}' | b']' => return None,
            b'"' => {
                let (end, has_escapes) = end_of_string(bytes, self.at + 1);
                escapes = has_escapes;
                end + 1
            }
            b'{' | b'[' => end_of_nested(bytes, self.at),
            _ => {
                let rest = bytes.get(self.at..).unwrap_or_default();
                let ends = |byte: &u8| between(byte) || matches!(byte, b'}' | b']');
                self.at + rest.iter().position(ends).unwrap_or(rest.len())
            }
        };
        let part = self.text.get(self.at..end)?;
        self.at = end;
        Some((Json(part), escapes))
    }
}

/// The end of the object or array that starts at `at`.
fn end_of_nested(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = end_of_string(bytes, at + 1).0,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// The index of the closing quote of the string whose first character is at `at`, and whether the
/// string contains escapes.
pub fn end_of_string(bytes: &[u8], mut at: usize) -> (usize, bool) {
    // Most strings are short, and end before `memchr2` has begun.
    let near = bytes.len().min(at.saturating_add(SHORT_STRING));
    at = end_of_plain(bytes.get(..near).unwrap_or_default(), at);
    if at < near && bytes.get(at) == Some(&b'"') {
        return (at, false);
    }
    let mut escapes = false;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if bytes.get(at) == Some(&b'"') {
            return (at, escapes);
        }
        escapes = true;
        at += 2;
    }
    (bytes.len(), escapes)
}

/// The position of the next quote, backslash or control character.
#[inline]
fn end_of_plain(bytes: &[u8], mut at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    let (chunks, tail) = rest.as_chunks();
    for chunk in chunks {
        let plain = plain_bytes(*chunk);
        at += plain;
        if plain < chunk.len() {
            return at;
        }
    }
    at + tail
        .iter()
        .position(|byte| is_special(*byte))
        .unwrap_or(tail.len())
}

/// Whether a byte cannot stand for itself in a string.
fn is_special(byte: u8) -> bool {
    matches!(byte, 0..0x20 | b'"' | b'\\')
}

/// The number of bytes before the first that [`is_special`].
fn plain_bytes(chunk: [u8; 8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let word = u64::from_le_bytes(chunk);
    // The lowest bit that is set belongs to the first byte found; those above it may be wrong.
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word;
    let is = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    let found = (below(word, 0x20) | is(b'"') | is(b'\\')) & HIGHS;
    found.trailing_zeros() as usize / 8
}

/// Appends compact JSON as a JSON string. Compact JSON has a quote every few bytes, and a copy of
/// eight bytes, of which some are taken back, is cheaper than one of an unknown number.
pub fn push_quoted(json: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = json.as_bytes();
    while let Some(chunk) = rest.first_chunk() {
        let plain = plain_bytes(*chunk);
        out.extend_from_slice(chunk);
        rest = match chunk.get(plain) {
            None => rest.get(plain..),
            Some(special) => {
                out.truncate(out.len() + plain - chunk.len());
                push_escaped(*special, out);
                rest.get(plain + 1..)
            }
        }
        .unwrap_or_default();
    }
    for byte in rest {
        push_escaped(*byte, out);
    }
    out.push(b'"');
}

#[inline]
fn push_escaped(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        0..0x20 => push_control(byte, out),
        _ => out.push(byte),
    }
}

#[cold]
fn push_control(byte: u8, out: &mut Vec<u8>) {
    // Writing to a `Vec` never fails.
    let _ = write!(out, "\\u{byte:04x}");
}

/// Unescapes the text between the quotes of a JSON string. `None` if it contains half of a
/// surrogate pair.
pub fn decode(inner: &str) -> Option<Cow<'_, str>> {
    if !inner.contains('\\') {
        return Some(inner.into());
    }
    serde_json::from_str(&format!("\"{inner}\""))
        .ok()
        .map(Cow::Owned)
}

/// Like [`decode`], with U+FFFD in place of halves of surrogate pairs.
fn decode_lossy(inner: &str) -> Cow<'_, str> {
    decode(inner).unwrap_or_else(|| {
        let replaced = replace_lone_surrogates(inner);
        decode(&replaced).unwrap_or_default().into_owned().into()
    })
}

/// Replaces halves of surrogate pairs between the quotes of a JSON string. JavaScript clients store
/// them when they cut an emoji in two, and a single one would make a whole page unreadable.
pub fn replace_lone_surrogates(inner: &str) -> Cow<'_, str> {
    if !inner.contains("\\u") || decode(inner).is_some() {
        return inner.into();
    }
    let mut replaced = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(c) = rest.chars().next() {
        // Escapes are consumed whole: `\\ud83d` is an escaped backslash followed by text.
        let length = match (c, surrogate(rest)) {
            (_, Some(Half::High)) if rest.get(6..).and_then(surrogate) == Some(Half::Low) => 12,
            (_, Some(_)) => {
                replaced.push_str("\\ufffd");
                rest = rest.get(6..).unwrap_or_default();
                continue;
            }
            ('\\', None) => 2,
            _ => c.len_utf8(),
        };
        let (piece, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        replaced.push_str(piece);
        rest = after;
    }
    replaced.into()
}

#[derive(PartialEq, Eq)]
enum Half {
    High,
    Low,
}

/// The half of a surrogate pair at the start of `text`.
fn surrogate(text: &str) -> Option<Half> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    match u32::from_str_radix(digits, 16).ok()? {
        0xD800..=0xDBFF => Some(Half::High),
        0xDC00..=0xDFFF => Some(Half::Low),
        _ => None,
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::foundation::hostile_json::rebuilt;

    #[test]
    fn the_build_reads_no_magic_keys() {
        // `raw_value` and `arbitrary_precision` give these objects another meaning.
        for key in ["RawValue", "Number"] {
            let text = format!(r#"{{"$serde_json::private::{key}":"1e5"}}"#);
            let value: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value.to_string(), text);
        }
    }

    #[test]
    fn depth_is_bounded_alike_here_and_in_serde_json() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let nested = |depth: usize| format!("{}0{}", open.repeat(depth), close.repeat(depth));
            let most = nested(MAX_DEPTH);
            assert!(Json::parse(most.as_bytes()).is_ok());
            assert!(serde_json::from_str::<Value>(&most).is_ok());
            let over = nested(MAX_DEPTH + 1);
            assert_eq!(Json::parse(over.as_bytes()), Err(JsonError::TooDeep));
            assert!(serde_json::from_str::<Value>(&over).is_err());
            // Depth never overflows the stack.
            assert_eq!(
                Json::parse(nested(1 << 20).as_bytes()),
                Err(JsonError::TooDeep)
            );
        }
    }

    #[test]
    fn refuses_invalid_json() {
        for (text, error) in [
            ("", JsonError::Syntax),
            ("[1,]", JsonError::Syntax),
            ("{} {}", JsonError::Syntax),
            ("\u{a0}{}", JsonError::Syntax),
            ("{\"a\" 1}", JsonError::Syntax),
            ("01", JsonError::Syntax),
            (r#"["\ud83d"]"#, JsonError::LoneSurrogate),
            (r#"{"\udc00\ud800":1}"#, JsonError::LoneSurrogate),
        ] {
            assert_eq!(Json::parse(text.as_bytes()), Err(error), "{text}");
        }
        assert_eq!(Json::parse(b"\"\xff\""), Err(JsonError::Syntax));
        assert!(Json::parse(r#" ["\ud83d\ude00","\\ud83d"] "#.as_bytes()).is_ok());
    }

    #[test]
    fn reads_each_type_as_itself() {
        let json = |text| Json::parse_syntax(text).unwrap();
        assert_eq!(json(b" 17 ").as_u64(), Some(17));
        assert_eq!(json(b"1.0").as_u64(), None);
        assert_eq!(json(b"1e400").as_f64(), Some(f64::INFINITY));
        assert_eq!(json(b"\"17\"").as_u64(), None);
        assert_eq!(json(b"true").as_bool(), Some(true));
        assert_eq!(json(br#""a\n\u0062""#).as_str().as_deref(), Some("a\nb"));
        assert_eq!(json(br#""\ud800""#).as_str(), None);
        assert_eq!(json(b"7").as_str(), None);
        assert_eq!(
            json(b"{}").members().count() + json(b"[ ]").elements().count(),
            0
        );
        assert_eq!(
            json(br#"{"a":1,"a":2}"#).member("a").map(Json::get),
            Some("1")
        );
        let keys: Vec<_> = json(br#"{"\ud800":1,"b":2}"#)
            .members()
            .map(|(key, _)| key)
            .collect();
        assert_eq!(keys, ["\u{fffd}", "b"]);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::vec((".{0,4}", inner), 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn quotes_as_serde_json_does(
            text in "[a\"\\\\é\u{7f}\u{10ffff} {}:,]{0,60}",
            control in "[\u{0}-\u{1f}]?",
        ) {
            let mut quoted = b"> ".to_vec();
            push_quoted(&text, &mut quoted);
            prop_assert_eq!(&quoted[2..], serde_json::to_vec(&text).unwrap());
            let text = [text, control].concat();
            quoted.clear();
            push_quoted(&text, &mut quoted);
            prop_assert_eq!(serde_json::from_slice::<String>(&quoted).unwrap(), text);
        }

        #[test]
        fn slices_agree_with_serde_json(value in any_json(), pretty: bool) {
            let text = if pretty { format!("{value:#}") } else { value.to_string() };
            let json = Json::parse(text.as_bytes()).unwrap();
            prop_assert_eq!(json.to_pretty(), format!("{value:#}"));
            prop_assert_eq!(json.to_compact(), value.to_string());
            prop_assert_eq!(rebuilt(json), value);
        }

        #[test]
        fn accepts_and_refuses_what_serde_json_does(
            text in r#"[\[\]{}",:\\u0-9a-fdtrn. \-]{0,40}"#
        ) {
            let ours = Json::parse(text.as_bytes());
            let theirs = serde_json::from_str::<Value>(&text);
            // Numbers beyond the range of a double are text here and an error in `serde_json`.
            let too_large = theirs
                .as_ref()
                .is_err_and(|error| error.to_string().contains("out of range"));
            prop_assert!(ours.is_ok() == theirs.is_ok() || too_large, "{:?} {:?}", ours, theirs);
        }
    }

    #[test]
    fn splits_around_a_part_and_counts_outside_of_strings() {
        let text = r#"{"a":[1,{"b":"[,{"}],"c":0}"#;
        let json = Json::parse(text.as_bytes()).unwrap();
        let part = json.member("a").unwrap();
        assert_eq!(json.around(part), Some((r#"{"a":"#, r#","c":0}"#)));
        assert_eq!(json.around(Json::trusted("[]")), None);
        assert_eq!((count_parts(text), count_parts(part.get())), (5, 3));
    }

    #[test]
    fn keeps_the_original_text_of_values() {
        let text = r#"{"a":[1.10,{"b":"c"}],"d":12345678901234567890123}"#;
        let json = Json::parse(text.as_bytes()).unwrap();
        let members: Vec<_> = json.members().map(|(_, value)| value.get()).collect();
        assert_eq!(members, [r#"[1.10,{"b":"c"}]"#, "12345678901234567890123"]);
        assert_eq!(
            json.member("a")
                .and_then(|a| a.elements().last()?.to_value()),
            Some(json!({"b": "c"}))
        );
    }
}
