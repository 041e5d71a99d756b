//! Why an argument is refused, in words by which a model can mend it.

use serde_json::Value;

/// Longer values are shown by their beginning.
const MAX_SHOWN: usize = 80;

/// One argument that cannot be taken. Becomes a [`ToolError`](super::ToolError) once the tool is known.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    /// Where: `limit`, `updates.title`, `tags[2]`.
    pub argument: String,
    /// What is wrong, without the argument's name: `must be …`.
    pub problem: String,
    /// What came, shortened.
    pub received: Option<String>,
    pub allowed: Vec<String>,
    /// The name that was probably meant.
    pub meant: Option<String>,
    /// Right in kind, but more than can be sent.
    pub too_large: bool,
}

impl Refusal {
    pub fn new(argument: impl AsRef<str>, problem: impl Into<String>) -> Self {
        Self {
            argument: shorten(argument.as_ref()),
            problem: problem.into(),
            received: None,
            allowed: Vec::new(),
            meant: None,
            too_large: false,
        }
    }

    pub fn received(mut self, value: &Value) -> Self {
        self.received = Some(show(value));
        self
    }

    pub fn allowed<T: ToString>(mut self, allowed: impl IntoIterator<Item = T>) -> Self {
        self.allowed = allowed.into_iter().map(|word| word.to_string()).collect();
        self
    }

    pub fn missing(argument: &str) -> Self {
        Self::new(argument, "is required")
    }

    /// An argument that the tool does not have.
    pub fn unknown(argument: &str, known: &[&str]) -> Self {
        let meant = nearest(argument, known).map(str::to_owned);
        Self {
            meant,
            ..Self::new(argument, "is not an argument of this tool").allowed(known)
        }
    }

    pub fn too_large(argument: &str, problem: impl Into<String>) -> Self {
        Self {
            too_large: true,
            ..Self::new(argument, problem)
        }
    }

    /// One sentence.
    pub fn message(&self) -> String {
        let mut sentence = format!("`{}` {}", self.argument, self.problem);
        if let Some(received) = &self.received {
            sentence.push_str("; got ");
            sentence.push_str(received);
        }
        if let Some(meant) = &self.meant {
            sentence.push_str("; did you mean `");
            sentence.push_str(meant);
            sentence.push('`');
        }
        sentence.push(if self.meant.is_some() { '?' } else { '.' });
        sentence
    }

    /// What to do about it, as the end of "Call X again ".
    pub fn remedy(&self) -> String {
        let argument = &self.argument;
        match (&self.meant, self.allowed.as_slice()) {
            (Some(meant), _) => format!("with `{meant}` in place of `{argument}`"),
            (None, []) if self.received.is_none() && !self.too_large => format!("and mind `{argument}`"),
            (None, []) => format!("with another `{argument}`"),
            (None, _) if self.problem.starts_with("is not an argument") => format!("without `{argument}`"),
            (None, allowed) => format!("with `{argument}` one of: {}", allowed.join(", ")),
        }
    }
}

/// The value as JSON, so that nothing in it can pass for words of ours, and not more of it than helps.
fn show(value: &Value) -> String {
    let text = match value {
        // A huge string is cut before it is encoded.
        Value::String(text) => Value::String(shorten(text)).to_string(),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(members) => format!("an object with {} keys", members.len()),
        other => other.to_string(),
    };
    text
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The known name that this one is a slip of the pen from.
pub(super) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
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
