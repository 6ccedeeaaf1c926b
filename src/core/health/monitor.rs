//! When each server is checked.

use super::track::{Health, Track};
use crate::core::Millis;
use std::collections::{BTreeMap, BTreeSet};

/// When a server is checked, and how many results decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// From the beginning of a check to that of the next.
    pub every: Millis,
    /// The same while the health is about to change.
    pub fast: Millis,
    /// Successes in a row after which a server that was down is up.
    pub rise: u32,
    /// Failures in a row after which a server that was up is down.
    pub fall: u32,
}

/// A check that is to begin now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The slot of the server.
    pub server: usize,
    /// Of which period of the server the result will tell, see [`Monitor::configure`].
    pub period: u64,
}

#[derive(Debug)]
struct Target {
    period: u64,
    rule: Rule,
    track: Track,
    /// When its last check began.
    began: Millis,
    /// When the next one does; none while one is in progress.
    due: Option<Millis>,
    /// One is to follow at once.
    asked: bool,
    /// It has had a result.
    settled: bool,
}

/// The farthest that the first checks of two servers are apart, so that few servers are all known soon.
const FIRST_APART: Millis = 5;

/// All servers that are checked.
#[derive(Debug)]
pub struct Monitor {
    targets: BTreeMap<usize, Target>,
    queue: BTreeSet<(Millis, usize)>,
    random: u64,
}

impl Monitor {
    /// No servers yet; `seed` is what intervals differ by.
    pub fn new(seed: u64) -> Self {
        Monitor { targets: BTreeMap::new(), queue: BTreeSet::new(), random: seed }
    }

    /// From now on these servers are checked, by their slots. What is known of a server holds on as long as its `period` is the
    /// same: that is another number once the server has another address or check.
    pub fn configure(&mut self, wanted: impl IntoIterator<Item = (usize, u64, Rule)>, now: Millis) {
        let mut old = std::mem::take(&mut self.targets);
        self.queue.clear();
        let mut new = Vec::new();
        for (server, period, rule) in wanted {
            match old.remove(&server) {
                Some(target) if target.period == period => {
                    self.queue.extend(target.due.map(|due| (due, server)));
                    self.targets.insert(server, Target { rule, ..target });
                }
                _ => new.push((server, period, rule)),
            }
        }
        let count = Millis::try_from(new.len()).unwrap_or(Millis::MAX).max(1);
        for (place, (server, period, rule)) in (0..).zip(new) {
            let due = now.saturating_add(place * (rule.every / count).min(FIRST_APART));
            let track = Track::default();
            let target =
                Target { period, rule, track, began: now, due: Some(due), asked: false, settled: false };
            self.targets.insert(server, target);
            self.queue.insert((due, server));
        }
    }

    /// When the next check is due.
    pub fn next(&self) -> Option<Millis> {
        self.queue.first().map(|(due, _)| *due)
    }

    /// One check that is due at `now`, which begins; nobody checks that server before [`Monitor::finish`].
    pub fn begin(&mut self, now: Millis) -> Option<Due> {
        self.next().filter(|due| *due <= now)?;
        let (_, server) = self.queue.pop_first()?;
        let target = self.targets.get_mut(&server)?;
        target.due = None;
        target.began = now;
        Some(Due { server, period: target.period })
    }

    /// A check has ended at `now`; `None` is one that says nothing about the server. Gives the health of the server if that is another one now. The result of a server that is
    /// another one meanwhile says nothing.
    pub fn finish(&mut self, due: Due, success: Option<bool>, now: Millis) -> Option<Health> {
        let random = self.random();
        let target = self.targets.get_mut(&due.server).filter(|target| target.period == due.period)?;
        let rule = target.rule;
        let change = success.and_then(|success| target.track.result(success, rule.rise, rule.fall));
        let interval = if target.track.is_changing() { target.rule.fast } else { target.rule.every };
        // Shorter by up to a tenth, so that a frozen server is found in time, and no two go in step. After the first
        // result by more: whatever began together is spread.
        let cut = if target.settled { interval / 10 } else { interval };
        let interval = interval - random % (cut + 1);
        let next = if target.asked { now } else { target.began.saturating_add(interval).max(now) };
        target.settled = true;
        target.asked = false;
        target.due = Some(next);
        self.queue.insert((next, due.server));
        change
    }

    /// Somebody has met a failure of the server: it is checked at once.
    pub fn ask(&mut self, server: usize, now: Millis) {
        let Some(target) = self.targets.get_mut(&server) else { return };
        match target.due {
            Some(due) if due > now => {
                self.queue.remove(&(due, server));
                self.queue.insert((now, server));
                target.due = Some(now);
            }
            Some(_) => {}
            // What is in progress may have begun before the failure.
            None => target.asked = true,
        }
    }

    /// A number of SplitMix64 (Steele, Lea and Flood, 2014).
    pub(super) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
