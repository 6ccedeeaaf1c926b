//! The queue of connections for which every server is full.
//!
//! Connections are served in order of arrival: a free place goes to the first waiter that may use it, and no later one takes it
//! before. The first waiter does the work for all: it is woken when a place may be free, and searches for each waiter in order.
//! When it leaves the queue for any reason, the next waiter is woken and searches instead, so that no wakeup is lost.

mod counts;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod wakeup;

pub use counts::{QueueCounts, QueueResult};
pub use wakeup::Wakeup;

use super::Millis;
use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::sync::Arc;
use std::task::{Poll, Waker};

/// The result of a search for a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look<P> {
    /// A place; it is taken.
    Place(P),
    /// No place is free now, but one may become free.
    Full,
    /// No place can become free: waiting is pointless.
    None,
}

/// A connection that waits for a place.
pub trait Waiter {
    /// The state of all places at one time.
    type View;
    /// A place, released when dropped.
    type Place: Debug;

    /// Takes a free place that this waiter may use, if there is one.
    fn look(&mut self, view: &Self::View) -> Look<Self::Place>;

    /// Whether any place is free, for this waiter or another.
    fn has_room(view: &Self::View) -> bool;

    /// The time at which a place may become free without a wakeup.
    fn next_change(view: &Self::View) -> Option<Millis>;
}

#[derive(Debug)]
struct WaitEntry<W> {
    waiter: W,
    waker: Waker,
}

#[derive(Debug)]
struct WaitList<W: Waiter> {
    /// By arrival number.
    waiting: BTreeMap<u64, WaitEntry<W>>,
    /// Waiters whose wait is over, until their tasks fetch the result.
    done: HashMap<u64, (W, Option<W::Place>)>,
    arrivals: u64,
    /// The connections that count towards the limit: those that wait, and those that were given a place and may have to wait again.
    counted: usize,
    /// The first of `waiting` that was last woken as the first.
    first: Option<u64>,
}

impl<W: Waiter> WaitList<W> {
    /// Searches a place for one waiter. Returns its waker if its wait is over.
    fn look(&mut self, number: u64, view: &W::View) -> Option<Waker> {
        let place = match self.waiting.get_mut(&number)?.waiter.look(view) {
            Look::Full => return None,
            Look::Place(place) => Some(place),
            Look::None => None,
        };
        let WaitEntry { waiter, waker } = self.waiting.remove(&number)?;
        self.done.insert(number, (waiter, place));
        Some(waker)
    }
}

/// The queue of connections that wait.
#[derive(Debug)]
pub struct Queue<W: Waiter> {
    list: Mutex<WaitList<W>>,
    wakeup: Arc<Wakeup>,
}

impl<W: Waiter> Queue<W> {
    /// An empty queue; `wakeup` wakes its first waiter.
    pub fn new(wakeup: Arc<Wakeup>) -> Self {
        let list =
            WaitList { waiting: BTreeMap::new(), done: HashMap::new(), arrivals: 0, counted: 0, first: None };
        Queue { list: Mutex::new(list), wakeup }
    }

    /// The number of waiters.
    pub fn waiting(&self) -> usize {
        self.wakeup.waiting()
    }

    /// Joins the queue at its end and searches at once, after all waiters ahead. `None` if no place is free and the queue is full:
    /// `limit` others count.
    pub fn join(
        &self,
        waiter: W,
        limit: usize,
        waker: &Waker,
        view: impl FnOnce() -> W::View,
    ) -> Option<QueuePosition<'_, W>> {
        let mut list = self.list.lock();
        let number = list.arrivals;
        list.arrivals += 1;
        let mut position = QueuePosition { queue: self, number, is_counted: false };
        // Dropping the position leaves the queue.
        position.enter(list, WaitEntry { waiter, waker: waker.clone() }, limit, view).then_some(position)
    }

    /// Searches a place for each waiter in order of arrival, while there are any, and for `new` in any case. Returns the wakers of
    /// the waiters whose wait is over.
    fn look(&self, list: &mut WaitList<W>, view: impl FnOnce() -> W::View, new: Option<u64>) -> Vec<Waker> {
        let mut woken = Vec::new();
        let (looking, all) = self.wakeup.look();
        // Only now: a change from here on wakes the first waiter again.
        let view = view();
        let mut room = W::has_room(&view);
        let mut next = list.waiting.first_key_value().map(|(number, _)| *number);
        while let Some(number) = next.filter(|_| room || all) {
            next = list.waiting.range(number + 1..).next().map(|(number, _)| *number);
            if let Some(waker) = list.look(number, &view) {
                woken.push(waker);
                room = W::has_room(&view);
            }
        }
        woken.extend(new.and_then(|number| list.look(number, &view)));
        drop(looking);
        woken.extend(self.update_first(list));
        woken
    }

    /// Passes the number of waiters and the first of them to `wakeup`. Returns the waker of the first waiter if another one was first
    /// before: the old one may have left without searching, so the new one has to.
    fn update_first(&self, list: &mut WaitList<W>) -> Option<Waker> {
        let first = list.waiting.first_key_value();
        let waker = first.map(|(_, entry)| entry.waker.clone());
        let number = first.map(|(number, _)| *number);
        self.wakeup.set(list.waiting.len(), waker.clone());
        let is_new = std::mem::replace(&mut list.first, number) != number;
        waker.filter(|_| is_new)
    }
}

/// Wakes tasks without holding the lock: waking may make a system call.
fn wake<W: Waiter>(list: MutexGuard<'_, WaitList<W>>, woken: Vec<Waker>) {
    drop(list);
    woken.into_iter().for_each(Waker::wake);
}

/// The position of a connection in the queue, given up when dropped. A connection that was given a server keeps its position until
/// the connect has succeeded. It counts towards the limit meanwhile, so that the queue never exceeds it.
#[derive(Debug)]
pub struct QueuePosition<'a, W: Waiter> {
    queue: &'a Queue<W>,
    number: u64,
    /// Whether it counts towards the limit: not if it was given a server at once while the queue was full.
    is_counted: bool,
}

impl<W: Waiter> QueuePosition<'_, W> {
    /// Waits again in the same position, after the server that it was given has failed, and searches at once. False if no place is
    /// free and the queue is full: it does not count, and `limit` others do.
    pub fn wait(&mut self, waiter: W, limit: usize, waker: &Waker, view: impl FnOnce() -> W::View) -> bool {
        self.enter(self.queue.list.lock(), WaitEntry { waiter, waker: waker.clone() }, limit, view)
    }

    fn enter(
        &mut self,
        mut list: MutexGuard<'_, WaitList<W>>,
        entry: WaitEntry<W>,
        limit: usize,
        view: impl FnOnce() -> W::View,
    ) -> bool {
        if !self.is_counted && list.counted < limit {
            self.is_counted = true;
            list.counted += 1;
        }
        let waker = entry.waker.clone();
        list.waiting.insert(self.number, entry);
        // Before the search, so that a place that becomes free meanwhile wakes the first waiter again.
        let first = self.queue.update_first(&mut list);
        let mut woken = Vec::from_iter(first.filter(|woken| !woken.will_wake(&waker)));
        woken.extend(self.queue.look(&mut list, view, Some(self.number)));
        let refused = !self.is_counted && list.waiting.remove(&self.number).is_some();
        if refused {
            woken.extend(self.queue.update_first(&mut list));
        }
        wake(list, woken);
        !refused
    }

    /// Returns the waiter when its wait is over, with its place if it has one. The first waiter searches for all; `again` is set to
    /// the time at which it has to search again even if it is not woken.
    pub fn poll(
        &self,
        waker: &Waker,
        view: impl Fn() -> W::View,
        again: &mut Option<Millis>,
    ) -> Poll<(W, Option<W::Place>)> {
        let mut list = self.queue.list.lock();
        let mut woken = Vec::new();
        *again = None;
        if let Some(entry) = list.waiting.get_mut(&self.number) {
            entry.waker.clone_from(waker);
            if list.first == Some(self.number) {
                woken.extend(self.queue.update_first(&mut list));
                // Asked before and after: a time that comes in between is neither a place for this look nor a change after it.
                let before = W::next_change(&view());
                woken.extend(self.queue.look(&mut list, &view, None));
                *again = before.into_iter().chain(W::next_change(&view())).min();
            }
        }
        let done = list.done.remove(&self.number);
        woken.retain(|other| !other.will_wake(waker));
        wake(list, woken);
        done.map_or(Poll::Pending, Poll::Ready)
    }
}

impl<W: Waiter> Drop for QueuePosition<'_, W> {
    fn drop(&mut self) {
        let mut list = self.queue.list.lock();
        list.counted -= usize::from(self.is_counted);
        let left = list.waiting.remove(&self.number);
        let woken = if left.is_some() { self.queue.update_first(&mut list) } else { None };
        let done = list.done.remove(&self.number);
        wake(list, woken.into_iter().collect());
        // Releases a place that it was given and never took, which wakes the first waiter.
        drop((left, done));
    }
}
