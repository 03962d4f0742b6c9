//! Calendar expressions: when something is to be done again and again, as systemd.time(7) writes it.
//!
//! | form | instants |
//! |---|---|
//! | `hourly`, `daily`, `weekly`, `monthly`, `quarterly`, `yearly` | the first of each; weeks begin on Monday |
//! | `02:30`, `02:30:15` | every day |
//! | `Mon..Fri 02:30`, `Sat,Sun 10:00` | on these days of the week |
//! | `*-*-01 03:00` | on the first of each month |
//! | `Sun *-*-01..07 04:00` | on the first Sunday of each month |
//! | `*-*~01 23:00` | on the last day of each month |
//! | `*:0/15` | every quarter of an hour |
//!
//! Each of year, month, day, hour, minute and second is `*` or a list with commas of `N`, `N..M`, `N/STEP`
//! and `N..M/STEP`. Without a time it is midnight. A zone may stand last: `UTC`, `Europe/Berlin`; without,
//! the time is local.
//!
//! 1. Pure: the clock and the zone are arguments.
//! 2. What the clocks show is meant. A time that they skip (summer time begins) is moved on by as much
//!    as was skipped, of one that comes twice the first counts: each comes once, none is left out.

use super::{TimeZone, Timestamp};
use jiff::civil::{Date, DateTime, Time, Weekday};
use std::fmt;

/// Why a text is no calendar expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCalendar {
    #[error(
        "'{text}' is not a calendar expression: {part:?} is not understood; write for instance daily, 02:30, \
         Mon..Fri 02:30, *-*-01 03:00 or *:0/15"
    )]
    Form { text: String, part: String },
    #[error("'{text}' never comes")]
    Never { text: String },
}

/// Instants that come again and again.
#[derive(Clone, Debug)]
pub struct Calendar {
    text: String,
    /// From Monday on.
    weekdays: [bool; 7],
    year: Field,
    month: Field,
    day: Field,
    /// Days are counted back from the end of the month.
    from_end: bool,
    hour: Field,
    minute: Field,
    second: Field,
    zone: Option<TimeZone>,
}

/// Numbers that one part may have; empty: any.
#[derive(Clone, Debug, Default)]
struct Field(Vec<Stretch>);

#[derive(Clone, Copy, Debug)]
struct Stretch {
    from: i16,
    to: i16,
    step: i16,
}

impl Field {
    fn only(number: i16) -> Field {
        Field(vec![Stretch {
            from: number,
            to: number,
            step: 1,
        }])
    }

    fn has(&self, number: i16) -> bool {
        let within = |stretch: &Stretch| {
            (stretch.from..=stretch.to).contains(&number)
                && (number - stretch.from) % stretch.step == 0
        };
        self.0.is_empty() || self.0.iter().any(within)
    }
}

/// Clocks are moved by no more.
const SHIFT_HOURS: i64 = 3;
/// Nothing that comes at all comes later than so: a 29th of February that is a Monday.
const YEARS_LOOKED_AT: i16 = 60;

const WEEKDAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// Words, and what they stand for.
const WORDS: [(&str, &str); 9] = [
    ("minutely", "*-*-* *:*:00"),
    ("hourly", "*-*-* *:00:00"),
    ("daily", "*-*-* 00:00:00"),
    ("weekly", "Mon *-*-* 00:00:00"),
    ("monthly", "*-*-01 00:00:00"),
    ("quarterly", "*-01,04,07,10-01 00:00:00"),
    ("semiannually", "*-01,07-01 00:00:00"),
    ("yearly", "*-01-01 00:00:00"),
    ("annually", "*-01-01 00:00:00"),
];

impl Calendar {
    /// Reads an expression.
    ///
    /// # Errors
    /// What of it is not understood, or that it never comes.
    pub fn parse(text: &str) -> Result<Calendar, BadCalendar> {
        let text = text.trim();
        let mut calendar = Calendar {
            text: text.to_owned(),
            weekdays: [true; 7],
            year: Field::default(),
            month: Field::default(),
            day: Field::default(),
            from_end: false,
            hour: Field::only(0),
            minute: Field::only(0),
            second: Field::only(0),
            zone: None,
        };
        let wrong = |part: &str| BadCalendar::Form {
            text: text.to_owned(),
            part: part.to_owned(),
        };
        let long: String = text
            .split_whitespace()
            .map(|part| {
                let word = WORDS
                    .iter()
                    .find(|(word, _)| part.eq_ignore_ascii_case(word));
                word.map_or(part, |(_, long)| long)
            })
            .collect::<Vec<_>>()
            .join(" ");
        if long.is_empty() {
            return Err(wrong(""));
        }
        // Each part at most once, in this order.
        let mut stage = 0;
        for part in long.split(' ') {
            let (read, own) = if let Some(weekdays) = weekdays(part) {
                calendar.weekdays = weekdays;
                (Some(()), 1)
            } else if part.contains(':') {
                (calendar.read_time(part), 3)
            } else if let Some(zone) = zone(part) {
                calendar.zone = Some(zone);
                (Some(()), 4)
            } else {
                (calendar.read_date(part), 2)
            };
            if read.is_none() || own <= stage {
                return Err(wrong(part));
            }
            stage = own;
        }
        // In any zone, at any time from the first that can be said on.
        if calendar.next(Timestamp(0), &TimeZone::UTC).is_none() {
            return Err(BadCalendar::Never {
                text: text.to_owned(),
            });
        }
        Ok(calendar)
    }

    /// `[YEAR-]MONTH-DAY`, with `~` for the last `-`: the days from the end.
    fn read_date(&mut self, part: &str) -> Option<()> {
        let (above, day) = match part.rsplit_once('~') {
            Some((above, day)) => {
                self.from_end = true;
                (above, day)
            }
            None => part.rsplit_once('-')?,
        };
        let (year, month) = above.split_once('-').unwrap_or(("*", above));
        self.year = field(year, 1970, 2261)?;
        self.month = field(month, 1, 12)?;
        self.day = field(day, 1, 31)?;
        Some(())
    }

    /// `HOUR:MINUTE[:SECOND]`
    fn read_time(&mut self, part: &str) -> Option<()> {
        let mut parts = part.split(':');
        self.hour = field(parts.next()?, 0, 23)?;
        self.minute = field(parts.next()?, 0, 59)?;
        self.second = match parts.next() {
            Some(second) => field(second, 0, 59)?,
            None => Field::only(0),
        };
        parts.next().is_none().then_some(())
    }

    /// The first instant after `after`, for clocks of `zone` unless it names its own.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let zone = self.zone.as_ref().unwrap_or(zone);
        let shift = jiff::Span::new().hours(SHIFT_HOURS);
        // Clocks that were moved may show an earlier time at a later instant.
        let start = zone.to_datetime(after.jiff()).checked_sub(shift).ok()?;
        let mut found: Option<(Timestamp, DateTime)> = None;
        let (mut date, mut earliest) = (start.date(), start.time());
        let last_year = start.year().saturating_add(YEARS_LOOKED_AT);
        while date.year() <= last_year {
            let times = self.is_on(date).then(|| self.times_from(earliest));
            for time in times.into_iter().flatten() {
                let shown = DateTime::from_parts(date, time);
                if let Some((instant, first)) = &found
                    && first.checked_add(shift).is_ok_and(|end| shown > end)
                {
                    return Some(*instant);
                }
                let instant = Timestamp::from_jiff(zone.to_timestamp(shown).ok()?)?;
                let is_earlier = found.is_none_or(|(known, _)| instant < known);
                if instant > after && is_earlier {
                    let first = found.map_or(shown, |(_, first)| first);
                    found = Some((instant, first));
                }
            }
            if let Some((instant, first)) = &found
                && date > first.date()
            {
                return Some(*instant);
            }
            date = date.tomorrow().ok()?;
            earliest = Time::midnight();
        }
        found.map(|(instant, _)| instant)
    }

    fn is_on(&self, date: Date) -> bool {
        let day = match self.from_end {
            true => i16::from(date.days_in_month()) - i16::from(date.day()) + 1,
            false => i16::from(date.day()),
        };
        let weekday = usize::try_from(date.weekday().to_monday_zero_offset()).unwrap_or(0);
        self.weekdays[weekday]
            && self.year.has(date.year())
            && self.month.has(i16::from(date.month()))
            && self.day.has(day)
    }

    /// The times of a day, ascending.
    fn times_from(&self, earliest: Time) -> impl Iterator<Item = Time> + '_ {
        let all = |field: &Field, end: i8| -> Vec<i8> {
            (0..end)
                .filter(|number| field.has(i16::from(*number)))
                .collect()
        };
        let (minutes, seconds) = (all(&self.minute, 60), all(&self.second, 60));
        let hours = all(&self.hour, 24).into_iter();
        hours
            .filter(move |hour| *hour >= earliest.hour())
            .flat_map(move |hour| {
                let seconds = seconds.clone();
                let minutes = minutes.clone().into_iter();
                minutes.flat_map(move |minute| {
                    let seconds = seconds.clone().into_iter();
                    seconds.filter_map(move |second| Time::new(hour, minute, second, 0).ok())
                })
            })
            .skip_while(move |time| *time < earliest)
    }
}

/// As it was written.
impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `Mon..Fri`, `Sat,Sunday`; `None`: these are no days of the week.
fn weekdays(part: &str) -> Option<[bool; 7]> {
    let number = |name: &str| {
        let name = name.to_ascii_lowercase();
        WEEKDAYS.iter().position(|(short, day)| {
            let long = format!("{day:?}").to_ascii_lowercase();
            name == *short || name == long
        })
    };
    let mut days = [false; 7];
    for item in part.split(',') {
        let (from, to) = item.split_once("..").unwrap_or((item, item));
        let (mut day, to) = (number(from)?, number(to)?);
        // `Sat..Mon` goes over the end of the week.
        loop {
            days[day] = true;
            if day == to {
                break;
            }
            day = (day + 1) % 7;
        }
    }
    Some(days)
}

/// `UTC`, `Europe/Berlin`.
fn zone(part: &str) -> Option<TimeZone> {
    if part == "UTC" {
        return Some(TimeZone::UTC);
    }
    let is_name = part.contains('/') && part.starts_with(|c: char| c.is_ascii_alphabetic());
    is_name.then(|| TimeZone::get(part).ok()).flatten()
}

/// A list of numbers and stretches between two bounds.
fn field(text: &str, least: i16, most: i16) -> Option<Field> {
    let number = |text: &str| -> Option<i16> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.then(|| text.parse().ok()).flatten()?;
        (least..=most).contains(&number).then_some(number)
    };
    let mut stretches = Vec::new();
    for item in text.split(',') {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => {
                let step: i16 = step.parse().ok()?;
                (range, Some(step).filter(|step| *step > 0)?)
            }
            None => (item, 0),
        };
        let (from, to) = match range {
            "*" => (least, most),
            range => match range.split_once("..") {
                Some((from, to)) => (number(from)?, number(to)?),
                // `5/10` goes on to the end, `5` is itself.
                None if step > 0 => (number(range)?, most),
                None => (number(range)?, number(range)?),
            },
        };
        if from > to {
            return None;
        }
        stretches.push(Stretch {
            from,
            to,
            step: step.max(1),
        });
    }
    Some(Field(stretches))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, zone: &TimeZone) -> Timestamp {
        super::super::parse(text, Timestamp(i64::MAX), zone).expect("a time")
    }

    /// The next so many, as clocks of the zone show them.
    fn following(text: &str, after: &str, zone: &str, many: usize) -> Vec<String> {
        let zone = TimeZone::get(zone).expect("a zone");
        let calendar = Calendar::parse(text).expect("an expression");
        let mut now = at(after, &zone);
        let mut shown = Vec::new();
        for _ in 0..many {
            now = calendar.next(now, &zone).expect("there is always another");
            shown.push(now.local(&zone));
        }
        shown
    }

    #[test]
    fn an_expression_comes_when_its_words_say() {
        // The 20th is a Friday.
        let after = "2026-11-20T02:30:00";
        for (text, expected) in [
            ("minutely", ["2026-11-20 02:31:00", "2026-11-20 02:32:00"]),
            ("hourly", ["2026-11-20 03:00:00", "2026-11-20 04:00:00"]),
            ("daily", ["2026-11-21 00:00:00", "2026-11-22 00:00:00"]),
            ("weekly", ["2026-11-23 00:00:00", "2026-11-30 00:00:00"]),
            ("monthly", ["2026-12-01 00:00:00", "2027-01-01 00:00:00"]),
            ("quarterly", ["2027-01-01 00:00:00", "2027-04-01 00:00:00"]),
            ("02:30", ["2026-11-21 02:30:00", "2026-11-22 02:30:00"]),
            (
                "Mon..Fri 02:30",
                ["2026-11-23 02:30:00", "2026-11-24 02:30:00"],
            ),
            (
                "sat,Sunday 10:00",
                ["2026-11-21 10:00:00", "2026-11-22 10:00:00"],
            ),
            (
                "Sat..Mon 1:5",
                ["2026-11-21 01:05:00", "2026-11-22 01:05:00"],
            ),
            (
                "*-*-01 03:00",
                ["2026-12-01 03:00:00", "2027-01-01 03:00:00"],
            ),
            (
                "12-24 18:00",
                ["2026-12-24 18:00:00", "2027-12-24 18:00:00"],
            ),
            (
                "*-*~01 23:00",
                ["2026-11-30 23:00:00", "2026-12-31 23:00:00"],
            ),
            (
                "Sun *-*-01..07 04:00",
                ["2026-12-06 04:00:00", "2027-01-03 04:00:00"],
            ),
            ("*:0/15", ["2026-11-20 02:45:00", "2026-11-20 03:00:00"]),
            ("8..18/5:00", ["2026-11-20 08:00:00", "2026-11-20 13:00:00"]),
            ("*:*:30", ["2026-11-20 02:30:30", "2026-11-20 02:31:30"]),
            ("*-02-29", ["2028-02-29 00:00:00", "2032-02-29 00:00:00"]),
            (
                "Mon *-02-29",
                ["2044-02-29 00:00:00", "2072-02-29 00:00:00"],
            ),
        ] {
            let found = following(text, after, "UTC", 2);
            let expected = expected.map(|time| format!("{time} +00:00"));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn what_the_clocks_skip_comes_all_the_same_and_what_they_show_twice_once() {
        // In Berlin 02:00 to 03:00 is skipped on 2026-03-29 and comes twice on 2026-10-25.
        assert_eq!(
            following("02:30", "2026-03-28T12:00", "Europe/Berlin", 2),
            ["2026-03-29 03:30:00 +02:00", "2026-03-30 02:30:00 +02:00"]
        );
        assert_eq!(
            following("02:30", "2026-10-24T12:00", "Europe/Berlin", 2),
            ["2026-10-25 02:30:00 +02:00", "2026-10-26 02:30:00 +01:00"]
        );
        // In order, although 02:30 comes after 03:00 that day.
        assert_eq!(
            following("2,3:00,30", "2026-03-29T01:00", "Europe/Berlin", 3),
            [
                "2026-03-29 03:00:00 +02:00",
                "2026-03-29 03:30:00 +02:00",
                "2026-03-30 02:00:00 +02:00"
            ]
        );
        // Clocks show a later time already than the one that is moved on.
        assert_eq!(
            following("02:30", "2026-03-29T03:10", "Europe/Berlin", 1),
            ["2026-03-29 03:30:00 +02:00"]
        );
        // The hour that comes again is not asked for again.
        assert_eq!(
            following("hourly", "2026-10-25T01:30", "Europe/Berlin", 3),
            [
                "2026-10-25 02:00:00 +02:00",
                "2026-10-25 03:00:00 +01:00",
                "2026-10-25 04:00:00 +01:00"
            ]
        );
        assert_eq!(
            following("12:00 America/New_York", "2026-07-01T12:00", "UTC", 1),
            ["2026-07-01 16:00:00 +00:00"]
        );
    }

    #[test]
    fn what_is_not_understood_is_named_and_what_never_comes_is_refused() {
        for (text, part) in [
            ("", ""),
            ("sometimes", "sometimes"),
            ("Mon..Fry 02:30", "Mon..Fry"),
            ("25:00", "25:00"),
            ("02:60", "02:60"),
            ("1:2:3:4", "1:2:3:4"),
            ("02:30 Mon", "Mon"),
            ("*-13-01", "*-13-01"),
            ("*-*-5..2", "*-*-5..2"),
            ("*:0/0", "*:0/0"),
            ("daily 03:00", "03:00"),
            ("02:30 Europe/Nowhere", "Europe/Nowhere"),
        ] {
            let expected = BadCalendar::Form {
                text: text.to_owned(),
                part: part.to_owned(),
            };
            assert_eq!(Calendar::parse(text).err(), Some(expected), "{text}");
        }
        let never = BadCalendar::Never {
            text: "*-02-30".to_owned(),
        };
        assert_eq!(Calendar::parse("*-02-30").err(), Some(never));
    }
}
