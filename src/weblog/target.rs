//! Where a log goes.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

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
    /// Reads `FILE` or `host:port`. Whatever holds a `/` or no colon is a file; else the last colon
    /// separates a host (a name, an IPv4 or an IPv6 address, which may stand in brackets) from a port number.
    ///
    /// # Errors
    /// Says what is wrong and what is allowed.
    pub fn parse(text: &str) -> Result<Target, String> {
        if text.is_empty() {
            return Err("log: expected a file or host:port, found nothing".into());
        }
        let Some((host, port)) = text.rsplit_once(':').filter(|_| !text.contains('/')) else {
            return Ok(Target::File(text.into()));
        };
        let (host, port) = split(text, host, port)?;
        Ok(Target::Udp { host: host.to_owned(), port, source: None })
    }
}

fn split<'a>(text: &str, host: &'a str, port: &str) -> Result<(&'a str, u16), String> {
    let bad = |what: &str| {
        format!("log: '{text}': {what}; expected a file or host:port (a file with a colon: ./FILE)")
    };
    let port = match port.parse::<u16>() {
        Ok(port) if port > 0 => port,
        _ => return Err(bad("the port must be a number from 1 to 65535")),
    };
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.strip_suffix(']').ok_or_else(|| bad("missing ']'"))?;
        inner.parse::<Ipv6Addr>().map_err(|_| bad("no IPv6 address in the brackets"))?;
        return Ok((inner, port));
    }
    if host.is_empty() || host.contains(':') && host.parse::<Ipv6Addr>().is_err() {
        return Err(bad("no host name or address"));
    }
    Ok((host, port))
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

    fn udp(host: &str, port: u16) -> Result<Target, String> {
        Ok(Target::Udp { host: host.into(), port, source: None })
    }

    #[test]
    fn files_and_hosts() {
        assert_eq!(Target::parse("pen.log"), Ok(Target::File("pen.log".into())));
        assert_eq!(Target::parse("/a:1"), Ok(Target::File("/a:1".into())));
        assert_eq!(Target::parse("localhost:10000"), udp("localhost", 10000));
        assert_eq!(Target::parse("[::1]:5"), udp("::1", 5));
        assert_eq!(Target::parse("::1:5"), udp("::1", 5));
        for bad in ["", "host:", "host:0", "host:65536", "host:x", ":5", "[::1:5", "[a]:5", "a:b:5"] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn printed_as_it_is_read() {
        for text in ["/var/log/pen", "lb:10000", "[::1]:5"] {
            assert_eq!(Target::parse(text).unwrap().to_string(), text);
        }
    }
}
