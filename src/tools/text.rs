//! Works on JSON as text, so that numbers keep their digits and objects their order.
//!
//! Everything here expects text that a JSON reader has accepted already, and so needs to know no more of the grammar
//! than where strings begin and end.

use memchr::memchr2;

/// Nothing that is stored nests as deeply as this; readers of JSON give up a little later.
const DEEPEST: usize = 120;

/// The text nests deeper than anybody reads.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooDeep;

/// Appends `json` without its white space. Strings longer than `longest` characters keep that many, and an ellipsis; the
/// keys of the outermost object in whose values, at whatever depth, a string was cut, are handed back.
pub(super) fn compact(json: &str, longest: Option<usize>, out: &mut String) -> Result<Vec<String>, TooDeep> {
    let bytes = json.as_bytes();
    let (mut cut, mut depth, mut field) = (Vec::new(), 0_usize, "");
    // What lies between `copied` and `at` has been looked at and stays as it is.
    let (mut copied, mut at) = (0, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => {
                out.push_str(json.get(copied..at).unwrap_or_default());
                copied = at + 1;
            }
            b'{' | b'[' => {
                depth += 1;
                if depth > DEEPEST {
                    return Err(TooDeep);
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                let (end, escapes) = end_of_string(bytes, at + 1);
                let inner = json.get(at + 1..end).unwrap_or_default();
                let is_key = longest.is_some() && is_followed_by_colon(bytes, end + 1);
                if is_key && depth == 1 {
                    field = inner;
                }
                let mended = if escapes { mend_surrogates(inner) } else { inner.into() };
                let short = longest
                    .filter(|_| !is_key)
                    .and_then(|longest| shorten(&mended, longest));
                if short.is_some() || mended != inner {
                    out.push_str(json.get(copied..at).unwrap_or_default());
                    match &short {
                        Some(short) => out.push_str(short),
                        None => out.extend(["\"", &mended, "\""]),
                    }
                    copied = end + 1;
                }
                if short.is_some() {
                    let name = decode(&mend_surrogates(field)).unwrap_or_default();
                    if cut.last() != Some(&name) {
                        cut.push(name);
                    }
                }
                at = end;
            }
            _ => {}
        }
        at += 1;
    }
    out.push_str(json.get(copied..).unwrap_or_default());
    Ok(cut)
}

/// Appends a string as JSON.
pub(super) fn push_string(text: &str, out: &mut String) {
    let plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) {
        out.extend(["\"", text, "\""]);
    } else {
        out.push_str(&serde_json::to_string(text).unwrap_or_default());
    }
}

/// Where the string ends that begins here, and whether anything in it is escaped.
fn end_of_string(bytes: &[u8], mut at: usize) -> (usize, bool) {
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

fn is_followed_by_colon(bytes: &[u8], at: usize) -> bool {
    let rest = bytes.get(at..).unwrap_or_default();
    rest.trim_ascii_start().first() == Some(&b':')
}

/// The string as JSON if it had to be cut.
fn shorten(inner: &str, longest: usize) -> Option<String> {
    // Escapes only make a string longer, so most strings need no decoding.
    if inner.len() <= longest {
        return None;
    }
    let text = decode(inner)?;
    let (end, _) = text.char_indices().nth(longest)?;
    let kept = text.get(..end)?;
    serde_json::to_string(&format!("{kept}…")).ok()
}

fn decode(inner: &str) -> Option<String> {
    serde_json::from_str(&format!("\"{inner}\"")).ok()
}

/// Replaces halves of surrogate pairs, which JSON can spell (`\ud83d`) and no Unicode text can contain. JavaScript
/// clients store them when they cut an emoji in two, and one would make the whole page unreadable.
fn mend_surrogates(inner: &str) -> std::borrow::Cow<'_, str> {
    if !inner.contains("\\u") || decode(inner).is_some() {
        return inner.into();
    }
    let mut mended = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(c) = rest.chars().next() {
        // An escape is taken whole, so that `\\ud83d`, an escaped backslash, is not mistaken for one.
        let length = match (c, surrogate(rest)) {
            (_, Some(Half::High)) if rest.get(6..).and_then(surrogate) == Some(Half::Low) => 12,
            (_, Some(_)) => {
                mended.push_str("\\ufffd");
                rest = rest.get(6..).unwrap_or_default();
                continue;
            }
            ('\\', None) => 2,
            _ => c.len_utf8(),
        };
        let (piece, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        mended.push_str(piece);
        rest = after;
    }
    mended.into()
}

#[derive(PartialEq, Eq)]
enum Half {
    High,
    Low,
}

/// The half of a surrogate pair that the text begins with, if it does.
fn surrogate(text: &str) -> Option<Half> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    match u32::from_str_radix(digits, 16).ok()? {
        0xD800..=0xDBFF => Some(Half::High),
        0xDC00..=0xDFFF => Some(Half::Low),
        _ => None,
    }
}
