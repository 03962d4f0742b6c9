//! The names of the folders `.checkpoints/DAY/TIME`: `2026-11-20` and `10-15-03.250`; and of the
//! versions in `.history`, which are in UTC since they are copied to other places.
//!
//! They are what `date` says on this machine: local time of the daemon.
//! 1. A name depends on the instant, the zone and on what was *before* it in its millisecond, all
//!    of which never change: pruning a neighbour renames nothing. The first epoch of a millisecond
//!    is named to the millisecond, a later one in the same millisecond to the nanosecond.
//! 2. Two instants never have the same name: in the hour that the clock goes through twice when
//!    summer time ends, names carry the offset (`02-30-00.250+01-00`).
//! 3. A name that was not made here is not read here.

use super::{TimeZone, Timestamp, offset_text};
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::Offset;

const MILLISECOND: i64 = 1_000_000;

/// More than there are in the 9999 years before.
const DAYS_BEFORE_1970: i64 = 5_000_000;

/// A day of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(Date);

impl Day {
    /// The day on which `time` is.
    pub fn of(time: Timestamp, zone: &TimeZone) -> Day {
        Day(zone.to_datetime(time.jiff()).date())
    }

    /// Reads `2026-11-20`, that and nothing else.
    pub fn from_name(name: &str) -> Option<Day> {
        let mut parts = name.splitn(3, '-');
        let mut part = |digits| {
            parts
                .next()
                .filter(|part: &&str| part.len() == digits)
                .filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|part| part.parse::<i16>().ok())
        };
        let (year, month, day) = (part(4)?, part(2)?, part(2)?);
        let date = Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?;
        Some(Day(date))
    }

    /// `2026-11-20`
    pub fn name(self) -> String {
        format!(
            "{:04}-{:02}-{:02}",
            self.0.year(),
            self.0.month(),
            self.0.day()
        )
    }

    /// Counts the days, from long before any that can be.
    pub fn number(self) -> u64 {
        let midnight = Offset::UTC.to_timestamp(self.0.to_datetime(Time::midnight()));
        let days = midnight.map_or(0, |midnight| midnight.as_second().div_euclid(86_400));
        u64::try_from(days + DAYS_BEFORE_1970).expect("no day is that long ago")
    }

    /// The day with this number.
    pub fn from_number(number: u64) -> Option<Day> {
        let days = i64::try_from(number).ok()?.checked_sub(DAYS_BEFORE_1970)?;
        let midnight = jiff::Timestamp::from_second(days.checked_mul(86_400)?).ok()?;
        Some(Day(Offset::UTC.to_datetime(midnight).date()))
    }

    /// The first instant of this day.
    pub fn begin(self, zone: &TimeZone) -> Timestamp {
        first_instant(self.0, zone)
    }

    /// The first instant of the next day.
    pub fn end(self, zone: &TimeZone) -> Timestamp {
        match self.0.tomorrow() {
            Ok(tomorrow) => first_instant(tomorrow, zone),
            Err(_) => Timestamp(i64::MAX),
        }
    }
}

fn first_instant(date: Date, zone: &TimeZone) -> Timestamp {
    let ends = if date.year() < 1970 {
        i64::MIN
    } else {
        i64::MAX
    };
    zone.to_timestamp(date.to_datetime(Time::midnight()))
        .ok()
        .and_then(Timestamp::from_jiff)
        .unwrap_or(Timestamp(ends))
}

/// Which instants a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The first epoch of the millisecond that begins here.
    Millisecond(Timestamp),
    /// An epoch at exactly this time that is not the first of its millisecond.
    Nanosecond(Timestamp),
}

/// Whether two instants are in one millisecond.
pub fn same_millisecond(one: Timestamp, other: Timestamp) -> bool {
    one.0.div_euclid(MILLISECOND) == other.0.div_euclid(MILLISECOND)
}

/// The name of the epoch at `time` in the folder of its day; `first`: no epoch ever was in the same
/// millisecond before it.
pub fn time_name(time: Timestamp, first: bool, zone: &TimeZone) -> String {
    let offset = zone.to_offset(time.jiff());
    let at = offset.to_datetime(time.jiff());
    let mut name = format!("{:02}-{:02}-{:02}.", at.hour(), at.minute(), at.second());
    if first {
        name += &format!("{:03}", at.millisecond());
    } else {
        name += &format!("{:09}", at.subsec_nanosecond());
    }
    if is_repeated(at, zone) {
        name += &offset_text(offset, '-');
    }
    name
}

/// What `time_name` made of an instant of `day`.
pub fn from_time_name(day: Day, name: &str, zone: &TimeZone) -> Option<Moment> {
    let (clock, fraction_and_offset) = name.split_once('.')?;
    let digits = fraction_and_offset
        .bytes()
        .take_while(u8::is_ascii_digit)
        .count();
    let first = match digits {
        3 => true,
        9 => false,
        _ => return None,
    };
    let (fraction, written_offset) = fraction_and_offset.split_at(digits);
    let mut nanosecond: i32 = fraction.parse().ok()?;
    if first {
        nanosecond *= 1_000_000;
    }
    let mut parts = clock.split('-').map(|part| part.parse::<i8>().ok());
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let time = Time::new(hour, minute, second, nanosecond).ok()?;
    let at = DateTime::from_parts(day.0, time);
    let mut found = zone.to_timestamp(at).ok().and_then(Timestamp::from_jiff)?;
    if !written_offset.is_empty() {
        let offset = candidates(at, zone)
            .into_iter()
            .find(|offset| offset_text(*offset, '-') == written_offset)?;
        found = offset
            .to_timestamp(at)
            .ok()
            .and_then(Timestamp::from_jiff)?;
    }
    // One spelling each: this also refuses what the clock skipped and left-over text.
    if Day::of(found, zone) != day || time_name(found, first, zone) != name {
        return None;
    }
    Some(if first {
        Moment::Millisecond(found)
    } else {
        Moment::Nanosecond(found)
    })
}

/// The instant in the name of a version, in UTC: `2026-11-20T10-15-03.250Z`; `first` as of
/// `time_name`.
pub fn version_name(time: Timestamp, first: bool) -> String {
    let day = Day::of(time, &TimeZone::UTC).name();
    format!("{day}T{}Z", time_name(time, first, &TimeZone::UTC))
}

fn is_repeated(at: DateTime, zone: &TimeZone) -> bool {
    candidates(at, zone).len() > 1
}

/// The offsets that a time of the clock can have: two in a fold.
fn candidates(at: DateTime, zone: &TimeZone) -> Vec<Offset> {
    match zone.to_ambiguous_timestamp(at).offset() {
        jiff::tz::AmbiguousOffset::Unambiguous { offset } => vec![offset],
        jiff::tz::AmbiguousOffset::Gap { .. } => Vec::new(),
        jiff::tz::AmbiguousOffset::Fold { before, after } => vec![before, after],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a valid POSIX zone")
    }

    fn at(text: &str) -> Timestamp {
        crate::time::parse(text, Timestamp(0), &TimeZone::UTC).expect("a valid time")
    }

    #[test]
    fn names_are_local_and_to_the_millisecond() {
        let time = at("2026-11-20T23:30:03.123456789Z");
        let day = Day::of(time, &berlin());
        assert_eq!(day.name(), "2026-11-21");
        assert_eq!(time_name(time, true, &berlin()), "00-30-03.123");
        assert_eq!(time_name(time, false, &berlin()), "00-30-03.123456789");
        assert_eq!(
            from_time_name(day, "00-30-03.123", &berlin()),
            Some(Moment::Millisecond(at("2026-11-20T23:30:03.123Z")))
        );
        assert_eq!(
            from_time_name(day, "00-30-03.123456789", &berlin()),
            Some(Moment::Nanosecond(time))
        );
    }

    #[test]
    fn days_are_numbered_in_order() {
        let day = |name| Day::from_name(name).expect("a day");
        let mut before = 0;
        for name in [
            "0001-01-01",
            "1969-12-31",
            "1970-01-01",
            "2024-02-29",
            "2024-03-01",
        ] {
            let number = day(name).number();
            assert!(number > before);
            assert_eq!(Day::from_number(number), Some(day(name)));
            before = number;
        }
        assert_eq!(day("2024-03-01").number() - day("2024-02-29").number(), 1);
        assert_eq!(Day::from_number(u64::MAX), None);
    }

    #[test]
    fn days_of_23_and_25_hours() {
        let hours = |name: &str| {
            let day = Day::from_name(name).expect("a day");
            day.end(&berlin()).since(day.begin(&berlin())).as_secs() / 3600
        };
        assert_eq!(hours("2026-03-29"), 23);
        assert_eq!(hours("2026-10-25"), 25);
        assert_eq!(hours("2026-11-20"), 24);
    }

    #[test]
    fn the_hour_that_comes_twice_has_two_sets_of_names() {
        let day = Day::from_name("2026-10-25").expect("a day");
        let mut seen = std::collections::BTreeSet::new();
        let mut time = day.begin(&berlin());
        while time < day.end(&berlin()) {
            let name = time_name(time, true, &berlin());
            assert_eq!(
                from_time_name(day, &name, &berlin()),
                Some(Moment::Millisecond(time)),
                "{name}"
            );
            assert!(seen.insert(name));
            time = Timestamp(time.0 + 600_000_000_000);
        }
        assert_eq!(seen.len(), 25 * 6);
        assert!(seen.contains("02-30-00.000+02-00"));
        assert!(seen.contains("02-30-00.000+01-00"));
        assert_eq!(from_time_name(day, "02-30-00.000", &berlin()), None);
    }

    #[test]
    fn only_its_own_names_are_read() {
        let day = Day::from_name("2026-03-29").expect("a day");
        for name in [
            "",
            "02-30-00.000",
            "10-15-03",
            "10-15-03.5",
            "10-15-03.5000",
            "1-15-03.500",
            "10-15-03.500Z",
            "10-15-03-04.500",
            "10:15:03.500",
            "+9-15-03.500",
            "24-00-00.000",
            "10-15-03.500+02-00",
        ] {
            assert_eq!(from_time_name(day, name, &berlin()), None, "{name}");
        }
        for name in ["2026-3-29", "2026-02-30", "2026-03-29-", "+026-03-29", "x"] {
            assert_eq!(Day::from_name(name), None, "{name}");
        }
    }

    #[test]
    fn versions_are_named_in_utc() {
        let time = at("2026-11-20T23:30:03.123456789Z");
        assert_eq!(version_name(time, true), "2026-11-20T23-30-03.123Z");
        assert_eq!(version_name(time, false), "2026-11-20T23-30-03.123456789Z");
    }

    #[test]
    fn one_millisecond() {
        assert!(same_millisecond(Timestamp(1_000_000), Timestamp(1_999_999)));
        assert!(!same_millisecond(Timestamp(999_999), Timestamp(1_000_000)));
        assert!(!same_millisecond(Timestamp(-1), Timestamp(0)));
    }
}
