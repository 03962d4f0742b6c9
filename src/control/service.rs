//! The one place where requests are carried out, whoever brought them: the socket of a daemon,
//! or a command that opened the store of an unmounted directory itself.
//!
//! 1. A handler returns a value and never prints.
//! 2. Nothing here waits without saying so through `Watch`.

use super::difference;
use super::error::{Error, check_name};
use super::events;
use super::find;
use super::keeping::steps_of;
use super::listing;
use super::log;
use super::replicas::Replication;
use super::report;
use super::request::{Answer, Made, Progress, Request, StateFound, User};
use super::status;
use super::undo;
use super::versions;
use super::when::When;
use crate::capture::{self, NewSnapshot, Patience, Recorder};
use crate::filling::Filler;
use crate::format::record::{EpochState, Hold, Run, Snapshot, SnapshotMode};
use crate::history::StateName;
use crate::id::{Epoch, FileId};
use crate::limits;
use crate::store::Store;
use crate::time::{TimeZone, Timestamp};
use parking_lot::Mutex;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

/// How often whoever waits is told how far it is.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// What the handlers must know of a mount and do with it; the adapter to FUSE gives it.
pub trait Mounting: Send + Sync {
    /// What `status` shows.
    fn describe(&self) -> report::Mounted;
    /// The name under which it shows the past, if it does.
    fn snapdir(&self) -> Option<String>;
    /// Who stands in it or holds something of it, as far as this user may know.
    fn users(&self) -> Vec<User>;
    /// Who works in the directory below it, where nothing is seen of what he does.
    fn below(&self) -> Vec<User>;
    /// Takes it off; nothing is changed when somebody uses it.
    ///
    /// # Errors
    /// EBUSY, and what else umount(2) says.
    fn unmount(&self) -> io::Result<()>;
    /// Takes from the kernel what it keeps of these versions in states; returns when that is done,
    /// or has taken too long.
    fn drop_caches(&self, versions: &[(FileId, Epoch)]);
    /// Takes it off whoever uses it: detaches, then aborts the connection.
    ///
    /// # Errors
    /// What umount2(2) says.
    fn force(&self) -> io::Result<()>;
}

/// The eyes and the hand of whoever waits for an answer.
pub struct Watch<'a> {
    /// Told every half second of a request that takes long.
    pub progress: &'a (dyn Fn(Progress) + Sync),
    /// Whether he has gone, so that nothing should be left behind for him.
    pub cancelled: &'a (dyn Fn() -> bool + Sync),
}

impl Watch<'_> {
    /// Of nobody.
    pub const NOBODY: Watch<'static> = Watch {
        progress: &|_| (),
        cancelled: &|| false,
    };

    /// As long as he is there.
    pub(super) fn patience(&self) -> Patience<'_> {
        Patience {
            until: None,
            cancelled: self.cancelled,
        }
    }
}

/// A history that is open, with or without a mount.
pub struct Service {
    /// The working directory, to be shown.
    pub dir: PathBuf,
    /// The folder of the store, to be shown and measured.
    pub store_path: PathBuf,
    pub store: Arc<Store>,
    /// `None`: the live directory is not needed and not looked at.
    pub recorder: Option<Arc<Recorder>>,
    pub mount: Option<Arc<dyn Mounting>>,
    /// Held while a mount is being taken off: two at once would report each other's result.
    pub unmounting: Mutex<()>,
    /// What was shown of the doings.
    pub undo: undo::Memory,
    pub diff: difference::Memory,
    /// How it goes with the replicas.
    pub replication: Arc<Replication>,
    /// What a recovery has still to bring.
    pub filling: Option<Arc<Filler>>,
}

impl Service {
    /// Carries out one request of user `uid`.
    ///
    /// # Errors
    /// Why it was not done; then nothing was changed.
    pub fn handle(&self, request: Request, uid: u32, watch: &Watch<'_>) -> Result<Answer, Error> {
        ::log::debug!("uid {uid} asks for {request:?}");
        match request {
            Request::Snapshot {
                name,
                message,
                mode,
            } => self.snapshot(name, message, mode.into(), uid, watch),
            Request::List { checkpoints, after } => {
                let (lines, next) = listing::page(&self.store, checkpoints, after)?;
                Ok(Answer::Page { lines, next })
            }
            Request::Delete { name, now } => self.delete(&name, now, uid, watch),
            Request::Undelete { name } => self.undelete(&name, uid),
            Request::Hold {
                name,
                until,
                reason,
            } => self.hold(&name, until, reason, uid),
            Request::Release { name, reason } => self.release(&name, &reason, uid),
            Request::Sizes => {
                let show = || steps_of("counting", (0, 0));
                let go_on = || !(watch.cancelled)();
                let (lines, exact) = ticking(watch, show, || listing::sizes(&self.store, &go_on))?;
                Ok(Answer::Sizes { lines, exact })
            }
            Request::Deleted { after } => self.deleted(after),
            Request::Log { after } => self.log(after),
            // Whoever has the store open asks `export::feed`, the others the socket.
            Request::Export { .. } | Request::Fill => Err(Error::Malformed {
                reason: "nothing can be sent without a connection".to_owned(),
            }),
            Request::SetFirst { patterns } => {
                let rules = crate::pattern::Rules {
                    patterns,
                    ..Default::default()
                };
                let patterns = rules.patterns.clone();
                crate::pattern::Matcher::new(rules).map_err(|error| Error::BadPattern {
                    reason: error.to_string(),
                })?;
                self.store.set_first(&patterns, uid)?;
                Ok(Answer::Done)
            }
            Request::SetAlarm { files } => {
                self.store.set_alarm(files, uid)?;
                Ok(Answer::Done)
            }
            Request::Policy {
                set,
                leave_out,
                reason,
            } => self.policy(set, leave_out, &reason, uid, watch),
            Request::Rules { epoch } => Ok(Answer::Rules {
                now: self
                    .store
                    .rules()?
                    .pop()
                    .map(|last| last.rules)
                    .unwrap_or_default()
                    .into(),
                then: self.store.rules_at(crate::id::Epoch(epoch))?.into(),
            }),
            Request::Purge {
                paths,
                hash,
                reason,
                token,
            } => {
                let target = (paths.as_slice(), hash.as_deref());
                self.purge(target, &reason, token.as_deref(), uid, watch)
            }
            Request::Verify { percent, repair } => self.verify(percent, repair, uid, watch),
            Request::Prune { terms } => self.prune(terms, uid, watch),
            Request::Rename { old, new } => self.rename(&old, &new, uid),
            Request::Sync => self.sync(watch),
            Request::Diff {
                from,
                to,
                under,
                skip,
            } => self.diff.page(&self.store, (from, to), under, skip),
            Request::Doings { since, under } => Ok(log::page(&self.store, since, &under)?),
            Request::Versions { since, of } => Ok(versions::page(&self.store, since, &of)?),
            Request::Find {
                pattern,
                under,
                after,
            } => find::page(&self.store, &pattern, &under, after),
            Request::Events { from, under } => events::page(&self.store, &from, &under),
            Request::Undoable { under, viewer } => self.undoable(&under, uid, viewer),
            Request::Undo {
                chosen,
                under,
                force,
                viewer,
                at,
                skip,
            } => {
                let asked = undo::Asked {
                    chosen,
                    under,
                    force,
                    uid,
                    viewer,
                    at,
                };
                self.undo(asked, skip)
            }
            Request::BeginRun {
                pid,
                name,
                command,
                undoes,
            } => {
                let run = Run {
                    name,
                    command: command.0,
                    by_uid: uid,
                    started: Timestamp::now(),
                    ended: None,
                    undoes,
                };
                self.begin_run(pid, run)
            }
            Request::EndRun { run } => self.end_run(run),
            Request::State { name } => self.state(&name),
            Request::SetReplica { replica } => self.set_replica(replica, uid),
            Request::RemoveReplica { url } => self.remove_replica(&url, uid),
            Request::Replicas => self.replicas(),
            Request::News {
                than,
                listed,
                generation,
                danger,
            } => self.news((than, listed), (generation, danger), watch),
            Request::ReplicaTold {
                url,
                trouble,
                there,
            } => self.replica_told(&url, trouble, there),
            Request::Drills => self.drills(),
            Request::DrillEnded { report } => self.drill_ended(*report),
            Request::SetDrills { plan } => self.set_drills(&plan),
            Request::SetHook { hook } => self.set_hook(hook, uid),
            Request::RemoveHook { event } => self.remove_hook(event, uid),
            Request::Hooks => self.hooks(),
            Request::HookEnded { number, trouble } => {
                self.replication.calls.ended(number, trouble);
                Ok(Answer::Done)
            }
            Request::AddSchedule { schedule } => self.add_schedule(schedule, uid),
            Request::RemoveSchedule { number } => self.remove_schedule(number, uid),
            Request::Schedules => self.schedules(),
            Request::ScheduleTold { number, told } => self.schedule_told(number, told),
            Request::Status => Ok(Answer::Status(Box::new(status::report(self)?))),
            Request::Unmount { force } => self.unmount(force, watch),
        }
    }

    fn snapshot(
        &self,
        name: String,
        message: String,
        mode: SnapshotMode,
        uid: u32,
        watch: &Watch<'_>,
    ) -> Result<Answer, Error> {
        check_name(&name)?;
        let recorder = self.recorder()?;
        if self.store.view().snapshot(&name)?.is_some() {
            return Err(Error::Exists { name });
        }
        if mode == SnapshotMode::Differential
            && self.store.view().full_before(Epoch::MAX)?.is_none()
        {
            return Err(Error::NoFull);
        }
        let checked = match mode {
            SnapshotMode::Full => Some(watched(recorder, watch, || {
                recorder.check_files(watch.patience())
            })?),
            SnapshotMode::Incremental | SnapshotMode::Differential => None,
        };
        let before = match &checked {
            Some(checked) => self.hold_before(&name, checked, uid)?,
            None => None,
        };
        let made = watched(recorder, watch, || {
            let new = NewSnapshot {
                name: name.clone(),
                message,
                mode,
                by_uid: uid,
            };
            recorder.snapshot(new, watch.patience())
        })?;
        if (watch.cancelled)() {
            recorder.delete_snapshot(&name, uid)?;
            self.await_names();
            return Err(Error::Interrupted);
        }
        let late = watched(recorder, watch, || recorder.be_elsewhere())?;
        let view = self.store.view();
        let time = view
            .header(made.epoch)?
            .map_or(made.time, |header| header.time);
        let record = view.epoch(made.epoch)?;
        Ok(Answer::Snapshot(Made {
            name,
            time: When(time),
            mode: made.mode.into(),
            base: match made.base {
                Some(base) => Some(listing::name_of(&view, base)?),
                None => None,
            },
            changed_by_themselves: checked.map(|checked| {
                let lossy = |path: &Vec<u8>| String::from_utf8_lossy(path).into_owned();
                checked.changed.iter().map(lossy).collect()
            }),
            before,
            late,
            files_left_out: record.map_or(0, |record| record.statistics.lost_files),
        }))
    }

    /// What files held before their bytes changed by themselves gets a name of its own, on hold.
    fn hold_before(
        &self,
        name: &str,
        checked: &capture::Checked,
        uid: u32,
    ) -> Result<Option<String>, Error> {
        let Some(epoch) = checked.before.filter(|_| !checked.changed.is_empty()) else {
            return Ok(None);
        };
        // Everybody may see it in the list, so it names no file.
        let reason = match checked.changed.len() {
            1 => "what 1 file held before its bytes changed by themselves".to_owned(),
            more => format!("what {more} files held before their bytes changed by themselves"),
        };
        let view = self.store.view();
        let mut kept = format!("{name}-before");
        for n in 2.. {
            if view.snapshot(&kept)?.is_none() {
                break;
            }
            kept = format!("{name}-before-{n}");
        }
        let time = Timestamp::now();
        let snapshot = Snapshot {
            id: self.store.new_snapshot_id()?,
            epoch,
            time,
            mode: SnapshotMode::Incremental,
            base: None,
            hold: None,
            tags: Vec::new(),
            message: reason.clone(),
            by_uid: uid,
        };
        self.store.put_snapshot(&kept, &snapshot)?;
        let hold = Hold {
            by_uid: uid,
            since: time,
            until: None,
            reason,
        };
        self.store.hold_snapshot(&kept, hold)?;
        Ok(Some(kept))
    }

    fn rename(&self, old: &str, new: &str, uid: u32) -> Result<Answer, Error> {
        check_name(new)?;
        capture::rename_snapshot(&self.store, old, new, uid)?;
        self.await_names();
        Ok(Answer::Done)
    }

    fn state(&self, name: &str) -> Result<Answer, Error> {
        let view = self.store.view();
        let now = Timestamp::now();
        let state = StateName::parse(name, now, &TimeZone::UTC)
            .and_then(|name| name.resolve(&view, now))?
            .ok_or(Error::NoState {
                reason: "live is what is there now, no past state".to_owned(),
            })?;
        let record = view.epoch(state.epoch)?;
        Ok(Answer::State(StateFound {
            epoch: state.epoch.0,
            time: When(state.time),
            partial: record.is_none_or(|record| record.state == EpochState::Partial),
            unrecorded: state.unrecorded.map(Into::into),
            snapdir: self.mount.as_ref().and_then(|mount| mount.snapdir()),
        }))
    }

    fn sync(&self, watch: &Watch<'_>) -> Result<Answer, Error> {
        let recorder = self.recorder()?;
        let late = watched(recorder, watch, || {
            recorder.sync(watch.patience())?;
            recorder.be_elsewhere()
        })?;
        Ok(Answer::Synced { late })
    }

    /// What was noted is recorded while the mount still stands: afterwards nobody would keep
    /// what a program overwrites before it is recorded. A scan is not waited for.
    fn unmount(&self, force: bool, watch: &Watch<'_>) -> Result<Answer, Error> {
        let mount = self.mount.as_ref().ok_or(Error::NotMounted)?;
        let _alone = self.unmounting.lock();
        if !force {
            self.check_filled()?;
            // A program that is just being started holds what its parent has open for a moment.
            let mut users = mount.users();
            for _ in 0..limits::BUSY_TRIES {
                if users.is_empty() {
                    break;
                }
                std::thread::sleep(limits::BUSY_POLL);
                users = mount.users();
            }
            if !users.is_empty() {
                return Err(Error::Busy { users });
            }
        }
        if let Some(recorder) = &self.recorder {
            let synced = watched(recorder, watch, || {
                recorder.sync_with(Patience::ENDLESS, &|_| ())
            });
            if let Err(error) = synced {
                // The next mount finds what is missing: no reason to stay mounted.
                ::log::warn!("not everything could be recorded: {error}");
            }
        }
        let take_off = || match force {
            true => mount.force(),
            false => mount.unmount(),
        };
        let mut tries = 0;
        loop {
            match take_off() {
                Ok(()) => return Ok(Answer::Done),
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                    // What a program had open outlives it for a moment, and belongs to nobody.
                    let users = mount.users();
                    if !users.is_empty() || tries == limits::BUSY_TRIES {
                        return Err(Error::Busy { users });
                    }
                }
                Err(error) => {
                    return Err(Error::Unmount {
                        reason: error.to_string(),
                    });
                }
            }
            tries += 1;
            std::thread::sleep(limits::BUSY_POLL);
        }
    }

    /// That no file is without its content: by itself nothing would come any more.
    fn check_filled(&self) -> Result<(), Error> {
        let left = self.filling.as_ref().and_then(|filler| filler.left());
        match left.filter(|left| !left.is_filled) {
            Some(left) => Err(Error::Unfilled {
                files: left.filling.files,
                bytes: left.filling.bytes,
            }),
            None => Ok(()),
        }
    }

    /// Unmounts whoever uses it: cleanly if nobody does, else by force. Told by a signal.
    pub fn leave(&self) {
        match self.unmount(false, &Watch::NOBODY) {
            Ok(_) => return,
            Err(error) => ::log::warn!("{error}"),
        }
        self.abandon();
    }

    /// Takes the mount off at once; what was not recorded is found by the next mount.
    pub fn abandon(&self) {
        if let Some(mount) = &self.mount
            && let Err(error) = mount.force()
        {
            ::log::error!("the mount can't be taken off: {error}");
        }
    }

    /// Ends recording: what is noted is recorded, a scan is stopped. What fails is found by the
    /// next mount.
    pub fn finish(&self, watch: &Watch<'_>) {
        if let Some(recorder) = &self.recorder
            && let Err(error) = recorder.finish(&|status| (watch.progress)(status.into()))
        {
            ::log::warn!("not everything could be recorded: {error}");
        }
    }

    /// A name was taken away: waits until the kernel does not keep it any more.
    pub(super) fn await_names(&self) {
        if self.recorder.is_some() {
            std::thread::sleep(limits::NAME_GONE);
        }
    }

    pub(super) fn recorder(&self) -> Result<&Arc<Recorder>, Error> {
        self.recorder.as_ref().ok_or(Error::Stopped {
            reason: "the directory is not open".into(),
        })
    }
}

/// Does `work` and tells `watch` meanwhile how far the recorder is.
fn watched<T>(recorder: &Recorder, watch: &Watch<'_>, work: impl FnOnce() -> T) -> T {
    ticking(watch, || (&recorder.status()).into(), work)
}

/// Does `work` and tells `watch` meanwhile, every half second, what `show` says.
pub(super) fn ticking<T>(
    watch: &Watch<'_>,
    show: impl Fn() -> Progress + Sync,
    work: impl FnOnce() -> T,
) -> T {
    let show = &show;
    thread::scope(|scope| {
        let (done, is_done) = mpsc::channel::<()>();
        scope.spawn(move || {
            while is_done.recv_timeout(PROGRESS_EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
                (watch.progress)(show());
            }
        });
        let value = work();
        drop(done);
        value
    })
}

impl From<&capture::Status> for Progress {
    fn from(status: &capture::Status) -> Progress {
        Progress {
            files: status.pending_files,
            bytes: status.pending_bytes,
            scan: status.scan.map(Into::into),
            steps: None,
        }
    }
}

impl From<capture::ScanProgress> for report::Scan {
    fn from(scan: capture::ScanProgress) -> report::Scan {
        report::Scan {
            first: scan.first,
            files: scan.files,
            bytes: scan.bytes,
        }
    }
}
