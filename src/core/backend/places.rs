//! A limit for the connects to one server that are in progress, and the queue of those that wait.
//!
//! Each server has its own limit: one that does not answer fills its own places and delays no connect to another
//! server. Waiting connections are served in order of arrival, and each returned place wakes one of them.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// The connect places of one server.
#[derive(Debug, Default)]
pub struct Places(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    taken: usize,
    /// The limit last passed in: it may change while pen runs.
    limit: usize,
    waiting: VecDeque<Arc<Mutex<Waiter>>>,
}

#[derive(Debug)]
enum Waiter {
    Waits(Option<Waker>),
    HasPlace,
    Dismissed,
    /// It no longer waits.
    Gone,
}

impl Waiter {
    /// Ends the wait. False when it had already ended.
    fn ends(&mut self, outcome: Waiter) -> bool {
        let Waiter::Waits(waker) = self else { return false };
        let waker = waker.take();
        *self = outcome;
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }
}

impl Queue {
    /// Gives free places to those who have waited longest.
    fn hand_out(&mut self) {
        while self.taken < self.limit
            && let Some(first) = self.waiting.pop_front()
        {
            if first.lock().ends(Waiter::HasPlace) {
                self.taken += 1;
            }
        }
    }
}

impl Places {
    /// Waits for one of `limit` places. `None` when [`Places::dismiss`] ended the wait.
    pub fn take(&self, limit: usize) -> Waiting<'_> {
        Waiting { places: self, limit, waiter: None }
    }

    /// Ends all waits: the server does not answer, and the connections are to go elsewhere.
    pub fn dismiss(&self) {
        let waiting = std::mem::take(&mut self.0.lock().waiting);
        for waiter in waiting {
            waiter.lock().ends(Waiter::Dismissed);
        }
    }

    /// Whether somebody waits for one.
    pub fn are_wanted(&self) -> bool {
        self.0.lock().waiting.iter().any(|waiter| matches!(*waiter.lock(), Waiter::Waits(_)))
    }

    fn give_back(&self) {
        let mut queue = self.0.lock();
        queue.taken -= 1;
        queue.hand_out();
    }

    #[cfg(test)]
    fn counts(&self) -> (usize, usize) {
        let queue = self.0.lock();
        (queue.taken, queue.waiting.iter().filter(|w| matches!(*w.lock(), Waiter::Waits(_))).count())
    }
}

/// A wait for a place; dropping it ends the wait.
#[derive(Debug)]
pub struct Waiting<'a> {
    places: &'a Places,
    limit: usize,
    /// Its entry in the queue, once it has to wait.
    waiter: Option<Arc<Mutex<Waiter>>>,
}

impl<'a> Future for Waiting<'a> {
    type Output = Option<Place<'a>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let places = self.places;
        if let Some(waiter) = &self.waiter {
            let mut state = waiter.lock();
            let outcome = match &mut *state {
                Waiter::Waits(waker) => {
                    *waker = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                Waiter::HasPlace => Some(Place(places)),
                Waiter::Dismissed | Waiter::Gone => None,
            };
            *state = Waiter::Gone;
            return Poll::Ready(outcome);
        }
        let mut queue = places.0.lock();
        queue.limit = self.limit;
        queue.hand_out();
        if queue.taken < queue.limit {
            queue.taken += 1;
            return Poll::Ready(Some(Place(places)));
        }
        let waiter = Arc::new(Mutex::new(Waiter::Waits(Some(cx.waker().clone()))));
        queue.waiting.push_back(Arc::clone(&waiter));
        drop(queue);
        self.waiter = Some(waiter);
        Poll::Pending
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(waiter) = &self.waiter else { return };
        let state = std::mem::replace(&mut *waiter.lock(), Waiter::Gone);
        if matches!(state, Waiter::HasPlace) {
            // It was given a place that it never used.
            self.places.give_back();
        }
    }
}

/// A place, given back when dropped.
#[derive(Debug)]
pub struct Place<'a>(&'a Places);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::task::Wake;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    fn poll<'a>(waiting: &mut Pin<Box<Waiting<'a>>>, wakes: &Arc<Wakes>) -> Poll<Option<Place<'a>>> {
        waiting.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(wakes))))
    }

    #[test]
    fn a_place_that_is_given_back_wakes_one_and_the_first() {
        let (places, wakes) = (Places::default(), Arc::new(Wakes::default()));
        let mut held: Vec<_> = (0..3).map(|_| Box::pin(places.take(3))).collect();
        let mut held: Vec<_> = held.iter_mut().map(|waiting| poll(waiting, &wakes)).collect();
        let mut waiting: Vec<_> = (0..1000).map(|_| Box::pin(places.take(3))).collect();
        assert!(waiting.iter_mut().all(|w| poll(w, &wakes).is_pending()));
        held.pop();
        assert_eq!(wakes.0.load(Relaxed), 1);
        let Poll::Ready(Some(_first)) = poll(&mut waiting[0], &wakes) else { panic!("the first has it") };
        assert!(poll(&mut waiting[1], &wakes).is_pending());
        // A later arrival does not overtake those who wait.
        let mut late = Box::pin(places.take(3));
        assert!(poll(&mut late, &wakes).is_pending());
    }

    #[test]
    fn a_larger_limit_lets_those_in_who_wait() {
        let (places, wakes) = (Places::default(), Arc::new(Wakes::default()));
        let mut all: Vec<_> = (0..4).map(|_| Box::pin(places.take(1))).collect();
        let _first: Vec<_> = all.iter_mut().map(|w| poll(w, &wakes)).collect();
        let mut late = Box::pin(places.take(3));
        assert!(poll(&mut late, &wakes).is_pending());
        let now: Vec<_> = all[1..].iter_mut().map(|w| poll(w, &wakes)).collect();
        assert_eq!(now.iter().map(Poll::is_ready).collect::<Vec<_>>(), [true, true, false]);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Come,
        Leave(prop::sample::Index),
        Finish(prop::sample::Index),
        Dismiss,
    }

    proptest! {
        /// Takes, drops and returns in any order: the count is exact, the order is that of arrival, and no place stays
        /// free while somebody waits.
        #[test]
        fn places_are_exact(
            limit in 1usize..4,
            steps in prop::collection::vec(prop_oneof![
                4 => Just(Step::Come),
                1 => any::<prop::sample::Index>().prop_map(Step::Leave),
                3 => any::<prop::sample::Index>().prop_map(Step::Finish),
                1 => Just(Step::Dismiss),
            ], 0..200),
        ) {
            let (places, wakes) = (Places::default(), Arc::new(Wakes::default()));
            let mut waiting: Vec<(usize, Pin<Box<Waiting<'_>>>)> = Vec::new();
            let mut held: Vec<Place<'_>> = Vec::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Come => waiting.push((number, Box::pin(places.take(limit)))),
                    Step::Leave(at) if !waiting.is_empty() => _ = waiting.remove(at.index(waiting.len())),
                    Step::Finish(at) if !held.is_empty() => _ = held.swap_remove(at.index(held.len())),
                    Step::Dismiss => places.dismiss(),
                    _ => {}
                }
                let dismissed = matches!(step, Step::Dismiss);
                let mut still: Vec<(usize, Pin<Box<Waiting<'_>>>)> = Vec::new();
                for (number, mut one) in std::mem::take(&mut waiting) {
                    match poll(&mut one, &wakes) {
                        Poll::Ready(Some(place)) => {
                            prop_assert!(still.is_empty(), "overtaken");
                            held.push(place);
                        }
                        Poll::Ready(None) => prop_assert!(dismissed),
                        Poll::Pending => still.push((number, one)),
                    }
                }
                waiting = still;
                prop_assert!(held.len() == limit || waiting.is_empty(), "a place stays free");
                prop_assert_eq!(places.counts(), (held.len(), waiting.len()));
                prop_assert!(held.len() <= limit);
            }
        }
    }
}
