//! `purge`: which versions a path or a hash means, what goes with them, and their removal from the
//! store and from what the kernel keeps of them.

use super::error::Error;
use super::keeping::{check_reason, steps_of};
use super::purged::{PurgeReport, PurgedCopy, PurgedVersion};
use super::request::{Answer, RawPath};
use super::service::{Service, Watch, ticking};
use super::verify::{path, shown_in};
use super::when::When;
use crate::format::record::{Content, Dirent, Kind};
use crate::format::transfer::Sent;
use crate::id::{Epoch, FileId, Hash};
use crate::limits;
use crate::store::purge::{PurgePlan, Target};
use crate::store::{StoreError, View};
use std::collections::{BTreeSet, HashSet};

impl Service {
    /// The plan; with its token, its execution.
    pub(super) fn purge(
        &self,
        (paths, hash): (&[RawPath], Option<&str>),
        reason: &str,
        token: Option<&str>,
        uid: u32,
        watch: &Watch<'_>,
    ) -> Result<Answer, Error> {
        check_reason(reason)?;
        if let Some(recorder) = &self.recorder {
            // What is noted and not recorded would come after the purge.
            recorder.sync(watch.patience())?;
        }
        let target = self.target(paths, hash)?;
        let go_on = || !(watch.cancelled)();
        let show = || steps_of("counting", (0, 0));
        let plan = ticking(watch, show, || self.store.plan_purge(&target, &go_on))?;
        let mut report = self.purge_report(&plan)?;
        let Some(token) = token else {
            self.store.view().check_holds(&plan.versions)?;
            return Ok(Answer::Purge(Box::new(report)));
        };
        if token != report.token {
            return Err(Error::PlanChanged);
        }
        let show = || steps_of("purging", (0, 0));
        let purged = ticking(watch, show, || self.store.purge(&plan, reason, uid, &go_on))?;
        let mut files: Vec<(FileId, Epoch)> = versions_of(&plan);
        (report.freed_bytes, report.wiped) = (purged.freed_bytes, purged.wiped);
        // What was being recorded when it was planned, and held the same, goes too.
        while let Some(late) = self.late(&target, &plan, watch)? {
            let purged = ticking(watch, show, || self.store.purge(&late, reason, uid, &go_on))?;
            report.versions += late.versions.len() as u64;
            report.freed_bytes += purged.freed_bytes;
            report.wiped = purged.wiped;
            files.extend(versions_of(&late));
        }
        if let Some(mount) = &self.mount {
            mount.drop_caches(&files);
        }
        report.done = true;
        Ok(Answer::Purge(Box::new(report)))
    }

    /// The versions with the same content as those of a plan that was carried out, if there are any.
    fn late(
        &self,
        target: &Target,
        plan: &PurgePlan,
        watch: &Watch<'_>,
    ) -> Result<Option<PurgePlan>, Error> {
        let Some(recorder) = &self.recorder else {
            return Ok(None);
        };
        recorder.sync(watch.patience())?;
        let contents: HashSet<Content> = plan.versions.iter().map(|v| v.content).collect();
        let go_on = || !(watch.cancelled)();
        let mut late = self.store.plan_purge(target, &go_on)?;
        late.versions
            .retain(|version| contents.contains(&version.content));
        Ok((!late.versions.is_empty()).then_some(late))
    }

    fn target(&self, paths: &[RawPath], hash: Option<&str>) -> Result<Target, Error> {
        if let Some(hash) = hash {
            return Ok(Target::Bytes(parse_hash(hash)?));
        }
        let view = self.store.view();
        let mut files = HashSet::new();
        for path in paths {
            let shown = || String::from_utf8_lossy(&path.0).into_owned();
            let all = stood_at(&view, &path.0)?;
            if all.is_empty() {
                return Err(Error::NeverThere { path: shown() });
            }
            for (id, kind) in all {
                match kind {
                    Kind::Dir => return Err(Error::PurgeFolder { path: shown() }),
                    Kind::Symlink => return Err(Error::PurgeLink { path: shown() }),
                    _ => files.insert(id),
                };
            }
        }
        Ok(Target::Files(files))
    }

    fn purge_report(&self, plan: &PurgePlan) -> Result<PurgeReport, Error> {
        let view = self.store.view();
        let mut report = PurgeReport {
            versions: plan.versions.len() as u64,
            lines: Vec::new(),
            freed_bytes: plan.freed_bytes,
            shared_pieces: plan.shared.len() as u64,
            shared_bytes: plan.shared_bytes,
            shared_with: Vec::new(),
            live: Vec::new(),
            copies: self.copies_of(plan)?,
            token: String::new(),
            done: false,
            wiped: false,
        };
        for doomed in &plan.versions {
            let place = path(&view, doomed.id, doomed.epoch).unwrap_or_default();
            if doomed.until == Epoch::MAX && !report.live.contains(&place) {
                report.live.push(place.clone());
            }
            if report.lines.len() < limits::FINDINGS_MAX {
                let (first, last) = shown_in(&view, doomed.epoch, doomed.until);
                let states = match (first, last) {
                    (Some(first), Some(last)) => view.epochs(first, last, usize::MAX)?.len() as u64,
                    _ => 0,
                };
                let time = |epoch: Option<Epoch>| {
                    let header = view.header(epoch?).ok().flatten()?;
                    Some(When(header.time))
                };
                report.lines.push(PurgedVersion {
                    path: place,
                    bytes: doomed.size,
                    states,
                    first_state: time(first),
                    last_state: time(last),
                });
            }
        }
        for (id, epoch) in &plan.shared_with {
            report.shared_with.extend(path(&view, *id, *epoch));
        }
        report.shared_with.sort();
        report.shared_with.dedup();
        report.live.truncate(limits::FINDINGS_MAX);
        report.token = token(plan);
        Ok(report)
    }
}

impl Service {
    /// Where sets lie that may hold some of it.
    fn copies_of(&self, plan: &PurgePlan) -> Result<Vec<PurgedCopy>, Error> {
        let first = plan.versions.iter().map(|version| version.epoch).min();
        let sent = self.store.all_sent()?.into_iter();
        let has = |sent: &Sent| first.is_some_and(|first| first <= sent.epoch);
        let copy = |sent: Sent| PurgedCopy {
            url: sent.url,
            set: sent.set,
            sent: When(sent.time),
        };
        Ok(sent.filter(has).map(copy).collect())
    }
}

/// What is confirmed: contents. Who changes nothing but the mode of a file meanwhile makes a version,
/// which goes with the others.
fn token(plan: &PurgePlan) -> String {
    let contents = plan.versions.iter().map(|v| format!("{:?};", v.content));
    let contents: BTreeSet<String> = contents.collect();
    let mut token = blake3::Hasher::new();
    for content in contents {
        token.update(content.as_bytes());
    }
    token.finalize().to_hex().to_string()
}

fn versions_of(plan: &PurgePlan) -> Vec<(FileId, Epoch)> {
    plan.versions.iter().map(|v| (v.id, v.epoch)).collect()
}

fn parse_hash(text: &str) -> Result<Hash, Error> {
    Hash::from_hex(text).ok_or_else(|| Error::Malformed {
        reason: "a hash is 64 hexadecimal digits, as b3sum prints it".to_owned(),
    })
}

/// All files that ever stood at a path, with their kinds: each folder of it counts for the time in
/// which it stood there.
fn stood_at(view: &View<'_>, path: &[u8]) -> Result<Vec<(FileId, Kind)>, StoreError> {
    let mut here = vec![(FileId::ROOT, Kind::Dir, Epoch::NONE, Epoch::MAX)];
    for name in path
        .split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty())
    {
        let mut below = Vec::new();
        for (dir, _, from, until) in here {
            let mut end = Epoch::MAX;
            for (at, dirent) in view.dirent_versions(dir, name)? {
                let (begin, stop) = (at.max(from), end.min(until));
                if let Dirent::Present { id, kind } = dirent
                    && begin < stop
                {
                    below.push((id, kind, begin, stop));
                }
                end = at;
            }
        }
        here = below;
    }
    let mut all: Vec<(FileId, Kind)> = here.into_iter().map(|(id, kind, ..)| (id, kind)).collect();
    all.sort_unstable();
    all.dedup();
    Ok(all)
}
