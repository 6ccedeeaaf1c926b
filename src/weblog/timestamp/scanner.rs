//! Splits time stamps into their parts, without knowledge of calendars or zones.

/// The names of the months in the C locale.
pub(super) const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

const WEEKDAYS: [&[u8; 3]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];

/// The parts of a stamp.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scanned<'a> {
    /// Seconds since 1970-01-01 UTC.
    Epoch(i64),
    /// A local date and time.
    Local {
        /// Year, month and day; the day may not exist in that month.
        date: (i16, i8, i8),
        /// Seconds since midnight; up to 86,400 with a leap second.
        second: i64,
        /// The zone as it is written; empty without one.
        zone: &'a [u8],
    },
}

/// Splits a stamp; `None` if its form is unknown.
pub(super) fn scan(text: &[u8]) -> Option<Scanned<'_>> {
    let mut s = Scanner::new(text);
    s.blanks();
    let digits = s.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let date = match (digits, s.rest.get(digits)) {
        (9.., _) => return epoch(s),
        (4, Some(b'-' | b'/')) => {
            let year = s.number(4, 4)?;
            let separator = s.one_of(b"-/")?;
            let month = s.number(1, 2)?;
            s.exactly(separator)?;
            (year, month, s.number(1, 2)?)
        }
        (1 | 2, _) => day_month_year(&mut s)?,
        (0, _) => {
            s.name_of(&WEEKDAYS)?;
            if s.skip(b',') {
                s.blanks();
                day_month_year(&mut s)?
            } else {
                return asctime(s);
            }
        }
        _ => return None,
    };
    s.one_of(b": T-_t")?;
    s.blanks();
    let second = time(&mut s)?;
    let zone = zone(&mut s)?;
    Some(Scanned::Local { date: narrow(date)?, second, zone })
}

fn narrow((year, month, day): (i64, i64, i64)) -> Option<(i16, i8, i8)> {
    Some((year.try_into().ok()?, month.try_into().ok()?, day.try_into().ok()?))
}

/// `10/Oct/2000`, also with `-` or blanks.
fn day_month_year(s: &mut Scanner<'_>) -> Option<(i64, i64, i64)> {
    let day = s.number(1, 2)?;
    let separator = s.one_of(b"/- ")?;
    let month = s.name_of(&MONTHS)?;
    s.exactly(separator)?;
    Some((s.number(4, 4)?, month + 1, day))
}

/// `Oct 10 13:55:36 2000`, after the name of the day; date(1) has the zone before the year.
fn asctime(mut s: Scanner<'_>) -> Option<Scanned<'_>> {
    s.blank()?;
    let month = s.name_of(&MONTHS)? + 1;
    s.blank()?;
    s.blanks();
    let day = s.number(1, 2)?;
    s.blank()?;
    let second = time(&mut s)?;
    let has_zone = !matches!(s.rest, [b' ', b'0'..=b'9', ..]);
    let zone = if has_zone { zone(&mut s)? } else { b"" };
    s.rest =
        s.rest.iter().position(|byte| is_blank(*byte)).and_then(|at| s.rest.get(at..)).unwrap_or_default();
    s.blank()?;
    let date = narrow((s.number(4, 4)?, month, day))?;
    s.is_at_end().then_some(Scanned::Local { date, second, zone })
}

/// `13:55:36.483` or `13:55`, in seconds.
fn time(s: &mut Scanner<'_>) -> Option<i64> {
    let hour = s.number(1, 2)?;
    s.exactly(b':')?;
    let minute = s.number(1, 2)?;
    let second = if s.skip(b':') { s.number(1, 2)? } else { 0 };
    if s.skip(b'.') || s.skip(b',') {
        s.number(1, 9)?;
    }
    // 60 is a leap second.
    (hour < 24 && minute < 60 && second <= 60).then_some(hour * 3600 + minute * 60 + second)
}

/// The zone after a time, possibly in parentheses; anything may follow it. `UTC` and `GMT` may be followed by an offset,
/// which then counts.
fn zone<'a>(s: &mut Scanner<'a>) -> Option<&'a [u8]> {
    if s.is_at_end() {
        return Some(b"");
    }
    let attached = !matches!(s.rest.first(), Some(b' ' | b'\t'));
    s.blanks();
    s.skip(b'(');
    let name = s.rest.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let (zone, rest) = s.rest.split_at(name);
    let (zone, rest) = match (zone, rest.first()) {
        (b"" | b"UTC" | b"GMT", Some(b'+' | b'-')) => offset(rest),
        // The names of some zones are rules (POSIX, TZ), such as EST5EDT.
        (_, Some(b'0'..=b'9')) if name > 0 => {
            let whole = s.rest.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
            s.rest.split_at(whole)
        }
        _ => (zone, rest),
    };
    s.rest = rest;
    let may_be_attached = zone.first().is_none_or(|byte| !byte.is_ascii_alphabetic()) || zone == b"Z";
    (!attached || (may_be_attached && !zone.is_empty())).then_some(zone)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// `+0300` or `+03:00`, and what follows.
fn offset(text: &[u8]) -> (&[u8], &[u8]) {
    let digits = |from: usize| text.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
    let hours = 1 + digits(1);
    let minutes = if text.get(hours) == Some(&b':') { digits(hours + 1) } else { 0 };
    text.split_at(if minutes > 0 { hours + 1 + minutes } else { hours })
}

/// Seconds, milliseconds or microseconds since 1970, distinguished by the number of digits (from 1973 to 5138).
fn epoch(mut s: Scanner<'_>) -> Option<Scanned<'_>> {
    let digits = s.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = s.number(digits, 18)?;
    if s.skip(b'.') || s.skip(b',') {
        s.number(1, 9)?;
    }
    let unit = match digits {
        9..=11 => 1,
        12..=14 => 1000,
        15..=17 => 1_000_000,
        _ => return None,
    };
    s.is_at_end().then_some(Scanned::Epoch(number / unit))
}

/// The rest of a text.
pub(super) struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a [u8]) -> Scanner<'a> {
        Scanner { rest: text }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Skips a byte if it is next.
    pub(super) fn skip(&mut self, byte: u8) -> bool {
        let found = self.rest.first() == Some(&byte);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    fn exactly(&mut self, byte: u8) -> Option<()> {
        self.skip(byte).then_some(())
    }

    fn one_of(&mut self, bytes: &[u8]) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        bytes.contains(&first).then_some(first)
    }

    fn blank(&mut self) -> Option<()> {
        self.one_of(b" \t").map(|_| ())
    }

    fn blanks(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    /// A number of `least` to `most` digits; more digits may follow.
    pub(super) fn number(&mut self, least: usize, most: usize) -> Option<i64> {
        let (mut number, mut digits) = (0, 0);
        while digits < most
            && let Some(byte) = self.rest.get(digits).filter(|byte| byte.is_ascii_digit())
        {
            number = number * 10 + i64::from(byte - b'0');
            digits += 1;
        }
        self.rest = &self.rest[digits..];
        (digits >= least).then_some(number)
    }

    /// The index of the name that is next, ignoring case.
    fn name_of<const N: usize>(&mut self, names: &[&[u8; 3]; N]) -> Option<i64> {
        let (name, rest) = self.rest.split_first_chunk::<3>()?;
        self.rest = rest;
        names.iter().position(|known| known.eq_ignore_ascii_case(name)).map(|n| n as i64)
    }
}
