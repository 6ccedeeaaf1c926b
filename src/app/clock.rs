//! The date and time that reports show.

use std::time::Duration;

/// Local date and time, as `2026-11-22 18:48:25`.
pub(super) fn local_time() -> String {
    jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// Local date and time with milliseconds and zone in RFC 3339 form: `2026-11-22T18:48:25.123+01:00`.
pub(super) fn rfc3339() -> String {
    rfc3339_ago(Duration::ZERO)
}

/// The same for the time `passed` ago.
pub(super) fn rfc3339_ago(passed: Duration) -> String {
    jiff::Zoned::now().saturating_sub(passed).strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string()
}

/// Seconds since 1970, UTC.
pub(super) fn unix_seconds() -> f64 {
    jiff::Timestamp::now().as_millisecond() as f64 / 1000.0
}
