//! Transforms JSON as text, which preserves the digits of numbers and the order of members.
//!
//! The functions expect text that a JSON parser has accepted, so they need to recognize little more
//! of the grammar than where strings begin and end.

use crate::foundation::json::{MAX_DEPTH, decode, end_of_string, replace_lone_surrogates};

/// The text exceeds the maximum nesting depth.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooDeepError;

/// Appends `json` without white space. Strings longer than `longest` characters are cut to that
/// length and end in an ellipsis. Returns the keys of the outermost object whose values contain a
/// cut string, at any depth.
pub(crate) fn compact(
    json: &str,
    longest: Option<usize>,
    out: &mut String,
) -> Result<Vec<String>, TooDeepError> {
    let bytes = json.as_bytes();
    let (mut cut, mut depth, mut field, mut is_named) = (Vec::new(), 0_usize, "", false);
    // The bytes from `copied` to `at` have been scanned and are copied unchanged.
    let (mut copied, mut at) = (0, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => {
                out.push_str(json.get(copied..at).unwrap_or_default());
                copied = at + 1;
            }
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(TooDeepError);
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                let (end, escapes) = end_of_string(bytes, at + 1);
                let inner = json.get(at + 1..end).unwrap_or_default();
                let is_key = longest.is_some() && is_followed_by_colon(bytes, end + 1);
                if is_key && depth == 1 {
                    (field, is_named) = (inner, false);
                }
                let repaired = if escapes {
                    replace_lone_surrogates(inner)
                } else {
                    inner.into()
                };
                let short = longest
                    .filter(|_| !is_key)
                    .and_then(|longest| shorten(&repaired, longest));
                if short.is_some() || repaired != inner {
                    out.push_str(json.get(copied..at).unwrap_or_default());
                    match &short {
                        Some(short) => out.push_str(short),
                        None => out.extend(["\"", &repaired, "\""]),
                    }
                    copied = end + 1;
                }
                // Once for each field: a name may be long, and decoding it costs its length.
                if short.is_some() && !std::mem::replace(&mut is_named, true) {
                    let field = replace_lone_surrogates(field);
                    let name = decode(&field).unwrap_or_default().into_owned();
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
pub(crate) fn push_string(text: &str, out: &mut String) {
    let plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) {
        out.extend(["\"", text, "\""]);
    } else {
        out.push_str(&serde_json::to_string(text).unwrap_or_default());
    }
}

/// A string as JSON.
pub(crate) fn to_json(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    push_string(text, &mut json);
    json
}

fn is_followed_by_colon(bytes: &[u8], at: usize) -> bool {
    let rest = bytes.get(at..).unwrap_or_default();
    rest.trim_ascii_start().first() == Some(&b':')
}

/// The cut string as JSON. `None` if it is short enough.
fn shorten(inner: &str, longest: usize) -> Option<String> {
    // Escapes never shorten a string, so a text of at most `longest` bytes needs no decoding.
    if inner.len() <= longest {
        return None;
    }
    let text = decode(inner)?;
    let (end, _) = text.char_indices().nth(longest)?;
    let kept = text.get(..end)?;
    serde_json::to_string(&format!("{kept}…")).ok()
}
