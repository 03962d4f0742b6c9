//! Exactly what a person can type, and nothing about what it means. `--help`, the completions
//! and the manual pages are made from it.

mod drill;
mod elsewhere;
mod help;
mod hook;
mod keep;
mod look;
mod replica;
mod schedule;

pub use drill::*;
pub use elsewhere::*;
pub use help::command;
pub use hook::*;
pub use keep::*;
pub use look::*;
pub use replica::*;
pub use schedule::*;

use super::daemon::Import;
use super::option::KNOWN;
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Every past state of a working directory, kept while you work in it
#[derive(Debug, Parser)]
#[command(
    name = "rewindfs",
    version,
    arg_required_else_help = true,
    subcommand_required = true,
    disable_help_subcommand = true
)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Mount over DIR: from now on its past is kept
    Mount(Mount),
    /// Take the mount off; DIR is an ordinary directory again
    Umount(Umount),
    /// Give the state of this instant a name
    Snapshot(Snapshot),
    /// Show the snapshots, or every kept state
    List(List),
    /// Delete a snapshot; its state stays a checkpoint
    Delete(Delete),
    /// Take a deletion back
    Undelete(Undelete),
    /// Keep a snapshot from being deleted
    Hold(Hold),
    /// End a hold
    Release(Release),
    /// Show or set for how long checkpoints are kept, and what is left out
    Policy(Policy),
    /// Drop the checkpoints that are not to be kept any longer
    Prune(Prune),
    /// Remove a leaked file or content from all of history
    Purge(Purge),
    /// Check that all that was recorded can be read
    Verify(Verify),
    /// Give a snapshot another name
    Rename(Rename),
    /// What was done to PATH, when and by whom
    Log(Log),
    /// What differs between two states (live: now)
    Diff(Diff),
    /// What happened, one JSON line a change
    Events(Events),
    /// Every name that ever matched, and from where to copy it
    Find(Find),
    /// Run a command in past states to find the change that broke it
    Bisect(Bisect),
    /// Print what the file PATH held then
    Cat(Cat),
    /// Put back what stood at PATH then, here or elsewhere
    Restore(Restore),
    /// Take back what a command did; alone: show what was done
    Undo(Undo),
    /// Run CMD so that all it does can be taken back as one
    Run(Run),
    /// Send what is kept, or what is new of it, elsewhere
    Backup(Backup),
    /// Show what was sent there, and what of it is broken
    Backups(Backups),
    /// Get a directory and its past back from there
    Recover(Recover),
    /// Show, add, change and remove the passwords of a place for backups
    Key(Key),
    /// Keep copies elsewhere up to date, by themselves
    Replica(Replica),
    /// Try whether what is elsewhere comes back, and how fast
    Drill(Drill),
    /// Run commands before and after snapshots, and when something happens
    Hook(Hook),
    /// Make backups and snapshots by themselves, by the calendar or after something happened
    Schedule(Schedule),
    /// Return when all that was changed before is recorded
    Sync(Sync),
    /// Show what is recorded, what is not, and what needs a person
    Status(Status),
    /// Print the completions for a shell
    Completions(Completions),
    /// Write the manual pages into a folder
    Man(Man),
    /// Serve a mount; started by `mount`, which tells it what on standard input
    #[command(hide = true)]
    Serve(Serve),
    /// Keep a run; started by `run`
    #[command(hide = true)]
    KeepRun(KeepRun),
    /// Bring replicas up to date; started by the daemon
    #[command(hide = true)]
    Attend(Attend),
}

/// Where the history is.
#[derive(Clone, Debug, ClapArgs)]
pub struct StoreArg {
    /// The store, if it is not beside DIR (or REWINDFS_STORE)
    #[arg(long, value_name = "PATH")]
    pub store: Option<PathBuf>,
}

impl StoreArg {
    /// What was said, on the command line or in the environment.
    pub fn said(&self) -> Option<PathBuf> {
        let from_environment = || std::env::var_os("REWINDFS_STORE").map(PathBuf::from);
        self.store
            .clone()
            .or_else(from_environment)
            .filter(|store| !store.as_os_str().is_empty())
    }
}

/// A working directory.
#[derive(Clone, Debug, ClapArgs)]
pub struct Dir {
    /// The working directory, or any path inside it; mounted or not
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    #[command(flatten)]
    pub store: StoreArg,
}

/// `mount`.
#[derive(Debug, ClapArgs)]
pub struct Mount {
    /// The directory whose past is to be kept
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Where to mount it, if not over itself
    #[arg(value_name = "MOUNTPOINT")]
    pub mountpoint: Option<PathBuf>,
    #[command(flatten)]
    pub store: StoreArg,
    // Its help names what is known, from where that is known.
    #[arg(short = 'o', value_name = "OPTIONS", help = format!("Comma between them: {KNOWN}"))]
    pub options: Vec<String>,
    /// Stay in the foreground and log to standard error
    #[arg(long)]
    pub foreground: bool,
    /// Refuse when a process stands in DIR or has a file in it open
    #[arg(long)]
    pub strict: bool,
    /// Go on with the history of another directory that was at this place, or with a moved DIR
    #[arg(long)]
    pub adopt: bool,
    /// The first time: record all that is there, or only what changes from then on; without it, all
    /// if there is room
    #[arg(long, value_name = "all|changes")]
    pub import: Option<Import>,
    /// `hide`: accept that what is mounted below DIR shows as empty folders
    #[arg(long, value_name = "hide")]
    pub cross_mounts: Option<CrossMounts>,
    /// Answer Prometheus there, with what status says as figures: a port of this machine, or ADDRESS:PORT
    #[arg(long, value_name = "ADDR", value_parser = super::daemon::metrics_address)]
    pub metrics: Option<SocketAddr>,
    /// Go on although DIR is on FUSE, NFS or overlay, where not all promises hold
    #[arg(long)]
    pub any_filesystem: bool,
}

/// What to do about mounts below DIR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CrossMounts {
    Hide,
}

/// `umount`.
#[derive(Debug, ClapArgs)]
pub struct Umount {
    #[command(flatten)]
    pub dir: Dir,
    /// Take it off whoever uses it: what they have open there fails from then on
    #[arg(long)]
    pub force: bool,
}

/// `sync`.
#[derive(Debug, ClapArgs)]
pub struct Sync {
    #[command(flatten)]
    pub dir: Dir,
}

/// `status`.
#[derive(Debug, ClapArgs)]
pub struct Status {
    /// The working directory, or any path inside it; or a place for backups, asked from any machine;
    /// without it a line for every mounted one
    #[arg(value_name = "DIR|URL")]
    pub dir: Option<PathBuf>,
    #[command(flatten)]
    pub store: StoreArg,
    #[command(flatten)]
    pub opening: Opening,
    /// Print the report as JSON, one object a directory
    #[arg(long)]
    pub json: bool,
}

/// `completions`.
#[derive(Debug, ClapArgs)]
pub struct Completions {
    /// The shell
    #[arg(value_name = "bash|zsh|fish")]
    pub shell: Shell,
}

/// Shells that completions are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// `man`.
#[derive(Debug, ClapArgs)]
pub struct Man {
    /// The folder; made if it is not there
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
}

/// `serve`.
#[derive(Debug, ClapArgs)]
pub struct Serve {
    /// With --stdio the folder of the backups; else for whoever looks at the list of processes
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Answer for the backups in DIR on standard input and output, as ssh://HOST/DIR asks
    #[arg(long, requires = "dir")]
    pub stdio: bool,
    /// Remove nothing that is there, whoever asks
    #[arg(long, requires = "stdio")]
    pub append_only: bool,
    /// Send the history of the working directory DIR, as `replica pull ssh://HOST/DIR` asks
    #[arg(long, requires = "stdio", conflicts_with = "append_only")]
    pub history: bool,
}
