//! Numbers, dates and addresses as the Java library prints them, since scripts take the answers apart.
//!
//! Assumes UTC, which is what a server's clock shows in a container; the words name the zone. Answers to
//! `Double.toString`, `Date.toString`, `InetSocketAddress.toString` and the rounding of `AvgMinMaxCounter`.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

/// A double: plain between a thousandth and ten millions, else in scientific notation, always with a fraction.
#[must_use]
pub(super) fn double(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let size = value.abs();
    if size == 0.0 || (1e-3..1e7).contains(&size) {
        // Debug formatting of such a value is the shortest decimal, with `.0` where it is whole.
        return format!("{value:?}");
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').expect("`{:e}` always writes an exponent");
    let fraction = if digits.contains('.') { "" } else { ".0" };
    format!("{digits}{fraction}E{exponent}")
}

/// `sum / count` as a double, rounded half up to four decimals; zero where nothing was counted.
#[must_use]
pub(super) fn average(sum: i64, count: u64) -> f64 {
    if count == 0 {
        return 0.0;
    }
    let exact = sum as f64 / count as f64;
    // Sixty decimals show every tie: a double that lies half way between two four-digit decimals has five.
    let text = format!("{:.60}", exact.abs());
    let (whole, fraction) = text.split_once('.').expect("sixty decimals were asked for");
    let kept = format!("{whole}{}", &fraction[..4]);
    let Ok(mut scaled) = kept.parse::<u128>() else { return exact };
    if fraction.as_bytes()[4] >= b'5' {
        scaled += 1;
    }
    let rounded = format!("{}.{:04}", scaled / 10_000, scaled % 10_000).parse().unwrap_or(exact);
    if exact < 0.0 { -rounded } else { rounded }
}

/// A moment as `Sat Nov 21 07:45:00 UTC 2026`.
#[must_use]
pub(super) fn date(unix_ms: i64) -> String {
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = unix_ms.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let weekday = WEEKDAYS[usize::try_from(days.rem_euclid(7)).expect("a remainder of seven")];
    let month = MONTHS[usize::try_from(month - 1).expect("months count from one")];
    format!(
        "{weekday} {month} {day:02} {:02}:{:02}:{:02} UTC {year:04}",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// Year, month and day of a day counted from 1970-01-01 in the Gregorian calendar.
///
/// Counts in eras of 400 years that start on the first of March, so that the leap day is the last day of a year.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// An address without a name: `/127.0.0.1:2181`, `/[0:0:0:0:0:0:0:1]:2181`.
#[must_use]
pub(super) fn address(at: SocketAddr) -> String {
    match at.ip().to_canonical() {
        IpAddr::V4(ip) => format!("/{ip}:{}", at.port()),
        IpAddr::V6(ip) => {
            let mut text = "/[".to_owned();
            for (i, group) in ip.segments().into_iter().enumerate() {
                let colon = if i == 0 { "" } else { ":" };
                let _ = write!(text, "{colon}{group:x}");
            }
            let _ = write!(text, "]:{}", at.port());
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_as_a_java_17_prints_them() {
        let table = [
            (0.0, "0.0"),
            (1e-4, "1.0E-4"),
            (0.000_499_99, "4.9999E-4"),
            (0.001, "0.001"),
            (1.3978, "1.3978"),
            (123.5, "123.5"),
            (9_999_999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (12_345_678.9, "1.23456789E7"),
            (1e10, "1.0E10"),
            (-0.5, "-0.5"),
            (1_234_567.123_4, "1234567.1234"),
            (100_000_000.25, "1.0000000025E8"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, text) in table {
            assert_eq!(double(value), text);
        }
    }

    #[test]
    fn averages_round_half_up() {
        let table = [
            (0, 0, "0.0"),
            (1, 32, "0.0313"),
            (3, 32, "0.0938"),
            (5, 64, "0.0781"),
            (1, 3, "0.3333"),
            (2, 3, "0.6667"),
            (1, 20_000, "1.0E-4"),
            (-1, 3, "-0.3333"),
            (i64::MAX, 1, "9.223372036854776E18"),
            (99_999, 1, "99999.0"),
        ];
        for (sum, count, text) in table {
            assert_eq!(double(average(sum, count)), text, "{sum}/{count}");
        }
    }

    #[test]
    fn dates() {
        assert_eq!(date(0), "Thu Jan 01 00:00:00 UTC 1970");
        assert_eq!(date(951_827_696_000), "Tue Feb 29 12:34:56 UTC 2000");
        assert_eq!(date(4_107_542_399_000), "Sun Feb 28 23:59:59 UTC 2100");
        assert_eq!(date(1_795_247_100_000), "Sat Nov 21 07:45:00 UTC 2026");
        assert_eq!(date(-1), "Wed Dec 31 23:59:59 UTC 1969");
        // Far ends of the range must not overflow.
        let _ = (date(i64::MAX), date(i64::MIN));
    }

    #[test]
    fn addresses() {
        let table = [
            ("127.0.0.1:2181", "/127.0.0.1:2181"),
            ("[::1]:2181", "/[0:0:0:0:0:0:0:1]:2181"),
            ("[2001:db8::ff00:42:8329]:1", "/[2001:db8:0:0:0:ff00:42:8329]:1"),
            ("[::ffff:1.2.3.4]:2181", "/1.2.3.4:2181"),
        ];
        for (at, text) in table {
            assert_eq!(address(at.parse().unwrap()), text);
        }
    }
}
