//! RFC 3339 timestamps of log lines, in UTC with microseconds. Each call logs two of them, and a
//! general-purpose library takes ten times as long to format one.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// A log clock that reads the system time.
pub struct Now;

impl FormatTime for Now {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        writer.write_str(Stamp::of(SystemTime::now()).as_str())
    }
}

/// A formatted timestamp: `2026-11-20T09:00:00.000000Z`.
#[derive(Clone, Copy)]
pub struct Stamp([u8; 27]);

impl Stamp {
    pub fn of(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (seconds, micros) = (since.as_secs(), u64::from(since.subsec_micros()));
        let (year, month, day) = date(seconds / 86_400);
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        for (at, width, number) in [
            (0, 4, year),
            (5, 2, month),
            (8, 2, day),
            (11, 2, seconds / 3600 % 24),
            (14, 2, seconds / 60 % 60),
            (17, 2, seconds % 60),
            (20, 6, micros),
        ] {
            let mut rest = number;
            for digit in text.iter_mut().skip(at).take(width).rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        // Always ASCII, so the fallback is never used.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Converts days since 1970 to year, month and day of the Gregorian calendar. Years begin in March
/// here, so that a leap day is the last day of its year.
fn date(day: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    let day = day + 719_468; // since 1 March 0000
    let (era, day) = (day / DAYS_OF_400_YEARS, day % DAYS_OF_400_YEARS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153; // March is 0
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year + next_year, month, day)
}

/// Parses an RFC 3339 time in UTC, such as `2026-11-20T09:00:00.123Z`, into seconds since 1970.
/// Fractions are truncated.
pub fn unix_seconds(text: &str) -> Option<u64> {
    let (date, clock) = text.strip_suffix('Z')?.split_once('T')?;
    let clock = clock.split_once('.').map_or(clock, |(whole, _)| whole);
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(clock, ':')?;
    let real =
        (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !real || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // As in [`date`], years begin in March.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    Some((days - 719_468) * 86_400 + hour * 3600 + minute * 60 + second)
}

fn numbers(text: &str, between: char) -> Option<[u64; 3]> {
    let read = |part: &str| {
        part.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| part.parse().ok())?
    };
    let numbers: Vec<u64> = text.split(between).map(read).collect::<Option<_>>()?;
    numbers.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn formats_known_times() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399_999_999, "2000-02-28T23:59:59.999999Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (1_795_000_245_000_007, "2026-11-18T11:10:45.000007Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z"),
        ] {
            assert_eq!(
                Stamp::of(UNIX_EPOCH + Duration::from_micros(micros)).as_str(),
                text
            );
        }
    }

    #[test]
    fn parses_what_it_formats() {
        for seconds in [0, 951_782_399, 951_782_400, 1_795_000_245, 4_107_542_400] {
            let text = Stamp::of(UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(unix_seconds(text.as_str()), Some(seconds));
        }
        assert_eq!(unix_seconds("2026-11-18T11:10:45Z"), Some(1_795_000_245));
        for wrong in [
            "",
            "now",
            "2026-11-18",
            "2026-11-18T11:10:45",
            "2026-11-18T11:10:45+01:00",
            "2026-13-18T11:10:45Z",
            "2026-11-18T24:10:45Z",
            "1969-12-31T23:59:59Z",
            "99999999999999999999-01-01T00:00:00Z",
            "2026-11-18-01T11:10:45Z",
            "+2026-11-18T11:10:45Z",
        ] {
            assert_eq!(unix_seconds(wrong), None, "{wrong}");
        }
    }

    /// Compares every day of five centuries with the calendar of another library.
    #[test]
    fn agrees_with_another_calendar_on_every_day() {
        const MONTHS: [&str; 12] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        for day in 0..200_000 {
            let time = UNIX_EPOCH + Duration::from_secs(day * 86_400 + day % 86_400);
            // Sun, 06 Nov 1994 08:49:37 GMT
            let other = httpdate::fmt_http_date(time);
            let month = 1 + MONTHS
                .iter()
                .position(|month| *month == &other[8..11])
                .unwrap();
            let expected = format!(
                "{}-{month:02}-{}T{}.000000Z",
                &other[12..16],
                &other[5..7],
                &other[17..25]
            );
            assert_eq!(Stamp::of(time).as_str(), expected);
        }
    }
}
