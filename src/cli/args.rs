//! Exactly what a person can type, and nothing about what it means. `--help`, the completions
//! and the manual pages are made from it.

use super::daemon::Import;
use super::option::KNOWN;
use clap::{Args as ClapArgs, CommandFactory, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
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
    /// Show or set for how long checkpoints are kept
    Policy(Policy),
    /// Drop the checkpoints that are not to be kept any longer
    Prune(Prune),
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

/// `snapshot`.
#[derive(Debug, ClapArgs)]
pub struct Snapshot {
    #[command(flatten)]
    pub dir: Dir,
    /// Its name; without one the time, like 2026-11-20T10-15-03.250Z
    #[arg(value_name = "NAME")]
    pub name: Option<OsString>,
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
    /// What was done to the list and to what is kept: when, by whom
    #[arg(long, conflicts_with_all = ["checkpoints", "deleted"])]
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

/// `log`.
#[derive(Debug, ClapArgs)]
pub struct Log {
    /// A file or folder; it need not be there any more
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Only what was done since then: 10:15, 5m, 2h, yesterday, 2026-11-20
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub store: StoreArg,
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

/// `sync`.
#[derive(Debug, ClapArgs)]
pub struct Sync {
    #[command(flatten)]
    pub dir: Dir,
}

/// `status`.
#[derive(Debug, ClapArgs)]
pub struct Status {
    /// The working directory, or any path inside it; without it a line for every mounted one
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,
    #[command(flatten)]
    pub store: StoreArg,
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
    /// For whoever looks at the list of processes
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// The groups of `--help`. Commands that belong together share a line, with the usage of the first;
/// what it says of them, where that is not what the first says of itself.
const GROUPS: [(&str, &[(&str, &str)]); 5] = [
    (
        "The mount",
        &[
            ("mount", ""),
            (
                "umount sync",
                "Take the mount off; return when all is recorded",
            ),
            ("status", ""),
        ],
    ),
    (
        "The past",
        &[("snapshot", ""), ("list", ""), ("rename", "")],
    ),
    (
        "Look, fetch",
        &[
            (
                "undo run",
                "Take back what a command did; run one to be taken back whole",
            ),
            ("log", ""),
            ("diff", ""),
            ("find", ""),
            ("events", ""),
            ("cat restore", "Print, or put back, what stood at PATH then"),
            ("bisect", ""),
        ],
    ),
    (
        "What stays",
        &[
            ("delete undelete", ""),
            ("hold release", ""),
            (
                "policy prune",
                "For how long checkpoints are kept; drop the others now",
            ),
            ("verify", ""),
        ],
    ),
    (
        "The program",
        &[(
            "completions man",
            "What a shell completes; the manual pages",
        )],
    ),
];

/// The definitions with their one-screen help.
pub fn command() -> clap::Command {
    let command = Args::command();
    let help = overview(&command);
    // Messages and usage lines name the program by its name, however it was called.
    command.help_template(help).bin_name("rewindfs")
}

/// One screen: usage, the commands in groups, what the exit codes mean.
fn overview(command: &clap::Command) -> String {
    let mut text = String::from(
        "{name} {version}: {about}\nUsage: rewindfs COMMAND ... (more: rewindfs COMMAND --help)\n\n",
    );
    for (heading, lines) in GROUPS {
        let mut heading = heading;
        for (names, said) in lines {
            let subs = names.split(' ').map(|name| command.find_subcommand(name));
            let subs: Vec<&clap::Command> = subs.flatten().collect();
            let Some(first) = subs.first() else {
                continue;
            };
            let about = match *said {
                "" => first.get_about().map(ToString::to_string),
                said => Some(said.to_owned()),
            };
            let names: Vec<&str> = subs.iter().map(|sub| sub.get_name()).collect();
            let usage = usage(first).replacen(first.get_name(), &names.join("|"), 1);
            text += &format!("{heading:<12} {usage:<25} {}\n", about.unwrap_or_default());
            heading = "";
        }
    }
    text + "\nThe past is in DIR/.snapshots: ls DIR/.snapshots, cp -a DIR/.snapshots/NAME/FILE .\n\
            Exit: 0 done, 1 needs you, 2 failed, 3 in part, 10 no history, 11 in use, 12 password, 130 Ctrl-C\n"
}

/// `snapshot DIR [NAME]`.
fn usage(command: &clap::Command) -> String {
    let mut text = command.get_name().to_owned();
    for argument in command.get_positionals() {
        let names = argument.get_value_names().unwrap_or_default();
        let name = names.first().map_or("", |name| name.as_str());
        if argument.is_required_set() {
            text += &format!(" {name}");
        } else {
            text += &format!(" [{name}]");
        }
    }
    if command
        .get_arguments()
        .any(|argument| argument.get_id() == "at")
    {
        text += " --at STATE";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_sound() {
        command().debug_assert();
    }

    #[test]
    fn help_fits_one_screen_and_shows_every_command() {
        let help = command().render_help().to_string();
        assert!(help.lines().count() <= 24, "{help}");
        assert!(
            help.lines().all(|line| line.chars().count() <= 100),
            "{help}"
        );
        for sub in command().get_subcommands().filter(|sub| !sub.is_hide_set()) {
            let shown = help
                .split([' ', '|', '\n'])
                .any(|word| word == sub.get_name());
            assert!(shown, "{}", sub.get_name());
        }
    }
}
