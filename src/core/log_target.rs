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
        let nowhere = match &host {
            Host::Ip(ip) => ip.is_unspecified(),
            Host::Name(_) => false,
            Host::Unix(_) => true,
        };
        if nowhere {
            return Err(Error::expected("a file or host:port", text));
        }
        if port == 0 {
            return Err(Error::expected("a port from 1 to 65535", text));
        }
        Ok(LogTarget::Penlogd { host, port })
    }

    /// Reads the target of the connection log: `FILE`.
    ///
    /// # Errors
    /// As [`LogTarget::parse`].
    pub fn of_connections(text: &str, _services: &Services) -> Result<Self, Error> {
        if text.is_empty() {
            return Err(Error::expected("the name of a file", text));
        }
        Ok(LogTarget::File(text.into()))
    }
}

impl fmt::Display for LogTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The path was made from text, so `display` loses nothing.
            LogTarget::File(path) => path.display().fmt(f),
            LogTarget::Penlogd { host, port } => Endpoint { host: host.clone(), port: *port }.fmt(f),
        }
    }
}
