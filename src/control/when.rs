//! A recorded instant as it goes over the socket and into JSON: UTC with nine digits, which is
//! also what `.snapshots/@TIME` takes, so that a report names exactly one state.

use crate::time::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// An instant; serialised as `2026-11-20T10:15:03.123456789Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct When(pub Timestamp);

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for When {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<When, D::Error> {
        let text = String::deserialize(deserializer)?;
        let instant: jiff::Timestamp = text.parse().map_err(de::Error::custom)?;
        let nanoseconds = i64::try_from(instant.as_nanosecond()).map_err(de::Error::custom)?;
        Ok(When(Timestamp(nanoseconds)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_utc_with_nine_digits_and_comes_back_exact() {
        for (nanoseconds, text) in [
            (
                1_795_169_703_123_456_789,
                "\"2026-11-20T10:15:03.123456789Z\"",
            ),
            (0, "\"1970-01-01T00:00:00.000000000Z\""),
            (-1, "\"1969-12-31T23:59:59.999999999Z\""),
        ] {
            let when = When(Timestamp(nanoseconds));
            let json = serde_json::to_string(&when).unwrap();
            assert_eq!(json, text);
            assert_eq!(serde_json::from_str::<When>(&json).unwrap(), when);
        }
    }
}
