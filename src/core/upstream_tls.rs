//! What the configuration says of TLS towards servers.

use super::addr::Host;
use super::command::server_keys::ServerConfig;
use super::config::Config;
use super::health::CheckConfig;
use super::settings::{CheckSwitch, SslProtocol};
use std::fmt;
use std::path::PathBuf;

/// What contexts for TLS towards servers are made by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTlsSettings {
    /// The authorities of servers' certificates; those of the system without.
    pub ca: Option<PathBuf>,
    /// The certificate that servers may ask for.
    pub cert: Option<PathBuf>,
    /// Its private key, if that is not in the same file.
    pub key: Option<PathBuf>,
    /// The ciphers offered.
    pub ciphers: Option<String>,
    /// The oldest protocol.
    pub protocol: Option<SslProtocol>,
    /// Whether some server's certificate is verified.
    pub verifies: bool,
}

/// Whom pen speaks TLS with, and how it knows that it is the right one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TlsPeer {
    /// The server's host as configured.
    host: Host,
    /// Its port.
    port: u16,
    /// Whom its certificate must be for; `None` where that is not known, as of a Unix socket.
    pub name: Option<Host>,
    /// Whether its certificate is verified.
    pub verify: bool,
}

impl fmt::Display for TlsPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl TlsPeer {
    fn new(server: &ServerConfig, name: Option<&Host>, verify: bool) -> Option<Self> {
        let host = server.address.clone()?;
        let name = name.unwrap_or(&host);
        let name = Some(name).filter(|name| !matches!(name, Host::Unix(_))).cloned();
        Some(TlsPeer { host, port: server.port, name, verify })
    }

    /// The server as clients' connections reach it; `None` without TLS.
    pub fn of_server(server: &ServerConfig) -> Option<Self> {
        if server.tls { Self::new(server, server.tls_name.as_ref(), server.tls_verify) } else { None }
    }

    /// The server as a check reaches it: as clients' connections do, where the check does not say otherwise.
    pub fn of_check(server: &ServerConfig, check: &CheckConfig) -> Option<Self> {
        if !check.tls.of(server.tls) {
            return None;
        }
        let own = check.sni.as_ref().map(|name| Host::parse(name).unwrap_or(Host::Name(name.clone())));
        Self::new(server, own.as_ref().or(server.tls_name.as_ref()), check.verify.of(server.tls_verify))
    }
}

impl CheckSwitch {
    /// On or off for a check of a server of which that is so.
    fn of(self, server: bool) -> bool {
        match self {
            CheckSwitch::Server => server,
            CheckSwitch::On => true,
            CheckSwitch::Off => false,
        }
    }
}

impl Config {
    /// What contexts for TLS towards servers are made by; `None` when pen speaks it with none.
    pub fn upstream_tls(&self) -> Option<UpstreamTlsSettings> {
        let mut peers = self
            .servers
            .iter()
            .flat_map(|server| {
                let check = self.check_of(server).and_then(|(_, check)| TlsPeer::of_check(server, check));
                [TlsPeer::of_server(server), check]
            })
            .flatten()
            .peekable();
        peers.peek()?;
        let settings = &self.settings;
        Some(UpstreamTlsSettings {
            ca: settings.server_cacert_file.clone(),
            cert: settings.server_certfile.clone(),
            key: settings.server_keyfile.clone(),
            ciphers: settings.server_ciphers.clone(),
            protocol: settings.server_protocol,
            verifies: peers.any(|peer| peer.verify),
        })
    }
}
