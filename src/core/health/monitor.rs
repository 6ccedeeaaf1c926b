//! The schedule of checks.

use super::track::{Health, Track};
use crate::core::Millis;
use std::collections::{BTreeMap, BTreeSet};

/// The schedule of a check, and how many results decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// The time from the start of one check to the start of the next.
    pub every: Millis,
    /// The same while the health is about to change.
    pub fast: Millis,
    /// Successes in a row after which a server that was down is up.
    pub rise: u32,
    /// Failures in a row after which a server that was up is down.
    pub fall: u32,
}

/// A check that is due now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The slot of the server.
    pub server: usize,
    /// The period of the server that the result will belong to: no two servers have had the same, see [`Monitor::configure`].
    pub period: u64,
}

#[derive(Debug)]
struct MonitoredServer {
    period: u64,
    rule: Rule,
    track: Track,
    /// When its last check began.
    began: Millis,
    /// When the next one begins; `None` while one is in progress.
    due: Option<Millis>,
    /// Another one is to follow at once.
    asked: bool,
    /// It has had a result.
    settled: bool,
}

/// The longest distance between the first checks of two servers, so that a small set of servers is known soon.
const FIRST_APART: Millis = 5;

/// How much too early a check may begin, unless that is more than a twentieth of its interval.
const EARLY: Millis = 50;

impl Rule {
    fn early(&self) -> Millis {
        EARLY.min(self.every.min(self.fast) / 20)
    }
}

/// All servers that are checked.
#[derive(Debug)]
pub struct Monitor {
    targets: BTreeMap<usize, MonitoredServer>,
    queue: BTreeSet<(Millis, usize)>,
    random: u64,
}

impl Monitor {
    /// A monitor without servers; `seed` randomizes the intervals.
    pub fn new(seed: u64) -> Self {
        Monitor { targets: BTreeMap::new(), queue: BTreeSet::new(), random: seed }
    }

    /// Sets the servers to check, by slot. Results of a server stay valid while its `period` is the same; it changes
    /// when the server gets another address or check, or the slot another server.
    pub fn configure(&mut self, wanted: impl IntoIterator<Item = (usize, u64, Rule)>, now: Millis) {
        let mut old = std::mem::take(&mut self.targets);
        self.queue.clear();
        let mut new = Vec::new();
        for (server, period, rule) in wanted {
            match old.remove(&server) {
                Some(target) if target.period == period => {
                    self.queue.extend(target.due.map(|due| (due, server)));
                    self.targets.insert(server, MonitoredServer { rule, ..target });
                }
                _ => new.push((server, period, rule)),
            }
        }
        let count = Millis::try_from(new.len()).unwrap_or(Millis::MAX).max(1);
        for (place, (server, period, rule)) in (0..).zip(new) {
            let due = now.saturating_add(place * (rule.every / count).min(FIRST_APART));
            let track = Track::default();
            let target = MonitoredServer {
                period,
                rule,
                track,
                began: now,
                due: Some(due),
                asked: false,
                settled: false,
            };
            self.targets.insert(server, target);
            self.queue.insert((due, server));
        }
    }

    /// When the next check is due.
    pub fn next(&self) -> Option<Millis> {
        self.queue.first().map(|(due, _)| *due)
    }

    /// Begins one check that is due at `now`, or soon: whoever is woken for one begins several at a time, which costs less. The
    /// server is not checked again before [`Monitor::finish`].
    pub fn begin(&mut self, now: Millis) -> Option<Due> {
        let (due, server) = *self.queue.first()?;
        let target = self.targets.get_mut(&server)?;
        if due > now.saturating_add(target.rule.early()) {
            return None;
        }
        self.queue.pop_first();
        target.due = None;
        target.began = now;
        Some(Due { server, period: target.period })
    }

    /// Ends a check at `now`; `None` is a result without meaning for the server. Returns the new health if it has
    /// changed. A result for an earlier period is ignored.
    pub fn finish(&mut self, due: Due, success: Option<bool>, now: Millis) -> Option<Health> {
        let random = self.random();
        let target = self.targets.get_mut(&due.server).filter(|target| target.period == due.period)?;
        let rule = target.rule;
        let change = success.and_then(|success| target.track.result(success, rule.rise, rule.fall));
        let interval = if target.track.is_changing() { target.rule.fast } else { target.rule.every };
        // Shorter by up to a tenth with what it may be early, so that a frozen server is found in time and checks do not synchronize. After the
        // first result by more: checks that began together are spread out.
        let cut = if target.settled { interval / 10 - rule.early() } else { interval };
        let interval = interval - random % (cut + 1);
        let next = if target.asked { now } else { target.began.saturating_add(interval).max(now) };
        target.settled = true;
        target.asked = false;
        target.due = Some(next);
        self.queue.insert((next, due.server));
        change
    }

    /// A connection found that the server fails: it is checked at once.
    pub fn ask(&mut self, server: usize, now: Millis) {
        let Some(target) = self.targets.get_mut(&server) else { return };
        match target.due {
            Some(due) if due > now => {
                self.queue.remove(&(due, server));
                self.queue.insert((now, server));
                target.due = Some(now);
            }
            Some(_) => {}
            // The check in progress may have begun before the failure.
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
