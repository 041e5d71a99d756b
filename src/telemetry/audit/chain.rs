//! The hash chain of the trail: each line contains the hash of the previous line and ends with its
//! own.
//!
//! A hash is SHA-256 over the bytes of the line up to its `hash` member, so that a verifier hashes
//! bytes as they are and re-encodes nothing. The mark at the beginning distinguishes a trail line
//! from a log line.

use std::fmt;
use std::io::Write;

use serde::{Deserialize, Deserializer, de::Error};
use sha2::{Digest, Sha256};

/// The beginning of every line.
pub const MARK: &[u8] = b"{\"audit\":1,";
/// Separates the hashed bytes from the hash.
const BEFORE_HASH: &[u8] = b",\"hash\":\"";
const AFTER_HASH: &[u8] = b"\"}";
const HASH_DIGITS: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Hash([u8; 32]);

impl Hash {
    fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    pub fn read(text: &str) -> Option<Self> {
        let mut hash = Self::default();
        // The decoder takes a leading 0x.
        (text.len() == HASH_DIGITS).then_some(())?;
        hex::decode_to_slice(text, &mut hash.0).ok()?;
        Some(hash)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; HASH_DIGITS];
        hex::encode_to_slice(self.0, &mut digits).map_err(|_| fmt::Error)?;
        f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::read(&text).ok_or_else(|| D::Error::custom("no hash"))
    }
}

/// The current end of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    pub id: String,
    /// The number of the last line; 0 before the first.
    pub seq: u64,
    /// The hash of the last line.
    pub head: Hash,
}

impl Chain {
    pub fn begin(id: String) -> Self {
        Self {
            id,
            seq: 0,
            head: Hash::default(),
        }
    }

    /// Appends a line with these members to `out`, and advances the chain.
    pub fn append(&mut self, members: &[u8], out: &mut Vec<u8>) {
        let begin = out.len();
        self.seq += 1;
        out.extend_from_slice(MARK);
        // Writing to a `Vec` never fails.
        let _ = write!(
            out,
            "\"chain\":\"{}\",\"seq\":{},\"prev\":\"{}\",",
            self.id, self.seq, self.head
        );
        out.extend_from_slice(members);
        self.head = Hash::of(out.get(begin..).unwrap_or_default());
        out.extend_from_slice(BEFORE_HASH);
        let _ = write!(out, "{}", self.head);
        out.extend_from_slice(AFTER_HASH);
        out.push(b'\n');
    }
}

/// The kinds of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// A server begins to write the trail.
    Start,
    Call,
    /// Lines before this one could not be written; their number is in `lines`.
    Lost,
    /// The bytes before this line are an incomplete line of a process that ended while it wrote.
    Torn,
    /// The server has shut down in an orderly way.
    End,
}

impl Event {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Call => "call",
            Self::Lost => "lost",
            Self::Torn => "torn",
            Self::End => "end",
        }
    }
}

/// A line whose hash is correct. Whether it is in its original position follows from its
/// neighbours.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Link {
    pub chain: String,
    pub seq: u64,
    pub prev: Hash,
    pub hash: Hash,
    pub event: Event,
    pub time: String,
    /// Only in a `lost` line.
    #[serde(default)]
    pub lines: u64,
    /// Only in a `torn` line.
    #[serde(default)]
    pub bytes: u64,
}

/// Why bytes are not a valid line of the trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineError {
    /// The mark is missing: it never was a line of the trail, or its beginning is gone.
    Foreign,
    /// The end of the line is missing.
    Cut,
    /// The hash does not match the bytes. Holds the line number that it claims, if it has one.
    Altered(Option<u64>),
}

/// Parses and checks a line, without its line feed.
pub fn read(line: &[u8]) -> Result<Link, LineError> {
    if !line.starts_with(MARK) {
        let begins = !line.is_empty() && MARK.starts_with(line);
        return Err(if begins {
            LineError::Cut
        } else {
            LineError::Foreign
        });
    }
    let (hashed, hash) = split(line).ok_or(LineError::Cut)?;
    if Hash::of(hashed) != hash {
        return Err(LineError::Altered(claimed(line)));
    }
    serde_json::from_slice(line).map_err(|_| LineError::Altered(None))
}

/// Splits a line into the hashed bytes and its hash.
fn split(line: &[u8]) -> Option<(&[u8], Hash)> {
    let rest = line.strip_suffix(AFTER_HASH)?;
    let (rest, digits) = rest.split_at_checked(rest.len().checked_sub(HASH_DIGITS)?)?;
    let hash = Hash::read(std::str::from_utf8(digits).ok()?)?;
    Some((rest.strip_suffix(BEFORE_HASH)?, hash))
}

fn claimed(line: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Claim {
        seq: u64,
    }
    serde_json::from_slice::<Claim>(line)
        .ok()
        .map(|claim| claim.seq)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Vec<u8> {
        let (mut chain, mut out) = (Chain::begin("c".to_owned()), Vec::new());
        chain.append(br#""time":"t","event":"start""#, &mut out);
        chain.append(br#""time":"t","event":"lost","lines":3"#, &mut out);
        out
    }

    #[test]
    fn a_line_contains_the_previous_hash_and_round_trips() {
        let out = two();
        let lines: Vec<_> = out.split(|byte| *byte == b'\n').collect();
        let (first, second) = (read(lines[0]).unwrap(), read(lines[1]).unwrap());
        assert_eq!(
            (first.seq, first.prev, first.event),
            (1, Hash::default(), Event::Start)
        );
        assert_eq!(
            (second.seq, second.prev, second.event, second.lines),
            (2, first.hash, Event::Lost, 3)
        );
        assert_eq!(lines[2], b"");
        assert_eq!(Hash::read(&second.hash.to_string()), Some(second.hash));
    }

    /// Others verify the documented format with their own tools.
    #[test]
    fn format_matches_the_documentation() {
        let line = String::from_utf8(two()).unwrap();
        let line = line.lines().next().unwrap();
        let zeros = "0".repeat(64);
        let hashed = format!(
            r#"{{"audit":1,"chain":"c","seq":1,"prev":"{zeros}","time":"t","event":"start""#
        );
        assert_eq!(
            line,
            format!(r#"{hashed},"hash":"{}"}}"#, Hash::of(hashed.as_bytes()))
        );
    }

    #[test]
    fn detects_every_changed_byte_and_every_truncation() {
        let out = two();
        let line = out.split(|byte| *byte == b'\n').next().unwrap();
        for at in 0..line.len() {
            for flip in [1, 0x20, 0x80] {
                let mut changed = line.to_vec();
                changed[at] ^= flip;
                // Upper-case digits of the hash are the one change that keeps the meaning.
                let same = changed.eq_ignore_ascii_case(line) && at + 66 >= line.len();
                assert_eq!(read(&changed).is_ok(), same, "{at} {flip}");
            }
            if at > 0 {
                assert_eq!(read(&line[..at]), Err(LineError::Cut), "{at}");
            }
        }
        assert_eq!(read(b"{\"time\":\"t\"}"), Err(LineError::Foreign));
        let text = String::from_utf8(line.to_vec()).unwrap();
        let other = text.replace("start", "stars");
        assert_eq!(read(other.as_bytes()), Err(LineError::Altered(Some(1))));
    }
}
