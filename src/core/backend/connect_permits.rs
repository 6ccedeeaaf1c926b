//! A limit for the connects to one server that are in progress, and the queue of those that wait.
//!
//! Each server has its own limit: one that does not answer uses up its own permits and delays no connect to another
//! server. Waiting connections are served in order of arrival, and each released permit wakes one of them.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// The permits for connects to one server.
#[derive(Debug, Default)]
pub struct ConnectPermits(Mutex<PermitQueue>);

#[derive(Debug, Default)]
struct PermitQueue {
    taken: usize,
    /// The limit last passed in: it may change while pen runs.
    limit: usize,
    waiting: VecDeque<Arc<Mutex<WaiterState>>>,
}

#[derive(Debug)]
enum WaiterState {
    Waits(Option<Waker>),
    HasPermit,
    Dismissed,
    /// It no longer waits.
    Gone,
}

impl WaiterState {
    /// Ends the wait. False when it had already ended.
    fn ends(&mut self, outcome: WaiterState) -> bool {
        let WaiterState::Waits(waker) = self else { return false };
        let waker = waker.take();
        *self = outcome;
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }
}

impl PermitQueue {
    /// Grants free permits to the connections that have waited longest.
    fn grant(&mut self) {
        while self.taken < self.limit
            && let Some(first) = self.waiting.pop_front()
        {
            if first.lock().ends(WaiterState::HasPermit) {
                self.taken += 1;
            }
        }
    }
}

impl ConnectPermits {
    /// Waits for one of `limit` permits. `None` when [`ConnectPermits::dismiss`] ended the wait.
    pub fn acquire(&self, limit: usize) -> ConnectPermitWait<'_> {
        ConnectPermitWait { permits: self, limit, waiter: None }
    }

    /// Ends all waits: the server does not answer, and the connections are to go elsewhere.
    pub fn dismiss(&self) {
        let waiting = std::mem::take(&mut self.0.lock().waiting);
        for waiter in waiting {
            waiter.lock().ends(WaiterState::Dismissed);
        }
    }

    /// Whether a connection waits for a permit.
    pub fn has_waiters(&self) -> bool {
        self.0.lock().waiting.iter().any(|waiter| matches!(*waiter.lock(), WaiterState::Waits(_)))
    }

    fn release(&self) {
        let mut queue = self.0.lock();
        queue.taken -= 1;
        queue.grant();
    }

    #[cfg(test)]
    fn counts(&self) -> (usize, usize) {
        let queue = self.0.lock();
        (queue.taken, queue.waiting.iter().filter(|w| matches!(*w.lock(), WaiterState::Waits(_))).count())
    }
}

/// A wait for a permit; dropping it ends the wait.
#[derive(Debug)]
pub struct ConnectPermitWait<'a> {
    permits: &'a ConnectPermits,
    limit: usize,
    /// Its entry in the queue, once it has to wait.
    waiter: Option<Arc<Mutex<WaiterState>>>,
}

impl<'a> Future for ConnectPermitWait<'a> {
    type Output = Option<ConnectPermit<'a>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let permits = self.permits;
        if let Some(waiter) = &self.waiter {
            let mut state = waiter.lock();
            let outcome = match &mut *state {
                WaiterState::Waits(waker) => {
                    *waker = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                WaiterState::HasPermit => Some(ConnectPermit(permits)),
                WaiterState::Dismissed | WaiterState::Gone => None,
            };
            *state = WaiterState::Gone;
            return Poll::Ready(outcome);
        }
        let mut queue = permits.0.lock();
        queue.limit = self.limit;
        queue.grant();
        if queue.taken < queue.limit {
            queue.taken += 1;
            return Poll::Ready(Some(ConnectPermit(permits)));
        }
        let waiter = Arc::new(Mutex::new(WaiterState::Waits(Some(cx.waker().clone()))));
        queue.waiting.push_back(Arc::clone(&waiter));
        drop(queue);
        self.waiter = Some(waiter);
        Poll::Pending
    }
}

impl Drop for ConnectPermitWait<'_> {
    fn drop(&mut self) {
        let Some(waiter) = &self.waiter else { return };
        let state = std::mem::replace(&mut *waiter.lock(), WaiterState::Gone);
        if matches!(state, WaiterState::HasPermit) {
            // It was granted a permit that it never used.
            self.permits.release();
        }
    }
}

/// A permit for one connect, released when dropped.
#[derive(Debug)]
pub struct ConnectPermit<'a>(&'a ConnectPermits);

impl Drop for ConnectPermit<'_> {
    fn drop(&mut self) {
        self.0.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::counting_waker::CountingWaker;
    use proptest::prelude::*;

    fn poll<'a>(
        waiting: &mut Pin<Box<ConnectPermitWait<'a>>>,
        wakes: &Arc<CountingWaker>,
    ) -> Poll<Option<ConnectPermit<'a>>> {
        waiting.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(wakes))))
    }

    #[test]
    fn a_place_that_is_given_back_wakes_one_and_the_first() {
        let (permits, wakes) = (ConnectPermits::default(), Arc::new(CountingWaker::default()));
        let mut held: Vec<_> = (0..3).map(|_| Box::pin(permits.acquire(3))).collect();
        let mut held: Vec<_> = held.iter_mut().map(|waiting| poll(waiting, &wakes)).collect();
        let mut waiting: Vec<_> = (0..1000).map(|_| Box::pin(permits.acquire(3))).collect();
        assert!(waiting.iter_mut().all(|w| poll(w, &wakes).is_pending()));
        held.pop();
        assert_eq!(wakes.take(), 1);
        let Poll::Ready(Some(_first)) = poll(&mut waiting[0], &wakes) else { panic!("the first has it") };
        assert!(poll(&mut waiting[1], &wakes).is_pending());
        // A later arrival does not overtake those who wait.
        let mut late = Box::pin(permits.acquire(3));
        assert!(poll(&mut late, &wakes).is_pending());
    }

    #[test]
    fn a_larger_limit_lets_those_in_who_wait() {
        let (permits, wakes) = (ConnectPermits::default(), Arc::new(CountingWaker::default()));
        let mut all: Vec<_> = (0..4).map(|_| Box::pin(permits.acquire(1))).collect();
        let _first: Vec<_> = all.iter_mut().map(|w| poll(w, &wakes)).collect();
        let mut late = Box::pin(permits.acquire(3));
        assert!(poll(&mut late, &wakes).is_pending());
        let now: Vec<_> = all[1..].iter_mut().map(|w| poll(w, &wakes)).collect();
        assert_eq!(now.iter().map(Poll::is_ready).collect::<Vec<_>>(), [true, true, false]);
    }

    #[derive(Debug, Clone)]
    enum PermitStep {
        Come,
        Leave(prop::sample::Index),
        Finish(prop::sample::Index),
        Dismiss,
    }

    proptest! {
        /// Takes, drops and returns in any order: the count is exact, the order is that of arrival, and no permit stays
        /// free while somebody waits.
        #[test]
        fn permits_are_exact(
            limit in 1usize..4,
            steps in prop::collection::vec(prop_oneof![
                4 => Just(PermitStep::Come),
                1 => any::<prop::sample::Index>().prop_map(PermitStep::Leave),
                3 => any::<prop::sample::Index>().prop_map(PermitStep::Finish),
                1 => Just(PermitStep::Dismiss),
            ], 0..200),
        ) {
            let (permits, wakes) = (ConnectPermits::default(), Arc::new(CountingWaker::default()));
            let mut waiting: Vec<(usize, Pin<Box<ConnectPermitWait<'_>>>)> = Vec::new();
            let mut held: Vec<ConnectPermit<'_>> = Vec::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    PermitStep::Come => waiting.push((number, Box::pin(permits.acquire(limit)))),
                    PermitStep::Leave(at) if !waiting.is_empty() => _ = waiting.remove(at.index(waiting.len())),
                    PermitStep::Finish(at) if !held.is_empty() => _ = held.swap_remove(at.index(held.len())),
                    PermitStep::Dismiss => permits.dismiss(),
                    _ => {}
                }
                let dismissed = matches!(step, PermitStep::Dismiss);
                let mut still: Vec<(usize, Pin<Box<ConnectPermitWait<'_>>>)> = Vec::new();
                for (number, mut one) in std::mem::take(&mut waiting) {
                    match poll(&mut one, &wakes) {
                        Poll::Ready(Some(permit)) => {
                            prop_assert!(still.is_empty(), "overtaken");
                            held.push(permit);
                        }
                        Poll::Ready(None) => prop_assert!(dismissed),
                        Poll::Pending => still.push((number, one)),
                    }
                }
                waiting = still;
                prop_assert!(held.len() == limit || waiting.is_empty(), "a permit stays free");
                prop_assert_eq!(permits.counts(), (held.len(), waiting.len()));
                prop_assert!(held.len() <= limit);
            }
        }
    }
}
