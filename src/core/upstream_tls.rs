//! The TLS settings for connections to servers.

use super::addr::Host;
use super::command::server_keys::ServerConfig;
use super::config::Config;
use super::health::CheckConfig;
use super::settings::{CheckSwitch, SslProtocol};
use std::fmt;
use std::path::PathBuf;

/// The settings that TLS contexts for servers are made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTlsSettings {
    /// The certificate authorities for servers' certificates; those of the system if `None`.
    pub ca: Option<PathBuf>,
    /// The client certificate for servers that ask for one.
    pub cert: Option<PathBuf>,
    /// Its private key, if that is not in the same file.
    pub key: Option<PathBuf>,
    /// The ciphers offered.
    pub ciphers: Option<String>,
    /// The oldest protocol version.
    pub protocol: Option<SslProtocol>,
    /// Whether the certificate of any server is verified.
    pub verifies: bool,
}

/// The server of a TLS connection, and how it is authenticated.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TlsPeer {
    /// The server's host as configured.
    host: Host,
    /// Its port.
    port: u16,
    /// The name that its certificate must be valid for; `None` if unknown, as for a Unix socket.
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

    /// The server as a check reaches it: as clients' connections do, unless the check says otherwise.
    pub fn of_check(server: &ServerConfig, check: &CheckConfig) -> Option<Self> {
        if !check.tls.of(server.tls) {
            return None;
        }
        let own = check.sni.as_ref().map(|name| Host::parse(name).unwrap_or(Host::Name(name.clone())));
        Self::new(server, own.as_ref().or(server.tls_name.as_ref()), check.verify.of(server.tls_verify))
    }
}

impl CheckSwitch {
    /// Resolves the switch of a check for a server whose own value is `server`.
    pub fn of(self, server: bool) -> bool {
        match self {
            CheckSwitch::Server => server,
            CheckSwitch::On => true,
            CheckSwitch::Off => false,
        }
    }
}

impl Config {
    /// The settings that TLS contexts for servers are made from; `None` when no server uses TLS.
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
