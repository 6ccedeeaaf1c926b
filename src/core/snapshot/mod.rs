//! The immutable data that workers read: the configuration and the addresses of its names.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::acl::Acl;
use super::addr::{Endpoint, Host};
use super::admission::limits::Allowance;
use super::affinity::ClientMask;
use super::backend::{ServerStats, Turns};
use super::command::server_keys::ServerConfig;
use super::config::Config;
use super::health::Check;
use super::queue::Wakeup;
use super::settings::{AdminState, ConnectionLogFormat, Fastclose, HttpForwarded, ProxyProtocol};
use super::sni_route::SniRoutes;
use super::tls_peer::TlsPeer;
use super::{Millis, millis};

mod backend;
mod policy;
mod selectable;
mod stats_table;

pub use backend::{Backend, Resolved, Role, ServerAddress};
pub use policy::{Algorithm, Policy};
pub use selectable::{Selectable, SelectableServers};
pub use stats_table::StatsTable;

use backend::backend;

/// A time that pen never reaches; something can still be added to it.
const NEVER: Millis = 1 << 60;

/// Everything that the handling of a connection depends on.
#[derive(Debug)]
pub struct Snapshot {
    /// The server slots; none where a slot is unused.
    pub backends: Vec<Option<Arc<Backend>>>,
    /// Those of them that may be selected.
    pub selectable: SelectableServers,
    /// The emergency server.
    pub emergency: Option<Arc<Backend>>,
    /// The abuse server.
    pub abuse: Option<Arc<Backend>>,
    /// Servers that were removed and had connections when this was made, by slot and time.
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
    pub content: ContentOptions,
    /// How the sockets of connections are set up.
    pub sockets: SocketOptions,
    /// How long a server in slow start takes to reach its full share of new clients.
    pub slowstart: Millis,
    /// The host that pen listens on.
    pub listen: String,
    /// The listening address as it is configured. Each connection keeps it, in one pointer.
    pub listener: Arc<String>,
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

/// How the bytes of connections are processed.
#[derive(Debug, Clone, Copy)]
pub struct ContentOptions {
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
            // A server without a port is not used.
            let is_used = server.port != 0 || server.address.as_ref().is_some_and(Host::is_path);
            let (name, check) = config.check_of(server).filter(|_| is_used)?;
            let host = server.address.as_ref()?.to_string();
            Some(Arc::new(Check {
                name: name.to_owned(),
                config: check.clone(),
                host,
                datagrams: settings.udp,
                proxy: check.header_of(server.proxy),
                tls: TlsPeer::of_check(server, check).map(Arc::new),
            }))
        };
        let handshake = Some(settings.ssl_handshake_timeout).filter(|time| !time.is_zero());
        let queue_timeout = Some(settings.queue_timeout).filter(|time| !time.is_zero());
        // One that is being removed may still get a connection by the snapshot before.
        live.removed.retain(|backend| !backend.stats.is_removed() || backend.stats.connections() > 0);
        live.removed.sort_by_key(|backend| backend.succession());
        let mut changed = Vec::new();
        let backends: Vec<_> = config
            .servers
            .iter()
            .enumerate()
            .map(|(n, server)| {
                let (check, check_pauses) = (check(server), config.check_pauses(server));
                if let Some(same) = live.same(n, server, check.as_ref(), check_pauses, resolved) {
                    return Some(same);
                }
                changed.push(n);
                let backend = backend(Role::Regular(n), server, check, live.server(n), resolved);
                let backend = backend.map(|backend| Arc::new(Backend { check_pauses, ..backend }));
                live.note(n, server, backend.as_ref());
                backend
            })
            .collect();
        let (policy, slowstart) = (Policy::of(settings), millis(settings.slowstart));
        let ruled_out = live.ruled_out.begin(backends.len());
        let snapshot = Snapshot {
            emergency: special(&settings.emergency, Role::Emergency, &live.emergency),
            abuse: special(&settings.abuse, Role::Abuse, &live.abuse),
            selectable: SelectableServers::new(&backends, policy, slowstart, ruled_out),
            backends,
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
            policy,
            content: ContentOptions {
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
            slowstart,
            listen: config.listening().map(|endpoint| endpoint.host.to_string()).unwrap_or_default(),
            listener: Arc::new(config.listening().map(ToString::to_string).unwrap_or_default()),
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
        for role in changed.into_iter().map(Role::Regular).chain([Role::Emergency, Role::Abuse]) {
            let (addresses, check) =
                snapshot.backend(role).map_or((&[][..], None), |b| (&b.addresses[..], b.check.as_ref()));
            live.publish(role, addresses, check);
        }
        snapshot
    }

    /// This takes the place of the snapshot `before` at `now`: servers that are no longer in maintenance begin their slow start, and
    /// so do those that were down and lose their check.
    pub fn replaces(&self, before: &Snapshot, now: Millis) {
        let in_maintenance = |backend: &Backend| backend.admin_state == AdminState::Maint;
        for (backend, before) in self.backends.iter().zip(&before.backends) {
            if let (Some(backend), Some(before)) = (backend, before)
                && Arc::ptr_eq(&backend.stats, &before.stats)
                && !in_maintenance(backend)
            {
                if in_maintenance(before) {
                    backend.stats.comes_back(now);
                } else if before.check.is_some() {
                    backend.stats.serves_unchecked(now);
                }
            }
        }
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
