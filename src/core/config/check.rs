//! Configurations that are invalid, whoever changes them.

use super::{Config, SERVER_NAME};
use crate::core::addr::{Endpoint, Host};
use crate::core::alpn;
use crate::core::command::ServerRef;
use crate::core::command::server_keys::ServerConfig;
use crate::core::error::Error;
use crate::core::settings::{ProxyHeader, ProxyProtocol};
use crate::core::sni_route::SniRoutes;

impl Config {
    /// Why pen cannot serve with this configuration: settings that exclude each other, two servers with the same name, two
    /// sockets with the same address, and whatever else no line says alone.
    pub fn errors(&self) -> Vec<Error> {
        let settings = &self.settings;
        let mut errors = self.name_errors();
        errors.extend(self.check_errors());
        errors.extend(self.tls_name_errors());
        errors.extend(self.route_errors());
        if let Some(list) = &settings.ssl_alpn {
            errors.extend(alpn::judge(list, settings.http).err().map(|error| error.of("ssl_alpn")));
        }
        errors.extend(self.socket_errors());
        if settings.udp {
            errors.extend(self.excluded_by_udp());
        }
        errors
    }

    /// What datagrams exclude.
    fn excluded_by_udp(&self) -> Vec<Error> {
        let settings = &self.settings;
        let excluded = |topic: &str, other: &str, why: &str| {
            Error::new(format!("-U (udp) excludes {other}: {why}")).about(topic)
        };
        let path = "a Unix socket takes connections only";
        let mut errors = Vec::new();
        for (on, topic, other, why) in [
            (!settings.ssl_certfile.is_empty(), "ssl_certfile", "-E (ssl_certfile)", "TLS needs connections"),
            (!settings.sni_server.is_empty(), "sni_server", "sni_server", "TLS needs connections"),
            (settings.http, "http", "-H (http)", "HTTP needs connections"),
            (settings.dummy, "dummy", "dummy", "HTTP needs connections"),
            (
                settings.proxy_protocol != ProxyProtocol::Off,
                "proxy_protocol",
                "proxy_protocol",
                "pen reads PROXY headers of connections only",
            ),
        ] {
            errors.extend(on.then(|| excluded(topic, other, why)));
        }
        if let Some(Endpoint { host: Host::Unix(at), .. }) = self.listening() {
            errors.push(excluded("listen", &format!("the listening address {at}"), path));
        }
        for (n, server) in self.servers.iter().enumerate() {
            let key = |key: &str| format!("server {n} {key}");
            if server.tls {
                let topic = key("tls");
                errors.push(excluded(&topic, &topic, "TLS needs connections"));
            }
            if server.proxy == ProxyHeader::V1 {
                let why = "version 1 is for connections only; v2 is for both";
                errors.push(excluded(&key("proxy"), &key("proxy v1"), why));
            }
            if let Some(host) = server.address.as_ref().filter(|host| host.is_path()) {
                errors.push(excluded(&key("address"), &key(&host.to_string()), path));
            }
        }
        for (endpoint, word) in [(&settings.emergency, "emergency"), (&settings.abuse, "abuse")] {
            if let Some(Endpoint { host, .. }) = endpoint.as_ref().filter(|endpoint| endpoint.host.is_path())
            {
                errors.push(excluded(word, &format!("the {word} server {host}"), path));
            }
        }
        errors
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
        SniRoutes::new(routes, self.servers.len(), |word| self.route_slot(word)).map(Some)
    }

    /// The slot of a server of `sni_server`.
    fn route_slot(&self, word: &str) -> Result<usize, Error> {
        let server = ServerRef::parse(word)?;
        self.slot(&server).ok_or_else(|| Error::expected(SERVER_NAME, word))
    }

    /// Servers of `sni_server` that there are not.
    fn route_errors(&self) -> Vec<Error> {
        let routes = self.settings.sni_server.iter();
        let servers = routes.flat_map(|route| route.servers.iter().map(move |server| (route, server)));
        let errors = servers.filter_map(|(route, server)| {
            Some(self.route_slot(server).err()?.of(&format!("sni_server {}", route.pattern)))
        });
        errors.collect()
    }

    /// Host names that servers' certificates are verified against, and that are not given or not valid.
    fn tls_name_errors(&self) -> Vec<Error> {
        let mut errors = Vec::new();
        for (n, server) in self.servers.iter().enumerate() {
            let expected = "a host name or an IP address";
            let subject = || format!("server {n} tls_name");
            if let Some(path) = server.tls_name.as_ref().filter(|name| name.is_path()) {
                errors.push(Error::expected(expected, path.to_string()).of(&subject()));
            }
            let at_path = server.address.as_ref().is_some_and(Host::is_path);
            if server.tls && server.tls_verify && at_path && server.tls_name.is_none() {
                let expected = format!("{expected}, since a Unix socket has none, or tls_verify off");
                errors.push(Error::missing(expected).of(&subject()).about(&format!("server {n} tls")));
            }
        }
        errors
    }

    /// Servers that are pen itself, as `is_own` decides for the address of a socket of pen and the host and port of a server:
    /// pen would be its own client, until all its connections are used up; and clients that reach the control socket or
    /// the admin listener by way of pen have pen's address.
    pub fn own_servers(&self, is_own: &dyn Fn(&Endpoint, &Host, u16) -> bool) -> Vec<Error> {
        let sockets = self.own_sockets();
        let is_own = |host: &Host, port: u16| sockets.iter().any(|socket| is_own(socket, host, port));
        let error = |(server, address): (String, String)| {
            let text = format!("{address} is pen's own address: pen would be its own client");
            let address_key = format!("{server} {}", ServerConfig::address().word());
            Error::new(text).of(&server).about(if server.contains(' ') { &address_key } else { &server })
        };
        self.own_addresses(&is_own).into_iter().map(error).collect()
    }

    /// The addresses of pen's sockets that a connection to a server could reach, or a datagram. Those of control and admin that
    /// are names are not known here.
    fn own_sockets(&self) -> Vec<&Endpoint> {
        let settings = &self.settings;
        let others = [&settings.control, &settings.admin].into_iter().flatten();
        let others = others.filter(|other| !settings.udp && other.endpoint.host.name().is_none());
        others.chain(&settings.listen).map(|address| &address.endpoint).collect()
    }

    /// The servers at pen's own addresses: their names, and the addresses.
    fn own_addresses(&self, is_own: &dyn Fn(&Host, u16) -> bool) -> Vec<(String, String)> {
        let numbered = self.servers.iter().enumerate().filter_map(|(n, server)| {
            let host = server.address.as_ref().filter(|host| is_own(host, server.port))?;
            let address = match host {
                Host::Unix(path) => path.clone(),
                host => format!("{host} port {}", server.port),
            };
            Some((format!("server {n}"), address))
        });
        let special = [(&self.settings.emergency, "emergency"), (&self.settings.abuse, "abuse")];
        let special = special.into_iter().filter_map(|(endpoint, name)| {
            let endpoint = endpoint.as_ref().filter(|endpoint| is_own(&endpoint.host, endpoint.port))?;
            Some((name.to_owned(), endpoint.to_string()))
        });
        numbered.chain(special).collect()
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

    /// The servers that have an address and a port, with their numbers.
    pub(super) fn used_servers(&self) -> impl Iterator<Item = (usize, &ServerConfig)> {
        let servers = self.servers.iter().map(|server| &**server).enumerate();
        servers.filter(|(_, server)| server.address.is_some() && server.port != 0)
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
