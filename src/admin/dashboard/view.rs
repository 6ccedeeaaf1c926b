//! Values formatted for people.

use serde::Serialize;

use crate::core::report::model::{CheckRow, ObservedServer};
use crate::core::settings::Keyword as _;

use super::history::{History, RecordedChange};
use super::server_history::POINTS;

/// Headings of the columns of the table of servers, in their order, before the one with the curve.
pub(super) const COLUMNS: [&str; 10] = [
    "Server",
    "State",
    "Check",
    "Connections",
    "New/s",
    "Sent/s",
    "Received/s",
    "Connect p50",
    "Connect p99",
    "Failures",
];

/// The column of the state.
pub(super) const STATE: usize = 1;
/// The column of the connections.
pub(super) const CONNECTIONS: usize = 3;

/// A cell of the table: its text, and a note below it. Either may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Cell(pub(super) String, pub(super) String);

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Cell(text, String::new())
    }
}

/// A server as a row of the page.
pub(super) struct PageRow {
    pub(super) id: String,
    /// The word for its state, which is also the CSS class of its colour.
    pub(super) state: &'static str,
    /// The cells of [`COLUMNS`].
    pub(super) cells: [Cell; COLUMNS.len()],
    /// How much of its limit of connections is used, if it has one.
    pub(super) bar: Option<Bar>,
    /// Its traffic.
    pub(super) curve: Curve,
}

impl PageRow {
    /// The row of a server, with its history.
    pub(super) fn new(server: &ObservedServer, history: &History) -> Self {
        let ObservedServer { row, check, .. } = server;
        let id = row.label();
        let rates = history.rates(row.number);
        let state = row.standing();
        let name = row.name.as_ref().map_or_else(|| id.clone(), |name| format!("{name} ({id})"));
        PageRow {
            cells: [
                Cell(name, row.endpoint()),
                Cell(state.to_owned(), why(server)),
                check.as_ref().map_or_else(|| Cell::from("none".to_owned()), checked),
                match row.max {
                    0 => row.connections.to_string(),
                    max => format!("{} of {max}", row.connections),
                }
                .into(),
                format!("{:.0}", rates.connects).into(),
                bytes(rates.sent).into(),
                bytes(rates.received).into(),
                row.connect_p50_seconds.map_or_else(|| "-".into(), duration).into(),
                row.connect_p99_seconds.map_or_else(|| "-".into(), duration).into(),
                row.failures.to_string().into(),
            ],
            bar: Bar::new(u64::from(row.connections), u64::from(row.max)),
            curve: Curve::new(history.curve(row.number)),
            state,
            id,
        }
    }
}

/// Why a server stands as it does, and for how much longer.
fn why(server: &ObservedServer) -> String {
    let row = &server.row;
    // The word of an administrator hides that of the state.
    let hidden =
        (row.standing() != row.state.word() && !row.state.is_up()).then(|| row.state.word().to_owned());
    let left = (row.blacklisted_seconds > 0.0).then(|| format!("{:.0} s left", row.blacklisted_seconds));
    [hidden, server.reason.clone(), left].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// The last result of a check.
fn checked(check: &CheckRow) -> Cell {
    let result = match check.success {
        Some(true) => "passed",
        Some(false) => "failed",
        None => "no result yet",
    };
    let since = check.age_seconds.map(|seconds| format!("{} ago", age(seconds)));
    let note = [check.reason.clone(), since].into_iter().flatten().collect::<Vec<_>>().join(", ");
    Cell(format!("{}: {result}", check.check), note)
}

/// How much of a limit is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Bar {
    /// In percent.
    pub(super) used: u64,
    /// Its CSS classes.
    pub(super) class: &'static str,
}

/// From here on a limit is about to be reached, in percent.
const ALMOST_FULL: u64 = 90;

impl Bar {
    /// `None` without a limit.
    pub(super) fn new(used: u64, limit: u64) -> Option<Self> {
        let used = used.saturating_mul(100).checked_div(limit)?.min(100);
        Some(Bar { used, class: if used < ALMOST_FULL { "bar" } else { "bar full" } })
    }
}

/// The traffic of the last five minutes, to be drawn in a box of [`POINTS`] by [`HEIGHT`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Curve {
    /// The points of a line: now is at the right, and the largest value at the top.
    pub(super) line: String,
    /// The largest value, in words.
    pub(super) peak: String,
}

/// The height of the box of a curve.
pub(super) const HEIGHT: f64 = 16.0;

impl Curve {
    pub(super) fn new(values: impl ExactSizeIterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.collect();
        let most = values.iter().copied().fold(0.0, f64::max);
        let scale = (HEIGHT - 1.0) / most.max(1.0);
        let first = POINTS.saturating_sub(values.len());
        let point = |(n, value): (usize, &f64)| format!("{},{:.1}", first + n, HEIGHT - value * scale);
        Curve {
            line: values.iter().enumerate().map(point).collect::<Vec<_>>().join(" "),
            peak: if values.is_empty() { String::new() } else { format!("peak {}/s", bytes(most)) },
        }
    }

    /// The points of the area below the line.
    pub(super) fn area(&self) -> String {
        match self.line.split_once(',') {
            Some((first, _)) => format!("{first},{HEIGHT} {} {},{HEIGHT}", self.line, POINTS - 1),
            None => String::new(),
        }
    }
}

/// A number of bytes with its unit; 1 KB is 1,024 bytes, as everywhere in pen.
pub(super) fn bytes(count: f64) -> String {
    const UNITS: [&str; 4] = ["KB", "MB", "GB", "TB"];
    let mut value = count;
    let mut unit = "B";
    for larger in UNITS {
        if value < 1000.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    if unit == "B" || value >= 100.0 { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") }
}

/// A duration of seconds with its unit.
fn duration(seconds: f64) -> String {
    let (value, unit) = match seconds {
        s if s < 0.001 => (s * 1e6, "us"),
        s if s < 1.0 => (s * 1e3, "ms"),
        s => (s, "s"),
    };
    if value >= 10.0 { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") }
}

/// How long something has lasted.
pub(super) fn age(seconds: f64) -> String {
    let minutes = (seconds / 60.0) as u64;
    let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    match (days, hours) {
        (0, 0) if minutes == 0 => format!("{seconds:.0} s"),
        (0, 0) => format!("{minutes} min"),
        (0, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// The server of a change.
pub(super) fn named(change: &RecordedChange) -> String {
    format!("{} ({})", change.server, change.address)
}

/// What a change came from, and why.
pub(super) fn note(change: &RecordedChange) -> String {
    match &change.reason {
        Some(reason) => format!("was {}: {reason}", change.from),
        None => format!("was {}", change.from),
    }
}

/// A time in RFC 3339 form, to the second and without its zone.
pub(super) fn local(time: &str) -> String {
    time.get(..19).unwrap_or(time).replace('T', " ")
}

#[cfg(test)]
mod tests {
    use super::super::history::tests::row;
    use super::*;
    use crate::core::report::model::{HealthWord, ServerState};
    use crate::core::settings::AdminState;

    #[test]
    fn values_have_units() {
        assert_eq!(
            [0.0, 999.0, 1024.0, 150.0 * 1024.0, 3e9].map(bytes),
            ["0 B", "999 B", "1.0 KB", "150 KB", "2.8 GB"]
        );
        assert_eq!([0.00005, 0.0021, 0.5, 2.0].map(duration), ["50 us", "2.1 ms", "500 ms", "2.0 s"]);
        assert_eq!([3.0, 61.0, 3720.0, 200_000.0].map(age), ["3 s", "1 min", "1 h 2 min", "2 d 7 h"]);
    }

    #[test]
    fn times_are_shown_without_their_zone() {
        assert_eq!(local("2026-11-26T07:02:25.123+01:00"), "2026-11-26 07:02:25");
        assert_eq!(local("t1"), "t1");
    }

    #[test]
    fn a_row_says_what_counts() {
        let mut server = row(3, ServerState::Blacklisted, 0);
        (server.row.blacklisted_seconds, server.row.connections, server.row.max) = (9.6, 2, 5);
        (server.row.address, server.row.name) = ("2001:db8::1".into(), Some("www".into()));
        server.check = Some(CheckRow {
            server: 3,
            name: None,
            check: "web".into(),
            kind: "http",
            health: HealthWord::Up,
            success: Some(true),
            reason: Some("200 OK".into()),
            duration_seconds: Some(0.1),
            age_seconds: Some(2.0),
        });
        let shown = PageRow::new(&server, &History::default());
        let cell = |text: &str, note: &str| Cell(text.into(), note.into());
        assert_eq!(
            shown.cells[..4],
            [
                cell("www (3)", "[2001:db8::1]:80"),
                cell("blacklisted", "refused, 10 s left"),
                cell("web: passed", "200 OK, 2 s ago"),
                cell("2 of 5", ""),
            ]
        );
        assert_eq!((shown.state, shown.bar), ("blacklisted", Some(Bar { used: 40, class: "bar" })));
        (server.row.admin_state, server.row.max) = (AdminState::Drain, 0);
        let shown = PageRow::new(&server, &History::default());
        assert_eq!(shown.cells[STATE], cell("drain", "blacklisted, refused, 10 s left"));
        assert_eq!((&shown.cells[CONNECTIONS], shown.bar), (&cell("2", ""), None));
        assert_eq!(Bar::new(9, 10).map(|bar| bar.class), Some("bar full"));
    }

    #[test]
    fn a_curve_ends_at_the_right() {
        let curve = Curve::new([0.0, 2048.0].into_iter());
        assert_eq!((&*curve.line, &*curve.peak), ("58,16.0 59,1.0", "peak 2.0 KB/s"));
        assert_eq!(curve.area(), "58,16 58,16.0 59,1.0 59,16");
        let none = Curve::new([].into_iter());
        assert_eq!((none.area(), none), (String::new(), Curve::default()));
    }
}
