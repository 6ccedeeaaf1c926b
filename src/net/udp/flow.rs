//! One flow: a client, by address and port, and the socket to its server.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::core::admission::Admission;
use crate::core::admission::limits::ClientSlot;
use crate::core::affinity::Client;
use crate::core::end_reason::EndReason;
use crate::core::proxy::Addresses;
use crate::core::proxy::print::{self, Transport, Values};
use crate::core::settings::ProxyHeader;
use crate::net::accepted_client::AcceptedClient;
use crate::net::connect::failure::{Failure, Origin};
use crate::net::connection_record::ConnectionRecord;
use crate::net::connections::{Connection, ConnectionEntry, ConnectionMeter, Permit};
use crate::net::filter::TrafficMeter;
use crate::net::filter::dump::{self, Dump};
use crate::net::filter::request_log::RequestLog;
use crate::net::known_client::KnownClient;
use crate::net::shared::Shared;
use crate::sys::datagram::{DatagramSocket, Peer, UpstreamSocket};
use crate::sys::error::is_of_network;
use crate::sys::log;

use super::upstream::{Search, Upstream, UpstreamFit};

/// The largest datagram that is kept until there is an answer, to be sent to the next server. Requests usually fit into
/// one packet; larger ones are lost with their server.
const KEPT: usize = 4096;

/// A flow. Its resources are released as soon as it ends, even if there are still references to it.
#[derive(Debug)]
pub(super) struct UdpFlow {
    peer: Peer,
    client: Client,
    state: Mutex<Option<FlowState>>,
    /// Notified when it has another socket, or none.
    changed: Notify,
}

#[derive(Debug)]
struct FlowState {
    shared: Arc<Shared>,
    /// Counts it among those of its client.
    _slot: Option<ClientSlot>,
    entry: ConnectionEntry,
    record: ConnectionRecord,
    upstream: Upstream,
    meter: ConnectionMeter,
    /// The search for another server, while this one has not answered.
    search: Option<Search>,
    /// The last unanswered datagram, unless it is too large.
    kept: Vec<u8>,
    keeps: bool,
    /// How often the client has repeated it.
    repeated: u32,
    /// The addresses for the PROXY header, if the server has one, and that header, which precedes each datagram.
    addresses: Option<Addresses>,
    header: Vec<u8>,
}

impl Drop for FlowState {
    fn drop(&mut self) {
        let FlowState { shared, entry, record, upstream, .. } = self;
        shared.clients.add_traffic(&entry.connection);
        record.finish(&entry.connection, Some(&upstream.selected.backend));
    }
}

impl UdpFlow {
    /// Begins the flow of a new client, whose datagram came by `socket`: selects a server and makes the socket to it.
    pub(super) fn begin(
        shared: &Arc<Shared>,
        peer: Peer,
        (admission, slot): (Admission, Option<ClientSlot>),
        socket: &DatagramSocket,
        permit: Permit,
    ) -> Result<Self, Failure> {
        let client = Client::new(peer.client.ip());
        let snapshot = shared.snapshot.load();
        let (tracking, key) = (snapshot.tracking, client.masked(snapshot.client_mask));
        let (number, remembered) = if admission == Admission::Admit {
            let (number, remembered) = shared.clients.record_connect(key, tracking);
            (Some(number), remembered)
        } else {
            (None, None)
        };
        let mut search = Search::new(shared, client, peer.client.port(), remembered);
        let upstream = search.next(shared)?;
        let entry = permit.enter(Connection::new(AcceptedClient {
            known: KnownClient::unlisted(client, key, Some(peer.client.port())).with_id(number),
            downfd: socket.as_raw_fd(),
            began: shared.now(),
        }));
        if let Some(n) = search.remembers(&upstream).filter(|n| remembered != Some(*n)) {
            shared.clients.remember(&entry.connection, n, &upstream.selected.backend.stats);
        }
        let record = ConnectionRecord::new(shared, &snapshot);
        record.attempt();
        let destination = socket.destination(&peer).ok();
        let mut state = FlowState {
            addresses: destination.map(|destination| Addresses::new(peer.client, destination)),
            header: Vec::new(),
            shared: Arc::clone(shared),
            record,
            _slot: slot,
            meter: upstream.connects(&entry),
            entry,
            upstream,
            search: Some(search),
            kept: Vec::new(),
            keeps: false,
            repeated: 0,
        };
        state.tell_of_client();
        Ok(UdpFlow { peer, client, state: Mutex::new(Some(state)), changed: Notify::new() })
    }

    fn state(&self) -> MutexGuard<'_, Option<FlowState>> {
        // After a panic its task ends the flow.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client.
    pub(super) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The task that serves it, for the command `close`.
    pub(super) fn served_by(&self, task: AbortHandle) {
        if let Some(state) = &*self.state() {
            state.entry.connection.served_by(task);
        }
    }

    /// The socket to its server; `None` when the flow has ended.
    pub(super) fn upstream(&self) -> Option<Arc<UpstreamSocket>> {
        self.state().as_ref().map(|state| Arc::clone(&state.upstream.socket))
    }

    /// Waits until it has another socket or has ended.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Ends it: closes the socket and releases its permit. Without a reason if the code that requested the end knows
    /// it.
    pub(super) fn end(&self, reason: Option<EndReason>) {
        let state = self.state().take();
        if let (Some(state), Some(reason)) = (&state, reason) {
            state.record.ends(reason);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Where a datagram for the server is to be sent; `None` when the flow is over. Where a header goes before it, both are added
    /// to `framed`, to be sent instead. [`UdpFlow::sent`] is to be told the result before this is asked for the next one.
    pub(super) fn next_to_server(
        &self,
        datagram: &[u8],
        framed: &mut Vec<u8>,
    ) -> Option<Arc<UpstreamSocket>> {
        let mut state = self.state();
        let live = state.as_mut()?;
        match live.upstream.fit(&live.shared) {
            UpstreamFit::Right => {}
            UpstreamFit::SilentAddress => {
                live.change_address(self.client, &self.peer);
                self.changed.notify_one();
            }
            UpstreamFit::Wrong => {
                let found = live.move_on(self.client, &self.peer);
                self.changed.notify_one();
                if !found {
                    live.shared.drops.because("no server");
                    return None;
                }
            }
        }
        if live.is_unanswered(datagram) && live.leave_silent(self.client, &self.peer) {
            self.changed.notify_one();
        }
        if !live.header.is_empty() {
            framed.extend_from_slice(&live.header);
            framed.extend_from_slice(datagram);
        }
        Some(Arc::clone(&live.upstream.socket))
    }

    /// Handles the result of sending a datagram through `upstream`; sends it to the next server if that one is
    /// unreachable. False when the flow has ended.
    pub(super) fn sent(
        &self,
        datagram: &[u8],
        upstream: &Arc<UpstreamSocket>,
        result: io::Result<()>,
    ) -> bool {
        let mut state = self.state();
        let Some(live) = &mut *state else { return false };
        let mut result = if Arc::ptr_eq(&live.upstream.socket, upstream) {
            upstream.clear_if_failed(result)
        } else {
            // The flow has left that server in the meantime.
            live.send(datagram)
        };
        loop {
            match result {
                Ok(()) => {
                    live.sent(datagram);
                    return true;
                }
                Err(error) if is_of_network(&error) => {
                    let found = live.fail_over(self.client, &self.peer, error);
                    self.changed.notify_one();
                    if !found {
                        live.shared.drops.because("no server");
                        return false;
                    }
                }
                Err(error) => {
                    live.shared.drops.unsent("a server", &error);
                    return true;
                }
            }
            result = live.send(datagram);
        }
    }

    /// Handles an error of the socket `upstream`. False when the flow has ended: there is no other server.
    pub(super) fn failed(&self, upstream: &Arc<UpstreamSocket>, error: io::Error) -> bool {
        let mut state = self.state();
        let Some(live) = &mut *state else { return false };
        if !Arc::ptr_eq(&live.upstream.socket, upstream) {
            return true; // That server is left already.
        }
        // EACCES is the system's error for an ICMPv6 message from a router that blocks access to the server (RFC 4443
        // 3.1, code 1).
        let is_prohibited = error.kind() == io::ErrorKind::PermissionDenied;
        if !is_of_network(&error) && !is_prohibited {
            log::debug(1, format_args!("receiving for {}: {error}", live.entry.connection.name()));
            return true;
        }
        let found = live.fail_over(self.client, &self.peer, error);
        self.changed.notify_one();
        found
    }

    /// Handles an answer of its server from `upstream`. False when the answer is not for the client: the flow has ended
    /// or has left that server.
    pub(super) fn answered(&self, upstream: &Arc<UpstreamSocket>, datagram: &[u8]) -> bool {
        let mut state = self.state();
        let Some(live) = &mut *state else { return false };
        if !Arc::ptr_eq(&live.upstream.socket, upstream) {
            return false;
        }
        live.answered();
        if log::debug_level() >= dump::LEVEL {
            live.dump().show("server", datagram);
        }
        true
    }

    /// Records that an answer of this many bytes was sent to the client.
    pub(super) fn passed_on(&self, length: usize, result: io::Result<()>) {
        let mut state = self.state();
        let Some(live) = &mut *state else { return };
        match result {
            Ok(()) => live.meter.to_client(length),
            Err(error) => live.shared.drops.unsent("a client", &error),
        }
    }
}

impl FlowState {
    fn dump(&self) -> Dump {
        let (backend, ascii) = (&self.upstream.selected.backend, self.shared.snapshot.load().content.ascii);
        Dump::new(None, self.entry.connection.name(), Arc::clone(backend), ascii)
    }

    /// The server's socket has accepted a datagram.
    fn sent(&mut self, datagram: &[u8]) {
        self.meter.to_server(datagram.len());
        if self.shared.log.is_on() {
            let client = self.entry.connection.client().client;
            RequestLog::new(self.shared.log.clone(), client, Arc::clone(&self.upstream.selected.backend))
                .log(datagram);
        }
        if log::debug_level() >= dump::LEVEL {
            self.dump().show("client", datagram);
        }
        let again = self.keeps && self.kept == datagram;
        self.repeated = if again { self.repeated.saturating_add(1) } else { 0 };
        self.keeps = datagram.len() <= KEPT;
        if self.keeps {
            self.kept.clear();
            self.kept.extend_from_slice(datagram);
        }
    }

    /// The server works, and has received the datagram.
    fn answered(&mut self) {
        self.keeps = false;
        self.repeated = 0;
        self.search = None;
        self.upstream.works(&self.shared);
    }

    /// Moves to another server, since this one may no longer serve the flow. False if there is none.
    fn move_on(&mut self, client: Client, peer: &Peer) -> bool {
        let remembered = self.upstream.selected.backend.role.slot();
        let mut search = Search::new(&self.shared, client, peer.client.port(), remembered);
        let Ok(upstream) = search.next(&self.shared) else { return false };
        self.upstream = upstream;
        // The request that the old server did not answer is not sent to the new one.
        self.keeps = false;
        self.use_server(search);
        true
    }

    /// Goes on at the address of its server that the check finds well, if that is possible.
    fn change_address(&mut self, client: Client, peer: &Peer) {
        let remembered = self.upstream.selected.backend.role.slot();
        let search = Search::new(&self.shared, client, peer.client.port(), remembered);
        if search.at_other_address(&mut self.upstream) {
            self.keeps = false;
            self.use_server(search);
        }
    }

    /// Whether the client has repeated an unanswered request `udp_retries` times.
    fn is_unanswered(&self, datagram: &[u8]) -> bool {
        let limit = self.shared.snapshot.load().udp_retries;
        limit > 0 && self.repeated + 1 >= limit && self.keeps && self.kept == datagram
    }

    /// Moves to another server than the one that does not answer this client. Other clients keep that server: it may
    /// refuse only this client. False if there is no other server, and the flow stays.
    fn leave_silent(&mut self, client: Client, peer: &Peer) -> bool {
        self.repeated = 0;
        self.shared.failures.tell(&self.upstream.selected.backend);
        let current = self.search.take().filter(|search| search.is_current(&self.shared));
        let mut search =
            current.unwrap_or_else(|| Search::new(&self.shared, client, peer.client.port(), None));
        let Some(upstream) = search.instead(&self.shared, &self.upstream) else { return false };
        let silent = &self.upstream.selected.backend;
        log::debug(
            1,
            format_args!("{silent} does not answer {client}, which moves to {}", upstream.selected.backend),
        );
        self.upstream = upstream;
        // The caller sends the datagram to the new server, as if it had not been sent before.
        self.keeps = false;
        self.use_server(search);
        true
    }

    /// Sets the flow up for the server that `search` has found.
    fn use_server(&mut self, search: Search) {
        if let Some(n) = search.remembers(&self.upstream) {
            self.shared.clients.remember(&self.entry.connection, n, &self.upstream.selected.backend.stats);
        }
        self.search = Some(search);
        self.record.attempt();
        self.meter = self.upstream.connects(&self.entry);
        self.tell_of_client();
    }

    /// Makes the header that the flow's server gets.
    fn tell_of_client(&mut self) {
        self.header.clear();
        if self.upstream.selected.backend.proxy != ProxyHeader::Off {
            self.header = print::v2(self.addresses, Transport::Datagram, Values::None);
        }
    }

    /// Sends a datagram to the server.
    fn send(&self, datagram: &[u8]) -> io::Result<()> {
        match self.header.as_slice() {
            [] => self.upstream.socket.send(datagram),
            header => self.upstream.socket.send_behind(header, datagram),
        }
    }

    /// Goes on to the next server, with the datagram that the one before did not take. False when there is none.
    fn fail_over(&mut self, client: Client, peer: &Peer, error: io::Error) -> bool {
        let mut error = error;
        loop {
            // Only a search with the configuration in force knows which servers were tried and which are still valid.
            let current = self.search.take().filter(|search| search.is_current(&self.shared));
            let mut search = current.unwrap_or_else(|| {
                let remembered = self.upstream.selected.backend.role.slot();
                Search::new(&self.shared, client, peer.client.port(), remembered)
            });
            let failure = Failure { origin: Origin::Upstream, error };
            if search.after(&self.shared, &mut self.upstream, failure).is_err() {
                return false;
            }
            self.use_server(search);
            if !self.keeps {
                return true;
            }
            match self.send(&self.kept) {
                Ok(()) => {
                    // Counted only for the server: the client has sent it only once.
                    self.upstream.selected.backend.stats.traffic.add_sent(self.kept.len() as u64);
                    return true;
                }
                Err(again) if is_of_network(&again) => error = again,
                Err(again) => {
                    self.shared.drops.unsent("a server", &again);
                    return true;
                }
            }
        }
    }
}
