//! What `restore` and `undo` tell of each path, and their last line.

use super::super::error::Error;
use super::super::exit::Exit;
use super::super::interrupt::Interrupt;
use super::super::progress::Meter;
use super::super::quantity::{count, size};
use super::super::quote::git;
use crate::restore::{Change, Tally, Tell, Trouble};
use serde::Serialize;
use std::io::{Write, stdout};

/// What the last line says.
pub struct Last {
    /// Something may have been removed.
    pub delete: bool,
    pub tally: Tally,
    /// The command that takes it back.
    pub back: Option<String>,
}

/// A line of `--json`.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line<'a> {
    Change { change: char, path: &'a str },
    Conflict { path: &'a str, reason: &'a str },
    NotRecoverable { path: &'a str, reason: &'a str },
    Kept { path: &'a str, reason: &'a str },
    LeftOut { path: &'a str, reason: &'a str },
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

/// Tells it.
pub struct Report {
    json: bool,
    dry_run: bool,
    meter: parking_lot::Mutex<Meter>,
    interrupt: Interrupt,
    /// Into a directory in which nothing was: what stays as it is, is not there.
    is_recovery: bool,
}

impl Report {
    /// Nothing is told yet. `what`: for the line of progress.
    pub fn new(json: bool, dry_run: bool, what: &'static str, interrupt: Interrupt) -> Report {
        Report {
            json,
            dry_run,
            meter: parking_lot::Mutex::new(Meter::new(what)),
            interrupt,
            is_recovery: false,
        }
    }

    /// Of a recovery.
    pub fn of_recovery(json: bool, interrupt: Interrupt) -> Report {
        Report {
            is_recovery: true,
            ..Report::new(json, false, "recover", interrupt)
        }
    }

    fn json(&self, line: &Line<'_>) {
        let text = serde_json::to_string(line).expect("strings and numbers");
        // Whoever reads it may have seen enough; the restore goes on.
        let _ = writeln!(stdout().lock(), "{text}");
    }

    /// The last line, and how it ended.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn end(&self, last: &Last) -> Result<Exit, Error> {
        let tally = &last.tally;
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
                take_back: last.back.as_deref(),
            }));
        } else {
            let line = summary(last, self.dry_run, self.interrupt.pressed());
            writeln!(stdout().lock(), "{line}")?;
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

fn summary(last: &Last, dry_run: bool, interrupted: bool) -> String {
    let tally = &last.tally;
    let mut line = if interrupted {
        "interrupted: ".to_owned()
    } else {
        String::new()
    };
    line += if dry_run { "would restore" } else { "restored" };
    line += &format!(" {}", tally.restored);
    if tally.written_bytes > 0 {
        line += &format!(" ({} written)", size(tally.written_bytes));
    }
    if last.delete {
        line += &format!(
            ", {} {}",
            if dry_run { "delete" } else { "deleted" },
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
    match &last.back {
        Some(back) => line + "; take it back: " + back,
        None if dry_run => line + "; nothing was changed",
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
        let text = &String::from_utf8_lossy(path);
        match (self.json, self.is_recovery) {
            (true, true) => self.json(&Line::LeftOut { path: text, reason }),
            (true, false) => self.json(&Line::Kept { path: text, reason }),
            (false, is_recovery) => {
                let what = if is_recovery { "left out" } else { "kept" };
                let _ = writeln!(std::io::stderr(), "{what}: {}: {reason}", shown_path(path));
            }
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
