//! Looking at the past, and bringing back what stood there.

use super::{Dir, StoreArg};
use clap::{Args as ClapArgs, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// `log`.
#[derive(Debug, ClapArgs)]
pub struct Log {
    /// A file or folder; it need not be there any more
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Only what was done since then: 10:15, 5m, 2h, yesterday, 2026-11-20
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// What a line is about; without it, of a file its versions, of a folder who did what
    #[arg(long, value_name = "WHAT")]
    pub by: Option<GroupBy>,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub store: StoreArg,
}

/// What a line of `log` is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GroupBy {
    /// A command: what it did to all of them
    Actor,
    /// A change
    Time,
    /// A path: how often it changed, and last by whom
    File,
}

/// `diff`.
#[derive(Debug, ClapArgs)]
pub struct Diff {
    /// The working directory, or any path inside it; mounted or not
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// The state before: a snapshot's name, latest, latest~1, @10:15, @5m, live
    #[arg(value_name = "A")]
    pub a: String,
    /// The state after
    #[arg(value_name = "B")]
    pub b: String,
    /// Only this file or folder, from DIR down
    #[arg(value_name = "PATH")]
    pub path: Option<PathBuf>,
    /// Sizes, and how many of each
    #[arg(long)]
    pub stat: bool,
    /// The lines that differ, as a patch
    #[arg(long, short, conflicts_with_all = ["stat", "json"])]
    pub unified: bool,
    /// One JSON object a line
    #[arg(long, conflicts_with = "stat")]
    pub json: bool,
    #[command(flatten)]
    pub store: StoreArg,
}

/// `events`.
#[derive(Debug, ClapArgs)]
pub struct Events {
    #[command(flatten)]
    pub dir: Dir,
    /// Go on with what happens
    #[arg(long)]
    pub follow: bool,
    /// Only what came behind the line with this token, or happened since a time: 10:15, 5m, yesterday
    #[arg(long, value_name = "TOKEN|TIME")]
    pub since: Option<String>,
}

/// `find`.
#[derive(Debug, ClapArgs)]
pub struct Find {
    #[command(flatten)]
    pub dir: Dir,
    /// A name with *, ?, [a-z], {a,b}; with a slash in it a path from DIR down
    #[arg(value_name = "PATTERN")]
    pub pattern: String,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// `bisect`.
#[derive(Debug, ClapArgs)]
pub struct Bisect {
    #[command(flatten)]
    pub dir: Dir,
    /// A state in which CMD succeeds
    #[arg(long, value_name = "STATE")]
    pub good: String,
    /// A later one in which it fails
    #[arg(long, value_name = "STATE")]
    pub bad: String,
    /// Run it in a copy of each state, into which it can write
    #[arg(long)]
    pub writable: bool,
    /// It ends with 0 where all is well, with 1 to 127 where it is broken, with 125 where it can't
    /// tell
    #[arg(value_name = "CMD", required = true, last = true)]
    pub command: Vec<OsString>,
}

/// `cat`.
#[derive(Debug, ClapArgs)]
pub struct Cat {
    /// The file; it need not be there any more
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// The state: a snapshot's name, latest, latest~1, @10:15, @5m, @yesterday
    #[arg(long, value_name = "STATE")]
    pub at: String,
    #[command(flatten)]
    pub store: StoreArg,
}

/// `restore`.
#[derive(Debug, ClapArgs)]
pub struct Restore {
    /// What to restore; it need not be there any more
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
    /// The state: a snapshot's name, latest, latest~1, @10:15, @5m, @yesterday
    #[arg(long, value_name = "STATE")]
    pub at: String,
    /// Write it into this folder instead, under its path from the root of the tree
    #[arg(long, value_name = "DIR")]
    pub target: Option<PathBuf>,
    /// Also remove what was not there then, inside PATH
    #[arg(long)]
    pub delete: bool,
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// What to do with files that are there: compare contents; only if size or time differ; leave
    #[arg(
        long,
        value_enum,
        default_value = "always",
        value_name = "always|if-changed|never"
    )]
    pub overwrite: Overwrite,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub store: StoreArg,
}

/// `undo`.
#[derive(Debug, ClapArgs)]
pub struct Undo {
    /// The working directory, or a path inside it: then only what stands there
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Its number in the list that `rewindfs undo DIR` shows
    #[arg(value_name = "N", conflicts_with_all = ["command", "pid", "run", "last", "since"])]
    pub number: Option<u64>,
    /// The newest run; if there was none of late, what deleted or overwrote something last
    #[arg(long, conflicts_with_all = ["command", "pid", "run", "since"])]
    pub last: bool,
    /// All that was done since then, by whomever, or with --command or --pid by these: 10m, 10:15
    #[arg(long, value_name = "TIME", conflicts_with = "run")]
    pub since: Option<String>,
    /// What processes of this name did, and all that they started; of the last 24 hours, if --since
    /// does not say otherwise
    #[arg(long, value_name = "NAME", conflicts_with_all = ["pid", "run"])]
    pub command: Option<String>,
    /// What this process did, and all that it started
    #[arg(long, value_name = "PID", conflicts_with = "run")]
    pub pid: Option<u32>,
    /// What a run did, by its number or name
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Also take back what others changed at the same time or since
    #[arg(long)]
    pub force: bool,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub store: StoreArg,
}

/// `run`.
#[derive(Debug, ClapArgs)]
pub struct Run {
    /// The mounted directory, or any path inside it
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// A name for the run; then snapshots NAME-before and NAME-after are made
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,
    #[command(flatten)]
    pub store: StoreArg,
    /// The command and its arguments
    #[arg(value_name = "CMD", last = true, required = true)]
    pub command: Vec<OsString>,
}

/// `keep-run`.
#[derive(Debug, ClapArgs)]
pub struct KeepRun {
    /// Where whoever typed `run` listens
    #[arg(value_name = "ADDRESS")]
    pub address: String,
    /// As given to `run`
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    #[command(flatten)]
    pub store: StoreArg,
    /// The command and its arguments
    #[arg(value_name = "CMD", last = true, required = true)]
    pub command: Vec<OsString>,
}

/// What `restore` does with what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Overwrite {
    Always,
    IfChanged,
    Never,
}
