//! Snapshots, and what is kept of the past.

use super::elsewhere::Opening;
use super::{Dir, StoreArg};
use clap::Args as ClapArgs;
use std::ffi::OsString;
use std::path::PathBuf;

/// `snapshot`.
#[derive(Debug, ClapArgs)]
pub struct Snapshot {
    #[command(flatten)]
    pub dir: Dir,
    /// Its name; without one the time, like 2026-11-20T10-15-03.250Z
    #[arg(value_name = "NAME")]
    pub name: Option<OsString>,
    /// Trust what was noted of changes; the usual way
    #[arg(long, conflicts_with_all = ["full", "differential"])]
    pub incremental: bool,
    /// Read every file again, and say which changed though its size and times did not
    #[arg(long)]
    pub full: bool,
    /// Refer to the newest full one before it
    #[arg(long, conflicts_with = "full")]
    pub differential: bool,
    /// A sentence to find it by
    #[arg(
        long,
        short,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub message: String,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

/// `list`.
#[derive(Debug, ClapArgs)]
pub struct List {
    #[command(flatten)]
    pub dir: Dir,
    /// Every kept state, not only those with a name
    #[arg(long)]
    pub checkpoints: bool,
    /// The deleted ones that can be undeleted
    #[arg(long, conflicts_with = "checkpoints")]
    pub deleted: bool,
    /// What each snapshot added, and what deleting it alone would free
    #[arg(long, conflicts_with_all = ["checkpoints", "deleted"])]
    pub size: bool,
    /// What was done to the list and to what is kept: when, by whom
    #[arg(long, conflicts_with_all = ["checkpoints", "deleted", "size"])]
    pub log: bool,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// `delete`.
#[derive(Debug, ClapArgs)]
pub struct Delete {
    #[command(flatten)]
    pub dir: Dir,
    /// The snapshot
    #[arg(value_name = "NAME")]
    pub name: OsString,
    /// Its state goes at once, too, if nothing else keeps it; this can't be taken back
    #[arg(long)]
    pub now: bool,
}

/// `undelete`.
#[derive(Debug, ClapArgs)]
pub struct Undelete {
    #[command(flatten)]
    pub dir: Dir,
    /// The name it had
    #[arg(value_name = "NAME")]
    pub name: OsString,
}

/// `hold`.
#[derive(Debug, ClapArgs)]
pub struct Hold {
    #[command(flatten)]
    pub dir: Dir,
    /// The snapshot
    #[arg(value_name = "NAME")]
    pub name: OsString,
    /// Until then no command ends it: a day like 2027-01-31, or from now on like 30d
    #[arg(long, value_name = "DATE")]
    pub until: Option<String>,
    /// Why
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub reason: String,
}

/// `release`.
#[derive(Debug, ClapArgs)]
pub struct Release {
    #[command(flatten)]
    pub dir: Dir,
    /// The snapshot
    #[arg(value_name = "NAME")]
    pub name: OsString,
    /// Why
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub reason: String,
}

/// `policy`.
#[derive(Debug, ClapArgs)]
pub struct Policy {
    #[command(flatten)]
    pub dir: Dir,
    /// Keep every checkpoint for so long (at first 24h)
    #[arg(long, value_name = "SPAN")]
    pub keep_all: Option<String>,
    /// Keep the last of each hour for so long (at first 7d)
    #[arg(long, value_name = "SPAN")]
    pub keep_hourly: Option<String>,
    /// Keep the last of each day for so long (at first 30d)
    #[arg(long, value_name = "SPAN")]
    pub keep_daily: Option<String>,
    /// Keep the last of each week for so long (at first 1y)
    #[arg(long, value_name = "SPAN")]
    pub keep_weekly: Option<String>,
    /// Let the oldest go while the store is larger, like 50G; `none`: any size (at first)
    #[arg(long, value_name = "SIZE")]
    pub max_size: Option<String>,
    /// Raise an alarm when one command deletes or overwrites more files within 10 s (at first 1000),
    /// or `off`
    #[arg(long, value_name = "FILES")]
    pub alarm: Option<String>,
    /// What matches is to be there first when it is recovered, as a line of .gitignore (also several
    /// times)
    #[arg(long, value_name = "PATTERN")]
    pub first: Vec<String>,
    /// Take such a pattern back
    #[arg(long, value_name = "PATTERN")]
    pub no_first: Vec<String>,
    /// Leave out what matches, as a line of .gitignore (also several times)
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// Take such a pattern back
    #[arg(long, value_name = "PATTERN")]
    pub no_exclude: Vec<String>,
    /// Leave out what is in folders with a valid CACHEDIR.TAG
    #[arg(long, conflicts_with = "no_exclude_caches")]
    pub exclude_caches: bool,
    /// Take that back
    #[arg(long)]
    pub no_exclude_caches: bool,
    /// Leave out the content of larger files, like 2G; `none`: record it (at first)
    #[arg(long, value_name = "SIZE")]
    pub max_file_size: Option<String>,
    /// Why it is changed
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub reason: String,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

/// `prune`.
#[derive(Debug, ClapArgs)]
pub struct Prune {
    #[command(flatten)]
    pub dir: Dir,
    /// Only print what would go, and why
    #[arg(long)]
    pub dry_run: bool,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

/// `purge`.
#[derive(Debug, ClapArgs)]
pub struct Purge {
    /// Files whose every version is to go; with --hash, any path inside the directory
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
    /// Every version that holds these bytes, by their BLAKE3 as b3sum prints it
    #[arg(long, value_name = "H")]
    pub hash: Option<String>,
    /// Why
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub reason: String,
    /// Only print what would go, and from which states
    #[arg(long)]
    pub dry_run: bool,
    /// Do it without asking; it can't be taken back
    #[arg(long)]
    pub yes: bool,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub store: StoreArg,
}

/// `verify`.
#[derive(Debug, ClapArgs)]
pub struct Verify {
    #[command(flatten)]
    pub dir: Dir,
    /// Also decompress and hash all content
    #[arg(long)]
    pub data: bool,
    /// The same for so many percent of it, others each time
    #[arg(long, value_name = "PERCENT", conflicts_with = "data", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub sample: Option<u8>,
    /// Check all, mend what the live files still have, and give up what nothing has: content that
    /// then reads as damaged, in the states that hold it
    #[arg(long, conflicts_with = "sample")]
    pub repair: bool,
    /// Before anything is given up, get back what the backups or the replica at this place still have;
    /// may be given several times
    #[arg(long, value_name = "URL", requires = "repair")]
    pub from: Vec<String>,
    #[command(flatten)]
    pub opening: Opening,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

/// `rename`.
#[derive(Debug, ClapArgs)]
pub struct Rename {
    #[command(flatten)]
    pub dir: Dir,
    /// The name it has
    #[arg(value_name = "OLD")]
    pub old: OsString,
    /// The name it gets
    #[arg(value_name = "NEW")]
    pub new: OsString,
}
