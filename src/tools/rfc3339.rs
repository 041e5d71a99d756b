//! Recognizes RFC 3339 times and calendar dates. The text itself is stored, so nothing is
//! converted.

/// Whether the text is a date such as `2026-03-01`, or a time such as `2026-03-01T09:00:00Z`, with
/// the offsets and fractions that RFC 3339 allows.
pub(crate) fn is_date_or_time(text: &str) -> bool {
    match text.split_at_checked(10) {
        Some((date, "")) => is_date(date),
        Some((date, time)) => {
            is_date(date) && time.strip_prefix(['T', 't', ' ']).is_some_and(is_time)
        }
        None => false,
    }
}

fn is_date(text: &str) -> bool {
    let Some([year, month, day]) = numbers(text, '-', [4, 2, 2]) else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 0,
    };
    (1..=days).contains(&day)
}

/// Whether the text is a time with an offset, such as `09:00:00.5+01:00`.
fn is_time(text: &str) -> bool {
    let Some((clock, rest)) = text.split_at_checked(8) else {
        return false;
    };
    let Some([hour, minute, second]) = numbers(clock, ':', [2, 2, 2]) else {
        return false;
    };
    let offset = match rest.strip_prefix('.') {
        Some(fraction) => {
            let offset = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            if offset.len() == fraction.len() {
                return false;
            }
            offset
        }
        None => rest,
    };
    // 60 is a leap second.
    hour < 24 && minute < 60 && second <= 60 && is_offset(offset)
}

fn is_offset(text: &str) -> bool {
    match text.strip_prefix(['+', '-']) {
        Some(offset) => {
            matches!(numbers(offset, ':', [2, 2]),
                Some([hours, minutes]) if hours < 24 && minutes < 60)
        }
        None => matches!(text, "Z" | "z"),
    }
}

/// The numbers between the separators, if each has exactly the given number of digits.
fn numbers<const N: usize>(text: &str, separator: char, digits: [usize; N]) -> Option<[u32; N]> {
    let mut parts = text.split(separator);
    let mut found = [0; N];
    for (number, digits) in found.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != digits || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(found)
}
