//! Pen's own event port for the sockets of the data path, inside tokio's.
//!
//! Tokio's registrations can be shared by tasks and threads; a socket of the data path belongs to one task of one
//! thread all its life. Here a registration costs one small allocation, an event is a bit in it, and no call is needed to
//! remove it. Tokio watches the port itself, so that timers, tasks and the rest of its runtime work as usual.
//!
//! Closing a socket removes its registration, but only when nobody else has the socket open (epoll(7), question 6): a child
//! process that has not yet executed its program does. So each event carries the generation of its socket, and those of a
//! socket that is gone are not taken for events of the one that has its place now.

use std::cell::RefCell;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use slab::Slab;
use tokio::io::Interest;

use super::events::{CLOSED, ERROR, READABLE, URGENT, WRITABLE};
use super::lane_transfer::LaneOwner;
use super::lanes::LaneBatch;
use super::slot::{PollSlot, PolledLane, lock};
use super::together::Together;
use crate::sys::watch::Watch;

/// The number of events per call.
const BATCH: usize = 256;

/// The events that a socket is watched for: every change, once each (epoll(7), EPOLLET).
const WATCHED: EventFlags = EventFlags::IN
    .union(EventFlags::OUT)
    .union(EventFlags::RDHUP)
    .union(EventFlags::PRI)
    .union(EventFlags::ET);

/// The event port of a thread.
#[derive(Debug)]
struct EventPort {
    epoll: Arc<OwnedFd>,
    slots: Mutex<Slab<Arc<PollSlot>>>,
    /// The sockets so far, modulo 2^32.
    generations: AtomicU32,
    lanes: Mutex<LaneBatch>,
    /// Whether its task still runs: it ends with its runtime.
    is_served: AtomicBool,
}

thread_local! {
    static PORT: RefCell<Weak<EventPort>> = const { RefCell::new(Weak::new()) };
}

impl EventPort {
    /// The event port of this thread's runtime, made on first use.
    fn here(together: impl FnOnce() -> Together) -> io::Result<Arc<Self>> {
        PORT.with_borrow_mut(|port| {
            if let Some(port) = port.upgrade().filter(|port| port.is_served.load(Relaxed)) {
                return Ok(port);
            }
            let epoll = Arc::new(epoll::create(CreateFlags::CLOEXEC)?);
            let watch = Watch::shared(&epoll, Interest::READABLE)?;
            let new = Arc::new(Self {
                epoll,
                slots: Mutex::default(),
                generations: AtomicU32::default(),
                lanes: Mutex::new(LaneBatch::new(together())),
                is_served: AtomicBool::new(true),
            });
            tokio::spawn(PortTask { port: Arc::clone(&new) }.run(watch));
            *port = Arc::downgrade(&new);
            Ok(new)
        })
    }

    /// Fetches events and passes them to their sockets. Returns whether there may be more.
    fn dispatch(&self) -> bool {
        let mut room = [const { MaybeUninit::<Event>::uninit() }; BATCH];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let Ok((events, _)) = epoll::wait(&*self.epoll, &mut room[..], Some(&now)) else {
            // A signal interrupted the call (EINTR).
            return true;
        };
        // No socket is removed in between: only this thread uses them.
        let (slots, mut lanes) = (lock(&self.slots), lock(&self.lanes));
        lanes.begin();
        for event in &*events {
            let (at, generation) = place(event.data.u64());
            if let Some(slot) = slots.get(at).filter(|slot| slot.generation == generation) {
                let events = bits(event.flags);
                if !lanes.take(slot, events) {
                    slot.tell(events);
                }
            }
        }
        drop(slots);
        lanes.forward();
        events.len() == BATCH
    }
}

/// Creates the event port of this thread's runtime if there is none yet.
pub(in crate::sys) fn prepare_event_port(together: Together) -> io::Result<()> {
    EventPort::here(|| together).map(drop)
}

/// The data of the events of a socket; see [`place`].
fn event_data(at: u32, generation: u32) -> EventData {
    EventData::new_u64(u64::from(generation) << 32 | u64::from(at))
}

/// The index and the generation of the slot that an event is for.
fn place(data: u64) -> (usize, u32) {
    ((data & u64::from(u32::MAX)) as usize, (data >> 32) as u32)
}

fn bits(flags: EventFlags) -> u32 {
    let bit = |any: EventFlags, bit: u32| if flags.intersects(any) { bit } else { 0 };
    let broken = EventFlags::HUP | EventFlags::ERR;
    bit(EventFlags::IN | EventFlags::PRI | EventFlags::RDHUP | broken, READABLE)
        | bit(EventFlags::OUT | broken, WRITABLE)
        | bit(EventFlags::RDHUP | EventFlags::HUP, CLOSED)
        | bit(EventFlags::ERR, ERROR)
        | bit(EventFlags::PRI, URGENT)
}

/// The task that serves a port.
struct PortTask {
    port: Arc<EventPort>,
}

impl PortTask {
    async fn run(self, watch: Watch) {
        while watch.readable().await.is_ok() {
            _ = watch.try_io(Interest::READABLE, || {
                if self.port.dispatch() { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
            });
        }
    }
}

impl Drop for PortTask {
    fn drop(&mut self) {
        self.port.is_served.store(false, Relaxed);
    }
}

/// A socket in the event port of the thread that created it; it must stay on that thread.
#[derive(Debug)]
pub(in crate::sys) struct PolledFd {
    slot: Arc<PollSlot>,
    port: Arc<EventPort>,
    /// The index of the slot in the port, freed before the socket is closed. There are never more than descriptors.
    at: u32,
    socket: OwnedFd,
}

impl Drop for PolledFd {
    fn drop(&mut self) {
        lock(&self.port.slots).try_remove(self.at as usize);
    }
}

impl PolledFd {
    /// Watches a non-blocking socket. Call it within a single-threaded runtime.
    pub(in crate::sys) fn new(socket: OwnedFd) -> io::Result<Self> {
        let port = EventPort::here(Together::default)?;
        let generation = port.generations.fetch_add(1, Relaxed);
        let slot = Arc::new(PollSlot::new(generation));
        let at = lock(&port.slots).insert(Arc::clone(&slot)) as u32;
        let polled = Self { slot, port, at, socket };
        epoll::add(&*polled.port.epoll, &polled.socket, event_data(at, generation), WATCHED)?;
        Ok(polled)
    }

    /// Ready when any of `events` has been reported; otherwise stores the waker, replacing the one before.
    #[inline]
    pub(in crate::sys) fn poll_any(&self, cx: &mut Context<'_>, events: u32) -> Poll<()> {
        self.slot.poll_any(cx.waker(), events)
    }

    /// Whether any of `events` has been reported.
    #[inline]
    pub(in crate::sys) fn any(&self, events: u32) -> bool {
        self.slot.any(events)
    }

    /// A call on this thread has found the socket not ready. Later changes are reported again.
    #[inline]
    pub(in crate::sys) fn clear(&self, events: u32) {
        self.slot.clear(events);
    }

    /// Makes a closed lane for `owner` to `destination`, in place of the one before.
    pub(in crate::sys) fn lane_to(&self, destination: &Self, owner: Box<dyn LaneOwner>) -> Arc<PolledLane> {
        let to = (destination.socket.as_raw_fd(), &destination.slot);
        let lane = Arc::new(PolledLane::new(self.socket.as_raw_fd(), to, owner));
        self.slot.set_lane(Some(Arc::clone(&lane)));
        lane
    }
}

impl AsFd for PolledFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::AtomicUsize;
    use std::task::{Wake, Waker};

    use super::*;

    fn pair() -> (PolledFd, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        (PolledFd::new(near.into()).unwrap(), far)
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
    }

    /// Lets the task of the port handle the events that are already there.
    async fn process_events() {
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
    }

    fn read(member: &PolledFd) -> usize {
        UnixStream::from(member.as_fd().try_clone_to_owned().unwrap()).read(&mut [0; 64]).unwrap_or(0)
    }

    #[test]
    fn more_sockets_than_a_batch_are_all_told() {
        run(async {
            let mut pairs: Vec<_> = (0..BATCH + 50).map(|_| pair()).collect();
            process_events().await;
            for (member, far) in &mut pairs {
                assert!(member.any(WRITABLE) && !member.any(READABLE));
                far.write_all(b"x").unwrap();
            }
            for (member, _) in &pairs {
                poll_fn(|cx| member.poll_any(cx, READABLE)).await;
            }
        });
    }

    #[test]
    fn what_comes_after_a_socket_was_empty_is_told_anew() {
        run(async {
            let (member, mut far) = pair();
            for _ in 0..3 {
                far.write_all(b"message").unwrap();
                poll_fn(|cx| member.poll_any(cx, READABLE)).await;
                assert_eq!(read(&member), 7);
                member.clear(READABLE);
                process_events().await;
                assert!(!member.any(READABLE | CLOSED | ERROR | URGENT));
            }
            drop(far);
            poll_fn(|cx| member.poll_any(cx, CLOSED)).await;
        });
    }

    /// A child process that has not yet executed its program holds the socket, too.
    #[test]
    fn what_is_told_of_a_closed_socket_is_not_taken_for_news_of_the_next_one() {
        run(async {
            let (first, mut far_of_first) = pair();
            let held = first.as_fd().try_clone_to_owned().unwrap();
            let at = first.at;
            drop(first);
            let (next, mut far) = pair();
            assert_eq!(next.at, at);
            process_events().await;
            far_of_first.write_all(b"late").unwrap();
            drop(far_of_first);
            process_events().await;
            assert!(!next.any(READABLE | CLOSED | ERROR | URGENT));
            far.write_all(b"news").unwrap();
            poll_fn(|cx| next.poll_any(cx, READABLE)).await;
            assert_eq!(read(&next), 4);
            drop(held);
        });
    }

    #[derive(Default)]
    struct WakeCount(AtomicUsize);

    impl Wake for WakeCount {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn only_news_wakes_and_the_last_who_asked() {
        run(async {
            let (member, mut far) = pair();
            let (first, last) = (Arc::new(WakeCount::default()), Arc::new(WakeCount::default()));
            process_events().await;
            for count in [&first, &last, &last] {
                let waker = Waker::from(Arc::clone(count));
                assert!(member.poll_any(&mut Context::from_waker(&waker), READABLE).is_pending());
            }
            for told in 1..3 {
                far.write_all(b"x").unwrap();
                process_events().await;
                far.write_all(b"of what is known already").unwrap();
                process_events().await;
                assert_eq!((first.0.load(Relaxed), last.0.load(Relaxed)), (0, told));
                member.clear(READABLE);
            }
        });
    }

    #[test]
    fn a_socket_leaves_nothing_behind_and_a_runtime_no_port() {
        let port = run(async {
            let port = EventPort::here(Together::default).unwrap();
            let pairs: Vec<_> = (0..3).map(|_| pair()).collect();
            assert!(Arc::ptr_eq(&port, &EventPort::here(Together::default).unwrap()));
            assert_eq!(lock(&port.slots).len(), 3);
            drop(pairs);
            assert!(lock(&port.slots).is_empty());
            port
        });
        // A socket that outlives its runtime cannot be used in the next one.
        run(async {
            assert!(!Arc::ptr_eq(&port, &EventPort::here(Together::default).unwrap()));
            let (member, mut far) = pair();
            far.write_all(b"x").unwrap();
            poll_fn(|cx| member.poll_any(cx, READABLE)).await;
        });
    }
}
