//! The blacklist state of a server, and which connection tries the server again.
//!
//! A server that failed is blacklisted for a time. After that, one connection tries it while all others still go
//! elsewhere: a server that is still away costs one client a detour, not all of them. A success takes it off the
//! blacklist, a failure blacklists it again.

use crate::core::Millis;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The blacklist state of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is not on the blacklist.
    Clear,
    /// It failed, and its time is over: one connection may try it, see [`Blacklist::claim`].
    Due,
    /// One connection is trying it.
    Trial,
    /// It failed, and is blacklisted until this time.
    Failed(Millis),
    /// A command has blacklisted it until this time.
    Ordered(Millis),
}

impl Standing {
    /// Whether a connection may use the server, be it as its trial.
    pub fn may_be_tried(self) -> bool {
        matches!(self, Standing::Clear | Standing::Due)
    }
}

/// The state of one server in one word: a time, and its meaning in the two lowest bits. 0 means not blacklisted.
#[derive(Debug, Default)]
pub(super) struct Blacklist(AtomicU64);

/// It failed, and is due at the time.
const FAILED: u64 = 1;
/// It is being tried. If nothing has failed by the time, it works.
const TRIAL: u64 = 2;
/// A command has blacklisted it until the time.
const ORDERED: u64 = 3;

fn word(time: Millis, kind: u64) -> u64 {
    (time.min(Millis::MAX >> 2) << 2) | kind
}

fn standing(word: u64, now: Millis) -> Standing {
    let time = word >> 2;
    match word & 3 {
        FAILED if now < time => Standing::Failed(time),
        FAILED => Standing::Due,
        TRIAL if now < time => Standing::Trial,
        ORDERED if now < time => Standing::Ordered(time),
        _ => Standing::Clear,
    }
}

impl Blacklist {
    /// The state at `now`.
    pub(super) fn standing(&self, now: Millis) -> Standing {
        match self.0.load(Relaxed) {
            0 => Standing::Clear,
            word => standing(word, now),
        }
    }

    /// When the state changes by itself after `now`; `None` for never.
    pub(super) fn until(&self, now: Millis) -> Option<Millis> {
        let time = self.0.load(Relaxed) >> 2;
        (now < time).then_some(time)
    }

    /// Claims the trial of a server that is [`Standing::Due`]. The trial counts as a success if it has not failed by
    /// `end`. Exactly one of several concurrent callers succeeds.
    pub(super) fn claim(&self, now: Millis, end: Millis) -> Option<Claim> {
        let claim = Claim(NonZeroU64::new(word(end, TRIAL))?);
        let due = |word| (standing(word, now) == Standing::Due).then_some(claim.0.get());
        self.0.fetch_update(Relaxed, Relaxed, due).ok().map(|_| claim)
    }

    /// The connection of `claim` has ended without a result: the next one may try the server. Without effect when the
    /// trial has ended already.
    pub(super) fn give_up(&self, claim: Claim) {
        _ = self.0.compare_exchange(claim.0.get(), word(0, FAILED), Relaxed, Relaxed);
    }

    /// Whether it is left out, or tried, after a failure.
    pub(super) fn is_for_failure(&self) -> bool {
        matches!(self.0.load(Relaxed) & 3, FAILED | TRIAL)
    }

    /// The server works. True if it was blacklisted for a failure, or on trial. The blacklisting by a command stays.
    pub(super) fn lift(&self) -> bool {
        // Read first: this runs for every connection, and the cache line is shared between cores.
        let mut word = self.0.load(Relaxed);
        while matches!(word & 3, FAILED | TRIAL) {
            match self.0.compare_exchange_weak(word, 0, Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(changed) => word = changed,
            }
        }
        false
    }

    /// The server failed at `now` and is blacklisted for `time`, unless that is 0. True if it was not on the blacklist
    /// before. The blacklisting by a command stays.
    pub(super) fn fail(&self, now: Millis, time: Millis) -> bool {
        let failed = if time == 0 { 0 } else { word(now.saturating_add(time), FAILED) };
        let ordered = |word| matches!(standing(word, now), Standing::Ordered(_));
        let before = self.0.fetch_update(Relaxed, Relaxed, |word| (!ordered(word)).then_some(failed));
        before.is_ok_and(|word| standing(word, now) == Standing::Clear)
    }

    /// A command blacklists the server until then; a time in the past takes it off the blacklist, whatever the reason
    /// it was there.
    pub(super) fn order(&self, until: Millis) {
        self.0.store(if until == 0 { 0 } else { word(until, ORDERED) }, Relaxed);
    }
}

/// The right to try a server that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim(NonZeroU64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_left_out_for_its_time_and_then_tried_by_one() {
        let list = Blacklist::default();
        assert!(list.fail(100, 30) && !list.fail(100, 30), "the second failure is no news");
        assert_eq!(list.standing(129), Standing::Failed(130));
        assert_eq!(list.claim(129, 1000), None);
        assert_eq!(list.standing(130), Standing::Due);
        let claim = list.claim(130, 1000).unwrap();
        assert_eq!((list.standing(131), list.claim(131, 1000)), (Standing::Trial, None));
        // After a claim is given up, the next connection may try at once.
        list.give_up(claim);
        assert_eq!(list.standing(0), Standing::Due);
        assert!(list.claim(131, 1001).is_some());
        assert!(!list.fail(140, 30), "a trial that fails is no news");
        assert_eq!(list.standing(141), Standing::Failed(170));
        // Giving up a trial that is already over has no effect.
        list.give_up(claim);
        assert_eq!(list.standing(141), Standing::Failed(170));
        assert!(list.lift() && !list.lift());
        assert_eq!(list.standing(141), Standing::Clear);
    }

    #[test]
    fn a_trial_that_has_not_failed_by_its_end_is_a_success() {
        let list = Blacklist::default();
        list.fail(0, 10);
        list.claim(10, 15).unwrap();
        assert_eq!(list.standing(14), Standing::Trial);
        assert_eq!(list.standing(15), Standing::Clear);
        assert!(list.fail(16, 10), "a later failure is news");
    }

    #[test]
    fn an_order_outlasts_what_happens_to_connections() {
        let list = Blacklist::default();
        list.fail(0, 10);
        list.order(100);
        assert!(!list.lift() && !list.fail(50, 200));
        assert_eq!(list.standing(99), Standing::Ordered(100));
        assert_eq!(list.standing(100), Standing::Clear);
        assert!(list.fail(100, 10));
        list.order(0);
        assert_eq!(list.standing(100), Standing::Clear);
    }

    #[test]
    fn without_a_time_nothing_is_blacklisted() {
        let list = Blacklist::default();
        assert!(list.fail(5, 0));
        assert_eq!(list.standing(5), Standing::Clear);
    }

    #[test]
    fn of_many_that_try_at_once_one_does() {
        let list = Blacklist::default();
        list.fail(0, 1);
        let claims = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..8).map(|_| scope.spawn(|| list.claim(1, 99).is_some())).collect();
            tries.into_iter().map(|one| one.join().unwrap()).filter(|got| *got).count()
        });
        assert_eq!(claims, 1);
    }
}
