//! The log of drills: that of a directory is in its store, that of places in a folder of the user.

use super::super::super::progress::Meter;
use super::super::super::reach;
use crate::archive::Objects;
use crate::cli::error::Error;
use crate::control::drills::{self, DrillReport, Drills};
use crate::control::locate::Place;
use crate::control::request::{Answer, Request};
use crate::format::drill::DrillsEnd;
use crate::id::Hash;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// What a log says.
pub struct Told {
    pub reports: Vec<DrillReport>,
    pub fault: Option<String>,
}

/// Of a directory.
pub fn of_directory(place: &Place) -> Result<Told, Error> {
    match reach::ask(place, Request::Drills, &Meter::new("drill"))? {
        Answer::Drills { reports, fault, .. } => Ok(Told { reports, fault }),
        _ => Err(reach::strange(place)),
    }
}

/// Of a place, as this user has tried it.
pub fn of_user(url: &str) -> Result<Told, Error> {
    let path = path()?;
    let url = Objects::place_of(url)?;
    let Drills {
        mut reports, fault, ..
    } = Drills::read(&path, end(&path)).map_err(|source| Error::File { path, source })?;
    reports.retain(|report| report.url == url);
    Ok(Told { reports, fault })
}

/// Adds a report to that of the user.
pub fn note(report: &DrillReport) -> Result<(), Error> {
    let path = path()?;
    let file = |source| Error::File {
        path: path.clone(),
        source,
    };
    if let Some(above) = path.parent() {
        let mut make = fs::DirBuilder::new();
        make.recursive(true)
            .mode(0o700)
            .create(above)
            .map_err(file)?;
    }
    let end = drills::append(&path, report.clone(), end(&path)).map_err(file)?;
    let noted = format!("{} {}\n", end.lines, end.hash.to_hex());
    fs::write(end_of(&path), noted).map_err(file)
}

/// Where it is noted how a log ends.
fn end_of(path: &Path) -> PathBuf {
    path.with_extension("end")
}

/// How it ended when it was written last. A note that is not there or can't be read says nothing.
fn end(path: &Path) -> Option<DrillsEnd> {
    let noted = fs::read_to_string(end_of(path)).ok()?;
    let (lines, hash) = noted.trim_end().split_once(' ')?;
    Some(DrillsEnd {
        lines: lines.parse().ok()?,
        hash: Hash::from_hex(hash)?,
    })
}

fn path() -> Result<PathBuf, Error> {
    let named = |name: &str| {
        let path = std::env::var_os(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    let state = named("XDG_STATE_HOME")
        .or_else(|| Some(named("HOME")?.join(".local/state")))
        .ok_or_else(|| {
            Error::Usage("the log of drills has no place: set HOME or XDG_STATE_HOME".to_owned())
        })?;
    Ok(state.join(Path::new("rewindfs")).join(drills::FILE))
}
