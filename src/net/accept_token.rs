//! The accept token: the worker that holds it accepts connections.
//!
//! If all workers waited on the listening socket, the system would wake every sleeping one for each client, and the
//! worker that is awake anyway would get most of the connections. So only the holder of the token waits. It passes the
//! token to the worker with the fewest connections as soon as it has `margin` connections more than that one. All
//! workers share one listening socket, so no client is left in an unserved queue.
//!
//! With TLS every worker accepts all the time: a handshake takes a worker so long that an idle one must not wait for the
//! token.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::sync::Notify;

/// What the token is passed by: the connections of a worker, which is woken when it gets the token.
#[derive(Debug, Default)]
struct WorkerLoad {
    connections: AtomicUsize,
    woken: Notify,
}

/// The workers, and which of them accepts.
#[derive(Debug)]
pub struct AcceptToken {
    workers: Box<[WorkerLoad]>,
    holder: AtomicUsize,
    /// `None`: every worker accepts all the time.
    margin: Option<usize>,
}

impl AcceptToken {
    /// A token for `workers`, held by the first one. The holder passes it when it has `margin` connections more than another
    /// worker: a small margin spreads connections more evenly, a large one wakes workers less often.
    pub fn new(workers: usize, margin: usize) -> Arc<Self> {
        Self::with(workers, Some(margin.max(1)))
    }

    /// No token for `workers`: all of them accept all the time.
    pub fn none(workers: usize) -> Arc<Self> {
        Self::with(workers, None)
    }

    fn with(workers: usize, margin: Option<usize>) -> Arc<Self> {
        let workers = std::iter::repeat_with(WorkerLoad::default).take(workers.max(1)).collect();
        Arc::new(AcceptToken { workers, holder: AtomicUsize::new(0), margin })
    }

    /// The handle of worker `number`, counted from 0.
    pub fn handle(self: &Arc<Self>, number: usize) -> TokenHandle {
        TokenHandle { token: Arc::clone(self), me: number % self.workers.len() }
    }

    fn give_to(&self, number: usize) {
        self.holder.store(number, Relaxed);
        // A notification is kept for a worker that does not wait yet, and orders the store before what that worker reads.
        self.workers[number].woken.notify_one();
    }
}

/// One worker's handle of the token.
#[derive(Clone, Debug)]
pub struct TokenHandle {
    token: Arc<AcceptToken>,
    me: usize,
}

impl TokenHandle {
    /// Waits until this worker holds the token. The wait may be cancelled and restarted at any time.
    pub async fn acquired(&self) {
        while self.token.margin.is_some() && !self.holds() {
            self.token.workers[self.me].woken.notified().await;
        }
    }

    fn holds(&self) -> bool {
        self.token.holder.load(Relaxed) == self.me
    }

    /// Counts a connection of this worker until it is dropped.
    pub fn count_connection(&self) -> ConnectionCount {
        self.token.workers[self.me].connections.fetch_add(1, Relaxed);
        ConnectionCount(self.clone())
    }

    /// How many clients this worker accepts before it asks again: few, since connections of the others end meanwhile. `None`
    /// if it has enough connections and has passed the token.
    pub fn quota(&self) -> Option<usize> {
        let Some(margin) = self.token.margin else { return Some(usize::MAX) };
        let count = |at: usize| self.token.workers[at].connections.load(Relaxed);
        let others = (0..self.token.workers.len()).filter(|at| *at != self.me);
        let Some((other, least)) = others.map(|at| (at, count(at))).min_by_key(|(_, count)| *count) else {
            return Some(usize::MAX);
        };
        match least.saturating_add(margin).saturating_sub(self.connections()) {
            0 => {
                self.token.give_to(other);
                None
            }
            more => Some(more.min(margin)),
        }
    }

    /// Passes the token, if this worker holds it, to the next worker, since this one cannot accept.
    pub fn pass(&self) {
        if self.holds() {
            self.token.give_to((self.me + 1) % self.token.workers.len());
        }
    }

    /// The connections of this worker.
    pub fn connections(&self) -> usize {
        self.token.workers[self.me].connections.load(Relaxed)
    }
}

/// A connection of a worker.
#[derive(Debug)]
pub struct ConnectionCount(TokenHandle);

impl Drop for ConnectionCount {
    fn drop(&mut self) {
        self.0.token.workers[self.0.me].connections.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use proptest::prelude::*;

    use super::*;

    fn has_token(handle: &TokenHandle) -> bool {
        pin!(handle.acquired()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn a_single_worker_always_holds_the_token() {
        let handle = AcceptToken::new(1, 4).handle(0);
        let held: Vec<_> = (0..100).map(|_| handle.count_connection()).collect();
        assert!(has_token(&handle) && handle.quota() == Some(usize::MAX));
        handle.pass();
        assert!(has_token(&handle));
        drop(held);
        assert_eq!(handle.connections(), 0);
    }

    #[test]
    fn workers_that_cannot_accept_pass_the_token_around() {
        let token = AcceptToken::new(3, 4);
        for me in [0, 1, 2, 0] {
            let handles = [0, 1, 2].map(|n| token.handle(n));
            assert_eq!(handles.each_ref().map(has_token), [0, 1, 2].map(|n| n == me));
            // Only the holder can pass the token.
            handles[(me + 1) % 3].pass();
            assert!(has_token(&handles[me]));
            handles[me].pass();
        }
    }

    #[test]
    fn a_worker_learns_that_connections_of_others_have_ended() {
        let token = AcceptToken::new(2, 4);
        let handles = [0, 1].map(|n| token.handle(n));
        let others: Vec<_> = (0..100).map(|_| handles[1].count_connection()).collect();
        let quota = handles[0].quota().expect("it has fewer");
        drop(others);
        let own: Vec<_> = (0..quota).map(|_| handles[0].count_connection()).collect();
        assert_eq!((own.len(), handles[0].quota()), (4, None));
    }

    #[test]
    fn without_a_token_all_accept() {
        let token = AcceptToken::none(2);
        let handles = [token.handle(0), token.handle(1)];
        let held: Vec<_> = (0..100).map(|_| handles[0].count_connection()).collect();
        assert_eq!(held.len(), handles[0].connections());
        for handle in &handles {
            assert!(has_token(handle) && handle.quota() == Some(usize::MAX));
        }
    }

    #[tokio::test]
    async fn a_waiting_worker_is_woken() {
        let token = AcceptToken::new(2, 1);
        let (first, second) = (token.handle(0), token.handle(1));
        let waiting = tokio::spawn(async move { second.acquired().await });
        tokio::task::yield_now().await;
        let _one = first.count_connection();
        assert_eq!(first.quota(), None);
        waiting.await.unwrap();
    }

    proptest! {
        /// Connections begin and end at random: exactly one worker has the token, the counts are exact, and connections
        /// that all stay are balanced to within the margin.
        #[test]
        fn one_accepts_and_the_shares_are_even(
            workers in 1usize..6,
            margin in 1usize..6,
            steps in proptest::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..200),
            ending in any::<bool>(),
        ) {
            let token = AcceptToken::new(workers, margin);
            let handles: Vec<TokenHandle> = (0..workers).map(|n| token.handle(n)).collect();
            let mut held: Vec<(usize, ConnectionCount)> = Vec::new();
            let mut quota = handles[0].quota();
            for (begins, which) in steps {
                let holders: Vec<usize> = (0..workers).filter(|n| has_token(&handles[*n])).collect();
                prop_assert_eq!(holders.len(), 1);
                let me = holders[0];
                if begins || !ending || held.is_empty() {
                    held.push((me, handles[me].count_connection()));
                    quota = quota.map(|left| left - 1);
                    if quota == Some(0) {
                        quota = handles[me].quota();
                    }
                    if quota.is_none() {
                        let next = (0..workers).find(|n| has_token(&handles[*n])).unwrap();
                        quota = handles[next].quota();
                        prop_assert!(quota.is_some(), "it has the fewest");
                    }
                } else {
                    drop(held.swap_remove(which.index(held.len())));
                }
                for (n, handle) in handles.iter().enumerate() {
                    prop_assert_eq!(handle.connections(), held.iter().filter(|(by, _)| *by == n).count());
                }
                if !ending {
                    let counts = handles.iter().map(TokenHandle::connections);
                    prop_assert!(counts.clone().max().unwrap() - counts.min().unwrap() <= margin);
                }
            }
        }
    }
}
