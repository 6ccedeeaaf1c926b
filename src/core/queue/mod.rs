//! The queue of connections for which every server is full.
//!
//! Whoever waits is served in order of arrival: a free place goes to the first who may have it, and nobody who comes later
//! gets it before him. The first in the queue does the work for all: it is woken when a place may be free, and looks on behalf
//! of everybody, one after the other. When it leaves, for whatever reason, the next one is woken and looks in its place, so
//! that no wakeup is lost with it.

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

/// What a look for a place has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look<P> {
    /// A place, which is taken.
    Place(P),
    /// None is free, but there may be one later.
    Full,
    /// Nothing that is worth waiting for.
    None,
}

/// Someone who waits for a place.
pub trait Waiter {
    /// The places as they are in a moment.
    type View;
    /// A place, given back when dropped.
    type Place: Debug;

    /// Takes a place, if one is free that it may have.
    fn look(&mut self, view: &Self::View) -> Look<Self::Place>;

    /// Whether some place is free, whoever may have it.
    fn has_room(view: &Self::View) -> bool;

    /// When a place may be free although nobody has said so.
    fn next_change(view: &Self::View) -> Option<Millis>;
}

#[derive(Debug)]
struct Entry<W> {
    waiter: W,
    waker: Waker,
}

#[derive(Debug)]
struct Line<W: Waiter> {
    /// By their arrival.
    waiting: BTreeMap<u64, Entry<W>>,
    /// Those whose wait is over and who have not been told yet.
    done: HashMap<u64, (W, Option<W::Place>)>,
    arrivals: u64,
    /// How many have a seat: those who wait, and those who were given a place and come back if it is of no use.
    seats: usize,
    /// The first of `waiting` that has been woken as such.
    first: Option<u64>,
}

impl<W: Waiter> Line<W> {
    /// One looks. Returns its waker if its wait is over.
    fn look(&mut self, number: u64, view: &W::View) -> Option<Waker> {
        let place = match self.waiting.get_mut(&number)?.waiter.look(view) {
            Look::Full => return None,
            Look::Place(place) => Some(place),
            Look::None => None,
        };
        let Entry { waiter, waker } = self.waiting.remove(&number)?;
        self.done.insert(number, (waiter, place));
        Some(waker)
    }
}

/// The queue.
#[derive(Debug)]
pub struct Queue<W: Waiter> {
    line: Mutex<Line<W>>,
    wakeup: Arc<Wakeup>,
}

/// When somebody came to the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrival(u64);

impl<W: Waiter> Queue<W> {
    /// An empty queue, whose first one is woken by `wakeup`.
    pub fn new(wakeup: Arc<Wakeup>) -> Self {
        let line =
            Line { waiting: BTreeMap::new(), done: HashMap::new(), arrivals: 0, seats: 0, first: None };
        Queue { line: Mutex::new(line), wakeup }
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.wakeup.waiting()
    }

    /// Joins the queue at its end, and looks at once, after all who are ahead. `None` if no place is free and `limit` others have
    /// a seat.
    pub fn join(
        &self,
        waiter: W,
        limit: usize,
        waker: &Waker,
        view: impl FnOnce() -> W::View,
    ) -> Option<Ticket<'_, W>> {
        let mut line = self.line.lock();
        let number = line.arrivals;
        line.arrivals += 1;
        let mut ticket = Ticket { queue: self, number, seated: false };
        // A ticket that is dropped leaves the queue.
        ticket.enter(line, Entry { waiter, waker: waker.clone() }, limit, view).then_some(ticket)
    }

    /// Everybody looks, in order, and `new` in any case. Returns who is to be woken.
    fn look(&self, line: &mut Line<W>, view: impl FnOnce() -> W::View, new: Option<u64>) -> Vec<Waker> {
        let mut woken = Vec::new();
        let (looking, all) = self.wakeup.look();
        // Only now: what changes from here on wakes the first once more.
        let view = view();
        let mut room = W::has_room(&view);
        let mut next = line.waiting.first_key_value().map(|(number, _)| *number);
        while let Some(number) = next.filter(|_| room || all) {
            next = line.waiting.range(number + 1..).next().map(|(number, _)| *number);
            if let Some(waker) = line.look(number, &view) {
                woken.push(waker);
                room = W::has_room(&view);
            }
        }
        woken.extend(new.and_then(|number| line.look(number, &view)));
        drop(looking);
        woken.extend(self.settle(line));
        woken
    }

    /// Tells how many wait and who is the first of them. Returns the waker of one that was not the first before: it has to look,
    /// since the one before may have left before it did.
    fn settle(&self, line: &mut Line<W>) -> Option<Waker> {
        let first = line.waiting.first_key_value();
        let waker = first.map(|(_, entry)| entry.waker.clone());
        let number = first.map(|(number, _)| *number);
        self.wakeup.set(line.waiting.len(), waker.clone());
        let is_new = std::mem::replace(&mut line.first, number) != number;
        waker.filter(|_| is_new)
    }
}

/// Without the lock: waking may take a system call.
fn wake<W: Waiter>(line: MutexGuard<'_, Line<W>>, woken: Vec<Waker>) {
    drop(line);
    woken.into_iter().for_each(Waker::wake);
}

/// A place in the queue, left when dropped. Who was given a server keeps it as long as that may fail: the queue has no room for
/// another one meanwhile, and is never longer than its limit.
#[derive(Debug)]
pub struct Ticket<'a, W: Waiter> {
    queue: &'a Queue<W>,
    number: u64,
    /// False for one that was given a server at once while the queue was full.
    seated: bool,
}

impl<W: Waiter> Ticket<'_, W> {
    /// When it came.
    pub fn arrival(&self) -> Arrival {
        Arrival(self.number)
    }

    /// Waits once more where it waited before, since what it was given was of no use, and looks at once. False if no place is free,
    /// and it has no seat, and `limit` others have.
    pub fn wait(&mut self, waiter: W, limit: usize, waker: &Waker, view: impl FnOnce() -> W::View) -> bool {
        self.enter(self.queue.line.lock(), Entry { waiter, waker: waker.clone() }, limit, view)
    }

    fn enter(
        &mut self,
        mut line: MutexGuard<'_, Line<W>>,
        entry: Entry<W>,
        limit: usize,
        view: impl FnOnce() -> W::View,
    ) -> bool {
        if !self.seated && line.seats < limit {
            self.seated = true;
            line.seats += 1;
        }
        let waker = entry.waker.clone();
        line.waiting.insert(self.number, entry);
        // Before the look, so that a place that becomes free during it wakes the first once more.
        let first = self.queue.settle(&mut line);
        let mut woken = Vec::from_iter(first.filter(|woken| !woken.will_wake(&waker)));
        woken.extend(self.queue.look(&mut line, view, Some(self.number)));
        let refused = !self.seated && line.waiting.remove(&self.number).is_some();
        if refused {
            woken.extend(self.queue.settle(&mut line));
        }
        wake(line, woken);
        !refused
    }

    /// The waiter back once its wait is over, with its place if there is one. The first in the queue looks for all; in
    /// `again` it finds when it is to look once more, whether it is woken or not.
    pub fn poll(
        &self,
        waker: &Waker,
        view: impl Fn() -> W::View,
        again: &mut Option<Millis>,
    ) -> Poll<(W, Option<W::Place>)> {
        let mut line = self.queue.line.lock();
        let mut woken = Vec::new();
        *again = None;
        if let Some(entry) = line.waiting.get_mut(&self.number) {
            entry.waker.clone_from(waker);
            if line.first == Some(self.number) {
                woken.extend(self.queue.settle(&mut line));
                woken.extend(self.queue.look(&mut line, &view, None));
                *again = W::next_change(&view());
            }
        }
        let done = line.done.remove(&self.number);
        woken.retain(|other| !other.will_wake(waker));
        wake(line, woken);
        done.map_or(Poll::Pending, Poll::Ready)
    }
}

impl<W: Waiter> Drop for Ticket<'_, W> {
    fn drop(&mut self) {
        let mut line = self.queue.line.lock();
        line.seats -= usize::from(self.seated);
        let left = line.waiting.remove(&self.number);
        let woken = if left.is_some() { self.queue.settle(&mut line) } else { None };
        let done = line.done.remove(&self.number);
        wake(line, woken.into_iter().collect());
        // A place that it was given and never took goes back, and wakes whoever is the first now.
        drop((left, done));
    }
}
