//! Whose turn it is to accept.
//!
//! Were all workers to wait on the listening socket, the system would wake every one that sleeps for each client, and
//! whoever is awake anyway would get most of the connections. So one worker waits at a time, and passes the turn to the one
//! that has the fewest connections as soon as it has some more than that one. The queue of clients is the one
//! socket's all the time: nobody is stranded in it, whoever's turn it is.
//!
//! That is for connections that cost next to nothing when they begin. A TLS handshake keeps a worker busy for so long that
//! another one, idle, must not have to wait for its turn: then all of them wait for clients after all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::sync::Notify;

#[derive(Debug, Default)]
struct Worker {
    connections: AtomicUsize,
    called: Notify,
}

/// The workers, and which of them accepts.
#[derive(Debug)]
pub struct Turns {
    workers: Box<[Worker]>,
    holder: AtomicUsize,
    /// `None`: it is everybody's turn all the time.
    margin: Option<usize>,
}

impl Turns {
    /// Of `workers`, the first of which begins. One passes the turn when it has `margin` connections more than another: a
    /// small one shares out more evenly, a large one wakes workers less often.
    pub fn new(workers: usize, margin: usize) -> Arc<Self> {
        Self::with(workers, Some(margin.max(1)))
    }

    /// Of `workers`, all of which accept all the time.
    pub fn none(workers: usize) -> Arc<Self> {
        Self::with(workers, None)
    }

    fn with(workers: usize, margin: Option<usize>) -> Arc<Self> {
        let workers = std::iter::repeat_with(Worker::default).take(workers.max(1)).collect();
        Arc::new(Turns { workers, holder: AtomicUsize::new(0), margin })
    }

    /// The place of worker `number`, counted from 0.
    pub fn seat(self: &Arc<Self>, number: usize) -> Seat {
        Seat { turns: Arc::clone(self), me: number % self.workers.len() }
    }

    fn give_to(&self, number: usize) {
        self.holder.store(number, Relaxed);
        // The call is kept where nobody waits for it yet, and orders the store before what the called one reads.
        self.workers[number].called.notify_one();
    }
}

/// One worker's place among all.
#[derive(Clone, Debug)]
pub struct Seat {
    turns: Arc<Turns>,
    me: usize,
}

impl Seat {
    /// Waits until it is this worker's turn. Whoever has waited may stop to wait at any time and begin anew.
    pub async fn turn(&self) {
        while self.turns.margin.is_some() && !self.holds() {
            self.turns.workers[self.me].called.notified().await;
        }
    }

    fn holds(&self) -> bool {
        self.turns.holder.load(Relaxed) == self.me
    }

    /// Counts a connection of this worker until it is dropped.
    pub fn take_on(&self) -> Load {
        self.turns.workers[self.me].connections.fetch_add(1, Relaxed);
        Load(self.clone())
    }

    /// The number of connections up to which this worker goes on, or `None` when it has passed the turn, being there already.
    pub fn limit(&self) -> Option<usize> {
        let Some(margin) = self.turns.margin else { return Some(usize::MAX) };
        let count = |at: usize| self.turns.workers[at].connections.load(Relaxed);
        let others = (0..self.turns.workers.len()).filter(|at| *at != self.me);
        let Some((other, least)) = others.map(|at| (at, count(at))).min_by_key(|(_, count)| *count) else {
            return Some(usize::MAX);
        };
        let limit = least.saturating_add(margin);
        if self.connections() < limit {
            return Some(limit);
        }
        self.turns.give_to(other);
        None
    }

    /// Passes the turn, if this worker has it, to the next one, whatever that has: this one cannot accept.
    pub fn pass(&self) {
        if self.holds() {
            self.turns.give_to((self.me + 1) % self.turns.workers.len());
        }
    }

    /// The connections of this worker.
    pub fn connections(&self) -> usize {
        self.turns.workers[self.me].connections.load(Relaxed)
    }
}

/// A connection of a worker.
#[derive(Debug)]
pub struct Load(Seat);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.turns.workers[self.0.me].connections.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use proptest::prelude::*;

    use super::*;

    fn has_turn(seat: &Seat) -> bool {
        pin!(seat.turn()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn alone_it_is_always_the_turn() {
        let seat = Turns::new(1, 4).seat(0);
        let held: Vec<_> = (0..100).map(|_| seat.take_on()).collect();
        assert!(has_turn(&seat) && seat.limit() == Some(usize::MAX));
        seat.pass();
        assert!(has_turn(&seat));
        drop(held);
        assert_eq!(seat.connections(), 0);
    }

    #[test]
    fn one_that_cannot_accept_passes_the_turn_around() {
        let turns = Turns::new(3, 4);
        for me in [0, 1, 2, 0] {
            let seats = [0, 1, 2].map(|n| turns.seat(n));
            assert_eq!(seats.each_ref().map(has_turn), [0, 1, 2].map(|n| n == me));
            // Only the turn that one has can be passed.
            seats[(me + 1) % 3].pass();
            assert!(has_turn(&seats[me]));
            seats[me].pass();
        }
    }

    #[test]
    fn without_turns_all_accept() {
        let turns = Turns::none(2);
        let seats = [turns.seat(0), turns.seat(1)];
        let held: Vec<_> = (0..100).map(|_| seats[0].take_on()).collect();
        assert_eq!(held.len(), seats[0].connections());
        for seat in &seats {
            assert!(has_turn(seat) && seat.limit() == Some(usize::MAX));
        }
    }

    #[tokio::test]
    async fn who_waits_is_called() {
        let turns = Turns::new(2, 1);
        let (first, second) = (turns.seat(0), turns.seat(1));
        let waiting = tokio::spawn(async move { second.turn().await });
        tokio::task::yield_now().await;
        let _one = first.take_on();
        assert_eq!(first.limit(), None);
        waiting.await.unwrap();
    }

    proptest! {
        /// Whatever begins and ends: exactly one has the turn, the counts are exact, and connections that all stay are
        /// shared out to within the margin.
        #[test]
        fn one_accepts_and_the_shares_are_even(
            workers in 1usize..6,
            margin in 1usize..6,
            steps in proptest::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..200),
            ending in any::<bool>(),
        ) {
            let turns = Turns::new(workers, margin);
            let seats: Vec<Seat> = (0..workers).map(|n| turns.seat(n)).collect();
            let mut held: Vec<(usize, Load)> = Vec::new();
            let mut limit = seats[0].limit();
            for (begins, which) in steps {
                let holders: Vec<usize> = (0..workers).filter(|n| has_turn(&seats[*n])).collect();
                prop_assert_eq!(holders.len(), 1);
                let me = holders[0];
                if begins || !ending || held.is_empty() {
                    held.push((me, seats[me].take_on()));
                    if limit.is_some_and(|limit| seats[me].connections() >= limit) {
                        limit = seats[me].limit();
                    }
                    if limit.is_none() {
                        let next = (0..workers).find(|n| has_turn(&seats[*n])).unwrap();
                        limit = seats[next].limit();
                        prop_assert!(limit.is_some(), "it has the fewest");
                    }
                } else {
                    drop(held.swap_remove(which.index(held.len())));
                }
                for (n, seat) in seats.iter().enumerate() {
                    prop_assert_eq!(seat.connections(), held.iter().filter(|(by, _)| *by == n).count());
                }
                if !ending {
                    let counts = seats.iter().map(Seat::connections);
                    prop_assert!(counts.clone().max().unwrap() - counts.min().unwrap() <= margin);
                }
            }
        }
    }
}
