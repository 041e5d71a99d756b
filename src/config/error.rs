//! The errors of a configuration.
//!
//! Each error is one sentence that names the key, the origin of its value, and the fix. No error
//! contains a secret.

use std::path::PathBuf;

use super::origin::Origin;

/// What is wrong with a value, without the key and the origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Follows the key in the sentence: `is "x", which is no URL`.
    pub why: String,
    /// An imperative: `write it like …`.
    pub fix: String,
}

impl Problem {
    pub fn new(why: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            fix: fix.into(),
        }
    }
}

/// Why a configuration is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A file that was named explicitly does not exist. The default file may be missing.
    #[error("the configuration file {} (named by {named_by}) does not exist: create it, or correct \
        the name.", .path.display())]
    FileMissing { path: PathBuf, named_by: String },
    #[error("the configuration file {} cannot be read ({why}): make it readable for this \
        user.", .path.display())]
    FileUnreadable { path: PathBuf, why: String },
    #[error("{}, line {line}, is not TOML ({why}): correct that line.", .path.display())]
    NotToml {
        path: PathBuf,
        line: usize,
        why: String,
    },
    /// An error, so that a misspelt key does not silently leave the default in force.
    #[error("{key} (from {origin}) is not a setting: {}", suggest(.nearest, "see \"toolbridge-mcp \
        config show --defaults\" for those there are"))]
    UnknownKey {
        key: String,
        origin: Origin,
        nearest: Option<String>,
    },
    #[error("{name} (in the environment) is not a setting: {}", suggest(.nearest, "unset it, or \
        see \"toolbridge-mcp config show\" for those there are"))]
    UnknownVariable {
        name: String,
        nearest: Option<String>,
    },
    /// One of the two values is out of date, and it is not known which.
    #[error("{first} and {second} both set {key}, to different values: unset one of them.")]
    NamesDisagree {
        key: &'static str,
        first: String,
        second: String,
    },
    #[error(
        "{key} (from {flag}) is a secret, and a command line can be read by everyone on this \
         machine: set {variable} instead."
    )]
    SecretOnCommandLine {
        key: &'static str,
        flag: String,
        variable: String,
    },
    #[error("{key} (from {origin}) {}: {}.", .problem.why, .problem.fix)]
    Unusable {
        key: &'static str,
        origin: Origin,
        problem: Problem,
    },
    #[error("{key} is not set{}: set {variable}.", .because)]
    Missing {
        key: &'static str,
        because: &'static str,
        variable: String,
    },
    /// The table of keys and the typed configuration disagree, which is a bug in this program.
    #[error("the configuration does not fit together ({0}): please report this.")]
    Inconsistent(String),
}

fn suggest(nearest: &Option<String>, otherwise: &str) -> String {
    match nearest {
        Some(nearest) => format!("did you mean {nearest}?"),
        None => format!("{otherwise}."),
    }
}

/// The candidate that is most similar to `word`, if the similarity is high enough for a suggestion.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    const MIN_SIMILARITY: f64 = 0.7;
    candidates
        .into_iter()
        .map(|candidate| {
            (
                strsim::normalized_damerau_levenshtein(word, candidate),
                candidate,
            )
        })
        .filter(|(similarity, _)| *similarity >= MIN_SIMILARITY)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate.to_owned())
}
