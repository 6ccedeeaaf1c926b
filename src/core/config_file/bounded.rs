//! A list of errors of bounded length.

use crate::core::error::Error;

/// The number of errors that are shown one by one.
pub(super) const SHOWN_MAX: usize = 100;

/// The first errors, and the number of the others: a file may have millions.
#[derive(Debug, Default)]
pub(super) struct Bounded {
    shown: Vec<Error>,
    more: usize,
    /// The last one, unless it is shown.
    last: Option<Error>,
}

impl Bounded {
    pub(super) fn push(&mut self, error: Error) {
        if self.is_full() {
            self.more += 1;
            self.last = Some(error);
        } else {
            self.shown.push(error);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }

    /// Whether further errors would only be counted.
    pub(super) fn is_full(&self) -> bool {
        self.shown.len() >= SHOWN_MAX
    }

    /// The errors that are shown, and a line that counts the other ones, which are `what`, at the place of the last.
    pub(super) fn into_shown(self, what: &str) -> Vec<Error> {
        let mut shown = self.shown;
        if let Some(last) = self.last {
            let rest = Error::new(format!("{} more {what} are not shown", self.more));
            shown.push(match last.place() {
                Some(place) => rest.at(place),
                None => rest,
            });
        }
        shown
    }
}
