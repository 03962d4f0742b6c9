//! Copies elsewhere that are kept up to date.

use super::{Dir, Opening};
use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// `replica`.
#[derive(Debug, ClapArgs)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Replica {
    #[command(subcommand)]
    pub what: ReplicaWhat,
}

/// What is to be done about replicas.
#[derive(Debug, Subcommand)]
pub enum ReplicaWhat {
    /// Keep a copy of DIR and its past at URL
    Add(ReplicaAdd),
    /// Show them, and how far each is behind
    List(ReplicaList),
    /// Bring them up to date now
    Push(ReplicaPush),
    /// Send nothing more there; what is there stays
    Remove(ReplicaRemove),
    /// On the machine that is to have it: fetch what is new of a place, or of a directory elsewhere
    Pull(ReplicaPull),
}

/// `replica add`.
#[derive(Debug, ClapArgs)]
pub struct ReplicaAdd {
    #[command(flatten)]
    pub dir: Dir,
    /// Where to: a folder, ssh://HOST/FOLDER, s3://BUCKET/PREFIX, gs://..., az://...
    #[arg(value_name = "URL")]
    pub url: String,
    /// After each change; now and then; or after each, and fsync, sync and snapshot wait for it
    #[arg(
        long,
        value_name = "active|passive|synchronous",
        default_value = "active"
    )]
    pub mode: ReplicaMode,
    /// Of a passive one: the time between, as in 10m, 1h, 7d; without it 1h
    #[arg(long, value_name = "TIME", value_parser = super::super::quantity::parse_span)]
    pub every: Option<u64>,
    /// Send no more bytes a second, like 500K, 2M
    #[arg(long, value_name = "RATE", value_parser = super::super::quantity::parse_size)]
    pub limit: Option<u64>,
    /// Keep one of its past sets for each day of this time, as in 7d, 1y; what is there of a purged file
    /// stays as long
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = super::super::quantity::parse_span)]
    pub keep_for: u64,
    /// Of a synchronous one: how long somebody waits, at most; without it 10s
    #[arg(long, value_name = "TIME", value_parser = super::super::quantity::parse_duration)]
    pub sync_timeout: Option<Duration>,
    /// Of a synchronous one: past that it is an error, not a warning
    #[arg(long)]
    pub strict: bool,
    /// Another store goes on where the copy of DIR was: send all of it to URL, and nothing there any more
    #[arg(long)]
    pub fork: bool,
    /// Between two trials whether it comes back, which run by themselves: 7d, 12h; without it 7d; 0: none
    #[arg(long, value_name = "TIME", value_parser = super::super::quantity::parse_every_or_never)]
    pub drill_every: Option<u64>,
    /// Of the files, so many percent each time; without it 5
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub drill_sample: Option<u8>,
    #[command(flatten)]
    pub opening: Opening,
}

/// When a replica is brought up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReplicaMode {
    /// After each change
    Active,
    /// Now and then
    Passive,
    /// After each change, and who wants to be sure waits
    Synchronous,
}

/// `replica list`.
#[derive(Debug, ClapArgs)]
pub struct ReplicaList {
    #[command(flatten)]
    pub dir: Dir,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// `replica push`.
#[derive(Debug, ClapArgs)]
pub struct ReplicaPush {
    #[command(flatten)]
    pub dir: Dir,
    /// Only this one
    #[arg(value_name = "URL")]
    pub url: Option<String>,
}

/// `replica remove`.
#[derive(Debug, ClapArgs)]
pub struct ReplicaRemove {
    #[command(flatten)]
    pub dir: Dir,
    /// Which one
    #[arg(value_name = "URL")]
    pub url: String,
}

/// `replica pull`.
#[derive(Debug, ClapArgs)]
pub struct ReplicaPull {
    /// A place for backups, a directory with a history, or one on another machine, ssh://HOST/DIR
    #[arg(value_name = "SOURCE")]
    pub source: PathBuf,
    /// The folder that is to be a copy of it: a place for backups like any other
    #[arg(long, value_name = "PATH")]
    pub to: PathBuf,
    /// Again and again, until it is ended
    #[arg(long)]
    pub watch: bool,
    /// Of a directory: how long one of the sets is kept for each day, as in 7d, 4w, 1y
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = super::super::quantity::parse_span)]
    pub keep_for: u64,
    /// With --watch: the time between, as in 30s, 10m, 1h; without it 1m
    #[arg(long, value_name = "TIME", requires = "watch", value_parser = super::super::quantity::parse_every)]
    pub every: Option<u64>,
    #[command(flatten)]
    pub opening: Opening,
}

/// `attend`.
#[derive(Debug, ClapArgs)]
pub struct Attend {
    /// The store
    #[arg(value_name = "STORE")]
    pub store: PathBuf,
}
