//! Writes JSON as text, which preserves the digits of numbers and the order of members.

use crate::foundation::json::{Copier, JsonError};

/// Appends `json` without white space.
pub(crate) fn compact(json: &str, out: &mut String) -> Result<(), JsonError> {
    let mut copier = Copier::append_to(std::mem::take(out), json, usize::MAX);
    copier.value(None)?;
    (*out, _) = copier.finish()?;
    Ok(())
}

/// What becomes of a member in the copy of an object.
pub(crate) enum Member {
    Kept,
    Omitted,
    Renamed(&'static str),
}

/// Copies an object. Strings longer than `longest` characters are cut to that length and end in an
/// ellipsis. Returns the names, in the copy, of the members that contain a cut string, at any
/// depth.
pub(crate) fn object(
    copier: &mut Copier<'_>,
    longest: Option<usize>,
    decide: impl Fn(&str) -> Member,
) -> Result<Vec<String>, JsonError> {
    let mut cut = Vec::new();
    let mut object = copier.begin_object()?;
    while let Some(key) = copier.next_member(&mut object)? {
        let mut name = key.decoded();
        match decide(&name) {
            Member::Kept => {}
            Member::Omitted => {
                copier.omit_member(&mut object)?;
                continue;
            }
            Member::Renamed(new) => {
                copier.rename_member(&object, new);
                name = new.into();
            }
        }
        if copier.value(longest)? && cut.last().map(String::as_str) != Some(&*name) {
            cut.push(name.into_owned());
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
