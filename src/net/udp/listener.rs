//! One socket that clients send to, and its flows.

use std::io;
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::Interest;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::core::Millis;
use crate::core::admission::Admission;
use crate::core::affinity::Client;
use crate::core::error::SystemReason;
use crate::core::flow_table::{FlowId, FlowTable};
use crate::core::snapshot::Snapshot;
use crate::core::standing_queue::StandingQueue;
use crate::net::connect::SHORTAGE_PAUSE;
use crate::net::connect::failure::Origin;
use crate::net::connections::Permit;
use crate::net::limits;
use crate::net::shared::Shared;
use crate::sys::datagram::{Batch, DatagramSocket, Peer, UpstreamSocket};
use crate::sys::log;
use crate::sys::watch::{self, Watch};

use super::drops::Seen;
use super::flow::UdpFlow;

/// The most receive calls on one socket before other tasks run.
const RECEIVES_MAX: usize = 8;
/// The most receive calls when pen leaves a socket: enough for a full receive buffer.
const LAST_RECEIVES_MAX: usize = 128;
/// How long a flow may be idle where `idle_timeout` does not say.
const IDLE: Millis = 60_000;
/// The longest time between two searches for idle flows, since `idle_timeout` may have changed.
const SWEEP: Millis = 1_000;
/// The pause after a receive error. No such error is known to last.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// The stage of a listener's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It takes new clients.
    Open,
    /// Pen listens elsewhere: it serves the flows that it has.
    Leaving,
    /// It has ended.
    Closed,
}

/// The socket, and its flows.
#[derive(Debug)]
pub(super) struct UdpListener {
    shared: Arc<Shared>,
    socket: Arc<DatagramSocket>,
    flows: Mutex<FlowTable<Peer, Client, Arc<UdpFlow>>>,
    stage: Mutex<Stage>,
    /// The stage has changed, or the last flow has ended.
    changed: Notify,
    /// Tells whether more arrives than pen can forward.
    queue: Mutex<StandingQueue>,
    /// The receive buffer, which no task holds while it waits.
    batch: Mutex<Batch>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic in between two calls leaves the value consistent.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl UdpListener {
    /// Begins to serve a socket, on this thread.
    pub(super) fn open(shared: Arc<Shared>, socket: Arc<DatagramSocket>) -> Arc<Self> {
        let listener = Arc::new(UdpListener {
            shared,
            socket,
            flows: Mutex::default(),
            stage: Mutex::new(Stage::Open),
            changed: Notify::new(),
            queue: Mutex::default(),
            batch: Mutex::default(),
        });
        tokio::spawn({
            let listener = Arc::clone(&listener);
            // A panic has been logged; the listener goes on and keeps its flows.
            async move {
                while tokio::spawn(Arc::clone(&listener).serve()).await.is_err() {
                    tokio::time::sleep(SHORTAGE_PAUSE).await;
                }
            }
        });
        listener
    }

    /// Whether this is the listener of `socket`.
    pub(super) fn is_of(&self, socket: &Arc<DatagramSocket>) -> bool {
        Arc::ptr_eq(&self.socket, socket)
    }

    /// Accepts the clients whose datagrams are in the buffer already, and no other ones; ends with its last flow.
    pub(super) fn leave(self: &Arc<Self>) {
        for _ in 0..LAST_RECEIVES_MAX {
            if self.take_datagrams().is_err() {
                break;
            }
        }
        *lock(&self.stage) = Stage::Leaving;
        self.changed.notify_one();
    }

    /// Takes new clients again; false when it has ended in the meantime.
    pub(super) fn come_back(&self) -> bool {
        let mut stage = lock(&self.stage);
        if *stage == Stage::Closed {
            return false;
        }
        *stage = Stage::Open;
        true
    }

    /// Whether it goes on; ends it when pen has left it and no flow is left.
    fn lives(&self) -> bool {
        let mut stage = lock(&self.stage);
        if *stage == Stage::Leaving && lock(&self.flows).is_empty() {
            *stage = Stage::Closed;
        }
        *stage != Stage::Closed
    }

    async fn serve(self: Arc<Self>) {
        let queue = loop {
            match watch::duplicate(&*self.socket)
                .and_then(|socket| Watch::shared(&socket, Interest::READABLE))
            {
                Ok(queue) => break queue,
                Err(error) => {
                    log::error(format_args!("pen cannot receive: {}", SystemReason(&error)));
                    tokio::time::sleep(SHORTAGE_PAUSE).await;
                }
            }
        };
        let mut sweep = pin!(tokio::time::sleep(Duration::from_millis(SWEEP)));
        let mut seen = Seen::default();
        while self.lives() {
            tokio::select! {
                ready = queue.readable() => {
                    if let Err(error) = ready {
                        return log::error(format_args!("pen receives no longer: {}",SystemReason(&error)));
                    }
                    match queue.try_io(Interest::READABLE, || self.take_datagrams()) {
                        Ok(()) => tokio::task::yield_now().await,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(error) => {
                            log::debug(1, format_args!("receiving from clients: {error}"));
                            tokio::time::sleep(ERROR_PAUSE).await;
                        }
                    }
                }
                () = &mut sweep, if !lock(&self.flows).is_empty() => {
                    let pause = self.sweep();
                    seen = self.shared.drops.look(seen);
                    sweep.as_mut().reset(Instant::now() + Duration::from_millis(pause));
                }
                () = self.changed.notified() => {}
            }
        }
        // What came before the last flow ended is not for it to answer.
    }

    /// Ends the flows that were idle for too long; returns when to look again, in milliseconds.
    fn sweep(&self) -> Millis {
        let idle = match self.shared.snapshot.load().idle_timeout {
            0 => IDLE,
            idle => idle,
        };
        let now = self.shared.now();
        loop {
            let Some(flow) = lock(&self.flows).expire(now, idle) else { break };
            flow.end();
        }
        let due = lock(&self.flows).due(idle).unwrap_or(Millis::MAX);
        // A millisecond later, since the clock's are cut off.
        due.saturating_sub(now).saturating_add(1).min(SWEEP)
    }

    /// Forwards datagrams that wait, [`RECEIVES_MAX`] batches at most.
    ///
    /// # Errors
    /// `WouldBlock` when there are no more; else as recvmsg(2).
    fn take_datagrams(self: &Arc<Self>) -> io::Result<()> {
        let mut batch = lock(&self.batch);
        let mut several = false;
        let result = (0..RECEIVES_MAX).try_for_each(|_| {
            let more = match self.socket.receive(&mut batch) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
                result => result?,
            };
            several |= batch.iter().count() > 1;
            if self.is_late(more) {
                self.shared.drops.late(batch.iter().count());
            } else {
                for (datagram, peer) in batch.iter() {
                    match peer {
                        Some(peer) => self.from_client(peer, datagram),
                        None => self.shared.drops.because("nobody sent it"),
                    }
                }
            }
            if more { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
        });
        // A buffer that was full held more than one.
        if several {
            self.shared.drops.overflowed(self.socket.newly_overflowed());
        }
        result
    }

    /// Whether what was just received has waited for so long in a queue that never empties that it is to be shed. It has
    /// not waited for long where there is no `more` behind it.
    fn is_late(&self, more: bool) -> bool {
        let waited = if more { self.socket.waited() } else { Duration::ZERO };
        let mut queue = lock(&self.queue);
        let stood = queue.stands();
        let late =
            queue.sheds(Millis::try_from(waited.as_millis()).unwrap_or(Millis::MAX), self.shared.now());
        if stood && !queue.stands() {
            self.shared.drops.in_time();
        }
        late
    }

    fn from_client(self: &Arc<Self>, peer: Peer, datagram: &[u8]) {
        let now = self.shared.now();
        let known = lock(&self.flows).from_client(&peer, now).map(|(id, flow)| (id, Arc::clone(flow)));
        let Some((id, flow)) = known.or_else(|| self.admit(peer, now)) else { return };
        if !flow.to_server(datagram) {
            self.remove(id);
        }
    }

    /// Makes a flow for a new client if it may have one; else counts the datagram as dropped, with the reason.
    fn admit(self: &Arc<Self>, peer: Peer, now: Millis) -> Option<(FlowId, Arc<UdpFlow>)> {
        let drops = &self.shared.drops;
        if *lock(&self.stage) != Stage::Open {
            drops.because("pen takes no new clients there");
            return None;
        }
        let snapshot = self.shared.snapshot.load();
        let client = Client::new(peer.client.ip());
        let admission = Admission::of(&snapshot, client);
        if admission == Admission::Refuse || peer.client.port() == 0 {
            // No server would serve the client, or it could not be answered.
            drops.because("its client is denied");
            return None;
        }
        if !self.keeps_to_its_limit(client, &snapshot) {
            drops.because("its client has as many flows as it may");
            return None;
        }
        let Ok(slot) = limits::begin(&self.shared, &snapshot, client) else {
            drops.because("its client has reached a limit");
            return None;
        };
        let Some(permit) = self.permit(client, &snapshot) else {
            drops.full(snapshot.conn_max);
            return None;
        };
        let flow =
            match UdpFlow::begin(&self.shared, peer, (admission, slot), self.socket.as_raw_fd(), permit) {
                Ok(flow) => Arc::new(flow),
                Err(failure) if failure.origin == Origin::Shortage => {
                    drops.short(&failure.error);
                    // The descriptor is free once its task has seen the end: for who comes next.
                    self.make_room(client, &snapshot);
                    return None;
                }
                Err(_) => {
                    drops.because("no server");
                    return None;
                }
            };
        drops.admitted();
        let (id, before) = lock(&self.flows).insert(peer, client, Arc::clone(&flow), now);
        if let Some(before) = before {
            before.end();
        }
        let task = tokio::spawn(answer(Arc::clone(self), id, Arc::clone(&flow)));
        flow.served_by(task.abort_handle());
        Some((id, flow))
    }

    /// Whether a client may have one more flow under `udp_flows_per_client`, where one of its own can end for that.
    fn keeps_to_its_limit(&self, client: Client, snapshot: &Snapshot) -> bool {
        let limit = snapshot.udp_flows_per_client;
        loop {
            let mut flows = lock(&self.flows);
            if limit == 0 || flows.count_of(&client) < limit {
                return true;
            }
            let Some(flow) = flows.make_own_room(&client, self.shared.now(), snapshot.timeout) else {
                return false;
            };
            drop(flows);
            flow.end();
        }
    }

    /// A permit for one more flow of `client`; without a free one, a flow of less importance is ended.
    fn permit(&self, client: Client, snapshot: &Snapshot) -> Option<Permit> {
        loop {
            if let Some(permit) = self.shared.connections.try_permit(snapshot.conn_max) {
                return Some(permit);
            }
            if !self.make_room(client, snapshot) {
                return None;
            }
        }
    }

    fn make_room(&self, client: Client, snapshot: &Snapshot) -> bool {
        let (limit, now, patience) = (snapshot.conn_max, self.shared.now(), snapshot.timeout);
        let flow = lock(&self.flows).make_room(&client, limit, now, patience);
        if let Some(flow) = &flow {
            flow.end();
        }
        flow.is_some()
    }

    fn remove(&self, id: FlowId) {
        let removed = lock(&self.flows).remove(id);
        if let Some(flow) = removed {
            flow.end();
            // A listener that pen has left ends with its last flow.
            self.changed.notify_one();
        }
    }

    /// Forwards the answers of a server; true when there may be more. Removes the flow when it is over.
    fn take_answers(&self, id: FlowId, flow: &UdpFlow, upstream: &Arc<UpstreamSocket>) -> bool {
        let mut batch = lock(&self.batch);
        for _ in 0..RECEIVES_MAX {
            match upstream.receive(&mut batch) {
                Ok(more) => {
                    if !lock(&self.flows).from_server(id, self.shared.now()) {
                        return false;
                    }
                    batch.iter().for_each(|(datagram, _)| flow.to_client(&self.socket, datagram));
                    if !more {
                        return false;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let goes_on = flow.failed(upstream, error);
                    if !goes_on {
                        self.remove(id);
                    }
                    // Reading has cleared the error; answers may be behind it, or another socket in its place.
                    return goes_on;
                }
            }
        }
        true
    }
}

/// Removes the flow however its task ends.
struct End {
    listener: Arc<UdpListener>,
    id: FlowId,
}

impl Drop for End {
    fn drop(&mut self) {
        self.listener.remove(self.id);
    }
}

/// Passes a flow's answers on until it ends.
async fn answer(listener: Arc<UdpListener>, id: FlowId, flow: Arc<UdpFlow>) {
    let end = End { listener, id };
    while let Some(upstream) = flow.upstream() {
        tokio::select! {
            ready = upstream.ready() => {
                if ready.is_err() {
                    return;
                }
                if end.listener.take_answers(id, &flow, &upstream) {
                    tokio::task::yield_now().await;
                }
            }
            () = flow.changed() => {}
        }
    }
}
