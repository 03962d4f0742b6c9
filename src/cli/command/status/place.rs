//! `status URL`: how it stands with a place for backups, asked from any machine: what was sent last,
//! whether who sends is alive, and what was tried.

use crate::archive::{Beat, Catalog, Proof, ProofKind, Repository, SetRecord};
use crate::cli::args;
use crate::cli::elsewhere;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::quantity::{count, size};
use crate::control::kept::span;
use crate::control::when::When;
use crate::limits;
use crate::time::{TimeZone, Timestamp};
use serde::Serialize;
use std::io::{self, Write};

/// What there is to say.
#[derive(Debug, Default, Serialize)]
struct Place {
    url: String,
    encrypted: bool,
    sets: u64,
    set_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    newest: Option<Newest>,
    /// The end of the first set that is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    recoverable_from: Option<When>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recoverable_to: Option<When>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heartbeat: Option<Heartbeat>,
    /// When all of the newest set, and of what it needs, was read last.
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<When>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drill: Option<Drill>,
    problems: Vec<String>,
}

/// The newest set.
#[derive(Debug, Serialize)]
struct Newest {
    set: u64,
    host: String,
    dir: String,
    /// Of the state that it ends with.
    time: When,
    age_seconds: u64,
    made: When,
    files: u64,
    data_bytes: u64,
}

/// The last sign of life of who sends there.
#[derive(Debug, Serialize)]
struct Heartbeat {
    at: When,
    age_seconds: u64,
    /// Seconds between two.
    every: u64,
    host: String,
    /// There should have been another one.
    silent: bool,
    /// It was unmounted.
    ended: bool,
    /// The newest state that was recorded there.
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded: Option<When>,
    /// Things that a person should see to there.
    problems: u64,
}

/// The last drill.
#[derive(Debug, Serialize)]
struct Drill {
    at: When,
    host: String,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    sample_percent: Option<u8>,
    rto_ms: u64,
    problem: String,
}

/// `status URL`.
///
/// # Errors
/// The place can't be reached or opened.
pub fn run(args: &args::Status, url: &str, out: &mut impl Write) -> Result<Exit, Error> {
    let repository = elsewhere::open(url, &args.opening)?;
    let catalog = repository.catalog()?;
    let beat = repository.last_beat(&catalog)?;
    let proofs = repository.proofs()?;
    let place = look(&repository, &catalog, beat, &proofs, Timestamp::now())?;
    if args.json {
        let text = serde_json::to_string(&place).map_err(io::Error::from)?;
        writeln!(out, "{text}")?;
    } else {
        page(out, &place, &TimeZone::system())?;
    }
    Ok(match place.problems.is_empty() {
        true => Exit::Done,
        false => Exit::Differs,
    })
}

fn look(
    repository: &Repository,
    catalog: &Catalog,
    beat: Option<Beat>,
    proofs: &[Proof],
    now: Timestamp,
) -> Result<Place, Error> {
    let sets = || catalog.sets.values();
    let newest = sets().max_by_key(|set| (set.time, set.number));
    let mut place = Place {
        url: repository.place().to_owned(),
        encrypted: repository.cipher.encrypts(),
        sets: catalog.sets.len() as u64,
        set_bytes: sets().map(|set| set.set_bytes).sum(),
        recoverable_from: sets().map(|set| When(set.time)).min(),
        recoverable_to: newest.map(|set| When(set.time)),
        heartbeat: beat.map(|beat| heartbeat(beat, now)),
        drill: last_drill(proofs),
        ..Place::default()
    };
    if let Some(newest) = newest {
        let chain = repository.chain(catalog, newest.number)?;
        let numbers: Vec<u64> = chain.iter().map(|set| set.number).collect();
        place.verified = verified(proofs, &numbers);
        place.newest = Some(described(newest, now));
    }
    place.problems = problems(&place);
    Ok(place)
}

fn described(set: &SetRecord, now: Timestamp) -> Newest {
    Newest {
        set: set.number,
        host: set.host.clone(),
        dir: String::from_utf8_lossy(&set.dir).into_owned(),
        time: When(set.time),
        age_seconds: now.since(set.time).as_secs(),
        made: When(set.made),
        files: set.files,
        data_bytes: set.data_bytes,
    }
}

fn heartbeat(beat: Beat, now: Timestamp) -> Heartbeat {
    let age = now.since(beat.at).as_secs();
    Heartbeat {
        at: When(beat.at),
        age_seconds: age,
        every: beat.every,
        host: beat.host,
        silent: age > beat.every.saturating_mul(limits::BEATS_MISSED.into()),
        ended: beat.ended,
        recorded: beat.recorded.map(When),
        problems: beat.problems,
    }
}

/// When all of these sets was read: the time of the oldest of the newest proofs of each.
pub fn verified(proofs: &[Proof], sets: &[u64]) -> Option<When> {
    let of = |set: &u64| {
        let all = proofs.iter().filter(|proof| proof.is_of_all(*set));
        all.map(|proof| When(proof.at)).max()
    };
    let each: Option<Vec<When>> = sets.iter().map(of).collect();
    each?.into_iter().min()
}

fn last_drill(proofs: &[Proof]) -> Option<Drill> {
    let mut newest = proofs.iter().rev();
    newest.find_map(|proof| match proof.kind {
        ProofKind::Verified => None,
        ProofKind::Drilled { percent } => Some(Drill {
            at: When(proof.at),
            host: proof.host.clone(),
            ok: proof.is_right(),
            sample_percent: (percent < 100).then_some(percent),
            rto_ms: proof.rto_ms.unwrap_or_default(),
            problem: proof.problem.clone(),
        }),
    })
}

fn problems(place: &Place) -> Vec<String> {
    let zone = TimeZone::system();
    let mut problems = Vec::new();
    if place.newest.is_none() {
        problems.push("nothing was sent there yet: rewindfs backup DIR --to URL".to_owned());
    }
    if let Some(beat) = &place.heartbeat {
        let (host, at) = (&beat.host, beat.at.0.local(&zone));
        if beat.silent && beat.ended {
            problems.push(format!(
                "on {host} it is not mounted since {at}: nothing new comes until it is"
            ));
        } else if beat.silent {
            problems.push(format!(
                "{host} is silent since {at}, though it should be heard every {}: see whether it is \
                 alive and reaches this place",
                span(beat.every)
            ));
        } else if beat.problems > 0 {
            let things = count(beat.problems, "thing");
            problems.push(format!(
                "{host} says that {things} need a person: there, rewindfs status"
            ));
        }
    }
    if let Some(drill) = place.drill.as_ref().filter(|drill| !drill.ok) {
        problems.push(format!(
            "it did not come back as it should when {} tried it, {}: {}",
            drill.host,
            drill.at.0.local(&zone),
            drill.problem
        ));
    }
    problems
}

fn page(out: &mut impl Write, place: &Place, zone: &TimeZone) -> io::Result<()> {
    let mut row = |title: &str, text: &str| writeln!(out, "{title:<14}{text}");
    let local = |when: &When| when.0.local(zone);
    let secret = match place.encrypted {
        true => "encrypted",
        false => "NOT ENCRYPTED: whoever can read it may read all of it",
    };
    row("place", &format!("{}, {secret}", place.url))?;
    let sets = count(place.sets, "set");
    row("sets", &format!("{sets}, {}", size(place.set_bytes)))?;
    if let Some(newest) = &place.newest {
        let (files, bytes) = (count(newest.files, "file"), size(newest.data_bytes));
        let text = format!(
            "set {} of {}:{}: {files}, {bytes}",
            newest.set, newest.host, newest.dir
        );
        row("newest", &text)?;
    }
    if let (Some(from), Some(to)) = (&place.recoverable_from, &place.recoverable_to) {
        let age = place.newest.as_ref().map_or(0, |newest| newest.age_seconds);
        let text = format!("from {} to {}, {} ago", local(from), local(to), ago(age));
        row("recoverable", &text)?;
    }
    let text = match &place.heartbeat {
        None => "none: nobody keeps it up to date by himself (rewindfs replica add)".to_owned(),
        Some(beat) => {
            let (at, age) = (local(&beat.at), ago(beat.age_seconds));
            let ended = if beat.ended { ", unmounted then" } else { "" };
            format!("{}, {at}, {age} ago{ended}", beat.host)
        }
    };
    row("heartbeat", &text)?;
    let verified = place.verified.as_ref().map(local);
    let never = "not all of it yet: rewindfs backups URL --verify, or rewindfs drill URL";
    row("verified", verified.as_deref().unwrap_or(never))?;
    let text = match &place.drill {
        None => "never: rewindfs drill URL".to_owned(),
        Some(drill) => {
            let what = match (drill.ok, drill.sample_percent) {
                (false, _) => "FAILED".to_owned(),
                (true, Some(percent)) => format!("right (a sample of {percent} %)"),
                (true, None) => "right".to_owned(),
            };
            let (at, ms) = (local(&drill.at), drill.rto_ms);
            let tenths = ms % 1000 / 100;
            format!(
                "{at}, by {}: {what}, usable again after {}.{tenths} s",
                drill.host,
                ms / 1000
            )
        }
    };
    row("drill", &text)?;
    for (i, problem) in place.problems.iter().enumerate() {
        row(if i == 0 { "needs you" } else { "" }, problem)?;
    }
    Ok(())
}

/// `12 s`, `3 h`.
fn ago(seconds: u64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1_000_000_000)
    }

    fn beat(ended: bool, problems: u64) -> Beat {
        Beat {
            store: [1; 16],
            host: "old".to_owned(),
            dir: b"/d".to_vec(),
            at: at(1000),
            every: 300,
            recorded: None,
            problems,
            ended,
        }
    }

    fn said(beat: Beat, now: i64) -> String {
        let place = Place {
            newest: Some(Newest {
                set: 1,
                host: String::new(),
                dir: String::new(),
                time: When(at(0)),
                age_seconds: 0,
                made: When(at(0)),
                files: 0,
                data_bytes: 0,
            }),
            heartbeat: Some(heartbeat(beat, at(now))),
            ..Place::default()
        };
        problems(&place).join("; ")
    }

    #[test]
    fn who_is_silent_is_found_after_three_that_did_not_come() {
        assert_eq!(said(beat(false, 0), 1900), "");
        let silent = said(beat(false, 0), 1901);
        assert!(silent.contains("old is silent since"), "{silent}");
        assert!(silent.contains("every 5m"), "{silent}");
        assert_eq!(said(beat(true, 0), 1900), "");
        assert!(said(beat(true, 0), 1901).contains("not mounted since"));
        assert!(said(beat(false, 2), 1001).contains("2 things need a person"));
    }

    #[test]
    fn a_chain_is_as_old_as_the_oldest_look_at_one_of_its_sets() {
        let proof = |kind, seconds, sets: &[u64]| Proof {
            kind,
            at: at(seconds),
            host: String::new(),
            sets: sets.to_vec(),
            rto_ms: None,
            problem: String::new(),
        };
        let proofs = [
            proof(ProofKind::Verified, 1, &[1, 2]),
            proof(ProofKind::Drilled { percent: 100 }, 2, &[1]),
            proof(ProofKind::Drilled { percent: 5 }, 3, &[1, 2, 3]),
        ];
        assert_eq!(verified(&proofs, &[1]), Some(When(at(2))));
        assert_eq!(verified(&proofs, &[1, 2]), Some(When(at(1))));
        assert_eq!(verified(&proofs, &[1, 2, 3]), None);
        let last = last_drill(&proofs).map(|drill| drill.sample_percent);
        assert_eq!(last, Some(Some(5)));
    }
}
