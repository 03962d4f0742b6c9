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
    /// Of a synchronous one: how long somebody waits, at most; without it 10s
    #[arg(long, value_name = "TIME", value_parser = super::super::quantity::parse_duration)]
    pub sync_timeout: Option<Duration>,
    /// Of a synchronous one: past that it is an error, not a warning
    #[arg(long)]
    pub strict: bool,
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

/// `attend`.
#[derive(Debug, ClapArgs)]
pub struct Attend {
    /// The store
    #[arg(value_name = "STORE")]
    pub store: PathBuf,
}
