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

/// How often a socket is asked for datagrams before others have their turn.
const TURNS: usize = 8;
/// How often it is asked at the most for what was there when pen left it: what its buffer holds fits in.
const LAST_TURNS: usize = 128;
/// How long a flow may be idle where `idle_timeout` does not say.
const IDLE: Millis = 60_000;
/// How often the ages of flows are looked at, at least: `idle_timeout` may have changed.
const SWEEP: Millis = 1_000;
/// After an error of the socket that clients send to, none of which is known to last.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// Where a port is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It takes new clients.
    Open,
    /// Pen has moved elsewhere: it serves the flows that it has.
    Leaving,
    /// It serves nobody any more.
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
    /// Whether more comes than pen can pass on.
    queue: Mutex<StandingQueue>,
    /// What datagrams are read into; nobody holds it across a wait.
    batch: Mutex<Batch>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a panic elsewhere leaves is as it was between two calls.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl UdpListener {
    /// Begins to serve a socket, on this thread.
    pub(super) fn open(shared: Arc<Shared>, socket: Arc<DatagramSocket>) -> Arc<Self> {
        let port = Arc::new(UdpListener {
            shared,
            socket,
            flows: Mutex::default(),
            stage: Mutex::new(Stage::Open),
            changed: Notify::new(),
            queue: Mutex::default(),
            batch: Mutex::default(),
        });
        tokio::spawn({
            let port = Arc::clone(&port);
            // A panic has been logged; the port goes on, for the sake of its flows.
            async move {
                while tokio::spawn(Arc::clone(&port).serve()).await.is_err() {
                    tokio::time::sleep(SHORTAGE_PAUSE).await;
                }
            }
        });
        port
    }

    /// Whether this is the port of `socket`.
    pub(super) fn is_of(&self, socket: &Arc<DatagramSocket>) -> bool {
        Arc::ptr_eq(&self.socket, socket)
    }

    /// Takes no new clients any more, but for those whose datagrams are there already, and ends with its last flow.
    pub(super) fn leave(self: &Arc<Self>) {
        for _ in 0..LAST_TURNS {
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

    /// Whether there is still something to do; if not, nothing will be.
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
                    log::error(format_args!("pen cannot receive: {error}"));
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
                        return log::error(format_args!("pen receives no longer: {error}"));
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

    /// Passes on datagrams that wait, until it is the others' turn.
    ///
    /// # Errors
    /// `WouldBlock` when there are no more; else as recvmsg(2).
    fn take_datagrams(self: &Arc<Self>) -> io::Result<()> {
        let mut batch = lock(&self.batch);
        let mut several = false;
        let result = (0..TURNS).try_for_each(|_| {
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

    /// A flow for a new client, if it may have one. Why not is told and counted.
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
            // Nobody would serve it, or it could not be answered.
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

    /// Room for one more flow of `client`: free, or that of a flow that matters less.
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
            // A port that pen has left ends with its last flow.
            self.changed.notify_one();
        }
    }

    /// Passes on what a server has sent; true when there may be more. The flow is removed when it is over.
    fn take_answers(&self, id: FlowId, flow: &UdpFlow, upstream: &Arc<UpstreamSocket>) -> bool {
        let mut batch = lock(&self.batch);
        for _ in 0..TURNS {
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
    port: Arc<UdpListener>,
    id: FlowId,
}

impl Drop for End {
    fn drop(&mut self) {
        self.port.remove(self.id);
    }
}

/// Passes a flow's answers on until it ends.
async fn answer(port: Arc<UdpListener>, id: FlowId, flow: Arc<UdpFlow>) {
    let end = End { port, id };
    while let Some(upstream) = flow.upstream() {
        tokio::select! {
            ready = upstream.ready() => {
                if ready.is_err() {
                    return;
                }
                if end.port.take_answers(id, &flow, &upstream) {
                    tokio::task::yield_now().await;
                }
            }
            () = flow.changed() => {}
        }
    }
}
