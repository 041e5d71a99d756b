//! The file of a trail and its predecessors: `audit.jsonl`, `audit.jsonl.1`, `audit.jsonl.2`; the
//! largest number is the oldest.
//!
//! A lock on the file itself ensures that only one server writes to it. Log rotation tools may move
//! the file away without notice: before each batch the writer checks whether the path still refers
//! to the open file, and if not, begins a new one. The chain continues through all files.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::chain::{self, Chain, Event, Link, MARK};
use crate::foundation::platform::{self, FileIdentity};

/// How much of the end is first searched for the last line. A line has about 500 bytes, and the
/// search widens if it finds none.
const TAIL_BYTES: u64 = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{} cannot be opened ({why}): give it a directory that is there and that this user may \
        write to", .path.display())]
    Unusable { path: PathBuf, why: io::Error },
    #[error("{} is no file: name one", .0.display())]
    NoFile(PathBuf),
    #[error("another server writes to {}: give each a file of its own", .0.display())]
    Taken(PathBuf),
    #[error("{} has something else in it: name a file of the trail's own", .0.display())]
    Foreign(PathBuf),
}

/// The maximum size of a file, and how many older files are kept.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub bytes: u64,
    pub files: usize,
}

#[derive(Debug)]
pub struct TrailFile {
    path: PathBuf,
    limits: Limits,
    file: File,
    size: u64,
    identity: FileIdentity,
    rotates: bool,
    /// Whether the directory entry is synced to the disk as well.
    named: bool,
}

/// The state in which an earlier process left the trail.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub chain: Option<Chain>,
    /// Whether the process shut down in an orderly way.
    pub ended: bool,
    /// Bytes after the last whole line.
    pub torn: u64,
    /// Whether the file ends without a line feed.
    pub open_line: bool,
}

impl TrailFile {
    pub fn open(path: &Path, limits: Limits) -> Result<(Self, Found), OpenError> {
        let unusable = |why| OpenError::Unusable {
            path: path.to_owned(),
            why,
        };
        // Checked before opening, since opening a pipe blocks until it has a reader.
        match fs::metadata(path) {
            Ok(is) if !is.is_file() => return Err(OpenError::NoFile(path.to_owned())),
            _ => {}
        }
        let (file, identity) = opened(path).map_err(|why| match why.kind() {
            io::ErrorKind::WouldBlock => OpenError::Taken(path.to_owned()),
            _ => unusable(why),
        })?;
        let size = file.metadata().map_err(unusable)?.len();
        let mut found = Found::default();
        let mut last = None;
        if size > 0 {
            (last, found.torn, found.open_line) = tail(&file, size).map_err(unusable)?;
            if last.is_none() && !begins_well(&file).map_err(unusable)? {
                return Err(OpenError::Foreign(path.to_owned()));
            }
        }
        if last.is_none() {
            // The last line is in the previous file if the process ended right after a rotation.
            last = File::open(numbered(path, 1))
                .and_then(|before| tail(&before, before.metadata()?.len()))
                .ok()
                .and_then(|(last, ..)| last);
        }
        if let Some(last) = last {
            found.ended = last.event == Event::End;
            found.chain = Some(Chain {
                id: last.chain,
                seq: last.seq,
                head: last.hash,
            });
        }
        let opened = Self {
            path: path.to_owned(),
            limits,
            file,
            size,
            identity,
            rotates: true,
            named: false,
        };
        Ok((opened, found))
    }

    /// Writes a part of `bytes` and returns its length.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.size += u64::try_from(written).unwrap_or_default();
        Ok(written)
    }

    /// Syncs the file to the disk.
    pub fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        if !self.named {
            let directory = self
                .path
                .parent()
                .filter(|path| !path.as_os_str().is_empty());
            File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
            self.named = true;
        }
        Ok(())
    }

    /// Whether the file was moved away or deleted.
    pub fn is_gone(&self) -> bool {
        fs::metadata(&self.path).map_or(true, |is| platform::file_identity(&is) != self.identity)
    }

    pub fn is_full(&self) -> bool {
        self.size >= self.limits.bytes && self.rotates
    }

    /// Begins a new file at the path.
    pub fn reopen(&mut self) -> io::Result<()> {
        let (file, identity) = opened(&self.path)?;
        self.size = file.metadata()?.len();
        (self.file, self.identity, self.named) = (file, identity, false);
        Ok(())
    }

    /// Renames every file to the next number, deletes the oldest and begins a new one. If that
    /// fails, the current file keeps growing: a large file is better than none.
    pub fn rotate(&mut self) -> io::Result<()> {
        let _ = self.sync();
        let moved = (0..self.limits.files).rev().try_for_each(|number| {
            let moved = fs::rename(
                numbered(&self.path, number),
                numbered(&self.path, number + 1),
            );
            moved.or_else(|why| match why.kind() {
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(why),
            })
        });
        // Tried once: it would fail each time.
        self.rotates = moved.is_ok();
        moved?;
        self.reopen()
    }
}

/// The existing files of the trail at this path, the oldest first.
pub fn all(path: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = (0..)
        .map(|number| numbered(path, number))
        .take_while(|file| file == path || file.exists())
        .collect();
    files.reverse();
    files
}

fn numbered(path: &Path, number: usize) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// Opens the file and locks it.
fn opened(path: &Path) -> io::Result<(File, FileIdentity)> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    // The trail contains user names.
    platform::owner_only(&mut options);
    let file = options.open(path)?;
    file.try_lock().map_err(|why| match why {
        TryLockError::WouldBlock => {
            io::Error::new(io::ErrorKind::WouldBlock, "another server writes to it")
        }
        TryLockError::Error(why) => why,
    })?;
    let identity = platform::file_identity(&file.metadata()?);
    Ok((file, identity))
}

fn begins_well(mut file: &File) -> io::Result<bool> {
    let mut beginning = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    let most = u64::try_from(MARK.len()).unwrap_or_default();
    file.take(most).read_to_end(&mut beginning)?;
    Ok(MARK.starts_with(&beginning))
}

/// The last whole line, the number of bytes after it, and whether those lack a line feed.
fn tail(mut file: &File, size: u64) -> io::Result<(Option<Link>, u64, bool)> {
    let mut window = TAIL_BYTES;
    loop {
        let begin = size.saturating_sub(window);
        file.seek(SeekFrom::Start(begin))?;
        let mut bytes = Vec::new();
        file.take(size - begin).read_to_end(&mut bytes)?;
        let open_line = bytes.last().is_some_and(|last| *last != b'\n');
        let mut after = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n').rev() {
            if let Ok(link) = chain::read(line.strip_suffix(b"\n").unwrap_or(line)) {
                return Ok((Some(link), after, open_line));
            }
            after += u64::try_from(line.len()).unwrap_or_default();
        }
        if begin == 0 {
            return Ok((None, after, open_line));
        }
        window = window.saturating_mul(16);
    }
}

#[cfg(test)]
pub mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A directory that is deleted when this is dropped.
    pub struct Scratch(pub PathBuf);

    impl Scratch {
        pub fn new() -> Self {
            let path =
                std::env::temp_dir().join(format!("toolbridge-audit-{}", uuid::Uuid::new_v4()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        pub fn file(&self) -> PathBuf {
            self.0.join("audit.jsonl")
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    pub const LIMITS: Limits = Limits {
        bytes: 1000,
        files: 2,
    };

    fn lines(chain: &mut Chain, count: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for _ in 0..count {
            chain.append(br#""time":"t","event":"call""#, &mut out);
        }
        out
    }

    #[test]
    fn refuses_unusable_files_with_a_reason() {
        let scratch = Scratch::new();
        let error_for = |path: &Path| TrailFile::open(path, LIMITS).unwrap_err().to_string();
        assert!(error_for(&scratch.0).ends_with("is no file: name one"));
        assert!(error_for(Path::new("/dev/full")).ends_with("is no file: name one"));
        assert!(
            error_for(&scratch.0.join("none/audit.jsonl"))
                .contains("give it a directory that is there")
        );
        let other = scratch.0.join("notes");
        fs::write(&other, "what somebody wrote\n").unwrap();
        assert!(error_for(&other).contains("has something else in it"));
        let _held = TrailFile::open(&scratch.file(), LIMITS).unwrap();
        assert!(error_for(&scratch.file()).starts_with("another server writes to"));
        let mode = fs::metadata(scratch.file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn finds_where_the_last_process_left_off() {
        let scratch = Scratch::new();
        let mut chain = Chain::begin("c".to_owned());
        let found = || TrailFile::open(&scratch.file(), LIMITS).unwrap().1;
        assert_eq!(found(), Found::default());
        let whole = lines(&mut chain, 3);
        for (left, torn, open_line) in [
            (whole.clone(), 0, false),
            (whole[..whole.len() - 1].to_vec(), 0, true),
            ([&whole[..], b"{\"audit\":1,\"ch"].concat(), 14, true),
            ([&whole[..], &[0; 5], b"\n"].concat(), 6, false),
            ([&whole[..], &vec![0; 200_000]].concat(), 200_000, true),
        ] {
            fs::write(scratch.file(), left).unwrap();
            let found = found();
            assert_eq!((found.torn, found.open_line), (torn, open_line));
            assert_eq!(found.chain.as_ref(), Some(&chain));
        }
        // An incomplete first line.
        fs::write(scratch.file(), &whole[..40]).unwrap();
        assert_eq!((found().chain, found().torn), (None, 40));
        // A rotation without any line after it.
        fs::write(scratch.file(), "").unwrap();
        fs::write(numbered(&scratch.file(), 1), &whole).unwrap();
        assert_eq!(found().chain, Some(chain));
    }

    #[test]
    fn rotation_deletes_the_oldest_file() {
        let scratch = Scratch::new();
        let (mut trail, _) = TrailFile::open(&scratch.file(), LIMITS).unwrap();
        for round in 0..5 {
            trail.write(format!("round {round}").as_bytes()).unwrap();
            trail.rotate().unwrap();
        }
        let read: Vec<_> = all(&scratch.file())
            .iter()
            .map(|file| fs::read_to_string(file).unwrap())
            .collect();
        assert_eq!(read, ["round 3", "round 4", ""]);
        assert!(!trail.is_gone());
        fs::rename(scratch.file(), scratch.0.join("elsewhere")).unwrap();
        assert!(trail.is_gone());
        trail.reopen().unwrap();
        assert!(!trail.is_gone() && scratch.file().exists());
    }
}
