//! Exit codes, with the numbers of `sysexits.h`, and errors that end a command.

use std::io;

use crate::config::ConfigError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Configuration = 64,
    Unavailable = 69,
    Software = 70,
    System = 71,
    TryLater = 75,
    NoPermission = 77,
}

impl Exit {
    pub const ALL: [Exit; 9] = [
        Exit::Done,
        Exit::Failed,
        Exit::Usage,
        Exit::Configuration,
        Exit::Unavailable,
        Exit::Software,
        Exit::System,
        Exit::TryLater,
        Exit::NoPermission,
    ];

    pub fn code(self) -> u8 {
        self as u8
    }

    pub fn meaning(self) -> &'static str {
        match self {
            Exit::Done => "done; also a server that is off because it has no tenant secret",
            Exit::Failed => "the call failed, or the server is not healthy",
            Exit::Usage => "the command line was not understood",
            Exit::Configuration => "the configuration has a mistake",
            Exit::Unavailable => "the API cannot be reached, or did not answer in time",
            Exit::Software => "a fault of this program",
            Exit::System => "the address cannot be listened on",
            Exit::TryLater => "too many calls: try again later",
            Exit::NoPermission => {
                "the token is missing, or was not accepted, or does not allow this"
            }
        }
    }

    /// The exit code of a failed call, by the category of its error.
    pub fn of_category(category: &str) -> Self {
        match category {
            "authentication" | "permission" => Exit::NoPermission,
            "unavailable" | "timeout" => Exit::Unavailable,
            "rate_limited" => Exit::TryLater,
            "internal" => Exit::Software,
            _ => Exit::Failed,
        }
    }
}

/// Why a command ends early: the message and the exit code.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error(transparent)]
    Configuration(#[from] ConfigError),
    #[error("{sentence}")]
    Because { exit: Exit, sentence: String },
    /// The error has been reported already.
    #[error("stopped")]
    Silent(Exit),
    /// The output cannot be written. A closed pipe is not an error, as in `… | head`.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

impl CliError {
    pub fn because(exit: Exit, sentence: impl Into<String>) -> Self {
        Self::Because {
            exit,
            sentence: sentence.into(),
        }
    }

    pub fn exit(&self) -> Exit {
        match self {
            CliError::Configuration(_) => Exit::Configuration,
            CliError::Because { exit, .. } | CliError::Silent(exit) => *exit,
            CliError::Output(why) if why.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            CliError::Output(_) => Exit::Failed,
        }
    }

    pub fn is_silent(&self) -> bool {
        match self {
            CliError::Silent(_) => true,
            CliError::Output(why) => why.kind() == io::ErrorKind::BrokenPipe,
            _ => false,
        }
    }
}
