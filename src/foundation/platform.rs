//! What differs between Unix and Windows. On Windows the commands of a client are meant to be used;
//! a server is compiled there, without limits of open files, file modes and signals but Ctrl-C.

pub use self::imp::{
    Signals, clock_ticks_per_second, file_identity, has_no_unread_bytes, on_user_signal,
    owner_only, raise_file_limit, survive_file_size_limit,
};

/// Whether a path still refers to an open file is told by these two numbers.
pub type FileIdentity = (u64, u64);

#[cfg(unix)]
mod imp {
    use std::fs::{Metadata, OpenOptions};
    use std::io;
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

    use rustix::net::RecvFlags;
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    use tokio::net::TcpStream;
    use tokio::signal::unix::{Signal, SignalKind, signal};

    use super::FileIdentity;

    /// The signals that stop a process.
    pub struct Signals {
        terminate: Signal,
        interrupt: Signal,
        hangup: Signal,
    }

    impl Signals {
        /// Registers the handlers; from then on the signals do not end the process by themselves.
        pub fn caught() -> io::Result<Self> {
            Ok(Self {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
                hangup: signal(SignalKind::hangup())?,
            })
        }

        /// Waits for the next signal and returns its name.
        pub async fn next(&mut self) -> &'static str {
            tokio::select! {
                _ = self.terminate.recv() => "SIGTERM",
                _ = self.interrupt.recv() => "SIGINT",
                _ = self.hangup.recv() => "SIGHUP",
            }
        }
    }

    /// Calls `act` on each SIGUSR1, which would end the process otherwise.
    pub fn on_user_signal(
        act: impl Fn() + Send + 'static,
    ) -> io::Result<Option<impl Future<Output = ()> + Send>> {
        let mut signals = signal(SignalKind::user_defined1())?;
        Ok(Some(async move {
            while signals.recv().await.is_some() {
                act();
            }
        }))
    }

    /// Handles SIGXFSZ, so that a file that reaches its size limit is reported like a full disk and
    /// does not end the process.
    pub fn survive_file_size_limit() -> io::Result<()> {
        let number = rustix::process::Signal::XFSZ.as_raw();
        // A registered handler replaces the default action of the signal.
        signal(SignalKind::from_raw(number)).map(drop)
    }

    /// Raises the soft limit of open files to the hard limit, and returns the limit, if there is
    /// one.
    pub fn raise_file_limit() -> Option<u64> {
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        // On failure the old limit remains.
        setrlimit(Resource::Nofile, raised).map_or(limit.current, |()| limit.maximum)
    }

    pub fn file_identity(file: &Metadata) -> FileIdentity {
        (file.dev(), file.ino())
    }

    pub fn owner_only(options: &mut OpenOptions) {
        options.mode(0o600);
    }

    /// Peeks at the socket, because tokio's readiness is only as recent as the last poll of the
    /// event loop. False if the connection is closed.
    pub fn has_no_unread_bytes(stream: &TcpStream) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let peeked = rustix::net::recv(stream, &mut [0], flags);
        matches!(peeked, Err(rustix::io::Errno::AGAIN))
    }

    pub fn clock_ticks_per_second() -> Option<u32> {
        rustix::param::clock_ticks_per_second().try_into().ok()
    }
}

#[cfg(windows)]
mod imp {
    use std::fs::{Metadata, OpenOptions};
    use std::io;

    use futures::FutureExt;
    use tokio::net::TcpStream;
    use tokio::signal::windows::{CtrlBreak, CtrlC, ctrl_break, ctrl_c};

    use super::FileIdentity;

    /// What stops a process.
    pub struct Signals {
        interrupt: CtrlC,
        end: CtrlBreak,
    }

    impl Signals {
        /// Registers the handlers; from then on the signals do not end the process by themselves.
        pub fn caught() -> io::Result<Self> {
            Ok(Self {
                interrupt: ctrl_c()?,
                end: ctrl_break()?,
            })
        }

        /// Waits for the next signal and returns its name.
        pub async fn next(&mut self) -> &'static str {
            tokio::select! {
                _ = self.interrupt.recv() => "Ctrl-C",
                _ = self.end.recv() => "Ctrl-Break",
            }
        }
    }

    pub fn on_user_signal(
        _act: impl Fn() + Send + 'static,
    ) -> io::Result<Option<std::future::Ready<()>>> {
        Ok(None)
    }

    pub fn survive_file_size_limit() -> io::Result<()> {
        Ok(())
    }

    pub fn raise_file_limit() -> Option<u64> {
        None
    }

    /// A file that is moved away keeps its time of creation; another one at its path has its own.
    pub fn file_identity(file: &Metadata) -> FileIdentity {
        use std::os::windows::fs::MetadataExt;
        (0, file.creation_time())
    }

    /// A new file has the permissions of its folder.
    pub fn owner_only(_options: &mut OpenOptions) {}

    /// As far as is known since the last poll of the event loop.
    pub fn has_no_unread_bytes(stream: &TcpStream) -> bool {
        stream.peek(&mut [0]).now_or_never().is_none()
    }

    pub fn clock_ticks_per_second() -> Option<u32> {
        None
    }
}
