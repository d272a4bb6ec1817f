//! Points in time, to the nanosecond.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Nanoseconds since 1970-01-01T00:00:00Z; reaches from the year 1677 to 2262, and times outside
/// are taken as the nearest end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The present.
    pub fn now() -> Timestamp {
        SystemTime::now().into()
    }

    /// From whole seconds and nanoseconds, as in `struct timespec`.
    pub fn from_parts(seconds: i64, nanos: u32) -> Timestamp {
        // The earliest second begins before what can be said.
        let nanos = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        Timestamp(nanos.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
    }

    /// Whole seconds (rounded down) and nanoseconds 0 to 999,999,999.
    pub fn parts(self) -> (i64, u32) {
        (self.0.div_euclid(1_000_000_000), self.0.rem_euclid(1_000_000_000) as u32)
    }
}

impl From<SystemTime> for Timestamp {
    fn from(t: SystemTime) -> Timestamp {
        let nanos = match t.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |n| -n),
        };
        Timestamp(nanos)
    }
}

impl From<Timestamp> for SystemTime {
    fn from(t: Timestamp) -> SystemTime {
        let distance = Duration::from_nanos(t.0.unsigned_abs());
        if t.0 < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with nanoseconds, e.g. `2026-11-01T10:30:00.000000001Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(t) => write!(f, "{t:.9}"),
            Err(_) => write!(f, "{}ns", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first second of all was taken for later by what its beginning lies before the earliest time.
    #[test]
    fn parts_are_of_the_same_time_up_to_both_ends() {
        for time in [i64::MIN, i64::MIN + 5, -1, 0, 1_999_999_999, i64::MAX - 1, i64::MAX].map(Timestamp) {
            let (seconds, nanos) = time.parts();
            assert_eq!(Timestamp::from_parts(seconds, nanos), time);
        }
        assert_eq!(Timestamp::from_parts(i64::MIN, 0), Timestamp(i64::MIN));
        assert_eq!(Timestamp::from_parts(i64::MAX, 999_999_999), Timestamp(i64::MAX));
    }
}
