//! Verifies a trail: finds lines that are altered, missing, duplicated or out of order.
//!
//! Files may be read in any order, and one file may contain several chains: lines are grouped by
//! chain and sorted by number. A chain alone cannot prove that its beginning and its end are
//! complete; that takes a hash stored elsewhere ([`Anchors`]).

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead};

use super::chain::{self, Event, Hash, LineError, Link, MARK};

/// The position of a line: the index of its file, and the line number in it, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub source: usize,
    pub line: u64,
}

/// An observation about a trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub kind: Kind,
    pub position: Option<Position>,
    pub what: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// These prove that the trail is not as it was written.
    Altered,
    Missing,
    Doubled,
    OutOfOrder,
    Foreign,
    Unanchored,
    /// These were there from the beginning, or cannot be distinguished from what was.
    Torn,
    Lost,
    Unended,
    BeginsLater,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Altered => "altered",
            Self::Missing => "missing",
            Self::Doubled => "doubled",
            Self::OutOfOrder => "out_of_order",
            Self::Foreign => "foreign",
            Self::Unanchored => "unanchored",
            Self::Torn => "torn",
            Self::Lost => "lost",
            Self::Unended => "unended",
            Self::BeginsLater => "begins_later",
        }
    }

    pub fn is_wrong(self) -> bool {
        self <= Self::Unanchored
    }
}

/// A chain, from its first line in the trail to its last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    pub chain: String,
    pub lines: usize,
    pub first: (u64, String),
    pub last: (u64, String),
    pub head: Hash,
    pub ended: bool,
}

#[derive(Debug, Default)]
pub struct Report {
    pub findings: Vec<Finding>,
    pub chains: Vec<Summary>,
    /// Number of log lines between the lines of the trail.
    pub passed_over: u64,
}

/// Hashes that were stored outside the trail.
#[derive(Debug, Default, Clone)]
pub struct Anchors {
    /// The hash that the first line must follow.
    pub after: Option<Hash>,
    /// Hashes of lines that must exist.
    pub heads: Vec<Hash>,
}

/// The verifier's state while it reads files.
#[derive(Debug, Default)]
pub struct Trails {
    links: Vec<(Link, Position)>,
    findings: Vec<Finding>,
    /// Line numbers that altered lines claim.
    claimed: BTreeSet<u64>,
    passed_over: u64,
    sources: usize,
}

/// Bytes that are not a whole line, until the next line explains them.
struct Fragment {
    position: Position,
    bytes: u64,
}

impl Trails {
    /// Reads a file. With `in_log` it is a log, whose other lines are skipped.
    pub fn read(&mut self, mut from: impl BufRead, in_log: bool) -> io::Result<()> {
        let source = self.sources;
        self.sources += 1;
        let mut fragment: Option<Fragment> = None;
        let mut bytes = Vec::new();
        for line in 1.. {
            bytes.clear();
            if from.read_until(b'\n', &mut bytes)? == 0 {
                break;
            }
            let position = Position { source, line };
            let ended = bytes.last() == Some(&b'\n');
            let whole = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
            let text = if in_log { marked(whole) } else { Some(whole) };
            let Some(text) = text else {
                self.passed_over += 1;
                continue;
            };
            match chain::read(text) {
                Ok(link) => {
                    if let Some(fragment) = fragment.take() {
                        self.judge(&fragment, Some(&link));
                    }
                    self.links.push((link, position));
                }
                Err(LineError::Altered(claimed)) => {
                    self.claimed.extend(claimed);
                    self.add(
                        Kind::Altered,
                        position,
                        "is not as it was written".to_owned(),
                    );
                }
                // A torn line may have lost everything that identifies it.
                Err(LineError::Cut | LineError::Foreign) => {
                    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                    let incomplete = fragment.get_or_insert(Fragment { position, bytes: 0 });
                    incomplete.bytes += length;
                    if !ended {
                        let torn = "is half a line, and the last one: it is being written, or its \
                            writer was cut off";
                        let (kind, what) = match chain::read(text) {
                            Err(LineError::Cut) => (Kind::Torn, torn),
                            _ => (Kind::Foreign, "is no line of a trail"),
                        };
                        self.add(kind, position, what.to_owned());
                        fragment = None;
                    }
                }
            }
        }
        if let Some(fragment) = fragment {
            self.judge(&fragment, None);
        }
        Ok(())
    }

    /// Decides about an incomplete line. It is legitimate if the next line records it: a killed
    /// process leaves one.
    fn judge(&mut self, fragment: &Fragment, next: Option<&Link>) {
        let recorded = next.is_some_and(|next| {
            // The recorded size excludes the line feed if the next process had to add it.
            next.event == Event::Torn
                && (fragment.bytes == next.bytes || fragment.bytes == next.bytes + 1)
        });
        if recorded {
            let what = "is half a line, left by a process that was cut off; the next line says so";
            self.add(Kind::Torn, fragment.position, what.to_owned());
        } else {
            self.add(
                Kind::Foreign,
                fragment.position,
                "is no line of a trail".to_owned(),
            );
        }
    }

    fn add(&mut self, kind: Kind, position: Position, what: String) {
        let position = Some(position);
        self.findings.push(Finding {
            kind,
            position,
            what,
        });
    }

    pub fn report(mut self, anchors: &Anchors) -> Report {
        let mut chains: BTreeMap<String, Vec<(Link, Position)>> = BTreeMap::new();
        for (link, position) in std::mem::take(&mut self.links) {
            chains
                .entry(link.chain.clone())
                .or_default()
                .push((link, position));
        }
        let mut heads: BTreeSet<Hash> = anchors.heads.iter().copied().collect();
        let mut follows = anchors.after.is_none();
        let mut summaries = Vec::new();
        for (id, mut lines) in chains {
            self.in_order(&lines);
            lines.sort_by_key(|(link, position)| (link.seq, *position));
            self.linked(&lines);
            for (link, _) in &lines {
                heads.remove(&link.hash);
            }
            let (Some((first, position)), Some((last, _))) = (lines.first(), lines.last()) else {
                continue;
            };
            follows |= anchors.after == Some(first.prev);
            if first.seq > 1 && anchors.after != Some(first.prev) {
                let what = format!("is line {} of its chain, and the first one here", first.seq);
                self.add(Kind::BeginsLater, *position, what);
            }
            summaries.push(Summary {
                chain: id,
                lines: lines.len(),
                first: (first.seq, first.time.clone()),
                last: (last.seq, last.time.clone()),
                head: last.hash,
                ended: last.event == Event::End,
            });
        }
        let unanchored = |what: String| Finding {
            kind: Kind::Unanchored,
            position: None,
            what,
        };
        self.findings.extend(
            heads
                .into_iter()
                .map(|head| unanchored(format!("no line has the hash {head}"))),
        );
        if !follows {
            let what = "no chain begins after the line that was given".to_owned();
            self.findings.push(unanchored(what));
        }
        self.findings
            .sort_by_key(|finding| (finding.position.is_none(), finding.position, finding.kind));
        Report {
            findings: self.findings,
            chains: summaries,
            passed_over: self.passed_over,
        }
    }

    /// Checks that the numbers increase in reading order.
    fn in_order(&mut self, lines: &[(Link, Position)]) {
        let mut highest: Option<(u64, usize)> = None;
        for (link, position) in lines {
            if let Some((seq, source)) = highest
                && source == position.source
                && link.seq < seq
            {
                let what = format!(
                    "is line {} of its chain, and stands after line {seq}",
                    link.seq
                );
                self.add(Kind::OutOfOrder, *position, what);
                continue;
            }
            highest = Some((link.seq, position.source));
        }
    }

    /// Checks that each line follows the previous one, in numerical order.
    fn linked(&mut self, lines: &[(Link, Position)]) {
        let mut before: Option<&Link> = None;
        for (link, position) in lines {
            match before {
                Some(before) if before.seq == link.seq && before.hash == link.hash => {
                    self.add(
                        Kind::Doubled,
                        *position,
                        format!("is line {} once more", link.seq),
                    );
                    continue;
                }
                Some(before) if before.seq == link.seq => {
                    let what = format!("says that it is line {}, as another one does", link.seq);
                    self.add(Kind::Altered, *position, what);
                }
                Some(before) if before.seq + 1 < link.seq => {
                    self.gap(before.seq + 1, link.seq - 1, *position);
                }
                Some(before) if before.hash != link.prev => {
                    let what = format!(
                        "does not follow line {}: that one, or this one and all after it, was \
                         written anew",
                        before.seq
                    );
                    self.add(Kind::Altered, *position, what);
                }
                None if link.seq <= 1 && link.prev != Hash::default() => {
                    self.add(
                        Kind::Altered,
                        *position,
                        "is the first line and follows another".to_owned(),
                    );
                }
                _ => {}
            }
            self.report_recorded(before, link, *position);
            before = Some(link);
        }
    }

    fn gap(&mut self, from: u64, to: u64, position: Position) {
        let missing: Vec<_> = (from..=to)
            .filter(|seq| !self.claimed.contains(seq))
            .take(2)
            .collect();
        let what = match (missing.first(), missing.get(1)) {
            // The lines exist and are reported as altered.
            (None, _) => return,
            (Some(one), None) => format!("should come after line {one}, which is missing"),
            _ => format!("should come after lines {from} to {to}, which are missing"),
        };
        self.add(Kind::Missing, position, what);
    }

    /// Reports what a line itself records.
    fn report_recorded(&mut self, before: Option<&Link>, link: &Link, position: Position) {
        match link.event {
            Event::Lost => {
                let what = format!(
                    "says that {} lines before it could not be written",
                    link.lines
                );
                self.add(Kind::Lost, position, what);
            }
            Event::Start
                if before
                    .is_some_and(|before| !matches!(before.event, Event::End | Event::Torn)) =>
            {
                let what = "is a start after no end: the last lines of the process before may \
                    never have been written";
                self.add(Kind::Unended, position, what.to_owned());
            }
            _ => {}
        }
    }
}

/// Finds the trail line in a log line, whatever a collector has put around it.
fn marked(line: &[u8]) -> Option<&[u8]> {
    let begin = memchr::memmem::find(line, MARK)?;
    let rest = line.get(begin..)?;
    let end = memchr::memrchr(b'}', rest).map_or(rest.len(), |at| at + 1);
    rest.get(..end)
}
