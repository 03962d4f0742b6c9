//! Backups elsewhere, and the way back.

use super::{Dir, StoreArg};
use crate::archive;
use crate::format::replica::PasswordSource;
use clap::Args as ClapArgs;
use clap::{Subcommand, ValueEnum};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::str::FromStr;

/// How a place for backups is opened.
#[derive(Clone, Debug, ClapArgs)]
pub struct Opening {
    /// The password is in this file, without its last newline (or in REWINDFS_PASSWORD)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["password_command", "no_encryption"])]
    pub password_file: Option<PathBuf>,
    /// The password is what this command prints
    #[arg(long, value_name = "CMD", conflicts_with = "no_encryption")]
    pub password_command: Option<String>,
    /// Whoever can read the place may read all of it
    #[arg(long)]
    pub no_encryption: bool,
}

impl Opening {
    /// As it was said when a replica was added.
    pub fn of(password: &PasswordSource) -> Opening {
        let path = |bytes: &Vec<u8>| PathBuf::from(OsStr::from_bytes(bytes));
        Opening {
            password_file: match password {
                PasswordSource::File(bytes) => Some(path(bytes)),
                _ => None,
            },
            password_command: match password {
                PasswordSource::Command(command) => Some(command.clone()),
                _ => None,
            },
            no_encryption: *password == PasswordSource::None,
        }
    }
}

/// `backup`.
#[derive(Debug, ClapArgs)]
pub struct Backup {
    #[command(flatten)]
    pub dir: Dir,
    /// Where to: a folder, ssh://HOST/FOLDER, s3://BUCKET/PREFIX, gs://..., az://...
    #[arg(long, value_name = "URL")]
    pub to: String,
    /// All that is kept, in new objects: it needs no other set
    #[arg(long)]
    pub full: bool,
    /// What happened since the last set; the usual way
    #[arg(long, conflicts_with = "full")]
    pub incremental: bool,
    /// What happened since the last full set
    #[arg(long, conflicts_with_all = ["full", "incremental"])]
    pub differential: bool,
    /// Full every so many sets, differential between
    #[arg(long, conflicts_with_all = ["full", "incremental", "differential"], requires = "full_every")]
    pub mixed: bool,
    /// See --mixed
    #[arg(long, value_name = "N", requires = "mixed", value_parser = clap::value_parser!(u64).range(1..))]
    pub full_every: Option<u64>,
    /// Up to this state: NAME, latest, @TIME; without it, now
    #[arg(long, value_name = "STATE")]
    pub at: Option<String>,
    /// How it is made sure that what was sent is there
    #[arg(
        long,
        value_name = "read|checksum|none",
        default_value = "checksum",
        hide_default_value = true
    )]
    pub verify: Confirm,
    /// Read what the place holds instead of trusting what was noted of it
    #[arg(long)]
    pub compare: bool,
    /// Begin anew where earlier backups of this directory are not any more
    #[arg(long)]
    pub new: bool,
    #[command(flatten)]
    pub opening: Opening,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

/// How it is made sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Confirm {
    /// It is read back
    Read,
    /// The place checks its checksum, or it is read back
    Checksum,
    /// The place said so
    None,
}

/// `backups`.
#[derive(Debug, ClapArgs)]
pub struct Backups {
    /// The place: a folder, ssh://HOST/FOLDER, s3://BUCKET/PREFIX, gs://..., az://...
    #[arg(value_name = "URL")]
    pub url: String,
    /// Read and check every object of every set
    #[arg(long)]
    pub verify: bool,
    #[command(flatten)]
    pub opening: Opening,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// `key`.
#[derive(Debug, ClapArgs)]
pub struct Key {
    #[command(subcommand)]
    pub action: KeyAction,
}

/// What is done with the passwords of a place.
#[derive(Debug, Subcommand)]
pub enum KeyAction {
    /// Show which there are, and which one was given
    List(KeyList),
    /// Add another one that opens it as well
    Add(KeyNew),
    /// Put another one in place of the one that was given
    Change(KeyNew),
    /// Remove one; the last one stays
    Remove(KeyRemove),
}

/// `key list`.
#[derive(Debug, ClapArgs)]
pub struct KeyList {
    /// The place: a folder, file:///FOLDER, s3://BUCKET/PREFIX, gs://..., az://...
    #[arg(value_name = "URL")]
    pub url: String,
    #[command(flatten)]
    pub opening: Opening,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// `key add` and `key change`.
#[derive(Debug, ClapArgs)]
pub struct KeyNew {
    /// The place: a folder, file:///FOLDER, s3://BUCKET/PREFIX, gs://..., az://...
    #[arg(value_name = "URL")]
    pub url: String,
    /// The new password is in this file, without its last newline (or in REWINDFS_NEW_PASSWORD)
    #[arg(long, value_name = "FILE", conflicts_with = "new_password_command")]
    pub new_password_file: Option<PathBuf>,
    /// The new password is what this command prints
    #[arg(long, value_name = "CMD")]
    pub new_password_command: Option<String>,
    #[command(flatten)]
    pub opening: Opening,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `key remove`.
#[derive(Debug, ClapArgs)]
pub struct KeyRemove {
    /// The place: a folder, file:///FOLDER, s3://BUCKET/PREFIX, gs://..., az://...
    #[arg(value_name = "URL")]
    pub url: String,
    /// Which one, as `key list` shows it
    #[arg(value_name = "KEY")]
    pub key: String,
    #[command(flatten)]
    pub opening: Opening,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// How many objects are fetched at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jobs(pub archive::Jobs);

impl FromStr for Jobs {
    type Err = String;

    fn from_str(text: &str) -> Result<Jobs, String> {
        match text.parse() {
            _ if text == "auto" => Ok(Jobs(archive::Jobs::Auto)),
            Ok(jobs @ 1..=64) => Ok(Jobs(archive::Jobs::Fixed(jobs))),
            _ => Err("give auto, or a number from 1 to 64".to_owned()),
        }
    }
}

impl Recover {
    /// Whether it is not the whole directory that is wanted.
    pub fn is_part(&self) -> bool {
        !self.paths.is_empty() || self.sample.is_some()
    }
}

/// `recover`.
#[derive(Debug, ClapArgs)]
pub struct Recover {
    /// The place: a folder, ssh://HOST/FOLDER, s3://BUCKET/PREFIX, gs://..., az://...
    #[arg(value_name = "URL")]
    pub url: String,
    /// Another place with the same, asked for what the first does not give; may be given several times
    #[arg(long, value_name = "URL")]
    pub also: Vec<String>,
    /// The directory that is to be there again: none yet, or an empty one
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// Only these, from the top of the directory; its history is not brought back with them
    #[arg(value_name = "PATH")]
    pub paths: Vec<OsString>,
    /// The state: NAME, latest, latest~N, @TIME; without it the newest that was sent
    #[arg(long, value_name = "STATE")]
    pub at: Option<String>,
    /// From the set of this number, and those that it needs
    #[arg(long, value_name = "N")]
    pub set: Option<u64>,
    /// What this pattern, as in a .gitignore, matches comes first; may be given several times
    #[arg(long, value_name = "PATTERN", conflicts_with = "paths")]
    pub first: Vec<String>,
    /// Fetch so many objects at once; auto: as many as bring something
    #[arg(
        long,
        value_name = "N|auto",
        default_value = "auto",
        hide_default_value = true
    )]
    pub jobs: Jobs,
    /// Go on without what is missing or damaged there
    #[arg(long)]
    pub partial: bool,
    #[command(flatten)]
    pub store: StoreArg,
    #[command(flatten)]
    pub opening: Opening,
    /// Mount it when it is there
    #[arg(long, conflicts_with = "paths")]
    pub mount: bool,
    /// Mount it at once: names are there, content comes when it is read, and in the background
    #[arg(long, conflicts_with_all = ["paths", "partial", "mount", "sample"])]
    pub hot: bool,
    /// Run this in it when it is there, as sh -c does
    #[arg(long, value_name = "CMD")]
    pub then: Option<String>,
    /// For `drill`: of the files, so many percent
    #[arg(long, hide = true, conflicts_with_all = ["paths", "first"])]
    pub sample: Option<u8>,
    /// Which ones
    #[arg(long, hide = true, requires = "sample", default_value_t = 0)]
    pub seed: u64,
    /// For `drill`: what was written is read again and held against the records; and it ends with
    /// whoever began it
    #[arg(long, hide = true)]
    pub prove: bool,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}
