//! Decides when datagrams that have waited too long are dropped.
//!
//! A queue that fills for a moment does its work: it holds datagrams while pen is busy elsewhere. A queue that never
//! empties, because more arrives than can be passed on, only delays everything: as many datagrams are lost, and each of
//! the others is answered after its client has given up. This is the reasoning of CoDel (RFC 8289), whose two times are
//! used here: once the queue has been late for an interval it is kept short, by dropping every datagram that has waited
//! longer than the target, until the queue has been short for an interval.

use super::Millis;

/// How long a datagram may wait, in milliseconds.
pub const TARGET: Millis = 20;
/// How long the queue must be late, or short, before its state changes.
pub const INTERVAL: Millis = 100;

/// Whether a queue has been late for a while.
#[derive(Debug, Default, Clone, Copy)]
pub struct StandingQueue {
    stands: bool,
    /// When the present deviation began: lateness while the queue does not stand, shortness while it does.
    since: Option<Millis>,
}

impl StandingQueue {
    /// Records that datagrams taken at `now` have `waited` this long. Returns whether they are to be dropped.
    pub fn sheds(&mut self, waited: Millis, now: Millis) -> bool {
        let late = waited > TARGET;
        if late == self.stands {
            self.since = None;
        } else if now.saturating_sub(*self.since.get_or_insert(now)) >= INTERVAL {
            *self = StandingQueue { stands: late, since: None };
        }
        self.stands && late
    }

    /// Whether datagrams are being dropped.
    pub fn stands(&self) -> bool {
        self.stands
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// A server that handles `rate` datagrams a millisecond and drops ten times as fast; `arrivals` gives the datagrams
    /// of each millisecond. Returns the waits of the datagrams passed on, by time, and the number dropped.
    fn serve(
        rate: usize,
        time: Millis,
        arrivals: impl Fn(Millis) -> usize,
    ) -> (Vec<(Millis, Millis)>, usize) {
        let (mut queue, mut standing) = (VecDeque::new(), StandingQueue::default());
        let (mut passed, mut shed) = (Vec::new(), 0);
        for now in 0..time {
            queue.extend(std::iter::repeat_n(now, arrivals(now)));
            let mut work = rate * 10;
            while work >= 10 {
                let Some(came) = queue.pop_front() else {
                    standing.sheds(0, now);
                    break;
                };
                if standing.sheds(now - came, now) {
                    shed += 1;
                    work -= 1;
                } else {
                    passed.push((now, now - came));
                    work -= 10;
                }
            }
        }
        (passed, shed)
    }

    #[test]
    fn in_a_flood_what_is_passed_on_has_not_waited_for_long() {
        for factor in [2, 5] {
            let (passed, shed) = serve(100, 5000, |_| 100 * factor);
            let late = passed.iter().filter(|(now, _)| *now > 2 * INTERVAL).map(|(_, waited)| *waited).max();
            assert!(late.is_some_and(|waited| waited <= TARGET), "{late:?}");
            assert!(shed > 0);
            // Most of the time is spent on datagrams that are passed on.
            assert!(passed.len() > 5000 * 100 / 2, "{}", passed.len());
        }
    }

    #[test]
    fn a_burst_is_kept() {
        // 80 ms of work at once, every second, and a steady load besides.
        let (passed, shed) = serve(100, 5000, |now| if now % 1000 == 0 { 8000 } else { 10 });
        assert_eq!(shed, 0);
        assert!(passed.iter().any(|(_, waited)| *waited > 3 * TARGET));
    }

    #[test]
    fn after_a_flood_nothing_is_shed() {
        let mut standing = StandingQueue::default();
        (0..=INTERVAL).for_each(|now| _ = standing.sheds(TARGET + 1, now));
        assert!(standing.stands());
        (0..=INTERVAL).for_each(|now| assert!(!standing.sheds(0, 1000 + now)));
        assert!(!standing.stands() && !standing.sheds(TARGET + 1, 2000));
    }
}
