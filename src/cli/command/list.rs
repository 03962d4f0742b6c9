//! `list`: the snapshots, or every kept state.

use super::super::args;
use super::super::error::Error;
use super::super::exit::Exit;
use super::super::progress::Meter;
use super::super::quantity::{count, size};
use super::super::reach::{self, Reach};
use super::{list_log, locate};
use crate::control::locate::Place;
use crate::control::report::{Line, LineKind, Mode, SizeLine};
use crate::control::request::{Answer, Position, Request};
use crate::time::TimeZone;
use std::io::{self, Write, stdout};

/// `list DIR [--checkpoints]`.
pub fn run(args: &args::List) -> Result<Exit, Error> {
    let place = locate(&args.dir.dir, args.dir.store.said().as_deref(), None)?;
    if args.deleted {
        return list_log::deleted(&place, args.json);
    }
    if args.size {
        return sizes(&place, args.json);
    }
    if args.log {
        return list_log::log(&place, args.json);
    }
    let mut pages = Pages::new(&place, args.checkpoints);
    let mut out = io::BufWriter::new(stdout().lock());
    let zone = TimeZone::system();
    let mut widths = None;
    while let Some(lines) = pages.next()? {
        if args.json {
            json(&mut out, &lines)?;
        } else {
            table(&mut out, &lines, &zone, &mut widths)?;
        }
    }
    out.flush()?;
    Ok(Exit::Done)
}

/// `list DIR --size`.
fn sizes(place: &Place, json: bool) -> Result<Exit, Error> {
    let answer = reach::ask(place, Request::Sizes, &Meter::new("list"))?;
    let Answer::Sizes { lines, exact } = answer else {
        return Err(reach::strange(place));
    };
    let mut out = io::BufWriter::new(stdout().lock());
    if json {
        for line in &lines {
            serde_json::to_writer(&mut out, line).map_err(io::Error::from)?;
            writeln!(out)?;
        }
    } else {
        size_table(&mut out, &lines, &TimeZone::system())?;
    }
    out.flush()?;
    if !exact {
        eprintln!("rewindfs: there is too much to count: the stored bytes are at least so many");
    }
    Ok(Exit::Done)
}

fn size_table(out: &mut impl Write, lines: &[SizeLine], zone: &TimeZone) -> io::Result<()> {
    let widest = lines.iter().map(|line| line.name.chars().count()).max();
    let width = widest.unwrap_or(0).max("NAME".len());
    for line in lines {
        writeln!(
            out,
            "{}  {:<width$}  added {:>9}, {:>10}, {:>10} in the store; deleting it frees {:>10}",
            line.time.0.local(zone),
            line.name,
            count(line.files, "file"),
            size(line.bytes),
            size(line.stored_bytes),
            size(line.frees_bytes),
        )?;
    }
    Ok(())
}

/// The list, a page at a time. A store that is open in this process stays open.
struct Pages<'a> {
    place: &'a Place,
    checkpoints: bool,
    here: Option<Reach>,
    after: Option<Position>,
    ended: bool,
}

impl<'a> Pages<'a> {
    fn new(place: &'a Place, checkpoints: bool) -> Pages<'a> {
        Pages {
            place,
            checkpoints,
            here: None,
            after: None,
            ended: false,
        }
    }

    fn next(&mut self) -> Result<Option<Vec<Line>>, Error> {
        if self.ended {
            return Ok(None);
        }
        let request = Request::List {
            checkpoints: self.checkpoints,
            after: self.after.take(),
        };
        let reach = match self.here.take() {
            Some(reach) => reach,
            None => Reach::open(self.place, &request)?,
        };
        let answer = reach.ask(self.place, request, &Meter::new("list"))?;
        if matches!(reach, Reach::Here(_)) {
            self.here = Some(reach);
        }
        let Answer::Page { lines, next } = answer else {
            return Err(reach::strange(self.place));
        };
        self.ended = next.is_none();
        self.after = next;
        Ok(Some(lines))
    }
}

fn json(out: &mut impl Write, lines: &[Line]) -> io::Result<()> {
    for line in lines {
        serde_json::to_writer(&mut *out, line)?;
        writeln!(out)?;
    }
    Ok(())
}

/// Columns are as wide as the first page needs; a longer name later moves its own line only.
fn table(
    out: &mut impl Write,
    lines: &[Line],
    zone: &TimeZone,
    width: &mut Option<usize>,
) -> io::Result<()> {
    let name = |line: &Line| {
        line.snapshot
            .as_ref()
            .map_or("-", |named| &named.name)
            .to_owned()
    };
    let width = *width.get_or_insert_with(|| {
        let widest = lines.iter().map(|line| name(line).chars().count()).max();
        widest.unwrap_or(0).max("NAME".len())
    });
    for line in lines {
        let time = line.time.0.local(zone);
        let row = format!(
            "{time}  {:<width$}  {:<12} {}",
            name(line),
            kind(line),
            notes(line, zone)
        );
        writeln!(out, "{}", row.trim_end())?;
    }
    Ok(())
}

fn kind(line: &Line) -> &'static str {
    if line.unrecorded.is_some() {
        return "not recorded";
    }
    match line.snapshot.as_ref().map(|named| named.mode) {
        None if line.kind == LineKind::Scan => "scan",
        None => "checkpoint",
        Some(Mode::Full) => "full",
        Some(Mode::Incremental) => "incremental",
        Some(Mode::Differential) => "differential",
    }
}

fn notes(line: &Line, zone: &TimeZone) -> String {
    let mut notes = Vec::new();
    if let Some(time) = &line.unrecorded {
        return match time.to {
            Some(to) => format!("until {}: {}", to.0.local(zone), time.reason),
            None => format!("until now: {}", time.reason),
        };
    }
    if let Some(named) = &line.snapshot {
        if !named.message.is_empty() {
            // A message may have lines; a table has one for each snapshot.
            notes.push(named.message.replace(char::is_control, " "));
        }
        if let Some(base) = &named.base {
            notes.push(format!("(base {base})"));
        }
        if named.held {
            notes.push("(held)".to_owned());
        }
    }
    if line.kind == LineKind::Scan {
        notes.push("(as it was found)".to_owned());
    }
    if line.files_left_out > 0 {
        notes.push(format!("({} left out)", count(line.files_left_out, "file")));
    } else if !line.complete {
        notes.push("(partial)".to_owned());
    }
    notes.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::report::{LineKind, Named, Unrecorded};
    use crate::control::when::When;
    use crate::time::Timestamp;

    fn lines() -> Vec<Line> {
        let snapshot = Named {
            name: "before-refactor".into(),
            mode: Mode::Full,
            base: None,
            message: "all\ngreen".into(),
            tags: vec![],
            held: true,
            uid: 1000,
        };
        let named = Line {
            kind: LineKind::Snapshot,
            time: When(Timestamp(1_795_169_703_123_456_789)),
            complete: true,
            quiet: true,
            files_left_out: 0,
            snapshot: Some(snapshot),
            unrecorded: None,
        };
        let checkpoint = Line {
            kind: LineKind::Checkpoint,
            complete: false,
            quiet: false,
            files_left_out: 2,
            snapshot: None,
            ..named.clone()
        };
        let unrecorded = Line {
            kind: LineKind::Unrecorded,
            files_left_out: 0,
            unrecorded: Some(Unrecorded {
                from: checkpoint.time,
                to: Some(When(Timestamp(1_795_170_703_000_000_000))),
                reason: "the disk is full".into(),
            }),
            ..checkpoint.clone()
        };
        vec![named, checkpoint, unrecorded]
    }

    #[test]
    fn json_has_one_object_a_line_with_the_documented_fields() {
        let mut out = Vec::new();
        json(&mut out, &lines()).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"kind\":\"snapshot\",\"time\":\"2026-11-20T10:15:03.123456789Z\",\"complete\":true,\
             \"quiet\":true,\"files_left_out\":0,\"name\":\"before-refactor\",\"mode\":\"full\",\
             \"message\":\"all\\ngreen\",\"tags\":[],\"held\":true,\"uid\":1000}\n\
             {\"kind\":\"checkpoint\",\"time\":\"2026-11-20T10:15:03.123456789Z\",\
             \"complete\":false,\"quiet\":false,\"files_left_out\":2}\n\
             {\"kind\":\"unrecorded\",\"time\":\"2026-11-20T10:15:03.123456789Z\",\
             \"complete\":false,\"quiet\":false,\"files_left_out\":0,\
             \"unrecorded\":{\"from\":\"2026-11-20T10:15:03.123456789Z\",\
             \"to\":\"2026-11-20T10:31:43.000000000Z\",\"reason\":\"the disk is full\"}}\n"
        );
    }

    #[test]
    fn the_table_has_one_line_for_each_state() {
        let mut out = Vec::new();
        table(&mut out, &lines(), &TimeZone::UTC, &mut None).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "2026-11-20 10:15:03 +00:00  before-refactor  full         all green (held)\n\
             2026-11-20 10:15:03 +00:00  -                checkpoint   (2 files left out)\n\
             2026-11-20 10:15:03 +00:00  -                not recorded until 2026-11-20 10:31:43 \
             +00:00: the disk is full\n"
        );
    }
}
