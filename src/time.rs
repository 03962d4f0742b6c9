//! Instants: what the store holds, what users type after `@`, and how both are shown.
//! The wall clock is read in one place, here.
//!
//! 1. Showing and reading are inverse: `parse(&time.to_string(), ..)` is `time`, to the nanosecond.
//! 2. What people get names its zone, except in the folders of `.checkpoints` (`folder.rs`), which
//!    are in the local time of the daemon.
//! 3. All but the clock itself is pure: the clock and the zone are arguments.

mod calendar;
pub mod folder;
mod parse;
mod window;

pub use calendar::{BadCalendar, Calendar};
pub use jiff::tz::TimeZone;
pub use parse::{BadTime, is_gmt, parse};
pub use window::{BadWindow, Window};

use jiff::civil::DateTime;
use jiff::tz::Offset;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Nanoseconds since 1970-01-01T00:00:00Z.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// What the wall clock says.
    pub fn now() -> Timestamp {
        let now = std::time::SystemTime::now();
        match now.duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)),
            Err(before) => {
                Timestamp(i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |n| -n))
            }
        }
    }

    /// Later by `duration`; the last instant that can be said if that is later still.
    pub fn plus(self, duration: Duration) -> Timestamp {
        let nanoseconds = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        Timestamp(self.0.saturating_add(nanoseconds))
    }

    /// Earlier by `duration`; the first instant that can be said if that is earlier still.
    pub fn minus(self, duration: Duration) -> Timestamp {
        let nanoseconds = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        Timestamp(self.0.saturating_sub(nanoseconds))
    }

    /// How long after `earlier`; zero if it is not.
    pub fn since(self, earlier: Timestamp) -> Duration {
        let nanoseconds = i128::from(self.0) - i128::from(earlier.0);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0))
    }

    /// The name of a snapshot that was asked for without one: UTC, without a character that a
    /// shell or another system minds: `2026-11-20T10-15-03.250Z`.
    pub fn snapshot_name(self) -> String {
        let at = self.utc();
        format!(
            "{:04}-{:02}-{:02}T{:02}-{:02}-{:02}.{:03}Z",
            at.year(),
            at.month(),
            at.day(),
            at.hour(),
            at.minute(),
            at.second(),
            at.millisecond()
        )
    }

    /// For people: `2026-11-20 11:15:03 +01:00`, to the second below.
    pub fn local(self, zone: &TimeZone) -> String {
        let offset = zone.to_offset(self.jiff());
        let at = offset.to_datetime(self.jiff());
        format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02} {}",
            at.year(),
            at.month(),
            at.day(),
            at.hour(),
            at.minute(),
            at.second(),
            offset_text(offset, ':')
        )
    }

    /// With the parts of strftime(3) filled in: `nightly-%Y-%m-%d`. `None`: there is no such part.
    pub fn formatted(self, pattern: &str, zone: &TimeZone) -> Option<String> {
        let at = self.jiff().to_zoned(zone.clone());
        jiff::fmt::strtime::format(pattern, &at).ok()
    }

    fn jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_nanosecond(i128::from(self.0))
            .expect("2^63 nanoseconds are 292 years, jiff takes thousands")
    }

    fn from_jiff(time: jiff::Timestamp) -> Option<Timestamp> {
        i64::try_from(time.as_nanosecond()).ok().map(Timestamp)
    }

    fn utc(self) -> DateTime {
        Offset::UTC.to_datetime(self.jiff())
    }
}

/// The canonical form, exact and in UTC: `2026-11-20T10:15:03.123456789Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.utc();
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z",
            at.year(),
            at.month(),
            at.day(),
            at.hour(),
            at.minute(),
            at.second(),
            at.subsec_nanosecond()
        )
    }
}

/// `+01:00`; offsets of zones before 1900 may have seconds, which are left out.
fn offset_text(offset: Offset, colon: char) -> String {
    let seconds = offset.seconds();
    let minutes = seconds.abs() / 60;
    let sign = if seconds < 0 { '-' } else { '+' };
    format!("{sign}{:02}{colon}{:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp(1_795_169_703_123_456_789);

    #[test]
    fn canonical_form_has_nine_digits_and_utc() {
        assert_eq!(NOON.to_string(), "2026-11-20T10:15:03.123456789Z");
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(Timestamp(-1).to_string(), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(
            Timestamp(i64::MAX).to_string(),
            "2262-04-11T23:47:16.854775807Z"
        );
        assert_eq!(
            Timestamp(i64::MIN).to_string(),
            "1677-09-21T00:12:43.145224192Z"
        );
    }

    #[test]
    fn default_snapshot_name_is_a_good_snapshot_name() {
        let name = NOON.snapshot_name();
        assert_eq!(name, "2026-11-20T10-15-03.123Z");
        assert_eq!(
            crate::name::check_snapshot_name(name.as_bytes()),
            Ok(&*name)
        );
    }

    #[test]
    fn people_see_the_zone() {
        let zone =
            TimeZone::fixed(jiff::tz::offset(-3).saturating_sub(jiff::Span::new().minutes(30)));
        assert_eq!(NOON.local(&zone), "2026-11-20 06:45:03 -03:30");
        assert_eq!(NOON.local(&TimeZone::UTC), "2026-11-20 10:15:03 +00:00");
    }

    #[test]
    fn arithmetic_stops_at_the_ends() {
        assert_eq!(Timestamp(5).plus(Duration::from_nanos(2)), Timestamp(7));
        assert_eq!(Timestamp(5).minus(Duration::from_nanos(7)), Timestamp(-2));
        assert_eq!(Timestamp(i64::MAX).plus(Duration::MAX), Timestamp(i64::MAX));
        assert_eq!(
            Timestamp(i64::MIN).minus(Duration::MAX),
            Timestamp(i64::MIN)
        );
        assert_eq!(Timestamp(7).since(Timestamp(5)), Duration::from_nanos(2));
        assert_eq!(Timestamp(5).since(Timestamp(7)), Duration::ZERO);
    }
}
