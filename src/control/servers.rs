//! The document `json servers`, as the tasks of penctl read it.

use std::io;

use serde::Deserialize;

use crate::core::addr::Endpoint;

use super::client;

/// The document.
#[derive(Debug, Deserialize)]
pub(super) struct Servers {
    pub(super) time: String,
    pub(super) servers: Vec<Server>,
}

/// A server in it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Server {
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

impl Server {
    /// What it is called: its name, its number, or what it is there for.
    pub(super) fn label(&self) -> String {
        let number = || self.server.map_or_else(|| self.role.clone(), |number| number.to_string());
        self.name.clone().unwrap_or_else(number)
    }

    /// Its address with the port, as it is written in a configuration.
    pub(super) fn endpoint(&self) -> String {
        let Server { address, port, .. } = self;
        match address {
            path if path.contains('/') => path.clone(),
            ip if ip.contains(':') => format!("[{ip}]:{port}"),
            host => format!("{host}:{port}"),
        }
    }

    /// How it stands, in a word: as an administrator says, if that is not "ready".
    pub(super) fn standing(&self) -> &str {
        if self.admin_state == "ready" { &self.state } else { &self.admin_state }
    }
}

/// Asks for the document.
///
/// # Errors
/// Pen cannot be reached, or does not know it.
pub(super) fn read(target: &Endpoint) -> io::Result<Servers> {
    Ok(serde_json::from_str(&client::ask(target, "json servers")?)?)
}
