//! Text that must never be printed, such as tokens and shared secrets, and the detection of weak
//! ones.
//!
//! [`Secret`] prints nothing and is wiped when dropped. The wiping has limits: a value that came
//! from the environment also stays in the environment block of the process.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// Printed in place of a secret.
pub const REDACTED: &str = "<redacted>";

/// Prints as `[secret]`, and is wiped when its last clone is dropped. Clones share the text.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(Arc::new(Zeroizing::new(text.into())))
    }

    /// The only access to the text, so that a search for this name finds every use.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(REDACTED)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Self::new)
    }
}

/// Why `text` is too weak to be a secret in production, as the end of a sentence that starts with
/// the name of the setting.
pub fn weakness(text: &str) -> Option<String> {
    const MIN_BYTES: usize = 32;
    const MIN_DISTINCT: usize = 8;
    const PLACEHOLDERS: &[&str] = &[
        "change-me",
        "change_me",
        "changeme",
        "replace-me",
        "replace_me",
        "replaceme",
        "placeholder",
        "your-secret",
        "your_secret",
        "yoursecret",
        "example",
        "dev-secret",
        "dev_secret",
        "devsecret",
        "insecure",
        "not-a-secret",
        "supersecret",
        "password",
        "tenant-secret",
    ];
    let lower = text.to_ascii_lowercase();
    if PLACEHOLDERS
        .iter()
        .any(|placeholder| lower.contains(placeholder))
    {
        return Some("looks like a placeholder".to_owned());
    }
    if text.len() < MIN_BYTES {
        return Some(format!(
            "has {} bytes where {MIN_BYTES} are the least",
            text.len()
        ));
    }
    if text.trim() != text {
        return Some("starts or ends with white space".to_owned());
    }
    let distinct = text
        .bytes()
        .collect::<std::collections::BTreeSet<_>>()
        .len();
    (distinct < MIN_DISTINCT).then(|| "repeats so few characters that it can be guessed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_output_contains_the_secret() {
        let secret = Secret::new("hunter2");
        let shown = format!(
            "{secret} {secret:?} {}",
            serde_json::to_string(&secret).unwrap()
        );
        assert_eq!(shown, "[secret] [secret] \"<redacted>\"");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn detects_weak_secrets() {
        assert_eq!(weakness("9f2c4e1ab7d8035566f1e2d3c4b5a697"), None);
        assert_eq!(
            weakness("short").unwrap(),
            "has 5 bytes where 32 are the least"
        );
        assert_eq!(
            weakness("please-CHANGE-ME-before-production-1").unwrap(),
            "looks like a placeholder"
        );
        assert!(weakness(&"ab".repeat(20)).unwrap().contains("guessed"));
        assert!(
            weakness("9f2c4e1ab7d8035566f1e2d3c4b5a697\n")
                .unwrap()
                .contains("white space")
        );
    }
}
