//! The time stamps of web servers' logs.
//!
//! The usual form is `10/Oct/2000:13:55:36 +0300` (strftime `%d/%b/%Y:%H:%M:%S %z`). Also accepted are: fractions of a
//! second; a blank, `T` or `-` between date and time; a time without seconds; the field order of ISO 8601 (nginx
//! `$time_iso8601`) and of asctime(3C); and seconds, milliseconds or microseconds since 1970 (nginx `$msec`, Apache
//! httpd `%{msec}t`). The zone may be `+0300`, `+03:00`, `+03`, `Z` or a name (`%Z`) such as `CEST`, and text may
//! follow it.

mod scanner;
#[cfg(test)]
mod tests;
mod zones;

use std::io::Write as _;
use std::ops::Range;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use scanner::{MONTHS, Scanned, scan};
pub use zones::Zone;

/// The length of `10/Oct/2000:13:55:36 +0300`, and the position of the time of day in it.
const USUAL: usize = 26;
const TIME: Range<usize> = 12..20;

/// The longest stamp that is cached.
const REMEMBERED: usize = 64;

/// The maximum number of zone names that are kept for reports.
const NAMES: usize = 8;

/// Parses the time stamps of one log and caches the last one: consecutive lines often have the same.
#[derive(Default)]
pub struct TimestampParser {
    /// The zone of stamps without a zone, or with an ambiguous name.
    zone: Option<Zone>,
    last_text: Vec<u8>,
    last: Option<i64>,
    /// Midnight of the last stamp's day in its zone, if it has the usual form.
    usual_day: Option<i64>,
    date: Option<(i16, i8, i8)>,
    midnight: i64,
    /// Zone names to report.
    pub unclear: Vec<UnclearZone>,
}

/// A time zone name that may not mean what it was taken for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnclearZone {
    /// The name.
    pub name: String,
    /// The offset it was taken for, in seconds east of Greenwich; `None` if it is unknown.
    pub offset: Option<i64>,
}

impl TimestampParser {
    /// A parser that interprets stamps without a zone, or with an ambiguous one, in `zone`; UTC if `None`.
    pub fn new(zone: Option<Zone>) -> TimestampParser {
        TimestampParser { zone, ..TimestampParser::default() }
    }

    /// Seconds since 1970-01-01 UTC; `None` if `text` is not a time stamp.
    pub fn parse(&mut self, text: &[u8]) -> Option<i64> {
        if self.last_text == text && !text.is_empty() {
            return self.last;
        }
        if let Some(epoch) = self.parse_like_the_last(text) {
            self.last = Some(epoch);
            self.last_text[TIME].copy_from_slice(&text[TIME]);
            return self.last;
        }
        let epoch = self.parse_new(text)?;
        self.last = Some(epoch);
        self.last_text.clear();
        self.usual_day = usual_day(text, epoch);
        if text.len() <= REMEMBERED {
            self.last_text.extend_from_slice(text);
        }
        Some(epoch)
    }

    /// Parses a stamp with the same day and zone as the last one, in the usual form: only the time of day differs.
    fn parse_like_the_last(&self, text: &[u8]) -> Option<i64> {
        let day = self.usual_day?;
        let (last, text): (&[u8; USUAL], &[u8; USUAL]) =
            (self.last_text.as_slice().try_into().ok()?, text.try_into().ok()?);
        if last[..TIME.start] != text[..TIME.start] || last[TIME.end..] != text[TIME.end..] {
            return None;
        }
        let [h1, h2, b':', m1, m2, b':', s1, s2] = text[TIME] else { return None };
        let two = |a: u8, b: u8| {
            let (a, b) = (a.wrapping_sub(b'0'), b.wrapping_sub(b'0'));
            (a < 10 && b < 10).then(|| i64::from(a) * 10 + i64::from(b))
        };
        let (hour, minute, second) = (two(h1, h2)?, two(m1, m2)?, two(s1, s2)?);
        (hour < 24 && minute < 60 && second <= 60).then_some(day + hour * 3600 + minute * 60 + second)
    }

    fn parse_new(&mut self, text: &[u8]) -> Option<i64> {
        match scan(text)? {
            Scanned::Epoch(seconds) => Some(seconds),
            Scanned::Local { date, second, zone } => {
                if self.date != Some(date) {
                    let (year, month, day) = date;
                    let midnight =
                        jiff::civil::Date::new(year, month, day).ok()?.to_zoned(TimeZone::UTC).ok()?;
                    self.midnight = midnight.timestamp().as_second();
                    self.date = Some(date);
                }
                let local = self.midnight + second;
                Some(local - self.offset(zone, local)?)
            }
        }
    }

    /// The offset at a local time, in seconds east of Greenwich; the local time is given as if it were UTC.
    fn offset(&mut self, zone: &[u8], local: i64) -> Option<i64> {
        match zone.first() {
            None => match &self.zone {
                Some(zone) => zone.offset(civil(local)?, self.last),
                None => Some(0),
            },
            Some(b'+' | b'-') => zones::numeric_offset(zone),
            Some(_) => self.named_offset(zone, local),
        }
    }

    fn named_offset(&mut self, name: &[u8], local: i64) -> Option<i64> {
        if let Some(zone) = &self.zone
            && let Some(offset) = zone.offset_named(civil(local)?, name)
        {
            return Some(offset);
        }
        let known = zones::meaning(name, local);
        let is_unclear = match &known {
            Some(known) => known.is_ambiguous && self.zone.is_none(),
            None => true,
        };
        if is_unclear {
            self.note(name, known.as_ref().map(|known| known.offset));
        }
        match (known, &self.zone) {
            (Some(known), Some(zone)) if known.is_ambiguous => zone.offset(civil(local)?, self.last),
            (Some(known), _) => Some(known.offset),
            (None, Some(zone)) => zone.offset(civil(local)?, self.last),
            (None, None) => None,
        }
    }

    fn note(&mut self, name: &[u8], offset: Option<i64>) {
        let name = String::from_utf8_lossy(name);
        if self.unclear.len() < NAMES && self.unclear.iter().all(|unclear| unclear.name != name) {
            self.unclear.push(UnclearZone { name: name.into_owned(), offset });
        }
    }
}

/// Midnight of a stamp whose time is `epoch`, if the stamp has the usual form and is not a leap second.
fn usual_day(text: &[u8], epoch: i64) -> Option<i64> {
    let text: &[u8; USUAL] = text.try_into().ok()?;
    let separators = [2, 6, 11, 14, 17, 20].map(|n| text[n]);
    let offset = zones::numeric_offset(&text[TIME.end + 1..])?;
    (separators == *b"//::: " && text[18..TIME.end] != *b"60")
        .then(|| epoch - (epoch + offset).rem_euclid(86_400))
}

/// The date and time shown by a clock `local` seconds after the local start of 1970.
fn civil(local: i64) -> Option<DateTime> {
    Some(Timestamp::from_second(local).ok()?.to_zoned(TimeZone::UTC).datetime())
}

/// Appends a time in UTC to `out`, in the form of the common log format.
pub fn write_utc(epoch: i64, out: &mut Vec<u8>) {
    let Some(t) = civil(epoch) else { return };
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
