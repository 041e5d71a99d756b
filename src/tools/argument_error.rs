//! The error for an invalid argument, worded so that a model can correct the call.

use super::json_text::to_json;
use crate::foundation::json::Json;

/// The length, in characters, to which caller-controlled values and names are truncated.
const MAX_SHOWN: usize = 80;

/// An invalid argument. Becomes a [`ToolError`](super::ToolError) once the tool is known.
#[derive(Debug, Clone)]
pub(crate) struct ArgumentError {
    /// The path of the argument: `limit`, `updates.title`, `tags[2]`.
    pub argument: String,
    /// The problem, as the rest of a sentence that begins with the argument: `must be …`.
    problem: String,
    /// The invalid value, truncated.
    pub received: Option<Box<str>>,
    pub allowed: Vec<String>,
    pub remedy: Remedy,
}

/// What the model should do with the argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// Pass another value.
    Change,
    /// Pass the argument, which is missing.
    Add,
    /// Omit the argument.
    Drop,
    /// Pass the value under this name instead.
    Rename(String),
    /// Pass a shorter value: this one is valid, but exceeds the size of a request.
    Shorten,
}

impl ArgumentError {
    pub fn new(argument: impl AsRef<str>, problem: impl Into<String>) -> Self {
        Self {
            argument: name(argument.as_ref()),
            problem: problem.into(),
            received: None,
            allowed: Vec::new(),
            remedy: Remedy::Change,
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

    /// The error for an argument that the tool does not have.
    pub fn unknown(argument: &str, known: &[&str]) -> Self {
        let error = Self::new(argument, "is not an argument of this tool").allowed(known);
        error.remedy(
            nearest(argument, known).map_or(Remedy::Drop, |known| Remedy::Rename(known.to_owned())),
        )
    }

    /// The problem, as one sentence.
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

    /// The correction, as the rest of a sentence that begins with "Call X again ".
    pub fn correction(&self) -> String {
        let Self {
            argument, allowed, ..
        } = self;
        match &self.remedy {
            Remedy::Drop => format!("without `{argument}`"),
            Remedy::Rename(meant) => format!("with `{meant}` in place of `{argument}`"),
            Remedy::Shorten => format!("with a shorter `{argument}`"),
            Remedy::Change | Remedy::Add if !allowed.is_empty() => {
                format!("with `{argument}` one of: {}", allowed.join(", "))
            }
            Remedy::Change => format!("with another `{argument}`"),
            Remedy::Add => format!("with `{argument}`"),
        }
    }
}

/// Formats a value as truncated JSON. The quotes keep caller-controlled text apart from the
/// message.
fn show(value: Json<'_>) -> String {
    if let Some(text) = value.as_str() {
        // Truncated before it is encoded, which bounds the work for a huge string.
        without_controls(&to_json(&shorten(&text)))
    } else if value.is_array() {
        format!("a list of {}", value.elements().count())
    } else if value.is_object() {
        format!("an object with {} keys", value.members().count())
    } else {
        // A number can have any number of digits.
        shorten(value.get())
    }
}

/// Caller-controlled, so it is truncated and stripped of control characters.
fn name(text: &str) -> String {
    without_controls(&shorten(text))
}

/// Replaces control characters. JSON encoding leaves DEL and those beyond ASCII unescaped.
fn without_controls(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The known name of which `name` is probably a misspelling.
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
    let distance = |candidate: &str| strsim::damerau_levenshtein(&name, &plain(candidate));
    let (best, distance) = known
        .iter()
        .map(|candidate| (*candidate, distance(candidate)))
        .min_by_key(|(_, d)| *d)?;
    // In a short name, two edits make a different word.
    (distance <= 2 && distance * 3 <= name.chars().count()).then_some(best)
}
