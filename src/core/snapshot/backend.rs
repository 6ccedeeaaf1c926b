//! A server as workers see it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::core::addr::{self, Host};
use crate::core::backend::ServerStats;
use crate::core::command::server_keys::ServerConfig;
use crate::core::hash;
use crate::core::health::Check;
use crate::core::settings::{AdminState, OnDown, ProxyHeader};
use crate::core::tls_peer::TlsPeer;

/// The addresses that the resolver found for each name.
pub type Resolved = HashMap<String, Vec<IpAddr>>;

/// The address that a connection to a server goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerAddress {
    /// Over the network.
    Ip(SocketAddr),
    /// To a socket in the file system.
    Unix(String),
}

/// The role of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It serves clients; this is its slot.
    Regular(usize),
    /// It serves when no regular one can.
    Emergency,
    /// It serves denied clients.
    Abuse,
}

impl Role {
    /// Its slot, if it is a regular one.
    pub fn slot(self) -> Option<usize> {
        match self {
            Role::Regular(n) => Some(n),
            Role::Emergency | Role::Abuse => None,
        }
    }

    /// The number of the server in replies: the slot, or -1 for emergency and -2 for abuse as in C pen.
    pub fn number(self) -> i64 {
        match self {
            Role::Regular(n) => i64::try_from(n).unwrap_or(i64::MAX),
            Role::Emergency => -1,
            Role::Abuse => -2,
        }
    }

    /// What tells it apart: its slot, or what it is there for.
    pub fn label(self) -> String {
        match self {
            Role::Regular(n) => n.to_string(),
            Role::Emergency => "emergency".into(),
            Role::Abuse => "abuse".into(),
        }
    }
}

/// A server as a worker sees it.
#[derive(Debug)]
pub struct Backend {
    /// Its role.
    pub role: Role,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its address as replies and the request log show it: the resolved one for a name, the name while there is none.
    pub label: String,
    /// Its port as replies show it.
    pub port: u16,
    /// Its addresses, tried in this order; none while its name is not resolved.
    pub addresses: Vec<ServerAddress>,
    /// Soft limit, 0 for none.
    pub max: u32,
    /// Limit for clients that it had before.
    pub hard: u32,
    /// Weight.
    pub weight: u32,
    /// Priority.
    pub prio: u32,
    /// The access list that applies to its clients.
    pub acl: usize,
    /// Its administrative state.
    pub admin_state: AdminState,
    /// The treatment of its connections when it goes down.
    pub on_down: OnDown,
    /// The PROXY header that it gets first.
    pub proxy: ProxyHeader,
    /// Its check, if it is checked.
    pub check: Option<Arc<Check>>,
    /// It has a check, which is not made as long as it is in maintenance: its health is unknown.
    pub check_pauses: bool,
    /// The TLS parameters for connections to it; `None` without TLS.
    pub tls: Option<Arc<TlsPeer>>,
    /// Its part in the hash of a client: the address and port as configured, not the slot.
    pub identity: u64,
    /// Its counters.
    pub stats: Arc<ServerStats>,
}

impl Backend {
    /// Whether it has the addresses that the name of its server has, if that is a name.
    pub(super) fn is_at(&self, server: &ServerConfig, resolved: &Resolved) -> bool {
        match &server.address {
            Some(host @ Host::Name(_)) => {
                let (addresses, label) = place(host, server.port, resolved);
                (&self.addresses, &self.label) == (&addresses, &label)
            }
            _ => true,
        }
    }

    /// Its name, or what it is called without one.
    pub fn display_name(&self) -> Cow<'_, str> {
        self.name.as_deref().map_or_else(|| self.role.label().into(), Cow::Borrowed)
    }

    /// Its slot, and a number that is the higher the later a server came to this slot.
    pub fn succession(&self) -> (usize, u32) {
        // Only regular servers succeed each other.
        (self.role.slot().unwrap_or(usize::MAX), self.stats.id())
    }

    /// Its address with the port, as replies show it.
    pub fn endpoint(&self) -> String {
        addr::with_port(&self.label, self.port)
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.role, &self.name) {
            (Role::Regular(_), Some(name)) => write!(f, "server {name} (")?,
            (Role::Regular(n), None) => write!(f, "server {n} (")?,
            (Role::Emergency, _) => f.write_str("the emergency server (")?,
            (Role::Abuse, _) => f.write_str("the abuse server (")?,
        }
        match self.addresses.first() {
            Some(ServerAddress::Ip(address)) => write!(f, "{address})"),
            Some(ServerAddress::Unix(path)) => write!(f, "{path})"),
            None => write!(f, "{}:{})", self.label, self.port),
        }
    }
}

/// The addresses of a server, and its address as replies show it.
fn place(host: &Host, port: u16, resolved: &Resolved) -> (Vec<ServerAddress>, String) {
    let ips = match host {
        Host::Unix(_) => &[][..],
        Host::Ip(ip) => std::slice::from_ref(ip),
        Host::Name(name) => resolved.get(name).map_or(&[][..], Vec::as_slice),
    };
    let addresses = match host {
        Host::Unix(path) => vec![ServerAddress::Unix(path.clone())],
        _ if port == 0 => Vec::new(),
        _ => ips.iter().map(|ip| ServerAddress::Ip(SocketAddr::new(*ip, port))).collect(),
    };
    (addresses, ips.first().map_or_else(|| host.to_string(), IpAddr::to_string))
}

/// The server of a role, unless its slot is unused.
pub(super) fn backend(
    role: Role,
    server: &ServerConfig,
    check: Option<Arc<Check>>,
    stats: &Arc<ServerStats>,
    resolved: &Resolved,
) -> Option<Backend> {
    let host = server.address.as_ref()?;
    let (addresses, label) = place(host, server.port, resolved);
    Some(Backend {
        role,
        name: server.name.clone(),
        addresses,
        max: server.max,
        hard: server.hard,
        weight: server.weight,
        prio: server.prio,
        acl: server.acl,
        admin_state: server.state,
        on_down: server.on_down,
        proxy: server.proxy,
        check,
        check_pauses: false,
        tls: TlsPeer::of_server(server).map(Arc::new),
        identity: hash::server(host, server.port),
        label,
        port: server.port,
        stats: Arc::clone(stats),
    })
}
