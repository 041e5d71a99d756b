//! The source of the token. A file is read again for every message, so that a refreshed token needs
//! no restart.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use http::HeaderValue;
use parking_lot::Mutex;

use super::error::ConnectError;
use crate::foundation::secret::Secret;

/// Tokens have a few KiB at most.
const MAX_BYTES: u64 = 64 * 1024;

#[derive(Debug)]
pub enum TokenSource {
    Environment(Secret),
    File {
        path: PathBuf,
        /// The last token read, used while the file is being replaced.
        last: Mutex<Option<Secret>>,
    },
}

impl TokenSource {
    pub fn environment(token: Secret) -> Result<Self, ConnectError> {
        let source = Self::Environment(token);
        match &source {
            Self::Environment(token) if authorization(token).is_none() => {
                Err(ConnectError::NoToken {
                    location: source.location(),
                    why: "it holds something else than a token".to_owned(),
                })
            }
            _ => Ok(source),
        }
    }

    pub fn file(path: PathBuf) -> Self {
        Self::File {
            path,
            last: Mutex::new(None),
        }
    }

    /// Describes the source, for messages.
    pub fn location(&self) -> String {
        match self {
            Self::Environment(_) => "TOOLBRIDGE_TOKEN".to_owned(),
            Self::File { path, .. } => format!("the file {}", path.display()),
        }
    }

    /// How to fix a rejected token.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Environment(_) => {
                "Set TOOLBRIDGE_TOKEN to a fresh one and start this client again"
            }
            Self::File { .. } => "Put a fresh one there; nothing needs to be started again",
        }
    }

    pub fn current(&self) -> Result<Secret, ConnectError> {
        match self {
            Self::Environment(token) => Ok(token.clone()),
            Self::File { path, last } => {
                let mut last = last.lock();
                match (read(path), &*last) {
                    (Ok(token), _) => {
                        *last = Some(token.clone());
                        Ok(token)
                    }
                    (Err(error), Some(token)) => {
                        tracing::warn!(%error, "the token file cannot be read; its last token is \
                            used");
                        Ok(token.clone())
                    }
                    (Err(error), None) => Err(ConnectError::NoToken {
                        location: self.location(),
                        why: error.to_string(),
                    }),
                }
            }
        }
    }
}

/// The `Authorization` header with the token.
pub fn authorization(token: &Secret) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn read(path: &Path) -> io::Result<Secret> {
    // Reading a pipe would block, and works only once.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut text = String::new();
    File::open(path)?
        .take(MAX_BYTES)
        .read_to_string(&mut text)?;
    let token = Secret::new(text.trim());
    match token.expose() {
        "" => Err(io::Error::other("it is empty")),
        _ if authorization(&token).is_none() => {
            Err(io::Error::other("it holds something else than a token"))
        }
        _ => Ok(token),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_file_each_time_and_keeps_its_last_token() {
        let path = std::env::temp_dir().join(format!("token-{}", uuid::Uuid::new_v4()));
        let source = TokenSource::file(path.clone());
        let message = source.current().unwrap_err().to_string();
        assert!(message.contains("cannot be read"), "{message}");
        for (text, token) in [
            ("one\n", "one"),
            (" two ", "two"),
            ("", "two"),
            ("a\nb", "two"),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(source.current().unwrap().expose(), token, "{text:?}");
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(source.current().unwrap().expose(), "two");
        let directory = TokenSource::file(std::env::temp_dir());
        assert!(
            directory
                .current()
                .unwrap_err()
                .to_string()
                .contains("regular file")
        );
    }
}
