//! `restore`: what stood at a path then is put back, here or into another folder.

use super::super::args;
use super::super::error::Error;
use super::super::exit::Exit;
use super::super::interrupt::Interrupt;
use super::super::past::{self, Past, Paths};
use super::super::progress::Meter;
use super::super::quantity::{count, size};
use super::super::quote::{git, quote};
use crate::restore::{self, Asked, Change, Folder, Options, Overwrite, Tally, Tell, Trouble};
use crate::time::Timestamp;
use serde::Serialize;
use std::ffi::OsStr;
use std::io::{Write, stdout};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// `restore PATH... --at STATE`.
pub fn run(args: &args::Restore) -> Result<Exit, Error> {
    super::super::daemon::raise_files();
    let paths = Paths::find(&args.paths, args.store.said().as_deref())?;
    let here = args.target.is_none();
    let past = Past::open(&paths.place, &paths.root, here && !args.dry_run)?;
    // Before it: a state that is named by how long ago it was is that of now.
    let name = past::exact_name(&args.at)?;
    let before = match here && !args.dry_run {
        true => Some(past.record()?),
        false => None,
    };
    let state = past.state(&name)?;
    let snapdir = state.snapdir.clone().into_bytes();
    if let Some(asked) = paths.asked.iter().find(|asked| asked.contains(&snapdir)) {
        return Err(Error::ThePast(shown(&paths.root, asked)));
    }
    if args.delete && state.found.as_ref().is_some_and(|found| found.partial) {
        return Err(Error::Partial {
            state: args.at.clone(),
        });
    }
    let target = open_target(args.target.as_deref().unwrap_or(&paths.root), args)?;
    let options = Options {
        delete: args.delete,
        dry_run: args.dry_run,
        overwrite: args.overwrite.into(),
        in_place: here && past.is_mounted(),
        snapdir: here.then_some(snapdir),
        since: match here {
            true => state.found.as_ref().map(|found| found.time.0),
            false => None,
        },
        device: target.1,
    };
    let interrupt = Interrupt::catch().map_err(|source| Error::System {
        action: "signals can't be caught",
        source,
    })?;
    let report = Report {
        json: args.json,
        dry_run: args.dry_run,
        meter: parking_lot::Mutex::new(Meter::new("restore")),
        interrupt,
    };
    let live = Folder::new(target.0);
    let (tally, touched) = restore::restore(
        state.source.as_ref(),
        &live,
        &paths.asked,
        &options,
        &report,
    );
    let undo = before
        .filter(|_| tally.has_changed())
        .map(|before| take_back(&paths.root, &touched, before));
    report.end(args, &tally, undo)
}

/// The folder, and its device.
fn open_target(path: &Path, args: &args::Restore) -> Result<(std::os::fd::OwnedFd, u64), Error> {
    let fault = |source| Error::File {
        path: path.to_owned(),
        source,
    };
    if args.target.is_some() && !args.dry_run && !path.exists() {
        std::fs::create_dir(path).map_err(fault)?;
    }
    let fd = past::directory(path).map_err(fault)?;
    let device = crate::backing::stat_fd(fd.as_fd()).map_err(fault)?.dev;
    Ok((fd, device))
}

fn shown(root: &Path, asked: &Asked) -> PathBuf {
    let mut path = root.to_owned();
    path.extend(asked.iter().map(|name| OsStr::from_bytes(name)));
    path
}

/// The command that brings back what was there before.
fn take_back(root: &Path, touched: &[Asked], before: Timestamp) -> String {
    let paths: Vec<String> = touched
        .iter()
        .map(|asked| quote(shown(root, asked)))
        .collect();
    format!(
        "rewindfs restore {} --at @{before} --delete",
        paths.join(" ")
    )
}

impl From<args::Overwrite> for Overwrite {
    fn from(overwrite: args::Overwrite) -> Overwrite {
        match overwrite {
            args::Overwrite::Always => Overwrite::Always,
            args::Overwrite::IfChanged => Overwrite::IfChanged,
            args::Overwrite::Never => Overwrite::Never,
        }
    }
}

/// A line of `--json`.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line<'a> {
    Change { change: char, path: &'a str },
    Conflict { path: &'a str, reason: &'a str },
    NotRecoverable { path: &'a str, reason: &'a str },
    Kept { path: &'a str, reason: &'a str },
    Summary(Summary<'a>),
}

#[derive(Serialize)]
struct Summary<'a> {
    dry_run: bool,
    restored: u64,
    written_bytes: u64,
    deleted: u64,
    unchanged: u64,
    kept: u64,
    conflicts: u64,
    not_recoverable: u64,
    take_back: Option<&'a str>,
}

struct Report {
    json: bool,
    dry_run: bool,
    meter: parking_lot::Mutex<Meter>,
    interrupt: Interrupt,
}

impl Report {
    fn json(&self, line: &Line<'_>) {
        let text = serde_json::to_string(line).expect("strings and numbers");
        // Whoever reads it may have seen enough; the restore goes on.
        let _ = writeln!(stdout().lock(), "{text}");
    }

    fn end(
        &self,
        args: &args::Restore,
        tally: &Tally,
        undo: Option<String>,
    ) -> Result<Exit, Error> {
        if self.json {
            self.json(&Line::Summary(Summary {
                dry_run: self.dry_run,
                restored: tally.restored,
                written_bytes: tally.written_bytes,
                deleted: tally.deleted,
                unchanged: tally.unchanged,
                kept: tally.kept,
                conflicts: tally.conflicts,
                not_recoverable: tally.not_recoverable,
                take_back: undo.as_deref(),
            }));
        } else {
            let last = summary(args, tally, undo.as_deref(), self.interrupt.pressed());
            writeln!(stdout().lock(), "{last}")?;
        }
        Ok(if self.interrupt.pressed() {
            Exit::Interrupted
        } else if tally.is_incomplete() {
            Exit::Partly
        } else {
            Exit::Done
        })
    }
}

fn summary(args: &args::Restore, tally: &Tally, undo: Option<&str>, interrupted: bool) -> String {
    let mut line = if interrupted {
        "interrupted: ".to_owned()
    } else {
        String::new()
    };
    line += if args.dry_run {
        "would restore"
    } else {
        "restored"
    };
    line += &format!(" {}", tally.restored);
    if tally.written_bytes > 0 {
        line += &format!(" ({} written)", size(tally.written_bytes));
    }
    if args.delete {
        line += &format!(
            ", {} {}",
            if args.dry_run { "delete" } else { "deleted" },
            tally.deleted
        );
    }
    line += &format!(", unchanged {}", tally.unchanged);
    if tally.kept > 0 {
        line += &format!(", kept {}", tally.kept);
    }
    line += &format!(
        ", {}, not recoverable {}",
        count(tally.conflicts, "conflict"),
        tally.not_recoverable
    );
    match undo {
        Some(undo) => line + "; take it back: " + undo,
        None if args.dry_run => line + "; nothing was changed",
        None => line,
    }
}

/// The top of the tree has no name.
fn shown_path(path: &[u8]) -> String {
    match path {
        b"" => ".".to_owned(),
        _ => git(path),
    }
}

impl Tell for Report {
    fn change(&self, change: Change, path: &[u8]) {
        if self.json {
            let path = String::from_utf8_lossy(path);
            self.json(&Line::Change {
                change: change.letter(),
                path: &path,
            });
        } else if self.dry_run {
            let _ = writeln!(stdout().lock(), "{}\t{}", change.letter(), shown_path(path));
        }
    }

    fn trouble(&self, trouble: Trouble, path: &[u8], reason: &str) {
        let text = String::from_utf8_lossy(path);
        if self.json {
            self.json(&match trouble {
                Trouble::Conflict => Line::Conflict {
                    path: &text,
                    reason,
                },
                Trouble::NotRecoverable => Line::NotRecoverable {
                    path: &text,
                    reason,
                },
            });
            return;
        }
        let what = match trouble {
            Trouble::Conflict => "conflict",
            Trouble::NotRecoverable => "not recoverable",
        };
        let _ = writeln!(std::io::stderr(), "{what}: {}: {reason}", shown_path(path));
    }

    fn kept(&self, path: &[u8], reason: &str) {
        if self.json {
            let path = &String::from_utf8_lossy(path);
            self.json(&Line::Kept { path, reason });
        } else {
            let _ = writeln!(std::io::stderr(), "kept: {}: {reason}", shown_path(path));
        }
    }

    fn progress(&self, tally: &Tally) {
        let done = tally.restored + tally.unchanged + tally.deleted;
        let text = format!(
            "{}, {} written",
            count(done, "path"),
            size(tally.written_bytes)
        );
        self.meter.lock().show(&text);
    }

    fn interrupted(&self) -> bool {
        self.interrupt.pressed()
    }
}
