//! Distinguishes damaged time stamps from pauses.

/// A time stamp is doubtful if it is later than the one before it by more than this many seconds.
const LEAP: i64 = 86_400;

/// Holds an item whose time stamp is far ahead of the one before it, until the next stamp decides: if that is far
/// behind again, the held stamp is damaged.
pub(super) struct Doubt<T> {
    last: i64,
    held: Option<(i64, T)>,
}

/// The decision about a held item.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision<T> {
    /// There was a pause: the stamp is correct.
    Right(i64, T),
    /// The stamp is damaged; the time is that of the item before it.
    Damaged(i64, T),
}

impl<T> Default for Doubt<T> {
    fn default() -> Self {
        Doubt { last: i64::MIN, held: None }
    }
}

impl<T> Doubt<T> {
    /// The last stamp; `i64::MIN` at the beginning.
    pub(super) fn last(&self) -> i64 {
        self.last
    }

    /// Decides about the held item, given the next stamp; `None` is the end. Call it before [`Doubt::is_doubtful`].
    pub(super) fn decide(&mut self, next: Option<i64>) -> Option<Decision<T>> {
        let (epoch, item) = self.held.take()?;
        if next.is_some_and(|next| next < epoch.saturating_sub(LEAP)) {
            return Some(Decision::Damaged(self.last, item));
        }
        self.last = epoch;
        Some(Decision::Right(epoch, item))
    }

    /// Whether a stamp is doubtful: then its item must be passed to [`Doubt::hold`]. Otherwise it becomes the last
    /// stamp.
    pub(super) fn is_doubtful(&mut self, epoch: i64) -> bool {
        let is_doubtful = epoch > self.last.saturating_add(LEAP);
        if !is_doubtful {
            self.last = epoch;
        }
        is_doubtful
    }

    /// Holds an item until the next stamp.
    pub(super) fn hold(&mut self, epoch: i64, item: T) {
        self.held = Some((epoch, item));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_stamp_and_a_pause() {
        let mut doubt = Doubt::default();
        assert!(doubt.is_doubtful(100));
        doubt.hold(100, 'a');
        assert_eq!(doubt.decide(Some(101)), Some(Decision::Right(100, 'a')));
        assert!(!doubt.is_doubtful(101) && doubt.last() == 101);
        assert!(doubt.is_doubtful(900_000));
        doubt.hold(900_000, 'b');
        assert_eq!(doubt.decide(Some(102)), Some(Decision::Damaged(101, 'b')));
        assert!(!doubt.is_doubtful(102) && doubt.is_doubtful(800_000));
        doubt.hold(800_000, 'c');
        assert_eq!(doubt.decide(None), Some(Decision::Right(800_000, 'c')));
        assert_eq!(doubt.decide(Some(1)), None);
    }
}
