//! The names that a doing changed, each led back to where it led before.

use super::{Move, Planner, Reason, Result, Visit, id, named};
use crate::format::record::Kind;
use crate::history::path::{self, is_below};
use crate::id::FileId;
use crate::limits;
use crate::store::Name;

impl Planner<'_, '_> {
    pub(super) fn gather(&mut self) -> Result<()> {
        for (name, span) in &self.touched.names {
            if span.first <= self.oldest {
                continue;
            }
            let old = named(self.view, name, Planner::before(span.first))?;
            let new = named(self.view, name, span.last)?;
            if id(old) == id(new) {
                continue;
            }
            let now = named(self.view, name, self.at)?;
            if let Some((id, _)) = old {
                self.origins.entry(id).or_default().push(name.clone());
            }
            let span = *span;
            let one = Move {
                span,
                old,
                new,
                now,
            };
            self.moves.insert(name.clone(), one);
        }
        Ok(())
    }

    pub(super) fn names(&mut self) -> Result<()> {
        // Parents before what is in them when something comes back, and after it when it goes.
        let (mut back, mut away) = (Vec::new(), Vec::new());
        for (name, one) in &self.moves {
            let then = self.path_then(name, Planner::before(one.span.first))?;
            let now = self.path_at(name.0, self.at)?;
            let now = now.map(|above| path::join(&above, &name.1));
            let concerns = |path: &Option<Vec<u8>>| {
                path.as_ref()
                    .is_some_and(|path| is_below(&self.wish.under, path))
            };
            if !concerns(&then) && !concerns(&now) {
                continue;
            }
            let place = (then.or(now).unwrap_or_default(), name.clone());
            match one.old {
                Some(_) => back.push(place),
                None => away.push(place),
            }
        }
        back.sort_unstable();
        away.sort_unstable_by(|a, b| b.cmp(a));
        for (_, name) in back.iter().chain(&away) {
            self.settle(name)?;
        }
        Ok(())
    }

    /// Makes a name lead where it led before. False: it does not, and why is noted.
    pub(super) fn settle(&mut self, name: &Name) -> Result<bool> {
        match self.visits.get(name) {
            Some(Visit::Done) => return Ok(true),
            Some(_) => return Ok(false),
            None => {}
        }
        self.visits.insert(name.clone(), Visit::Busy);
        self.depth += 1;
        let done = if self.depth > limits::RESTORE_DEPTH {
            self.conflict(name, None, Reason::TooDeep)?
        } else {
            self.try_settle(name)?
        };
        self.depth -= 1;
        let visit = if done { Visit::Done } else { Visit::Failed };
        self.visits.insert(name.clone(), visit);
        Ok(done)
    }

    fn try_settle(&mut self, name: &Name) -> Result<bool> {
        let one = self.moves[name];
        if id(one.now) == id(one.old) {
            self.plan.unchanged += 1;
            return Ok(true);
        }
        if id(one.now) != id(one.new) && !self.wish.force {
            return self.conflict(name, None, Reason::ChangedSince);
        }
        // Nothing is lost by bringing back what is gone.
        let comes_back = one.now.is_none() && one.old.is_some();
        if one.span.shared && !comes_back && !self.wish.force {
            return self.conflict(name, None, Reason::Shared);
        }
        if !self.has_folder(name)? {
            return self.conflict(name, None, Reason::NoFolder);
        }
        let Some(stands) = self.vacate(name, one.now)? else {
            return self.conflict(name, None, Reason::Depends);
        };
        let Some((old, kind)) = one.old else {
            return match stands {
                Some(here) => self.remove(name, here),
                None => Ok(true),
            };
        };
        if let Some(here) = stands {
            let is_dir = here.1 == Kind::Dir || kind == Kind::Dir;
            if is_dir && !self.remove(name, here)? {
                return Ok(false);
            }
            if !is_dir && !self.is_as_left(name, here.0)? {
                return self.conflict(name, Some(here.0), Reason::ChangedSince);
            }
        }
        let stands = stands.filter(|here| here.1 != Kind::Dir && kind != Kind::Dir);
        match self.place_now(old)? {
            Some(place) => self.bring(name, (old, kind), &place),
            None => self.restore(name, (old, kind), stands.map(|(id, _)| id)),
        }
    }

    /// Whether the directory of a name is there, or is by now.
    fn has_folder(&mut self, name: &Name) -> Result<bool> {
        let directory = name.0;
        if directory == FileId::ROOT || self.place_now(directory)?.is_some() {
            return Ok(true);
        }
        for origin in self.origins.get(&directory).cloned().unwrap_or_default() {
            self.settle(&origin)?;
        }
        Ok(self.restored.contains(&directory))
    }

    /// Moves away what was renamed to a name. The answer is what stands there still; the outer
    /// `None`: it can't be moved away.
    #[allow(clippy::option_option, reason = "two different nothings")]
    pub(super) fn vacate(
        &mut self,
        name: &Name,
        now: Option<(FileId, Kind)>,
    ) -> Result<Option<Option<(FileId, Kind)>>> {
        let Some((here, kind)) = now else {
            return Ok(Some(None));
        };
        if self.places.get(&here).is_some_and(|place| place != name) {
            return Ok(Some(None));
        }
        let origins = self.origins.get(&here).cloned().unwrap_or_default();
        for origin in origins.iter().filter(|origin| *origin != name) {
            if self.visits.get(origin) == Some(&Visit::Busy) {
                // They changed places: one of them steps aside.
                let aside = (name.0, self.aside_name());
                self.aside.insert(here);
                self.rename(here, kind, name, &aside)?;
                return Ok(Some(None));
            }
            if !self.settle(origin)? {
                return Ok(None);
            }
            if self.places.get(&here).is_some_and(|place| place != name) {
                return Ok(Some(None));
            }
        }
        Ok(Some(now))
    }

    fn aside_name(&mut self) -> Vec<u8> {
        self.asides += 1;
        format!(".rewindfs-undo-{}-{}", std::process::id(), self.asides).into_bytes()
    }
}
