//! The terminal that standard output may be.

use std::env;
use std::io::{self, IsTerminal};

/// The size that is assumed where the terminal does not report one, such as a serial line.
const USUAL: ScreenSize = ScreenSize { rows: 24, columns: 80 };

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScreenSize {
    /// Lines.
    pub rows: usize,
    /// Characters in a line.
    pub columns: usize,
}

/// The present size of the terminal that standard output is, if it obeys control sequences; `None` for a terminal that is
/// `dumb` or of no known type, and for what is no terminal.
pub fn size() -> Option<ScreenSize> {
    let out = io::stdout();
    let obeys = env::var_os("TERM").is_some_and(|kind| !kind.is_empty() && kind != "dumb");
    if !obeys || !out.is_terminal() {
        return None;
    }
    let reported = rustix::termios::tcgetwinsize(&out).ok().filter(|size| size.ws_row > 0 && size.ws_col > 0);
    Some(reported.map_or(USUAL, |size| ScreenSize { rows: size.ws_row.into(), columns: size.ws_col.into() }))
}
