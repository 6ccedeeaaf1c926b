//! Configurations that are invalid, whoever changes them.

use super::Config;
use crate::core::addr::{Endpoint, Host};
use crate::core::alpn;
use crate::core::command::ServerRef;
use crate::core::command::server_keys::ServerConfig;
use crate::core::error::Error;
use crate::core::settings::{AdminState, ProxyHeader, ProxyProtocol};
use crate::core::sni_route::SniRoutes;

impl Config {
    /// Whether pen can serve with this configuration.
    ///
    /// # Errors
    /// Settings that exclude each other, two servers with the same name, or two sockets with the same address.
    pub fn check(&self) -> Result<(), Error> {
        self.check_names()?;
        self.check_checks()?;
        let settings = &self.settings;
        self.check_tls_names()?;
        self.sni_routes()?;
        if let Some(list) = &settings.ssl_alpn {
            alpn::judge(list, settings.http).map_err(|error| error.of("ssl_alpn"))?;
        }
        self.check_sockets()?;
        if !settings.udp {
            return Ok(());
        }
        let excluded = |other: &str, why: &str| Err(Error::new(format!("-U (udp) excludes {other}: {why}")));
        if !settings.ssl_certfile.is_empty() {
            return excluded("-E (ssl_certfile)", "TLS needs connections");
        }
        if !settings.sni_server.is_empty() {
            return excluded("sni_server", "TLS needs connections");
        }
        if let Some(n) = self.servers.iter().position(|server| server.tls) {
            return excluded(&format!("server {n} tls"), "TLS needs connections");
        }
        for (on, other) in [(settings.http, "-H (http)"), (settings.dummy, "dummy")] {
            if on {
                return excluded(other, "HTTP needs connections");
            }
        }
        if settings.proxy_protocol != ProxyProtocol::Off {
            return excluded("proxy_protocol", "pen reads PROXY headers of connections only");
        }
        if let Some(n) = self.servers.iter().position(|server| server.proxy == ProxyHeader::V1) {
            return excluded(
                &format!("server {n} proxy v1"),
                "version 1 is for connections only; v2 is for both",
            );
        }
        if let Some(Endpoint { host: Host::Unix(path), .. }) = self.listening() {
            return excluded(
                &format!("the listening address {path}"),
                "a Unix socket takes connections only",
            );
        }
        let special = |(endpoint, name): (&Option<Endpoint>, &str)| {
            let host = &endpoint.as_ref()?.host;
            host.is_path().then(|| format!("the {name} server {host}"))
        };
        let numbered = self.servers.iter().enumerate().find_map(|(n, server)| {
            server.address.as_ref().filter(|host| host.is_path()).map(|host| format!("server {n} {host}"))
        });
        let specials = [(&settings.emergency, "emergency"), (&settings.abuse, "abuse")];
        match numbered.or_else(|| specials.into_iter().find_map(special)) {
            Some(server) => excluded(&server, "a Unix socket takes connections only"),
            None => Ok(()),
        }
    }

    /// The routes of `sni_server`; `None` where there are none.
    ///
    /// # Errors
    /// A server that there is not.
    pub fn sni_routes(&self) -> Result<Option<SniRoutes>, Error> {
        let routes = &self.settings.sni_server;
        if routes.is_empty() {
            return Ok(None);
        }
        let slot = |word: &str| {
            let server = ServerRef::parse(word)?;
            self.slot(&server).ok_or_else(|| Error::expected("the name of a server", word))
        };
        SniRoutes::new(routes, self.servers.len(), slot).map(Some)
    }

    /// Whether the host name that a server's certificate is verified against is given and valid.
    fn check_tls_names(&self) -> Result<(), Error> {
        for (n, server) in self.servers.iter().enumerate() {
            let expected = "a host name or an IP address";
            let subject = format!("server {n} tls_name");
            if let Some(path) = server.tls_name.as_ref().filter(|name| name.is_path()) {
                return Err(Error::expected(expected, path.to_string()).of(&subject));
            }
            let at_path = server.address.as_ref().is_some_and(Host::is_path);
            if server.tls && server.tls_verify && at_path && server.tls_name.is_none() {
                let expected = format!("{expected}, since a Unix socket has none, or tls_verify off");
                return Err(Error::missing(expected).of(&subject));
            }
        }
        Ok(())
    }

    /// Whether every server is at another address than pen itself, as `is_own` decides for the address of a socket of pen and
    /// the host and port of a server.
    ///
    /// # Errors
    /// The server that is pen itself: pen would be its own client, until all its connections are used up; and clients that
    /// reach the control socket or the admin listener by way of pen have pen's address.
    pub fn check_servers(&self, is_own: &dyn Fn(&Endpoint, &Host, u16) -> bool) -> Result<(), Error> {
        let sockets = self.own_sockets();
        let is_own = |host: &Host, port: u16| sockets.iter().any(|socket| is_own(socket, host, port));
        match self.own_address(&is_own) {
            Some((server, address)) => {
                Err(Error::new(format!("{address} is pen's own address: pen would be its own client"))
                    .of(&server))
            }
            None => Ok(()),
        }
    }

    /// The addresses of pen's sockets that a connection to a server could reach, or a datagram. Those of control and admin that
    /// are names are not known here.
    fn own_sockets(&self) -> Vec<&Endpoint> {
        let settings = &self.settings;
        let others = [&settings.control, &settings.admin].into_iter().flatten();
        let others = others.filter(|other| !settings.udp && other.endpoint.host.name().is_none());
        others.chain(&settings.listen).map(|address| &address.endpoint).collect()
    }

    /// The server that is pen's own address: its name, and the address.
    fn own_address(&self, is_own: &dyn Fn(&Host, u16) -> bool) -> Option<(String, String)> {
        let numbered = self.servers.iter().enumerate().find_map(|(n, server)| {
            let host = server.address.as_ref().filter(|host| is_own(host, server.port))?;
            let address = match host {
                Host::Unix(path) => path.clone(),
                host => format!("{host} port {}", server.port),
            };
            Some((format!("server {n}"), address))
        });
        let special = [(&self.settings.emergency, "emergency"), (&self.settings.abuse, "abuse")];
        numbered.or_else(|| {
            special.into_iter().find_map(|(endpoint, name)| {
                let endpoint = endpoint.as_ref().filter(|endpoint| is_own(&endpoint.host, endpoint.port))?;
                Some((name.to_owned(), endpoint.to_string()))
            })
        })
    }

    /// Why no client would be served even if every server worked; `None` when some server could serve.
    pub fn nobody(&self) -> Option<Error> {
        let settings = &self.settings;
        if settings.emergency.is_some() {
            return None;
        }
        let used = || self.used_servers().map(|(_, server)| server);
        if used().count() == 0 {
            Some(Error::new("no server would be left, and nobody would be served"))
        } else if settings.weight && !settings.prio && used().all(|server| server.weight == 0) {
            Some(Error::new("every server has weight 0, and nobody would be served").of("weight"))
        } else {
            None
        }
    }

    /// Whether no new client is served as long as the configuration stays so: servers are drained or in maintenance, denied to
    /// everybody, or blacklisted by a command, which `is_blacklisted` tells of their numbers. Not if there is no server at all.
    pub fn takes_nobody(&self, is_blacklisted: impl Fn(usize) -> bool) -> bool {
        let settings = &self.settings;
        // Clients of a path have no address, which no list denies.
        let has_addresses = !self.listens_at_path() || settings.proxy_protocol == ProxyProtocol::Require;
        let denies_everybody = |list: usize| has_addresses && self.acl(list).denies_everybody();
        if settings.abuse.is_none() && denies_everybody(settings.client_acl) {
            return true;
        }
        let takes = |(n, server): (usize, &ServerConfig)| {
            server.state == AdminState::Ready && !denies_everybody(server.acl) && !is_blacklisted(n)
        };
        let has_servers = self.used_servers().next().is_some();
        settings.emergency.is_none() && has_servers && !self.used_servers().any(takes)
    }

    /// The servers that have an address and a port, with their numbers.
    pub(super) fn used_servers(&self) -> impl Iterator<Item = (usize, &ServerConfig)> {
        self.servers.iter().enumerate().filter(|(_, server)| server.address.is_some() && server.port != 0)
    }

    /// Whether it listens on a Unix socket.
    pub(super) fn listens_at_path(&self) -> bool {
        self.listening().is_some_and(|endpoint| endpoint.host.is_path())
    }

    /// The address to listen on.
    pub fn listening(&self) -> Option<&Endpoint> {
        self.settings.listen.as_ref().map(|address| &address.endpoint)
    }
}
