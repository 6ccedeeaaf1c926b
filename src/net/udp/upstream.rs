//! The server of a flow: its selection, and the socket connected to it.

use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use socket2::{Domain, Socket, Type};

use crate::core::address_order;
use crate::core::admission::Admission;
use crate::core::affinity::Client;
use crate::core::backend::Standing;
use crate::core::select::{Selected, Selection};
use crate::core::snapshot::{Backend, ServerAddress, Snapshot};
use crate::net::connect::failure::{Failure, Origin};
use crate::net::connect::{self, setup};
use crate::net::connections::{ConnectionEntry, ConnectionMeter};
use crate::net::shared::Shared;
use crate::sys::datagram::UpstreamSocket;

/// The server of a flow, and the socket connected to it.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) selected: Selected,
    pub(super) socket: Arc<UpstreamSocket>,
    /// The index of the server's address that the socket is connected to.
    address: usize,
    /// The addresses not yet tried, the next one last.
    untried: Vec<usize>,
    /// The value of [`crate::core::backend::ServerStats::changes`] when this was last known to be valid.
    changes: u64,
}

impl Upstream {
    /// The flow of `entry` now uses this server; returns the meter that counts for both.
    pub(super) fn connects(&self, entry: &ConnectionEntry) -> ConnectionMeter {
        entry.connection.connected(&self.selected.backend, self.socket.as_raw_fd())
    }

    /// Whether the flow may stay: no command has blacklisted or removed the server, the server still has this
    /// address, and its check does not find it silent.
    #[inline]
    pub(super) fn fit(&mut self, shared: &Shared) -> UpstreamFit {
        let changes = self.selected.backend.stats.changes();
        if changes == self.changes { UpstreamFit::Right } else { self.fit_now(shared, changes) }
    }

    fn fit_now(&mut self, shared: &Shared, changes: u64) -> UpstreamFit {
        let own = &self.selected.backend;
        let address = own.addresses.get(self.address);
        let snapshot = shared.snapshot.load();
        let has_it = |now: &&Arc<Backend>| address.is_some_and(|address| now.addresses.contains(address));
        let now = snapshot.backend(own.role).filter(has_it);
        // A client that asks for ever would never leave an address that its server's check finds silent.
        let asked = now.is_some_and(|now| now.check.is_some() && now.addresses.len() > 1);
        let worked = own.stats.worked();
        let is_silent = asked && worked != 0 && address.is_some_and(|at| worked != address_order::mark(at));
        let ordered = matches!(own.stats.standing(shared.now()), Standing::Ordered(_));
        let right = now.is_some() && !ordered && !own.stats.is_removed();
        if right {
            self.changes = changes;
        }
        match (right, is_silent) {
            (false, _) => UpstreamFit::Wrong,
            (true, true) => UpstreamFit::SilentAddress,
            (true, false) => UpstreamFit::Right,
        }
    }

    /// The server has answered.
    pub(super) fn works(&self, shared: &Shared) {
        let backend = &self.selected.backend;
        // With a check, its word counts.
        if backend.addresses.len() > 1
            && backend.check.is_none()
            && let Some(address) = backend.addresses.get(self.address)
        {
            backend.stats.remember_address(address_order::mark(address));
        }
        connect::works(shared, backend);
    }
}

/// Whether a flow may stay with its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UpstreamFit {
    /// It may.
    Right,
    /// With the server, at another address of it.
    SilentAddress,
    /// It may not.
    Wrong,
}

/// The search for a flow's server. UDP has no handshake that shows whether the selected server works: the search
/// continues if it does not.
#[derive(Debug)]
pub(super) struct Search {
    snapshot: Arc<Snapshot>,
    selection: Selection,
}

impl Search {
    /// Begins the search for a client that sends from `port`, and had the server `remembered`.
    pub(super) fn new(shared: &Shared, client: Client, port: u16, remembered: Option<usize>) -> Self {
        let snapshot = shared.snapshot.load_full();
        let admission = Admission::of(&snapshot, client);
        let selection = Selection::new(Arc::clone(&snapshot), client, port, remembered, admission);
        Search { snapshot, selection }
    }

    /// Whether the configuration is still the one that this search uses.
    pub(super) fn is_current(&self, shared: &Shared) -> bool {
        Arc::ptr_eq(&self.snapshot, &shared.snapshot.load())
    }

    /// The next server to which a socket can be connected. That only shows that there is a route to it.
    ///
    /// # Errors
    /// There is no server left, or the system refuses a socket.
    pub(super) fn next(&mut self, shared: &Shared) -> Result<Upstream, Failure> {
        let mut last = None;
        while let Some(selected) = self.selection.next(shared.now()) {
            let mut untried = attempts(&selected.backend);
            // Read first: the flow checks again if it has changed since.
            let changes = selected.backend.stats.changes();
            match self.connect(&selected.backend, &mut untried) {
                Ok((socket, address)) => return Ok(Upstream { selected, socket, address, untried, changes }),
                Err(failure) => last = Some(self.failed(shared, &selected, failure)?),
            }
        }
        shared.reports.no_server(self.selection.why_none(shared.now()));
        Err(last.unwrap_or_else(Failure::no_server))
    }

    /// Another server than that of `upstream`, which does not answer this client but may answer others. `None` if there
    /// is none, or if pen is stubborn.
    pub(super) fn instead(&mut self, shared: &Shared, upstream: &Upstream) -> Option<Upstream> {
        let slot = upstream.selected.backend.role.slot().filter(|_| !self.snapshot.policy.stubborn)?;
        self.selection.exclude(slot);
        while let Some(selected) = self.selection.next(shared.now()) {
            let mut untried = attempts(&selected.backend);
            let changes = selected.backend.stats.changes();
            match self.connect(&selected.backend, &mut untried) {
                Ok((socket, address)) => {
                    return Some(Upstream { selected, socket, address, untried, changes });
                }
                Err(failure) => _ = self.failed(shared, &selected, failure).ok()?,
            }
        }
        None
    }

    /// The next server when that of `upstream` has failed: another address of it first. Stores the result there.
    ///
    /// # Errors
    /// See [`Search::next`].
    pub(super) fn after(
        &mut self,
        shared: &Shared,
        upstream: &mut Upstream,
        failure: Failure,
    ) -> Result<(), Failure> {
        match self.connect(&upstream.selected.backend, &mut upstream.untried) {
            Ok((socket, address)) => (upstream.socket, upstream.address) = (socket, address),
            Err(other) => {
                self.failed(shared, &upstream.selected, other.or(failure))?;
                *upstream = self.next(shared)?;
            }
        }
        Ok(())
    }

    /// Connects to the server of `upstream` anew, first to the address that worked last. False if that is impossible: nothing has
    /// changed then.
    pub(super) fn at_other_address(&self, upstream: &mut Upstream) -> bool {
        let mut untried = attempts(&upstream.selected.backend);
        let Ok((socket, address)) = self.connect(&upstream.selected.backend, &mut untried) else {
            return false;
        };
        (upstream.socket, upstream.address, upstream.untried) = (socket, address, untried);
        true
    }

    /// Connects to the first of a server's `untried` addresses to which a socket can be connected.
    fn connect(
        &self,
        backend: &Backend,
        untried: &mut Vec<usize>,
    ) -> Result<(Arc<UpstreamSocket>, usize), Failure> {
        let client = self.selection.client().ip();
        let mut failure: Option<Failure> = None;
        while let Some(address) = untried.pop() {
            match socket(&self.snapshot, &backend.addresses[address], client) {
                Ok(socket) => return Ok((Arc::new(socket), address)),
                Err(other) => {
                    failure = Some(match failure {
                        Some(failure) => failure.or(other),
                        None => other,
                    });
                }
            }
        }
        Err(failure.unwrap_or_else(Failure::no_server))
    }

    /// All addresses of a server have failed. Returns the failure again if the next server may be tried.
    fn failed(&self, shared: &Shared, selected: &Selected, failure: Failure) -> Result<Failure, Failure> {
        connect::failed(shared, &self.snapshot, &self.selection, selected, &failure);
        if failure.allows_next() { Ok(failure) } else { Err(failure) }
    }

    /// The server that the client is to be sent back to, given one that this search has found.
    pub(super) fn remembers(&self, upstream: &Upstream) -> Option<usize> {
        self.selection.remembers(&upstream.selected)
    }
}

/// The indices of a server's addresses, the first one to try last.
fn attempts(backend: &Backend) -> Vec<usize> {
    let mut order = address_order::order(&backend.addresses, backend.stats.worked());
    order.reverse();
    order
}

fn socket(
    snapshot: &Snapshot,
    address: &ServerAddress,
    client: Option<IpAddr>,
) -> Result<UpstreamSocket, Failure> {
    let ServerAddress::Ip(ip) = address else {
        return Err(Failure { origin: Origin::Internal, error: std::io::ErrorKind::Unsupported.into() });
    };
    let open = || {
        let socket = Socket::new(Domain::for_address(*ip), Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        setup::bind(snapshot, &socket, *ip, client)?;
        Ok(socket)
    };
    let socket = open().map_err(Failure::of_pen)?;
    socket.connect(&(*ip).into()).map_err(|error| Failure::of_connect(address, error))?;
    UpstreamSocket::new(socket.into()).map_err(Failure::of_pen)
}
