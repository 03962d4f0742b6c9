//! Why a command failed: one line for the person who typed it, with the thing, the reason and
//! what to type next, and the exit code.

use super::exit::Exit;
use super::option::BadOption;
use super::quote::quote;
use crate::archive::ArchiveError;
use crate::control::check::Problem;
use crate::control::client::ClientError;
use crate::control::error::{Error as Refusal, sentence};
use crate::control::locate::LocateError;
use crate::control::open::OpenError;
use crate::control::request::User;
use crate::fuse::{FuseError, REFUSED_HINT};
use crate::history::HistoryError;
use crate::name::BadSnapshotName;
use crate::restore::Fault;
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Usage(String),
    #[error("{error}{}", hint(.error, .meant.as_deref()))]
    Locate {
        error: LocateError,
        /// What was probably meant, as a command line.
        meant: Option<String>,
    },
    #[error(transparent)]
    Check(#[from] Problem),
    #[error(transparent)]
    Option(#[from] BadOption),
    #[error("{name}: {fault}; choose another name", name = quote(.name))]
    Name {
        name: OsString,
        fault: BadSnapshotName,
    },
    #[error("{text}: {error}{}", state_help(.error))]
    State { text: String, error: HistoryError },
    #[error("{}: as it was then: {source}", .path.display())]
    Past { path: PathBuf, source: Fault },
    #[error("{dir}: only root and who mounted it may ask for all that differs; you can: diff -r {dir}/.snapshots/{a} {dir}/.snapshots/{b}", dir = .dir.display())]
    OwnersOnly { dir: PathBuf, a: String, b: String },
    #[error("{} is of another history than {}; restore them one after the other", .other.display(), .path.display())]
    TwoHistories { path: PathBuf, other: PathBuf },
    #[error("{} is the past itself; name what stood in it, and the state with --at", .0.display())]
    ThePast(PathBuf),
    #[error("{} does not show its past (-o snapdir=disabled); take the mount off: rewindfs umount {}", .0.display(), quote(.0))]
    NotShown(PathBuf),
    #[error(
        "{state} is a state whose scan was cut off: what is missing in it may have been there, so --delete can't tell; restore without it"
    )]
    Partial { state: String },
    #[error("{dir} is not mounted, so nothing happens there that could be followed; first: rewindfs mount {dir}", dir = quote(.0))]
    NothingToFollow(PathBuf),
    #[error("{dir} is not mounted, so its past can't be entered; mount it, or let the command run in copies (--writable)", dir = quote(.0))]
    NoViews(PathBuf),
    #[error("{address} can't be listened at: {source}; choose another --metrics ADDR")]
    Address {
        address: SocketAddr,
        source: io::Error,
    },
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("{}: {refusal}{}", .dir.display(), advice(.refusal, .dir))]
    Refused { refusal: Refusal, dir: PathBuf },
    #[error("{}: {error}{}", .dir.display(), remedy(.error, .dir))]
    Daemon { error: ClientError, dir: PathBuf },
    #[error("{} is closed to you: {REFUSED_HINT}", .0.display())]
    Closed(PathBuf),
    #[error("{} is in use: {}; leave it, or mount without --strict", .dir.display(), people(.users))]
    InUse { dir: PathBuf, users: Vec<User> },
    #[error("{}: you stand in it yourself: {}; nothing was changed; type: {way}", .dir.display(), people(.users))]
    OwnShell {
        dir: PathBuf,
        users: Vec<User>,
        /// The line that leaves it and takes it off.
        way: String,
    },
    #[error("{} is not mounted, and what an undo does would not be recorded; mount it, then undo: rewindfs mount {}", .0.display(), quote(.0))]
    UndoUnmounted(PathBuf),
    #[error("{} is not mounted; mounted directories: rewindfs status", .0.display())]
    NotMounted(PathBuf),
    #[error("{}: the daemon (pid {pid}) has not ended within {seconds} s; end it: kill -9 {pid}", .dir.display())]
    Lingers {
        dir: PathBuf,
        pid: u32,
        seconds: u64,
    },
    #[error("{}: {source}; try it as root: umount -l {}", .dir.display(), quote(.dir))]
    Detach { dir: PathBuf, source: io::Error },
    #[error("{}", sentence(.0))]
    Fuse(#[from] FuseError),
    #[error(
        "{} is mounted, but its store {} is not there any more, and nothing is recorded; take it off: rewindfs umount {}",
        .dir.display(), .store.display(), quote(.dir)
    )]
    StoreGone { dir: PathBuf, store: PathBuf },
    /// What the daemon said before it ended.
    #[error("{message}")]
    Start { message: String, exit: Exit },
    #[error("the daemon ended before the mount was usable; see {}", .log.display())]
    Vanished { log: PathBuf },
    #[error("{action}: {source}")]
    System {
        action: &'static str,
        source: io::Error,
    },
    #[error("{}: {source}", .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("nothing was purged: a purge can't be taken back; say --yes when it is meant")]
    NotConfirmed,
    #[error("the output could not be written: {0}")]
    Output(#[source] io::Error),
}

impl Error {
    /// What a daemon or handler answered.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Error::Refused { refusal, .. }
            | Error::Daemon {
                error: ClientError::Answered(refusal),
                ..
            } => Some(refusal),
            _ => None,
        }
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Error::Locate {
                error: LocateError::NotHere { exists: true, .. } | LocateError::NotOfStore { .. },
                ..
            } => Exit::NoStore,
            Error::Open(OpenError::Locked { .. }) => Exit::Locked,
            Error::Refused { refusal, .. }
            | Error::Daemon {
                error: ClientError::Answered(refusal),
                ..
            } if refusal.is_interrupt() => Exit::Interrupted,
            Error::Archive(
                ArchiveError::NoPassword { .. } | ArchiveError::WrongPassword { .. },
            ) => Exit::WrongPassword,
            Error::Archive(ArchiveError::NoRepository { .. } | ArchiveError::NoSets { .. }) => {
                Exit::NoStore
            }
            Error::Archive(ArchiveError::Interrupted) => Exit::Interrupted,
            Error::Start { exit, .. } => *exit,
            // Whoever reads our output has seen enough.
            Error::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            _ => Exit::Failure,
        }
    }

    /// Whether the daemon does not do that for this user.
    pub fn is_not_allowed(&self) -> bool {
        matches!(
            self,
            Error::Refused {
                refusal: Refusal::NotAllowed { .. },
                ..
            }
        )
    }

    /// Whether there is anything to say.
    pub fn is_silent(&self) -> bool {
        self.exit() == Exit::Done
    }
}

/// A failed write to standard output.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::Output(error)
    }
}

/// What the answer to a request was, as an error of the command about `dir`.
pub fn answered(error: ClientError, dir: &Path) -> Error {
    match error {
        ClientError::Answered(refusal) => Error::Refused {
            refusal,
            dir: dir.to_owned(),
        },
        ClientError::Refused(_) if is_closed(dir) => Error::Closed(dir.to_owned()),
        error => Error::Daemon {
            error,
            dir: dir.to_owned(),
        },
    }
}

fn state_help(error: &HistoryError) -> &'static str {
    match error {
        HistoryError::BadTime(_) => "",
        _ => "; write a snapshot's name, latest, or a time like @10:15, @5m, @yesterday",
    }
}

/// Whether the kernel lets this user into a mount at all. It answers by itself, without asking
/// the daemon.
fn is_closed(dir: &Path) -> bool {
    std::fs::symlink_metadata(dir)
        .is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

fn hint(error: &LocateError, meant: Option<&str>) -> String {
    match (error, meant) {
        (LocateError::NotHere { .. }, Some(meant)) => format!("; did you mean: {meant}"),
        (LocateError::NotHere { path, exists: true }, None) if !is_root(path) => {
            format!("; to begin its history: rewindfs mount {}", quote(path))
        }
        (LocateError::NotHere { .. }, None) => "; mounted directories: rewindfs status".to_owned(),
        _ => String::new(),
    }
}

/// The folder `/`, which can't be mounted.
fn is_root(path: &Path) -> bool {
    std::fs::canonicalize(path).is_ok_and(|path| path == Path::new("/"))
}

/// What to type after a refusal.
fn advice(refusal: &Refusal, dir: &Path) -> String {
    let dir = quote(dir);
    match refusal {
        Refusal::BadName { .. } => "; choose another name".to_owned(),
        Refusal::Exists { name } => {
            let name = quote(name);
            format!("; choose another name, or: rewindfs delete {dir} {name}")
        }
        Refusal::BadPattern { .. } => "; write it as a line of .gitignore".to_owned(),
        Refusal::NoSnapshot { .. } => format!("; those that exist: rewindfs list {dir}"),
        Refusal::NoDoing { .. } => format!("; look at the list: rewindfs undo {dir}"),
        Refusal::NotElsewhere { .. } => format!("; see: rewindfs replica list {dir}"),
        Refusal::Hook { .. } | Refusal::NoHook { .. } => {
            format!("; those that are set: rewindfs hook {dir} list")
        }
        Refusal::BadHook { .. } => "; see: rewindfs hook --help".to_owned(),
        Refusal::NoSchedule { .. } => format!("; those that exist: rewindfs schedule {dir} list"),
        Refusal::BadSchedule { .. } => "; see: rewindfs schedule --help".to_owned(),
        Refusal::NoReplica { .. } => format!("; those that exist: rewindfs replica list {dir}"),
        Refusal::NoFull => format!("; make one: rewindfs snapshot {dir} --full"),
        Refusal::NoState { .. } => {
            format!("; those that exist: rewindfs list --checkpoints {dir}")
        }
        Refusal::Version { .. } => {
            format!("; unmount with --force, then mount again: rewindfs umount --force {dir}")
        }
        Refusal::Busy { .. } => {
            format!("; leave it, or: rewindfs umount --force {dir}")
        }
        Refusal::NotMounted => format!("; mount it: rewindfs mount {dir}"),
        Refusal::Unfilled { .. } => format!(
            "; wait until rewindfs status says that nothing is left, or leave them empty until the \
             next mount: rewindfs umount --force {dir}"
        ),
        Refusal::Unmount { .. } => format!("; try: rewindfs umount --force {dir}"),
        Refusal::Overloaded => "; try again".to_owned(),
        Refusal::TimedOut { .. }
        | Refusal::Stopped { .. }
        | Refusal::Store { .. }
        | Refusal::Directory { .. } => format!("; see: rewindfs status {dir}"),
        Refusal::Held { name } => {
            let name = quote(name);
            format!(
                "; who holds it, and why: rewindfs list --log {dir}; rewindfs release {dir} {name}"
            )
        }
        Refusal::NotDeleted { .. } => format!("; those that were: rewindfs list --deleted {dir}"),
        Refusal::PastHold { .. } => "; give a later day, --until DATE".to_owned(),
        Refusal::NeverThere { .. }
        | Refusal::PurgeFolder { .. }
        | Refusal::PurgeLink { .. }
        | Refusal::PlanChanged
        | Refusal::HeldUntil { .. }
        | Refusal::NotHeld { .. }
        | Refusal::PruneInterrupted { .. }
        | Refusal::VerifyInterrupted
        | Refusal::Interrupted
        | Refusal::NotAllowed { .. }
        | Refusal::Malformed { .. } => String::new(),
    }
}

fn remedy(error: &ClientError, dir: &Path) -> String {
    let dir = quote(dir);
    match error {
        ClientError::NoDaemon | ClientError::Ended => {
            format!("; take the dead mount off: rewindfs umount {dir}")
        }
        ClientError::Silent { .. } => format!("; take it off: rewindfs umount --force {dir}"),
        ClientError::Refused(_) => "; run this as the user who mounted it, or as root".to_owned(),
        ClientError::Io(_) | ClientError::Answered(_) => String::new(),
    }
}

/// `bash (pid 7, stands in sub), vi (pid 8, has notes open)`.
pub fn people(users: &[User]) -> String {
    let each: Vec<String> = users
        .iter()
        .map(|user| format!("{} (pid {}, {})", user.command, user.pid, user.holds))
        .collect();
    each.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> User {
        User {
            pid: 7,
            command: "bash".into(),
            holds: "stands in sub".into(),
        }
    }

    fn refused(refusal: Refusal) -> Error {
        Error::Refused {
            refusal,
            dir: "/p".into(),
        }
    }

    /// The messages that people read most, to the letter.
    #[test]
    fn messages_name_the_thing_the_reason_and_the_next_command() {
        let not_here = |exists, meant: Option<&str>| Error::Locate {
            error: LocateError::NotHere {
                path: "before-refactor".into(),
                exists,
            },
            meant: meant.map(str::to_owned),
        };
        for (error, message, exit) in [
            (
                not_here(false, Some("rewindfs snapshot . before-refactor")),
                "before-refactor is not in a rewindfs directory; did you mean: \
                 rewindfs snapshot . before-refactor",
                Exit::Failure,
            ),
            (
                not_here(true, None),
                "before-refactor is not in a rewindfs directory; to begin its history: \
                 rewindfs mount before-refactor",
                Exit::NoStore,
            ),
            (
                Error::Locate {
                    error: LocateError::NotHere {
                        path: "/usr/..".into(),
                        exists: true,
                    },
                    meant: None,
                },
                "/usr/.. is not in a rewindfs directory; mounted directories: rewindfs status",
                Exit::NoStore,
            ),
            (
                refused(Refusal::Exists { name: "a b".into() }),
                "/p: the snapshot a b exists; choose another name, or: rewindfs delete /p 'a b'",
                Exit::Failure,
            ),
            (
                refused(Refusal::NoSnapshot { name: "x".into() }),
                "/p: there is no snapshot x; those that exist: rewindfs list /p",
                Exit::Failure,
            ),
            (
                refused(Refusal::Busy {
                    users: vec![user()],
                }),
                "/p: it is in use by bash (pid 7, stands in sub); nothing was changed; leave it, \
                 or: rewindfs umount --force /p",
                Exit::Failure,
            ),
            (
                Error::OwnShell {
                    dir: "/p".into(),
                    users: vec![user()],
                    way: "cd .. && rewindfs umount p".into(),
                },
                "/p: you stand in it yourself: bash (pid 7, stands in sub); nothing was changed; \
                 type: cd .. && rewindfs umount p",
                Exit::Failure,
            ),
            (
                refused(Refusal::Interrupted),
                "/p: interrupted; no snapshot was made",
                Exit::Interrupted,
            ),
            (
                Error::Daemon {
                    error: ClientError::NoDaemon,
                    dir: "/p".into(),
                },
                "/p: no daemon answers; take the dead mount off: rewindfs umount /p",
                Exit::Failure,
            ),
            (
                Error::Open(OpenError::Locked {
                    store: "/.p.rewind".into(),
                }),
                "the store /.p.rewind is in use by another process: wait for it to end, then try \
                 again",
                Exit::Locked,
            ),
            (
                Error::Name {
                    name: "@x".into(),
                    fault: BadSnapshotName::FirstCharacter,
                },
                "@x: a snapshot name must not begin with '.' or '@'; choose another name",
                Exit::Failure,
            ),
        ] {
            assert_eq!(error.to_string(), message);
            assert_eq!(error.exit(), exit, "{message}");
        }
    }

    #[test]
    fn a_reader_who_has_seen_enough_is_no_failure() {
        let error = Error::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(error.exit(), Exit::Done);
        assert!(error.is_silent());
    }
}
