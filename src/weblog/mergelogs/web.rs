//! A web server's log, line by line.

use std::io;
use std::path::{Path, PathBuf};

use super::super::combined::WebLine;
use super::super::stamp::Stamps;
use super::about;
use super::input::Input;

/// Seconds by which a line is later than the one before it to be looked at twice: one damaged stamp in the far future
/// must not make all that follow it late.
pub(super) const LEAP: i64 = 86_400;

/// A web server's log, with its next line.
pub(super) struct Web {
    /// The server as it is written where no client is known.
    pub(super) server: String,
    path: PathBuf,
    pub(super) input: Input,
    stamps: Stamps,
    pub(super) head: Head,
    /// The line behind the next, if it had to be looked at.
    ahead: Option<Head>,
    /// The time of the line; of the one before if it has none.
    pub(super) epoch: i64,
    pub(super) open: bool,
}

/// A line and what is known of it.
#[derive(Default)]
pub(super) struct Head {
    pub(super) line: Vec<u8>,
    pub(super) parsed: Option<WebLine>,
    /// Its date in seconds since 1970, if it has one.
    pub(super) date: Option<i64>,
}

impl Web {
    pub(super) fn new(server: &str, path: &Path, input: Input) -> Web {
        Web {
            server: server.to_owned(),
            path: path.to_owned(),
            input,
            stamps: Stamps::default(),
            head: Head::default(),
            ahead: None,
            epoch: i64::MIN,
            open: true,
        }
    }

    pub(super) fn advance(&mut self) -> io::Result<()> {
        match self.ahead.take() {
            Some(ahead) => self.head = ahead,
            None => {
                let mut head = std::mem::take(&mut self.head);
                self.open = false;
                self.open = self.read(&mut head)?;
                self.head = head;
            }
        }
        if self.head.date.is_some_and(|date| date > self.epoch.saturating_add(LEAP)) {
            let mut ahead = Head::default();
            // An error shows again when the line is due.
            if let Ok(true) = self.read(&mut ahead) {
                self.head.date = self.head.date.filter(|&date| !is_damaged(date, ahead.date));
                self.ahead = Some(ahead);
            }
        }
        self.epoch = self.head.date.unwrap_or(self.epoch);
        Ok(())
    }

    fn read(&mut self, head: &mut Head) -> io::Result<bool> {
        if !self.input.next(&mut head.line).map_err(|error| about(&self.path, &error))? {
            return Ok(false);
        }
        head.parsed = WebLine::parse(&head.line);
        let date = head.parsed.as_ref().and_then(|web| web.date.clone());
        head.date = date.and_then(|date| self.stamps.parse(&head.line[date]));
        Ok(true)
    }
}

/// Whether a time far ahead of those before it is damage, and not a long pause: the next one is far behind it.
pub(super) fn is_damaged(epoch: i64, next: Option<i64>) -> bool {
    next.is_some_and(|next| next < epoch.saturating_sub(LEAP))
}
