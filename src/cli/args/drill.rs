//! Trying whether what is elsewhere comes back.

use super::{Opening, StoreArg};
use clap::Args as ClapArgs;
use std::ffi::OsString;
use std::path::PathBuf;

/// `drill`.
#[derive(Debug, ClapArgs)]
pub struct Drill {
    /// The working directory, of which each copy elsewhere is tried; or a place: a folder with
    /// backups, ssh://HOST/FOLDER, s3://BUCKET/PREFIX, gs://..., az://...
    #[arg(value_name = "DIR|URL")]
    pub what: PathBuf,
    /// Of DIR: only the copy at this place
    #[arg(long, value_name = "URL")]
    pub from: Option<String>,
    /// Only so many percent of the files, others each time
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub sample: Option<u8>,
    /// The same files as the drill that showed this number
    #[arg(long, value_name = "N", requires = "sample")]
    pub seed: Option<u64>,
    /// Make the private folder in this one; of several, in the first with room
    #[arg(long, value_name = "FOLDER")]
    pub to: Vec<PathBuf>,
    /// Show the drills that were
    #[arg(long, conflicts_with_all = ["sample", "to", "check"])]
    pub list: bool,
    #[command(flatten)]
    pub store: StoreArg,
    #[command(flatten)]
    pub opening: Opening,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
    /// What it is kept away from
    #[arg(long, hide = true)]
    pub away: Vec<PathBuf>,
    /// It was its time; and it ends with whoever began it
    #[arg(long, hide = true)]
    pub attended: bool,
    /// Run this in what came back; it is right when this ends with 0
    #[arg(last = true, value_name = "CHECK-COMMAND")]
    pub check: Vec<OsString>,
}
