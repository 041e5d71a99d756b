//! Works on JSON as text, so that numbers keep their digits and objects their order.
//!
//! Everything here expects text that a JSON reader has accepted already, and so needs to know no more of the grammar
//! than where strings begin and end.

/// JSON without space between its tokens, and what was cut to make it shorter.
#[derive(Debug, Default)]
pub(super) struct Compact {
    pub text: String,
    /// Keys of the outermost object in whose values a string was cut, at whatever depth.
    pub cut: Vec<String>,
}

/// Copies `json` without its white space. Strings longer than `longest` characters keep that many, and an ellipsis.
pub(super) fn compact(json: &str, longest: Option<usize>) -> Compact {
    let mut out = Compact {
        text: String::with_capacity(json.len()),
        cut: Vec::new(),
    };
    let mut depth = 0_usize;
    let mut field = String::new();
    let mut chars = json.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => continue,
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            '"' => {
                let (inner, rest) = split_string(chars.as_str());
                chars = rest.chars();
                let inner = mend_surrogates(inner);
                let is_key = rest.trim_start_matches([' ', '\t', '\n', '\r']).starts_with(':');
                if is_key && depth == 1 {
                    field = decode(&inner).unwrap_or_default();
                }
                match longest.filter(|_| !is_key).and_then(|longest| shorten(&inner, longest)) {
                    Some(short) => {
                        out.text.push_str(&short);
                        if out.cut.last() != Some(&field) {
                            out.cut.push(field.clone());
                        }
                    }
                    None => {
                        out.text.push('"');
                        out.text.push_str(&inner);
                        out.text.push('"');
                    }
                }
                continue;
            }
            _ => {}
        }
        out.text.push(c);
    }
    out
}

/// Parts what follows an opening quote into the string's inside and what comes after its closing quote.
fn split_string(text: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    });
    let (inner, rest) = end.and_then(|end| text.split_at_checked(end)).unwrap_or((text, ""));
    (inner, rest.strip_prefix('"').unwrap_or(rest))
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
