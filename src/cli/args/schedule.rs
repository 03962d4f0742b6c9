//! What is done by itself.

use super::{Dir, Opening};
use crate::time::Window;
use clap::{Args as ClapArgs, Subcommand};

/// `schedule`.
#[derive(Debug, ClapArgs)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Schedule {
    #[command(flatten)]
    pub dir: Dir,
    #[command(subcommand)]
    pub what: ScheduleWhat,
}

/// What is to be done about it.
#[derive(Debug, Subcommand)]
pub enum ScheduleWhat {
    /// Make a backup, or a snapshot, by itself from now on, while DIR is mounted
    Add(Box<ScheduleAdd>),
    /// Show what is done by itself, and how it goes
    List(ScheduleList),
    /// Not any more; what was made stays
    Remove(ScheduleRemove),
    /// Do it now
    Run(ScheduleRun),
}

/// `schedule DIR add`.
#[derive(Debug, ClapArgs)]
#[command(group = clap::ArgGroup::new("task").required(true).args(["backup", "snapshot"]))]
#[command(group = clap::ArgGroup::new("when").required(true).args(["at", "every", "on"]))]
pub struct ScheduleAdd {
    /// A backup: to a folder, ssh://HOST/FOLDER, s3://BUCKET/PREFIX, gs://..., az://...
    #[arg(long, value_name = "URL")]
    pub backup: Option<String>,
    /// A snapshot of this name, with parts of date(1), like nightly-%Y-%m-%d
    #[arg(long, value_name = "NAME")]
    pub snapshot: Option<String>,
    /// By the calendar, like daily, 02:30, 'Mon..Fri 02:30', '*-*-01 03:00' (see systemd.time(7)); what
    /// was missed is done once
    #[arg(long, value_name = "CALENDAR")]
    pub at: Option<String>,
    /// So long after the last time, as in 30s, 10m, 1h, 7d
    #[arg(long, value_name = "TIME", value_parser = super::super::quantity::parse_every)]
    pub every: Option<u64>,
    /// After something happened: snapshot, commit, bytes:N, success:CMD, trouble
    #[arg(long, value_name = "EVENT")]
    pub on: Option<String>,
    /// Of a backup: all that is kept, in new objects
    #[arg(long, conflicts_with = "snapshot")]
    pub full: bool,
    /// What happened since the last set; the usual way
    #[arg(long, conflicts_with_all = ["full", "snapshot"])]
    pub incremental: bool,
    /// What happened since the last full set
    #[arg(long, conflicts_with_all = ["full", "incremental", "snapshot"])]
    pub differential: bool,
    /// Full every so many sets, differential between
    #[arg(long, conflicts_with_all = ["full", "incremental", "differential", "snapshot"], requires = "full_every")]
    pub mixed: bool,
    /// See --mixed
    #[arg(long, value_name = "N", requires = "mixed", value_parser = clap::value_parser!(u64).range(1..))]
    pub full_every: Option<u64>,
    /// Of snapshots: so many of them stay, the older ones are deleted; without it, all stay
    #[arg(long, value_name = "N", conflicts_with = "backup")]
    pub keep: Option<u64>,
    /// Only in this part of the day, like 01:00-05:00 or 22:00-06:00: till then it waits
    #[arg(long, value_name = "FROM-TO")]
    pub window: Option<Window>,
    /// Send no more bytes a second, like 500K, 2M; with --window: outside of it, where it then does not wait
    #[arg(long, value_name = "RATE", value_parser = super::super::quantity::parse_size, conflicts_with = "snapshot")]
    pub limit: Option<u64>,
    #[command(flatten)]
    pub opening: Opening,
}

/// `schedule DIR list`.
#[derive(Debug, ClapArgs)]
pub struct ScheduleList {
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// `schedule DIR remove`.
#[derive(Debug, ClapArgs)]
pub struct ScheduleRemove {
    /// Which one, as `list` shows it
    #[arg(value_name = "NUMBER")]
    pub number: u64,
}

/// `schedule DIR run`.
#[derive(Debug, ClapArgs)]
pub struct ScheduleRun {
    /// Only this one, as `list` shows it
    #[arg(value_name = "NUMBER")]
    pub number: Option<u64>,
}
