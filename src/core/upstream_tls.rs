//! The TLS settings for connections to servers.

use super::addr::{Endpoint, Host};
use super::command::server_keys::ServerConfig;
use super::config::Config;
use super::health::CheckConfig;
use super::settings::{CheckSwitch, SslProtocol};
use super::tls_peer::TlsPeer;
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

impl TlsPeer {
    fn at_port(server: &ServerConfig, port: u16, name: Option<&Host>, verify: bool) -> Option<Self> {
        let host = server.address.clone()?;
        Some(TlsPeer::new(Endpoint { host, port }, name, verify))
    }

    /// The server as clients' connections reach it; `None` without TLS.
    pub fn of_server(server: &ServerConfig) -> Option<Self> {
        let new = || Self::at_port(server, server.port, server.tls_name.as_ref(), server.tls_verify);
        server.tls.then(new).flatten()
    }

    /// The server as a check reaches it: as clients' connections do, unless the check says otherwise. What serves another port may be
    /// another program, which knows nothing of sessions with this one.
    pub fn of_check(server: &ServerConfig, check: &CheckConfig) -> Option<Self> {
        if !check.tls.of(server.tls) {
            return None;
        }
        let own = check.sni.as_ref().map(|name| Host::parse(name).unwrap_or(Host::Name(name.clone())));
        let name = own.as_ref().or(server.tls_name.as_ref());
        Self::at_port(server, check.port_of(server.port), name, check.verify.of(server.tls_verify))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_of_another_port_has_another_peer() {
        let address = Some(Host::parse("::1").unwrap());
        let server = ServerConfig { address, port: 443, tls: true, ..ServerConfig::default() };
        let of_check = |port| {
            let check = CheckConfig { port, ..CheckConfig::default() };
            TlsPeer::of_check(&server, &check).unwrap()
        };
        let peer = TlsPeer::of_server(&server).unwrap();
        assert_eq!(peer.to_string(), "[::1]:443");
        assert_eq!(of_check(0), peer);
        assert_eq!(of_check(8443).to_string(), "[::1]:8443");
    }
}
