//! What is to be done by itself, and how it went so far.

use super::kv::{Batch, Durability};
use super::snapshot_log::SnapshotAction;
use super::{Result, Store, meta};
use crate::format::key::{self, Family};
use crate::format::schedule::{Course, Schedule};
use crate::format::value;

impl Store {
    /// All of them with their courses, by their numbers.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn schedules(&self) -> Result<Vec<(Schedule, Course)>> {
        let view = self.view();
        let all: Vec<(u64, Schedule)> = view.numbered(meta::SCHEDULE)?;
        let courses: Vec<(u64, Course)> = view.numbered(meta::COURSE)?;
        let course = |number| {
            let own = courses.iter().find(|(other, _)| *other == number);
            own.map(|(_, course)| course.clone()).unwrap_or_default()
        };
        let whole = |(number, schedule)| (schedule, course(number));
        Ok(all.into_iter().map(whole).collect())
    }

    /// Adds one; the answer is its number. `course`: what came before needs nothing more.
    ///
    /// # Errors
    /// A store that can't be written.
    pub fn add_schedule(&self, mut schedule: Schedule, course: &Course, what: &str) -> Result<u64> {
        let _committer = self.committer.lock();
        let number = self.meta(meta::NEXT_SCHEDULE)?.unwrap_or(1u64);
        schedule.number = number;
        let mut batch = Batch::default();
        let next = value::pack(&(number + 1));
        batch.put(Family::Meta, meta::NEXT_SCHEDULE, next);
        let key = key::meta(meta::SCHEDULE, number);
        batch.put(Family::Meta, key, value::pack(&schedule));
        let key = key::meta(meta::COURSE, number);
        batch.put(Family::Meta, key, value::pack(course));
        let what = what.to_owned();
        let action = SnapshotAction::ScheduleAdded { number, what };
        let changed = self.note_list_change(&mut batch, schedule.by_uid, "", action)?;
        self.write(batch, Durability::Synced)?;
        self.list_changed(changed);
        Ok(number)
    }

    /// Takes one out. False: there is none of this number.
    ///
    /// # Errors
    /// A store that can't be written.
    pub fn remove_schedule(&self, number: u64, what: &str, by_uid: u32) -> Result<bool> {
        let _committer = self.committer.lock();
        let all: Vec<(u64, Schedule)> = self.view().numbered(meta::SCHEDULE)?;
        if !all.iter().any(|(other, _)| *other == number) {
            return Ok(false);
        }
        let mut batch = Batch::default();
        batch.delete(Family::Meta, key::meta(meta::SCHEDULE, number));
        batch.delete(Family::Meta, key::meta(meta::COURSE, number));
        let what = what.to_owned();
        let action = SnapshotAction::ScheduleRemoved { number, what };
        let changed = self.note_list_change(&mut batch, by_uid, "", action)?;
        self.write(batch, Durability::Synced)?;
        self.list_changed(changed);
        Ok(true)
    }

    /// Changes the course of one, if it is still there.
    ///
    /// # Errors
    /// A store that can't be written.
    pub fn note_course(&self, number: u64, change: impl FnOnce(&mut Course)) -> Result<()> {
        let _committer = self.committer.lock();
        let key = key::meta(meta::COURSE, number);
        let Some(mut course) = self.meta::<Course>(&key)? else {
            return Ok(());
        };
        change(&mut course);
        self.put_meta(&key, &course)
    }
}
