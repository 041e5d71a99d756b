//! Reads the expiry date of a certificate, its only field of interest here. TLS has already
//! verified the certificate.

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The expiry as Unix time in seconds, from a DER certificate (RFC 5280, section 4.1); `None` if it
/// is malformed.
pub fn not_after(der: &[u8]) -> Option<u64> {
    let (certificate, _) = inside(der, SEQUENCE)?;
    let (mut fields, _) = inside(certificate, SEQUENCE)?;
    if fields.first() == Some(&VERSION) {
        fields = skip(fields)?;
    }
    // Serial number, algorithm and issuer precede the validity.
    for _ in 0..3 {
        fields = skip(fields)?;
    }
    let (validity, _) = inside(fields, SEQUENCE)?;
    let (tag, text, _) = element(skip(validity)?)?;
    timestamp(tag, std::str::from_utf8(text).ok()?)
}

/// Splits off an element: its tag, its content, and the rest.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = digits.iter().try_fold(0_usize, |sum, digit| {
                sum.checked_mul(256)?.checked_add(usize::from(*digit))
            });
            (length?, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn inside(der: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    let (tag, content, rest) = element(der)?;
    (tag == wanted).then_some((content, rest))
}

fn skip(der: &[u8]) -> Option<&[u8]> {
    element(der).map(|(_, _, rest)| rest)
}

/// Parses `YYMMDDHHMMSSZ`, used until 2049, or `YYYYMMDDHHMMSSZ`.
fn timestamp(tag: u8, text: &str) -> Option<u64> {
    let digits = text
        .strip_suffix('Z')
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    let full = match (tag, digits.len()) {
        (UTC_TIME, 12) if digits < "50" => format!("20{digits}"),
        (UTC_TIME, 12) => format!("19{digits}"),
        (GENERALIZED_TIME, 14) => digits.to_owned(),
        _ => return None,
    };
    let number = |from: usize, to: usize| full.get(from..to)?.parse::<u64>().ok();
    let days = days(number(0, 4)?, number(4, 6)?, number(6, 8)?)?;
    Some(days * 86_400 + number(8, 10)? * 3_600 + number(10, 12)? * 60 + number(12, 14)?)
}

/// Days from 1970-01-01 to a date. Years begin in March here, so that the leap day is the last day.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = if month > 2 {
        year
    } else {
        year.checked_sub(1)?
    };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    (365 * year + year / 4 - year / 100 + year / 400 + day_of_year).checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Encodes an element with the shortest length encoding.
    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = match u8::try_from(content.len()) {
            Ok(short) if short < 0x80 => vec![short],
            Ok(long) => vec![0x81, long],
            Err(_) => vec![0x82, (content.len() >> 8) as u8, content.len() as u8],
        };
        [&[tag][..], &length, content].concat()
    }

    fn certificate(version: bool, issuer: usize, not_after: &[u8]) -> Vec<u8> {
        let validity = der(
            SEQUENCE,
            &[der(UTC_TIME, b"250101000000Z"), not_after.to_vec()].concat(),
        );
        let version = if version {
            der(VERSION, &[2, 1, 2])
        } else {
            Vec::new()
        };
        let fields = [
            version,
            der(2, &[7]),
            der(SEQUENCE, &[5, 0]),
            der(SEQUENCE, &vec![0; issuer]),
            validity,
            der(SEQUENCE, &[]),
        ];
        der(SEQUENCE, &der(SEQUENCE, &fields.concat()))
    }

    #[test]
    fn finds_the_expiry_date() {
        for (tag, text, expected) in [
            (UTC_TIME, "700101000001Z", Some(1)),
            (UTC_TIME, "261124090446Z", Some(1_795_511_086)),
            (UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (GENERALIZED_TIME, "20500101000000Z", Some(2_524_608_000)),
            (GENERALIZED_TIME, "261124090446Z", None),
            (UTC_TIME, "261124090446+0100", None),
            (UTC_TIME, "261324090446Z", None),
            (2, "261124090446Z", None),
        ] {
            for (version, issuer) in [(true, 10), (false, 200), (true, 300)] {
                let whole = certificate(version, issuer, &der(tag, text.as_bytes()));
                assert_eq!(not_after(&whole), expected, "{text}");
                for end in 0..whole.len() {
                    assert_eq!(not_after(&whole[..end]), None, "cut off at {end}");
                }
            }
        }
    }
}
