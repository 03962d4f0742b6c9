//! Who did what: the lines of change of the recorded epochs, gathered by the process that made them.
//!
//! A *doing* is what processes of the same name, under the same ancestors and for the same user,
//! changed without a pause: `rm -rf src` is one, and so is a loop of five hundred `sed -i`. The
//! newest come first, and reading ends where the lines would take too much memory.
//!
//! A line that several processes share, and what they touched by turns, can't be divided between
//! them: it is in the doing of each, and `together` marks it as shared.

use super::Result;
use crate::format::record::{Actor, Change};
use crate::id::{ActorId, Epoch, FileId};
use crate::limits;
use crate::store::{Name, View};
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// When something was touched by a doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub first: Epoch,
    pub last: Epoch,
    /// Somebody else touched it between these epochs, or in one of them.
    pub shared: bool,
}

impl Span {
    fn widen(&mut self, other: Span) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.shared |= other.shared;
    }

    fn meets(&self, other: &Span) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// When a process began. Who was gone before somebody could look, as `rm` on a busy machine, had not
/// been there for long.
fn began(actor: &Actor) -> u64 {
    match actor.start {
        0 => u64::MAX,
        start => start,
    }
}

/// Names and files that were touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    pub names: BTreeMap<Name, Span>,
    pub files: BTreeMap<FileId, Span>,
    /// By whom, in which states; as `together` puts it together.
    pub by: Vec<(BTreeSet<ActorId>, Epoch, Epoch)>,
}

/// Of a line that says nobody: somebody who is not known.
fn some(actors: Vec<ActorId>) -> Vec<ActorId> {
    match actors.is_empty() {
        true => vec![ActorId::default()],
        false => actors,
    }
}

/// What the `chosen` of all doings touched, as one; shared is what others touched meanwhile.
pub fn together(all: &[Doing], chosen: &dyn Fn(&Doing) -> bool) -> Touched {
    let mut touched = Touched::default();
    let (mine, others): (Vec<&Doing>, Vec<&Doing>) = all.iter().partition(|doing| chosen(doing));
    for doing in mine {
        touched.add(&doing.touched);
        let by = (doing.actors.clone(), doing.first, doing.last);
        touched.by.push(by);
    }
    for doing in others {
        for (name, other) in &doing.touched.names {
            if let Some(span) = touched.names.get_mut(name) {
                span.shared |= span.meets(other);
            }
        }
        for (file, other) in &doing.touched.files {
            if let Some(span) = touched.files.get_mut(file) {
                span.shared |= span.meets(other);
            }
        }
    }
    touched
}

impl Touched {
    /// All of `other` as well.
    fn add(&mut self, other: &Touched) {
        for (name, span) in &other.names {
            self.names.entry(name.clone()).or_insert(*span).widen(*span);
        }
        for (file, span) in &other.files {
            self.files.entry(*file).or_insert(*span).widen(*span);
        }
    }

    /// Whether it was one of those whose doing this is.
    pub fn is_by(&self, actor: ActorId, epoch: Epoch) -> bool {
        let of = |(actors, first, last): &(BTreeSet<ActorId>, Epoch, Epoch)| {
            *first <= epoch && epoch <= *last && actors.contains(&actor)
        };
        self.by.iter().any(of)
    }

    fn len(&self) -> usize {
        self.names.len() + self.files.len()
    }
}

/// What one command did, as far as it was recorded.
#[derive(Clone, Debug)]
pub struct Doing {
    /// Of its processes the one that touched most; `None` if nobody knows.
    pub who: Option<Actor>,
    /// How many processes took part.
    pub processes: usize,
    pub actors: BTreeSet<ActorId>,
    /// Times of the first and of the last state that hold something of it.
    pub from: Timestamp,
    pub to: Timestamp,
    /// The epochs of these states.
    pub first: Epoch,
    pub last: Epoch,
    pub touched: Touched,
    /// It is what `split` was asked for.
    pub chosen: bool,
    /// Start and number of its youngest process.
    youngest: (u64, u32),
}

/// The doings since a time.
#[derive(Debug, Default)]
pub struct Doings {
    /// Newest first.
    pub all: Vec<Doing>,
    /// There are more, before this time: reading them was too much.
    pub cut_off: Option<Timestamp>,
}

/// What the processes of one doing have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kinship {
    Unknown,
    /// What `split` was asked for is one, however long it paused.
    Chosen,
    Run(u64),
    Of {
        boot: [u8; 16],
        uid: u32,
        /// The process below the session's leader, from which all of them descend; of what the
        /// leader started itself, the leader.
        job: u32,
        /// Names from the process itself up to there.
        chain: Vec<Vec<u8>>,
    },
}

impl Kinship {
    fn of(actor: Option<&Actor>) -> Kinship {
        let Some(actor) = actor.filter(|actor| actor.tgid != 0) else {
            return Kinship::Unknown;
        };
        if actor.run != 0 {
            return Kinship::Run(actor.run);
        }
        // The last ancestor is the session's leader.
        let below = actor.ancestors.len().saturating_sub(1);
        let line = &actor.ancestors[..below];
        let mut chain = vec![actor.comm.clone()];
        chain.extend(line.iter().map(|(_, comm)| comm.clone()));
        Kinship::Of {
            boot: actor.boot,
            uid: actor.uid,
            // What a shell at a terminal starts in a loop has only that shell in common.
            job: line
                .last()
                .or(actor.ancestors.last())
                .map_or(actor.tgid, |(pid, _)| *pid),
            chain,
        }
    }
}

/// Whether what a process changed in an epoch is looked for; `None`: nobody knows who it was.
pub type Select<'a> = dyn Fn(ActorId, Option<&Actor>, Epoch) -> bool + 'a;

/// A doing that may still grow towards the past.
struct Draft {
    doing: Doing,
    by_process: BTreeMap<ActorId, usize>,
}

struct Reader<'a, 'v> {
    view: &'a View<'v>,
    select: &'a Select<'a>,
    actors: HashMap<ActorId, (Kinship, Option<Actor>)>,
    open: HashMap<Kinship, Draft>,
    done: Vec<Draft>,
    lines: usize,
}

/// The doings of which a recorded state since `since` holds something.
///
/// # Errors
/// The store's.
pub fn since(view: &View<'_>, since: Timestamp) -> Result<Doings> {
    let newest = view.newest_epoch()?.unwrap_or_default();
    split(view, newest, since, &|_, _, _| false)
}

/// The same up to the state `until`, with all that is looked for as one doing: `chosen`.
///
/// # Errors
/// The store's.
pub fn split(
    view: &View<'_>,
    until: Epoch,
    since: Timestamp,
    select: &Select<'_>,
) -> Result<Doings> {
    let mut reader = Reader {
        view,
        select,
        actors: HashMap::new(),
        open: HashMap::new(),
        done: Vec::new(),
        lines: 0,
    };
    let mut cut_off = None;
    let mut next = view.listed_before(until.next())?;
    while let Some(epoch) = next {
        let Some(header) = view.header(epoch)? else {
            break;
        };
        if header.time < since {
            break;
        }
        if reader.lines >= limits::DOING_LINES_MAX {
            cut_off = Some(header.time);
            break;
        }
        let before = view.listed_before(epoch)?;
        reader.epoch(epoch, header.time, before.is_none())?;
        next = before;
    }
    let mut all = reader.finish();
    // In which order one state came about is not recorded: who began last first. Asked again, they
    // have the same numbers.
    let age = |doing: &Doing| {
        let number = doing.actors.last().copied();
        (doing.to, doing.from, doing.youngest, number)
    };
    all.sort_by_key(|doing| std::cmp::Reverse(age(doing)));
    Ok(Doings { all, cut_off })
}

impl Reader<'_, '_> {
    /// `is_first`: what nobody is known to have done is what was there already.
    fn epoch(&mut self, epoch: Epoch, time: Timestamp, is_first: bool) -> Result<()> {
        for (id, change) in self.view.changes(epoch)? {
            let (name, actors) = match change {
                Change::Inode { actors, .. } => (None, actors),
                Change::Dirent { name, actors } => (Some(name), actors),
            };
            let mut kin = BTreeMap::<Kinship, Vec<ActorId>>::new();
            for actor in some(actors) {
                kin.entry(self.kinship(actor, epoch, is_first)?)
                    .or_default()
                    .push(actor);
            }
            let span = Span {
                first: epoch,
                last: epoch,
                shared: false,
            };
            if is_first {
                kin.remove(&Kinship::Unknown);
            }
            for (kinship, actors) in kin {
                self.note(kinship, &actors, time, (id, name.as_deref()), span);
            }
        }
        Ok(())
    }

    /// What the oldest state holds has no state before it, so nothing of it can be looked for.
    fn kinship(&mut self, id: ActorId, epoch: Epoch, is_first: bool) -> Result<Kinship> {
        if !self.actors.contains_key(&id) {
            let actor = self.view.actor(id)?.filter(|actor| actor.tgid != 0);
            let kinship = Kinship::of(actor.as_ref());
            self.actors.insert(id, (kinship, actor));
        }
        let (kinship, actor) = &self.actors[&id];
        Ok(
            match !is_first && (self.select)(id, actor.as_ref(), epoch) {
                true => Kinship::Chosen,
                false => kinship.clone(),
            },
        )
    }

    fn note(
        &mut self,
        kinship: Kinship,
        actors: &[ActorId],
        time: Timestamp,
        what: (FileId, Option<&[u8]>),
        span: Span,
    ) {
        let whole = matches!(kinship, Kinship::Chosen | Kinship::Run(_));
        let paused = |draft: &Draft| draft.doing.from.since(time) > limits::DOING_PAUSE;
        if !whole && self.open.get(&kinship).is_some_and(paused) {
            self.done.extend(self.open.remove(&kinship));
        }
        let chosen = kinship == Kinship::Chosen;
        let draft = self.open.entry(kinship).or_insert_with(|| Draft {
            doing: Doing {
                chosen,
                first: span.first,
                last: span.last,
                who: None,
                processes: 0,
                actors: BTreeSet::new(),
                from: time,
                to: time,
                touched: Touched::default(),
                youngest: (0, 0),
            },
            by_process: BTreeMap::new(),
        });
        draft.doing.from = time;
        draft.doing.first = span.first;
        let before = draft.doing.touched.len();
        match what {
            (id, None) => {
                let files = &mut draft.doing.touched.files;
                files.entry(id).or_insert(span).widen(span);
            }
            (directory, Some(name)) => {
                let names = &mut draft.doing.touched.names;
                let name = (directory, name.to_vec());
                names.entry(name).or_insert(span).widen(span);
            }
        }
        self.lines += draft.doing.touched.len() - before;
        for actor in actors {
            *draft.by_process.entry(*actor).or_default() += 1;
        }
    }

    fn finish(mut self) -> Vec<Doing> {
        let drafts = self.done.into_iter().chain(self.open.into_values());
        drafts
            .map(
                |Draft {
                     mut doing,
                     by_process,
                 }| {
                    let most = by_process.iter().max_by_key(|(_, lines)| **lines);
                    doing.who = most.and_then(|(id, _)| self.actors.get_mut(id)?.1.clone());
                    doing.who = doing.who.filter(|actor| actor.tgid != 0);
                    let processes = by_process.keys().filter_map(|id| self.actors.get(id));
                    let processes: Vec<(u64, u32)> = processes
                        .filter_map(|(_, actor)| actor.as_ref())
                        .map(|actor| (began(actor), actor.tgid))
                        .collect();
                    let pids: BTreeSet<u32> = processes.iter().map(|(_, pid)| *pid).collect();
                    doing.processes = pids.len();
                    doing.youngest = processes.into_iter().max().unwrap_or_default();
                    doing.actors = by_process.into_keys().collect();
                    doing
                },
            )
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::diff::Letter;
    use crate::history::net;
    use crate::history::past::{Past, at, directory};

    /// `comm` under a shell in the session of `login`.
    fn process(tgid: u32, comm: &str) -> Actor {
        let name = |text: &str| text.as_bytes().to_vec();
        Actor {
            tgid,
            start: 1,
            boot: [1; 16],
            uid: 1000,
            comm: name(comm),
            command: Vec::new(),
            run: 0,
            ancestors: vec![(50, name("claude")), (40, name("login"))],
        }
    }

    /// 10:00 a tree; 10:01 `rm` takes src away while `vi` writes notes; 10:02 `rm` again.
    fn past() -> Past {
        let mut past = Past::new();
        past.epoch("2026-11-20T10:00", |draft| {
            draft.root(directory());
            draft.put(2, 1, "src", directory());
            draft.bytes(3, 2, "a.rs", b"a");
            draft.bytes(4, 2, "b.rs", b"b");
            draft.bytes(5, 1, "notes", b"old");
            draft.bytes(6, 1, "odd", b"odd");
            draft.done_by(&[(1, process(100, "git"))]);
        });
        past.epoch("2026-11-20T10:01", |draft| {
            draft.gone(3, 2, "a.rs");
            draft.gone(4, 2, "b.rs");
            draft.done_by(&[(2, process(101, "rm"))]);
        });
        past.epoch("2026-11-20T10:01:03", |draft| {
            draft.gone(2, 1, "src");
            draft.done_by(&[(3, process(102, "rm"))]);
        });
        past.epoch("2026-11-20T10:01:04", |draft| {
            draft.bytes(5, 1, "notes", b"new");
            draft.done_by(&[(4, process(103, "vi")), (0, process(0, ""))]);
        });
        past.epoch("2026-11-20T10:02", |draft| {
            draft.gone(6, 1, "odd");
            draft.done_by(&[(5, process(101, "rm"))]);
        });
        past
    }

    fn told(doings: &Doings) -> Vec<(String, usize, Timestamp, Timestamp)> {
        let tell = |doing: &Doing| {
            let who = doing.who.as_ref();
            let comm = who.map_or(b"?".as_slice(), |who| &who.comm);
            let comm = String::from_utf8_lossy(comm).into_owned();
            (comm, doing.processes, doing.from, doing.to)
        };
        doings.all.iter().map(tell).collect()
    }

    #[test]
    fn doings_are_gathered_by_command_and_end_with_a_pause() {
        let past = past();
        let doings = since(&past.store.view(), Timestamp(0)).expect("readable");
        let expected = [
            ("rm", 1, "2026-11-20T10:02", "2026-11-20T10:02"),
            ("vi", 1, "2026-11-20T10:01:04", "2026-11-20T10:01:04"),
            ("?", 0, "2026-11-20T10:01:04", "2026-11-20T10:01:04"),
            ("rm", 2, "2026-11-20T10:01", "2026-11-20T10:01:03"),
            ("git", 1, "2026-11-20T10:00", "2026-11-20T10:00"),
        ];
        let expected = expected
            .map(|(who, processes, from, to)| (who.to_owned(), processes, at(from), at(to)));
        assert_eq!(told(&doings), expected);
        assert!(doings.cut_off.is_none());
        let later = since(&past.store.view(), at("2026-11-20T10:01:30")).expect("readable");
        assert_eq!(told(&later), expected[..1]);
    }

    #[test]
    fn the_net_effect_names_paths_and_what_was_shared() {
        let past = past();
        let view = past.store.view();
        let doings = since(&view, Timestamp(0)).expect("readable").all;
        let nets = |who: &str, processes: usize| {
            let doing = doings.iter().find(|doing| {
                doing.processes == processes
                    && doing
                        .who
                        .as_ref()
                        .is_some_and(|known| known.comm == who.as_bytes())
            });
            let wanted = doing.expect("a doing").actors.clone();
            let touched = together(&doings, &|doing| doing.actors == wanted);
            let nets = net::of(&view, &touched).expect("readable");
            let told = nets.into_iter().map(|net| {
                let path = String::from_utf8_lossy(&net.path).into_owned();
                (net.letter.sign(), path, net.span.shared)
            });
            told.collect::<Vec<_>>()
        };
        let gone = |path: &str| ('D', path.to_owned(), false);
        assert_eq!(
            nets("rm", 2),
            [gone("src"), gone("src/a.rs"), gone("src/b.rs")]
        );
        assert_eq!(nets("rm", 1), [gone("odd")]);
        assert_eq!(nets("vi", 1), [('M', "notes".to_owned(), true)]);
    }

    #[test]
    fn of_one_state_who_began_last_comes_first() {
        let began = |comm: &str, tgid: u32, start: u64| Actor {
            start,
            ..process(tgid, comm)
        };
        // The numbers of those who act are not in the order in which they began.
        let all = [
            (7, began("vi", 103, 3)),
            (1, began("mv", 80, 0)),
            (3, began("rm", 90, 5)),
            (5, began("make", 101, 4)),
            (4, began("sh", 102, 4)),
        ];
        let mut past = Past::new();
        past.epoch("2026-11-20T10:00", |draft| {
            draft.root(directory());
            draft.bytes(3, 1, "notes", b"old");
        });
        past.epoch("2026-11-20T10:01", |draft| {
            draft.bytes(3, 1, "notes", b"new");
            draft.done_by(&all);
        });
        let doings = since(&past.store.view(), Timestamp(0)).expect("readable");
        let names: Vec<String> = told(&doings).into_iter().map(|one| one.0).collect();
        assert_eq!(names, ["mv", "rm", "sh", "make", "vi"]);
    }

    #[test]
    fn a_loop_at_a_terminal_is_one_doing_and_so_is_a_run() {
        let at_terminal = |tgid: u32, comm: &str, run: u64| Actor {
            ancestors: vec![(40, b"bash".to_vec())],
            run,
            ..process(tgid, comm)
        };
        let mut past = Past::new();
        past.epoch("2026-11-20T10:00", |draft| {
            draft.root(directory());
            for id in 3..7 {
                draft.bytes(id, 1, &format!("f{id}"), b"old");
            }
        });
        let who = [(3, "sed", 0), (4, "sed", 0), (5, "rm", 9), (6, "make", 9)];
        for (id, comm, run) in who {
            past.epoch(&format!("2026-11-20T10:0{id}:00"), |draft| {
                draft.bytes(id, 1, &format!("f{id}"), b"new");
                draft.done_by(&[(id, at_terminal(100 + id as u32, comm, run))]);
            });
        }
        let doings = since(&past.store.view(), Timestamp(0)).expect("readable");
        let found = told(&doings);
        // Minutes lie between the two: the loop ended, the run did not.
        let kinds: Vec<(&str, usize)> = found.iter().map(|one| (one.0.as_str(), one.1)).collect();
        assert_eq!(kinds.len(), 3, "{found:?}");
        assert_eq!(kinds[0].1, 2, "{found:?}");
        past.epoch("2026-11-20T10:07:00", |draft| {
            draft.bytes(3, 1, "f3", b"newer");
            draft.done_by(&[(7, at_terminal(200, "sed", 0))]);
        });
        past.epoch("2026-11-20T10:07:01", |draft| {
            draft.bytes(4, 1, "f4", b"newer");
            draft.done_by(&[(8, at_terminal(201, "sed", 0))]);
        });
        let doings = since(&past.store.view(), at("2026-11-20T10:07")).expect("readable");
        assert_eq!(told(&doings)[0].1, 2);
        assert_eq!(doings.all.len(), 1);
    }

    #[test]
    fn what_two_touched_by_turns_is_shared() {
        let mut past = Past::new();
        past.epoch("2026-11-20T10:00", |draft| {
            draft.root(directory());
            draft.bytes(3, 1, "mine", b"0");
            draft.bytes(4, 1, "both", b"0");
        });
        let turns = [
            ("both", 4, 1, "vi"),
            ("both", 4, 2, "ed"),
            ("both", 4, 1, "vi"),
        ];
        for (second, (name, id, actor, comm)) in turns.into_iter().enumerate() {
            let time = format!("2026-11-20T10:01:0{second}");
            past.epoch(&time, |draft| {
                draft.bytes(id, 1, name, time.as_bytes());
                draft.done_by(&[(actor, process(100 + actor as u32, comm))]);
            });
        }
        past.epoch("2026-11-20T10:01:05", |draft| {
            draft.bytes(3, 1, "mine", b"1");
            draft.done_by(&[(1, process(101, "vi"))]);
        });
        let doings = since(&past.store.view(), at("2026-11-20T10:01")).expect("readable");
        let shared = |chosen: &dyn Fn(&Doing) -> bool| -> Vec<(u64, bool)> {
            let files = together(&doings.all, chosen).files;
            files
                .iter()
                .map(|(file, span)| (file.0, span.shared))
                .collect()
        };
        let is = |doing: &Doing, comm: &str| {
            doing
                .who
                .as_ref()
                .is_some_and(|who| who.comm == comm.as_bytes())
        };
        assert_eq!(shared(&|doing| is(doing, "vi")), [(3, false), (4, true)]);
        assert_eq!(shared(&|doing| is(doing, "ed")), [(4, true)]);
        assert_eq!(shared(&|_| true), [(3, false), (4, false)]);
    }

    #[test]
    fn renames_are_told_and_what_came_to_nothing_is_not() {
        let mut past = Past::new();
        past.epoch("2026-11-20T10:00", |draft| {
            draft.root(directory());
            draft.put(2, 1, "src", directory());
            draft.bytes(3, 2, "a.rs", b"a");
        });
        let me = [(1, process(100, "sh"))];
        past.epoch("2026-11-20T10:01", |draft| {
            draft.bytes(4, 1, "temporary", b"t");
            draft.unname(1, "src");
            draft.put(2, 1, "lib", directory());
            draft.done_by(&me);
        });
        past.epoch("2026-11-20T10:01:05", |draft| {
            draft.gone(4, 1, "temporary");
            // As editors save: another file under the old name.
            draft.bytes(5, 2, "a.rs", b"better");
            draft.bytes(6, 2, "new.rs", b"n");
            draft.done_by(&me);
        });
        let view = past.store.view();
        let doings = since(&view, Timestamp(0)).expect("readable").all;
        let nets = net::of(&view, &doings[0].touched).expect("readable");
        let told: Vec<_> = nets
            .iter()
            .map(|net| {
                let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
                (net.letter, text(&net.path), net.from.as_deref().map(text))
            })
            .collect();
        let expected = [
            (Letter::Renamed, "lib", Some("src")),
            (Letter::Modified, "lib/a.rs", None),
            (Letter::Added, "lib/new.rs", None),
        ];
        let expected =
            expected.map(|(letter, path, from)| (letter, path.to_owned(), from.map(str::to_owned)));
        assert_eq!(told, expected);
    }
}
