//! What a command says to the shell when it ends. Stands in `--help` and the manual page.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done,
    /// It did what it should and found something that a person should see to, or two states that
    /// differ.
    Differs,
    /// It failed, or was not asked rightly.
    Failure,
    /// Part of it was done.
    Partly,
    /// There is no history where one was looked for.
    NoStore,
    /// Another process has the store.
    Locked,
    WrongPassword,
    /// A person interrupted it; nothing is half-done.
    Interrupted,
    /// What a command that was run said.
    Other(u8),
}

impl Exit {
    /// The number, for ever.
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Differs => 1,
            Exit::Failure => 2,
            Exit::Partly => 3,
            Exit::NoStore => 10,
            Exit::Locked => 11,
            Exit::WrongPassword => 12,
            Exit::Interrupted => 130,
            Exit::Other(code) => code,
        }
    }

    /// What one of our own processes meant with a number.
    pub fn from_code(code: u8) -> Exit {
        match code {
            0 => Exit::Done,
            1 => Exit::Differs,
            3 => Exit::Partly,
            10 => Exit::NoStore,
            11 => Exit::Locked,
            12 => Exit::WrongPassword,
            130 => Exit::Interrupted,
            _ => Exit::Failure,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}
