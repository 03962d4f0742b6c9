//! `undo`: what a command did is taken back, and what others did stays. Without more it only shows
//! what was done and what to type.

use super::super::args;
use super::super::error::Error;
use super::super::exit::Exit;
use super::super::interrupt::Interrupt;
use super::super::past::{Past, Paths};
use super::super::quote::quote;
use super::super::reach;
use super::log;
use super::report::{self, Report};
use super::time_of;
use crate::control::report::DoingLine;
use crate::control::request::{
    Answer, Chosen, DeedLine, RawPath, Request, StepLine, TroubleLine, Whose,
};
use crate::control::when::When;
use crate::format::ranges::RangeSet;
use crate::format::record::FileTime;
use crate::history::undo::{Deed, Expected, Step};
use crate::id::Epoch;
use crate::restore::{self, Folder, Options, Overwrite, Tell, Trouble};
use crate::time::TimeZone;
use std::io::{self, Write, stdout};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

mod states;

/// `undo DIR`.
pub fn run(args: &args::Undo) -> Result<Exit, Error> {
    super::super::daemon::raise_files();
    let dir = still_there(&args.dir);
    let paths = Paths::find(std::slice::from_ref(&dir), args.store.said().as_deref())?;
    let past = Past::open(&paths.place, &paths.root, false)?;
    if past.is_mounted() {
        // What was done just now is what this is about.
        past.record()?;
    }
    let under = paths.asked.first().map(|names| names.join(&b'/'));
    let under = under.unwrap_or_default();
    let session = Session {
        args,
        paths: &paths,
        past: &past,
        under: RawPath(under),
        viewer: viewer(),
    };
    match chosen(args)? {
        None => session.show(),
        Some(chosen) => session.undo(&chosen),
    }
}

/// A shell that stands in a directory that was removed still knows its path.
fn still_there(dir: &Path) -> PathBuf {
    let here = std::env::current_dir();
    match std::env::var_os("PWD") {
        Some(path) if here.is_err() && dir.is_relative() => {
            let path = PathBuf::from(path);
            match dir.as_os_str().as_bytes() {
                b"." | b"" => path,
                _ => path.join(dir),
            }
        }
        _ => dir.to_owned(),
    }
}

/// The session of this terminal or script.
fn viewer() -> u32 {
    rustix::process::getsid(None).map_or(0, |pid| pid.as_raw_nonzero().get().unsigned_abs())
}

/// What is to be taken back; `None`: nothing was said.
fn chosen(args: &args::Undo) -> Result<Option<Chosen>, Error> {
    let since = args.since.as_deref().map(time_of).transpose()?;
    let whose = if let Some(number) = args.number {
        Whose::Number(number)
    } else if args.last {
        Whose::Last
    } else if let Some(run) = &args.run {
        Whose::Run(run.clone())
    } else if let Some(pid) = args.pid {
        Whose::Pid(pid)
    } else if let Some(name) = &args.command {
        Whose::Command(name.clone())
    } else if since.is_some() {
        Whose::Everybody
    } else {
        return Ok(None);
    };
    let since = since.map(When);
    Ok(Some(Chosen { whose, since }))
}

struct Session<'a> {
    args: &'a args::Undo,
    paths: &'a Paths,
    past: &'a Past,
    under: RawPath,
    viewer: u32,
}

/// A plan with all its pages.
#[derive(Default)]
struct Plan {
    what: Vec<DoingLine>,
    steps: Vec<StepLine>,
    troubles: Vec<TroubleLine>,
    unchanged: u64,
    incomplete: Option<When>,
    writeback: bool,
    snapdir: Option<String>,
}

impl Session<'_> {
    fn show(&self) -> Result<Exit, Error> {
        let request = Request::Undoable {
            under: self.under.clone(),
            viewer: self.viewer,
        };
        let Answer::Undoable {
            lines,
            more,
            writeback,
        } = self.past.ask(request, "looking at what was done")?
        else {
            return Err(reach::strange(&self.paths.place));
        };
        let mut out = io::BufWriter::new(stdout().lock());
        let zone = TimeZone::system();
        for line in &lines {
            if self.args.json {
                serde_json::to_writer(&mut out, line).map_err(io::Error::from)?;
                writeln!(out)?;
            } else {
                writeln!(out, "{}", shown(line, &zone))?;
            }
        }
        if !self.args.json {
            self.advise(&mut out, &lines, more)?;
        }
        out.flush()?;
        if writeback {
            warn_of_writeback();
        }
        Ok(Exit::Done)
    }

    fn advise(&self, out: &mut impl Write, lines: &[DoingLine], more: bool) -> io::Result<()> {
        let dir = quote(&self.args.dir);
        if lines.is_empty() {
            return writeln!(
                out,
                "nothing that was done here is recorded; older states: ls {dir}/.snapshots"
            );
        }
        writeln!(out)?;
        writeln!(
            out,
            "Nothing was changed. To take one back:  rewindfs undo {dir} 1"
        )?;
        writeln!(
            out,
            "To see first what that does:            rewindfs undo {dir} 1 --dry-run"
        )?;
        if more {
            writeln!(
                out,
                "There are older ones:                   rewindfs log {dir}"
            )?;
        }
        Ok(())
    }

    fn plan(&self, chosen: &Chosen) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let mut planned_at = None;
        loop {
            let skip = plan.steps.len() + plan.troubles.len();
            let request = Request::Undo {
                chosen: chosen.clone(),
                under: self.under.clone(),
                force: self.args.force,
                viewer: self.viewer,
                at: planned_at,
                skip: skip as u64,
            };
            let Answer::Undo {
                at,
                what,
                steps,
                troubles,
                unchanged,
                incomplete,
                writeback,
                snapdir,
                more,
            } = self.past.ask(request, "looking at what was done")?
            else {
                return Err(reach::strange(&self.paths.place));
            };
            planned_at = Some(at);
            plan.what.extend(what);
            plan.steps.extend(steps);
            plan.troubles.extend(troubles);
            plan.unchanged = unchanged;
            plan.incomplete = incomplete;
            plan.writeback = writeback;
            plan.snapdir = snapdir;
            if !more {
                return Ok(plan);
            }
        }
    }

    fn undo(&self, chosen: &Chosen) -> Result<Exit, Error> {
        if !self.past.is_mounted() && !self.args.dry_run {
            return Err(Error::UndoUnmounted(self.paths.place.dir.clone()));
        }
        let plan = self.plan(chosen)?;
        if self.past.is_mounted() && plan.snapdir.is_none() {
            return Err(Error::NotShown(self.paths.root.clone()));
        }
        if !self.args.json {
            self.head(&plan)?;
        }
        if plan.writeback {
            warn_of_writeback();
        }
        let interrupt = Interrupt::catch().map_err(|source| Error::System {
            action: "signals can't be caught",
            source,
        })?;
        let report = Report::new(self.args.json, self.args.dry_run, "undo", interrupt);
        let root = &self.paths.root;
        let fault = |source| Error::File {
            path: root.clone(),
            source,
        };
        let target = super::super::past::directory(root).map_err(fault)?;
        let options = Options {
            delete: false,
            dry_run: self.args.dry_run,
            overwrite: Overwrite::Always,
            in_place: self.past.is_mounted(),
            snapdir: plan.snapdir.clone().map(String::into_bytes),
            since: None,
            device: crate::backing::stat_fd(std::os::fd::AsFd::as_fd(&target))
                .map_err(fault)?
                .dev,
            left_out: self.past.left_out_now()?,
        };
        let steps: Vec<Step> = plan.steps.iter().map(step).collect();
        let is_needed = !steps.is_empty() && !self.args.dry_run;
        let run = match is_needed {
            true => Some(self.begin(&plan)?),
            false => None,
        };
        let states = states::Opened::new(self.past, plan.snapdir.as_deref(), &plan.steps);
        let live = Folder::new(target);
        let mut tally = restore::carry_out(&states, &live, &steps, &options, &report);
        if let Some(run) = run {
            self.past.record()?;
            self.past.ask(Request::EndRun { run }, "undo")?;
        }
        tally.unchanged += plan.unchanged;
        for trouble in &plan.troubles {
            let kind = match trouble.lost {
                true => Trouble::NotRecoverable,
                false => Trouble::Conflict,
            };
            report.trouble(kind, &trouble.path.0, &trouble.reason);
            match trouble.lost {
                true => tally.not_recoverable += 1,
                false => tally.conflicts += 1,
            }
        }
        let back = run.filter(|_| tally.has_changed()).map(|_| {
            let dir = quote(&self.paths.root);
            format!("rewindfs undo {dir} --last")
        });
        let exit = report.end(&report::Last {
            delete: true,
            tally,
            back,
        })?;
        if let Some(time) = plan.incomplete {
            let zone = TimeZone::system();
            eprintln!(
                "rewindfs: too much was changed to look through all of it: what was done before {} is as it was",
                time.0.local(&zone)
            );
            return Ok(Exit::Partly);
        }
        Ok(exit)
    }

    /// What is about to be taken back.
    fn head(&self, plan: &Plan) -> Result<(), Error> {
        let mut out = stdout().lock();
        if plan.what.is_empty() {
            writeln!(out, "nothing of it is left to be taken back")?;
        }
        let zone = TimeZone::system();
        let action = match self.args.dry_run {
            true => "would take back",
            false => "taking back",
        };
        for line in &plan.what {
            writeln!(out, "{action}: {}", shown(line, &zone))?;
        }
        Ok(())
    }

    /// From now on what this process does is a run of its own.
    fn begin(&self, plan: &Plan) -> Result<u64, Error> {
        let name = match plan.what.as_slice() {
            [one] => format!("undo of {}", who(one)),
            _ => "undo".to_owned(),
        };
        let mut command = Vec::new();
        for argument in std::env::args_os() {
            command.extend_from_slice(argument.as_bytes());
            command.push(0);
        }
        command.truncate(crate::limits::RUN_TEXT_MAX);
        let request = Request::BeginRun {
            pid: std::process::id(),
            name,
            command: RawPath(command),
            undoes: true,
        };
        match self.past.ask(request, "undo")? {
            Answer::Run { run } => Ok(run),
            _ => Err(reach::strange(&self.paths.place)),
        }
    }
}

fn warn_of_writeback() {
    eprintln!(
        "rewindfs: mounted with -o writeback: the kernel writes for everybody, so who changed the content of a file is not known; take that back by its time: --since"
    );
}

/// `1  10:14:51  claude > bash > rm -rf src  412 deleted`.
fn shown(line: &DoingLine, zone: &TimeZone) -> String {
    let number = match line.number {
        Some(number) => format!("{number:>2}  "),
        None => String::new(),
    };
    let others = match line.processes {
        0 | 1 => String::new(),
        processes => format!(" ({processes} processes)"),
    };
    let left = match line.not_undoable {
        None | Some(0) => String::new(),
        Some(left) => format!(" (of which {left} can't be taken back: --dry-run says why)"),
    };
    let what = match log::what(line) {
        nothing if nothing.is_empty() => {
            "what it destroyed was too young to be recorded".to_owned()
        }
        what => what,
    };
    format!(
        "{number}{}  {}{others}  {what}{left}",
        line.time.0.local(zone),
        who(line),
    )
}

/// Who did it, and of a run which.
fn who(line: &DoingLine) -> String {
    let doer = match &line.who {
        None => "somebody (through a mapping, or while it was not mounted)".to_owned(),
        Some(who) => log::doer(who),
    };
    match &line.run {
        None => doer,
        Some(run) if run.undoes => quote(&run.name),
        Some(run) if run.name.is_empty() => format!("run {}: {doer}", run.run),
        Some(run) => format!("run {} ({}): {doer}", run.run, quote(&run.name)),
    }
}

fn step(line: &StepLine) -> Step {
    let deed = match &line.deed {
        DeedLine::Remove => Deed::Remove,
        DeedLine::Restore { epoch, past, .. } => Deed::Restore {
            before: Epoch(*epoch),
            past: past.0.clone(),
        },
        DeedLine::Bytes {
            epoch,
            past,
            ranges,
            ..
        } => {
            let mut bytes = RangeSet::default();
            for &(start, end) in ranges {
                bytes.insert(start..end);
            }
            Deed::Bytes {
                before: Epoch(*epoch),
                past: past.0.clone(),
                ranges: bytes,
            }
        }
        DeedLine::Times { epoch, past, .. } => Deed::Times {
            before: Epoch(*epoch),
            past: past.0.clone(),
        },
        DeedLine::Rename { to } => Deed::Rename { to: to.0.clone() },
        DeedLine::Link { of } => Deed::Link { of: of.0.clone() },
    };
    let expected = line.expected.map(|(size, sec, nsec)| Expected {
        size,
        mtime: FileTime { sec, nsec },
    });
    Step {
        path: line.path.0.clone(),
        kind: line.kind,
        deed,
        expected,
    }
}
