//! Doing what is done by itself: by the process that attends to it, or by hand.

use super::args;
use super::elsewhere;
use super::error::Error;
use crate::archive::{Backup, Confirm, Feed, Kind, Made, Plan, Rate, Repository};
use crate::control::report::LineKind;
use crate::control::request::{Answer, Position, Request};
use crate::format::replica::PasswordSource;
use crate::format::schedule::BackupKind;
use crate::time::{TimeZone, Timestamp};

/// Tries for a name that others have.
const NAME_TRIES: u64 = 1000;

/// Where something is sent, and how.
pub struct Delivery<'a> {
    pub url: &'a str,
    pub password: &'a PasswordSource,
    pub plan: Plan,
    /// How fast it may be, from its opening on.
    pub rate: Option<Rate>,
    pub progress: &'a (dyn Fn(crate::archive::Traffic) + Sync),
    pub cancelled: &'a (dyn Fn() -> bool + Sync),
}

impl Delivery<'_> {
    /// Sends what a store has and the place has not. The place that was opened before is used again.
    ///
    /// # Errors
    /// It can't be opened, reached or written.
    pub fn run(
        self,
        feed: &mut dyn Feed,
        opened: &mut Option<Repository>,
    ) -> Result<(u64, Made), Error> {
        let facts = feed.facts()?;
        let repository = match opened.take() {
            Some(repository) => repository,
            None => {
                let opening = args::Opening::of(self.password);
                let opened = elsewhere::open_or_create(self.url, &opening, &facts.sent, false)?;
                if let Some(rate) = self.rate {
                    opened.objects.limit(rate);
                }
                opened
            }
        };
        let repository = opened.insert(repository);
        let backup = Backup {
            repository,
            plan: self.plan,
            progress: self.progress,
            cancelled: self.cancelled,
        };
        let to = facts.to.0;
        Ok((to, backup.run(feed, facts)?))
    }
}

/// What is sent. In a hurry only what is new: a full set takes longer.
pub fn plan(kind: BackupKind, hasty: bool) -> Plan {
    let kind = match kind {
        _ if hasty => Kind::Incremental,
        BackupKind::Full => Kind::Full,
        BackupKind::Incremental => Kind::Incremental,
        BackupKind::Differential => Kind::Differential,
        BackupKind::Mixed { full_every } => Kind::Mixed { full_every },
    };
    Plan {
        kind,
        confirm: Confirm::Checksum,
        compare: false,
    }
}

/// Makes a snapshot, and deletes the older ones of the same origin but so many. The answer is its name,
/// and its epoch.
///
/// # Errors
/// It can't be made.
pub fn snapshot(
    number: u64,
    pattern: &str,
    keep: Option<u64>,
    ask: &dyn Fn(Request) -> Result<Answer, Error>,
) -> Result<(String, u64), Error> {
    let bad = || Error::Usage(format!("{pattern:?} makes no name"));
    let wanted = Timestamp::now().formatted(pattern, &TimeZone::system());
    let wanted = wanted.ok_or_else(bad)?;
    let message = message(number);
    let mut lines = own(&message, ask)?;
    let is_taken = |name: &str| -> Result<bool, Error> {
        let request = Request::State {
            name: name.to_owned(),
        };
        // A name that nothing has is refused.
        Ok(ask(request).is_ok())
    };
    let mut name = wanted.clone();
    for n in 2..NAME_TRIES {
        if !is_taken(&name)? {
            break;
        }
        name = format!("{wanted}-{n}");
    }
    let request = Request::Snapshot {
        name: name.clone(),
        message,
        mode: crate::control::report::Mode::Incremental,
    };
    ask(request)?;
    let request = Request::State { name: name.clone() };
    let epoch = match ask(request)? {
        Answer::State(state) => state.epoch,
        _ => 0,
    };
    if let Some(keep) = keep {
        let stay = usize::try_from(keep)
            .unwrap_or(usize::MAX)
            .saturating_sub(1);
        let surplus = lines.len().saturating_sub(stay);
        for name in lines.drain(..surplus) {
            let now = false;
            ask(Request::Delete { name, now })?;
        }
    }
    Ok((name, epoch))
}

/// How those that are made so are known.
fn message(number: u64) -> String {
    format!("made by schedule {number}")
}

/// The snapshots with this message, oldest first; not those that somebody holds.
fn own(
    message: &str,
    ask: &dyn Fn(Request) -> Result<Answer, Error>,
) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    let mut after: Option<Position> = None;
    loop {
        let request = Request::List {
            checkpoints: false,
            after,
        };
        let Answer::Page { lines, next } = ask(request)? else {
            return Ok(names);
        };
        let snapshots = lines
            .into_iter()
            .filter(|line| line.kind == LineKind::Snapshot);
        let named = snapshots.filter_map(|line| line.snapshot);
        let own = named.filter(|named| named.message == message && !named.held);
        names.extend(own.map(|named| named.name));
        match next {
            Some(next) => after = Some(next),
            None => return Ok(names),
        }
    }
}
