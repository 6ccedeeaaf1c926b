//! A row for each server that has an address.

use serde::Serialize;

use crate::core::Millis;
use crate::core::addr;
use crate::core::backend::Standing;
use crate::core::health::Health;
use crate::core::histogram::Distribution;
use crate::core::settings::keyword::keywords;
use crate::core::settings::{AdminState, Keyword};
use crate::core::snapshot::{Backend, Role};

use super::units::seconds;

keywords! {
    /// How a server stands.
    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    ServerState {
        /// It takes connections, unless an administrator says otherwise: see [`AdminState`].
        Up = "up",
        /// It is left out for a while: it failed, or a command says so.
        Blacklisted = "blacklisted",
        /// It failed, and its time on the blacklist is over: one connection tries it next, or does already.
        Retrying = "retrying",
        /// Its check has no result yet: it takes connections when no server is up, unless it is in maintenance, where it is not checked.
        Unknown = "unknown",
        /// Its check finds that it does not work.
        Down = "down",
        /// Its name has no address yet.
        Unresolved = "unresolved",
        /// It has no port.
        Unused = "unused",
        /// It was removed, and is gone when its last connection has ended.
        Removed = "removed",
    }
}

impl ServerState {
    /// Whether it would take connections if it were ready.
    pub fn is_up(self) -> bool {
        self == ServerState::Up
    }

    /// Whether it is known not to.
    pub fn is_down(self) -> bool {
        matches!(
            self,
            ServerState::Down
                | ServerState::Blacklisted
                | ServerState::Unresolved
                | ServerState::Unused
                | ServerState::Removed
        )
    }

    /// How `backend` stands at `now`.
    pub fn of(backend: &Backend, now: Millis) -> Self {
        let health = backend.stats.health();
        match backend.stats.standing(now) {
            _ if backend.stats.is_removed() => ServerState::Removed,
            _ if backend.addresses.is_empty() && backend.port == 0 => ServerState::Unused,
            _ if backend.addresses.is_empty() => ServerState::Unresolved,
            _ if health == Health::Down => ServerState::Down,
            Standing::Clear if health == Health::Unknown || backend.check_pauses => ServerState::Unknown,
            Standing::Clear => ServerState::Up,
            Standing::Due | Standing::Trial => ServerState::Retrying,
            Standing::Failed(_) | Standing::Ordered(_) => ServerState::Blacklisted,
        }
    }
}

/// A server.
#[derive(Debug, Clone, Serialize)]
pub struct ServerRow {
    /// Its number; none for the emergency and the abuse server.
    pub server: Option<usize>,
    /// The same as C pen numbers servers: -1 for the emergency server, -2 for the abuse server.
    #[serde(skip)]
    pub number: i64,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// What it is there for.
    pub role: &'static str,
    /// The IP address in use, the name while that has none, or the path of a Unix socket.
    pub address: String,
    /// Its port; 1 for a Unix socket.
    pub port: u16,
    /// How it stands.
    pub state: ServerState,
    /// What an administrator says of it: `ready`, `drain` or `maint`.
    pub admin_state: AdminState,
    /// How much longer it is left out.
    pub blacklisted_seconds: f64,
    /// Connections that it has or that are being made.
    pub connections: u32,
    /// Its soft limit of connections; 0 for none.
    pub max: u32,
    /// Its limit for clients that it had before.
    pub hard: u32,
    /// Its weight.
    pub weight: u32,
    /// Its priority.
    pub prio: u32,
    /// The list that judges its clients.
    pub acl: usize,
    /// Bytes sent to it.
    pub sent_bytes: u64,
    /// Bytes received from it.
    pub received_bytes: u64,
    /// Connects to it that succeeded.
    pub connects: u64,
    /// Connects to it that failed, by its own fault; over UDP, flows for which it was not there.
    pub failures: u64,
    /// How long half of the connects that succeeded took at most, as an estimate; none before the first.
    pub connect_p50_seconds: Option<f64>,
    /// As many in 99 of 100.
    pub connect_p99_seconds: Option<f64>,
    /// What both are estimated from.
    #[serde(skip)]
    pub connect_times: Distribution,
}

impl ServerRow {
    /// Its address with the port, as it is written in a configuration.
    pub fn endpoint(&self) -> String {
        addr::with_port(&self.address, self.port)
    }

    /// What tells it apart: its number, or what it is there for.
    pub fn label(&self) -> String {
        self.server.map_or_else(|| self.role.to_owned(), |number| number.to_string())
    }

    /// How it stands, in a word: as an administrator says, if that is not `ready`.
    pub fn standing(&self) -> &'static str {
        standing(self.state.word(), self.admin_state.word())
    }

    /// The row of `backend` at `now`.
    pub fn new(backend: &Backend, now: Millis) -> Self {
        let (sent_bytes, received_bytes) = backend.stats.traffic.totals();
        let connect_times = backend.stats.connect_times.read();
        ServerRow {
            server: backend.role.slot(),
            number: backend.role.number(),
            name: backend.name.clone(),
            role: match backend.role {
                Role::Regular(_) => "regular",
                Role::Emergency => "emergency",
                Role::Abuse => "abuse",
            },
            address: backend.label.clone(),
            port: backend.port,
            state: ServerState::of(backend, now),
            admin_state: backend.admin_state,
            blacklisted_seconds: match backend.stats.standing(now) {
                Standing::Failed(until) | Standing::Ordered(until) => seconds(until.saturating_sub(now)),
                Standing::Clear | Standing::Due | Standing::Trial => 0.0,
            },
            connections: backend.stats.connections(),
            max: backend.max,
            hard: backend.hard,
            weight: backend.weight,
            prio: backend.prio,
            acl: backend.acl,
            sent_bytes,
            received_bytes,
            connects: connect_times.count(),
            failures: backend.stats.failures(),
            connect_p50_seconds: connect_times.quantile(0.5),
            connect_p99_seconds: connect_times.quantile(0.99),
            connect_times,
        }
    }

    /// How it stands, in the words of the status page.
    pub fn condition(&self) -> String {
        match self.state {
            ServerState::Blacklisted => {
                format!("blacklisted for {} s", self.blacklisted_seconds.ceil() as u64)
            }
            ServerState::Retrying => "failed, to be tried again".into(),
            state => state.word().into(),
        }
    }
}

/// Of the words for how a server stands and for what an administrator says of it, the one that counts.
pub fn standing<'a>(state: &'a str, admin_state: &'a str) -> &'a str {
    if admin_state == AdminState::Ready.word() { state } else { admin_state }
}

/// The same of a server at `now`.
pub fn standing_of(backend: &Backend, now: Millis) -> &'static str {
    standing(ServerState::of(backend, now).word(), backend.admin_state.word())
}
