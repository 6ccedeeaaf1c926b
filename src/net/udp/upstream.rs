//! From a client to its server: the choice, and the socket.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use socket2::{Domain, Socket, Type};

use crate::core::admission::Admission;
use crate::core::affinity::Client;
use crate::core::select::{Selected, Selection};
use crate::core::snapshot::{ServerAddress, Snapshot};
use crate::net::connect::{self, Failure};
use crate::net::connections::{ConnectionEntry, ConnectionMeter};
use crate::net::shared::Shared;
use crate::sys::datagram::UpstreamSocket;

/// A flow's way to its server.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) selected: Selected,
    pub(super) upstream: Arc<UpstreamSocket>,
    /// Which of the server's addresses.
    target: usize,
}

impl Upstream {
    /// The flow of `entry` has this server now; gives what counts for both.
    pub(super) fn connects(&self, entry: &ConnectionEntry) -> ConnectionMeter {
        entry.connection.connected(&self.selected.backend, self.upstream.as_raw_fd())
    }
}

/// Why there is no link.
#[derive(Debug)]
pub(super) enum NoUpstream {
    /// No server is available.
    Nobody,
    /// The system lacks what a socket needs.
    Short(io::Error),
}

/// The search for a flow's server. Without a handshake a server that is chosen is not known to be there: the search goes
/// on when it turns out not to be.
#[derive(Debug)]
pub(super) struct Search {
    snapshot: Arc<Snapshot>,
    selection: Selection,
}

impl Search {
    /// Begins the search for a client that sends from `port`, and that had the server `remembered`.
    pub(super) fn new(shared: &Shared, client: Client, port: u16, remembered: Option<usize>) -> Self {
        let snapshot = shared.snapshot.load_full();
        let admission = Admission::of(&snapshot, client);
        let selection = Selection::new(Arc::clone(&snapshot), client, port, remembered, admission);
        Search { snapshot, selection }
    }

    /// Whether the configuration is still the one that this search goes by.
    pub(super) fn is_current(&self, shared: &Shared) -> bool {
        Arc::ptr_eq(&self.snapshot, &shared.snapshot.load())
    }

    /// The next server that a socket can be connected to, which says little: only that there is a way.
    pub(super) fn next(&mut self, shared: &Shared) -> Result<Upstream, NoUpstream> {
        while let Some(selected) = self.selection.next(shared.now()) {
            let found = self.addresses(shared, &selected, 0, io::ErrorKind::NotFound.into())?;
            if let Some((upstream, target)) = found {
                return Ok(Upstream { selected, upstream, target });
            }
        }
        Err(NoUpstream::Nobody)
    }

    /// The same when the server of `link` has failed with `error`: another address of it first. Puts what it finds there.
    pub(super) fn after(
        &mut self,
        shared: &Shared,
        link: &mut Upstream,
        error: io::Error,
    ) -> Result<(), NoUpstream> {
        *link = match self.addresses(shared, &link.selected, link.target + 1, error)? {
            Some((upstream, target)) => {
                (link.upstream, link.target) = (upstream, target);
                return Ok(());
            }
            None => self.next(shared)?,
        };
        Ok(())
    }

    /// Connects to the server's addresses from `first` on; `None` when it has failed, as it had with `failure` before.
    fn addresses(
        &self,
        shared: &Shared,
        selected: &Selected,
        first: usize,
        mut failure: io::Error,
    ) -> Result<Option<(Arc<UpstreamSocket>, usize)>, NoUpstream> {
        let client = self.selection.client().ip();
        for (target, address) in selected.backend.addresses.iter().enumerate().skip(first) {
            match socket(&self.snapshot, address, client) {
                Ok(upstream) => return Ok(Some((Arc::new(upstream), target))),
                Err(Failure::Server(error)) => failure = error,
                Err(Failure::Local(error)) => return Err(NoUpstream::Short(error)),
            }
        }
        connect::fail(shared, &self.snapshot, &self.selection, selected, &failure);
        Ok(None)
    }

    /// The server that the client is to be sent back to, of one that this search has found.
    pub(super) fn remembers(&self, link: &Upstream) -> Option<usize> {
        self.selection.remembers(&link.selected)
    }
}

fn socket(
    snapshot: &Snapshot,
    target: &ServerAddress,
    client: Option<IpAddr>,
) -> Result<UpstreamSocket, Failure> {
    let ServerAddress::Ip(address) = target else {
        return Err(Failure::Server(io::ErrorKind::Unsupported.into()));
    };
    let open = || {
        let socket = Socket::new(Domain::for_address(*address), Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        connect::bind(snapshot, &socket, *address, client)?;
        Ok(socket)
    };
    let socket = open().map_err(Failure::Local)?;
    socket.connect(&(*address).into()).map_err(connect::classify)?;
    UpstreamSocket::watch(socket.into()).map_err(Failure::Local)
}
