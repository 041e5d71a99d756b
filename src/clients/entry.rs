//! What differs between one server and another, and the words of a command line for it.

/// What a client's entry says.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The entry's name, see [`is_name`].
    pub name: String,
    /// The URL of `/mcp`.
    pub url: String,
    /// This program, for clients that start a process.
    pub command: String,
    /// Where such a process reads its token: clients do not expand `~`, so it is absolute.
    pub token_file: String,
    /// Arguments of the program. `None`: `connect`, to the URL.
    pub local: Option<Vec<String>>,
}

impl Entry {
    /// What the process gets as arguments.
    pub fn arguments(&self) -> Vec<String> {
        let bridge = || vec!["connect".to_owned(), self.url.clone()];
        let mut words = self.local.clone().unwrap_or_else(bridge);
        words.extend(["--token-file".to_owned(), self.token_file.clone()]);
        words
    }

    /// The process as one line.
    pub fn command_line(&self) -> String {
        let words: Vec<_> = std::iter::once(&self.command)
            .chain(&self.arguments())
            .map(|word| shell(word))
            .collect();
        words.join(" ")
    }
}

/// What every client takes for a name, and no shell or URL has to quote.
pub fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (1..=64).contains(&text.len())
        && text.chars().all(plain)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// A word that a POSIX shell reads as it is.
pub fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A text as the value of a URL's query.
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
