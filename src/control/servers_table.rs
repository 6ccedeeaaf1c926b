//! The table of `penctl watch`, cut to the size of a terminal.

use crate::core::error::one_line;
use crate::sys::screen::ScreenSize;

/// The columns: heading, least width, and whether it holds numbers, which are aligned to the right.
const COLUMNS: [(&str, usize, bool); 9] = [
    ("SERVER", 16, false),
    ("ADDRESS", 28, false),
    ("STATE", 12, false),
    ("CONNECTIONS", 11, true),
    ("NEW/S", 8, true),
    ("TO KB/S", 10, true),
    ("FROM KB/S", 10, true),
    ("P99 MS", 9, true),
    ("FAILED", 7, true),
];

/// A row of the table.
pub(super) type Cells = [String; COLUMNS.len()];

/// The table of `rows` as of `time`. Of what does not fit into a terminal, columns are left out as a whole, from the right,
/// so that no number is shown in part, and rows from the end; the last line says how many.
pub(super) fn text(time: &str, rows: &[Cells], size: Option<ScreenSize>) -> String {
    let heading = COLUMNS.map(|(name, ..)| name.to_owned());
    let widths = widths(rows);
    let columns = size.map_or(COLUMNS.len(), |size| fitting(&widths, size.columns));
    let head = [time.to_owned(), line(&heading, &widths, columns)];
    // The cursor stands in the line after the last.
    let room = size.map_or(usize::MAX, |size| size.rows.saturating_sub(head.len() + 1));
    let (shown, hidden) = match rows.len() {
        all if all <= room => (rows, 0),
        all => {
            let shown = rows.get(..room.saturating_sub(1)).unwrap_or_default();
            (shown, all - shown.len())
        }
    };
    let rows = shown.iter().map(|row| line(row, &widths, columns));
    let note = (hidden > 0).then(|| format!("{hidden} more servers are not shown"));
    let mut lines: Vec<String> = head.into_iter().chain(rows).collect();
    if let Some(note) = note {
        // In a terminal of very few lines it takes the place of others.
        lines.truncate(size.map_or(usize::MAX, |size| size.rows.saturating_sub(2)));
        lines.push(note);
    }
    lines.into_iter().map(|line| cut(line, size) + "\n").collect()
}

/// A line without control characters, cut to the width of a terminal.
pub(super) fn cut(line: String, size: Option<ScreenSize>) -> String {
    let line = one_line(line);
    match size {
        Some(size) => line.chars().take(size.columns).collect(),
        None => line,
    }
}

/// The widths of the columns, in which each cell has room.
fn widths(rows: &[Cells]) -> [usize; COLUMNS.len()] {
    let mut widths = COLUMNS.map(|(_, width, _)| width);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    widths
}

/// How many columns a line of so many characters has room for; at least one, which is cut.
fn fitting(widths: &[usize], room: usize) -> usize {
    let ends = widths.iter().scan(0, |end, width| {
        let column = *end + width;
        *end = column + 1;
        Some(column)
    });
    ends.take_while(|end| *end <= room).count().max(1)
}

fn line(cells: &Cells, widths: &[usize], columns: usize) -> String {
    let cells = cells.iter().zip(widths).zip(COLUMNS).take(columns);
    let padded: Vec<String> = cells
        .map(
            |((cell, &width), (.., is_number))| {
                if is_number { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            },
        )
        .collect();
    padded.join(" ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: usize) -> Vec<Cells> {
        let row = |n: usize| {
            let words = [&*format!("www{n}"), "192.0.2.1:80", "up", "12/99", "1.0", "2.0", "3.0", "4.0", "0"];
            words.map(str::to_owned)
        };
        (0..count).map(row).collect()
    }

    fn lines(count: usize, size: Option<(usize, usize)>) -> Vec<String> {
        let size = size.map(|(rows, columns)| ScreenSize { rows, columns });
        text("2026-01-01T00:00:00Z", &rows(count), size).lines().map(str::to_owned).collect()
    }

    #[test]
    fn what_is_no_terminal_gets_everything() {
        let lines = lines(100, None);
        assert_eq!(lines.len(), 102);
        assert!(lines[1].starts_with("SERVER ") && lines[1].ends_with(" FAILED"), "{lines:?}");
        assert!(lines[101].starts_with("www99 ") && lines[101].ends_with(" 0"), "{lines:?}");
    }

    #[test]
    fn a_terminal_gets_what_it_has_room_for() {
        let all = lines(21, Some((24, 200)));
        assert_eq!((all.len(), all[22].starts_with("www20 ")), (23, true), "{all:?}");
        let some = lines(22, Some((24, 200)));
        assert_eq!((some.len(), &*some[22]), (23, "2 more servers are not shown"));
        for (rows, columns) in [(24, 80), (10, 40), (5, 20), (3, 10), (2, 1), (1, 1), (50, 150)] {
            let shown = lines(100, Some((rows, columns)));
            let widest = shown.iter().map(|line| line.chars().count()).max().unwrap();
            assert!(shown.len() < rows.max(2) && widest <= columns, "{rows} {columns} {shown:?}");
            let note: String =
                format!("{} more servers", 104 - rows.clamp(4, 50)).chars().take(columns).collect();
            assert!(shown.last().unwrap().starts_with(&note), "{rows} {columns} {shown:?}");
        }
    }

    #[test]
    fn columns_are_shown_whole_or_not_at_all() {
        for columns in 58..140 {
            let shown = lines(1, Some((24, columns)));
            let words =
                |line: &str| line.replace(" KB", "_KB").replace(" MS", "_MS").split_whitespace().count();
            assert_eq!(words(&shown[1]), words(&shown[2]), "{columns} {shown:?}");
            let last = shown[1].split_whitespace().last().unwrap();
            assert!(["STATE", "CONNECTIONS", "NEW/S", "KB/S", "MS", "FAILED"].contains(&last), "{shown:?}");
        }
        assert!(lines(1, Some((24, 80)))[1].ends_with("NEW/S"));
    }

    #[test]
    fn long_cells_widen_their_column_and_control_characters_are_escaped() {
        let mut row = rows(1);
        row[0][1] = format!("/{}\u{1b}[2J", "x".repeat(40));
        let text = text("now", &row, None);
        let columns: Vec<_> =
            text.lines().skip(1).map(|line| line.find(" up").or(line.find(" STATE"))).collect();
        assert!(!text.contains('\u{1b}') && columns.iter().all(Option::is_some), "{text}");
    }
}
