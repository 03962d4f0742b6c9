//! The part of the day in which something may be done, by the clocks of a zone: `01:00-05:00`, over
//! midnight too.

use super::{TimeZone, Timestamp};
use jiff::civil::Time;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Minutes of the day: from the first on, up to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    from: u16,
    to: u16,
}

/// Why a text is no window.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a part of the day: write for instance 01:00-05:00 or 22:00-06:00")]
pub struct BadWindow(String);

impl Window {
    /// Whether the clocks of `zone` are in it.
    pub fn is_open(&self, now: Timestamp, zone: &TimeZone) -> bool {
        let shown = zone.to_datetime(now.jiff()).time();
        let minute =
            u16::from(shown.hour().unsigned_abs()) * 60 + u16::from(shown.minute().unsigned_abs());
        match self.from < self.to {
            true => (self.from..self.to).contains(&minute),
            false => minute >= self.from || minute < self.to,
        }
    }

    /// When it opens next; a time that the clocks skip is moved on.
    pub fn opens(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut day = zone.to_datetime(now.jiff()).date();
        for _ in 0..3 {
            let shown = day.to_datetime(time(self.from));
            let opens = Timestamp::from_jiff(zone.to_timestamp(shown).ok()?)?;
            if opens > now {
                return Some(opens);
            }
            day = day.tomorrow().ok()?;
        }
        None
    }
}

fn time(minute: u16) -> Time {
    let part = |number: u16| i8::try_from(number).unwrap_or(0);
    Time::new(part(minute / 60), part(minute % 60), 0, 0).unwrap_or(Time::midnight())
}

impl FromStr for Window {
    type Err = BadWindow;

    fn from_str(text: &str) -> Result<Window, BadWindow> {
        let minute = |part: &str| -> Option<u16> {
            let (hour, minute) = part.split_once(':')?;
            let number = |text: &str, most: u16| -> Option<u16> {
                let number: u16 = text.parse().ok()?;
                (text.len() <= 2 && number <= most).then_some(number)
            };
            Some(number(hour, 24)? * 60 + number(minute, 59)?).filter(|minute| *minute <= 1440)
        };
        let bad = || BadWindow(text.to_owned());
        let (from, to) = text.split_once('-').ok_or_else(bad)?;
        let from = minute(from).filter(|from| *from < 1440).ok_or_else(bad)?;
        let to = minute(to).ok_or_else(bad)?;
        match from == to {
            true => Err(bad()),
            false => Ok(Window { from, to }),
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.from, self.to);
        write!(
            f,
            "{:02}:{:02}-{:02}:{:02}",
            from / 60,
            from % 60,
            to / 60,
            to % 60
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_open_from_its_first_minute_up_to_its_last() {
        let zone = TimeZone::get("Europe/Berlin").expect("a zone");
        let at =
            |text: &str| super::super::parse(text, Timestamp(i64::MAX), &zone).expect("a time");
        for (window, open, closed) in [
            (
                "01:00-05:00",
                ["T01:00", "T04:59:59"],
                ["T00:59:59", "T05:00"],
            ),
            ("22:30-06:00", ["T22:30", "T05:59"], ["T22:29", "T06:00"]),
            ("12:00-24:00", ["T12:00", "T23:59"], ["T00:00", "T11:59"]),
        ] {
            let parsed: Window = window.parse().expect("a window");
            assert_eq!(parsed.to_string(), window);
            for (times, is_open) in [(open, true), (closed, false)] {
                for time in times {
                    let now = at(&format!("2026-11-20{time}"));
                    assert_eq!(parsed.is_open(now, &zone), is_open, "{window} {time}");
                }
            }
        }
        let night: Window = "22:30-06:00".parse().expect("a window");
        let opens = |text: &str| night.opens(at(text), &zone).map(|time| time.local(&zone));
        let expected = Some("2026-11-20 22:30:00 +01:00".to_owned());
        assert_eq!(opens("2026-11-20T06:00"), expected);
        let expected = Some("2026-11-21 22:30:00 +01:00".to_owned());
        assert_eq!(opens("2026-11-20T22:30"), expected);
        // Summer time begins at 02:00 of the 29th of March.
        let skipped: Window = "02:30-04:00".parse().expect("a window");
        let opens = skipped.opens(at("2026-03-29T00:00"), &zone);
        let expected = Some("2026-03-29 03:30:00 +02:00".to_owned());
        assert_eq!(opens.map(|time| time.local(&zone)), expected);
        for bad in [
            "",
            "1-5",
            "05:00-05:00",
            "24:00-05:00",
            "01:00-25:00",
            "01:60-02:00",
        ] {
            assert_eq!(bad.parse::<Window>(), Err(BadWindow(bad.to_owned())));
        }
    }
}
