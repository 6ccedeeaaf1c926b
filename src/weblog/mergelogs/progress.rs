//! A progress bar for long runs, on a terminal.

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::input::BytesRead;

/// A run that takes longer than this shows its progress.
const PATIENCE: Duration = Duration::from_secs(2);

/// The number of lines between two checks of the clock.
const LOOK_EVERY: u64 = 4096;

/// A bar that appears only in a long run.
pub(super) struct Progress {
    begun: Instant,
    bytes_read: BytesRead,
    total: u64,
    bar: Option<ProgressBar>,
    next_look: u64,
}

impl Progress {
    /// A bar for `total` bytes, of which `bytes_read` counts those done.
    pub(super) fn new(bytes_read: BytesRead, total: u64) -> Progress {
        Progress { begun: Instant::now(), bytes_read, total, bar: None, next_look: LOOK_EVERY }
    }

    /// Updates the bar; call it with the number of lines so far, as often as possible.
    pub(super) fn lines(&mut self, lines: u64) {
        if lines >= self.next_look {
            self.next_look = lines + LOOK_EVERY;
            self.show();
        }
    }

    fn show(&mut self) {
        if self.bar.is_none() && self.begun.elapsed() >= PATIENCE {
            let bar =
                if io::stderr().is_terminal() { ProgressBar::new(self.total) } else { ProgressBar::hidden() };
            let style =
                ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
            self.bar = Some(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(self.bytes_read.get());
        }
    }

    /// Removes the bar.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
