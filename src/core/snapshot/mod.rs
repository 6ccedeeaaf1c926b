//! The immutable data that workers read: the configuration and the addresses of its names.

use super::Millis;
use super::acl::Acl;
use super::addr::{self, Endpoint, Host};
use super::admission::limits::Allowance;
use super::affinity::ClientMask;
use super::backend::{ServerStats, Turns};
use super::command::server_keys::ServerConfig;
use super::config::Config;
use super::health::Check;
use super::queue::Wakeup;
use super::settings::{
    AdminState, ConnectionLogFormat, Fastclose, HttpForwarded, OnDown, ProxyHeader, ProxyProtocol, Settings,
};
use super::sni_route::SniRoutes;
use super::upstream_tls::TlsPeer;
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

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
    /// Its check, if it has one.
    pub check: Option<Arc<Check>>,
    /// The TLS parameters for connections to it; `None` without TLS.
    pub tls: Option<Arc<TlsPeer>>,
    /// Its part in the hash of a client: the address and port as configured, not the slot.
    pub identity: u64,
    /// Its counters.
    pub stats: Arc<ServerStats>,
}

impl Backend {
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

/// The data that lives as long as pen does, whatever the configuration.
#[derive(Debug, Default)]
pub struct StatsTable {
    servers: Vec<Arc<ServerStats>>,
    emergency: Arc<ServerStats>,
    abuse: Arc<ServerStats>,
    /// The regular server chosen last.
    pub cursor: Arc<AtomicUsize>,
    turns: Arc<Turns>,
    wakeup: Arc<Wakeup>,
    /// Servers that were removed and still have connections.
    removed: Vec<Arc<Backend>>,
    /// The addresses and the check of each server in the last snapshot, by [`Role::number`].
    published: HashMap<i64, (Vec<ServerAddress>, Option<Arc<Check>>)>,
}

impl StatsTable {
    /// Records the addresses and the check that a server has from now on.
    fn publish(&mut self, role: Role, addresses: &[ServerAddress], check: Option<&Arc<Check>>) {
        let published = (addresses.to_vec(), check.cloned());
        let (before, check_before) = self.published.insert(role.number(), published).unwrap_or_default();
        let new = !before.is_empty() && addresses.iter().any(|address| !before.contains(address));
        let gone = before.iter().any(|address| !addresses.contains(address));
        let stats = match role {
            Role::Regular(n) => self.server(n),
            Role::Emergency => &self.emergency,
            Role::Abuse => &self.abuse,
        };
        stats.has_moved(new, gone);
        let found = addresses.iter().any(|address| !before.contains(address));
        if check != check_before.as_ref() || (check.is_some() && (found || gone)) {
            stats.forget_health(check.is_some());
        }
    }

    /// Removes the server of a slot; a new server in the slot does not inherit its counters.
    pub fn remove(&mut self, n: usize, backend: Arc<Backend>) {
        backend.stats.remove();
        self.removed.push(backend);
        self.published.remove(&Role::Regular(n).number());
        if let Some(stats) = self.servers.get_mut(n) {
            *stats = Arc::new(ServerStats::new(Arc::clone(&self.wakeup)));
        }
    }

    /// The counters of a server slot.
    pub fn server(&mut self, n: usize) -> &Arc<ServerStats> {
        if self.servers.len() <= n {
            self.servers.resize_with(n + 1, || Arc::new(ServerStats::new(Arc::clone(&self.wakeup))));
        }
        &self.servers[n]
    }
}

/// A time that pen never reaches; something can still be added to it.
const NEVER: Millis = 1 << 60;

/// Everything that the handling of a connection depends on.
#[derive(Debug)]
pub struct Snapshot {
    /// The server slots; none where a slot is unused.
    pub backends: Vec<Option<Arc<Backend>>>,
    /// The emergency server.
    pub emergency: Option<Arc<Backend>>,
    /// The abuse server.
    pub abuse: Option<Arc<Backend>>,
    /// Servers that were removed and had connections when this was made.
    pub removed: Vec<Arc<Backend>>,
    /// Which servers are for which server name of TLS that pen relays.
    pub sni_routes: Option<SniRoutes>,
    /// The access lists.
    pub acls: Vec<Acl>,
    /// The list for clients.
    pub client_acl: usize,
    /// Whether connections begin with a PROXY header.
    pub proxy_protocol: ProxyProtocol,
    /// The list of who may send one.
    pub proxy_acl: usize,
    /// The list whose denied clients are held, if there is one.
    pub tarpit_acl: Option<usize>,
    /// How many of them.
    pub tarpit_max: usize,
    /// The limits for each client.
    pub allowance: Allowance,
    /// How many leading bits identify a client, except for access lists and logs.
    pub client_mask: ClientMask,
    /// How a server is selected.
    pub policy: Policy,
    /// How the bytes of connections are processed.
    pub content: Content,
    /// How the sockets of connections are set up.
    pub sockets: SocketOptions,
    /// How long a server in slow start takes to reach its full share of new clients.
    pub slowstart: Millis,
    /// The host that pen listens on.
    pub listen: String,
    /// The listening address as it is configured.
    pub listener: Arc<str>,
    /// The form of the lines of the connection log.
    pub connection_log_format: ConnectionLogFormat,
    /// How long a failed server stays blacklisted.
    pub blacklist: Millis,
    /// The number of consecutive failures after which a server is blacklisted.
    pub fail_max: u32,
    /// How long a trial connection may go without a failure before the server counts as working. Over TCP every connect
    /// ends by itself; a datagram may have no answer.
    pub trial: Millis,
    /// How long a connect may take.
    pub timeout: Millis,
    /// How long a client is remembered, 0 for no limit.
    pub tracking: Millis,
    /// How long a connection may be idle, 0 for no limit.
    pub idle_timeout: Millis,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Millis,
    /// The maximum number of connects to one server in progress.
    pub pending_max: usize,
    /// Connections that wait for a place at a server at most, 0 for none.
    pub queue_max: usize,
    /// How long each of them may.
    pub queue_timeout: Millis,
    /// The maximum number of connections.
    pub conn_max: usize,
    /// After how many repetitions without an answer a UDP client goes to the next server; 0 for never.
    pub udp_retries: u32,
    /// Whether system calls are made together where the system can.
    pub batch: bool,
    /// The maximum number of UDP flows of one client address, 0 for no limit except its share when all are taken.
    pub udp_flows_per_client: usize,
    /// The number of connections accepted in a row.
    pub multi_accept: usize,
    /// Which sides' end of data closes both sides.
    pub fastclose: Fastclose,
    /// The regular server chosen last; shared by all snapshots.
    pub cursor: Arc<AtomicUsize>,
    /// Turns among servers that are equally good; shared by all snapshots.
    pub turns: Arc<Turns>,
    /// Who is told of places that become free; shared by all snapshots.
    pub wakeup: Arc<Wakeup>,
}

/// The rule by which a server is chosen for a new client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// The lowest `prio`.
    Prio,
    /// The fewest connections relative to the `weight`.
    Weight,
    /// The hash of the client's address.
    Hash,
    /// The next one after the last.
    RoundRobin,
}

/// How a server is selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The rule.
    pub algorithm: Algorithm,
    /// A connection is closed if its first choice fails.
    pub stubborn: bool,
    /// A client is sent back to its last server.
    pub affinity: bool,
    /// The hash distinguishes connections of one client by their port.
    pub hash_port: bool,
}

impl Policy {
    fn of(settings: &Settings) -> Self {
        let rules = [
            (settings.prio, Algorithm::Prio),
            (settings.weight, Algorithm::Weight),
            (settings.hash, Algorithm::Hash),
        ];
        let first = rules.into_iter().find_map(|(on, rule)| on.then_some(rule));
        Policy {
            algorithm: first.unwrap_or(Algorithm::RoundRobin),
            stubborn: settings.stubborn,
            affinity: !settings.roundrobin && !settings.nomemory,
            hash_port: settings.roundrobin,
        }
    }
}

/// How the bytes of connections are processed.
#[derive(Debug, Clone, Copy)]
pub struct Content {
    /// HTTP requests name their client.
    pub http: bool,
    /// The treatment of the client's own fields.
    pub http_forwarded: HttpForwarded,
    /// Forwarded (RFC 7239) is added too.
    pub http_rfc7239: bool,
    /// Pen answers every request itself.
    pub dummy: bool,
    /// Dumps are text.
    pub ascii: bool,
}

/// How the sockets of connections are set up.
#[derive(Debug, Clone, Copy)]
pub struct SocketOptions {
    /// With SO_KEEPALIVE.
    pub keepalive: bool,
    /// With TCP_NODELAY.
    pub tcp_nodelay: bool,
    /// Connections to servers come from the client's own address.
    pub transparent: bool,
    /// The local address of connections to servers.
    pub source: Option<IpAddr>,
}

/// A time in milliseconds.
fn millis(time: Duration) -> Millis {
    Millis::try_from(time.as_millis()).unwrap_or(Millis::MAX)
}

impl Snapshot {
    /// Makes the snapshot of a configuration, with the addresses known so far.
    pub fn new(config: &Config, live: &mut StatsTable, resolved: &Resolved) -> Self {
        let settings = &config.settings;
        let special = |endpoint: &Option<Endpoint>, role, stats: &Arc<ServerStats>| {
            let Endpoint { host, port } = endpoint.clone()?;
            let server = ServerConfig { address: Some(host), port, ..ServerConfig::default() };
            backend(role, &server, None, stats, resolved).map(Arc::new)
        };
        let check = |server: &ServerConfig| {
            let (name, check) = config.check_of(server)?;
            let host = server.address.as_ref()?.to_string();
            Some(Arc::new(Check {
                name: name.to_owned(),
                config: check.clone(),
                host,
                datagrams: settings.udp,
                tls: TlsPeer::of_check(server, check).map(Arc::new),
            }))
        };
        let handshake = Some(settings.ssl_handshake_timeout).filter(|time| !time.is_zero());
        let queue_timeout = Some(settings.queue_timeout).filter(|time| !time.is_zero());
        live.removed.retain(|backend| backend.stats.connections() > 0);
        let snapshot = Snapshot {
            emergency: special(&settings.emergency, Role::Emergency, &live.emergency),
            abuse: special(&settings.abuse, Role::Abuse, &live.abuse),
            backends: config
                .servers
                .iter()
                .enumerate()
                .map(|(n, server)| {
                    let role = Role::Regular(n);
                    backend(role, server, check(server), live.server(n), resolved).map(Arc::new)
                })
                .collect(),
            removed: live.removed.clone(),
            // Checked before the configuration was put in force.
            sni_routes: config.sni_routes().unwrap_or_default(),
            acls: config.acls().to_vec(),
            client_acl: settings.client_acl,
            proxy_protocol: settings.proxy_protocol,
            proxy_acl: settings.proxy_acl,
            tarpit_acl: settings.tarpit_acl,
            tarpit_max: 0,
            allowance: Allowance {
                connections: settings.client_conn_max,
                rate: settings.client_rate_max,
                period: millis(settings.client_rate_time),
            },
            client_mask: settings.client_mask,
            policy: Policy::of(settings),
            content: Content {
                http: settings.http,
                http_forwarded: settings.http_forwarded,
                http_rfc7239: settings.http_rfc7239,
                dummy: settings.dummy,
                ascii: settings.ascii,
            },
            sockets: SocketOptions {
                keepalive: settings.keepalive,
                tcp_nodelay: settings.tcp_nodelay,
                transparent: settings.transparent,
                source: settings.source,
            },
            slowstart: millis(settings.slowstart),
            listen: config.listening().map(|endpoint| endpoint.host.to_string()).unwrap_or_default(),
            listener: config.listening().map(ToString::to_string).unwrap_or_default().into(),
            connection_log_format: settings.connection_log_format,
            blacklist: millis(settings.blacklist),
            fail_max: settings.fail_max,
            trial: if settings.udp { millis(settings.timeout) } else { NEVER },
            timeout: millis(settings.timeout),
            tracking: millis(settings.tracking),
            idle_timeout: millis(settings.idle_timeout),
            handshake_timeout: millis(handshake.unwrap_or(settings.timeout)),
            pending_max: settings.pending_max,
            queue_max: settings.queue_max,
            queue_timeout: millis(queue_timeout.unwrap_or(settings.timeout)),
            conn_max: settings.conn_max,
            udp_retries: settings.udp_retries,
            batch: settings.batch,
            udp_flows_per_client: settings.udp_flows_per_client,
            multi_accept: settings.multi_accept,
            fastclose: settings.tcp_fastclose,
            cursor: Arc::clone(&live.cursor),
            turns: Arc::clone(&live.turns),
            wakeup: Arc::clone(&live.wakeup),
        };
        let slots = (0..snapshot.backends.len()).map(Role::Regular);
        for role in slots.chain([Role::Emergency, Role::Abuse]) {
            let (addresses, check) =
                snapshot.backend(role).map_or((&[][..], None), |b| (&b.addresses[..], b.check.as_ref()));
            live.publish(role, addresses, check);
        }
        snapshot
    }

    /// The removed servers that still have connections.
    pub fn leaving(&self) -> impl Iterator<Item = &Arc<Backend>> {
        self.removed.iter().filter(|backend| backend.stats.connections() > 0)
    }

    /// The server of a role, if there is one.
    pub fn backend(&self, role: Role) -> Option<&Arc<Backend>> {
        match role {
            Role::Regular(n) => self.backends.get(n)?.as_ref(),
            Role::Emergency => self.emergency.as_ref(),
            Role::Abuse => self.abuse.as_ref(),
        }
    }
}

fn backend(
    role: Role,
    server: &ServerConfig,
    check: Option<Arc<Check>>,
    stats: &Arc<ServerStats>,
    resolved: &Resolved,
) -> Option<Backend> {
    let host = server.address.clone()?;
    let ips = match &host {
        Host::Unix(_) => &[][..],
        Host::Ip(ip) => std::slice::from_ref(ip),
        Host::Name(name) => resolved.get(name).map_or(&[][..], Vec::as_slice),
    };
    let addresses = match &host {
        Host::Unix(path) => vec![ServerAddress::Unix(path.clone())],
        _ if server.port == 0 => Vec::new(),
        _ => ips.iter().map(|ip| ServerAddress::Ip(SocketAddr::new(*ip, server.port))).collect(),
    };
    let label = ips.first().map_or_else(|| host.to_string(), IpAddr::to_string);
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
        tls: TlsPeer::of_server(server).map(Arc::new),
        identity: super::hash::server(&host, server.port),
        label,
        port: server.port,
        stats: Arc::clone(stats),
    })
}
