//! What the page shows.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::core::Millis;
use crate::core::json::VersionDocument;
use crate::core::report::model::{ObservedServer, standing_of};
use crate::core::report::pieces::Rows;
use crate::core::snapshot::Backend;

use super::history::History;
use super::server_history::Rates;
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
    /// The servers, of which rows are made as they are read.
    pub servers: Vec<Arc<Backend>>,
    /// The time of pen's clock.
    pub now: Millis,
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
        let rates: Rates = self.servers.iter().map(|server| history.rates(server.role.number())).sum();
        let up = self.servers.iter().filter(|server| standing_of(server, self.now) == "up").count();
        let since = view::local(&self.version.start_time);
        [
            fact("Servers up", format!("{up} of {}", self.servers.len()), String::new()),
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

    /// The rows of the servers, some at a time. The history is locked while they are made.
    pub(super) fn rows(self, history: &Arc<Mutex<History>>) -> Rows<PageRow> {
        let (history, mut servers, now) = (Arc::clone(history), self.servers.into_iter(), self.now);
        Box::new(std::iter::from_fn(move || {
            let some: Vec<_> = servers.by_ref().take(ROWS).collect();
            let history = history.lock();
            let row = |server: &Arc<Backend>| PageRow::new(&ObservedServer::new(server, now), &history);
            (!some.is_empty()).then(|| some.iter().map(row).collect())
        }))
    }
}
