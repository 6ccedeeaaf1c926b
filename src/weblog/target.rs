//! Where a log goes.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::core::Error;
use crate::core::addr::{Endpoint, Host, Services};

/// Where log lines go, as `-l` and the control command `log` name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A file, opened for appending and created if need be.
    File(PathBuf),
    /// Standard output (penlogd without `-l`).
    Stdout,
    /// penlogd on `host` (a name or an address without brackets) and UDP `port`.
    Udp {
        /// A name or an address.
        host: String,
        /// UDP port.
        port: u16,
        /// The local address to send from; any if `None`.
        source: Option<IpAddr>,
    },
}

impl Target {
    /// Reads `FILE` or `host:port`. Whatever holds a `/` or no colon is a file; else the last colon separates a host (a
    /// name, an IPv4 or an IPv6 address, which may stand in brackets) from a port (a number or a service name).
    ///
    /// # Errors
    /// Says what is wrong and what is allowed.
    pub fn parse(text: &str, services: &Services) -> Result<Target, Error> {
        if text.is_empty() {
            return Err(Error::new("the name of the log is empty; allowed is a file or host:port"));
        }
        if text.contains('/') || !text.contains(':') {
            return Ok(Target::File(text.into()));
        }
        let Endpoint { host, port } = Endpoint::with_port(text, services)?;
        let host = match host {
            Host::Ip(ip) if !ip.is_unspecified() => ip.to_string(),
            Host::Name(name) => name,
            Host::Ip(_) | Host::Unix(_) => {
                return Err(Error::new(format!("'{text}' names no host; allowed is a file or host:port")));
            }
        };
        if port == 0 {
            return Err(Error::new(format!("'{text}' has port 0; allowed is 1 to 65535")));
        }
        Ok(Target::Udp { host, port, source: None })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::File(path) => write!(f, "{}", path.display()),
            Target::Stdout => f.write_str("standard output"),
            Target::Udp { host, port, .. } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Target::Udp { host, port, .. } => write!(f, "{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Target, Error> {
        Target::parse(text, &Services::parse(""))
    }

    #[test]
    fn files_and_hosts() {
        let udp = |host: &str, port| Ok(Target::Udp { host: host.into(), port, source: None });
        assert_eq!(parse("pen.log"), Ok(Target::File("pen.log".into())));
        assert_eq!(parse("/a:1"), Ok(Target::File("/a:1".into())));
        assert_eq!(parse("localhost:10000"), udp("localhost", 10000));
        assert_eq!(parse("localhost:http"), udp("localhost", 80));
        assert_eq!(parse("[::1]:5"), udp("::1", 5));
        assert_eq!(parse("::1:5"), udp("::1", 5));
        for bad in ["", "host:", "host:0", "host:65536", "host:x", ":5", "[::1:5", "[a]:5"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn printed_as_it_is_read() {
        for text in ["/var/log/pen", "lb:10000", "[::1]:5"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
    }
}
