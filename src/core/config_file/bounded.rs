//! A list of errors of bounded length.

use crate::core::error::Error;

/// The number of errors that are shown one by one.
pub(super) const SHOWN_MAX: usize = 100;

/// The first errors by their positions, and the number of the others: a file may have millions.
#[derive(Debug, Default, Clone)]
pub(super) struct Bounded {
    /// In the order of their positions.
    shown: Vec<(usize, Error)>,
    more: usize,
    /// The last one, unless it is shown.
    last: Option<(usize, Error)>,
}

impl Bounded {
    /// Adds an error at a position; behind those that are there already.
    pub(super) fn push(&mut self, position: usize, error: Error) {
        let at = self.shown.partition_point(|(other, _)| *other <= position);
        self.shown.insert(at, (position, error));
        if self.shown.len() > SHOWN_MAX
            && let Some(hidden) = self.shown.pop()
        {
            self.more += 1;
            self.last = self.last.take().filter(|last| last.0 > hidden.0).or(Some(hidden));
        }
    }

    /// Adds the errors of `other` that are not here yet.
    pub(super) fn merge(&mut self, other: Bounded) {
        if self.more > 0 {
            return;
        }
        for (position, error) in other.shown {
            if !self.shown.iter().any(|(known, same)| *known == position && *same == error) {
                self.push(position, error);
            }
        }
        self.more += other.more;
        self.last = other.last.or(self.last.take());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }

    /// The errors that are shown, and a line that counts the other ones, which are `what`, at the place of the last.
    pub(super) fn into_shown(self, what: &str) -> Vec<Error> {
        let mut shown: Vec<Error> = self.shown.into_iter().map(|(_, error)| error).collect();
        if let Some((_, last)) = self.last {
            let rest = Error::new(format!("{} more {what} are not shown", self.more));
            shown.push(match last.place() {
                Some(place) => rest.at(place),
                None => rest,
            });
        }
        shown
    }
}
