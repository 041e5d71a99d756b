//! A program that the suite has started: its lines, its signals, its end.
//!
//! Every line that any program ever wrote to a log is kept in [`logs`], for the check at the very
//! end.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{Mutex as AsyncMutex, watch};

/// Nothing in the suite takes as long, unless it will never come.
pub const HANG_TIMEOUT: Duration = Duration::from_secs(120);

/// Everything that came out of one pipe.
#[derive(Clone)]
pub struct PipeLines(Arc<watch::Sender<PipeState>>);

#[derive(Default)]
struct PipeState {
    lines: Vec<String>,
    closed: bool,
}

/// A pipe whose lines are a log, and whose it is.
struct Log {
    program: String,
    lines: PipeLines,
}

static LOGS: Mutex<Vec<Log>> = Mutex::new(Vec::new());

/// Every log of every program so far.
pub fn logs() -> BTreeMap<String, Vec<String>> {
    let logs = LOGS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for log in logs.iter() {
        all.entry(log.program.clone())
            .or_default()
            .extend(log.lines.all());
    }
    all
}

/// Records the lines of a program that has ended.
pub fn record_log(program: &str, text: &str) {
    let lines = PipeLines::new();
    lines
        .0
        .send_modify(|state| state.lines.extend(text.lines().map(str::to_owned)));
    register_log(program, &lines);
}

fn register_log(program: &str, lines: &PipeLines) {
    let log = Log {
        program: program.to_owned(),
        lines: lines.clone(),
    };
    LOGS.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(log);
}

impl PipeLines {
    fn new() -> Self {
        Self(Arc::new(watch::Sender::new(PipeState::default())))
    }

    fn read(pipe: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let lines = Self::new();
        let kept = lines.clone();
        tokio::spawn(async move {
            let mut pipe = BufReader::new(pipe).lines();
            while let Ok(Some(line)) = pipe.next_line().await {
                kept.0.send_modify(|state| state.lines.push(line));
            }
            kept.0.send_modify(|state| state.closed = true);
        });
        lines
    }

    pub fn all(&self) -> Vec<String> {
        self.0.borrow().lines.clone()
    }

    /// What `find` makes of the first line that it makes something of. It sees each line once:
    /// there are many.
    pub async fn until<T>(&self, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        let mut changes = self.0.subscribe();
        let mut seen = 0;
        let looking = async {
            loop {
                {
                    let state = changes.borrow_and_update();
                    let found = state.lines[seen..].iter().find_map(|line| find(line));
                    if found.is_some() || state.closed {
                        return found;
                    }
                    seen = state.lines.len();
                }
                changes.changed().await.ok()?;
            }
        };
        tokio::time::timeout(HANG_TIMEOUT, looking).await.ok()?
    }

    async fn until_closed(&self) {
        let mut changes = self.0.subscribe();
        let _ = tokio::time::timeout(HANG_TIMEOUT, changes.wait_for(|state| state.closed)).await;
    }
}

/// What a program writes to its standard output.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stdout {
    Log,
    Answers,
}

pub struct Process {
    pub name: String,
    pub out: PipeLines,
    pub err: PipeLines,
    pid: u32,
    child: AsyncMutex<Child>,
    stdin: AsyncMutex<Option<ChildStdin>>,
}

impl Process {
    /// The command gets no environment but the one that it was given.
    pub fn start(name: &str, mut command: Command, stdout: Stdout) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .unwrap_or_else(|why| panic!("{name} cannot be started: {why}"));
        let out = PipeLines::read(child.stdout.take().unwrap());
        let err = PipeLines::read(child.stderr.take().unwrap());
        if stdout == Stdout::Log {
            register_log(name, &out);
        }
        register_log(name, &err);
        Self {
            name: name.to_owned(),
            out,
            err,
            pid: child.id().unwrap(),
            stdin: AsyncMutex::new(child.stdin.take()),
            child: AsyncMutex::new(child),
        }
    }

    /// The field of the JSON log line whose message begins so.
    pub async fn logged(&self, message: &str, field: &str) -> String {
        let value = self.logged_value(message, field).await;
        value.as_str().unwrap_or_default().to_owned()
    }

    /// The same as the value that it is.
    pub async fn logged_value(&self, message: &str, field: &str) -> serde_json::Value {
        let found = self.out.until(|line| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            line["msg"]
                .as_str()?
                .starts_with(message)
                .then(|| line[field].clone())
        });
        match found.await {
            Some(value) => value,
            None => panic!(
                "{} never said \"{message}\":\n{}",
                self.name,
                self.all_output()
            ),
        }
    }

    pub async fn send(&self, line: &str) {
        let mut stdin = self.stdin.lock().await;
        let pipe = stdin.as_mut().expect("an open standard input");
        pipe.write_all(format!("{line}\n").as_bytes())
            .await
            .unwrap();
        pipe.flush().await.unwrap();
    }

    pub async fn close_stdin(&self) {
        self.stdin.lock().await.take();
    }

    /// `TERM`, `INT`: to this process alone.
    pub fn signal(&self, name: &str) {
        let sent = std::process::Command::new("kill")
            .args([format!("-{name}"), self.pid.to_string()])
            .status();
        assert!(
            sent.is_ok_and(|status| status.success()),
            "{} is gone already",
            self.name
        );
    }

    /// Files, sockets among them.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid))
            .unwrap()
            .count()
    }

    /// Sockets that are connected to this address, those included that the other side has closed.
    pub fn connections_to(&self, address: &str) -> usize {
        let address: std::net::SocketAddrV4 = address.parse().unwrap();
        // As in /proc/net/tcp: the bytes of the address in the order of the machine.
        let ip = u32::from_ne_bytes(address.ip().octets());
        let peer = format!("{ip:08X}:{:04X}", address.port());
        let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", self.pid)).unwrap();
        let connected: Vec<String> = table
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|fields| fields.get(2) == Some(&peer.as_str()))
            .map(|fields| format!("socket:[{}]", fields[9]))
            .collect();
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.pid)).unwrap();
        // One that has been closed meanwhile has no link any more.
        let links = files.filter_map(|file| std::fs::read_link(file.unwrap().path()).ok());
        links
            .filter(|link| connected.iter().any(|socket| link.to_str() == Some(socket)))
            .count()
    }

    /// Memory that it holds.
    pub fn resident_kib(&self) -> u64 {
        self.status_kib("VmRSS:")
    }

    /// The most memory that it has held.
    pub fn peak_kib(&self) -> u64 {
        self.status_kib("VmHWM:")
    }

    fn status_kib(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap()
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .unwrap()
    }

    /// From now on no file may grow beyond `bytes`, as on a disk that is full.
    pub fn limit_files(&self, bytes: u64) {
        self.limit_files_to(&bytes.to_string());
    }

    /// There is room again.
    pub fn free_files(&self) {
        self.limit_files_to("unlimited");
    }

    fn limit_files_to(&self, limit: &str) {
        let limited = std::process::Command::new("prlimit")
            .args([format!("--pid={}", self.pid), format!("--fsize={limit}:")])
            .status();
        assert!(
            limited.is_ok_and(|status| status.success()),
            "prlimit of util-linux"
        );
    }

    /// Waits for the end; the code, or `None` after a signal that killed.
    pub async fn exit(&self) -> Option<i32> {
        let mut child = self.child.lock().await;
        let Ok(status) = tokio::time::timeout(HANG_TIMEOUT, child.wait()).await else {
            panic!("{} does not end:\n{}", self.name, self.all_output())
        };
        self.out.until_closed().await;
        self.err.until_closed().await;
        status.unwrap().code()
    }

    pub async fn stop(&self) {
        let mut child = self.child.lock().await;
        let _ = child.start_kill();
        let _ = child.wait().await;
    }

    /// All that it said, for the message of a failure.
    pub fn all_output(&self) -> String {
        let lines = [self.out.all(), self.err.all()].concat();
        lines.join("\n")
    }
}
