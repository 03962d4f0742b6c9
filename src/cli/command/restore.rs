//! `restore`: what stood at a path then is put back, here or into another folder.

use super::super::args;
use super::super::error::Error;
use super::super::exit::Exit;
use super::super::interrupt::Interrupt;
use super::super::past::{self, Past, Paths};
use super::super::quote::quote;
use super::report::{Last, Report};
use crate::restore::{self, Asked, Folder, Options, Overwrite};
use crate::time::Timestamp;
use std::ffi::OsStr;
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
    let left_out = match here {
        true => past.left_out(&state)?,
        false => Some(restore::LeftOut::default()),
    };
    if args.delete && left_out.is_none() && state.may_leave_out {
        return Err(Error::Usage(
            "what this history leaves out is told to its owner only, so --delete could remove it; \
             restore without --delete"
                .to_owned(),
        ));
    }
    let target = open_target(args.target.as_deref().unwrap_or(&paths.root), args)?;
    let live = Folder::new(target.0);
    let left_out = left_out.unwrap_or_else(|| restore::LeftOut {
        asks: live.may_leave_out(),
        ..restore::LeftOut::default()
    });
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
        left_out,
    };
    let interrupt = Interrupt::catch().map_err(|source| Error::System {
        action: "signals can't be caught",
        source,
    })?;
    let report = Report::new(args.json, args.dry_run, "restore", interrupt);
    let (tally, touched) = restore::restore(
        state.source.as_ref(),
        &live,
        &paths.asked,
        &options,
        &report,
    );
    let back = before
        .filter(|_| tally.has_changed())
        .map(|before| take_back(&paths.root, &touched, before));
    report.end(&Last {
        delete: args.delete,
        tally,
        back,
    })
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
