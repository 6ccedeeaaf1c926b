//! Counts of problems, and the messages about them.

use std::path::Path;

use crate::weblog::timestamp::UnclearZone;

use super::lines::LINE;

/// Counts of the web servers' lines, by result.
#[derive(Clone, Copy, Default)]
pub(super) struct LineCounts {
    /// All lines.
    pub(super) lines: u64,
    /// Lines that no entry of pen matches.
    pub(super) unmatched: u64,
    /// Lines in an unknown format.
    pub(super) strange: u64,
    /// Lines that came too late to be sorted.
    pub(super) late: u64,
}

impl LineCounts {
    /// The messages; `bad` is the number of lines of pen's log that are not entries.
    pub(super) fn messages(&self, pen: &Path, slack: i64, bad: u64) -> Vec<String> {
        let LineCounts { lines, unmatched, strange, late } = *self;
        let pen = pen.display();
        let messages = [
            (unmatched, format!("of {lines} match no entry of {pen}: written with the server's address")),
            (strange, format!("of {lines} are in no known format: written as they are")),
            (late, format!("of {lines} are more than {slack} seconds out of order: written late")),
            (bad, format!("of {pen} are no entries: ignored")),
        ];
        messages
            .into_iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, what)| format!("{} {what}", counted(n)))
            .collect()
    }
}

/// The messages about a single log.
pub(super) fn of_log(path: &Path, cut: u64, nuls: u64, zones: &[UnclearZone]) -> Vec<String> {
    let path = path.display();
    let mut messages = Vec::new();
    if cut > 0 {
        messages.push(format!("{path}: {} longer than {LINE} bytes: cut there", counted(cut)));
    }
    if nuls > 0 {
        messages.push(format!("{path}: {nuls} NUL bytes before lines: left out"));
    }
    for UnclearZone { name, offset } in zones {
        messages.push(match offset {
            Some(offset) => {
                let (sign, minutes) = (if *offset < 0 { '-' } else { '+' }, offset.abs() / 60);
                let (hours, minutes) = (minutes / 60, minutes % 60);
                format!("{path}: zone {name} has several meanings: taken for {sign}{hours:02}{minutes:02}; see --zone")
            }
            None => format!("{path}: zone {name} is unknown; see --zone"),
        });
    }
    messages
}

fn counted(n: u64) -> String {
    format!("{n} {}", if n == 1 { "line" } else { "lines" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_happened_is_said() {
        let path = Path::new("log");
        assert!(LineCounts { lines: 5, ..LineCounts::default() }.messages(path, 60, 0).is_empty());
        let some = LineCounts { lines: 5, strange: 1, ..LineCounts::default() };
        let said = [
            "1 line of 5 are in no known format: written as they are",
            "2 lines of log are no entries: ignored",
        ];
        assert_eq!(some.messages(path, 60, 2), said);
        let zone = |name: &str, offset| UnclearZone { name: name.into(), offset };
        let said =
            of_log(path, 0, 0, &[zone("CST", Some(28_800)), zone("XST", Some(-12_600)), zone("XYZ", None)]);
        assert_eq!(
            said,
            [
                "log: zone CST has several meanings: taken for +0800; see --zone",
                "log: zone XST has several meanings: taken for -0330; see --zone",
                "log: zone XYZ is unknown; see --zone"
            ]
        );
    }
}
