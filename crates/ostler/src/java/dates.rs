//! Times as `java.util.Date` and `DateFormat` print them in English, in the local time zone.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// As `Date.toString`: `Sat Nov 21 07:38:47 UTC 2026`.
pub(crate) fn long(time_ms: i64) -> String {
    local(time_ms).map_or_else(
        || format!("{time_ms} ms since 1970"),
        |time| time.strftime("%a %b %d %H:%M:%S %Z %Y").to_string(),
    )
}

/// As `DateFormat.getDateTimeInstance(SHORT, LONG)`: `11/21/26, 7:38:47 AM UTC`.
pub(crate) fn short(time_ms: i64) -> String {
    local(time_ms).map_or_else(
        || format!("{time_ms} ms since 1970"),
        |time| time.strftime("%-m/%-d/%y, %-I:%M:%S %p %Z").to_string(),
    )
}

/// As `DateFormat.getDateTimeInstance()`: `Nov 21, 2026, 7:38:47 AM`.
pub(crate) fn medium(time_ms: i64) -> String {
    local(time_ms).map_or_else(
        || format!("{time_ms} ms since 1970"),
        |time| time.strftime("%b %-d, %Y, %-I:%M:%S %p").to_string(),
    )
}

/// As ISO 8601 has it, in UTC: for programs.
pub(crate) fn iso(time_ms: i64) -> String {
    Timestamp::from_millisecond(time_ms).map_or_else(|_| time_ms.to_string(), |time| format!("{time:.3}"))
}

/// `None` for times that no calendar reaches.
fn local(time_ms: i64) -> Option<Zoned> {
    Some(Timestamp::from_millisecond(time_ms).ok()?.to_zoned(TimeZone::system()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_in_java() {
        let time = |ms| Timestamp::from_millisecond(ms).unwrap().to_zoned(TimeZone::UTC);
        let long = |ms| time(ms).strftime("%a %b %d %H:%M:%S %Z %Y").to_string();
        assert_eq!(long(1_795_246_727_123), "Sat Nov 21 07:38:47 UTC 2026");
        assert_eq!(long(0), "Thu Jan 01 00:00:00 UTC 1970");
        let short = time(1_795_246_727_123).strftime("%-m/%-d/%y, %-I:%M:%S %p %Z").to_string();
        assert_eq!(short, "11/21/26, 7:38:47 AM UTC");
        assert_eq!(iso(1_795_246_727_123), "2026-11-21T07:38:47.123Z");
        assert!(super::long(i64::MAX).starts_with("9223372036854775807"));
    }
}
