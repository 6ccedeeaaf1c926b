//! The time up to which a log was read, although single time stamps may be wrong.

/// The fraction of the budget that is read at the beginning before its stamps count.
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
    /// The amount read since the stamps went ahead.
    ahead: u64,
    /// The earliest stamp since then, and the latest that follows it without another leap.
    ahead_from: i64,
    ahead_to: i64,
}

impl Frontier {
    /// The frontier of a log of which nothing has been read. `budget` is how much may be read ahead, in the unit of
    /// [`Frontier::see`].
    pub(super) fn new(slack: i64, budget: u64) -> Frontier {
        Frontier { slack, budget, time: i64::MIN, ahead: 0, ahead_from: i64::MAX, ahead_to: i64::MAX }
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
        if epoch.saturating_add(self.slack) < self.ahead_from {
            self.ahead_to = epoch;
        } else if epoch <= self.ahead_to.saturating_add(self.slack) {
            self.ahead_to = self.ahead_to.max(epoch);
        }
        self.ahead_from = self.ahead_from.min(epoch);
        let budget = if self.time == i64::MIN { self.budget / BEGINNING } else { self.budget };
        if self.ahead > budget {
            self.time = self.ahead_to;
            self.forget();
        }
    }

    fn forget(&mut self) {
        (self.ahead, self.ahead_from, self.ahead_to) = (0, i64::MAX, i64::MAX);
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
        // All that was read counts: a log with few lines would wait for the whole budget again and again.
        assert_eq!(frontier(&stamps), 5010);
        stamps.push(5011);
        assert_eq!(frontier(&stamps), 5011);
    }

    #[test]
    fn single_stamps_behind_a_pause_do_not_count_either() {
        // Far ahead, before and within the others; and somewhat out of order.
        let stamps = [100, 90_000, 5000, 5001, 4990, 5060, 90_001, 5050, 5051, 5052, 5053, 5054];
        assert_eq!(frontier(&stamps), 5060);
        // Those that leap again are decided later.
        let stamps = [100, 5000, 5001, 5002, 5003, 9000, 9001, 9002, 9003, 9004, 9005, 9006];
        assert_eq!(frontier(&stamps), 5003);
    }
}
