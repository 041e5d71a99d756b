//! Checks JSON text and copies it without white space, in one pass.
//!
//! A caller walks through the objects and arrays that it knows, and copies other values whole with
//! [`Copier::value`]. What is read is copied unless the caller omits it, so numbers keep their
//! digits and members their order. Nothing is collected on the way: the memory is that of the copy,
//! which is bounded.
//!
//! The grammar is that of `serde_json`, except that numbers may be beyond the range of a double,
//! and that halves of surrogate pairs are replaced.

use std::borrow::Cow;

use super::{Half, Json, JsonError, MAX_DEPTH, decode, decode_lossy, end_of_plain};
use super::{replace_lone_surrogates, surrogate};

#[derive(Debug)]
pub struct Copier<'a> {
    text: &'a str,
    /// The position up to which the text is read.
    at: usize,
    /// The position up to which it is copied. What is between here and `at` is copied unchanged.
    copied: usize,
    depth: usize,
    out: String,
    /// The length of the whole copy. `out` is no more than its beginning if this exceeds `max`.
    length: usize,
    max: usize,
}

/// An object that is being read.
#[derive(Debug, Default)]
#[must_use = "the end of the object must be read"]
pub struct Object {
    /// Where the current member begins, its comma included.
    begin: Mark,
    /// Whether a member has been read.
    is_begun: bool,
    /// Whether the copy has a member, and whether it had one before the current member.
    has_member: bool,
    had_member: bool,
}

/// An array that is being read.
#[derive(Debug, Default)]
#[must_use = "the end of the array must be read"]
pub struct Array {
    is_begun: bool,
}

/// A state that the copy can be taken back to.
#[derive(Debug, Default, Clone, Copy)]
struct Mark {
    at: usize,
    copied: usize,
    length: usize,
}

/// The name of a member, or another string.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    /// What is between the quotes.
    inner: &'a str,
    has_escapes: bool,
    has_lone_surrogate: bool,
}

impl<'a> Text<'a> {
    /// The unescaped text, with U+FFFD in place of halves of surrogate pairs.
    pub fn decoded(self) -> Cow<'a, str> {
        if self.has_escapes {
            decode_lossy(self.inner)
        } else {
            self.inner.into()
        }
    }

    /// What is between the quotes, without halves of surrogate pairs.
    fn repaired(self) -> Cow<'a, str> {
        if self.has_lone_surrogate {
            replace_lone_surrogates(self.inner)
        } else {
            self.inner.into()
        }
    }

    /// The first `longest` characters, escaped. `None` if there are no more.
    fn shortened(self, longest: usize) -> Option<Cow<'a, str>> {
        // An escape is longer than its character.
        if self.inner.len() <= longest {
            return None;
        }
        if !self.has_escapes {
            return beginning(self.inner, longest).map(Cow::from);
        }
        let repaired = self.repaired();
        let text = decode(&repaired)?;
        let quoted = serde_json::to_string(beginning(&text, longest)?).ok()?;
        let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
        Some(inner.to_owned().into())
    }
}

/// The first `longest` characters of a text. `None` if there are no more.
fn beginning(text: &str, longest: usize) -> Option<&str> {
    let is_ascii = |bytes: &[u8]| bytes.is_ascii();
    let end = if text.as_bytes().get(..longest).is_some_and(is_ascii) {
        longest
    } else {
        text.char_indices().nth(longest)?.0
    };
    text.get(..end).filter(|_| end < text.len())
}

impl<'a> Copier<'a> {
    /// Begins a copy of at most `max` bytes.
    pub fn new(text: &'a [u8], max: usize) -> Result<Self, JsonError> {
        let text = std::str::from_utf8(text).map_err(|_| JsonError::Syntax)?;
        let out = String::with_capacity(text.len().min(max));
        Ok(Self::append_to(out, text, max))
    }

    /// Begins a copy that is appended to `out`.
    pub fn append_to(out: String, text: &'a str, max: usize) -> Self {
        Self {
            text,
            at: 0,
            copied: 0,
            depth: 0,
            length: out.len(),
            out,
            max,
        }
    }

    /// The first byte of the next token.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        match self.byte(self.at) {
            Some(..=b' ') => self.after_space(),
            byte => byte,
        }
    }

    #[cold]
    fn after_space(&mut self) -> Option<u8> {
        self.flush(self.at);
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte(self.at) {
            self.at += 1;
        }
        self.copied = self.at;
        self.byte(self.at)
    }

    /// The length of the copy.
    pub fn length(&self) -> usize {
        self.length + (self.at - self.copied)
    }

    pub fn begin_object(&mut self) -> Result<Object, JsonError> {
        self.open(b'{')?;
        Ok(Object::default())
    }

    /// Reads the name of the next member. The caller must read or omit its value next.
    pub fn next_member(&mut self, object: &mut Object) -> Result<Option<Text<'a>>, JsonError> {
        let first = self.peek();
        if first == Some(b'}') {
            return Ok(None);
        }
        object.begin = Mark {
            at: self.at,
            copied: self.copied,
            length: self.length,
        };
        if object.is_begun {
            self.expect(b',')?;
            if !object.has_member {
                // The members before this one have been omitted.
                self.flush(self.at - 1);
                self.copied = self.at;
            }
        }
        object.is_begun = true;
        object.had_member = std::mem::replace(&mut object.has_member, true);
        if self.peek() != Some(b'"') {
            return Err(JsonError::Syntax);
        }
        let key = self.string(None)?.0;
        self.expect(b':')?;
        Ok(Some(key))
    }

    /// Reads the value of the current member, and leaves the member out of the copy.
    pub fn omit_member(&mut self, object: &mut Object) -> Result<Json<'a>, JsonError> {
        self.peek();
        let begin = self.at;
        self.value(None)?;
        object.has_member = object.had_member;
        let Mark { at, copied, length } = object.begin;
        // The beginning of the copy is complete up to a mark within the limit.
        self.out.truncate(length);
        (self.length, self.copied) = (length, copied);
        self.flush(at);
        self.copied = self.at;
        Ok(Json(self.text.get(begin..self.at).unwrap_or_default()))
    }

    /// Gives the current member another name in the copy. Called before its value is read.
    pub fn rename_member(&mut self, object: &Object, name: &str) {
        let Mark { at, copied, length } = object.begin;
        self.out.truncate(length);
        (self.length, self.copied) = (length, copied);
        self.flush(at);
        self.copied = self.at;
        for piece in [if object.had_member { ",\"" } else { "\"" }, name, "\":"] {
            self.push(piece);
        }
    }

    /// Adds a member. `value` must be JSON.
    pub fn add_member(&mut self, object: &mut Object, key: &str, value: &str) {
        self.flush(self.at);
        if std::mem::replace(&mut object.has_member, true) {
            self.push(",");
        }
        for piece in ["\"", key, "\":", value] {
            self.push(piece);
        }
    }

    /// Reads the end of an object, after its last member.
    pub fn end_object(&mut self, _: Object) -> Result<(), JsonError> {
        self.depth -= 1;
        self.expect(b'}')
    }

    pub fn begin_array(&mut self) -> Result<Array, JsonError> {
        self.open(b'[')?;
        Ok(Array::default())
    }

    /// Whether there is another element. The caller must read it next.
    pub fn next_element(&mut self, array: &mut Array) -> Result<bool, JsonError> {
        if self.peek() == Some(b']') {
            return Ok(false);
        }
        if std::mem::replace(&mut array.is_begun, true) {
            self.expect(b',')?;
        }
        Ok(true)
    }

    /// Reads the end of an array, after its last element.
    pub fn end_array(&mut self, _: Array) -> Result<(), JsonError> {
        self.depth -= 1;
        self.expect(b']')
    }

    /// Reads a value. Strings of more than `longest` characters, at any depth, are cut to that
    /// length and end in an ellipsis. Returns whether one was cut.
    pub fn value(&mut self, longest: Option<usize>) -> Result<bool, JsonError> {
        let mut is_cut = false;
        // The recursion is as deep as the text, and so at most MAX_DEPTH.
        match self.peek() {
            Some(b'"') => is_cut = self.string(longest)?.1,
            Some(b'{') => {
                let mut object = self.begin_object()?;
                while self.next_member(&mut object)?.is_some() {
                    is_cut |= self.value(longest)?;
                }
                self.end_object(object)?;
            }
            Some(b'[') => {
                let mut array = self.begin_array()?;
                while self.next_element(&mut array)? {
                    is_cut |= self.value(longest)?;
                }
                self.end_array(array)?;
            }
            Some(b't') => self.literal("true")?,
            Some(b'f') => self.literal("false")?,
            Some(b'n') => self.literal("null")?,
            _ => self.number()?,
        }
        Ok(is_cut)
    }

    /// Reads the end of the text. Returns the copy and its length. The copy is incomplete if it is
    /// longer than `max`.
    pub fn finish(mut self) -> Result<(String, usize), JsonError> {
        if self.peek().is_some() {
            return Err(JsonError::Syntax);
        }
        self.flush(self.at);
        Ok((self.out, self.length))
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.peek() != Some(byte) {
            return Err(JsonError::Syntax);
        }
        self.at += 1;
        Ok(())
    }

    fn open(&mut self, bracket: u8) -> Result<(), JsonError> {
        self.expect(bracket)?;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(JsonError::TooDeep);
        }
        Ok(())
    }

    fn literal(&mut self, word: &str) -> Result<(), JsonError> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return Err(JsonError::Syntax);
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<(), JsonError> {
        if self.byte(self.at) == Some(b'-') {
            self.at += 1;
        }
        if self.byte(self.at) == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.byte(self.at) == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// Reads at least one digit.
    fn digits(&mut self) -> Result<(), JsonError> {
        let begin = self.at;
        while self.byte(self.at).is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == begin {
            return Err(JsonError::Syntax);
        }
        Ok(())
    }

    /// Reads the string that begins here, and cuts it. Returns whether it was cut.
    fn string(&mut self, longest: Option<usize>) -> Result<(Text<'a>, bool), JsonError> {
        let begin = self.at;
        let text = self.quoted()?;
        let short = longest.and_then(|longest| text.shortened(longest));
        let is_cut = short.is_some();
        if is_cut || text.has_lone_surrogate {
            self.flush(begin + 1);
            self.push(&short.unwrap_or_else(|| text.repaired()));
            if is_cut {
                self.push("…");
            }
            self.copied = self.at - 1;
        }
        Ok((text, is_cut))
    }

    #[inline]
    fn quoted(&mut self) -> Result<Text<'a>, JsonError> {
        let begin = self.at + 1;
        let (mut has_escapes, mut has_lone_surrogate) = (false, false);
        self.at = begin;
        loop {
            self.at = end_of_plain(self.text.as_bytes(), self.at);
            match self.byte(self.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    has_escapes = true;
                    has_lone_surrogate |= self.escape()?;
                }
                // A control character, or the end of the text.
                _ => return Err(JsonError::Syntax),
            }
        }
        let inner = self.text.get(begin..self.at).unwrap_or_default();
        self.at += 1;
        Ok(Text {
            inner,
            has_escapes,
            has_lone_surrogate,
        })
    }

    /// Reads an escape, and the escape after it if the two are a surrogate pair. Returns whether it
    /// is half of a pair without the other.
    fn escape(&mut self) -> Result<bool, JsonError> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        self.at += 2;
        match rest.as_bytes() {
            [
                b'\\',
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't',
                ..,
            ] => Ok(false),
            [b'\\', b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(|x| x.is_ascii_hexdigit()) => {
                self.at += 4;
                match surrogate(rest) {
                    None => Ok(false),
                    Some(Half::High) if rest.get(6..).and_then(surrogate) == Some(Half::Low) => {
                        self.at += 6;
                        Ok(false)
                    }
                    Some(_) => Ok(true),
                }
            }
            _ => Err(JsonError::Syntax),
        }
    }

    /// Copies the text up to `end`.
    fn flush(&mut self, end: usize) {
        let text = self.text;
        self.push(text.get(self.copied..end).unwrap_or_default());
        self.copied = end;
    }

    fn push(&mut self, text: &str) {
        self.length += text.len();
        if self.length <= self.max {
            self.out.push_str(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn copy(text: &[u8], longest: Option<usize>, max: usize) -> Result<(String, usize), JsonError> {
        let mut copier = Copier::new(text, max)?;
        copier.value(longest)?;
        copier.finish()
    }

    fn piece(pieces: &'static [&'static str]) -> impl Strategy<Value = String> {
        proptest::sample::select(pieces).prop_map(str::to_owned)
    }

    fn any_string() -> impl Strategy<Value = String> {
        let pieces = &[
            "a", "é", " ", ",", "\u{7f}", "\\\"", "\\\\", "\\n", "\\u00e9", "\\ud83d", "\\uDE00",
        ];
        proptest::collection::vec(piece(pieces), 0..4)
            .prop_map(|pieces| format!("\"{}\"", pieces.concat()))
    }

    fn any_json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            piece(&[
                "0", "-1", "1.50", "10e+9", "2E-999", "true", "false", "null"
            ]),
            any_string(),
        ];
        leaf.prop_recursive(4, 20, 4, |inner| {
            let comma = || piece(&[",", " ,", ", ", "\n\t\r,"]);
            let member = (any_string(), piece(&[":", " : "]), inner.clone())
                .prop_map(|(key, colon, value)| key + &colon + &value);
            prop_oneof![
                (proptest::collection::vec(inner, 0..4), comma())
                    .prop_map(|(items, comma)| format!("[{}]", items.join(&comma))),
                (proptest::collection::vec(member, 0..4), comma())
                    .prop_map(|(members, comma)| format!("{{ {} }}", members.join(&comma))),
            ]
        })
    }

    /// A text that is JSON, or was before a part of it was replaced.
    fn any_text() -> impl Strategy<Value = String> {
        let part = piece(&[
            "", "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u+123", "\\x", "0", "-", ".", "e",
            "E-", "01", "nul", " ", "\u{1}", "\u{a0}", "[1,", "{\"a\":[", "]}", "\"a\":",
        ]);
        let change = (any::<proptest::sample::Index>(), 0_usize..3, part);
        (any_json(), proptest::option::of(change)).prop_map(|(text, change)| {
            let Some((at, length, part)) = change else {
                return text;
            };
            let chars: Vec<_> = text.chars().collect();
            let (head, rest) = chars.split_at(at.index(chars.len()));
            let tail = rest.iter().skip(length);
            head.iter()
                .copied()
                .chain(part.chars())
                .chain(tail.copied())
                .collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn copies_what_a_check_and_a_second_pass_do(text in any_text()) {
            let copied = copy(text.as_bytes(), None, usize::MAX);
            match Json::parse(text.as_bytes()) {
                Ok(json) => {
                    let (copy, length) = copied.unwrap();
                    prop_assert_eq!(length, copy.len());
                    prop_assert_eq!(copy, json.to_compact());
                }
                // Halves of surrogate pairs are replaced.
                Err(JsonError::LoneSurrogate) => {
                    let compact = Json::parse_syntax(text.as_bytes()).unwrap().to_compact();
                    prop_assert_eq!(copied.unwrap().0, replace_lone_surrogates(&compact));
                }
                Err(error) => prop_assert_eq!(copied, Err(error)),
            }
        }

        #[test]
        fn strings_end_where_a_reader_of_bytes_says(
            text in "[a\"\\\\\u{1}\u{1f}\u{7f}é\u{10ffff} !#]{0,40}",
        ) {
            let is_special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
            let end = text.bytes().position(is_special).unwrap_or(text.len());
            prop_assert_eq!(end_of_plain(text.as_bytes(), 0), end);
        }

        #[test]
        fn cuts_characters_and_not_escapes(
            text in ".{0,20}",
            longest in 0_usize..20,
            escape: bool,
        ) {
            let escaped = text.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
            let json = if escape {
                format!("\"{}\"", escaped.collect::<String>())
            } else {
                Value::from(&*text).to_string()
            };
            let (copied, _) = copy(json.as_bytes(), Some(longest), usize::MAX).unwrap();
            let kept: String = text.chars().take(longest).collect();
            let expected = if kept == text { text } else { kept + "…" };
            prop_assert_eq!(serde_json::from_str::<String>(&copied).unwrap(), expected);
        }

        /// The text beyond the limit is counted, and is not kept.
        #[test]
        fn the_copy_is_bounded(max in 0_usize..60) {
            let text = r#"{"a": [1, 2, {"b": "cdefgh"}], "i": "jkl", "m": 0, "n": "o"}"#;
            let read = |max| {
                let mut copier = Copier::new(text.as_bytes(), max).unwrap();
                let mut object = copier.begin_object().unwrap();
                while let Some(key) = copier.next_member(&mut object).unwrap() {
                    if matches!(&*key.decoded(), "i" | "m") {
                        copier.omit_member(&mut object).unwrap();
                    } else {
                        copier.value(Some(3)).unwrap();
                    }
                }
                copier.add_member(&mut object, "p", "{}");
                copier.end_object(object).unwrap();
                copier.finish().unwrap()
            };
            let whole = r#"{"a":[1,2,{"b":"cde…"}],"n":"o","p":{}}"#;
            let (out, length) = read(max);
            prop_assert_eq!(length, whole.len());
            if length <= max {
                prop_assert_eq!(out, whole);
            } else {
                prop_assert!(out.len() <= max && whole.starts_with(&out), "{}", out);
            }
        }
    }

    #[test]
    fn depth_is_that_of_the_whole_text() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let nested = |depth: usize| format!("{}0{}", open.repeat(depth), close.repeat(depth));
            let most = nested(MAX_DEPTH);
            let copied = copy(most.as_bytes(), None, usize::MAX).map(|(out, _)| out);
            assert_eq!(copied, Ok(most));
            for depth in [MAX_DEPTH + 1, 1 << 20] {
                let refused = copy(nested(depth).as_bytes(), None, usize::MAX);
                assert_eq!(refused, Err(JsonError::TooDeep));
            }
        }
        // Siblings are not nested.
        let wide = format!("[{}0]", "[[0],{\"a\":{}}],".repeat(MAX_DEPTH));
        assert!(copy(wide.as_bytes(), None, usize::MAX).is_ok());
    }

    #[test]
    fn members_can_be_omitted_anywhere() {
        let text = r#" { "x" : 0 , "x": [ ],"a": 1 ,"x":{"b":"c"}, "d": 2, "x" : " " } "#;
        for (omitted, expected) in [
            ("x", r#"{"a":1,"d":2,"new":true}"#),
            (
                "a",
                r#"{"x":0,"x":[],"x":{"b":"c"},"d":2,"x":" ","new":true}"#,
            ),
            ("xad", r#"{"new":true}"#),
        ] {
            let mut copier = Copier::new(text.as_bytes(), 1000).unwrap();
            let mut object = copier.begin_object().unwrap();
            while let Some(key) = copier.next_member(&mut object).unwrap() {
                if omitted.contains(&*key.decoded()) {
                    copier.omit_member(&mut object).unwrap();
                } else {
                    copier.value(None).unwrap();
                }
            }
            copier.add_member(&mut object, "new", "true");
            copier.end_object(object).unwrap();
            assert_eq!(copier.finish().unwrap().0, expected);
        }
    }
}
