//! Commands that are run when something happens.

use super::Dir;
use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use std::time::Duration;

/// `hook`.
#[derive(Debug, ClapArgs)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Hook {
    #[command(flatten)]
    pub dir: Dir,
    #[command(subcommand)]
    pub what: HookWhat,
}

/// What is to be done about hooks.
#[derive(Debug, Subcommand)]
pub enum HookWhat {
    /// Run CMD when EVENT happens, as the user who owns DIR
    Set(HookSet),
    /// Show which there are, and how each ended the last time
    List(HookList),
    /// Run nothing any more when EVENT happens
    Remove(HookRemove),
}

/// `hook DIR set`.
#[derive(Debug, ClapArgs)]
pub struct HookSet {
    /// before-snapshot, after-snapshot, on-commit, on-gap, on-lag, on-alarm or on-drill
    #[arg(value_name = "EVENT")]
    pub event: HookName,
    /// Run by sh -c; REWINDFS_... in its environment say what happened
    #[arg(value_name = "CMD")]
    pub command: String,
    /// How long it may take; without it 10s before a snapshot, else 1m
    #[arg(long, value_name = "TIME", value_parser = super::super::quantity::parse_duration)]
    pub timeout: Option<Duration>,
    /// Of before-snapshot: make no snapshot if it fails (the usual way), or note it with it
    #[arg(long, value_name = "abort|note")]
    pub on_failure: Option<OnFailure>,
}

/// `hook DIR list`.
#[derive(Debug, ClapArgs)]
pub struct HookList {
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// `hook DIR remove`.
#[derive(Debug, ClapArgs)]
pub struct HookRemove {
    /// Which one
    #[arg(value_name = "EVENT")]
    pub event: HookName,
}

/// When a command is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HookName {
    BeforeSnapshot,
    AfterSnapshot,
    OnCommit,
    OnGap,
    OnLag,
    OnAlarm,
    OnDrill,
}

/// What becomes of a snapshot before which a command failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnFailure {
    Abort,
    Note,
}
