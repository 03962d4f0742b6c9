//! `key`: the passwords of a place for backups.

use super::super::args::{self, KeyAction};
use super::super::elsewhere;
use super::super::error::Error;
use super::super::exit::Exit;
use serde::Serialize;
use std::io::{self, Write, stdout};

/// A line of `--json`.
#[derive(Serialize)]
struct Line<'a> {
    key: &'a str,
    given: bool,
    damaged: bool,
}

/// What was done, as JSON.
#[derive(Serialize)]
struct Done<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    added: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    removed: Option<&'a str>,
}

/// `key list|add|change|remove URL`.
pub fn run(args: &args::Key) -> Result<Exit, Error> {
    match &args.action {
        KeyAction::List(args) => list(args),
        KeyAction::Add(args) => add(args),
        KeyAction::Change(args) => change(args),
        KeyAction::Remove(args) => remove(args),
    }
}

fn list(args: &args::KeyList) -> Result<Exit, Error> {
    let repository = elsewhere::open(&args.url, &args.opening)?;
    let mut out = stdout().lock();
    let mut exit = Exit::Done;
    for slot in repository.passwords()? {
        if slot.is_damaged {
            exit = Exit::Differs;
        }
        if args.json {
            json(
                &mut out,
                &Line {
                    key: &slot.name,
                    given: slot.is_given,
                    damaged: slot.is_damaged,
                },
            )?;
            continue;
        }
        let what = match (slot.is_given, slot.is_damaged) {
            (true, _) => "  the one that was given",
            (false, true) => "  DAMAGED: no password opens it",
            (false, false) => "",
        };
        writeln!(out, "{}{what}", slot.name)?;
    }
    Ok(exit)
}

fn add(args: &args::KeyNew) -> Result<Exit, Error> {
    let repository = elsewhere::open(&args.url, &args.opening)?;
    let added = repository.add_password(&elsewhere::new_password(args)?)?;
    let mut out = stdout().lock();
    if args.json {
        let added = Some(&added[..]);
        json(
            &mut out,
            &Done {
                added,
                removed: None,
            },
        )?;
    } else {
        writeln!(out, "added: {added}; the others open it as before")?;
    }
    Ok(Exit::Done)
}

fn change(args: &args::KeyNew) -> Result<Exit, Error> {
    let repository = elsewhere::open(&args.url, &args.opening)?;
    let slots = repository.passwords()?;
    let added = repository.change_password(&elsewhere::new_password(args)?)?;
    let mut out = stdout().lock();
    if args.json {
        let removed = slots.iter().find(|slot| slot.is_given);
        let done = Done {
            added: Some(&added),
            removed: removed.map(|slot| &slot.name[..]),
        };
        json(&mut out, &done)?;
    } else {
        writeln!(
            out,
            "changed: {added}; the password that was given opens nothing there now"
        )?;
    }
    Ok(Exit::Done)
}

fn remove(args: &args::KeyRemove) -> Result<Exit, Error> {
    let repository = elsewhere::open(&args.url, &args.opening)?;
    repository.remove_password(&args.key)?;
    let mut out = stdout().lock();
    if args.json {
        let removed = Some(&args.key[..]);
        json(
            &mut out,
            &Done {
                added: None,
                removed,
            },
        )?;
    } else {
        writeln!(out, "removed: {}", args.key)?;
    }
    Ok(Exit::Done)
}

fn json(out: &mut impl Write, line: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string(line).map_err(io::Error::from)?;
    writeln!(out, "{text}")?;
    Ok(())
}
