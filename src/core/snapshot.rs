//! What a worker reads: the configuration and the addresses behind its names, never changed once made.

use super::acl::Acl;
use super::addr::{Endpoint, Host, Services};
use super::backend::ServerStats;
use super::config::{Config, ServerConfig};
use super::settings::{Fastclose, Flag, Number, Text};
use super::{Millis, acl};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// The addresses that the resolver found for each name.
pub type Resolved = HashMap<String, Vec<IpAddr>>;

/// Where a connection to a server goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerAddress {
    /// Over the network.
    Ip(SocketAddr),
    /// To a socket in the file system.
    Unix(String),
}

/// What a server is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It serves clients; its slot.
    Regular(usize),
    /// It serves when no regular one can.
    Emergency,
    /// It serves the clients that are denied.
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

    /// As replies number servers: the slot, or -1 for emergency and -2 for abuse as C pen has it.
    pub fn number(self) -> i64 {
        match self {
            Role::Regular(n) => i64::try_from(n).unwrap_or(i64::MAX),
            Role::Emergency => -1,
            Role::Abuse => -2,
        }
    }
}

/// A server as a worker sees it.
#[derive(Debug)]
pub struct Backend {
    /// What for.
    pub role: Role,
    /// Its address as replies and the request log show it: the one found for a name, the name while there is none.
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
    /// The list that judges its clients.
    pub acl: usize,
    /// What the hash of a client is mixed with: the address and port as configured, not the slot.
    pub identity: u64,
    /// Its counters.
    pub stats: Arc<ServerStats>,
}

/// What lives as long as pen does, whatever is configured.
#[derive(Debug, Default)]
pub struct StatsTable {
    servers: Vec<Arc<ServerStats>>,
    emergency: Arc<ServerStats>,
    abuse: Arc<ServerStats>,
    /// The regular server last chosen.
    pub cursor: Arc<AtomicUsize>,
}

impl StatsTable {
    /// The counters of a server slot.
    pub fn server(&mut self, n: usize) -> &Arc<ServerStats> {
        if self.servers.len() <= n {
            self.servers.resize_with(n + 1, Arc::default);
        }
        &self.servers[n]
    }
}

/// Everything that decides about a connection.
#[derive(Debug)]
pub struct Snapshot {
    /// The server slots; none where a slot is unused.
    pub backends: Vec<Option<Arc<Backend>>>,
    /// The emergency server.
    pub emergency: Option<Arc<Backend>>,
    /// The abuse server.
    pub abuse: Option<Arc<Backend>>,
    /// The access lists.
    pub acls: Vec<Acl>,
    /// The list for clients.
    pub client_acl: usize,
    /// Modes of selection and of the data path.
    pub modes: Modes,
    /// How long a failed server is left out.
    pub blacklist: Millis,
    /// How long a connect may take.
    pub timeout: Millis,
    /// How long a client is remembered, 0 for ever.
    pub tracking: Millis,
    /// How long a connection may be idle, 0 for ever.
    pub idle_timeout: Millis,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Millis,
    /// Connects in progress at most.
    pub pending_max: usize,
    /// Connections at most.
    pub conn_max: usize,
    /// Connections accepted in one go.
    pub multi_accept: usize,
    /// The local address of connections to servers.
    pub source: Option<IpAddr>,
    /// Whose end of data ends both sides.
    pub fastclose: Fastclose,
    /// The regular server last chosen; shared by all snapshots.
    pub cursor: Arc<AtomicUsize>,
}

/// The switches, as the data path asks for them.
#[derive(Debug, Clone, Copy, Default)]
#[allow(clippy::struct_excessive_bools, missing_docs)] // each is the command of its name
pub struct Modes {
    pub roundrobin: bool,
    pub nomemory: bool,
    pub prio: bool,
    pub weight: bool,
    pub hash: bool,
    pub stubborn: bool,
    pub http: bool,
    pub dummy: bool,
    pub keepalive: bool,
    pub tcp_nodelay: bool,
    pub transparent: bool,
    pub ascii: bool,
}

impl Modes {
    fn of(config: &Config) -> Self {
        Modes {
            roundrobin: config.flag(Flag::Roundrobin),
            nomemory: config.flag(Flag::Nomemory),
            prio: config.flag(Flag::Prio),
            weight: config.flag(Flag::Weight),
            hash: config.flag(Flag::Hash),
            stubborn: config.flag(Flag::Stubborn),
            http: config.flag(Flag::Http),
            dummy: config.flag(Flag::Dummy),
            keepalive: config.flag(Flag::Keepalive),
            tcp_nodelay: config.flag(Flag::TcpNodelay),
            transparent: config.flag(Flag::Transparent),
            ascii: config.flag(Flag::Ascii),
        }
    }
}

impl Snapshot {
    /// Makes the snapshot of a configuration, with the addresses known so far.
    pub fn new(config: &Config, live: &mut StatsTable, resolved: &Resolved, services: &Services) -> Self {
        let seconds = |number| config.number(number) * 1000;
        let timeout = seconds(Number::Timeout);
        let handshake = seconds(Number::SslHandshakeTimeout);
        let special = |text, role, stats: &Arc<ServerStats>| {
            let endpoint = Endpoint::with_port(config.text(text)?, services).ok()?;
            let server =
                ServerConfig { host: Some(endpoint.host), port: endpoint.port, ..ServerConfig::default() };
            backend(role, &server, stats, resolved).map(Arc::new)
        };
        Snapshot {
            emergency: special(Text::Emergency, Role::Emergency, &live.emergency),
            abuse: special(Text::Abuse, Role::Abuse, &live.abuse),
            backends: config
                .servers
                .iter()
                .enumerate()
                .map(|(n, server)| backend(Role::Regular(n), server, live.server(n), resolved).map(Arc::new))
                .collect(),
            acls: (0..acl::LISTS).map(|n| config.acl(n).clone()).collect(),
            client_acl: config.number(Number::ClientAcl) as usize,
            modes: Modes::of(config),
            blacklist: seconds(Number::Blacklist),
            timeout,
            tracking: seconds(Number::Tracking),
            idle_timeout: seconds(Number::IdleTimeout),
            handshake_timeout: if handshake == 0 { timeout } else { handshake },
            pending_max: config.number(Number::PendingMax) as usize,
            conn_max: config.number(Number::ConnMax) as usize,
            multi_accept: config.number(Number::MultiAccept) as usize,
            source: config.text(Text::Source).and_then(|ip| ip.parse().ok()),
            fastclose: config.fastclose,
            cursor: Arc::clone(&live.cursor),
        }
    }
}

fn backend(
    role: Role,
    server: &ServerConfig,
    stats: &Arc<ServerStats>,
    resolved: &Resolved,
) -> Option<Backend> {
    let host = server.host.clone()?;
    let addresses = match &host {
        Host::Unix(path) => vec![ServerAddress::Unix(path.clone())],
        _ if server.port == 0 => Vec::new(),
        Host::Ip(ip) => vec![ServerAddress::Ip(SocketAddr::new(*ip, server.port))],
        Host::Name(name) => {
            let ips = resolved.get(name).map_or(&[][..], Vec::as_slice);
            ips.iter().map(|ip| ServerAddress::Ip(SocketAddr::new(*ip, server.port))).collect()
        }
    };
    let label = match addresses.first() {
        Some(ServerAddress::Ip(address)) => address.ip().to_string(),
        _ => host.to_string(),
    };
    Some(Backend {
        role,
        addresses,
        max: server.max,
        hard: server.hard,
        weight: server.weight,
        prio: server.prio,
        acl: server.acl,
        identity: super::select::identity(&host, server.port),
        label,
        port: server.port,
        stats: Arc::clone(stats),
    })
}
