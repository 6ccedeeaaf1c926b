//! What a configuration cannot be, whoever changes it.

use super::Config;
use crate::core::addr::{Endpoint, Host};
use crate::core::error::Error;

impl Config {
    /// Whether pen can serve with this.
    ///
    /// # Errors
    /// Settings that exclude each other.
    pub fn check(&self) -> Result<(), Error> {
        let settings = &self.settings;
        if !settings.udp {
            return Ok(());
        }
        let excluded = |other: &str, why: &str| Err(Error::new(format!("-U (udp) excludes {other}: {why}")));
        if settings.ssl_certfile.is_some() {
            return excluded("-E (ssl_certfile)", "TLS needs connections");
        }
        for (on, other) in [(settings.http, "-H (http)"), (settings.dummy, "dummy")] {
            if on {
                return excluded(other, "HTTP needs connections");
            }
        }
        let unix = |host: &Host| matches!(host, Host::Unix(_));
        if let Some(Endpoint { host: Host::Unix(path), .. }) = self.listening() {
            return excluded(
                &format!("the listening address {path}"),
                "a Unix socket takes connections only",
            );
        }
        let special = |(endpoint, name): (&Option<Endpoint>, &str)| {
            let host = &endpoint.as_ref()?.host;
            unix(host).then(|| format!("the {name} server {host}"))
        };
        let numbered = self.servers.iter().enumerate().find_map(|(n, server)| {
            server.address.as_ref().filter(|host| unix(host)).map(|host| format!("server {n} {host}"))
        });
        let specials = [(&settings.emergency, "emergency"), (&settings.abuse, "abuse")];
        match numbered.or_else(|| specials.into_iter().find_map(special)) {
            Some(server) => excluded(&server, "a Unix socket takes connections only"),
            None => Ok(()),
        }
    }

    /// The address to listen on.
    pub fn listening(&self) -> Option<&Endpoint> {
        self.settings.listen.as_ref().map(|address| &address.endpoint)
    }
}
