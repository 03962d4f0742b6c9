//! One file for each command or family of them: what was typed becomes a request, the answer
//! becomes lines.

mod backup;
mod bisect;
mod cat;
mod diff;
pub(in crate::cli) mod drill;
mod events;
mod find;
mod hook;
mod keep;
mod key;
mod list;
mod list_log;
mod log;
mod mount;
mod pages;
mod pull;
mod purge;
mod recover;
mod replica;
mod report;
mod restore;
mod run;
mod schedule;
mod snapshot;
mod status;
mod sync;
mod umount;
mod undo;
mod verify;

use super::args::Command;
use super::elsewhere;
use super::error::Error;
use super::exit::Exit;
use crate::control::locate::{self, Place};
use crate::history::StateName;
use crate::time::{TimeZone, Timestamp};
use std::path::Path;

/// Does what was typed.
///
/// # Errors
/// Why it was not done.
pub fn run(command: Command) -> Result<Exit, Error> {
    match command {
        Command::Mount(args) => mount::run(args),
        Command::Umount(args) => umount::run(&args),
        Command::Snapshot(args) => snapshot::make(args),
        Command::Delete(args) => snapshot::delete(&args),
        Command::Undelete(args) => snapshot::undelete(&args),
        Command::Hold(args) => snapshot::hold(&args),
        Command::Release(args) => snapshot::release(&args),
        Command::Policy(args) => keep::policy(&args),
        Command::Prune(args) => keep::prune(&args),
        Command::Purge(args) => purge::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Rename(args) => snapshot::rename(&args),
        Command::List(args) => list::run(&args),
        Command::Log(args) => log::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Events(args) => events::run(&args),
        Command::Find(args) => find::run(&args),
        Command::Bisect(args) => bisect::run(&args),
        Command::Cat(args) => cat::run(&args),
        Command::Restore(args) => restore::run(&args),
        Command::Undo(args) => undo::run(&args),
        Command::Run(args) => run::run(&args),
        Command::KeepRun(args) => run::keep(&args),
        Command::Backup(args) => backup::run(&args),
        Command::Backups(args) => backup::list(&args),
        Command::Recover(args) => recover::run(&args),
        Command::Key(args) => key::run(&args),
        Command::Replica(args) => replica::run(&args),
        Command::Drill(args) => drill::run(&args),
        Command::Hook(args) => hook::run(&args),
        Command::Schedule(args) => schedule::run(&args),
        Command::Attend(args) => super::attend::run(&args),
        Command::Sync(args) => sync::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Completions(args) => pages::completions(&args),
        Command::Man(args) => pages::manual(&args),
        Command::Serve(args) => match &args.dir {
            Some(dir) if args.history => pull::serve(dir),
            Some(folder) if args.stdio => elsewhere::serve(folder, args.append_only),
            _ => super::daemon::serve(),
        },
    }
}

/// The instant that a person means: 10:15, 5m, yesterday.
fn time_of(text: &str) -> Result<Timestamp, Error> {
    let bad = |error| Error::State {
        text: text.to_owned(),
        error,
    };
    let at = format!("@{}", text.strip_prefix('@').unwrap_or(text));
    match StateName::parse(&at, Timestamp::now(), &TimeZone::system()).map_err(bad)? {
        StateName::Time(time) => Ok(time),
        _ => Ok(Timestamp(i64::MIN)),
    }
}

/// The history of a path. `meant`: the command line that a person probably had in mind when he
/// gave something else than a directory first.
fn locate(path: &Path, store: Option<&Path>, meant: Option<String>) -> Result<Place, Error> {
    locate::find(path, store).map_err(|error| {
        let typed_a_name = matches!(
            &error,
            locate::LocateError::NotHere { exists: false, path }
                if path.components().count() == 1
        );
        Error::Locate {
            error,
            meant: meant.filter(|_| typed_a_name),
        }
    })
}
