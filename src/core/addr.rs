//! Addresses as an administrator writes them: hosts, ports, listening addresses and servers.

use super::Error;
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Port numbers by service name, as services(5) lists them.
#[derive(Debug, Clone, Default)]
pub struct Services(HashMap<String, u16>);

impl Services {
    /// Reads the text of a services(5) file. The names that pen's users need most are known even without one.
    pub fn parse(text: &str) -> Self {
        const KNOWN: [(&str, u16); 12] = [
            ("ftp", 21),
            ("ssh", 22),
            ("smtp", 25),
            ("domain", 53),
            ("http", 80),
            ("pop3", 110),
            ("imap2", 143),
            ("imap", 143),
            ("ldap", 389),
            ("https", 443),
            ("ldaps", 636),
            ("imaps", 993),
        ];
        let mut names: HashMap<String, u16> =
            KNOWN.iter().map(|&(name, port)| (name.to_owned(), port)).collect();
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let (Some(name), Some(port)) = (words.next(), words.next()) else { continue };
            let Some(port) = port.split('/').next().and_then(|p| p.parse().ok()) else { continue };
            for name in std::iter::once(name).chain(words) {
                names.entry(name.to_owned()).or_insert(port);
            }
        }
        Services(names)
    }

    /// A port: a number from 0 to 65535 or a service name.
    ///
    /// # Errors
    /// It is neither.
    pub fn port(&self, text: &str) -> Result<u16, Error> {
        if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
            return text.parse().map_err(|_| bad_port(text));
        }
        self.0.get(text).copied().ok_or_else(|| bad_port(text))
    }
}

fn bad_port(text: &str) -> Error {
    Error::expected("a number from 0 to 65535 or a service name", text)
}

/// A host: an IP address, a name to be resolved, or the path of a Unix socket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// An IPv4 or IPv6 address.
    Ip(IpAddr),
    /// A name for the resolver.
    Name(String),
    /// A path in the file system.
    Unix(String),
}

impl Host {
    /// The same in the form in which equal hosts are equal: case does not matter in names (RFC 4343), and `::ffff:a.b.c.d` is
    /// `a.b.c.d`.
    #[must_use]
    pub fn canonical(&self) -> Host {
        match self {
            Host::Ip(ip) => Host::Ip(ip.to_canonical()),
            Host::Name(name) => Host::Name(name.to_ascii_lowercase()),
            Host::Unix(path) => Host::Unix(path.clone()),
        }
    }

    /// Whether it is the path of a Unix socket.
    pub fn is_path(&self) -> bool {
        matches!(self, Host::Unix(_))
    }

    /// The name, if the host is one that has to be resolved.
    pub fn name(&self) -> Option<&str> {
        if let Host::Name(name) = self { Some(name) } else { None }
    }

    /// Reads a host: a path holds a `/`; an IPv6 address may stand in brackets.
    ///
    /// # Errors
    /// Text that is none of the three.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.contains('/') {
            // The kernel's sockaddr_un holds 108 bytes on every system pen runs on, with a NUL.
            if text.len() > 107 {
                return Err(Error::expected("a path of at most 107 bytes for a Unix socket", text));
            }
            return Ok(Host::Unix(text.to_owned()));
        }
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        if let Some(ip) = bare.parse().ok().or_else(|| short_ipv4(bare).map(IpAddr::V4)) {
            return Ok(Host::Ip(ip));
        }
        let name_like = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
        if text.is_empty() || text.len() > 253 || !text.chars().all(name_like) {
            return Err(Error::expected("an IP address, a host name or a path with a /", text));
        }
        Ok(Host::Name(text.to_owned()))
    }
}

/// An IPv4 address as inet_aton(3) reads it: up to four numbers, decimal, octal or hexadecimal; the last one fills the
/// remaining bytes. The resolver accepts it as an address too.
fn short_ipv4(text: &str) -> Option<Ipv4Addr> {
    let number = |text: &str| match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None if text.starts_with('0') => u32::from_str_radix(text, 8).ok(),
        None => text.parse().ok(),
    };
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.') {
        return None;
    }
    let numbers: Vec<u32> = text.split('.').map(number).collect::<Option<_>>()?;
    let (last, first) = numbers.split_last()?;
    let room = 32u32.checked_sub(8 * u32::try_from(first.len()).ok()?).filter(|room| *room > 0)?;
    if first.iter().any(|byte| *byte > 255) || u64::from(*last) >> room != 0 {
        return None;
    }
    let shifted = first.iter().fold(0, |all, byte| (all << 8) | byte).checked_shl(room).unwrap_or(0);
    Some(Ipv4Addr::from(shifted | last))
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Ip(ip) => ip.fmt(f),
            Host::Name(text) | Host::Unix(text) => f.write_str(text),
        }
    }
}

/// A host with its port (0 for a Unix socket).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The host.
    pub host: Host,
    /// The port.
    pub port: u16,
}

impl Endpoint {
    /// Reads a listening address: `port`, `host:port` (split at the last colon, so `::1:80` and `:::80` are IPv6) or a path.
    /// A port alone means every IPv4 address.
    ///
    /// # Errors
    /// A bad host or port.
    pub fn listening(text: &str, services: &Services) -> Result<Self, Error> {
        if text.contains('/') {
            return Ok(Endpoint { host: Host::parse(text)?, port: 0 });
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Ok(Endpoint { host: Host::Ip(Ipv4Addr::UNSPECIFIED.into()), port: services.port(text)? });
        };
        let host = if host.is_empty() { Host::Ip(Ipv4Addr::UNSPECIFIED.into()) } else { Host::parse(host)? };
        Ok(Endpoint { host, port: services.port(port)? })
    }

    /// Reads `host:port`, where the port is required, as `-e`, `-B` and a log's address need it, or a path.
    ///
    /// # Errors
    /// A bad host or port, or no port.
    pub fn with_port(text: &str, services: &Services) -> Result<Self, Error> {
        if !text.contains('/') && !text.contains(':') {
            return Err(Error::expected("host:port", text));
        }
        Self::listening(text, services)
    }

    /// The socket address, when no name has to be resolved.
    pub fn literal(&self) -> Option<SocketAddr> {
        match self.host {
            Host::Ip(ip) => Some(SocketAddr::new(ip, self.port)),
            _ => None,
        }
    }
}

/// A host, or the path of a Unix socket, with a port as it is written in a configuration: `host:port`, `[IP6]:port`, path.
pub fn with_port(host: &str, port: u16) -> String {
    match host {
        path if path.contains('/') => path.to_owned(),
        ip if ip.contains(':') => format!("[{ip}]:{port}"),
        host => format!("{host}:{port}"),
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Unix(path) => f.write_str(path),
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            host => write!(f, "{host}:{}", self.port),
        }
    }
}

/// The address that a client connects from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress {
    /// Its address.
    pub ip: IpAddr,
    /// Its port, if known.
    pub port: Option<u16>,
}

impl ClientAddress {
    /// The accepted forms, for errors.
    pub const FORM: &'static str =
        "an IP address, with or without :port; with a port, IPv6 stands in brackets";

    /// Reads `IP`, `IP:PORT` or `[IP6]:PORT`.
    ///
    /// # Errors
    /// Text that is neither.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let alone = || text.parse().ok().map(|ip| ClientAddress { ip, port: None });
        let with_port = |address: SocketAddr| ClientAddress { ip: address.ip(), port: Some(address.port()) };
        let found = text.parse().ok().map(with_port).or_else(alone);
        found.ok_or_else(|| Error::expected(Self::FORM, text))
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.ip, port).fmt(f),
            None => self.ip.fmt(f),
        }
    }
}

/// An address to listen on: shown as it was written, compared by its meaning.
#[derive(Debug, Clone)]
pub struct ListenAddress {
    text: String,
    /// The host and port.
    pub endpoint: Endpoint,
}

impl ListenAddress {
    /// Reads an address as [`Endpoint::listening`] does.
    ///
    /// # Errors
    /// The same as there.
    pub fn parse(text: &str, services: &Services) -> Result<Self, Error> {
        Ok(ListenAddress { text: text.to_owned(), endpoint: Endpoint::listening(text, services)? })
    }

    /// Whether it is a port on every IPv4 address, written without a host.
    pub fn is_bare_port(&self) -> bool {
        !self.text.contains(['/', ':'])
    }
}

impl PartialEq for ListenAddress {
    fn eq(&self, other: &Self) -> bool {
        self.endpoint == other.endpoint
    }
}

impl Eq for ListenAddress {}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Splits a server operand, `host[:port[:soft[:hard[:weight[:prio]]]]]`, into its host and the fields behind it. An IPv6 host stands in brackets.
///
/// # Errors
/// A bracket that is not closed, or is followed by anything but `:`.
pub fn split_operand(text: &str) -> Result<(&str, Vec<&str>), Error> {
    let (host, rest) = if text.starts_with('[') {
        let Some(end) = text.find(']') else {
            return Err(Error::expected("a ] that closes the [", text));
        };
        text.split_at(end + 1)
    } else {
        text.split_at(text.find(':').unwrap_or(text.len()))
    };
    match rest.strip_prefix(':') {
        Some(fields) => Ok((host, fields.split(':').collect())),
        None if rest.is_empty() => Ok((host, Vec::new())),
        None => Err(Error::expected("nothing or :port right behind ]", text)),
    }
}

/// Whether a socket bound to `bound` takes what is sent to `address`, if that is an address of this machine: one on `::`
/// takes IPv4 too.
pub fn takes(bound: IpAddr, address: IpAddr) -> bool {
    let (bound, address) = (bound.to_canonical(), address.to_canonical());
    bound == address || (bound.is_unspecified() && (bound.is_ipv6() || address.is_ipv4()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_addresses_split_at_the_last_colon() {
        let services = Services::parse("submission 587/tcp mail # x\n");
        let shown = |text| Endpoint::listening(text, &services).map(|e| e.to_string());
        assert_eq!(shown("80"), Ok("0.0.0.0:80".into()));
        assert_eq!(shown(":80"), Ok("0.0.0.0:80".into()));
        assert_eq!(shown("mail"), Ok("0.0.0.0:587".into()));
        assert_eq!(shown("::1:2222"), Ok("[::1]:2222".into()));
        assert_eq!(shown(":::10000"), Ok("[::]:10000".into()));
        assert_eq!(shown("[::1]:http"), Ok("[::1]:80".into()));
        assert_eq!(shown("/run/pen"), Ok("/run/pen".into()));
        for bad in ["", "70000", "a b:80", "host:", "x:nosuch"] {
            assert!(shown(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_may_be_short_as_the_resolver_reads_them() {
        let shown = |text| Host::parse(text).map(|host| (host.to_string(), host.name().is_some()));
        for (text, address) in [
            ("0", "0.0.0.0"),
            ("127.1", "127.0.0.1"),
            ("10.1.258", "10.1.1.2"),
            ("0x7f000001", "127.0.0.1"),
            ("010.0.0.1", "8.0.0.1"),
            ("4294967295", "255.255.255.255"),
        ] {
            assert_eq!(shown(text), Ok((address.to_owned(), false)));
        }
        for name in ["4294967296", "1.2.3.4.5", "1.16777216", "256.1", "0x", "09", "1a", "www"] {
            assert_eq!(shown(name), Ok((name.to_owned(), true)));
        }
        assert!(shown("+5").is_err() && shown("1..2").is_ok());
    }

    #[test]
    fn operands_fall_into_fields() {
        assert_eq!(split_operand("h:80:1:2:3:4"), Ok(("h", vec!["80", "1", "2", "3", "4"])));
        assert_eq!(split_operand("[::1]:80:10"), Ok(("[::1]", vec!["80", "10"])));
        assert_eq!(split_operand("h"), Ok(("h", vec![])));
        assert!(split_operand("[::1").is_err());
        assert!(split_operand("[::1]80").is_err());
    }
}
