//! The origin of a value.
//!
//! Figment keeps one metadata per provider. Each value is a provider of its own here, so figment's
//! metadata holds the origin of each key.

use std::fmt;
use std::path::PathBuf;

use figment::{Metadata, Source};

/// The layer that a value comes from, and its name there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Default,
    File(PathBuf),
    Environment(String),
    Flag(String),
}

impl Origin {
    /// The layer as a single word, for machine-readable output.
    pub fn layer(&self) -> &'static str {
        match self {
            Origin::Default => "default",
            Origin::File(_) => "file",
            Origin::Environment(_) => "environment",
            Origin::Flag(_) => "flag",
        }
    }

    /// The path of the file, or the name of the variable or the flag.
    pub fn name(&self) -> Option<String> {
        match self {
            Origin::Default => None,
            Origin::File(path) => Some(path.display().to_string()),
            Origin::Environment(name) | Origin::Flag(name) => Some(name.clone()),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(&name),
            None => f.write_str("default"),
        }
    }
}

impl From<&Origin> for Metadata {
    fn from(origin: &Origin) -> Self {
        let metadata = Metadata::named(origin.layer());
        match origin {
            Origin::Default => metadata,
            Origin::File(path) => metadata.source(path.as_path()),
            Origin::Environment(name) | Origin::Flag(name) => {
                metadata.source(Source::Custom(name.clone()))
            }
        }
    }
}

impl From<&Metadata> for Origin {
    fn from(metadata: &Metadata) -> Self {
        match (&*metadata.name, &metadata.source) {
            ("environment", Some(Source::Custom(name))) => Origin::Environment(name.clone()),
            ("flag", Some(Source::Custom(name))) => Origin::Flag(name.clone()),
            (_, Some(Source::File(path))) => Origin::File(path.clone()),
            _ => Origin::Default,
        }
    }
}
