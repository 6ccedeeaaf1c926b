//! One check of one server.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use crate::core::health::{Check, CheckType};
use crate::core::proxy::print;
use crate::core::settings::{ProxyHeader, Value};
use crate::core::snapshot::{Backend, ServerAddress, Snapshot};

use crate::net::upstream_tls::UpstreamTls;

use super::deadlines::Deadlines;

/// The stage that a check has reached.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum CheckStage {
    /// Connecting.
    #[default]
    Connect,
    /// TLS handshake.
    Handshake,
    /// Waiting for an answer.
    Answer,
    /// Running its program.
    Program,
}

/// One check of one server.
pub(super) struct Probe<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) backend: &'a Backend,
    pub(super) check: &'a Check,
    pub(super) upstream_tls: &'a UpstreamTls,
    pub(super) stage: Cell<CheckStage>,
    /// The time limits of all checks.
    pub(super) deadlines: &'a Deadlines,
    /// Room for the largest datagram, for all checks: what one has read, it uses before it waits again.
    pub(super) buffer: &'a RefCell<Box<[u8]>>,
}

/// The ID of a query, which must be unpredictable.
pub(super) fn random_id() -> u16 {
    let mut id = [0; 2];
    // Without randomness any ID will do.
    _ = openssl::rand::rand_bytes(&mut id);
    u16::from_be_bytes(id)
}

impl Probe<'_> {
    /// That what it is waiting for has not come in this time.
    pub(super) fn late(&self, time: Duration) -> String {
        let missing = match self.stage.get() {
            CheckStage::Connect => "no connection",
            CheckStage::Handshake => "no TLS handshake",
            CheckStage::Answer => "no answer",
            CheckStage::Program => "no end of the program",
        };
        format!("{missing} after {} s", Value::Seconds(time))
    }

    /// The PROXY header that goes first, if one does: it says that the connection is pen's own, as far as its version can.
    pub(super) fn proxy_header(&self) -> Option<Vec<u8>> {
        match self.check.proxy {
            ProxyHeader::Off => None,
            ProxyHeader::V1 => Some(print::v1(None)),
            ProxyHeader::V2 => Some(print::v2_local()),
        }
    }

    /// Whether the check sends something as soon as it has connected.
    pub(super) fn speaks_first(&self) -> bool {
        let config = &self.check.config;
        let asks = match config.kind {
            CheckType::Http | CheckType::Dns => true,
            CheckType::Send => !config.send.is_empty(),
            CheckType::Tcp | CheckType::Udp | CheckType::Exec => false,
        };
        asks || self.check.tls.is_some() || self.check.proxy != ProxyHeader::Off
    }

    /// An address of the server, with the port of the check.
    pub(super) fn address(&self, of_server: &ServerAddress) -> ServerAddress {
        let mut address = of_server.clone();
        if let ServerAddress::Ip(address) = &mut address {
            address.set_port(self.check.config.port_of(address.port()));
        }
        address
    }
}
