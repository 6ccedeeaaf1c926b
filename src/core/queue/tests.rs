//! The queue by itself, with numbers for places.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Wake;

use super::*;
use crate::core::counting_waker::CountingWaker;

/// Places that are free.
type Free = Arc<AtomicUsize>;

#[derive(Debug)]
struct Anyone;

impl Waiter for Anyone {
    type View = (Free, bool);
    type Place = ();

    fn look(&mut self, (free, open): &Self::View) -> Look<()> {
        match free.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1)) {
            Ok(_) => Look::Place(()),
            Err(_) if *open => Look::Full,
            Err(_) => Look::None,
        }
    }

    fn has_room((free, _): &Self::View) -> bool {
        free.load(Relaxed) > 0
    }

    fn next_change(_: &Self::View) -> Option<Millis> {
        None
    }
}

struct Fixture {
    free: Free,
    queue: Queue<Anyone>,
    open: bool,
}

impl Fixture {
    fn new() -> Self {
        Fixture { free: Free::default(), queue: Queue::new(Arc::default()), open: true }
    }

    fn view(&self) -> (Free, bool) {
        (Arc::clone(&self.free), self.open)
    }

    fn join(&self, wakes: &Arc<CountingWaker>, limit: usize) -> Option<QueuePosition<'_, Anyone>> {
        let waker = Waker::from(Arc::clone(wakes));
        self.queue.join(Anyone, limit, &waker, || self.view())
    }

    fn poll(&self, position: &QueuePosition<'_, Anyone>, wakes: &Arc<CountingWaker>) -> Option<bool> {
        match position.poll(&Waker::from(Arc::clone(wakes)), || self.view(), &mut None) {
            Poll::Ready((_, place)) => Some(place.is_some()),
            Poll::Pending => None,
        }
    }

    fn free_one(&self) {
        self.queue.wakeup.frees(|| self.free.fetch_add(1, Relaxed));
    }
}

fn wakes<const N: usize>() -> [Arc<CountingWaker>; N] {
    std::array::from_fn(|_| Arc::default())
}

#[test]
fn a_free_place_wakes_the_first_alone_and_is_his() {
    let fixture = Fixture::new();
    let all: [_; 3] = wakes();
    let tickets = all.each_ref().map(|wakes| fixture.join(wakes, 9).unwrap());
    assert_eq!(fixture.queue.waiting(), 3);
    fixture.free_one();
    assert_eq!(all.each_ref().map(|wakes| wakes.take()), [1, 0, 0]);
    // Whoever comes in between does not get it.
    let [late] = wakes();
    let late_ticket = fixture.join(&late, 9).unwrap();
    assert_eq!(fixture.poll(&late_ticket, &late), None);
    assert_eq!(fixture.poll(&tickets[0], &all[0]), Some(true));
    // The next one is the first now, and looks once for itself.
    assert_eq!(all[1].take(), 1);
    assert_eq!(fixture.poll(&tickets[1], &all[1]), None);
    assert_eq!(all[2].take(), 0);
}

#[test]
fn a_first_that_leaves_before_it_looks_hands_the_wakeup_on() {
    let fixture = Fixture::new();
    let all: [_; 2] = wakes();
    let [first, second] = all.each_ref().map(|wakes| fixture.join(wakes, 9).unwrap());
    fixture.free_one();
    drop(first);
    assert_eq!(all[1].take(), 1);
    assert_eq!(fixture.poll(&second, &all[1]), Some(true));
    assert_eq!(fixture.queue.waiting(), 0);
}

#[test]
fn a_queue_takes_no_more_than_its_limit_unless_a_place_is_free() {
    let fixture = Fixture::new();
    let all: [_; 3] = wakes();
    let first = fixture.join(&all[0], 1).unwrap();
    assert!(fixture.join(&all[1], 1).is_none());
    assert_eq!(fixture.queue.waiting(), 1);
    fixture.free.fetch_add(2, Relaxed);
    let third = fixture.join(&all[2], 1).unwrap();
    assert_eq!(all[0].take(), 1, "it was given its place by whoever came");
    assert_eq!([fixture.poll(&first, &all[0]), fixture.poll(&third, &all[2])], [Some(true); 2]);
    assert!(fixture.join(&all[0], 0).is_none(), "without a queue nobody waits");
}

#[test]
fn who_comes_back_has_his_old_place() {
    let fixture = Fixture::new();
    let all: [_; 3] = wakes();
    let mut first = fixture.join(&all[0], 2).unwrap();
    let second = fixture.join(&all[1], 2).unwrap();
    fixture.free_one();
    assert_eq!(fixture.poll(&first, &all[0]), Some(true));
    // It may come back: there is no room for a third.
    assert_eq!(fixture.queue.waiting(), 1);
    assert!(fixture.join(&all[2], 2).is_none());
    assert!(first.wait(Anyone, 2, &Waker::from(Arc::clone(&all[0])), || fixture.view()));
    assert_eq!(fixture.queue.waiting(), 2);
    fixture.free_one();
    assert_eq!(fixture.poll(&second, &all[1]), None);
    assert_eq!(fixture.poll(&first, &all[0]), Some(true));
    drop(first);
    let third = fixture.join(&all[2], 2).unwrap();
    fixture.free_one();
    assert_eq!(fixture.poll(&second, &all[1]), Some(true));
    assert_eq!(fixture.poll(&third, &all[2]), None);
}

#[test]
fn who_was_served_at_once_beside_a_full_queue_has_no_seat_to_come_back_to() {
    let fixture = Fixture::new();
    let all: [_; 2] = wakes();
    let first = fixture.join(&all[0], 1).unwrap();
    fixture.free.fetch_add(2, Relaxed);
    let mut second = fixture.join(&all[1], 1).unwrap();
    assert_eq!(fixture.poll(&first, &all[0]), Some(true));
    assert_eq!(fixture.poll(&second, &all[1]), Some(true));
    // The first may still come back.
    let waker = Waker::from(Arc::clone(&all[1]));
    assert!(!second.wait(Anyone, 1, &waker, || fixture.view()));
    assert_eq!(fixture.queue.waiting(), 0);
    drop(first);
    assert!(second.wait(Anyone, 1, &waker, || fixture.view()));
    assert_eq!(fixture.queue.waiting(), 1);
}

#[test]
fn nobody_waits_for_nothing() {
    let mut fixture = Fixture::new();
    fixture.open = false;
    let [wakes] = wakes();
    let position = fixture.join(&wakes, 9).unwrap();
    assert_eq!(fixture.poll(&position, &wakes), Some(false));
    drop(position);
    assert_eq!(fixture.queue.waiting(), 0);
}

/// Threads that take places and give them back: every one gets its place, and there are never more taken than there are.
#[test]
fn no_wakeup_is_lost_between_threads() {
    const PLACES: usize = 3;
    let fixture = Fixture::new();
    fixture.free.store(PLACES, Relaxed);
    let (most, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                struct Unpark(std::thread::Thread);
                impl Wake for Unpark {
                    fn wake(self: Arc<Self>) {
                        self.0.unpark();
                    }
                }
                let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
                for _ in 0..500 {
                    let position = fixture.queue.join(Anyone, 100, &waker, || fixture.view()).unwrap();
                    while position.poll(&waker, || fixture.view(), &mut None).is_pending() {
                        std::thread::park();
                    }
                    most.fetch_max(taken.fetch_add(1, Relaxed) + 1, Relaxed);
                    taken.fetch_sub(1, Relaxed);
                    fixture.free_one();
                }
            });
        }
    });
    assert!(most.load(Relaxed) <= PLACES);
    assert_eq!((fixture.queue.waiting(), fixture.free.load(Relaxed)), (0, PLACES));
}
