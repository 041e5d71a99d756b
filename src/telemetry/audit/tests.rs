use std::fs;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;

use super::chain::{Chain, Event, Hash};
use super::file::tests::{LIMITS, Scratch};
use super::record::{counted, event};
use super::verify::{Anchors, Kind, Report, Trails};
use super::*;

/// A trail of a start, `calls` calls, and an end.
fn trail(calls: usize) -> Vec<Vec<u8>> {
    let mut chain = Chain::begin("c".to_owned());
    let mut kinds = vec![Event::Start];
    kinds.resize(calls + 1, Event::Call);
    kinds.push(Event::End);
    let line = |kind: Event| {
        let mut line = Vec::new();
        chain.append(event(kind).as_bytes(), &mut line);
        line
    };
    kinds.into_iter().map(line).collect()
}

fn verified(text: &[u8]) -> Report {
    verified_by(&[text], &Anchors::default())
}

fn verified_by(texts: &[&[u8]], anchors: &Anchors) -> Report {
    let mut trails = Trails::default();
    for text in texts {
        trails.read(*text, false).unwrap();
    }
    trails.report(anchors)
}

fn wrong(report: &Report) -> Vec<Kind> {
    let kinds = report.findings.iter().map(|finding| finding.kind);
    kinds.filter(|kind| kind.is_wrong()).collect()
}

#[test]
fn an_untouched_trail_is_valid() {
    let lines = trail(5);
    let report = verified(&lines.concat());
    assert_eq!(report.findings, []);
    let [chain] = &report.chains[..] else {
        panic!("{report:?}")
    };
    assert_eq!(
        (chain.lines, chain.first.0, chain.last.0, chain.ended),
        (7, 1, 7, true)
    );
    // Split into files, in any order.
    let (first, second) = lines.split_at(3);
    let report = verified_by(&[&second.concat(), &first.concat()], &Anchors::default());
    assert_eq!(report.findings, []);
}

#[derive(Debug, Clone)]
enum Tampering {
    Remove(usize),
    Double(usize, usize),
    Swap(usize, usize),
    Flip(usize, usize, u8),
    Insert(usize),
}

fn tampering() -> impl Strategy<Value = Tampering> {
    let index = 0..100_usize;
    prop_oneof![
        index.clone().prop_map(Tampering::Remove),
        (index.clone(), index.clone()).prop_map(|(line, to)| Tampering::Double(line, to)),
        (index.clone(), index.clone()).prop_map(|(one, other)| Tampering::Swap(one, other)),
        (index.clone(), 0..10_000_usize, 1..=255_u8)
            .prop_map(|(line, at, flip)| Tampering::Flip(line, at, flip)),
        index.prop_map(Tampering::Insert),
    ]
}

proptest! {
    /// Excludes the two ends, where only a stored hash reveals a change.
    #[test]
    fn any_tampering_is_detected(calls in 2..12_usize, what in tampering()) {
        let lines = trail(calls);
        let count = lines.len();
        let head = verified(&lines.concat()).chains[0].head;
        let mut other = lines.clone();
        match what {
            Tampering::Remove(line) => drop(other.remove(line % count)),
            Tampering::Double(line, to) => other.insert(to % count, lines[line % count].clone()),
            Tampering::Swap(one, another) => {
                prop_assume!(one % count != another % count);
                other.swap(one % count, another % count);
            }
            Tampering::Flip(line, at, flip) => {
                let line = &mut other[line % count];
                let at = at % (line.len() - 1);
                line[at] ^= flip;
            }
            Tampering::Insert(at) => {
                // By an attacker who knows the format.
                let mut forged = Vec::new();
                let mut chain = Chain { id: "c".to_owned(), seq: at as u64 % 12,
                    head: Hash::default() };
                chain.append(event(Event::Call).as_bytes(), &mut forged);
                other.insert(at % count, forged);
            }
        }
        let same_digits = other.concat().eq_ignore_ascii_case(&lines.concat());
        prop_assume!(!same_digits);
        // The verifier knows the beginning and the last hash.
        let anchors = Anchors { after: Some(Hash::default()), heads: vec![head] };
        let report = verified_by(&[&other.concat()], &anchors);
        prop_assert!(!wrong(&report).is_empty(), "{:?}", report);
    }

    /// All following lines would have to be rewritten, which changes the last hash.
    #[test]
    fn a_rewritten_line_with_a_valid_hash_breaks_the_chain(calls in 3..12_usize,
        index in 1..12_usize) {
        let mut lines = trail(calls);
        let index = index.min(calls);
        let before = super::chain::read(lines[index - 1].trim_ascii_end()).unwrap();
        let mut chain = Chain { id: before.chain, seq: before.seq, head: before.hash };
        lines[index].clear();
        chain.append(counted(Event::Call, "lines", 7).as_bytes(), &mut lines[index]);
        let report = verified(&lines.concat());
        prop_assert_eq!(wrong(&report), [Kind::Altered]);
        prop_assert_eq!(report.findings[0].position.unwrap().line, index as u64 + 2);
    }
}

#[test]
fn findings_have_their_kind_and_position() {
    let lines = trail(6);
    let at = |report: &Report| -> Vec<(Kind, u64)> {
        let found = report.findings.iter();
        found
            .map(|finding| {
                (
                    finding.kind,
                    finding.position.map_or(0, |position| position.line),
                )
            })
            .collect()
    };
    let mut removed = lines.clone();
    removed.drain(2..4);
    let report = verified(&removed.concat());
    assert_eq!(at(&report), [(Kind::Missing, 3)]);
    assert!(
        report.findings[0].what.contains("lines 3 to 4"),
        "{:?}",
        report.findings
    );
    let mut altered = lines.clone();
    altered[3] = String::from_utf8(altered[3].clone())
        .unwrap()
        .replace("call", "cal_")
        .into_bytes();
    assert_eq!(at(&verified(&altered.concat())), [(Kind::Altered, 4)]);
    let mut doubled = lines.clone();
    doubled.insert(4, lines[3].clone());
    assert_eq!(at(&verified(&doubled.concat())), [(Kind::Doubled, 5)]);
    let mut swapped = lines.clone();
    swapped.swap(3, 4);
    assert_eq!(at(&verified(&swapped.concat())), [(Kind::OutOfOrder, 5)]);
    let mut foreign = lines.clone();
    foreign.insert(2, b"what somebody wrote\n".to_vec());
    assert_eq!(at(&verified(&foreign.concat())), [(Kind::Foreign, 3)]);
    // Changes at the ends are found only with a stored hash.
    let head = verified(&lines.concat()).chains[0].head;
    let anchors = Anchors {
        after: None,
        heads: vec![head],
    };
    assert_eq!(
        wrong(&verified_by(&[&lines[..6].concat()], &anchors)),
        [Kind::Unanchored]
    );
    let later = verified(&lines[2..].concat());
    assert_eq!(at(&later), [(Kind::BeginsLater, 1)]);
    assert!(wrong(&later).is_empty());
    let anchor = verified(&lines[..2].concat()).chains[0].head;
    let anchors = Anchors {
        after: Some(anchor),
        heads: vec![head],
    };
    assert_eq!(verified_by(&[&lines[2..].concat()], &anchors).findings, []);
    assert_eq!(
        wrong(&verified_by(&[&lines[3..].concat()], &anchors)),
        [Kind::Unanchored]
    );
}

#[test]
fn finds_lines_in_a_log() {
    let mut log = Vec::new();
    for line in trail(3) {
        log.extend_from_slice(
            b"{\"time\":\"t\",\"level\":\"INFO\",\"msg\":\"x\"}\n2026-11-24T09:00:00Z app[1] fra \
             [info] ",
        );
        log.extend_from_slice(line.trim_ascii_end());
        log.extend_from_slice(b"\x1b[0m\n");
    }
    let mut trails = Trails::default();
    trails.read(&log[..], true).unwrap();
    let report = trails.report(&Anchors::default());
    assert_eq!((&report.findings[..], report.passed_over), (&[][..], 5));
    assert_eq!(report.chains[0].lines, 5);
}

const IDENTITY: Identity<'_> = Identity {
    tenant: "acme",
    version: "1.2.3",
};

fn call(tool: &str) -> Call<'_> {
    Call {
        correlation_id: "c",
        user: "ada",
        client: None,
        transport: "http",
        tool,
        item: None,
        operations: None,
        outcome: "ok",
        error_code: None,
        status: None,
        duration_ms: Some(0.5),
    }
}

fn started(scratch: &Scratch) -> Trail {
    Trail::begin(
        Destination::File(&scratch.file(), LIMITS),
        IDENTITY,
        Durability::Written,
        MAX_QUEUE_BYTES,
    )
    .unwrap()
}

const LONG: Duration = Duration::from_secs(20);

fn all_of(scratch: &Scratch) -> Report {
    let texts: Vec<_> = files(&scratch.file())
        .iter()
        .map(|file| fs::read(file).unwrap())
        .collect();
    let texts: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
    verified_by(&texts, &Anchors::default())
}

#[tokio::test]
async fn the_chain_goes_on_through_files_and_processes() {
    let scratch = Scratch::new();
    for round in 0..3 {
        let trail = started(&scratch);
        trail.called(&call("get_note"));
        trail.finish(LONG).await;
        let report = all_of(&scratch);
        assert_eq!(
            report
                .findings
                .iter()
                .filter(|finding| finding.kind != Kind::BeginsLater)
                .count(),
            0
        );
        assert_eq!(
            (report.chains.len(), report.chains[0].last.0),
            (1, 3 * (round + 1))
        );
        assert!(report.chains[0].ended);
    }
    assert!(files(&scratch.file()).len() > 1, "it was moved on");
}

#[tokio::test]
async fn an_incomplete_last_line_is_recorded_and_legitimate() {
    let large = Limits {
        bytes: 1 << 20,
        files: 1,
    };
    for (missing, is_half) in [(30, true), (1, false), (0, false)] {
        let scratch = Scratch::new();
        let started = || {
            Trail::begin(
                Destination::File(&scratch.file(), large),
                IDENTITY,
                Durability::Written,
                MAX_QUEUE_BYTES,
            )
            .unwrap()
        };
        let trail = started();
        trail.called(&call("get_note"));
        trail.finish(LONG).await;
        let whole = fs::read(scratch.file()).unwrap();
        fs::write(scratch.file(), &whole[..whole.len() - missing]).unwrap();
        assert_eq!(wrong(&all_of(&scratch)), [], "it may be being written");
        started().finish(LONG).await;
        let report = all_of(&scratch);
        assert_eq!(wrong(&report), []);
        let torn = report
            .findings
            .iter()
            .any(|finding| finding.kind == Kind::Torn);
        assert_eq!(torn, is_half, "{report:?}");
        // Start, call, end or torn, then the next start and end.
        assert_eq!(report.chains[0].last.0, 5, "{report:?}");
    }
}

/// A disk that accepts `capacity` more bytes and then reports that it is full.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    written: Vec<u8>,
    capacity: usize,
    refused: usize,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock().unwrap();
        let some = bytes.len().min(state.capacity);
        if some == 0 {
            state.refused += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.capacity -= some;
        state.written.extend_from_slice(&bytes[..some]);
        Ok(some)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_full_disk_loses_only_lines_over_capacity_and_records_them() {
    let disk = Disk::default();
    disk.0.lock().unwrap().capacity = 100;
    let one = call("get_note").members("acme").len() + 1;
    let trail = Trail::begin(
        Destination::Stream(Box::new(disk.clone())),
        IDENTITY,
        Durability::Written,
        5 * one + 3,
    )
    .unwrap();
    while disk.0.lock().unwrap().refused == 0 {
        tokio::task::yield_now().await;
    }
    for _ in 0..12 {
        trail.called(&call("get_note"));
    }
    disk.0.lock().unwrap().capacity = usize::MAX;
    while disk.0.lock().unwrap().written.len() < 200 {
        tokio::task::yield_now().await;
    }
    trail.finish(LONG).await;
    let written = disk.0.lock().unwrap().written.clone();
    let report = verified(&written);
    assert_eq!(wrong(&report), [], "{}", String::from_utf8_lossy(&written));
    let lost: Vec<_> = report
        .findings
        .iter()
        .map(|finding| finding.what.as_str())
        .collect();
    assert_eq!(lost, ["says that 7 lines before it could not be written"]);
    assert_eq!(report.chains[0].lines, 1 + 5 + 1 + 1);
}

/// The last attempt writes the pending lines and those that are still queued.
#[tokio::test]
async fn the_last_attempt_writes_everything() {
    let disk = Disk::default();
    let trail = Trail::begin(
        Destination::Stream(Box::new(disk.clone())),
        IDENTITY,
        Durability::Written,
        MAX_QUEUE_BYTES,
    )
    .unwrap();
    while disk.0.lock().unwrap().refused == 0 {
        tokio::task::yield_now().await;
    }
    for _ in 0..12 {
        trail.called(&call("get_note"));
    }
    disk.0.lock().unwrap().capacity = usize::MAX;
    trail.finish(LONG).await;
    let report = verified(&disk.0.lock().unwrap().written);
    assert_eq!(
        (&report.findings[..], report.chains[0].lines),
        (&[][..], 14)
    );
}

#[tokio::test]
async fn a_full_disk_does_not_delay_shutdown() {
    let trail = Trail::begin(
        Destination::Stream(Box::new(Disk::default())),
        IDENTITY,
        Durability::Written,
        MAX_QUEUE_BYTES,
    )
    .unwrap();
    trail.called(&call("get_note"));
    trail.finish(LONG).await;
}

#[tokio::test]
async fn a_write_is_answered_when_its_line_is_in_the_file() {
    let large = Limits {
        bytes: 1 << 20,
        files: 1,
    };
    for durability in [Durability::Written, Durability::Synced] {
        let scratch = Scratch::new();
        let trail = Trail::begin(
            Destination::File(&scratch.file(), large),
            IDENTITY,
            durability,
            MAX_QUEUE_BYTES,
        )
        .unwrap();
        for calls in 1..=20 {
            trail.wrote(&call("create_note")).reached().await;
            let text = fs::read_to_string(scratch.file()).unwrap();
            assert_eq!(
                text.matches("\"create_note\"").count(),
                calls,
                "{durability:?}: {text}"
            );
        }
        let all =
            futures::future::join_all((0..50).map(|_| trail.wrote(&call("delete_note")).reached()));
        all.await;
        let text = fs::read_to_string(scratch.file()).unwrap();
        assert_eq!(
            text.matches("\"delete_note\"").count(),
            50,
            "{durability:?}: {text}"
        );
        trail.finish(LONG).await;
        assert_eq!(wrong(&all_of(&scratch)), []);
    }
}

#[tokio::test]
async fn no_call_waits_for_a_full_disk() {
    let disk = Disk::default();
    let trail = Trail::begin(
        Destination::Stream(Box::new(disk.clone())),
        IDENTITY,
        Durability::Written,
        MAX_QUEUE_BYTES,
    )
    .unwrap();
    // The first line of the trail is refused.
    while disk.0.lock().unwrap().refused == 0 {
        tokio::task::yield_now().await;
    }
    for _ in 0..50 {
        trail.wrote(&call("create_note")).reached().await;
    }
    disk.0.lock().unwrap().capacity = usize::MAX;
    trail.finish(LONG).await;
    let report = verified(&disk.0.lock().unwrap().written);
    assert_eq!(
        (&report.findings[..], report.chains[0].lines),
        (&[][..], 52)
    );
}

/// A disk whose writes block from when it hangs until it is released.
struct Hanging {
    hangs: Arc<AtomicBool>,
    until: std::sync::mpsc::Receiver<()>,
    disk: Disk,
}

impl Write for Hanging {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.hangs.load(Ordering::SeqCst) {
            let _ = self.until.recv();
        }
        self.disk.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_hanging_disk_is_waited_for_once_and_briefly() {
    let (let_go, until) = std::sync::mpsc::channel();
    let (disk, hangs) = (Disk::default(), Arc::new(AtomicBool::new(false)));
    disk.0.lock().unwrap().capacity = usize::MAX;
    let stream = Hanging {
        hangs: Arc::clone(&hangs),
        until,
        disk: disk.clone(),
    };
    let trail = Trail::begin(
        Destination::Stream(Box::new(stream)),
        IDENTITY,
        Durability::Written,
        MAX_QUEUE_BYTES,
    )
    .unwrap();
    trail.wrote(&call("create_note")).reached().await;
    hangs.store(true, Ordering::SeqCst);
    // With a paused clock the bound passes at once.
    tokio::time::pause();
    let started = tokio::time::Instant::now();
    trail.wrote(&call("create_note")).reached().await;
    let waited = started.elapsed();
    assert!(waited >= MAX_WAIT, "{waited:?}");
    trail.wrote(&call("create_note")).reached().await;
    assert_eq!(started.elapsed(), waited, "the next does not wait again");
    drop(let_go);
    trail.queue.close();
    let done = trail.done.lock().take().unwrap();
    done.await.unwrap();
    let report = verified(&disk.0.lock().unwrap().written);
    assert_eq!((&report.findings[..], report.chains[0].lines), (&[][..], 5));
}

#[tokio::test]
async fn a_moved_file_is_replaced_by_a_new_one() {
    let scratch = Scratch::new();
    let trail = started(&scratch);
    let moved = scratch.0.join("moved");
    while fs::metadata(scratch.file()).unwrap().len() == 0 {
        tokio::task::yield_now().await;
    }
    fs::rename(scratch.file(), &moved).unwrap();
    trail.called(&call("get_note"));
    trail.finish(LONG).await;
    let (before, after) = (fs::read(moved).unwrap(), fs::read(scratch.file()).unwrap());
    let report = verified_by(&[&before, &after], &Anchors::default());
    assert_eq!((&report.findings[..], report.chains[0].lines), (&[][..], 3));
}
