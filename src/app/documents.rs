//! The reports on pen, made from the data that its workers share. Any thread may request them.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::Serialize;

use crate::admin::{
    Measurements, PageContents, Process, ReportSource, ServerSource, ServingTotals, Unserved,
};
use crate::core::Millis;
use crate::core::addr::ClientAddress;
use crate::core::affinity::Client;
use crate::core::config::Config;
use crate::core::json::{self, Document, DocumentHead, ServersHead, VersionDocument};
use crate::core::refusals::Refusal;
use crate::core::report::model::{
    CheckRow, ClientRow, ConnectionRow, ServerRow, ServerState, ServerWalk, Status, WalkOrder, standing_of,
};
use crate::core::report::pieces::{Pieces, Rows, lines, numbered};
use crate::core::report::{html, replies, text};
use crate::core::select::explain::{Candidate, Explanation};
use crate::core::settings::Keyword;
use crate::core::snapshot::Backend;
use crate::core::state_changes::StateChange;
use crate::net::lifecycle::LifeStage;
use crate::net::shared::Shared;
use crate::sys::usage;

use super::clock;

/// The number of rows made at a time.
const ROWS: usize = 64;

/// The source of all documents.
#[derive(Debug)]
pub(super) struct Documents {
    shared: Arc<Shared>,
    /// The configuration in force.
    config: Arc<ArcSwap<Config>>,
    /// The file of `-F`.
    file: Option<String>,
    start_time: String,
    start_seconds: f64,
    reloads: AtomicU64,
    failed_reloads: AtomicU64,
}

/// What `json why` begins with: which server a client would get.
#[derive(Debug, Clone, Serialize)]
struct WhyHead {
    #[serde(flatten)]
    head: DocumentHead,
    #[serde(flatten)]
    explanation: Explanation,
}

impl Documents {
    /// The documents of a pen that starts to serve with `config`, read from `file`.
    pub(super) fn new(shared: Arc<Shared>, config: &Config, file: Option<&str>) -> Self {
        Documents {
            shared,
            config: Arc::new(ArcSwap::from_pointee(config.clone())),
            file: file.map(str::to_owned),
            start_time: clock::rfc3339(),
            start_seconds: clock::unix_seconds(),
            reloads: AtomicU64::new(0),
            failed_reloads: AtomicU64::new(0),
        }
    }

    /// Sets the configuration in force.
    pub(super) fn show(&self, config: Arc<Config>) {
        self.config.store(config);
    }

    /// Counts a reload.
    pub(super) fn reloaded(&self, success: bool) {
        let counter = if success { &self.reloads } else { &self.failed_reloads };
        counter.fetch_add(1, Relaxed);
    }

    /// A document, made in pieces as it is read.
    pub(super) fn pieces(&self, document: Document) -> Pieces {
        let head = DocumentHead { time: clock::rfc3339() };
        match document {
            Document::Checks => json::list(&head, "checks", self.checks()),
            Document::Clients => json::list(&head, "clients", self.clients(0)),
            Document::Config => json::config(&head, self.file.as_deref(), &self.config.load_full()),
            Document::Connections => json::list(&head, "connections", self.connections()),
            Document::Servers => {
                let head = ServersHead {
                    time: head.time,
                    queue_connections: self.shared.queue.waiting(),
                    queue_max: self.shared.snapshot.load().queue_max,
                    can_serve: self.serves(),
                };
                json::list(&head, "servers", self.server_rows(WalkOrder::All))
            }
            Document::Version => json::document(&self.version(head)),
        }
    }

    /// The server that a client would get, and why.
    fn explanation(&self, client: ClientAddress) -> Explanation {
        let (shared, now) = (&self.shared, self.shared.now());
        let snapshot = shared.snapshot.load_full();
        let key = Client::new(client.ip).masked(snapshot.client_mask);
        let record = shared.clients.look_up(key);
        let usage = shared.limits.usage(key, snapshot.allowance.period, now);
        Explanation::new(&snapshot, client, record.as_ref(), usage, now)
    }

    /// The reply to `why`.
    pub(super) fn why_lines(&self, client: ClientAddress) -> Pieces {
        let explanation = self.explanation(client);
        let candidates = lines(self.candidates(&explanation), |candidate| format!("{candidate}\n"));
        let once = std::iter::once;
        Box::new(
            once(explanation.before_servers()).chain(candidates).chain(once(explanation.after_servers())),
        )
    }

    /// The same as a JSON document.
    pub(super) fn why(&self, client: ClientAddress) -> Pieces {
        let head = DocumentHead { time: clock::rfc3339() };
        let explanation = self.explanation(client);
        let candidates = self.candidates(&explanation);
        json::list(&WhyHead { head, explanation }, "servers", candidates)
    }

    /// The servers as a client may have them.
    fn candidates(&self, explanation: &Explanation) -> Rows<Candidate> {
        let (shared, candidates) = (Arc::clone(&self.shared), explanation.candidates().clone());
        let judge = move |some: Vec<Arc<Backend>>| {
            candidates.judge(&some, &shared.snapshot.load_full(), shared.now())
        };
        Box::new(self.backends(WalkOrder::Present, ROWS).map(judge))
    }

    /// The reply to `servers`.
    pub(super) fn server_lines(&self) -> Pieces {
        lines(self.server_rows(WalkOrder::ByNumber), replies::server)
    }

    /// The reply to `show sni_server`: the routes, as commands.
    pub(super) fn route_lines(&self) -> Pieces {
        let config = self.config.load_full();
        lines(numbered(move |begin| config.route_commands(begin, ROWS)), |command| format!("{command}\n"))
    }

    /// The reply to `recent`: the clients that connected within the last `seconds`.
    pub(super) fn recent_lines(&self, seconds: u64) -> Pieces {
        let since = self.shared.now().saturating_sub(seconds.saturating_mul(1000));
        lines(self.clients(since), replies::client)
    }

    /// The reply to `connection N`.
    pub(super) fn connection(&self, id: usize) -> String {
        replies::connection(id, self.shared.connections.row(id, self.shared.now()).as_ref())
    }

    /// The status page.
    pub(super) fn page(&self) -> Pieces {
        html::page(self.status(), self.server_rows(WalkOrder::ByNumber), self.clients(0), self.connections())
    }

    /// The statistics.
    pub(super) fn statistics(&self) -> Pieces {
        text::statistics(
            self.status(),
            self.server_rows(WalkOrder::ByNumber),
            self.clients(0),
            self.connections(),
        )
    }

    fn status(&self) -> Status {
        let shared = &self.shared;
        let snapshot = shared.snapshot.load();
        Status {
            time: clock::local_time(),
            servers: Status::servers(&snapshot),
            current: Status::current(&snapshot),
            clients_max: shared.clients.max(),
            connections: shared.connections.count(),
            last_connection: shared.connections.last(),
            connections_max: snapshot.conn_max,
            dropped: self.config.load().settings.udp.then(|| shared.drops.count()),
            refused: shared.refusals.sum([Refusal::Connections, Refusal::Rate]),
            unannounced: shared.proxy_faults.counts().total(),
        }
    }

    fn clients(&self, since: Millis) -> Rows<ClientRow> {
        let now = self.shared.now();
        let mut walk = self.shared.clients_since(since);
        Box::new(std::iter::from_fn(move || {
            let mut found = Vec::new();
            let goes_on = walk.next(&mut found);
            let row = |(client, record)| ClientRow::new(client, &record, now);
            goes_on.then(|| found.into_iter().map(row).collect())
        }))
    }

    fn connections(&self) -> Rows<ConnectionRow> {
        let now = self.shared.now();
        in_pieces(self.shared.connections.walk().map(move |(id, connection)| connection.row(id, now)))
    }

    fn checks(&self) -> Rows<CheckRow> {
        let shared = Arc::clone(&self.shared);
        let row = move |backend: Arc<Backend>| CheckRow::new(&backend, shared.now());
        Box::new(
            self.backends(WalkOrder::Present, ROWS)
                .map(move |some| some.into_iter().filter_map(&row).collect()),
        )
    }

    fn server_rows(&self, order: WalkOrder) -> Rows<ServerRow> {
        let shared = Arc::clone(&self.shared);
        let row = move |backend: Arc<Backend>| ServerRow::new(&backend, shared.now());
        Box::new(self.backends(order, ROWS).map(move |some| some.into_iter().map(&row).collect()))
    }

    /// Servers, `most` at a time, of which rows are made at once.
    fn backends(&self, order: WalkOrder, most: usize) -> Rows<Arc<Backend>> {
        let (shared, mut walk) = (Arc::clone(&self.shared), ServerWalk::new(order));
        Box::new(std::iter::from_fn(move || {
            let some = walk.step(&shared.snapshot.load(), most);
            (!some.is_empty()).then_some(some)
        }))
    }

    /// Whether pen takes new clients and one of the servers can serve them.
    fn serves(&self) -> bool {
        let (shared, now) = (&self.shared, self.shared.now());
        let snapshot = shared.snapshot.load();
        let works = |role| {
            let state = snapshot.backend(role).map(|backend| ServerState::of(backend, now));
            matches!(state, Some(ServerState::Up | ServerState::Unknown | ServerState::Retrying))
        };
        shared.lifecycle.stage() == LifeStage::Serve && self.config.load().serves_new_clients(works)
    }

    fn version(&self, DocumentHead { time }: DocumentHead) -> VersionDocument {
        VersionDocument {
            time,
            name: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            tls_library: openssl::version::version().to_owned(),
            system: std::env::consts::OS,
            architecture: std::env::consts::ARCH,
            pid: std::process::id(),
            start_time: self.start_time.clone(),
            // The clock starts with pen.
            uptime_seconds: self.shared.now() as f64 / 1000.0,
            documents: Document::WORDS,
        }
    }
}

impl ServerSource for Documents {
    fn servers(&self, most: usize) -> Rows<Arc<Backend>> {
        self.backends(WalkOrder::Present, most)
    }

    fn now(&self) -> Millis {
        self.shared.now()
    }
}

impl ReportSource for Documents {
    fn permits(&self, client: IpAddr) -> bool {
        let config = self.config.load();
        config.acl(config.settings.admin_acl).permits(Some(client))
    }

    fn document(&self, name: &str) -> Option<Pieces> {
        match name.strip_prefix("why/") {
            Some(client) => ClientAddress::parse(client).ok().map(|client| self.why(client)),
            None => Document::by_word(name).map(|document| self.pieces(document)),
        }
    }

    fn measurements(&self) -> Measurements {
        let shared = &self.shared;
        let memory = usage::memory();
        Measurements {
            version: env!("CARGO_PKG_VERSION"),
            tls_library: openssl::version::version(),
            connections: shared.connections.count(),
            connections_max: shared.snapshot.load().conn_max,
            clients: shared.clients.count(),
            clients_max: shared.clients.max(),
            datagrams_dropped: self.config.load().settings.udp.then(|| shared.drops.count()),
            unserved: Unserved {
                queued: shared.queue.waiting(),
                queue_max: shared.snapshot.load().queue_max,
                queue_results: shared.queue_counts.read(),
                queue_times: shared.queue_counts.waits(),
                held: shared.tarpit.count(),
                held_max: shared.snapshot.load().tarpit_max,
                tarpit_results: [("held", shared.tarpit.accepted()), ("refused", shared.tarpit.refused())],
            },
            serving: ServingTotals {
                ends: shared.ends.read(),
                refusals: shared.refusals.read(),
                header_faults: shared.proxy_faults.counts().read(),
                handshakes: shared.handshakes.read().to_vec(),
                reloads: [
                    ("success", self.reloads.load(Relaxed)),
                    ("failure", self.failed_reloads.load(Relaxed)),
                ],
            },
            process: Process {
                start_time_seconds: self.start_seconds,
                cpu_seconds: usage::cpu_time().map(|time| time.as_secs_f64()),
                resident_bytes: memory.map(|(resident, _)| resident),
                virtual_bytes: memory.map(|(_, all)| all),
                open_descriptors: usage::open_descriptors(),
                max_descriptors: usage::max_descriptors(),
            },
        }
    }

    fn state_changes(&self) -> Vec<(String, StateChange)> {
        let now = self.shared.now();
        let time = |at: Millis| clock::rfc3339_ago(Duration::from_millis(now.saturating_sub(at)));
        self.shared.state_changes.take().into_iter().map(|change| (time(change.at), change)).collect()
    }

    fn contents(&self) -> PageContents {
        let config = self.config.load();
        let settings = &config.settings;
        let (snapshot, now) = (self.shared.snapshot.load(), self.shared.now());
        let present = || snapshot.backends.iter().flatten().chain(&snapshot.emergency).chain(&snapshot.abuse);
        PageContents {
            listen: settings.listen.as_ref().map(ToString::to_string).unwrap_or_default(),
            protocol: match (settings.udp, settings.http, config.ends_tls()) {
                (true, ..) => "UDP",
                (_, true, false) => "HTTP",
                (_, true, true) => "HTTP over TLS",
                (_, false, false) => "TCP",
                (_, false, true) => "TLS",
            },
            version: self.version(DocumentHead { time: clock::rfc3339() }),
            connections: self.shared.connections.count(),
            connections_max: self.shared.snapshot.load().conn_max,
            clients: self.shared.clients.count(),
            clients_max: self.shared.clients.max(),
            queue_connections: self.shared.queue.waiting(),
            queue_max: self.shared.snapshot.load().queue_max,
            servers: present().count(),
            servers_up: present().filter(|server| standing_of(server, now) == ServerState::Up.word()).count(),
            can_serve: self.serves(),
        }
    }

    fn time(&self) -> String {
        clock::rfc3339()
    }

    fn can_serve(&self) -> bool {
        self.serves()
    }
}

/// The rows in batches.
fn in_pieces<T: 'static>(mut rows: impl Iterator<Item = T> + Send + 'static) -> Rows<T> {
    Box::new(std::iter::from_fn(move || {
        let rows: Vec<T> = rows.by_ref().take(ROWS).collect();
        (!rows.is_empty()).then_some(rows)
    }))
}
