//! `policy` and `prune`: for how long checkpoints are kept, and letting go of the others.

use super::super::args;
use super::super::error::Error;
use super::super::exit::Exit;
use super::super::interrupt::Interrupt;
use super::super::progress::Meter;
use super::super::quantity::{BadQuantity, count, parse_size, parse_span, size};
use super::super::quote::quote;
use super::super::reach;
use super::locate;
use crate::control::kept::{LeavesOut, LeftOutRule, Planned, PolicyReport, Spans, span};
use crate::control::locate::Place;
use crate::control::request::{Answer, Request};
use crate::format::keeping::Policy;
use crate::pattern::check;
use crate::time::TimeZone;
use std::io::{self, Write, stdout};

/// Folders that are named of each rule on a terminal.
const FOLDERS_SHOWN: usize = 5;

/// `policy DIR [--keep-all SPAN ...]`.
pub fn policy(args: &args::Policy) -> Result<Exit, Error> {
    let wishes = Wishes::read(args)?;
    let place = locate(&args.dir.dir, args.dir.store.said().as_deref(), None)?;
    let mut report = ask_policy(&place, None, None, "")?;
    let leaving = Leaving::read(args, &report)?;
    let patterns = first_patterns(args, &report)?;
    if !args.reason.is_empty() && !wishes.any() && leaving.is_none() {
        let text = "--reason says why the policy is changed: give what it is to be, too, for \
                    example --keep-all 24h";
        return Err(Error::Usage(text.to_owned()));
    }
    if let Some(patterns) = patterns {
        let request = Request::SetFirst { patterns };
        if reach::ask(&place, request, &Meter::new("policy"))? != Answer::Done {
            return Err(reach::strange(&place));
        }
        report = ask_policy(&place, None, None, "")?;
    }
    if let Some(files) = wishes.alarm {
        let request = Request::SetAlarm { files };
        if reach::ask(&place, request, &Meter::new("policy"))? != Answer::Done {
            return Err(reach::strange(&place));
        }
        report = ask_policy(&place, None, None, "")?;
    }
    if wishes.any() || leaving.is_some() {
        let wanted = wishes.any().then(|| wishes.over(report.policy));
        report = ask_policy(&place, wanted, leaving, &args.reason)?;
    }
    let mut out = stdout().lock();
    if args.json {
        return print_json(&mut out, &report);
    }
    show_policy(&mut out, &report, wishes.any(), &place)?;
    Ok(Exit::Done)
}

/// What is to be there first; `None`: nothing else than before was said about it.
fn first_patterns(
    args: &args::Policy,
    report: &PolicyReport,
) -> Result<Option<Vec<String>>, Error> {
    let mut wanted = report.first.clone();
    for pattern in &args.no_first {
        if !wanted.contains(pattern) {
            return Err(Error::Usage(format!(
                "nothing comes first by the pattern {pattern:?}; the patterns: {}",
                first(&wanted)
            )));
        }
        wanted.retain(|known| known != pattern);
    }
    for pattern in &args.first {
        check(pattern).map_err(|error| Error::Usage(error.to_string()))?;
        if !wanted.contains(pattern) {
            wanted.push(pattern.clone());
        }
    }
    Ok((wanted != report.first).then_some(wanted))
}

/// What is to be there first, in one line.
pub fn first(patterns: &[String]) -> String {
    match patterns.is_empty() {
        true => "nothing".to_owned(),
        false => patterns.join(", "),
    }
}

fn ask_policy(
    place: &Place,
    set: Option<Policy>,
    leave_out: Option<LeavesOut>,
    reason: &str,
) -> Result<PolicyReport, Error> {
    let request = Request::Policy {
        set,
        leave_out,
        reason: reason.to_owned(),
    };
    let answer = reach::ask(place, request, &Meter::new("policy"))?;
    match answer {
        Answer::Policy(report) => Ok(*report),
        _ => Err(reach::strange(place)),
    }
}

/// What was typed: what is not said stays as it is.
struct Wishes {
    spans: [Option<u64>; 4],
    max: Option<Option<u64>>,
    /// 0: never.
    alarm: Option<u64>,
}

impl Wishes {
    fn read(args: &args::Policy) -> Result<Wishes, Error> {
        let usage = |error: BadQuantity| Error::Usage(error.to_string());
        let read = |text: &Option<String>| {
            let span = text.as_deref().map(parse_span);
            span.transpose().map_err(usage)
        };
        let max = match args.max_size.as_deref() {
            None => None,
            Some("none") => Some(None),
            Some(text) => Some(Some(parse_size(text).map_err(usage)?)),
        };
        Ok(Wishes {
            spans: [
                read(&args.keep_all)?,
                read(&args.keep_hourly)?,
                read(&args.keep_daily)?,
                read(&args.keep_weekly)?,
            ],
            max,
            alarm: args.alarm.as_deref().map(alarm).transpose()?,
        })
    }

    fn any(&self) -> bool {
        self.max.is_some() || self.spans.iter().any(Option::is_some)
    }

    fn over(&self, now: Spans) -> Policy {
        let [all, hourly, daily, weekly] = self.spans;
        Policy {
            all_seconds: all.unwrap_or(now.keep_all),
            hourly_seconds: hourly.unwrap_or(now.keep_hourly),
            daily_seconds: daily.unwrap_or(now.keep_daily),
            weekly_seconds: weekly.unwrap_or(now.keep_weekly),
            max_bytes: self.max.unwrap_or(now.max_bytes),
        }
    }
}

/// A number of files, or `off`, which is 0.
fn alarm(text: &str) -> Result<u64, Error> {
    let usage =
        || format!("--alarm: '{text}' is not a number of files, nor off; write for example 1000");
    match text {
        "off" => Ok(0),
        _ => match text.parse() {
            Ok(files) if files > 0 => Ok(files),
            _ => Err(Error::Usage(usage())),
        },
    }
}

/// What was typed about what is left out.
struct Leaving;

impl Leaving {
    /// What is to be left out; `None`: nothing was said about it.
    fn read(args: &args::Policy, report: &PolicyReport) -> Result<Option<LeavesOut>, Error> {
        let mut wanted = LeavesOut::default();
        for rule in &report.left_out {
            wanted.patterns.extend(rule.pattern.clone());
            wanted.caches |= rule.caches;
            wanted.larger_than = wanted.larger_than.or(rule.larger_than);
        }
        let before = wanted.clone();
        for pattern in &args.no_exclude {
            if !wanted.patterns.contains(pattern) {
                let known = wanted.patterns.join(" ");
                let known = if known.is_empty() { "none" } else { &known };
                return Err(Error::Usage(format!(
                    "nothing is left out by the pattern {pattern:?}; the patterns: {known}"
                )));
            }
            wanted.patterns.retain(|known| known != pattern);
        }
        for pattern in &args.exclude {
            check(pattern).map_err(|error| Error::Usage(error.to_string()))?;
            if !wanted.patterns.contains(pattern) {
                wanted.patterns.push(pattern.clone());
            }
        }
        wanted.caches = (wanted.caches || args.exclude_caches) && !args.no_exclude_caches;
        match args.max_file_size.as_deref() {
            None => {}
            Some("none") => wanted.larger_than = None,
            Some(text) => {
                let most = parse_size(text).map_err(|error| Error::Usage(error.to_string()))?;
                wanted.larger_than = Some(most);
            }
        }
        Ok((wanted != before).then_some(wanted))
    }
}

/// What is left out, in one line.
pub fn leaves_out(rules: &LeavesOut) -> String {
    let mut all: Vec<String> = rules.patterns.clone();
    if rules.caches {
        all.push("caches (CACHEDIR.TAG)".to_owned());
    }
    if let Some(most) = rules.larger_than {
        all.push(format!("the content of files larger than {}", size(most)));
    }
    if all.is_empty() {
        "nothing".to_owned()
    } else {
        all.join(", ")
    }
}

/// Lines about what is left out on purpose: what, since when, and which folders that are.
fn left_out_lines(rules: &[LeftOutRule], zone: &TimeZone) -> Vec<String> {
    let line = |rule: &LeftOutRule| {
        let what = match (&rule.pattern, rule.larger_than) {
            (Some(pattern), _) => format!("what matches {pattern}"),
            (None, Some(most)) => format!("the content of files larger than {}", size(most)),
            (None, None) => "what is in folders with a CACHEDIR.TAG".to_owned(),
        };
        let mut text = format!("{what}, since {}", rule.since.0.local(zone));
        if !rule.folders.is_empty() {
            let shown = rule.folders.iter().take(FOLDERS_SHOWN);
            let shown: Vec<String> = shown.map(|path| format!("{path}/")).collect();
            text += &format!(": {}", shown.join(", "));
            let more = rule.folders.len().saturating_sub(FOLDERS_SHOWN);
            if more > 0 {
                text += &format!(" and {more} more");
            }
        }
        text
    };
    rules.iter().map(line).collect()
}

fn show_policy(
    out: &mut impl Write,
    report: &PolicyReport,
    changed: bool,
    place: &Place,
) -> io::Result<()> {
    let policy = &report.policy;
    writeln!(out, "every checkpoint     {}", span(policy.keep_all))?;
    writeln!(out, "the last of an hour  {}", span(policy.keep_hourly))?;
    writeln!(out, "the last of a day    {}", span(policy.keep_daily))?;
    writeln!(out, "the last of a week   {}", span(policy.keep_weekly))?;
    let max = policy.max_bytes.map_or("any".to_owned(), size);
    writeln!(out, "size of the store    {max}")?;
    writeln!(out, "snapshots            until they are deleted")?;
    let left_out = left_out_lines(&report.left_out, &TimeZone::system());
    for (i, text) in left_out.iter().enumerate() {
        writeln!(out, "{:<20} {text}", if i == 0 { "left out" } else { "" })?;
    }
    if left_out.is_empty() {
        writeln!(out, "left out             nothing")?;
    }
    if !report.first.is_empty() {
        writeln!(out, "recovered first      {}", first(&report.first))?;
    }
    match report.alarm {
        Some(files) => writeln!(out, "alarm                from {} on", count(files, "file"))?,
        None => writeln!(out, "alarm                off")?,
    }
    let drops = report.plan.drops;
    if changed && drops > 0 {
        writeln!(
            out,
            "{} would go by it now; what was kept before stays for 24 h unless you say: \
             rewindfs prune {}",
            count(drops, "checkpoint"),
            quote(&place.dir)
        )?;
    }
    Ok(())
}

/// `prune DIR [--dry-run]`.
pub fn prune(args: &args::Prune) -> Result<Exit, Error> {
    let place = locate(&args.dir.dir, args.dir.store.said().as_deref(), None)?;
    let request = Request::Prune { terms: None };
    let Answer::Plan(plan) = reach::ask(&place, request, &Meter::new("prune"))? else {
        return Err(reach::strange(&place));
    };
    let mut out = stdout().lock();
    if args.dry_run && args.json {
        return print_json(&mut out, &plan);
    }
    if !args.json {
        show_plan(&mut out, &plan, &TimeZone::system())?;
        out.flush()?;
    }
    if args.dry_run {
        return Ok(ends(&plan));
    }
    let interrupt = Interrupt::catch().map_err(|source| Error::System {
        action: "signals can't be caught",
        source,
    })?;
    let terms = Some(plan.terms());
    let meter = Meter::with("prune", interrupt);
    let Answer::Pruned(pruned) = reach::ask(&place, Request::Prune { terms }, &meter)? else {
        return Err(reach::strange(&place));
    };
    if args.json {
        return print_json(&mut out, &pruned);
    }
    let states = count(pruned.states, "checkpoint");
    writeln!(out, "dropped {states}; {} came free", bytes(pruned.bytes))?;
    Ok(ends(&plan))
}

/// A store that stays too large needs somebody.
fn ends(plan: &Planned) -> Exit {
    if plan.excess_bytes > 0 {
        Exit::Differs
    } else {
        Exit::Done
    }
}

/// `12.3 MiB (12897812 bytes)`.
fn bytes(bytes: u64) -> String {
    if bytes < 1024 {
        return count(bytes, "byte");
    }
    format!("{} ({bytes} bytes)", size(bytes))
}

fn show_plan(out: &mut impl Write, plan: &Planned, zone: &TimeZone) -> io::Result<()> {
    for group in &plan.groups {
        let verb = if group.keep { "keep" } else { "drop" };
        let oldest = group.oldest.0.local(zone);
        let newest = group.newest.0.local(zone);
        let when = if group.states == 1 {
            oldest
        } else {
            format!("{oldest} to {newest}")
        };
        writeln!(
            out,
            "{verb} {:>7}  {:<38} {when}",
            group.states, group.reason
        )?;
    }
    let of = plan.keeps + plan.drops;
    let at_least = if plan.exact { "" } else { "at least " };
    writeln!(
        out,
        "{} of {of} states go, {at_least}{} come free",
        plan.drops,
        bytes(plan.frees_bytes)
    )?;
    if plan.excess_bytes > 0 {
        writeln!(
            out,
            "the store stays {} larger than it may be: the rest is snapshots, what was deleted \
             within 24h, and the last hour",
            size(plan.excess_bytes)
        )?;
    }
    Ok(())
}

fn print_json<T: serde::Serialize>(out: &mut impl Write, report: &T) -> Result<Exit, Error> {
    let text = serde_json::to_string(report).map_err(io::Error::from)?;
    writeln!(out, "{text}")?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::kept::Group;
    use crate::control::when::When;
    use crate::time::Timestamp;

    const NOON: When = When(Timestamp(1_795_176_000_000_000_000));

    fn group(keep: bool, reason: &str, states: u64) -> Group {
        Group {
            keep,
            reason: reason.to_owned(),
            states,
            oldest: When(Timestamp(NOON.0.0 - 60_000_000_000)),
            newest: NOON,
        }
    }

    #[test]
    fn a_plan_says_what_goes_why_and_how_much_that_is() {
        let plan = Planned {
            now: NOON,
            keeps: 13,
            drops: 512,
            frees_bytes: 12_897_812,
            exact: true,
            live_bytes: 20_000_000,
            max_bytes: Some(1_000_000),
            excess_bytes: 6_102_188,
            for_size: 0,
            groups: vec![
                group(true, "the newest state", 1),
                group(true, "all within 24h", 12),
                group(false, "a later one of the same hour is kept", 512),
            ],
        };
        let mut out = Vec::new();
        show_plan(&mut out, &plan, &TimeZone::UTC).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "keep       1  the newest state                       2026-11-20 11:59:00 +00:00\n\
             keep      12  all within 24h                         2026-11-20 11:59:00 +00:00 to \
             2026-11-20 12:00:00 +00:00\n\
             drop     512  a later one of the same hour is kept   2026-11-20 11:59:00 +00:00 to \
             2026-11-20 12:00:00 +00:00\n\
             512 of 525 states go, 12.3 MiB (12897812 bytes) come free\n\
             the store stays 5.8 MiB larger than it may be: the rest is snapshots, what was \
             deleted within 24h, and the last hour\n"
        );
        assert_eq!(ends(&plan), Exit::Differs);
    }
}
