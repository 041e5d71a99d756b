//! The values that differ between servers, and their command line.

/// The values of a client's entry.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The entry's name, see [`is_name`].
    pub name: String,
    /// The URL of `/mcp`.
    pub url: String,
    /// The path of this program, for clients that start a process, or a program that starts it.
    pub command: String,
    /// What such a program takes before the arguments of this one.
    pub launcher: Vec<String>,
    /// The file from which such a process reads its token. Absolute, since clients do not expand
    /// `~`.
    pub token_file: String,
    /// The arguments of the program; `None` for `connect` with the URL.
    pub local: Option<Vec<String>>,
}

impl Entry {
    /// The arguments of the process.
    pub fn arguments(&self) -> Vec<String> {
        let bridge = || vec!["connect".to_owned(), self.url.clone()];
        let mut words = self.launcher.clone();
        words.extend(self.local.clone().unwrap_or_else(bridge));
        words.extend(["--token-file".to_owned(), self.token_file.clone()]);
        words
    }

    /// The process as one shell command.
    pub fn command_line(&self) -> String {
        let words: Vec<_> = std::iter::once(&self.command)
            .chain(&self.arguments())
            .map(|word| shell(word))
            .collect();
        words.join(" ")
    }
}

/// Whether every client accepts the name, and no shell or URL needs to quote it.
pub fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (1..=64).contains(&text.len())
        && text.chars().all(plain)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// Quotes a word for a POSIX shell, if necessary.
pub fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Percent-encodes a text as a query value.
pub fn query(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded += &format!("%{byte:02X}");
        }
    }
    encoded
}
