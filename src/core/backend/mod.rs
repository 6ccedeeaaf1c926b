//! What is alive about a server: its connections, whether it is blacklisted, its turn among equals, its traffic. Workers
//! change it, snapshots point at it.

mod blacklist;
mod health;
mod places;

use super::Millis;
use super::health::{CheckResult, Health};
use super::histogram::Histogram;
use super::traffic::Traffic;
use blacklist::Blacklist;
pub use blacklist::{Claim, Standing};
use health::HealthRecord;
use parking_lot::Mutex;
pub use places::{Place, Places};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

/// All of a share, see [`ServerStats::share`].
pub const WHOLE: u64 = 1000;

/// The counters of one server slot. They outlive changes of its configuration.
#[derive(Debug, Default)]
pub struct ServerStats {
    connections: AtomicU32,
    blacklist: Blacklist,
    /// Its place in the order of turns, see [`Turns`].
    turn: AtomicU64,
    /// How often its addresses or a command have changed who may be served by it.
    changes: AtomicU64,
    /// Which of its addresses worked last, as [`super::address_order::mark`] has it; 0 for none yet.
    worked: AtomicU64,
    /// It was removed: it keeps the connections that it has, and gets no more.
    removed: AtomicBool,
    health: HealthRecord,
    /// Connects to it that failed in a row.
    failed_in_a_row: AtomicU32,
    /// Connects to it that are in progress.
    pub connecting: Places,
    /// Bytes sent to the server and received from it.
    pub traffic: Traffic,
    /// How long the connects to it took that succeeded. Over UDP there are none.
    pub connect_times: Histogram,
    /// Connects to it that failed, by its own fault.
    failures: AtomicU64,
    /// Why the last of them failed.
    last_failure: Mutex<Option<Arc<str>>>,
}

impl ServerStats {
    /// Connections that it has or that are being made.
    pub fn connections(&self) -> u32 {
        self.connections.load(Relaxed)
    }

    /// Connects that failed so far; over UDP, flows for which it was not there.
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// Takes one connection out of `limit` (`None`: there is no limit), which is to be given back. False when there is none.
    pub fn acquire(&self, limit: Option<u32>) -> bool {
        let limit = limit.unwrap_or(u32::MAX);
        self.connections.fetch_update(Relaxed, Relaxed, |n| (n < limit).then(|| n + 1)).is_ok()
    }

    /// Gives a connection back.
    pub fn release(&self) {
        self.connections.fetch_sub(1, Relaxed);
    }

    /// For a connection that is to be made: whether the server may be used. Of a server whose time on the blacklist is over
    /// exactly one connection gets the claim to try it. The trial is a success if nothing has failed by `end`.
    pub fn admit(&self, now: Millis, end: Millis) -> Option<Option<Claim>> {
        match self.standing(now) {
            Standing::Clear => Some(None),
            Standing::Due => self.blacklist.claim(now, end).map(Some),
            _ => None,
        }
    }

    /// The connection of `claim` is over, see [`ServerStats::admit`]. If it has shown nothing, the next one may try.
    pub fn end_trial(&self, claim: Claim) {
        self.blacklist.give_up(claim);
    }

    /// How the server stands with the blacklist at `now`.
    pub fn standing(&self, now: Millis) -> Standing {
        self.blacklist.standing(now)
    }

    /// The server works. True when it was blacklisted for a failure.
    pub fn works(&self) -> bool {
        // Looked at first, as in `lift`.
        if self.failed_in_a_row.load(Relaxed) != 0 {
            self.failed_in_a_row.store(0, Relaxed);
        }
        self.blacklist.lift()
    }

    /// The server failed at `now`. After `limit` failures in a row it is left out for `time`: true when it was not blacklisted
    /// before. Those who wait for a place among its connects go elsewhere.
    pub fn fails(&self, now: Millis, time: Millis, limit: u32) -> bool {
        self.failures.fetch_add(1, Relaxed);
        let in_a_row = self.failed_in_a_row.fetch_add(1, Relaxed).saturating_add(1);
        if in_a_row < limit && self.standing(now) == Standing::Clear {
            return false;
        }
        let news = self.blacklist.fail(now, time);
        self.connecting.dismiss();
        news
    }

    /// Why a connect to it failed, by its own fault.
    pub fn note_failure(&self, reason: &str) {
        *self.last_failure.lock() = Some(reason.into());
    }

    /// Why the last connect failed that did.
    pub fn last_failure(&self) -> Option<Arc<str>> {
        self.last_failure.lock().clone()
    }

    /// What its checks have found.
    pub fn health(&self) -> Health {
        self.health.get()
    }

    /// Its checks have found that it is so. Where it is down, those who wait for a place among its connects go elsewhere.
    pub fn set_health(&self, health: Health, now: Millis) {
        self.health.set(health, now);
        if health == Health::Down {
            self.connecting.dismiss();
        }
    }

    /// The share of new clients that it takes, in thousandths: a server that has come up begins with a tenth, and takes all of
    /// its share after `slowstart`.
    pub fn share(&self, now: Millis, slowstart: Millis) -> u64 {
        let risen = self.health.risen();
        let age = now.saturating_sub(risen);
        if slowstart == 0 || risen == 0 || age >= slowstart {
            return WHOLE;
        }
        WHOLE / 10 + (WHOLE - WHOLE / 10) * age / slowstart
    }

    /// What its checks have found is of no use any more; from now on it is checked, or is not.
    pub fn forget_health(&self, checked: bool) {
        self.health.forget(checked);
    }

    /// Another number after each [`ServerStats::forget_health`].
    pub fn period(&self) -> u64 {
        self.health.period()
    }

    /// The last result of a check.
    pub fn last_check(&self) -> Option<Arc<CheckResult>> {
        self.health.last()
    }

    /// A check has ended.
    pub fn note_check(&self, result: CheckResult) {
        self.health.note(result);
    }

    /// Which of its addresses worked last, as [`super::address_order::mark`] has it; 0 for none yet.
    pub fn worked(&self) -> u64 {
        self.worked.load(Relaxed)
    }

    /// The address with this mark has worked.
    pub fn remember_address(&self, mark: u64) {
        if self.worked.load(Relaxed) != mark {
            self.worked.store(mark, Relaxed);
        }
    }

    /// A command blacklists the server until then, whatever happens to connections; 0 takes it back in.
    pub fn blacklist_until(&self, until: Millis) {
        self.blacklist.order(until);
        self.changes.fetch_add(1, Relaxed);
    }

    /// The server has other addresses: with one that is `new` it is not the one that failed; without one that is `gone`,
    /// those who use that one have to look for another.
    pub fn has_moved(&self, new: bool, gone: bool) {
        if new {
            self.blacklist.lift();
        }
        if gone {
            self.changes.fetch_add(1, Relaxed);
        }
    }

    /// The server is removed: it gets no more connections, and those who wait for one go elsewhere.
    pub fn remove(&self) {
        self.removed.store(true, Relaxed);
        self.changes.fetch_add(1, Relaxed);
        self.connecting.dismiss();
    }

    /// Whether it was removed.
    pub fn is_removed(&self) -> bool {
        self.removed.load(Relaxed)
    }

    /// A number that is another one after every change of its addresses and every command that blacklists or removes it.
    pub fn changes(&self) -> u64 {
        self.changes.load(Relaxed)
    }
}

/// Whose turn it is among servers that are equally good: each in proportion to its weight, however short connections are.
/// This is start-time fair queueing (Goyal, Vin and Cheng, 1996): a server's clock advances by a step with each client
/// that it gets, the smaller the greater its weight, and the one whose clock is behind is next. One that was not among
/// the equals for a while does not catch up on what it has missed.
#[derive(Debug, Default)]
pub struct Turns {
    now: AtomicU64,
    /// Clients that were given to servers while some server came up slowly.
    given: AtomicU64,
}

/// The step of a server of weight 1; the steps of all weights up to 16 are exact.
const STEP: u64 = 720_720;

impl Turns {
    /// The server's place: the lowest is next.
    pub fn place(&self, stats: &ServerStats) -> u64 {
        stats.turn.load(Relaxed).max(self.now.load(Relaxed))
    }

    /// A number that differs from client to client, for who goes to a server that comes up slowly.
    pub fn lot(&self) -> u64 {
        self.given.load(Relaxed)
    }

    /// The next client has another number.
    pub fn next_lot(&self) {
        self.given.fetch_add(1, Relaxed);
    }

    /// The server gets a client.
    pub fn take(&self, stats: &ServerStats, weight: u32) {
        let place = self.place(stats);
        let step = (STEP / u64::from(weight.max(1))).max(1);
        stats.turn.store(place.saturating_add(step), Relaxed);
        self.now.fetch_max(place, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(turns: &Turns, servers: &[(&str, u32, &ServerStats)], count: usize) -> String {
        let next = |_| {
            let (name, weight, stats) = servers.iter().min_by_key(|(.., s)| turns.place(s)).unwrap();
            turns.take(stats, *weight);
            *name
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn equals_take_turns_by_weight_and_do_not_catch_up() {
        let (turns, [a, b, c]) = (Turns::default(), [(); 3].map(|()| ServerStats::default()));
        assert_eq!(sequence(&turns, &[("A", 1, &a), ("B", 1, &b)], 6), "ABABAB");
        // C was away, and gets no more than its share.
        assert_eq!(sequence(&turns, &[("A", 1, &a), ("B", 1, &b), ("C", 1, &c)], 6), "CABCAB");
        let (turns, [a, b, c]) = (Turns::default(), [(); 3].map(|()| ServerStats::default()));
        let weighted = sequence(&turns, &[("A", 1, &a), ("B", 2, &b), ("C", 3, &c)], 60);
        let count = |name| weighted.matches(name).count();
        assert_eq!([count("A"), count("B"), count("C")], [10, 20, 30]);
    }
}
