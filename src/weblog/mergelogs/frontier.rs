//! The time up to which a log was read, although single time stamps may be wrong.

/// The fraction of the budget that is read at the beginning before the earliest stamp in it counts as the first.
const BEGINNING: u64 = 256;

/// Tracks the time up to which a log was read.
///
/// Time stamps are in order except for `slack` seconds. A stamp further ahead may come from a clock that was wrong for
/// a while; it counts only once so much was read after it, without a stamp back in order, that there must have been a
/// pause.
pub(super) struct Frontier {
    slack: i64,
    budget: u64,
    time: i64,
    /// The amount read since the stamps went ahead, and the earliest of their times.
    ahead: u64,
    ahead_from: i64,
}

impl Frontier {
    /// The frontier of a log of which nothing has been read. `budget` is how much may be read ahead, in the unit of
    /// [`Frontier::see`].
    pub(super) fn new(slack: i64, budget: u64) -> Frontier {
        Frontier { slack, budget, time: i64::MIN, ahead: 0, ahead_from: i64::MAX }
    }

    /// No later stamp is earlier than this by more than the slack; `i64::MIN` at the beginning.
    pub(super) fn time(&self) -> i64 {
        self.time
    }

    /// Records a stamp, and `weight` as the amount of the log read with it.
    pub(super) fn see(&mut self, epoch: i64, weight: u64) {
        if epoch <= self.time.saturating_add(self.slack) {
            self.time = self.time.max(epoch);
            self.forget();
            return;
        }
        self.ahead += weight;
        self.ahead_from = self.ahead_from.min(epoch);
        let budget = if self.time == i64::MIN { self.budget / BEGINNING } else { self.budget };
        if self.ahead > budget {
            self.time = self.ahead_from;
            self.forget();
        }
    }

    fn forget(&mut self) {
        (self.ahead, self.ahead_from) = (0, i64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frontier(stamps: &[i64]) -> i64 {
        let mut frontier = Frontier::new(60, 10);
        stamps.iter().for_each(|&stamp| frontier.see(stamp, 1));
        frontier.time()
    }

    #[test]
    fn follows_the_stamps_but_for_single_ones() {
        assert_eq!(frontier(&[]), i64::MIN);
        assert_eq!(frontier(&[100]), 100);
        assert_eq!(frontier(&[100, 101, 150, 120]), 150);
        // Far ahead, and back.
        assert_eq!(frontier(&[100, 90_000, 110]), 110);
        assert_eq!(frontier(&[100, 90_000, 90_001, 90_002, 110, 90_003]), 110);
        // Far behind.
        assert_eq!(frontier(&[100, 0, 110]), 110);
    }

    #[test]
    fn a_pause_is_one_once_enough_was_read_behind_it() {
        let mut stamps = vec![100];
        stamps.extend(5000..5010);
        assert_eq!(frontier(&stamps), 100);
        stamps.push(5010);
        assert_eq!(frontier(&stamps), 5000);
        stamps.push(5011);
        assert_eq!(frontier(&stamps), 5011);
    }
}
