//! How far a command is that takes long: one line on standard error that is written over, and
//! only when that is a terminal and a second has gone by.

use super::interrupt::Interrupt;
use super::quantity::{count, size};
use crate::control::client::Wait;
use crate::control::request::Progress;
use std::cell::Cell;
use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

/// What takes less is not worth a line.
const SILENT: Duration = Duration::from_secs(1);

/// The line.
pub struct Meter {
    what: &'static str,
    since: Instant,
    on_terminal: bool,
    shown: Cell<bool>,
    interrupt: Option<Interrupt>,
}

impl Meter {
    /// For a command that can't be interrupted, or may simply die.
    pub fn new(what: &'static str) -> Meter {
        Meter::of(what, None)
    }

    /// For one that must take back what it began.
    pub fn with(what: &'static str, interrupt: Interrupt) -> Meter {
        Meter::of(what, Some(interrupt))
    }

    fn of(what: &'static str, interrupt: Option<Interrupt>) -> Meter {
        Meter {
            what,
            since: Instant::now(),
            on_terminal: stderr().is_terminal(),
            shown: Cell::new(false),
            interrupt,
        }
    }

    /// Shows a line of its own words.
    pub fn show(&self, text: &str) {
        if self.on_terminal && self.since.elapsed() > SILENT {
            // A terminal that is gone is no reason to stop.
            let _ = write!(stderr(), "\r\x1b[K{}: {text}", self.what);
            self.shown.set(true);
        }
    }
}

impl Wait for Meter {
    fn progress(&self, progress: &Progress) {
        self.show(&line(progress));
    }

    fn interrupted(&self) -> bool {
        self.interrupt.as_ref().is_some_and(Interrupt::pressed)
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if self.shown.get() {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

fn line(progress: &Progress) -> String {
    if let Some(steps) = &progress.steps {
        return match steps.of {
            0 => steps.what.clone(),
            of => format!("{}, {} of {of}", steps.what, steps.done),
        };
    }
    match progress.scan {
        Some(scan) => {
            let what = if scan.first {
                "first import"
            } else {
                "looking for changes"
            };
            let files = count(scan.files, "file");
            format!("{what}, {files}, {} so far", size(scan.bytes))
        }
        None => {
            let files = count(progress.files, "file");
            format!("{files}, {} still to be recorded", size(progress.bytes))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::report::Scan;

    #[test]
    fn the_line_says_what_is_done_and_what_is_left() {
        let mut progress = Progress {
            files: 1,
            bytes: 2048,
            scan: None,
            steps: None,
        };
        assert_eq!(line(&progress), "1 file, 2.0 KiB still to be recorded");
        progress.scan = Some(Scan {
            first: true,
            files: 3,
            bytes: 0,
        });
        assert_eq!(line(&progress), "first import, 3 files, 0 B so far");
        progress.steps = Some(crate::control::request::Steps {
            what: "dropping".to_owned(),
            done: 1,
            of: 7,
        });
        assert_eq!(line(&progress), "dropping, 1 of 7");
    }
}
