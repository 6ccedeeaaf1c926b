//! The limit of concurrent clients of the control socket, and which client is evicted for a new one.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// How long a client may be idle while others wait for its place.
const PATIENCE_WHEN_FULL: Duration = Duration::from_millis(250);

/// The places; each client takes one.
#[derive(Debug)]
pub(super) struct Places {
    max: usize,
    taken: RefCell<Taken>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    /// Ordered by the time when they took their places.
    clients: BTreeMap<u64, Client>,
    next: u64,
}

#[derive(Debug)]
struct Client {
    /// When pen began to wait for it; `None` while it waits for pen.
    silent_since: Option<Instant>,
    /// Notified when the client is evicted.
    evicted: Rc<Notify>,
}

impl Places {
    /// Places for `max` clients.
    pub(super) fn new(max: usize) -> Rc<Self> {
        Rc::new(Places { max, taken: RefCell::default(), freed: Notify::new() })
    }

    /// Takes a place for a new client. When all are taken, the client that has been idle longest is evicted: it has
    /// sent no line, or does not read its reply.
    pub(super) async fn take(self: &Rc<Self>) -> Place {
        loop {
            let pause = match self.try_take(Instant::now()) {
                Ok(place) => return place,
                Err(pause) => pause,
            };
            _ = timeout(pause, self.freed.notified()).await;
        }
    }

    /// A place, or how long to wait before the next attempt.
    fn try_take(self: &Rc<Self>, now: Instant) -> Result<Place, Duration> {
        let mut taken = self.taken.borrow_mut();
        if taken.clients.len() >= self.max {
            let silent = taken.clients.iter().filter_map(|(id, client)| Some((client.silent_since?, *id)));
            let Some((since, id)) = silent.min() else { return Err(PATIENCE_WHEN_FULL) };
            let wait = PATIENCE_WHEN_FULL.saturating_sub(now.saturating_duration_since(since));
            if !wait.is_zero() {
                return Err(wait);
            }
            if let Some(client) = taken.clients.remove(&id) {
                client.evicted.notify_one();
            }
        }
        let id = taken.next;
        taken.next += 1;
        let evicted = Rc::<Notify>::default();
        let client = Client { silent_since: Some(now), evicted: Rc::clone(&evicted) };
        taken.clients.insert(id, client);
        drop(taken);
        Ok(Place { places: Rc::clone(self), id, evicted })
    }
}

/// A client's place; dropping it frees the place.
#[derive(Debug)]
pub(super) struct Place {
    places: Rc<Places>,
    id: u64,
    evicted: Rc<Notify>,
}

impl Place {
    /// Waits until the client is evicted.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Pen now waits for the client.
    pub(super) fn waits_for_client(&self) {
        self.set(Some(Instant::now()));
    }

    /// The client now waits for pen.
    pub(super) fn works(&self) {
        self.set(None);
    }

    fn set(&self, silent_since: Option<Instant>) {
        if let Some(client) = self.places.taken.borrow_mut().clients.get_mut(&self.id) {
            client.silent_since = silent_since;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken.borrow_mut().clients.remove(&self.id);
        self.places.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn is_evicted(place: &Place) -> bool {
        pin!(place.evicted()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn the_one_that_was_silent_longest_makes_room() {
        let (places, start) = (Places::new(3), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        let [first, second, third] = [0, 10, 20].map(|millis| places.try_take(at(millis)).unwrap());
        first.works();
        let soon = places.try_take(at(30)).unwrap_err();
        assert_eq!(soon, PATIENCE_WHEN_FULL - Duration::from_millis(20), "it may be about to send its line");
        let _fourth = places.try_take(at(260)).unwrap();
        assert_eq!([&first, &second, &third].map(is_evicted), [false, true, false]);
        let _fifth = places.try_take(at(270)).unwrap();
        assert_eq!([&first, &third].map(is_evicted), [false, true], "the first one waits for pen");
        // An evicted client has no place to give back.
        drop((second, third));
        assert!(places.try_take(at(280)).is_err());
        drop(first);
        assert!(places.try_take(at(280)).is_ok());
    }

    #[tokio::test]
    async fn who_waits_takes_a_place_that_is_given_back() {
        let places = Places::new(1);
        let first = places.take().await;
        first.works();
        let (second, ()) = tokio::join!(places.take(), async {
            tokio::task::yield_now().await;
            drop(first);
        });
        drop(second);
        assert!(places.taken.borrow().clients.is_empty());
    }
}
