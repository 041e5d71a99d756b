//! Why an argument is refused, in words by which a model can mend it.

use super::json_text::to_json;
use crate::foundation::json::Json;

/// Longer values are shown by their beginning.
const MAX_SHOWN: usize = 80;

/// One argument that cannot be taken. Becomes a [`ToolError`](super::ToolError) once the tool is known.
#[derive(Debug, Clone)]
pub(crate) struct ArgumentError {
    /// Where: `limit`, `updates.title`, `tags[2]`.
    pub argument: String,
    /// What is wrong, as the rest of a sentence that begins with the argument: `must be …`.
    problem: String,
    /// What came, shortened.
    pub received: Option<Box<str>>,
    pub allowed: Vec<String>,
    pub remedy: Remedy,
}

/// What the model should do with the argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// Give it another value.
    Mend,
    /// Give it at all.
    Add,
    Drop,
    /// Give its value under this name instead.
    Rename(String),
    /// It is right, but more than can be sent.
    Shorten,
}

impl ArgumentError {
    pub fn new(argument: impl AsRef<str>, problem: impl Into<String>) -> Self {
        Self {
            argument: name(argument.as_ref()),
            problem: problem.into(),
            received: None,
            allowed: Vec::new(),
            remedy: Remedy::Mend,
        }
    }

    pub fn received(mut self, value: Json<'_>) -> Self {
        self.received = Some(show(value).into());
        self
    }

    pub fn allowed<T: ToString>(mut self, allowed: impl IntoIterator<Item = T>) -> Self {
        self.allowed = allowed.into_iter().map(|word| word.to_string()).collect();
        self
    }

    pub fn remedy(mut self, remedy: Remedy) -> Self {
        self.remedy = remedy;
        self
    }

    /// A name that means nothing here.
    pub fn unknown(argument: &str, known: &[&str]) -> Self {
        let refusal = Self::new(argument, "is not an argument of this tool").allowed(known);
        refusal.remedy(
            nearest(argument, known).map_or(Remedy::Drop, |meant| Remedy::Rename(meant.to_owned())),
        )
    }

    /// One sentence.
    pub fn message(&self) -> String {
        let Self {
            argument,
            problem,
            received,
            ..
        } = self;
        let got = received
            .as_ref()
            .map(|received| format!("; got {received}"))
            .unwrap_or_default();
        match &self.remedy {
            Remedy::Rename(meant) => format!("`{argument}` {problem}; did you mean `{meant}`?"),
            _ => format!("`{argument}` {problem}{got}."),
        }
    }

    /// What to do about it, as the end of "Call X again ".
    pub fn way_out(&self) -> String {
        let Self {
            argument, allowed, ..
        } = self;
        match &self.remedy {
            Remedy::Drop => format!("without `{argument}`"),
            Remedy::Rename(meant) => format!("with `{meant}` in place of `{argument}`"),
            Remedy::Shorten => format!("with a shorter `{argument}`"),
            Remedy::Mend | Remedy::Add if !allowed.is_empty() => {
                format!("with `{argument}` one of: {}", allowed.join(", "))
            }
            Remedy::Mend => format!("with another `{argument}`"),
            Remedy::Add => format!("with `{argument}`"),
        }
    }
}

/// The value as JSON, so that nothing in it can pass for words of ours, and not more of it than helps.
fn show(value: Json<'_>) -> String {
    if let Some(text) = value.as_str() {
        // A huge string is cut before it is encoded.
        without_controls(&to_json(&shorten(&text)))
    } else if value.is_array() {
        format!("a list of {}", value.elements().count())
    } else if value.is_object() {
        format!("an object with {} keys", value.members().count())
    } else {
        // A number may be of any length.
        shorten(value.get())
    }
}

/// A name that a caller made up is shown without what could break the sentence that it stands in.
fn name(text: &str) -> String {
    without_controls(&shorten(text))
}

/// JSON itself leaves some of them as they are: DEL, and those beyond ASCII.
fn without_controls(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The known name that this one is a slip of the pen from.
pub(crate) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    if name.len() > MAX_SHOWN {
        return None;
    }
    let plain = |name: &str| {
        name.chars()
            .filter(|c| c.is_alphanumeric())
            .collect::<String>()
            .to_lowercase()
    };
    let name = plain(name);
    let slips = |candidate: &str| strsim::damerau_levenshtein(&name, &plain(candidate));
    let (best, distance) = known
        .iter()
        .map(|candidate| (*candidate, slips(candidate)))
        .min_by_key(|(_, d)| *d)?;
    // Two slips in a short word make another word.
    (distance <= 2 && distance * 3 <= name.chars().count()).then_some(best)
}
