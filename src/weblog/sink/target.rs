//! The target of a log.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::core::addr;
use crate::core::log_target::{LogTarget, SyslogTransport};

/// The target that a log writer writes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkTarget {
    /// A file, opened for appending and created if necessary.
    File(PathBuf),
    /// Standard output.
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
    /// The syslog of this system.
    Syslog,
    /// A log server.
    SyslogServer {
        /// How it is reached.
        transport: SyslogTransport,
        /// A name or an address.
        host: String,
        /// Its port.
        port: u16,
    },
}

/// The form in which entries are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Format {
    #[default]
    Off,
    File,
    Datagram,
}

impl SinkTarget {
    /// The host and port that it sends to.
    pub(super) fn peer(&self) -> Option<(&str, u16)> {
        match self {
            SinkTarget::Udp { host, port, .. } | SinkTarget::SyslogServer { host, port, .. } => {
                Some((host, *port))
            }
            SinkTarget::File(_) | SinkTarget::Stdout | SinkTarget::Syslog => None,
        }
    }

    /// The form in which it takes requests.
    pub(super) fn format(&self) -> Format {
        match self {
            SinkTarget::Udp { .. } => Format::Datagram,
            _ => Format::File,
        }
    }
}

impl From<&LogTarget> for SinkTarget {
    fn from(target: &LogTarget) -> Self {
        match target {
            LogTarget::File(path) => SinkTarget::from(path.as_path()),
            LogTarget::Penlogd { host, port } => {
                SinkTarget::Udp { host: host.to_string(), port: *port, source: None }
            }
            LogTarget::Syslog => SinkTarget::Syslog,
            LogTarget::SyslogServer { transport, host, port } => {
                SinkTarget::SyslogServer { transport: *transport, host: host.to_string(), port: *port }
            }
        }
    }
}

impl From<&Path> for SinkTarget {
    fn from(path: &Path) -> Self {
        if path == Path::new(LogTarget::STDOUT) {
            SinkTarget::Stdout
        } else {
            SinkTarget::File(path.to_owned())
        }
    }
}

impl fmt::Display for SinkTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SinkTarget::File(path) => write!(f, "{}", path.display()),
            SinkTarget::Stdout => f.write_str("standard output"),
            SinkTarget::Udp { host, port, .. } => f.write_str(&addr::with_port(host, *port)),
            SinkTarget::Syslog => f.write_str("syslog"),
            SinkTarget::SyslogServer { transport, host, port } => {
                write!(f, "{}{}", transport.scheme(), addr::with_port(host, *port))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::addr::Services;

    fn target(text: &str) -> SinkTarget {
        SinkTarget::from(&LogTarget::parse(text, &Services::parse("")).unwrap())
    }

    #[test]
    fn files_hosts_and_standard_output() {
        let udp = |host: &str, port| SinkTarget::Udp { host: host.into(), port, source: None };
        assert_eq!(target("pen.log"), SinkTarget::File("pen.log".into()));
        assert_eq!(target("-"), SinkTarget::Stdout);
        assert_eq!(target("./-"), SinkTarget::File("./-".into()));
        assert_eq!(target("localhost:http"), udp("localhost", 80));
        assert_eq!(target("[::1]:5"), udp("::1", 5));
    }

    #[test]
    fn printed_as_it_is_read() {
        for text in ["/var/log/pen", "lb:10000", "[::1]:5"] {
            assert_eq!(target(text).to_string(), text);
        }
    }
}
