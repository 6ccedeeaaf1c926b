//! The destination of log lines, as settings and options name it.

use std::fmt;
use std::path::PathBuf;

use super::addr::{Endpoint, Host, Services};
use super::error::Error;

/// The destination of log lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /// A file.
    File(PathBuf),
    /// A penlogd, over UDP.
    Penlogd {
        /// Its host, an address or a name.
        host: Host,
        /// Its port.
        port: u16,
    },
    /// The syslog of this system.
    Syslog,
    /// A log server, by RFC 5424.
    SyslogServer {
        /// How it is reached.
        transport: SyslogTransport,
        /// Its host, an address or a name.
        host: Host,
        /// Its port.
        port: u16,
    },
}

/// How a log server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyslogTransport {
    /// A datagram for each line.
    Udp,
    /// A connection, on which each line follows its length (RFC 6587).
    Tcp,
}

impl SyslogTransport {
    /// What an address begins with.
    pub fn scheme(self) -> &'static str {
        match self {
            SyslogTransport::Udp => "syslog://",
            SyslogTransport::Tcp => "syslog+tcp://",
        }
    }

    /// The port where an address has none.
    fn port(self) -> u16 {
        match self {
            SyslogTransport::Udp => 514,
            SyslogTransport::Tcp => 601,
        }
    }
}

impl LogTarget {
    /// The file name that stands for standard output (elsewhere, for standard input).
    pub const STDOUT: &str = "-";

    /// Whether it is standard output.
    pub fn is_stdout(&self) -> bool {
        matches!(self, LogTarget::File(path) if path.as_os_str() == Self::STDOUT)
    }

    /// Reads `FILE` or `host:port`. Text with a `/` or without a colon is a file; otherwise the last colon separates a
    /// host (a name, an IPv4 or an IPv6 address, optionally in brackets) from a port (a number or a service name).
    ///
    /// # Errors
    /// Text that is neither.
    pub fn parse(text: &str, services: &Services) -> Result<Self, Error> {
        if text.is_empty() {
            return Err(Error::expected("a file or host:port", text));
        }
        if text.contains('/') || !text.contains(':') {
            return Ok(LogTarget::File(text.into()));
        }
        let Endpoint { host, port } = Endpoint::with_port(text, services)?;
        if !is_peer(&host) {
            return Err(Error::expected("a file or host:port", text));
        }
        if port == 0 {
            return Err(Error::expected("a port from 1 to 65535", text));
        }
        Ok(LogTarget::Penlogd { host, port })
    }

    /// The targets of the connection log, for errors.
    pub const CONNECTIONS: &str =
        "the name of a file, syslog, syslog://host[:port] or syslog+tcp://host[:port]";

    /// Reads the target of the connection log: `FILE`, `syslog`, `syslog://HOST[:PORT]` or `syslog+tcp://HOST[:PORT]`.
    ///
    /// # Errors
    /// Text that is none of these.
    pub fn of_connections(text: &str, services: &Services) -> Result<Self, Error> {
        if text == "syslog" {
            return Ok(LogTarget::Syslog);
        }
        for transport in [SyslogTransport::Udp, SyslogTransport::Tcp] {
            if let Some(address) = text.strip_prefix(transport.scheme()) {
                return Self::server(transport, address, services)
                    .ok_or_else(|| Error::expected(Self::CONNECTIONS, text));
            }
        }
        if text.is_empty() || text.contains("://") {
            return Err(Error::expected(Self::CONNECTIONS, text));
        }
        Ok(LogTarget::File(text.into()))
    }

    fn server(transport: SyslogTransport, address: &str, services: &Services) -> Option<Self> {
        let has_port = !address.ends_with(']') && address.contains(':');
        let address = if has_port { address.to_owned() } else { format!("{address}:{}", transport.port()) };
        let Endpoint { host, port } = Endpoint::with_port(&address, services).ok()?;
        (is_peer(&host) && port != 0).then_some(LogTarget::SyslogServer { transport, host, port })
    }
}

/// Whether something can be sent to a host over the network.
fn is_peer(host: &Host) -> bool {
    match host {
        Host::Ip(ip) => !ip.is_unspecified(),
        Host::Name(_) => true,
        Host::Unix(_) => false,
    }
}

impl fmt::Display for LogTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The path was made from text, so `display` loses nothing.
            LogTarget::File(path) => path.display().fmt(f),
            LogTarget::Penlogd { host, port } => Endpoint { host: host.clone(), port: *port }.fmt(f),
            LogTarget::Syslog => f.write_str("syslog"),
            LogTarget::SyslogServer { transport, host, port } => {
                write!(f, "{}{}", transport.scheme(), Endpoint { host: host.clone(), port: *port })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_of_the_connection_log() {
        let shown = |text| LogTarget::of_connections(text, &Services::parse("")).map(|t| t.to_string()).ok();
        for (text, target) in [
            ("/var/log/x", "/var/log/x"),
            ("x:514", "x:514"),
            ("-", "-"),
            ("syslog", "syslog"),
            ("syslog://log", "syslog://log:514"),
            ("syslog://10.0.0.1:99", "syslog://10.0.0.1:99"),
            ("syslog+tcp://[::1]", "syslog+tcp://[::1]:601"),
            ("syslog+tcp://[::1]:99", "syslog+tcp://[::1]:99"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(target), "{text}");
            assert_eq!(shown(target).as_deref(), Some(target), "{target}");
        }
        for bad in
            ["", "syslog://", "syslog://:1", "syslog:///x", "syslog://h:0", "syslog://0.0.0.0", "http://x"]
        {
            assert_eq!(shown(bad), None, "{bad}");
        }
    }
}
