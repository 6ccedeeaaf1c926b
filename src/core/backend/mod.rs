//! The changing state of a server: its connections, its blacklist state, its turn among equals, its traffic. Workers
//! change it, snapshots point at it.

mod blacklist;
mod connect_permits;
mod health;
mod ruled_out;

use super::Millis;
use super::health::{CheckCounts, CheckResult, Health};
use super::histogram::Histogram;
use super::queue::Wakeup;
use super::traffic::Traffic;
use blacklist::Blacklist;
pub use blacklist::{Claim, Standing};
pub use connect_permits::{ConnectPermit, ConnectPermits};
use health::HealthRecord;
use parking_lot::Mutex;
pub use ruled_out::{Criterion, OwnMarks, PER_WORD, RuledOut, RuledOutTable, UnmetCriteria};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

/// A full share, see [`ServerStats::share`].
pub const WHOLE: u64 = 1000;

/// The counters of one server slot. They survive changes of its configuration.
///
/// What a search for a server reads of every server is in the first cache line.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct ServerStats {
    connections: AtomicU32,
    /// Consecutive failed connects.
    failed_in_a_row: AtomicU32,
    /// Its place in the order of turns, see [`Turns`].
    turn: AtomicU64,
    blacklist: Blacklist,
    /// It was removed: it keeps its connections and gets no new ones.
    removed: AtomicBool,
    health: HealthRecord,
    /// Counts changes of its addresses, and commands, that affect which clients it may serve.
    changes: AtomicU64,
    /// The address that worked last, as [`super::address_order::mark`] of it; 0 for none yet.
    worked: AtomicU64,
    /// Checks of datagrams in a row that another address has answered.
    misses: AtomicU32,
    /// See [`ServerStats::id`].
    id: u32,
    /// Connects in progress.
    pub connecting: ConnectPermits,
    /// Bytes sent to the server and received from it.
    pub traffic: Traffic,
    /// The durations of successful connects. None over UDP.
    pub connect_times: Histogram,
    /// Connects that failed through the server's own fault.
    failures: AtomicU64,
    /// The reason of the last failure.
    last_failure: Mutex<Option<Arc<str>>>,
    /// Of the queue, for whoever waits for a place at it.
    wakeup: Arc<Wakeup>,
    /// The criteria that it is known not to meet.
    marks: OwnMarks,
}

impl ServerStats {
    /// Of a server that `wakeup` tells of to those who wait for a place, and that is ruled out by these `marks`.
    pub fn new(wakeup: Arc<Wakeup>, marks: OwnMarks) -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let id = LAST.fetch_add(1, Relaxed).wrapping_add(1);
        ServerStats { id, wakeup, marks, ..ServerStats::default() }
    }

    /// Makes a change by which it may serve a client that it would not have served.
    fn freeing<T>(&self, change: impl FnOnce() -> T) -> T {
        // Those who wait are woken after the marks are gone, by which they search.
        self.wakeup.frees(|| self.unmark(change))
    }

    /// Makes a change that affects which clients it may serve.
    fn changing<T>(&self, change: impl FnOnce() -> T) -> T {
        self.wakeup.changes(|| self.unmark(change))
    }

    /// Makes a change that affects which criteria it meets.
    fn unmark<T>(&self, change: impl FnOnce() -> T) -> T {
        let result = change();
        self.marks.clear();
        result
    }

    /// What tells it apart from the other servers that a slot has had.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Its connections, including those being made.
    pub fn connections(&self) -> u32 {
        self.connections.load(Relaxed)
    }

    /// Failed connects so far; over UDP, flows that found the server unreachable.
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// Takes one connection out of `limit` (`None`: no limit), to be given back. False when the limit is reached.
    pub fn acquire(&self, limit: Option<u32>) -> bool {
        let limit = limit.unwrap_or(u32::MAX);
        self.connections.fetch_update(Relaxed, Relaxed, |n| (n < limit).then(|| n + 1)).is_ok()
    }

    /// Gives a connection back.
    pub fn release(&self) {
        self.freeing(|| self.connections.fetch_sub(1, Relaxed));
    }

    /// Whether a new connection may use the server. When its time on the blacklist is over, exactly one connection gets
    /// the claim to try it. The trial is a success if nothing has failed by `end`.
    pub fn admit(&self, now: Millis, end: Millis) -> Option<Option<Claim>> {
        match self.standing(now) {
            Standing::Clear => Some(None),
            Standing::Due => self.blacklist.claim(now, end).map(|claim| Some(self.unmark(|| claim))),
            _ => None,
        }
    }

    /// The connection of `claim` is over, see [`ServerStats::admit`]. If it gave no result, the next one may try.
    pub fn end_trial(&self, claim: Claim) {
        self.freeing(|| self.blacklist.give_up(claim));
    }

    /// The blacklist state at `now`.
    pub fn standing(&self, now: Millis) -> Standing {
        self.blacklist.standing(now)
    }

    /// When [`ServerStats::standing`] changes although nothing happens to the server; `None` for never.
    pub fn standing_until(&self, now: Millis) -> Option<Millis> {
        self.blacklist.until(now)
    }

    /// The server works. True when it was blacklisted for a failure.
    pub fn works(&self) -> bool {
        // Read first, as in `lift`.
        if self.failed_in_a_row.load(Relaxed) != 0 {
            self.failed_in_a_row.store(0, Relaxed);
        }
        self.blacklist.is_for_failure() && self.changing(|| self.blacklist.lift())
    }

    /// The server failed at `now`. After `limit` consecutive failures it is blacklisted for `time`: true if it was not
    /// blacklisted before. Connections that wait for one of its connect permits go elsewhere.
    pub fn fails(&self, now: Millis, time: Millis, limit: u32) -> bool {
        self.failures.fetch_add(1, Relaxed);
        let in_a_row = self.failed_in_a_row.fetch_add(1, Relaxed).saturating_add(1);
        if in_a_row < limit && self.standing(now) == Standing::Clear {
            return false;
        }
        let news = self.changing(|| self.blacklist.fail(now, time));
        self.connecting.dismiss();
        news
    }

    /// A connect to a server that is never blacklisted, the emergency or the abuse server, has failed.
    pub fn count_failure(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    /// Records why a connect failed through the server's own fault.
    pub fn note_failure(&self, reason: &str) {
        *self.last_failure.lock() = Some(reason.into());
    }

    /// The reason of the last failed connect.
    pub fn last_failure(&self) -> Option<Arc<str>> {
        self.last_failure.lock().clone()
    }

    /// The health that its checks have found.
    pub fn health(&self) -> Health {
        self.health.get()
    }

    /// Records the health that its checks have found. When it is down, connections that wait for one of its connect
    /// permits go elsewhere.
    pub fn set_health(&self, health: Health, now: Millis) {
        self.changing(|| self.health.set(health, now));
        if health == Health::Down {
            self.connecting.dismiss();
        }
    }

    /// It is back from maintenance at `now`.
    pub fn comes_back(&self, now: Millis) {
        self.unmark(|| self.health.comes_back(now));
    }

    /// It may serve clients from `now` on. If it was down and has no check any more, its slow start begins.
    pub fn serves_unchecked(&self, now: Millis) {
        self.unmark(|| self.health.serves_unchecked(now));
    }

    /// The share of new clients that it takes, in thousandths: a server that has come up begins with a tenth and
    /// reaches its full share after `slowstart`.
    pub fn share(&self, now: Millis, slowstart: Millis) -> u64 {
        let risen = self.health.risen();
        let age = now.saturating_sub(risen);
        if slowstart == 0 || risen == 0 || age >= slowstart {
            return WHOLE;
        }
        WHOLE / 10 + (WHOLE - WHOLE / 10) * age / slowstart
    }

    /// Discards the results of its checks; `checked` says whether it is checked from now on. `period` is a number that no
    /// server has had before: by it a result belongs to this server, with this address and check, and to no other.
    pub fn forget_health(&self, checked: bool, period: u64) {
        self.unmark(|| self.health.forget(checked, period));
    }

    /// The number of the last [`ServerStats::forget_health`].
    pub fn period(&self) -> u64 {
        self.health.period()
    }

    /// The counts of results of its check, since it has that check at that address.
    pub fn check_counts(&self) -> Arc<CheckCounts> {
        self.health.counts()
    }

    /// The last result of a check.
    pub fn last_check(&self) -> Option<Arc<CheckResult>> {
        self.health.last()
    }

    /// Records the result of a check.
    pub fn note_check(&self, result: CheckResult) {
        self.health.note(result);
    }

    /// The address that worked last, as [`super::address_order::mark`] of it; 0 for none yet.
    pub fn worked(&self) -> u64 {
        self.worked.load(Relaxed)
    }

    /// The address with this mark worked for a connection that began when the one that had worked last was `before`. If it is
    /// another one by now, that is kept: a check may have found that the address of this mark accepts connections and is frozen.
    pub fn remember_address_after(&self, before: u64, mark: u64) {
        if mark != before {
            // It fails if it is another one by now.
            _ = self.worked.compare_exchange(before, mark, Relaxed, Relaxed);
        }
    }

    /// The address with this mark worked.
    pub fn remember_address(&self, mark: u64) {
        if self.worked.load(Relaxed) != mark {
            self.worked.store(mark, Relaxed);
        }
    }

    /// A check of datagrams has got its answer from the address with this mark. If that is another one than before `fall` times in a
    /// row, clients go to it from now on, flows of the silent one too: a single datagram may get lost.
    pub fn check_found_address(&self, mark: u64, fall: u32) {
        let worked = self.worked.load(Relaxed);
        if worked == mark || worked == 0 {
            self.misses.store(0, Relaxed);
            self.remember_address(mark);
        } else if self.misses.fetch_add(1, Relaxed) + 1 >= fall {
            self.misses.store(0, Relaxed);
            self.worked.store(mark, Relaxed);
            self.changes.fetch_add(1, Relaxed);
        }
    }

    /// A command blacklists the server until then, whatever its connections find; 0 takes it off the blacklist.
    pub fn blacklist_until(&self, until: Millis) {
        self.changing(|| self.blacklist.order(until));
        self.changes.fetch_add(1, Relaxed);
    }

    /// The addresses of the server have changed. If some are `new`, earlier failures no longer count; if some are
    /// `gone`, connections to these have to choose a server again.
    pub fn has_moved(&self, new: bool, gone: bool) {
        if new {
            self.freeing(|| self.blacklist.lift());
        }
        if gone {
            self.changes.fetch_add(1, Relaxed);
        }
    }

    /// The server is removed: it gets no new connections, and connections that wait for it go elsewhere.
    pub fn remove(&self) {
        self.removed.store(true, Relaxed);
        self.changes.fetch_add(1, Relaxed);
        self.connecting.dismiss();
    }

    /// Whether it was removed.
    pub fn is_removed(&self) -> bool {
        self.removed.load(Relaxed)
    }

    /// A number that changes with every change of its addresses and every command that blacklists or removes it.
    pub fn changes(&self) -> u64 {
        self.changes.load(Relaxed)
    }
}

/// Whose turn it is among servers that are equally good: each in proportion to its weight, however short connections
/// are. This is start-time fair queueing (Goyal, Vin and Cheng, 1996): a server's clock advances by a step with each
/// client that it gets, a smaller step for a greater weight, and the server whose clock is lowest is next. A server
/// that was absent for a while does not catch up on the clients that it missed.
#[derive(Debug, Default)]
pub struct Turns {
    now: AtomicU64,
    /// Clients that were assigned while some server was in slow start.
    given: AtomicU64,
}

/// The step of a server of weight 1; the steps of all weights up to 16 are exact.
const STEP: u64 = 720_720;

/// The turns as a search for the next server finds them.
#[derive(Debug, Clone, Copy)]
pub struct TurnsNow(u64);

impl TurnsNow {
    /// The server's clock: the lowest is next.
    pub fn place(self, stats: &ServerStats) -> u64 {
        stats.turn.load(Relaxed).max(self.0)
    }
}

impl Turns {
    /// The turns as they are now, to compare servers.
    pub fn begin(&self) -> TurnsNow {
        TurnsNow(self.now.load(Relaxed))
    }

    /// A number that differs from client to client, to choose which clients go to a server in slow start.
    pub fn lot(&self) -> u64 {
        self.given.load(Relaxed)
    }

    /// Moves on to the number of the next client.
    pub fn next_lot(&self) {
        self.given.fetch_add(1, Relaxed);
    }

    /// Advances the clock of a server that gets a client.
    pub fn take(&self, stats: &ServerStats, weight: u32) {
        let place = self.begin().place(stats);
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
            let (name, weight, stats) = servers.iter().min_by_key(|(.., s)| turns.begin().place(s)).unwrap();
            turns.take(stats, *weight);
            *name
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn what_a_check_found_is_not_undone_by_a_connection_that_began_before() {
        let stats = ServerStats::default();
        let before = stats.worked();
        stats.remember_address_after(before, 1);
        assert_eq!(stats.worked(), 1);
        // A connection begins, and then a check finds that the address is frozen and another one answers.
        let before = stats.worked();
        stats.remember_address(3);
        stats.remember_address_after(before, 1);
        stats.remember_address_after(before, 5);
        assert_eq!(stats.worked(), 3);
        stats.remember_address_after(stats.worked(), 5);
        assert_eq!(stats.worked(), 5);
    }

    #[test]
    fn another_address_is_found_by_as_many_checks_in_a_row_as_take_a_server_down() {
        let stats = ServerStats::default();
        stats.check_found_address(1, 3);
        assert_eq!((stats.worked(), stats.changes()), (1, 0));
        // The answer of the first one was lost twice, and is there again.
        for mark in [3, 3, 1, 3, 3] {
            stats.check_found_address(mark, 3);
            assert_eq!((stats.worked(), stats.changes()), (1, 0));
        }
        stats.check_found_address(3, 3);
        assert_eq!((stats.worked(), stats.changes()), (3, 1));
    }

    #[test]
    fn equals_take_turns_by_weight_and_do_not_catch_up() {
        let (turns, [a, b, c]) = (Turns::default(), [(); 3].map(|()| ServerStats::default()));
        assert_eq!(sequence(&turns, &[("A", 1, &a), ("B", 1, &b)], 6), "ABABAB");
        // C was absent, and gets no more than its share.
        assert_eq!(sequence(&turns, &[("A", 1, &a), ("B", 1, &b), ("C", 1, &c)], 6), "CABCAB");
        let (turns, [a, b, c]) = (Turns::default(), [(); 3].map(|()| ServerStats::default()));
        let weighted = sequence(&turns, &[("A", 1, &a), ("B", 2, &b), ("C", 3, &c)], 60);
        let count = |name| weighted.matches(name).count();
        assert_eq!([count("A"), count("B"), count("C")], [10, 20, 30]);
    }
}
