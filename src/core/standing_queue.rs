//! When datagrams that have waited for long are to be shed.
//!
//! A queue that fills for a moment does its work: it keeps what comes while pen is busy elsewhere. One that never empties,
//! because more comes than can be passed on, only makes everything late: the same number of datagrams is lost, and each of
//! the others is answered after its client has given up. So says CoDel (RFC 8289), whose times these are in kind: once the
//! queue has been late for an interval it is kept short, by shedding whatever has waited for longer than the target, until
//! it has been short for an interval.

use super::Millis;

/// How long a datagram may wait, in milliseconds.
pub const TARGET: Millis = 20;
/// For how long the queue has to be late, or short, before that counts.
pub const INTERVAL: Millis = 100;

/// Whether a queue has been late for a while.
#[derive(Debug, Default, Clone, Copy)]
pub struct StandingQueue {
    stands: bool,
    /// Since when the queue has been otherwise: late while it does not stand, short while it does.
    since: Option<Millis>,
}

impl StandingQueue {
    /// At `now` datagrams are taken that have `waited` for so long. Whether they are to be shed.
    pub fn sheds(&mut self, waited: Millis, now: Millis) -> bool {
        let late = waited > TARGET;
        if late == self.stands {
            self.since = None;
        } else if now.saturating_sub(*self.since.get_or_insert(now)) >= INTERVAL {
            *self = StandingQueue { stands: late, since: None };
        }
        self.stands && late
    }

    /// Whether datagrams are being shed.
    pub fn stands(&self) -> bool {
        self.stands
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// A server of `rate` datagrams a millisecond, which sheds ten times as fast, and what `arrivals` brings it in each
    /// millisecond. The waits of what was passed on, by the time of that, and how much was shed.
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
            // Most of the time goes into what is passed on.
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
