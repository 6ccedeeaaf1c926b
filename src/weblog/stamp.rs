//! The date of a web server's log line: `10/Oct/2000:13:55:36 +0300` (strftime `%d/%b/%Y:%H:%M:%S %z`).
//!
//! The zone may take any form that strftime gives: `+0300`, `+03:00`, `+03`, `Z` or a name (`%Z`) such as `CEST`.
//! ISO 8601 (nginx `$time_iso8601`) is read too.

use std::io::Write as _;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// Names that `%Z` gives, in minutes east of Greenwich, as the tz database has them. Of a name with two meanings the one
/// with more people is listed.
const ZONES: [(&str, i64); 52] = [
    ("UTC", 0),
    ("GMT", 0),
    ("UT", 0),
    ("Z", 0),
    ("UCT", 0),
    ("WET", 0),
    ("WEST", 60),
    ("BST", 60),
    ("IST", 330),
    ("CET", 60),
    ("CEST", 120),
    ("MET", 60),
    ("MEST", 120),
    ("EET", 120),
    ("EEST", 180),
    ("MSK", 180),
    ("MSD", 240),
    ("SAST", 120),
    ("CAT", 120),
    ("EAT", 180),
    ("WAT", 60),
    ("IDT", 180),
    ("PKT", 300),
    ("WIB", 420),
    ("WITA", 480),
    ("WIT", 540),
    ("HKT", 480),
    ("SGT", 480),
    ("PST8PDT", -480),
    ("KST", 540),
    ("JST", 540),
    ("AWST", 480),
    ("ACST", 570),
    ("ACDT", 630),
    ("AEST", 600),
    ("AEDT", 660),
    ("NZST", 720),
    ("NZDT", 780),
    ("NST", -210),
    ("NDT", -150),
    ("AST", -240),
    ("ADT", -180),
    ("EST", -300),
    ("EDT", -240),
    ("CST", -360),
    ("CDT", -300),
    ("MST", -420),
    ("MDT", -360),
    ("PST", -480),
    ("PDT", -420),
    ("AKST", -540),
    ("HST", -600),
];

/// Reads dates, remembering the last day and zone: consecutive lines have the same.
#[derive(Default)]
pub struct Stamps {
    date: [u8; 11],
    midnight: Option<i64>,
    zone: Vec<u8>,
    offset: Option<i64>,
}

impl Stamps {
    /// Seconds since 1970-01-01 UTC; `None` if `text` is no date. A date without a zone is taken for UTC.
    pub fn parse(&mut self, text: &[u8]) -> Option<i64> {
        let (date, rest) = text.split_first_chunk::<11>()?;
        if date[2] != b'/' {
            return iso(text);
        }
        let (time, zone) = rest.split_first_chunk::<9>()?;
        if *date != self.date || self.midnight.is_none() {
            self.date = *date;
            self.midnight = midnight(date);
        }
        let zone = zone.strip_prefix(b" ").unwrap_or(zone);
        if zone != self.zone || self.offset.is_none() {
            self.zone.clear();
            self.zone.extend_from_slice(zone);
            self.offset = offset(zone);
        }
        Some(self.midnight? + second_of_day(time)? - self.offset?)
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
}

fn midnight(date: &[u8; 11]) -> Option<i64> {
    let month = MONTHS.iter().position(|m| m[..] == date[3..6])? as i8 + 1;
    if date[6] != b'/' {
        return None;
    }
    let date = Date::new(number(&date[7..])? as i16, month, number(&date[..2])? as i8).ok()?;
    Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
}

fn second_of_day(time: &[u8; 9]) -> Option<i64> {
    let [b':', h1, h2, b':', m1, m2, b':', s1, s2] = *time else { return None };
    let (hour, minute, second) = (number(&[h1, h2])?, number(&[m1, m2])?, number(&[s1, s2])?);
    // 60 is a leap second.
    (hour < 24 && minute < 60 && second <= 60).then_some(hour * 3600 + minute * 60 + second)
}

/// Seconds east of Greenwich.
fn offset(zone: &[u8]) -> Option<i64> {
    let sign = match zone.first() {
        None => return Some(0),
        Some(b'+') => 60,
        Some(b'-') => -60,
        Some(_) => {
            return ZONES.iter().find(|(name, _)| name.as_bytes() == zone).map(|(_, minutes)| minutes * 60);
        }
    };
    let minutes = match zone[1..] {
        [h1, h2] => number(&[h1, h2])? * 60,
        [h1, h2, m1, m2] | [h1, h2, b':', m1, m2] => number(&[h1, h2])? * 60 + number(&[m1, m2])?,
        _ => return None,
    };
    (minutes < 1440).then_some(sign * minutes)
}

fn iso(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse::<Timestamp>().ok().map(|time| time.as_second())
}

/// Appends a time in UTC to `out`, in the form of the common log format.
pub fn write_utc(epoch: i64, out: &mut Vec<u8>) {
    let Ok(time) = Timestamp::from_second(epoch) else { return };
    let t = time.to_zoned(TimeZone::UTC).datetime();
    let month = MONTHS[usize::from(t.month().unsigned_abs()) - 1].escape_ascii();
    // Writing to a Vec cannot fail.
    let _ = write!(
        out,
        "{:02}/{month}/{:04}:{:02}:{:02}:{:02} +0000",
        t.day(),
        t.year(),
        t.hour(),
        t.minute(),
        t.second()
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Option<i64> {
        Stamps::default().parse(text.as_bytes())
    }

    #[test]
    fn every_form_of_the_zone() {
        for zone in ["+0300", "+03:00", "+03", "EEST", "MSK"] {
            assert_eq!(parse(&format!("10/Oct/2000:13:55:36 {zone}")), Some(971_175_336), "{zone}");
        }
        for text in [
            "10/Oct/2000:10:55:36 Z",
            "10/Oct/2000:10:55:36",
            "10/Oct/2000:05:25:36 -0530",
            "2000-10-10T13:55:36+03:00",
        ] {
            assert_eq!(parse(text), Some(971_175_336), "{text}");
        }
        assert_eq!(parse("31/Dec/1969:23:59:59 +0000"), Some(-1));
    }

    #[test]
    fn what_is_no_date() {
        let bad = [
            "",
            "-",
            "10/Oct/2000",
            "10/Okt/2000:13:55:36 +0300",
            "31/Feb/2000:13:55:36 +0300",
            "10/Oct/2000:24:55:36 +0300",
            "10/Oct/2000:13:55:3x +0300",
            "10/Oct/2000:13:55:36 +3",
            "10/Oct/2000:13:55:36 XYZ",
            "10/Oct/2000:13:55:36 +9999",
        ];
        for text in bad {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(epochs in prop::collection::vec(-60_000_000_000_i64..250_000_000_000, 1..5)) {
            let mut stamps = Stamps::default();
            for epoch in epochs {
                let mut out = Vec::new();
                write_utc(epoch, &mut out);
                prop_assert_eq!(stamps.parse(&out), Some(epoch));
            }
        }

        #[test]
        fn any_bytes_are_survived(text: Vec<u8>, tail in "[0-9/:A-Za-z +-]{0,30}") {
            let mut stamps = Stamps::default();
            stamps.parse(&text);
            stamps.parse(tail.as_bytes());
        }
    }
}
