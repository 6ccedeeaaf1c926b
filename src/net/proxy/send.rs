//! The header with which pen tells a server of its client.

use std::net::IpAddr;

use socket2::SockRef;

use crate::core::proxy::print::{self, Transport, Values};
use crate::core::proxy::{Addresses, Header};
use crate::core::settings::ProxyHeader;
use crate::net::connections::Connection;
use crate::net::stream::Stream;
use crate::net::tls;

/// Who is to be told of: a client's stream, and what a proxy in front of pen has said of it.
#[derive(Debug)]
pub(in crate::net) struct Caller<'a> {
    /// The connection.
    pub(in crate::net) connection: &'a Connection,
    /// The stream.
    pub(in crate::net) stream: Stream,
    /// What the proxy has said; none where there is no proxy.
    pub(in crate::net) header: Option<Box<Header>>,
}

impl Caller<'_> {
    /// The client's address, for connections to servers that come from there.
    pub(in crate::net) fn ip(&self) -> Option<IpAddr> {
        self.connection.client().client.ip()
    }

    /// Has a server's stream, on which nothing was sent yet, begin with the header that the server gets. It goes with the first
    /// bytes that follow.
    pub(in crate::net) fn introduce(&self, version: ProxyHeader, server: &mut Stream) {
        if let (Some(header), Stream::Plain(socket)) = (self.printed(version), server) {
            socket.hold(header);
        }
    }

    fn printed(&self, version: ProxyHeader) -> Option<Vec<u8>> {
        match version {
            ProxyHeader::Off => None,
            ProxyHeader::V1 => Some(print::v1(self.addresses())),
            ProxyHeader::V2 => {
                let tls = match &self.stream {
                    Stream::Tls(stream) => Some(tls::facts_of(stream.ssl())),
                    Stream::Plain(_) => None,
                };
                let values = match (&tls, &self.header) {
                    (Some(tls), _) => Values::Tls(tls),
                    (None, Some(header)) => Values::PassedOn(&header.values),
                    (None, None) => Values::None,
                };
                Some(print::v2(self.addresses(), Transport::Stream, values))
            }
        }
    }

    /// The client's address and the one that it connected to; none of a Unix socket.
    fn addresses(&self) -> Option<Addresses> {
        if let Some(told) = self.header.as_ref().and_then(|header| header.addresses) {
            return Some(told);
        }
        let socket = SockRef::from(&self.stream);
        // Fails only on a socket that is broken, which shows when it is read.
        let source = socket.peer_addr().ok()?.as_socket()?;
        let destination = socket.local_addr().ok()?.as_socket()?;
        Some(Addresses::new(source, destination))
    }
}
