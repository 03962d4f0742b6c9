//! Durations and sizes as people write and read them: `500ms`, `1s`, `2m`, `1h`; `5G`, `4.9 MiB`.

use std::time::Duration;

/// Why a quantity could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadQuantity {
    #[error("'{0}' is not a duration; write for example 500ms, 1s, 2m or 1h")]
    Duration(String),
    #[error("'{0}' is not a span of time; write for example 24h, 7d, 4w or 1y")]
    Span(String),
    #[error("'{0}' is not a size; write for example 500M, 5G or 1048576")]
    Size(String),
}

/// Reads a duration: a whole number and ms, s, m or h.
///
/// # Errors
/// When it is something else, or too large to count with.
pub fn parse_duration(text: &str) -> Result<Duration, BadQuantity> {
    let (number, unit) = split(text);
    let milliseconds = match unit {
        "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let number: Option<u64> = number.parse().ok();
    number
        .zip(milliseconds)
        .and_then(|(number, each)| number.checked_mul(each))
        .map(Duration::from_millis)
        .ok_or_else(|| BadQuantity::Duration(text.to_owned()))
}

/// Reads a span in seconds: a whole number and m, h, d, w or y (of 365 days); or 0.
///
/// # Errors
/// When it is something else, or too large to count with.
pub fn parse_span(text: &str) -> Result<u64, BadQuantity> {
    let (number, unit) = split(text);
    let seconds = match unit {
        "" if number == "0" => Some(0),
        "m" => Some(60),
        "h" => Some(3600),
        "d" => Some(86_400),
        "w" => Some(7 * 86_400),
        "y" => Some(365 * 86_400),
        _ => None,
    };
    let number: Option<u64> = number.parse().ok();
    number
        .zip(seconds)
        .and_then(|(number, each)| number.checked_mul(each))
        .filter(|seconds| *seconds <= SPAN_MAX)
        .ok_or_else(|| BadQuantity::Span(text.to_owned()))
}

/// Reads a span in seconds that may be as short as `1s`.
///
/// # Errors
/// As `parse_span`; or it is nothing at all.
pub fn parse_every(text: &str) -> Result<u64, BadQuantity> {
    let seconds = match split(text) {
        (number, "s") => number.parse().ok().filter(|seconds| *seconds <= SPAN_MAX),
        _ => Some(parse_span(text)?),
    };
    seconds
        .filter(|seconds| *seconds > 0)
        .ok_or_else(|| BadQuantity::Span(text.to_owned()))
}

/// The same, or 0: never.
///
/// # Errors
/// As of `parse_every`.
pub fn parse_every_or_never(text: &str) -> Result<u64, BadQuantity> {
    match text {
        "0" => Ok(0),
        text => parse_every(text),
    }
}

/// A thousand years, in seconds: what nobody means and everything can count with.
const SPAN_MAX: u64 = 1000 * 365 * 86_400;

/// Reads a size in bytes: a whole number and nothing, K, M, G or T (of 1024), `iB` may follow.
///
/// # Errors
/// When it is something else, or too large to count with.
pub fn parse_size(text: &str) -> Result<u64, BadQuantity> {
    let (number, unit) = split(text);
    let shift = match unit.strip_suffix("iB").unwrap_or(unit) {
        "" | "B" => Some(0),
        "K" => Some(10),
        "M" => Some(20),
        "G" => Some(30),
        "T" => Some(40),
        _ => None,
    };
    let number: Option<u64> = number.parse().ok();
    number
        .zip(shift)
        .and_then(|(number, shift): (u64, u32)| number.checked_mul(1 << shift))
        .ok_or_else(|| BadQuantity::Size(text.to_owned()))
}

fn split(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

/// `123 B`, `4.9 MiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut power = 1;
    while power < UNITS.len() && bytes >> (10 * (power + 1)) > 0 {
        power += 1;
    }
    // One digit, cut off: "1024.0 KiB" must not appear.
    let tenths = (u128::from(bytes) * 10) >> (10 * power);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[power - 1])
}

/// `1 file`, `2 files`.
pub fn count(number: u64, one: &str) -> String {
    let end = if number == 1 { "" } else { "s" };
    format!("{number} {one}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_nonsense_is_named() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("1s"), Ok(Duration::from_secs(1)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_duration("1h"), Ok(Duration::from_secs(3600)));
        for bad in [
            "",
            "1",
            "s",
            "1.5s",
            "-1s",
            "1d",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert_eq!(parse_duration(bad), Err(BadQuantity::Duration(bad.into())));
        }
    }

    #[test]
    fn spans_are_read_in_minutes_to_years() {
        assert_eq!(parse_span("24h"), Ok(86_400));
        assert_eq!(parse_span("7d"), parse_span("1w"));
        assert_eq!(parse_span("1y"), Ok(365 * 86_400));
        assert_eq!(parse_span("0"), Ok(0));
        assert_eq!(parse_every("1s"), Ok(1));
        assert_eq!(parse_every("2m"), Ok(120));
        for bad in ["", "s", "0s", "0", "-1s", "99999999999999s"] {
            assert_eq!(parse_every(bad), Err(BadQuantity::Span(bad.into())));
        }
        for bad in ["", "5", "d", "1.5d", "-1d", "2000y", "1s"] {
            assert_eq!(parse_span(bad), Err(BadQuantity::Span(bad.into())));
        }
    }

    #[test]
    fn a_turn_may_be_never() {
        assert_eq!(parse_every_or_never("0"), Ok(0));
        assert_eq!(parse_every_or_never("30s"), Ok(30));
        assert!(parse_every_or_never("0s").is_err());
    }

    #[test]
    fn sizes_are_read_in_powers_of_1024() {
        assert_eq!(parse_size("0"), Ok(0));
        assert_eq!(parse_size("5G"), Ok(5 << 30));
        assert_eq!(parse_size("5GiB"), Ok(5 << 30));
        assert_eq!(parse_size("7K"), Ok(7168));
        for bad in ["", "G", "5X", "1.5G", "99999999T"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_shown_with_one_digit() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1024), "1.0 KiB");
        assert_eq!(size((1 << 20) - 1), "1023.9 KiB");
        assert_eq!(size(5 << 30), "5.0 GiB");
        assert_eq!(size(u64::MAX), "15.9 EiB");
        assert_eq!(count(1, "file"), "1 file");
        assert_eq!(count(0, "file"), "0 files");
    }
}
