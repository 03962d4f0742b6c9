//! What may stand after `@` in the name of a state.
//!
//! | form | instant |
//! |---|---|
//! | `10:15`, `10:15:03`, `10:15:03.5` | today; if that is later than now, yesterday |
//! | `2026-11-20` | the first instant of that day |
//! | `2026-11-20T10:15[:03[.5]]` | that instant |
//! | `90s`, `5m`, `2h`, `3d` | so long before now; a day is 24 hours |
//! | `yesterday` | the first instant of the day before today |
//! | `monday` .. `sunday` | the first instant of the last such day that has begun |
//! | `GMT-2026.11.20-10.15.03` | that instant, UTC: what Samba asks for |
//!
//! A clock time may be followed by its zone, `Z` or `+01:00`; without, it is local. `-` may stand
//! for every `:`, also in the offset. A time is taken as it is written: what is not written is
//! zero, so `10:15` is 10:15:00.000000000. A time that the clock skips (summer time begins) is
//! moved on by as much as was skipped; of a time that comes twice the first is meant (RFC 5545).

use super::{TimeZone, Timestamp};
use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::Offset;

/// Why what stands after `@` is no time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTime {
    #[error(
        "'{text}' is not a time: write for instance 10:15, 2026-11-20, 2026-11-20T10:15:03, 5m, 2h, 3d, yesterday or monday"
    )]
    Form { text: String },
    #[error("'{text}' is not a time: there is no such day, hour, minute, second or offset")]
    Impossible { text: String },
    #[error("'{text}' is not a time that can be kept: the years 1678 to 2261 can")]
    OutOfRange { text: String },
}

enum Fault {
    Form,
    Impossible,
    OutOfRange,
}

/// Whether `text` is of the form that Samba asks for.
pub fn is_gmt(text: &str) -> bool {
    text.starts_with("GMT-")
}

/// The instant that `text`, without the `@`, names for somebody in `zone` at `now`.
///
/// # Errors
/// What is wrong with the text. That an instant lies in the future is not known here.
pub fn parse(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, BadTime> {
    let found = if let Some(rest) = text.strip_prefix("GMT-") {
        gmt(rest)
    } else if let Some(found) = before_now(text, now) {
        found
    } else if let Some(found) = day_word(text, now, zone) {
        found
    } else {
        clock_or_date(text, now, zone)
    };
    found.map_err(|fault| {
        let text = text.to_owned();
        match fault {
            Fault::Form => BadTime::Form { text },
            Fault::Impossible => BadTime::Impossible { text },
            Fault::OutOfRange => BadTime::OutOfRange { text },
        }
    })
}

/// `YYYY.MM.DD-HH.MM.SS`
fn gmt(text: &str) -> Result<Timestamp, Fault> {
    let mut rest = Cursor(text);
    let year = rest.number(4)?;
    let month = rest.after(".")?.number(2)?;
    let day = rest.after(".")?.number(2)?;
    let hour = rest.after("-")?.number(2)?;
    let minute = rest.after(".")?.number(2)?;
    let second = rest.after(".")?.number(2)?;
    rest.end()?;
    instant(
        DateTime::from_parts(date(year, month, day)?, time(hour, minute, second, 0)?),
        &TimeZone::UTC,
    )
}

/// A number and a unit; `None` if it is something else.
fn before_now(text: &str, now: Timestamp) -> Option<Result<Timestamp, Fault>> {
    let seconds_per_unit = match text.as_bytes().last()? {
        b's' => 1,
        b'm' => 60,
        b'h' => 3600,
        b'd' => 86_400,
        _ => return None,
    };
    let digits = &text[..text.len() - 1];
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let earlier = digits
        .parse::<i64>()
        .ok()
        .and_then(|count| count.checked_mul(seconds_per_unit))
        .and_then(|seconds| seconds.checked_mul(1_000_000_000))
        .and_then(|nanoseconds| now.0.checked_sub(nanoseconds));
    Some(earlier.map(Timestamp).ok_or(Fault::OutOfRange))
}

fn day_word(text: &str, now: Timestamp, zone: &TimeZone) -> Option<Result<Timestamp, Fault>> {
    let today = zone.to_datetime(now.jiff()).date();
    let days_back = if text.eq_ignore_ascii_case("yesterday") {
        1
    } else {
        let day = WEEKDAYS
            .iter()
            .find(|(name, _)| text.eq_ignore_ascii_case(name))?
            .1;
        today.weekday().since(day)
    };
    let mut day = today;
    for _ in 0..days_back {
        match day.yesterday() {
            Ok(before) => day = before,
            Err(_) => return Some(Err(Fault::OutOfRange)),
        }
    }
    Some(instant(day.to_datetime(Time::midnight()), zone))
}

const WEEKDAYS: [(&str, Weekday); 7] = [
    ("monday", Weekday::Monday),
    ("tuesday", Weekday::Tuesday),
    ("wednesday", Weekday::Wednesday),
    ("thursday", Weekday::Thursday),
    ("friday", Weekday::Friday),
    ("saturday", Weekday::Saturday),
    ("sunday", Weekday::Sunday),
];

fn clock_or_date(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, Fault> {
    let mut rest = Cursor(text);
    if rest.digits() != 4 {
        let (time, written) = clock(rest)?;
        return newest(time, now, &written.unwrap_or_else(|| zone.clone()));
    }
    let year = rest.number(4)?;
    let month = rest.after("-")?.number(2)?;
    let day = rest.after("-")?.number(2)?;
    let date = date(year, month, day)?;
    if rest.0.is_empty() {
        return instant(date.to_datetime(Time::midnight()), zone);
    }
    rest.after("T")?;
    let (time, written) = clock(rest)?;
    instant(
        DateTime::from_parts(date, time),
        &written.unwrap_or_else(|| zone.clone()),
    )
}

/// A time of day without its day is the last one that was.
fn newest(time: Time, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, Fault> {
    let today = zone.to_datetime(now.jiff()).date();
    let at = instant(DateTime::from_parts(today, time), zone)?;
    if at <= now {
        return Ok(at);
    }
    let yesterday = today.yesterday().map_err(|_| Fault::OutOfRange)?;
    instant(DateTime::from_parts(yesterday, time), zone)
}

/// A time of day and the zone that is written after it. With `-` for `:`, `10-15-05-00` can only
/// be a quarter past ten at -05:00: an offset always has its minutes.
fn clock(text: Cursor<'_>) -> Result<(Time, Option<TimeZone>), Fault> {
    let mut rest = text;
    let hour = rest.number(2)?;
    let minute = rest.after(":-")?.number(2)?;
    let to_the_minute = rest;
    let with_seconds = seconds(rest).and_then(|(second, nanosecond, rest)| {
        Ok((time(hour, minute, second, nanosecond), zone(rest)?))
    });
    let (time, offset) = match with_seconds {
        Ok(found) => found,
        Err(_) => (time(hour, minute, 0, 0), zone(to_the_minute)?),
    };
    let zone = match offset {
        None => None,
        Some(offset) => Some(TimeZone::fixed(offset?)),
    };
    Ok((time?, zone))
}

/// `:SS[.fraction]`
fn seconds(mut rest: Cursor<'_>) -> Result<(i64, i64, Cursor<'_>), Fault> {
    let second = rest.after(":-")?.number(2)?;
    let mut nanosecond = 0;
    if rest.0.starts_with('.') {
        rest.after(".")?;
        let digits = rest.digits();
        if !(1..=9).contains(&digits) {
            return Err(Fault::Form);
        }
        nanosecond = rest.number(digits)?;
        for _ in digits..9 {
            nanosecond *= 10;
        }
    }
    Ok((second, nanosecond, rest))
}

type WrittenOffset = Option<Result<Offset, Fault>>;

/// `Z`, `+01:00`, `+0100` or nothing.
fn zone(mut rest: Cursor<'_>) -> Result<WrittenOffset, Fault> {
    if rest.0.is_empty() {
        return Ok(None);
    }
    if rest.0 == "Z" || rest.0 == "z" {
        return Ok(Some(Ok(Offset::UTC)));
    }
    let sign = if rest.0.starts_with('-') { -1 } else { 1 };
    rest.after("+-")?;
    let (hours, minutes) = if rest.digits() == 4 {
        (rest.number(2)?, rest.number(2)?)
    } else {
        (rest.number(2)?, rest.after(":-")?.number(2)?)
    };
    rest.end()?;
    if minutes > 59 {
        return Ok(Some(Err(Fault::Impossible)));
    }
    let seconds = i32::try_from(sign * (hours * 3600 + minutes * 60))
        .expect("two digits of hours and of minutes");
    Ok(Some(
        Offset::from_seconds(seconds).map_err(|_| Fault::Impossible),
    ))
}

fn date(year: i64, month: i64, day: i64) -> Result<Date, Fault> {
    let small = |number: i64| i8::try_from(number).map_err(|_| Fault::Impossible);
    let year = i16::try_from(year).map_err(|_| Fault::Impossible)?;
    Date::new(year, small(month)?, small(day)?).map_err(|_| Fault::Impossible)
}

fn time(hour: i64, minute: i64, second: i64, nanosecond: i64) -> Result<Time, Fault> {
    let small = |number: i64| i8::try_from(number).map_err(|_| Fault::Impossible);
    let nanosecond = i32::try_from(nanosecond).map_err(|_| Fault::Impossible)?;
    Time::new(small(hour)?, small(minute)?, small(second)?, nanosecond)
        .map_err(|_| Fault::Impossible)
}

/// What the clocks of `zone` show at that instant ("compatible" in gaps and folds).
fn instant(at: DateTime, zone: &TimeZone) -> Result<Timestamp, Fault> {
    let found = zone.to_timestamp(at).map_err(|_| Fault::OutOfRange)?;
    Timestamp::from_jiff(found).ok_or(Fault::OutOfRange)
}

/// The rest of the text.
#[derive(Clone, Copy)]
struct Cursor<'a>(&'a str);

impl Cursor<'_> {
    /// How many digits come next.
    fn digits(&self) -> usize {
        self.0.bytes().take_while(u8::is_ascii_digit).count()
    }

    /// Takes exactly so many digits (at most 9).
    fn number(&mut self, digits: usize) -> Result<i64, Fault> {
        if self.digits() < digits {
            return Err(Fault::Form);
        }
        let (number, rest) = self.0.split_at(digits);
        self.0 = rest;
        number.parse().map_err(|_| Fault::Form)
    }

    /// Takes one of these characters.
    fn after(&mut self, any_of: &str) -> Result<&mut Self, Fault> {
        let mut characters = self.0.chars();
        match characters.next() {
            Some(next) if any_of.contains(next) => {
                self.0 = characters.as_str();
                Ok(self)
            }
            _ => Err(Fault::Form),
        }
    }

    fn end(&self) -> Result<(), Fault> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Fault::Form)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Central European time: +1, in summer +2, switching at 01:00 UTC.
    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a valid POSIX zone")
    }

    fn at(text: &str) -> Timestamp {
        parse(text, Timestamp(0), &TimeZone::UTC).expect("a valid time")
    }

    /// Friday, 2026-11-20 12:00:00 in Berlin.
    fn noon() -> Timestamp {
        at("2026-11-20T11:00:00Z")
    }

    fn berlin_says(text: &str) -> String {
        parse(text, noon(), &berlin())
            .expect("a valid time")
            .to_string()
    }

    #[test]
    fn what_is_shown_is_read_to_the_nanosecond() {
        for nanoseconds in [0, -1, 1, 1_795_169_703_123_456_789, i64::MAX, i64::MIN] {
            let time = Timestamp(nanoseconds);
            assert_eq!(parse(&time.to_string(), noon(), &berlin()), Ok(time));
        }
        let name = noon().snapshot_name();
        assert_eq!(parse(&name, Timestamp(0), &berlin()), Ok(noon()));
    }

    #[test]
    fn every_form_with_both_separators() {
        let cases = [
            ("2026-11-20", "2026-11-19T23:00:00.000000000Z"),
            ("2026-11-20T10:15", "2026-11-20T09:15:00.000000000Z"),
            ("2026-11-20T10-15", "2026-11-20T09:15:00.000000000Z"),
            ("2026-11-20T10:15:03", "2026-11-20T09:15:03.000000000Z"),
            ("2026-11-20T10-15-03.5", "2026-11-20T09:15:03.500000000Z"),
            ("2026-11-20T10:15:03.5Z", "2026-11-20T10:15:03.500000000Z"),
            (
                "2026-11-20T10:15:03+01:00",
                "2026-11-20T09:15:03.000000000Z",
            ),
            (
                "2026-11-20T10-15-03+05-30",
                "2026-11-20T04:45:03.000000000Z",
            ),
            (
                "2026-11-20T10-15-03-05-00",
                "2026-11-20T15:15:03.000000000Z",
            ),
            ("2026-11-20T10-15-05-00", "2026-11-20T15:15:00.000000000Z"),
            ("2026-11-20T10:15-0500", "2026-11-20T15:15:00.000000000Z"),
            ("2026-11-20T10:15Z", "2026-11-20T10:15:00.000000000Z"),
            ("10:15", "2026-11-20T09:15:00.000000000Z"),
            ("10-15", "2026-11-20T09:15:00.000000000Z"),
            ("10-15-03.25", "2026-11-20T09:15:03.250000000Z"),
            ("90s", "2026-11-20T10:58:30.000000000Z"),
            ("5m", "2026-11-20T10:55:00.000000000Z"),
            ("2h", "2026-11-20T09:00:00.000000000Z"),
            ("3d", "2026-11-17T11:00:00.000000000Z"),
            ("0s", "2026-11-20T11:00:00.000000000Z"),
            ("GMT-2026.11.20-10.15.03", "2026-11-20T10:15:03.000000000Z"),
        ];
        for (text, expected) in cases {
            assert_eq!(berlin_says(text), expected, "{text}");
        }
    }

    #[test]
    fn a_time_of_day_is_the_last_one_that_was() {
        assert_eq!(berlin_says("12:00"), "2026-11-20T11:00:00.000000000Z");
        assert_eq!(
            berlin_says("12:00:00.000000001"),
            "2026-11-19T11:00:00.000000001Z"
        );
        assert_eq!(berlin_says("23:59"), "2026-11-19T22:59:00.000000000Z");
        // With a zone, the day is that zone's: it is already the 21st at +14:00.
        assert_eq!(berlin_says("00:30+14:00"), "2026-11-20T10:30:00.000000000Z");
    }

    #[test]
    fn days_by_name_are_their_first_instant() {
        assert_eq!(berlin_says("yesterday"), "2026-11-18T23:00:00.000000000Z");
        assert_eq!(berlin_says("monday"), "2026-11-15T23:00:00.000000000Z");
        assert_eq!(berlin_says("Thursday"), "2026-11-18T23:00:00.000000000Z");
        assert_eq!(berlin_says("friday"), "2026-11-19T23:00:00.000000000Z");
        assert_eq!(berlin_says("saturday"), "2026-11-13T23:00:00.000000000Z");
    }

    #[test]
    fn skipped_and_repeated_times() {
        // 02:30 does not exist on 2026-03-29 and comes twice on 2026-10-25.
        assert_eq!(
            berlin_says("2026-03-29T02:30"),
            "2026-03-29T01:30:00.000000000Z"
        );
        assert_eq!(
            berlin_says("2026-10-25T02:30"),
            "2026-10-25T00:30:00.000000000Z"
        );
        assert_eq!(
            berlin_says("2026-10-25T02:30+01:00"),
            "2026-10-25T01:30:00.000000000Z"
        );
        // In the second pass, a time of day that is later than now was in the first pass.
        let second_pass = at("2026-10-25T01:30:00Z");
        assert_eq!(
            parse("02:45", second_pass, &berlin()),
            Ok(at("2026-10-25T00:45:00Z"))
        );
    }

    #[test]
    fn what_is_no_time_is_said_so() {
        let fault = |text: &str| parse(text, noon(), &berlin()).expect_err("no valid time");
        let form = [
            "",
            "x",
            "10",
            "10:",
            "1:15",
            "10:15:3",
            "10:15:03.",
            "10:15:03.1234567890",
            "m",
            "-5m",
            "5 m",
            "5M",
            "1h30m",
            "2026-11",
            "2026-11-20T",
            "2026-11-20 10:15",
            "2026-11-20T10:15+1",
            "10:15+01",
            "GMT-2026-11-20",
            "GMT-2026.11.20-10.15.03x",
            "mon",
            "tomorrow",
            "2026-11-20T10:15:03Zz",
            "\u{661}0:15",
            "10:15:03.5.5",
            "+5m",
        ];
        for text in form {
            assert_eq!(fault(text), BadTime::Form { text: text.into() }, "{text}");
        }
        let impossible = [
            "24:00",
            "25:15",
            "10:60",
            "10:15:60",
            "2026-13-01",
            "2026-02-30",
            "2026-11-00",
            "2026-11-20T10:15:03+99:00",
            "2026-11-20T10:15:03+01:60",
            "GMT-2026.02.30-10.15.03",
        ];
        for text in impossible {
            assert_eq!(
                fault(text),
                BadTime::Impossible { text: text.into() },
                "{text}"
            );
        }
        for text in [
            "1500-01-01",
            "9999-12-31T10:15",
            "99999999999d",
            "99999999999999999999s",
        ] {
            assert_eq!(
                fault(text),
                BadTime::OutOfRange { text: text.into() },
                "{text}"
            );
        }
    }
}
