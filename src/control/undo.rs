//! Undo: the recent doings by numbers that keep their meaning, and what has to be done to take one
//! or more of them back. Nothing is changed here: who asked carries it out, as himself.

use super::error::Error;
use super::log;
use super::report::{DoingLine, RunTold};
use super::request::{Answer, Chosen, DeedLine, RawPath, StepLine, TroubleLine, Whose};
use super::service::Service;
use super::when::When;
use crate::format::record::{Actor, Run};
use crate::history::doings::{self, Doing, Doings};
use crate::history::path::is_below;
use crate::history::undo::{self, Conflict, Deed, Plan, Reason, Step, Wish};
use crate::history::unsettled::{self, Missing};
use crate::history::{HistoryError, net};
use crate::id::{ActorId, Epoch};
use crate::limits;
use crate::store::View;
use crate::time::Timestamp;
use parking_lot::Mutex;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// What a daemon remembers between a look and an undo.
#[derive(Default)]
pub struct Memory {
    /// The lists that were shown, the newest last: to whom, and what the numbers stood for.
    shown: Mutex<VecDeque<Shown>>,
    /// The last plan: its pages are asked for one after the other.
    plan: Mutex<Option<(Asked, Arc<Planned>)>>,
}

struct Shown {
    uid: u32,
    viewer: u32,
    entries: Vec<Entry>,
}

/// What a number stands for: just what was shown, not what was done since.
#[derive(Clone)]
struct Entry {
    actors: BTreeSet<ActorId>,
    first: Epoch,
    last: Epoch,
    from: Timestamp,
}

impl Entry {
    fn of(doing: &Doing) -> Entry {
        Entry {
            actors: doing.actors.clone(),
            first: doing.first,
            last: doing.last,
            from: doing.from,
        }
    }

    /// What it destroyed before that could be recorded.
    fn missing(&self, view: &View<'_>, at: Epoch, under: &[u8]) -> Result<Missing, HistoryError> {
        let mine =
            |id, epoch| self.actors.contains(&id) && self.first <= epoch && epoch <= self.last;
        unsettled::find(view, at, self.from, under, &|id, _, epoch| mine(id, epoch))
    }
}

/// A question about a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub chosen: Chosen,
    pub under: RawPath,
    pub force: bool,
    pub uid: u32,
    pub viewer: u32,
    /// The state that the pages before were planned for.
    pub at: Option<u64>,
}

/// A plan with what is told of it.
struct Planned {
    at: Epoch,
    what: Vec<DoingLine>,
    steps: Vec<StepLine>,
    troubles: Vec<TroubleLine>,
    unchanged: u64,
    incomplete: Option<When>,
}

/// What is selected: by whom, and since when.
struct Selection {
    since: Timestamp,
    who: Who,
}

enum Who {
    Entry(Entry),
    Run(u64),
    /// Processes of this number and what descends from them.
    Pid(u32),
    Command(Vec<u8>),
    Everybody,
}

impl Who {
    fn has(&self, id: ActorId, actor: Option<&Actor>, epoch: Epoch) -> bool {
        match (self, actor) {
            (Who::Everybody, _) => true,
            (Who::Entry(entry), _) => {
                entry.actors.contains(&id) && entry.first <= epoch && epoch <= entry.last
            }
            (_, None) => false,
            (Who::Run(run), Some(actor)) => actor.run == *run,
            (Who::Pid(pid), Some(actor)) => {
                actor.tgid == *pid || actor.ancestors.iter().any(|(above, _)| above == pid)
            }
            (Who::Command(name), Some(actor)) => {
                let is = |comm: &[u8]| comm == name.as_slice();
                is(&actor.comm)
                    || actor.ancestors.iter().any(|(_, comm)| is(comm))
                    || program(&actor.command) == Some(name)
            }
        }
    }
}

/// The last part of the path of a program, from a command line.
fn program(command: &[u8]) -> Option<&[u8]> {
    let first = command.split(|byte| *byte == 0).next()?;
    first.rsplit(|byte| *byte == b'/').next()
}

/// The kernel keeps so many bytes of the name of a process.
const COMM_MAX: usize = 15;

impl Service {
    /// The recent doings that changed something under a path, by number.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn undoable(&self, under: &RawPath, uid: u32, viewer: u32) -> Result<Answer, Error> {
        let view = self.store.view();
        let runs = self.store.runs()?;
        let found = doings::since(&view, Timestamp(i64::MIN))?;
        let at = view.newest_epoch()?.unwrap_or_default();
        let (mut lines, mut entries) = (Vec::new(), Vec::new());
        let mut more = found.cut_off.is_some();
        for (place, doing) in found.all.iter().enumerate() {
            if lines.len() == limits::UNDO_SHOWN {
                more = true;
                break;
            }
            let entry = Entry::of(doing);
            let missing = entry.missing(&view, at, &under.0)?.count();
            let Some(mut line) = line(&view, doing, under, &runs, missing)? else {
                continue;
            };
            let others = |other: &Doing| std::ptr::eq(other, &raw const found.all[place]);
            let touched = doings::together(&found.all, &others);
            let wish = Wish {
                under: under.0.clone(),
                force: false,
            };
            let plan = undo::plan(&view, at, &touched, &wish)?;
            entries.push(entry);
            line.number = Some(entries.len() as u64);
            line.not_undoable = Some(plan.conflicts.len() as u64 + missing);
            lines.push(line);
        }
        drop(view);
        self.undo.remember(Shown {
            uid,
            viewer,
            entries,
        });
        Ok(Answer::Undoable {
            lines,
            more,
            writeback: self.writes_back(),
        })
    }

    fn writes_back(&self) -> bool {
        let mount = self.mount.as_ref();
        mount.is_some_and(|mount| mount.describe().writeback)
    }

    /// A page of a plan.
    ///
    /// # Errors
    /// When nothing is meant by what was chosen, or the store can't be read.
    pub fn undo(&self, asked: Asked, skip: u64) -> Result<Answer, Error> {
        let planned = self.planned(asked)?;
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let mut page = Vec::new();
        for step in planned.steps.iter().skip(skip) {
            if bytes > limits::UNDO_PAGE_BYTES {
                break;
            }
            bytes += step.bytes();
            page.push(step.clone());
        }
        let left = planned.steps.len().saturating_sub(skip + page.len());
        // The troubles come with the last pages, behind the steps.
        let told = skip.saturating_sub(planned.steps.len());
        let mut troubles = Vec::new();
        if left == 0 {
            for trouble in planned.troubles.iter().skip(told) {
                if bytes > limits::UNDO_PAGE_BYTES {
                    break;
                }
                bytes += trouble.path.0.len() + trouble.reason.len() + size_of::<TroubleLine>();
                troubles.push(trouble.clone());
            }
        }
        let all = planned.steps.len() + planned.troubles.len();
        let more = skip + page.len() + troubles.len() < all;
        Ok(Answer::Undo {
            at: planned.at.0,
            what: match skip {
                0 => planned.what.clone(),
                _ => Vec::new(),
            },
            steps: page,
            troubles,
            unchanged: planned.unchanged,
            incomplete: planned.incomplete,
            writeback: self.writes_back(),
            snapdir: self.mount.as_ref().and_then(|mount| mount.snapdir()),
            more,
        })
    }

    fn planned(&self, asked: Asked) -> Result<Arc<Planned>, Error> {
        if let Some((known, planned)) = &*self.undo.plan.lock()
            && *known == asked
        {
            return Ok(Arc::clone(planned));
        }
        let planned = Arc::new(self.plan(&asked)?);
        let known = Asked {
            at: Some(planned.at.0),
            ..asked
        };
        *self.undo.plan.lock() = Some((known, Arc::clone(&planned)));
        Ok(planned)
    }

    fn plan(&self, asked: &Asked) -> Result<Planned, Error> {
        let view = self.store.view();
        let runs = self.store.runs()?;
        let newest = view.newest_epoch()?.unwrap_or_default();
        let at = asked.at.map_or(newest, Epoch);
        let selection = self.select(&view, asked, &runs)?;
        let who = &selection.who;
        let found = doings::split(&view, at, selection.since, &|id, actor, epoch| {
            who.has(id, actor, epoch)
        })?;
        let mine: Vec<&Doing> = found.all.iter().filter(|doing| doing.chosen).collect();
        let touched = doings::together(&found.all, &|doing| doing.chosen);
        let wish = Wish {
            under: asked.under.0.clone(),
            force: asked.force,
        };
        let plan = undo::plan(&view, at, &touched, &wish)?;
        let missing = unsettled::find(
            &view,
            at,
            selection.since,
            &asked.under.0,
            &|id, actor, epoch| who.has(id, actor, epoch),
        )?;
        let mut what = Vec::new();
        for doing in mine {
            what.extend(line(&view, doing, &asked.under, &runs, missing.count())?);
        }
        let mut states = States::default();
        let mut steps = Vec::with_capacity(plan.steps.len());
        for step in &plan.steps {
            steps.push(told(&view, &mut states, step)?);
        }
        let troubles = troubles(&plan, &found, missing);
        Ok(Planned {
            at,
            what,
            steps,
            troubles,
            unchanged: plan.unchanged,
            incomplete: found.cut_off.map(When),
        })
    }

    fn select(
        &self,
        view: &View<'_>,
        asked: &Asked,
        runs: &[(u64, Run)],
    ) -> Result<Selection, Error> {
        let since = asked.chosen.since.map(|since| since.0);
        let day = i64::try_from(limits::UNDO_SPAN.as_nanos()).unwrap_or(i64::MAX);
        let lately = since.unwrap_or(Timestamp(Timestamp::now().0.saturating_sub(day)));
        Ok(match &asked.chosen.whose {
            Whose::Number(number) => {
                let entry = self.undo.entry(asked.uid, asked.viewer, *number)?;
                let since = entry.from;
                let who = Who::Entry(entry);
                Selection { since, who }
            }
            Whose::Everybody => Selection {
                since: lately,
                who: Who::Everybody,
            },
            Whose::Pid(pid) => Selection {
                since: since.unwrap_or(Timestamp(i64::MIN)),
                who: Who::Pid(*pid),
            },
            Whose::Command(name) => {
                let mut name = name.clone().into_bytes();
                name.truncate(COMM_MAX);
                let who = Who::Command(name);
                Selection { since: lately, who }
            }
            Whose::Run(text) => {
                let of_text =
                    |(number, run): &&(u64, Run)| number.to_string() == *text || run.name == *text;
                let found = runs.iter().rev().find(of_text);
                let (number, run) = found.ok_or_else(|| Error::NoDoing {
                    reason: format!("there is no run {text}"),
                })?;
                Selection {
                    since: run.started,
                    who: Who::Run(*number),
                }
            }
            Whose::Last => {
                let found = doings::since(view, Timestamp(i64::MIN))?;
                let entry =
                    last(view, &found, &asked.under, runs)?.ok_or_else(|| Error::NoDoing {
                        reason: "nothing was deleted or overwritten here by anybody that is known"
                            .to_owned(),
                    })?;
                Selection {
                    since: entry.from,
                    who: Who::Entry(entry),
                }
            }
        })
    }

    /// Begins a run; what `pid` and its descendants change from now on belongs to it.
    ///
    /// # Errors
    /// When it is not mounted, or can't be noted.
    pub fn begin_run(&self, pid: u32, run: Run) -> Result<Answer, Error> {
        if self.mount.is_none() {
            return Err(Error::NotMounted);
        }
        let recorder = self.recorder()?;
        let number = self.store.begin_run(&run)?;
        recorder.begin_run(pid, number);
        Ok(Answer::Run { run: number })
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it can't be noted.
    pub fn end_run(&self, number: u64) -> Result<Answer, Error> {
        let recorder = self.recorder()?;
        recorder.end_run(number);
        let runs = self.store.runs()?;
        if let Some((_, run)) = runs.into_iter().find(|(known, _)| *known == number) {
            let run = Run {
                ended: Some(Timestamp::now()),
                ..run
            };
            self.store.set_run(number, &run)?;
        }
        Ok(Answer::Done)
    }
}

/// The newest run. Where nobody works with `run`, or not within the last day: the newest of undos
/// and of what deleted or overwrote something, by whoever is known.
fn last(
    view: &View<'_>,
    found: &Doings,
    under: &RawPath,
    runs: &[(u64, Run)],
) -> Result<Option<Entry>, HistoryError> {
    let day = i64::try_from(limits::UNDO_SPAN.as_nanos()).unwrap_or(i64::MAX);
    let lately = Timestamp::now().0.saturating_sub(day);
    let number = |doing: &Doing| doing.who.as_ref().map_or(0, |who| who.run);
    let is_recent = |doing: &&Doing| {
        let run = runs.iter().find(|(known, _)| *known == number(doing));
        doing.to.0 > lately && run.is_some_and(|(_, run)| !run.undoes)
    };
    let only_runs = found.all.iter().any(|doing| is_recent(&doing));
    for doing in &found.all {
        let is_run = number(doing) != 0;
        if only_runs && !is_run {
            continue;
        }
        let entry = Entry::of(doing);
        let missing = entry.missing(view, doing.last, &under.0)?.count();
        let Some(line) = line(view, doing, under, &[], missing)? else {
            continue;
        };
        if is_run || doing.who.is_some() && line.deleted + line.modified + missing > 0 {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

/// A doing as `log` tells it; `None`: it came to nothing under this path, and nothing is `missing`.
fn line(
    view: &View<'_>,
    doing: &Doing,
    under: &RawPath,
    runs: &[(u64, Run)],
    missing: u64,
) -> Result<Option<DoingLine>, HistoryError> {
    let mut nets = net::of(view, &doing.touched)?;
    nets.retain(|net| {
        let from = net.from.as_deref();
        is_below(&under.0, &net.path) || from.is_some_and(|from| is_below(&under.0, from))
    });
    let came_to_something = missing > 0 || !nets.is_empty();
    Ok(came_to_something.then(|| log::line(doing, &nets, runs)))
}

/// What is told of a run.
pub(super) fn run_told(doing: &Doing, runs: &[(u64, Run)]) -> Option<RunTold> {
    let number = doing.who.as_ref()?.run;
    if number == 0 {
        return None;
    }
    let run = runs.iter().find(|(known, _)| *known == number);
    Some(RunTold {
        run: number,
        name: run.map(|(_, run)| run.name.clone()).unwrap_or_default(),
        undoes: run.is_some_and(|(_, run)| run.undoes),
    })
}

impl Memory {
    fn remember(&self, list: Shown) {
        let mut shown = self.shown.lock();
        shown.retain(|old| (old.uid, old.viewer) != (list.uid, list.viewer));
        shown.push_back(list);
        if shown.len() > limits::UNDO_LISTS {
            shown.pop_front();
        }
    }

    /// What a number stood for in the list that was shown last, there or else to this user.
    fn entry(&self, uid: u32, viewer: u32, number: u64) -> Result<Entry, Error> {
        let shown = self.shown.lock();
        let here = |list: &&Shown| (list.uid, list.viewer) == (uid, viewer);
        let list = shown.iter().rev().find(here);
        let list = list.or_else(|| shown.iter().rev().find(|list| list.uid == uid));
        let place = usize::try_from(number).ok().and_then(|n| n.checked_sub(1));
        let Some(list) = list else {
            return Err(Error::NoDoing {
                reason: format!(
                    "what the number {number} means is not known before you have looked at the list"
                ),
            });
        };
        place
            .and_then(|place| list.entries.get(place))
            .cloned()
            .ok_or_else(|| Error::NoDoing {
                reason: format!("there was no number {number} in the list"),
            })
    }
}

/// The kept states by the numbers that are asked for, with their times.
#[derive(Default)]
struct States(std::collections::HashMap<Epoch, (Epoch, Timestamp)>);

impl States {
    fn find(&mut self, view: &View<'_>, epoch: Epoch) -> Result<(u64, When), Error> {
        let found = match self.0.get(&epoch) {
            Some(found) => *found,
            None => {
                let gone = HistoryError::NotKept { epoch };
                let kept = view.listed_before(epoch.next())?.ok_or(gone)?;
                let header = view.header(kept)?;
                let gone = HistoryError::NotKept { epoch };
                let time = header.ok_or(gone)?.time;
                self.0.insert(epoch, (kept, time));
                (kept, time)
            }
        };
        Ok((found.0.0, When(found.1)))
    }
}

fn told(view: &View<'_>, states: &mut States, step: &Step) -> Result<StepLine, Error> {
    let mut of = |before: Epoch, past: &[u8]| -> Result<_, Error> {
        let (epoch, time) = states.find(view, before)?;
        Ok((epoch, time, RawPath(past.to_vec())))
    };
    let deed = match &step.deed {
        Deed::Remove => DeedLine::Remove,
        Deed::Rename { to } => DeedLine::Rename {
            to: RawPath(to.clone()),
        },
        Deed::Link { of } => DeedLine::Link {
            of: RawPath(of.clone()),
        },
        Deed::Restore { before, past } => {
            let (epoch, time, past) = of(*before, past)?;
            DeedLine::Restore { epoch, time, past }
        }
        Deed::Bytes {
            before,
            past,
            ranges,
        } => {
            let (epoch, time, past) = of(*before, past)?;
            DeedLine::Bytes {
                epoch,
                time,
                past,
                ranges: ranges
                    .iter()
                    .map(|range| (range.start, range.end))
                    .collect(),
            }
        }
        Deed::Times { before, past } => {
            let (epoch, time, past) = of(*before, past)?;
            DeedLine::Times { epoch, time, past }
        }
    };
    Ok(StepLine {
        path: RawPath(step.path.clone()),
        kind: step.kind,
        deed,
        expected: step
            .expected
            .map(|looks| (looks.size, looks.mtime.sec, looks.mtime.nsec)),
    })
}

fn troubles(plan: &Plan, found: &Doings, missing: Missing) -> Vec<TroubleLine> {
    let tell = |conflict: &Conflict| TroubleLine {
        path: RawPath(conflict.path.clone()),
        reason: reason(conflict, found),
        lost: conflict.reason == Reason::Lost,
    };
    // What came back older than it was is said once.
    let is_told = |conflict: &&Conflict| {
        conflict.reason == Reason::Older && missing.files.contains_key(&conflict.path)
    };
    let others = plan.conflicts.iter().filter(|conflict| !is_told(conflict));
    let mut troubles: Vec<TroubleLine> = others.map(tell).collect();
    let lost = |path, reason| TroubleLine {
        path: RawPath(path),
        reason,
        lost: true,
    };
    for (path, age_ms) in missing.files {
        let age = format!("{}.{:03} s", age_ms / 1000, age_ms % 1000);
        let reason =
            format!("it was destroyed {age} after it was written: too young to be recorded");
        troubles.push(lost(path, reason));
    }
    if missing.more > 0 {
        let reason = format!("{} more files were too young to be recorded", missing.more);
        troubles.push(lost(Vec::new(), reason));
    }
    troubles
}

/// Why, in words, and who it was.
fn reason(conflict: &Conflict, found: &Doings) -> String {
    let by = || match another(conflict, found) {
        Some(who) => format!("by {who}"),
        None => "by somebody".to_owned(),
    };
    match &conflict.reason {
        Reason::ChangedSince => format!("it was changed since {}", by()),
        Reason::Shared => format!("it was changed at the same time {}", by()),
        Reason::Moved(path) => format!("it was moved to {} since", String::from_utf8_lossy(path)),
        Reason::NoFolder => "the folder in which it stood is not there any more".to_owned(),
        Reason::NotEmpty(name) => format!(
            "it has {} in it, which stays",
            String::from_utf8_lossy(name)
        ),
        Reason::Depends => "what has to be moved away first can't be".to_owned(),
        Reason::TooDeep => "it lies too deep".to_owned(),
        Reason::Lost => "its content was not recorded".to_owned(),
        Reason::Older => format!(
            "it comes back as it was last recorded; it was also changed {}",
            by()
        ),
    }
}

/// The newest of the others who touched it: `vim (pid 123)`.
fn another(conflict: &Conflict, found: &Doings) -> Option<String> {
    let touched = |doing: &&Doing| {
        let touched = &doing.touched;
        conflict
            .name
            .as_ref()
            .is_some_and(|name| touched.names.contains_key(name))
            || conflict
                .file
                .is_some_and(|file| touched.files.contains_key(&file))
    };
    let doing = found
        .all
        .iter()
        .filter(|doing| !doing.chosen)
        .find(touched)?;
    let who = doing.who.as_ref()?;
    let name = String::from_utf8_lossy(&who.comm).into_owned();
    Some(format!("{name} (pid {})", who.tgid))
}
