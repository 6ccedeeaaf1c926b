//! The limit of concurrent clients of the control socket and of the admin listener, and which client is evicted for a
//! new one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// The shortest time for which a client may be idle while others wait, however many they are. A request that comes with
/// the connection is read within it.
const PATIENCE_MIN: Duration = Duration::from_millis(5);
/// How long no client must have been evicted before clients may be idle for the usual time again.
const CALM: Duration = Duration::from_secs(1);

/// The slots; each client takes one.
#[derive(Debug)]
pub struct ConnectionSlots {
    max: usize,
    /// How long a client may be idle while others wait for its slot, unless they are many.
    patience: Duration,
    taken: Mutex<TakenSlots>,
    freed: Notify,
}

#[derive(Debug)]
struct TakenSlots {
    /// Ordered by the time when they took their slots.
    clients: BTreeMap<u64, TakenSlot>,
    next: u64,
    /// How long a client may be idle at present. Each eviction shortens it by one part in twice the number of slots: the
    /// sum for any number of clients that come at once is less than three times the usual time, as long as it is more
    /// than [`PATIENCE_MIN`].
    patience: Duration,
    /// When a client was last evicted.
    last_eviction: Option<Instant>,
}

impl TakenSlots {
    fn evict(&mut self, id: u64, slots: &ConnectionSlots, now: Instant) {
        if let Some(client) = self.clients.remove(&id) {
            client.evicted.notify_one();
        }
        let shorter = self.patience.mul_f64(1.0 - 0.5 / slots.max as f64);
        self.patience = shorter.max(PATIENCE_MIN.min(slots.patience));
        self.last_eviction = Some(now);
    }
}

#[derive(Debug)]
struct TakenSlot {
    /// When pen began to wait for it; `None` while it waits for pen.
    silent_since: Option<Instant>,
    /// Notified when the client is evicted.
    evicted: Arc<Notify>,
}

impl ConnectionSlots {
    /// Slots for `max` clients.
    #[must_use]
    pub fn new(max: usize, patience: Duration) -> Arc<Self> {
        let taken = TakenSlots { clients: BTreeMap::new(), next: 0, patience, last_eviction: None };
        Arc::new(ConnectionSlots { max, patience, taken: Mutex::new(taken), freed: Notify::new() })
    }

    /// Takes a slot for a new client. When all are taken, the client that has been idle longest is evicted: it has
    /// sent no request, or does not read its reply.
    pub async fn take(self: &Arc<Self>) -> ConnectionSlot {
        if self.taken.lock().clients.len() >= self.max {
            // A client whose request has come while this thread was busy is not idle.
            tokio::task::yield_now().await;
        }
        loop {
            let pause = match self.try_take(Instant::now()) {
                Ok(slot) => return slot,
                Err(pause) => pause,
            };
            _ = timeout(pause, self.freed.notified()).await;
        }
    }

    /// A slot, or how long to wait before the next attempt.
    fn try_take(self: &Arc<Self>, now: Instant) -> Result<ConnectionSlot, Duration> {
        let mut taken = self.taken.lock();
        if taken.clients.len() >= self.max {
            let silent = taken.clients.iter().filter_map(|(id, client)| Some((client.silent_since?, *id)));
            let Some((since, id)) = silent.min() else { return Err(self.patience) };
            if taken.last_eviction.is_none_or(|last| now.saturating_duration_since(last) >= CALM) {
                taken.patience = self.patience;
            }
            let wait = taken.patience.saturating_sub(now.saturating_duration_since(since));
            if !wait.is_zero() {
                return Err(wait);
            }
            taken.evict(id, self, now);
        }
        let id = taken.next;
        taken.next += 1;
        let evicted = Arc::<Notify>::default();
        let client = TakenSlot { silent_since: Some(now), evicted: Arc::clone(&evicted) };
        taken.clients.insert(id, client);
        drop(taken);
        Ok(ConnectionSlot { slots: Arc::clone(self), id, evicted })
    }
}

/// A client's slot; dropping it frees the slot.
#[derive(Debug)]
pub struct ConnectionSlot {
    slots: Arc<ConnectionSlots>,
    id: u64,
    evicted: Arc<Notify>,
}

impl ConnectionSlot {
    /// Waits until the client is evicted.
    pub async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Pen now waits for the client.
    pub fn waits_for_client(&self) {
        self.set(Some(Instant::now()));
    }

    /// The client now waits for pen.
    pub fn works(&self) {
        self.set(None);
    }

    /// Since when pen has waited for the client; `None` while the client waits for pen.
    pub fn silent_since(&self) -> Option<Instant> {
        self.slots.taken.lock().clients.get(&self.id)?.silent_since
    }

    fn set(&self, silent_since: Option<Instant>) {
        if let Some(client) = self.slots.taken.lock().clients.get_mut(&self.id) {
            client.silent_since = silent_since;
        }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.slots.taken.lock().clients.remove(&self.id);
        self.slots.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(250);

    fn is_evicted(slot: &ConnectionSlot) -> bool {
        pin!(slot.evicted()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn the_one_that_was_silent_longest_makes_room() {
        let (slots, start) = (ConnectionSlots::new(3, PATIENCE), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        let [first, second, third] = [0, 10, 20].map(|millis| slots.try_take(at(millis)).unwrap());
        first.works();
        let soon = slots.try_take(at(30)).unwrap_err();
        assert_eq!(soon, PATIENCE - Duration::from_millis(20), "it may be about to send its line");
        let _fourth = slots.try_take(at(260)).unwrap();
        assert_eq!([&first, &second, &third].map(is_evicted), [false, true, false]);
        let _fifth = slots.try_take(at(270)).unwrap();
        assert_eq!([&first, &third].map(is_evicted), [false, true], "the first one waits for pen");
        // An evicted client has no slot to give back.
        drop((second, third));
        assert!(slots.try_take(at(280)).is_err());
        drop(first);
        assert!(slots.try_take(at(280)).is_ok());
    }

    #[test]
    fn no_number_of_silent_clients_holds_up_the_next_for_long() {
        for (max, patience) in [(32, 250), (64, 100), (128, 250)] {
            let slots = ConnectionSlots::new(max, Duration::from_millis(patience));
            let mut now = Instant::now();
            let mut silent = Vec::new();
            for count in [1000, 4000] {
                let begin = now;
                for _ in 0..count {
                    silent.push(loop {
                        match slots.try_take(now) {
                            Ok(slot) => break slot,
                            Err(wait) => now += wait,
                        }
                    });
                }
                assert!(now - begin < Duration::from_secs(1), "{count} of {max}: {:?}", now - begin);
            }
            // Once that is over, idle clients have about the usual time again.
            let later = now + CALM;
            let _busy: Vec<_> = (0..max).map(|_| slots.try_take(later).unwrap()).collect();
            assert!(slots.try_take(later).unwrap_err() > slots.patience / 2);
        }
    }

    #[tokio::test]
    async fn who_waits_takes_a_slot_that_is_given_back() {
        let slots = ConnectionSlots::new(1, PATIENCE);
        let first = slots.take().await;
        first.works();
        let (second, ()) = tokio::join!(slots.take(), async {
            tokio::task::yield_now().await;
            drop(first);
        });
        drop(second);
        assert!(slots.taken.lock().clients.is_empty());
    }
}
