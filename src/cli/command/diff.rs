//! `diff`: what differs between two states, by name.

use super::super::args;
use super::super::error::Error;
use super::super::exit::Exit;
use super::super::past::{Past, Paths, State};
use super::super::quantity::size;
use super::super::quote::git;
use super::super::reach;
use crate::control::request::{Answer, DiffLine, RawPath, Request};
use crate::format::record::Kind;
use crate::limits;
use crate::restore::{self, Fault, Source};
use serde::Serialize;
use similar::TextDiff;
use std::io::{self, Write, stdout};
use std::path::Path;

/// `diff DIR A B [PATH]`.
pub fn run(args: &args::Diff) -> Result<Exit, Error> {
    let path = match &args.path {
        Some(path) => args.dir.join(path),
        None => args.dir.clone(),
    };
    let paths = Paths::find(std::slice::from_ref(&path), args.store.said().as_deref())?;
    let needs_now = [&args.a, &args.b].iter().any(|name| *name == "live");
    let past = Past::open(&paths.place, &paths.root, needs_now)?;
    // First of all: a directory that is not mounted is looked at once.
    let now = match needs_now {
        true => Some(past.record()?),
        false => None,
    };
    let open = |name: &str| match (name, now) {
        ("live", Some(now)) => past.state(&format!("@{now}")),
        (name, _) => past.state(name),
    };
    let (a, b) = (open(&args.a)?, open(&args.b)?);
    let not_for_all = || Error::OwnersOnly {
        dir: paths.root.clone(),
        a: args.a.clone(),
        b: args.b.clone(),
    };
    let (Some(from), Some(to)) = (&a.found, &b.found) else {
        return Err(not_for_all());
    };
    let under = match &args.path {
        Some(_) => paths.asked.first().map(|names| names.join(&b'/')),
        None => None,
    };
    let under = RawPath(under.unwrap_or_default());
    let mut out = io::BufWriter::new(stdout().lock());
    let mut counts = Counts::default();
    let mut skip = 0;
    let mut renamed: Option<DiffLine> = None;
    loop {
        let request = Request::Diff {
            from: from.epoch,
            to: to.epoch,
            under: under.clone(),
            skip,
        };
        let answer = past.ask(request, "diff").map_err(|error| {
            if error.is_not_allowed() {
                not_for_all()
            } else {
                error
            }
        })?;
        let Answer::Diff { lines, more } = answer else {
            return Err(reach::strange(&paths.place));
        };
        skip += lines.len() as u64;
        for line in &lines {
            counts.add(line);
            if args.unified {
                let was = renamed.as_ref().filter(|renamed| renamed.path == line.path);
                let was = was.and_then(|renamed| renamed.from.as_ref());
                let sides = (was.unwrap_or(&line.path), &line.path);
                patch(&mut out, line, sides, (&a, &b), &path)?;
                if line.change == 'R' {
                    renamed = Some(line.clone());
                }
            } else {
                show(&mut out, line, args)?;
            }
        }
        if !more {
            break;
        }
    }
    if args.stat {
        writeln!(out, "{}", counts.text())?;
    }
    out.flush()?;
    Ok(if skip == 0 { Exit::Done } else { Exit::Differs })
}

/// A line of `--json`.
#[derive(Serialize)]
struct JsonLine<'a> {
    change: char,
    path: std::borrow::Cow<'a, str>,
    from: Option<std::borrow::Cow<'a, str>>,
    old_bytes: Option<u64>,
    new_bytes: Option<u64>,
}

fn name(path: &[u8]) -> String {
    match path {
        b"" => ".".to_owned(),
        _ => git(path),
    }
}

fn show(out: &mut impl Write, line: &DiffLine, args: &args::Diff) -> Result<(), Error> {
    if args.json {
        let line = JsonLine {
            change: line.change,
            path: String::from_utf8_lossy(&line.path.0),
            from: line
                .from
                .as_ref()
                .map(|from| String::from_utf8_lossy(&from.0)),
            old_bytes: line.old_bytes,
            new_bytes: line.new_bytes,
        };
        serde_json::to_writer(&mut *out, &line).map_err(io::Error::from)?;
        writeln!(out)?;
        return Ok(());
    }
    let path = match &line.from {
        Some(from) => format!("{}\t{}", name(&from.0), name(&line.path.0)),
        None => name(&line.path.0),
    };
    let sizes = match (args.stat, line.old_bytes, line.new_bytes) {
        (true, Some(old), Some(new)) if old != new => {
            format!("\t{} -> {}", size(old), size(new))
        }
        (true, Some(one), _) | (true, None, Some(one)) => format!("\t{}", size(one)),
        _ => String::new(),
    };
    writeln!(out, "{}\t{path}{sizes}", line.change)?;
    Ok(())
}

/// How many of each letter.
#[derive(Default)]
struct Counts {
    added: u64,
    modified: u64,
    deleted: u64,
    renamed: u64,
    types: u64,
    attributes: u64,
}

impl Counts {
    fn add(&mut self, line: &DiffLine) {
        let count = match line.change {
            'A' => &mut self.added,
            'D' => &mut self.deleted,
            'R' => &mut self.renamed,
            'T' => &mut self.types,
            'm' => &mut self.attributes,
            _ => &mut self.modified,
        };
        *count += 1;
    }

    fn text(&self) -> String {
        format!(
            "{} added, {} modified, {} deleted, {} renamed, {} of another type, {} in attributes only",
            self.added, self.modified, self.deleted, self.renamed, self.types, self.attributes
        )
    }
}

/// The lines of a file that differ; of what is no text, that it does.
fn patch(
    out: &mut impl Write,
    line: &DiffLine,
    names: (&RawPath, &RawPath),
    states: (&State, &State),
    path: &Path,
) -> Result<(), Error> {
    if !matches!(line.change, 'A' | 'M' | 'D') || (line.old_bytes, line.new_bytes) == (None, None) {
        return show_plain(out, line);
    }
    let fault = |source| Error::Past {
        path: path.to_owned(),
        source,
    };
    let old = content(states.0.source.as_ref(), &names.0.0).map_err(fault)?;
    let new = content(states.1.source.as_ref(), &names.1.0).map_err(fault)?;
    let (Some(old), Some(new)) = (old, new) else {
        return show_plain(out, line);
    };
    let title = |side: &str, name: &RawPath, there: bool| match there {
        true => format!("{side}/{}", git(&name.0)),
        false => "/dev/null".to_owned(),
    };
    let (was, is) = (
        title("a", names.0, line.change != 'A'),
        title("b", names.1, line.change != 'D'),
    );
    let diff = TextDiff::from_lines(old.as_slice(), new.as_slice());
    diff.unified_diff().header(&was, &is).to_writer(out)?;
    Ok(())
}

fn show_plain(out: &mut impl Write, line: &DiffLine) -> Result<(), Error> {
    match &line.from {
        Some(from) => writeln!(
            out,
            "{}\t{}\t{}",
            line.change,
            name(&from.0),
            name(&line.path.0)
        )?,
        None => writeln!(out, "{}\t{}", line.change, name(&line.path.0))?,
    }
    Ok(())
}

/// The content of a text; empty for what is not there, `None` for what is no text or too long.
fn content(source: &dyn Source, path: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
    let names: Vec<Vec<u8>> = path
        .split(|byte| *byte == b'/')
        .map(<[u8]>::to_vec)
        .collect();
    let Some(item) = restore::walk(source, &names)? else {
        return Ok(Some(Vec::new()));
    };
    if item.facts.kind != Kind::File || item.facts.size > limits::DIFF_TEXT {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let size = u32::try_from(item.facts.size).unwrap_or(u32::MAX);
    source.open(&item)?.read(0, size, &mut bytes)?;
    Ok((!bytes.contains(&0)).then_some(bytes))
}
