//! What the page shows.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::core::json::VersionDocument;
use crate::core::report::model::ObservedServer;
use crate::core::report::pieces::Rows;
use crate::core::snapshot::Backend;

use super::super::server_source::ServerSource;
use super::history::History;
use super::view::{self, Bar, Cell, PageRow};

/// The contents of the page.
#[derive(Debug, Clone)]
pub struct PageContents {
    /// The address that clients connect to.
    pub listen: String,
    /// What is served there.
    pub protocol: &'static str,
    /// The program and its process.
    pub version: VersionDocument,
    /// Connections, or flows of datagrams.
    pub connections: usize,
    /// The limit of them.
    pub connections_max: usize,
    /// Connections that wait for a server.
    pub queue_connections: usize,
    /// The limit of them.
    pub queue_max: usize,
    /// Clients in the affinity table.
    pub clients: usize,
    /// The limit of them.
    pub clients_max: usize,
    /// How many servers there are.
    pub servers: usize,
    /// How many of them are up.
    pub servers_up: usize,
    /// Whether some server can serve new clients.
    pub can_serve: bool,
}

/// The number of rows made at a time.
const ROWS: usize = 32;

/// The number of facts.
const FACTS: usize = 8;

/// A fact about pen as a whole.
pub(super) struct Fact {
    pub(super) name: &'static str,
    pub(super) cell: Cell,
    /// How much of a limit is used.
    pub(super) bar: Option<Bar>,
}

impl PageContents {
    pub(super) fn facts(&self, history: &History) -> [Fact; FACTS] {
        let fact = |name, text: String, note: String| Fact { name, cell: Cell(text, note), bar: None };
        let share = |name, used: usize, limit: usize| Fact {
            name,
            cell: format!("{used} of {limit}").into(),
            bar: Bar::new(used as u64, limit as u64),
        };
        let rates = &history.totals().rates;
        let since = view::local(&self.version.start_time);
        [
            fact("Servers up", format!("{} of {}", self.servers_up, self.servers), String::new()),
            share("Connections", self.connections, self.connections_max),
            match self.queue_max {
                0 => fact("In the queue", "off".into(), String::new()),
                max => share("In the queue", self.queue_connections, max),
            },
            share("Clients", self.clients, self.clients_max),
            fact("New connections", format!("{:.0}/s", rates.connects), String::new()),
            fact("To servers", format!("{}/s", view::bytes(rates.sent)), String::new()),
            fact("From servers", format!("{}/s", view::bytes(rates.received)), String::new()),
            fact("Serving for", view::age(self.version.uptime_seconds), format!("since {since}")),
        ]
    }

    pub(super) fn health(&self) -> (&'static str, &'static str) {
        if self.can_serve { ("up", "serving") } else { ("down", "no server can serve new clients") }
    }
}

/// The rows of the servers, some at a time. The history is locked while they are made.
pub(super) fn rows(source: &impl ServerSource, history: &Arc<Mutex<History>>) -> Rows<PageRow> {
    let (history, now) = (Arc::clone(history), source.now());
    Box::new(source.servers(ROWS).map(move |some| {
        let history = history.lock();
        let row = |server: &Arc<Backend>| PageRow::new(&ObservedServer::new(server, now), &history);
        some.iter().map(row).collect()
    }))
}
