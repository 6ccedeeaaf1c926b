//! Clients that are accepted and wait for a descriptor for the connection to their server.
//!
//! Each holds a descriptor itself. If all that there are belong to such clients, none of them is ever served: then the one
//! that came last gives way. No further client is accepted while one waits.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How long pen waits for a connection to end when it is out of descriptors, also in accepting.
pub const SHORTAGE_PAUSE: Duration = Duration::from_millis(500);

/// The clients that wait.
#[derive(Debug, Default)]
pub struct ShortageQueue {
    /// Their number, to be read without the lock.
    count: AtomicUsize,
    clients: Mutex<ShortClients>,
}

#[derive(Debug, Default)]
struct ShortClients {
    /// In the order in which they began to wait.
    waiting: BTreeSet<u64>,
    arrivals: u64,
    /// When a client last ceased to wait.
    last_departure: Option<Instant>,
}

impl ShortageQueue {
    /// How many clients wait.
    pub fn waiting(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// Another client waits, until the result is dropped; `is_short` says so meanwhile.
    pub(super) fn join<'a>(&'a self, is_short: &'a AtomicBool) -> ShortagePosition<'a> {
        let mut clients = self.clients.lock();
        let number = clients.arrivals;
        clients.arrivals += 1;
        clients.waiting.insert(number);
        self.count.store(clients.waiting.len(), Relaxed);
        is_short.store(true, Relaxed);
        ShortagePosition { queue: self, number, is_short }
    }
}

/// A client's position among those that wait.
#[derive(Debug)]
pub(super) struct ShortagePosition<'a> {
    queue: &'a ShortageQueue,
    number: u64,
    /// Whether the client has one.
    is_short: &'a AtomicBool,
}

impl ShortagePosition<'_> {
    /// Whether it gives way to the others: it came last, and none of them could go on for a while.
    pub(super) fn gives_way(&self, now: Instant) -> bool {
        let clients = self.queue.clients.lock();
        clients.waiting.len() > 1
            && clients.waiting.last() == Some(&self.number)
            && clients.last_departure.is_none_or(|last| now.saturating_duration_since(last) >= SHORTAGE_PAUSE)
    }
}

impl Drop for ShortagePosition<'_> {
    fn drop(&mut self) {
        let mut clients = self.queue.clients.lock();
        clients.waiting.remove(&self.number);
        clients.last_departure = Some(Instant::now());
        self.queue.count.store(clients.waiting.len(), Relaxed);
        self.is_short.store(false, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_gives_way_when_nobody_can_go_on() {
        let queue = ShortageQueue::default();
        let short = [const { AtomicBool::new(false) }; 3];
        let first = queue.join(&short[0]);
        assert!(!first.gives_way(Instant::now()), "nobody else would be served");
        let (second, third) = (queue.join(&short[1]), queue.join(&short[2]));
        assert_eq!([&first, &second, &third].map(|one| one.gives_way(Instant::now())), [false, false, true]);
        drop(third);
        assert_eq!(short.each_ref().map(|one| one.load(Relaxed)), [true, true, false]);
        let now = Instant::now();
        assert!(!second.gives_way(now), "another one may go on now");
        assert!(second.gives_way(now + SHORTAGE_PAUSE));
        drop(first);
        assert!(!second.gives_way(now + 3 * SHORTAGE_PAUSE));
        drop(second);
        assert_eq!(queue.waiting(), 0);
    }
}
