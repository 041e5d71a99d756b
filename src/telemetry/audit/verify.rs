//! Reads a trail again and says what is not as it was written: lines that are altered, missing, doubled, out of order.
//!
//! Files may come in any order, and one text may have several chains: lines are put together by the chain that they
//! name and by their number. What a chain by itself cannot show is that its beginning or its end was taken away; for that
//! somebody has to have kept a hash ([`Anchors`]).

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead};

use super::chain::{self, Event, Hash, Link, MARK, Unsound};

/// Where a line was read: the number of the text among all, and the line's in it, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub source: usize,
    pub line: u64,
}

/// Something that is to be said of a trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub kind: Kind,
    pub place: Option<Position>,
    pub what: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// These say that the trail is not what was written.
    Altered,
    Missing,
    Doubled,
    OutOfOrder,
    Foreign,
    Unanchored,
    /// These have been in it from the beginning, or cannot be told from what has.
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

/// A chain, from its first line here to its last.
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
    /// Lines of the log among those of the trail.
    pub passed_over: u64,
}

/// Hashes that somebody has kept elsewhere.
#[derive(Debug, Default, Clone)]
pub struct Anchors {
    /// The first line has to follow this one.
    pub after: Option<Hash>,
    /// These lines have to be there.
    pub heads: Vec<Hash>,
}

/// What has been read so far.
#[derive(Debug, Default)]
pub struct Trails {
    links: Vec<(Link, Position)>,
    findings: Vec<Finding>,
    /// The numbers that altered lines claim.
    claimed: BTreeSet<u64>,
    passed_over: u64,
    sources: usize,
}

/// Bytes that are no whole line, until it is known what follows them.
struct Fragment {
    place: Position,
    bytes: u64,
}

impl Trails {
    /// Reads a text. `in_log`: lines of the trail stand among others, which are passed over.
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
            let place = Position { source, line };
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
                    self.links.push((link, place));
                }
                Err(Unsound::Altered(claimed)) => {
                    self.claimed.extend(claimed);
                    self.say(Kind::Altered, place, "is not as it was written".to_owned());
                }
                // Where lines may be torn, nothing of them may be left that tells what they were.
                Err(Unsound::Cut | Unsound::Foreign) => {
                    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                    let begun = fragment.get_or_insert(Fragment { place, bytes: 0 });
                    begun.bytes += length;
                    if !ended {
                        let torn = "is half a line, and the last one: it is being written, or its writer was cut off";
                        let (kind, what) = match chain::read(text) {
                            Err(Unsound::Cut) => (Kind::Torn, torn),
                            _ => (Kind::Foreign, "is no line of a trail"),
                        };
                        self.say(kind, place, what.to_owned());
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

    /// Half a line is what a process that was killed has left, if the next one has said so at once.
    fn judge(&mut self, fragment: &Fragment, next: Option<&Link>) {
        let told = next.is_some_and(|next| {
            // The next process had to end the line itself, unless there was an end.
            next.event == Event::Torn
                && (fragment.bytes == next.bytes || fragment.bytes == next.bytes + 1)
        });
        if told {
            let what = "is half a line, left by a process that was cut off; the next line says so";
            self.say(Kind::Torn, fragment.place, what.to_owned());
        } else {
            self.say(
                Kind::Foreign,
                fragment.place,
                "is no line of a trail".to_owned(),
            );
        }
    }

    fn say(&mut self, kind: Kind, place: Position, what: String) {
        let place = Some(place);
        self.findings.push(Finding { kind, place, what });
    }

    pub fn report(mut self, anchors: &Anchors) -> Report {
        let mut chains: BTreeMap<String, Vec<(Link, Position)>> = BTreeMap::new();
        for (link, place) in std::mem::take(&mut self.links) {
            chains
                .entry(link.chain.clone())
                .or_default()
                .push((link, place));
        }
        let mut heads: BTreeSet<Hash> = anchors.heads.iter().copied().collect();
        let mut follows = anchors.after.is_none();
        let mut summaries = Vec::new();
        for (id, mut lines) in chains {
            self.in_order(&lines);
            lines.sort_by_key(|(link, place)| (link.seq, *place));
            self.linked(&lines);
            for (link, _) in &lines {
                heads.remove(&link.hash);
            }
            let (Some((first, place)), Some((last, _))) = (lines.first(), lines.last()) else {
                continue;
            };
            follows |= anchors.after == Some(first.prev);
            if first.seq > 1 && anchors.after != Some(first.prev) {
                let what = format!("is line {} of its chain, and the first one here", first.seq);
                self.say(Kind::BeginsLater, *place, what);
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
            place: None,
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
            .sort_by_key(|finding| (finding.place.is_none(), finding.place, finding.kind));
        Report {
            findings: self.findings,
            chains: summaries,
            passed_over: self.passed_over,
        }
    }

    /// As they were read: numbers go up.
    fn in_order(&mut self, lines: &[(Link, Position)]) {
        let mut highest: Option<(u64, usize)> = None;
        for (link, place) in lines {
            if let Some((seq, source)) = highest
                && source == place.source
                && link.seq < seq
            {
                let what = format!(
                    "is line {} of its chain, and stands after line {seq}",
                    link.seq
                );
                self.say(Kind::OutOfOrder, *place, what);
                continue;
            }
            highest = Some((link.seq, place.source));
        }
    }

    /// As they are numbered: each follows the one before.
    fn linked(&mut self, lines: &[(Link, Position)]) {
        let mut before: Option<&Link> = None;
        for (link, place) in lines {
            match before {
                Some(before) if before.seq == link.seq && before.hash == link.hash => {
                    self.say(
                        Kind::Doubled,
                        *place,
                        format!("is line {} once more", link.seq),
                    );
                    continue;
                }
                Some(before) if before.seq == link.seq => {
                    let what = format!("says that it is line {}, as another one does", link.seq);
                    self.say(Kind::Altered, *place, what);
                }
                Some(before) if before.seq + 1 < link.seq => {
                    self.gap(before.seq + 1, link.seq - 1, *place);
                }
                Some(before) if before.hash != link.prev => {
                    let what = format!(
                        "does not follow line {}: that one, or this one and all after it, was written anew",
                        before.seq
                    );
                    self.say(Kind::Altered, *place, what);
                }
                None if link.seq <= 1 && link.prev != Hash::default() => {
                    self.say(
                        Kind::Altered,
                        *place,
                        "is the first line and follows another".to_owned(),
                    );
                }
                _ => {}
            }
            self.told(before, link, *place);
            before = Some(link);
        }
    }

    fn gap(&mut self, from: u64, to: u64, place: Position) {
        let missing: Vec<_> = (from..=to)
            .filter(|seq| !self.claimed.contains(seq))
            .take(2)
            .collect();
        let what = match (missing.first(), missing.get(1)) {
            // Those are there, and said to be altered.
            (None, _) => return,
            (Some(one), None) => format!("should come after line {one}, which is missing"),
            _ => format!("should come after lines {from} to {to}, which are missing"),
        };
        self.say(Kind::Missing, place, what);
    }

    /// What the trail itself says.
    fn told(&mut self, before: Option<&Link>, link: &Link, place: Position) {
        match link.event {
            Event::Lost => {
                let what = format!(
                    "says that {} lines before it could not be written",
                    link.lines
                );
                self.say(Kind::Lost, place, what);
            }
            Event::Start
                if before
                    .is_some_and(|before| !matches!(before.event, Event::End | Event::Torn)) =>
            {
                let what = "is a start after no end: the last lines of the process before may never have been written";
                self.say(Kind::Unended, place, what.to_owned());
            }
            _ => {}
        }
    }
}

/// The line of a trail in a line of a log, whatever a collector has put around it.
fn marked(line: &[u8]) -> Option<&[u8]> {
    let begin = memchr::memmem::find(line, MARK)?;
    let rest = line.get(begin..)?;
    let end = memchr::memrchr(b'}', rest).map_or(rest.len(), |at| at + 1);
    rest.get(..end)
}
