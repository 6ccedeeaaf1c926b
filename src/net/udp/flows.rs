//! The flows of a socket that clients send to, and the admission of new ones.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::core::Millis;
use crate::core::admission::Admission;
use crate::core::affinity::Client;
use crate::core::end_reason::EndReason;
use crate::core::flow_table::{FlowId, FlowTable};
use crate::core::refusals::Refusal;
use crate::core::snapshot::Snapshot;
use crate::net::connect::failure::Origin;
use crate::net::connections::Permit;
use crate::net::limits;
use crate::net::shared::Shared;
use crate::sys::datagram::{DatagramSocket, Peer};

use super::flow::UdpFlow;

/// How long a flow may be idle if `idle_timeout` is not set.
const IDLE: Millis = 60_000;

/// The flows.
#[derive(Debug)]
pub(super) struct Flows {
    shared: Arc<Shared>,
    table: Mutex<FlowTable<Peer, Client, Arc<UdpFlow>>>,
}

impl Flows {
    /// An empty set of flows.
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Flows { shared, table: Mutex::default() }
    }

    fn table(&self) -> MutexGuard<'_, FlowTable<Peer, Client, Arc<UdpFlow>>> {
        // A panic between two calls leaves the value consistent.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table().is_empty()
    }

    /// Records a datagram of this client and returns its flow, if it has one.
    pub(super) fn of_client(&self, peer: &Peer, now: Millis) -> Option<(FlowId, Arc<UdpFlow>)> {
        self.table().from_client(peer, now).map(|(id, flow)| (id, Arc::clone(flow)))
    }

    /// Records a datagram of this flow's server. False when the flow has ended.
    pub(super) fn was_answered(&self, id: FlowId, now: Millis) -> bool {
        self.table().from_server(id, now)
    }

    /// The flow with this token, unless it has ended.
    pub(super) fn by_token(&self, token: u64) -> Option<(FlowId, Arc<UdpFlow>)> {
        self.table().by_token(token).map(|(id, flow)| (id, Arc::clone(flow)))
    }

    /// Ends a flow, as [`UdpFlow::end`] does. False if it had already ended.
    pub(super) fn remove(&self, id: FlowId, reason: Option<EndReason>) -> bool {
        let removed = self.table().remove(id);
        if let Some(flow) = &removed {
            flow.end(reason);
        }
        removed.is_some()
    }

    /// Ends the flows that were idle for too long; returns when the next one will be, in milliseconds.
    pub(super) fn end_idle(&self) -> Millis {
        let idle = match self.shared.snapshot.load().idle_timeout {
            0 => IDLE,
            idle => idle,
        };
        let now = self.shared.now();
        loop {
            let Some(flow) = self.table().expire(now, idle) else { break };
            flow.end(Some(EndReason::Idle));
        }
        self.table().due(idle).unwrap_or(Millis::MAX).saturating_sub(now)
    }

    /// Makes a flow for a new client, whose datagram came by `socket`, if it may have one; else counts the
    /// datagram as dropped, with the reason.
    pub(super) fn admit(
        &self,
        peer: Peer,
        now: Millis,
        socket: &DatagramSocket,
    ) -> Option<(FlowId, Arc<UdpFlow>)> {
        let drops = &self.shared.drops;
        let snapshot = self.shared.snapshot.load();
        let client = Client::new(peer.client.ip());
        let admission = Admission::of(&snapshot, client);
        if matches!(admission, Admission::Refuse | Admission::Tarpit) || peer.client.port() == 0 {
            self.shared.refusals.count(Refusal::Denied);
            // No server would serve the client, or it could not be answered.
            drops.because("its client is denied");
            return None;
        }
        if !self.keeps_to_its_limit(client, &snapshot) {
            self.shared.refusals.count(Refusal::Flows);
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
        let flow = match UdpFlow::begin(&self.shared, peer, (admission, slot), socket, permit) {
            Ok(flow) => Arc::new(flow),
            Err(failure) if failure.origin == Origin::Shortage => {
                drops.short(&failure.error);
                // The descriptor is free once its task has noticed the end, and can serve a later client.
                self.make_room(client, &snapshot);
                return None;
            }
            Err(_) => {
                drops.because("no server");
                return None;
            }
        };
        drops.admitted();
        let (id, before) = self.table().insert(peer, client, Arc::clone(&flow), now);
        if let Some(before) = before {
            before.end(Some(EndReason::Evicted));
        }
        Some((id, flow))
    }

    /// Whether a client may have one more flow under `udp_flows_per_client`, possibly after ending one of its own.
    fn keeps_to_its_limit(&self, client: Client, snapshot: &Snapshot) -> bool {
        let limit = snapshot.udp_flows_per_client;
        loop {
            let mut flows = self.table();
            if limit == 0 || flows.count_of(&client) < limit {
                return true;
            }
            let Some(flow) = flows.make_own_room(&client, self.shared.now(), snapshot.timeout) else {
                return false;
            };
            drop(flows);
            flow.end(Some(EndReason::Evicted));
        }
    }

    /// A permit for one more flow of `client`; if none is free, a less important flow is ended.
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
        let flow = self.table().make_room(&client, limit, now, patience);
        if let Some(flow) = &flow {
            flow.end(Some(EndReason::Evicted));
        }
        flow.is_some()
    }
}
