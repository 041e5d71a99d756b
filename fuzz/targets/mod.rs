//! What is fed with whatever anybody may send, and what must hold then. Each target is a function that panics where it does not.
//!
//! The functions are part of the library, since its rooms are closed to everybody else: each stands in the room that it is about.
//! `fuzz_targets` hands them to a fuzzer, and the test below feeds them with what fuzzing has found worth keeping.

pub type Target = fn(&[u8]);

pub const TARGETS: [(&str, Target); 6] = [
    ("answers", crate::tools::hostile_answers::feed),
    ("arguments", crate::tools::hostile_arguments::feed),
    ("headers", crate::transport::hostile_headers::feed),
    ("messages", crate::transport::hostile_messages::feed),
    ("signatures", crate::upstream::hostile_signatures::feed),
    ("tokens", crate::auth::hostile_tokens::feed),
];

/// Feeds one of [`TARGETS`].
pub fn feed(name: &str, input: &[u8]) {
    if let Some((_, target)) = TARGETS.iter().find(|(known, _)| *known == name) {
        target(input);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Most files of the corpus, all of them short, since everybody carries them along.
    const MOST: usize = 80;

    /// Inputs to each target.
    const NEAR: usize = 1_000;

    #[test]
    fn what_fuzzing_has_kept_holds() {
        let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        for (name, target) in TARGETS {
            let files = std::fs::read_dir(corpora.join(name)).unwrap();
            let files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
            assert!((10..=MOST).contains(&files.len()), "{name}: {} files", files.len());
            for file in files {
                let input = std::fs::read(&file).unwrap();
                let held = std::panic::catch_unwind(|| target(&input));
                assert!(held.is_ok(), "{}", file.display());
            }
        }
    }

    /// No more than a glance beside what a fuzzer does, but it takes no build of its own: files cut, spliced and spoilt, always the
    /// same way.
    #[test]
    fn what_is_near_it_holds_too() {
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
            let files: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
            for _ in 0..NEAR {
                let (one, other) = (&files[below(files.len())], &files[below(files.len())]);
                let (from, to) = (below(one.len() + 1), below(other.len() + 1));
                let mut input = match below(3) {
                    0 => one[..from].to_vec(),
                    1 => [&one[..from], &other[to..]].concat(),
                    _ => one.clone(),
                };
                for _ in 0..below(4) {
                    let at = below(input.len());
                    if let Some(byte) = input.get_mut(at) {
                        *byte ^= 1 << below(8);
                    }
                }
                let held = std::panic::catch_unwind(|| target(&input));
                assert!(held.is_ok(), "{name}: {:?}", String::from_utf8_lossy(&input));
            }
        }
    }

    #[test]
    fn every_target_is_fuzzed_and_nothing_else_is() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        files.sort();
        assert_eq!(files, TARGETS.map(|(name, _)| name));
    }
}
