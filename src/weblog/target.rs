//! Where a log goes.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::core::Error;
use crate::core::addr::{LogTarget, Services};

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
    /// Reads `FILE` or `host:port`, as [`LogTarget::parse`] does.
    ///
    /// # Errors
    /// As there.
    pub fn parse(text: &str, services: &Services) -> Result<Target, Error> {
        LogTarget::parse(text, services).as_ref().map(Target::from).map_err(Clone::clone)
    }
}

impl From<&LogTarget> for Target {
    fn from(target: &LogTarget) -> Self {
        match target {
            LogTarget::File(path) => Target::File(path.clone()),
            LogTarget::Penlogd { host, port } => {
                Target::Udp { host: host.to_string(), port: *port, source: None }
            }
        }
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
