//! Values formatted for people.

use crate::core::report::model::ServerRow;

use super::history::{History, POINTS};

/// Headings of the columns that are plain text, in their order.
pub(super) const COLUMNS: [&str; 10] = [
    "Server",
    "Address",
    "State",
    "Connections",
    "New per second",
    "To it per second",
    "From it per second",
    "Connect, median",
    "Connect, 99 %",
    "Failed",
];

/// A server as a row of the page.
pub(super) struct Row {
    pub(super) id: String,
    /// The word for its state, which is also the CSS class of its colour.
    pub(super) state: &'static str,
    /// The texts of [`COLUMNS`].
    pub(super) cells: [String; COLUMNS.len()],
    /// Its connections, and their limit if there is one.
    pub(super) meter: Option<(u32, u32)>,
    /// The points of its curve, in a box of [`POINTS`] by [`HEIGHT`].
    pub(super) curve: String,
}

/// The height of the box of a curve.
pub(super) const HEIGHT: f64 = 16.0;

impl Row {
    /// The row of a server, with its history.
    pub(super) fn new(row: &ServerRow, history: &History) -> Self {
        let id = row.label();
        let rates = history.rates(&id);
        let state = row.standing();
        let standing = match row.blacklisted_seconds {
            seconds if seconds > 0.0 => format!("{state}, {seconds:.0} s left"),
            _ => state.to_owned(),
        };
        let connections = match row.max {
            0 => row.connections.to_string(),
            max => format!("{} of {max}", row.connections),
        };
        Row {
            cells: [
                row.name.as_ref().map_or_else(|| id.clone(), |name| format!("{name} ({id})")),
                row.endpoint(),
                standing,
                connections,
                format!("{:.0}", rates.connects),
                bytes(rates.sent),
                bytes(rates.received),
                row.connect_p50_seconds.map_or_else(|| "-".into(), duration),
                row.connect_p99_seconds.map_or_else(|| "-".into(), duration),
                row.failures.to_string(),
            ],
            meter: (row.max > 0).then_some((row.connections, row.max)),
            curve: curve(history.curve(&id)),
            state,
            id,
        }
    }
}

/// The points of a polyline: now is at the right, and the largest value at the top.
fn curve(values: impl ExactSizeIterator<Item = f64>) -> String {
    let values: Vec<f64> = values.collect();
    let most = values.iter().copied().fold(1.0, f64::max);
    let first = POINTS.saturating_sub(values.len());
    let point =
        |(n, value): (usize, &f64)| format!("{},{:.1}", first + n, HEIGHT - value / most * (HEIGHT - 1.0));
    values.iter().enumerate().map(point).collect::<Vec<_>>().join(" ")
}

/// A number of bytes with its unit; 1 KB is 1,024 bytes, as everywhere in pen.
fn bytes(count: f64) -> String {
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

#[cfg(test)]
mod tests {
    use super::super::history::tests::row;
    use super::*;
    use crate::core::report::model::ServerState;

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
    fn a_row_says_what_counts() {
        let mut server = row(3, ServerState::Blacklisted, 0);
        (server.blacklisted_seconds, server.connections, server.max, server.address) =
            (9.6, 2, 5, "2001:db8::1".into());
        let shown = Row::new(&server, &History::default());
        assert_eq!(shown.cells[..4], ["3", "[2001:db8::1]:80", "blacklisted, 10 s left", "2 of 5"]);
        assert_eq!((shown.state, shown.meter), ("blacklisted", Some((2, 5))));
    }

    #[test]
    fn a_curve_ends_at_the_right() {
        assert_eq!(curve([0.0, 100.0].into_iter()), "58,16.0 59,1.0");
        assert_eq!(curve([].into_iter()), "");
    }
}
