//! Who may ask a daemon for what.
//!
//! 1. Who somebody is, the kernel says (SO_PEERCRED, SO_PEERGROUPS), never he himself.
//! 2. What destroys history at once, or ends it, is for who mounted and for root. So under a mount
//!    by root, whatever runs as the owner of the directory can't.
//! 3. Names of files go to those alone who may see all of the directory: root, who mounted, and its
//!    owner. Others browse `.snapshots`, where the kernel asks whether they may.

use super::kept::Deed;
use super::report::{Drills, Missing, ScheduleLine};
use super::request::{Answer, Request};
use crate::backing::Peer;
use crate::capture::alarm_words_for_all;
use crate::time::{TimeZone, Timestamp};

/// What somebody is to a directory; the later ones may more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    Anybody,
    /// Of the group that may change the list of snapshots (`-o snapshot_group`).
    Member,
    /// The owner of the root of the directory.
    Owner,
    /// Root, and the user who mounted.
    Master,
}

impl Who {
    /// What `peer` is to a directory that belongs to `owner`, asked by the process that serves it.
    pub fn of(peer: &Peer, owner: u32, group: Option<u32>) -> Who {
        if peer.uid == 0 || peer.uid == rustix::process::geteuid().as_raw() {
            Who::Master
        } else if peer.uid == owner {
            Who::Owner
        } else if group.is_some_and(|group| peer.is_in(group)) {
            Who::Member
        } else {
            Who::Anybody
        }
    }

    /// Whether he may ask for this.
    pub fn may(self, request: &Request) -> bool {
        self >= least(request)
    }

    /// Takes out of an answer what is not for him: names of files, and of processes.
    pub fn censor(self, answer: &mut Answer) {
        if self >= Who::Owner {
            return;
        }
        match answer {
            Answer::Status(status) => {
                let left_out = &mut status.left_out;
                left_out.unreadable.clear();
                left_out.shadowed.clear();
                // Patterns are names, too.
                left_out.excluded.clear();
                status.hints.clear();
                status.missing.iter_mut().for_each(Missing::censor);
                for alarm in &mut status.alarms {
                    alarm.folder.clear();
                    alarm.name.clear();
                    let text = alarm_words_for_all(&alarm.text);
                    for problem in &mut status.problems {
                        *problem = problem.replace(&alarm.text, &text);
                    }
                    alarm.text = text;
                }
                for copy in &mut status.copies {
                    untold(&mut copy.url, &mut copy.drills, &mut status.problems);
                }
                if let Some(filling) = &mut status.filling {
                    let told = super::filling::problems(filling, true);
                    status.problems.retain(|problem| !told.contains(problem));
                    filling.places.clear();
                    filling.lost.clear();
                    filling.fault = None;
                    if filling.trouble.is_some() {
                        filling.trouble = Some(UNTOLD.to_owned());
                    }
                    if !told.is_empty() {
                        let text = format!("a recovery can't go on: {UNTOLD}");
                        status.problems.push(text);
                    }
                }
                for replica in &mut status.replicas {
                    let told = super::replicas::problem(replica);
                    untold(&mut replica.url, &mut replica.drills, &mut status.problems);
                    replica.trouble = replica.trouble.take().map(|_| UNTOLD.to_owned());
                    let text = super::replicas::problem(replica);
                    replace(&mut status.problems, told, text);
                }
                for line in &mut status.schedules {
                    let told = |line: &ScheduleLine, problems: &[String]| {
                        let start = super::schedules::title(line);
                        problems.iter().position(|one| one.starts_with(&start))
                    };
                    let at = told(line, &status.problems);
                    line.url = None;
                    line.text.clear();
                    line.trouble = line.trouble.take().map(|_| UNTOLD.to_owned());
                    let (now, zone) = (Timestamp::now(), TimeZone::system());
                    if let Some(at) = at
                        && let Some(text) = super::schedules::problem(line, now, &zone)
                    {
                        status.problems[at] = text;
                    }
                }
            }
            Answer::Snapshot(made) => {
                for path in made.changed_by_themselves.iter_mut().flatten() {
                    "a file".clone_into(path);
                }
            }
            Answer::LogPage { lines, .. } => {
                for line in lines {
                    if line.deed == Deed::Alarm {
                        line.reason = line.reason.as_deref().map(alarm_words_for_all);
                    }
                    if matches!(line.deed, Deed::ReplicaSet | Deed::ReplicaRemoved) {
                        line.name.clear();
                    }
                    if matches!(
                        line.deed,
                        Deed::ScheduleAdded | Deed::ScheduleRemoved | Deed::HookSet
                    ) {
                        line.reason = None;
                    }
                    line.folder = None;
                    line.left_out = None;
                    line.first = None;
                }
            }
            _ => {}
        }
    }
}

/// Takes out where a copy is, also of what is said of its drills.
fn untold(url: &mut String, drills: &mut Drills, problems: &mut [String]) {
    let told = super::drills::problem(url, drills);
    url.clear();
    if let Some(last) = &mut drills.last {
        last.problem.clear();
    }
    replace(problems, told, super::drills::problem(url, drills));
}

fn replace(problems: &mut [String], told: Option<String>, text: Option<String>) {
    let Some(told) = told else { return };
    for problem in problems.iter_mut().filter(|one| **one == told) {
        *problem = text.clone().unwrap_or_default();
    }
}

/// In place of a reason that may name places.
const UNTOLD: &str = "see who mounted it";

/// Who may at least be that asks for this.
fn least(request: &Request) -> Who {
    match request {
        Request::List { .. }
        | Request::Deleted { .. }
        | Request::State { .. }
        | Request::Status => Who::Anybody,
        Request::Snapshot { .. }
        | Request::Delete { now: false, .. }
        | Request::Undelete { .. }
        | Request::Rename { .. }
        | Request::Hold { .. }
        | Request::Release { .. }
        | Request::Log { .. } => Who::Member,
        Request::Sync
        | Request::Diff { .. }
        | Request::Doings { .. }
        | Request::Versions { .. }
        | Request::Undoable { .. }
        | Request::Undo { .. }
        | Request::BeginRun { .. }
        | Request::EndRun { .. }
        | Request::Events { .. }
        | Request::Find { .. }
        | Request::Rules { .. }
        | Request::Drills
        | Request::Sizes
        | Request::Hooks
        | Request::SetHook { .. }
        | Request::RemoveHook { .. }
        | Request::Verify { repair: false, .. }
        | Request::Policy {
            set: None,
            leave_out: None,
            ..
        }
        | Request::Prune { terms: None } => Who::Owner,
        Request::Delete { now: true, .. }
        | Request::Export { .. }
        | Request::Fill
        | Request::SetReplica { .. }
        | Request::RemoveReplica { .. }
        | Request::Replicas
        | Request::News { .. }
        | Request::ReplicaTold { .. }
        | Request::DrillEnded { .. }
        | Request::SetDrills { .. }
        | Request::AddSchedule { .. }
        | Request::RemoveSchedule { .. }
        | Request::Schedules
        | Request::ScheduleTold { .. }
        | Request::HookEnded { .. }
        | Request::Policy { .. }
        | Request::SetAlarm { .. }
        | Request::SetFirst { .. }
        | Request::Prune { terms: Some(_) }
        | Request::Purge { .. }
        | Request::Verify { repair: true, .. }
        | Request::Unmount { .. } => Who::Master,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::report::Mode;
    use crate::control::request::Made;
    use crate::control::when::When;

    fn peer(uid: u32, groups: &[u32]) -> Peer {
        Peer {
            uid,
            gid: uid,
            groups: groups.to_vec(),
        }
    }

    #[test]
    fn who_somebody_is_goes_by_what_the_kernel_says() {
        let own = rustix::process::geteuid().as_raw();
        let who = |uid, groups: &[u32]| Who::of(&peer(uid, groups), 4_000_001, Some(4_000_002));
        assert_eq!(who(0, &[]), Who::Master);
        assert_eq!(who(own, &[]), Who::Master);
        assert_eq!(who(4_000_001, &[]), Who::Owner);
        assert_eq!(who(4_000_003, &[4_000_002]), Who::Member);
        assert_eq!(who(4_000_002, &[]), Who::Member);
        assert_eq!(who(4_000_003, &[4_000_001]), Who::Anybody);
        let without = Who::of(&peer(4_000_003, &[4_000_002]), 4_000_001, None);
        assert_eq!(without, Who::Anybody);
    }

    #[test]
    fn names_of_files_that_changed_by_themselves_are_for_the_owner() {
        let told = |who: Who| {
            let mut answer = Answer::Snapshot(Made {
                name: "x".to_owned(),
                time: When(Timestamp(0)),
                mode: Mode::Full,
                base: None,
                files_left_out: 0,
                changed_by_themselves: Some(vec!["salaries".to_owned()]),
                before: None,
                late: None,
            });
            who.censor(&mut answer);
            match answer {
                Answer::Snapshot(made) => made.changed_by_themselves.unwrap_or_default(),
                _ => Vec::new(),
            }
        };
        assert_eq!(told(Who::Owner), ["salaries"]);
        assert_eq!(told(Who::Member), ["a file"]);
    }

    #[test]
    fn what_destroys_at_once_is_for_who_mounted() {
        let name = || "x".to_owned();
        let delete = |now| Request::Delete { name: name(), now };
        let unmount = Request::Unmount { force: false };
        let purge = Request::Purge {
            paths: Vec::new(),
            hash: None,
            reason: String::new(),
            token: None,
        };
        let verify = |repair| Request::Verify { percent: 0, repair };
        for request in [delete(true), unmount, purge, verify(true)] {
            assert!(Who::Master.may(&request) && !Who::Owner.may(&request));
        }
        assert!(Who::Member.may(&delete(false)) && !Who::Anybody.may(&delete(false)));
        for request in [Request::Sync, Request::Sizes, verify(false)] {
            assert!(Who::Owner.may(&request) && !Who::Member.may(&request));
        }
        assert!(Who::Anybody.may(&Request::Status));
    }
}
