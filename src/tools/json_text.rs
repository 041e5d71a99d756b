//! Writes JSON as text, which preserves the digits of numbers and the order of members.

use crate::foundation::json::{Copier, JsonError};

/// Appends `json` without white space. See [`value`] for the strings that are cut and the result.
pub(crate) fn compact(
    json: &str,
    longest: Option<usize>,
    out: &mut String,
) -> Result<Vec<String>, JsonError> {
    let mut copier = Copier::append_to(std::mem::take(out), json, usize::MAX);
    let cut = value(&mut copier, longest)?;
    (*out, _) = copier.finish()?;
    Ok(cut)
}

/// Copies a value. Strings longer than `longest` characters are cut to that length and end in an
/// ellipsis. If the value is an object, returns the keys of its members that contain a cut string,
/// at any depth.
pub(crate) fn value(
    copier: &mut Copier<'_>,
    longest: Option<usize>,
) -> Result<Vec<String>, JsonError> {
    let mut cut = Vec::new();
    if longest.is_none() || copier.peek() != Some(b'{') {
        copier.value(longest)?;
        return Ok(cut);
    }
    let mut object = copier.begin_object()?;
    while let Some(key) = copier.next_member(&mut object)? {
        if copier.value(longest)? {
            let name = key.decoded().into_owned();
            if cut.last() != Some(&name) {
                cut.push(name);
            }
        }
    }
    copier.end_object(object)?;
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
