//! The document `json servers`, as penctl's own commands read it.

use std::io;
use std::time::Duration;

use serde::Deserialize;

use crate::core::addr::{self, Endpoint};
use crate::core::report::model::standing;
use crate::core::settings::{AdminState, Keyword as _};

use super::client;
use super::time_limit::within;

/// The document.
#[derive(Debug, Deserialize)]
pub(super) struct ServersDocument {
    pub(super) time: String,
    /// Whether new clients are served.
    pub(super) can_serve: bool,
    pub(super) servers: Vec<ListedServer>,
}

/// A server in it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ListedServer {
    pub(super) server: Option<usize>,
    pub(super) name: Option<String>,
    pub(super) role: String,
    pub(super) address: String,
    pub(super) port: u16,
    pub(super) state: String,
    pub(super) admin_state: String,
    pub(super) connections: u32,
    pub(super) max: u32,
    pub(super) sent_bytes: u64,
    pub(super) received_bytes: u64,
    pub(super) connects: u64,
    pub(super) failures: u64,
    pub(super) connect_p99_seconds: Option<f64>,
}

impl ListedServer {
    /// Its label: its name, its number, or its role.
    pub(super) fn label(&self) -> String {
        let number = || self.server.map_or_else(|| self.role.clone(), |number| number.to_string());
        self.name.clone().unwrap_or_else(number)
    }

    /// Its address with the port, as it is written in a configuration.
    pub(super) fn endpoint(&self) -> String {
        addr::with_port(&self.address, self.port)
    }

    /// Its state in one word: the administrative state if that is not `ready`.
    pub(super) fn standing(&self) -> &str {
        standing(&self.state, &self.admin_state)
    }

    /// Whether the administrative state is `ready`.
    pub(super) fn is_ready(&self) -> bool {
        self.admin_state == AdminState::Ready.word()
    }
}

/// Requests the document, which has to be there as a whole within `limit`.
///
/// # Errors
/// Pen cannot be reached, does not answer in time, or does not know the document.
pub(super) fn read(target: &Endpoint, limit: Duration) -> io::Result<ServersDocument> {
    let target = target.clone();
    within(limit, move || Ok(serde_json::from_str(&client::ask(&target, "json servers", limit)?)?))
}
