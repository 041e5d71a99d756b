//! The fuzz targets: functions that take any input and panic where something that must hold does
//! not.
//!
//! The functions are part of the library, since they call its private modules. `fuzz_targets` hands
//! them to a fuzzer, and the test below feeds them with what fuzzing has found worth keeping.

#![allow(
    clippy::unwrap_used,
    reason = "an input that does not hold has to be noticed"
)]

use std::panic::{catch_unwind, resume_unwind};
use std::sync::LazyLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

pub type Target = fn(&[u8]);

pub const TARGETS: [(&str, Target); 7] = [
    ("answers", crate::tools::hostile_answers::feed),
    ("arguments", crate::tools::hostile_arguments::feed),
    ("headers", crate::server::hostile_headers::feed),
    ("json", crate::foundation::hostile_json::feed),
    ("messages", crate::server::hostile_messages::feed),
    ("signatures", crate::api::hostile_signatures::feed),
    ("tokens", crate::auth::hostile_tokens::feed),
];

/// The stack of a thread that feeds a target: half of what the server's own threads have. A reader
/// that goes deeper than it should is noticed by that; the main thread of a fuzzer has four times
/// as much as the server's.
const STACK_BYTES: usize = 1 << 20;

type Job = (Target, Vec<u8>, SyncSender<thread::Result<()>>);

/// Feeds one of [`TARGETS`], on a thread of its own with a small stack.
pub fn feed(name: &str, input: &[u8]) {
    let Some((_, target)) = TARGETS.iter().find(|(known, _)| *known == name) else {
        return;
    };
    if let Err(panic) = feed_on_small_stack(*target, input) {
        resume_unwind(panic);
    }
}

fn feed_on_small_stack(target: Target, input: &[u8]) -> thread::Result<()> {
    static FEEDER: LazyLock<SyncSender<Job>> = LazyLock::new(|| {
        let (jobs, queue) = sync_channel::<Job>(0);
        let feeding = move || {
            for (target, input, done) in queue {
                let _ = done.send(catch_unwind(|| target(&input)));
            }
        };
        thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn(feeding)
            .unwrap();
        jobs
    });
    let (done, held) = sync_channel(1);
    FEEDER.send((target, input.to_vec(), done)).unwrap();
    held.recv().unwrap()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Most files of the corpus, all of them short, since everybody carries them along.
    const MAX_FILES: usize = 80;

    /// Inputs to each target.
    const NEAR: usize = 1_000;

    #[test]
    fn the_corpus_passes() {
        let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        for (name, target) in TARGETS {
            let files = std::fs::read_dir(corpora.join(name)).unwrap();
            let files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
            assert!(
                (10..=MAX_FILES).contains(&files.len()),
                "{name}: {} files",
                files.len()
            );
            for file in files {
                let input = std::fs::read(&file).unwrap();
                let held = feed_on_small_stack(target, &input);
                assert!(held.is_ok(), "{}", file.display());
            }
        }
    }

    /// No more than a glance beside what a fuzzer does, but it takes no build of its own: files
    /// cut, spliced and spoilt, always the same way.
    #[test]
    fn mutations_of_the_corpus_pass() {
        let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        let mut dice = 20_261_124_u64;
        let mut below = move |limit: usize| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (dice >> 33) as usize % limit.max(1)
        };
        for (name, target) in TARGETS {
            let mut files: Vec<_> = std::fs::read_dir(corpora.join(name))
                .unwrap()
                .map(|file| file.unwrap().path())
                .collect();
            files.sort();
            let files: Vec<Vec<u8>> = files
                .iter()
                .map(|file| std::fs::read(file).unwrap())
                .collect();
            for _ in 0..NEAR {
                let (one, other) = (&files[below(files.len())], &files[below(files.len())]);
                let (from, to) = (below(one.len() + 1), below(other.len() + 1));
                let mut input = match below(3) {
                    0 => one[..from].to_vec(),
                    1 => [&one[..from], &other[to..]].concat(),
                    _ => one.clone(),
                };
                if below(8) == 0 {
                    input = within_strings(&input, 1 + below(20));
                }
                for _ in 0..below(4) {
                    let at = below(input.len());
                    if let Some(byte) = input.get_mut(at) {
                        *byte ^= 1 << below(8);
                    }
                }
                let held = feed_on_small_stack(target, &input);
                assert!(
                    held.is_ok(),
                    "{name}: {:?}",
                    String::from_utf8_lossy(&input)
                );
            }
        }
    }

    /// The last value of a text, as JSON within strings within JSON.
    fn within_strings(input: &[u8], layers: usize) -> Vec<u8> {
        let begin = input
            .iter()
            .position(|byte| *byte == b'{')
            .unwrap_or_default();
        let (head, value) = input.split_at(begin);
        let mut text = String::from_utf8_lossy(value).into_owned();
        for _ in 0..layers {
            let inner = text.replace('\\', "\\u005c").replace('"', "\\u0022");
            text = format!(r#"{{"$serde_json::private::RawValue":"{inner}"}}"#);
        }
        [head, text.as_bytes()].concat()
    }

    #[test]
    fn every_target_has_a_fuzz_target() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| {
                file.unwrap()
                    .path()
                    .file_stem()
                    .unwrap()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        files.sort();
        assert_eq!(files, TARGETS.map(|(name, _)| name));
    }
}
