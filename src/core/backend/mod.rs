//! What is alive about a server: its connections, whether it is blacklisted, its turn among equals, its traffic. Workers
//! change it, snapshots point at it.

mod blacklist;

use super::Millis;
use super::traffic::Traffic;
pub use blacklist::Standing;
use blacklist::{Blacklist, Claim};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// The counters of one server slot. They outlive changes of its configuration.
#[derive(Debug, Default)]
pub struct ServerStats {
    connections: AtomicU32,
    blacklist: Blacklist,
    /// Its place in the order of turns, see [`Turns`].
    turn: AtomicU64,
    /// Bytes sent to the server and received from it.
    pub traffic: Traffic,
}

impl ServerStats {
    /// Connections that it has or that are being made.
    pub fn connections(&self) -> u32 {
        self.connections.load(Relaxed)
    }

    /// Takes one connection out of `limit` (`None`: there is no limit). The connection ends when the slot is dropped.
    pub fn acquire(self: &Arc<Self>, limit: Option<u32>) -> Option<ServerSlot> {
        let limit = limit.unwrap_or(u32::MAX);
        let taken = self.connections.fetch_update(Relaxed, Relaxed, |n| (n < limit).then(|| n + 1));
        taken.ok().map(|_| ServerSlot { stats: Arc::clone(self), claim: None })
    }

    /// How the server stands with the blacklist at `now`.
    pub fn standing(&self, now: Millis) -> Standing {
        self.blacklist.standing(now)
    }

    /// The server works. True when it was blacklisted for a failure.
    pub fn works(&self) -> bool {
        self.blacklist.lift()
    }

    /// The server failed at `now` and is left out for `time`. True when it was not blacklisted before.
    pub fn fails(&self, now: Millis, time: Millis) -> bool {
        self.blacklist.fail(now, time)
    }

    /// A command blacklists the server until then, whatever happens to connections; 0 takes it back in.
    pub fn blacklist_until(&self, until: Millis) {
        self.blacklist.order(until);
    }
}

/// One connection of a server, from the decision to connect until both sides are closed.
#[derive(Debug)]
pub struct ServerSlot {
    stats: Arc<ServerStats>,
    /// It tries a server that had failed.
    claim: Option<Claim>,
}

impl ServerSlot {
    /// For a server whose time on the blacklist is over: whether this is the one connection that tries it. If not, nor is
    /// the server to be used. The trial is a success if nothing has failed by `end`.
    #[must_use]
    pub fn claim(&mut self, now: Millis, end: Millis) -> bool {
        match self.stats.standing(now) {
            Standing::Clear => true,
            Standing::Due => {
                self.claim = self.stats.blacklist.claim(now, end);
                self.claim.is_some()
            }
            _ => false,
        }
    }
}

impl Drop for ServerSlot {
    fn drop(&mut self) {
        if let Some(claim) = self.claim.take() {
            self.stats.blacklist.give_up(claim);
        }
        self.stats.connections.fetch_sub(1, Relaxed);
    }
}

/// Whose turn it is among servers that are equally good: each in proportion to its weight, however short connections are.
/// This is start-time fair queueing (Goyal, Vin and Cheng, 1996): a server's clock advances by a step with each client
/// that it gets, the smaller the greater its weight, and the one whose clock is behind is next. One that was not among
/// the equals for a while does not catch up on what it has missed.
#[derive(Debug, Default)]
pub struct Turns {
    now: AtomicU64,
}

/// The step of a server of weight 1; the steps of all weights up to 16 are exact.
const STEP: u64 = 720_720;

impl Turns {
    /// The server's place: the lowest is next.
    pub fn place(&self, stats: &ServerStats) -> u64 {
        stats.turn.load(Relaxed).max(self.now.load(Relaxed))
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

    #[test]
    fn a_connection_that_ends_undecided_lets_the_next_one_try_the_server() {
        let stats = Arc::new(ServerStats::default());
        assert!(stats.fails(0, 10));
        let slot = || stats.acquire(None).unwrap();
        let (mut first, mut second) = (slot(), slot());
        assert!(!first.claim(9, 99), "its time is not over");
        assert!(first.claim(10, 99) && !second.claim(10, 99));
        drop(first);
        assert!(second.claim(11, 98));
        assert!(stats.works());
        drop(second);
        assert_eq!((stats.standing(12), stats.connections()), (Standing::Clear, 0));
    }
}
