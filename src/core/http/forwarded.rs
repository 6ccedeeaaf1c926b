//! The fields that tell servers who the client is, and the treatment of those that the client sent itself.

use std::io::Write as _;
use std::net::IpAddr;

use crate::core::settings::HttpForwarded;

use super::field::HeaderField;
use super::lines::HeadLines;

/// The fields by which proxies name the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    /// X-Forwarded-For.
    For,
    /// X-Forwarded-Proto.
    Proto,
    /// Forwarded (RFC 7239).
    Standard,
}

impl Name {
    /// The field with that name.
    fn of(name: &[u8]) -> Option<Self> {
        Self::find(name, |a, b| a.eq_ignore_ascii_case(b))
    }

    /// The same for a server that passes fields to programs as environment variables: CGI has `_` for `-`.
    fn of_variable(name: &[u8]) -> Option<Self> {
        let letter = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
        Self::find(name, |a, b| a.iter().map(letter).eq(b.iter().copied()))
    }

    fn find(name: &[u8], is: impl Fn(&[u8], &[u8]) -> bool) -> Option<Self> {
        match name.len() {
            15 if is(name, b"x-forwarded-for") => Some(Name::For),
            17 if is(name, b"x-forwarded-proto") => Some(Name::Proto),
            9 if is(name, b"forwarded") => Some(Name::Standard),
            _ => None,
        }
    }
}

/// Which of the fields a request contains.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Forwarded {
    has_for: bool,
    has_proto: bool,
    has_standard: bool,
    /// One has `_` in its name.
    has_variable: bool,
    /// Connection names one of them, so that the next proxy would remove it (RFC 9110, section 7.6.1).
    is_connection_option: bool,
}

impl Forwarded {
    /// Records a field if it is one of them.
    pub(super) fn note(&mut self, field: &HeaderField<'_>) {
        match Name::of(field.name) {
            Some(Name::For) => self.has_for = true,
            Some(Name::Proto) => self.has_proto = true,
            Some(Name::Standard) => self.has_standard = true,
            None if Name::of_variable(field.name).is_some() => self.has_variable = true,
            None if field.is("connection") => {
                self.is_connection_option |= field.items().any(|item| Name::of(item).is_some());
            }
            None => {}
        }
    }
}

/// What servers are told about the client of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Forwarding {
    /// Its address; `None` for a client of a Unix socket.
    pub client: Option<IpAddr>,
    /// It came over TLS.
    pub https: bool,
    /// The treatment of fields that the client sent itself.
    pub policy: HttpForwarded,
    /// Whether Forwarded (RFC 7239) is added too.
    pub rfc7239: bool,
}

impl Forwarding {
    /// Appends a complete head to `out`, with pen's fields at its end. `sent` are the client's own fields; the head is
    /// copied as it is only if nothing has to be edited and all its lines are canonical.
    pub(super) fn write(&self, head: &[u8], is_canonical: bool, sent: &Forwarded, out: &mut Vec<u8>) {
        if is_canonical && !self.edits(sent) {
            out.extend(head.get(..head.len().saturating_sub(2)).unwrap_or_default());
        } else {
            self.write_lines(HeadLines::of(head), out);
        }
        let keeps = |has: bool, name: Name| has && self.keeps(name);
        if !keeps(sent.has_proto, Name::Proto) {
            let scheme = self.scheme();
            put(out, format_args!("X-Forwarded-Proto: {scheme}\r\n"));
        }
        if let (false, Some(client)) = (keeps(sent.has_for, Name::For), self.address()) {
            out.extend_from_slice(b"X-Forwarded-For: ");
            self.write_earlier(Name::For, head, out);
            put(out, format_args!("{client}\r\n"));
        }
        if self.rfc7239 && !keeps(sent.has_standard, Name::Standard) {
            out.extend_from_slice(b"Forwarded: ");
            self.write_earlier(Name::Standard, head, out);
            self.write_standard(out);
        }
        out.extend_from_slice(b"\r\n");
    }

    fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }

    /// The client's address; an IPv4-mapped IPv6 address as IPv4.
    fn address(&self) -> Option<IpAddr> {
        self.client.map(|address| address.to_canonical())
    }

    /// Whether a field of the client is kept, and pen adds none.
    fn keeps(&self, name: Name) -> bool {
        match self.policy {
            HttpForwarded::Keep => true,
            HttpForwarded::Replace => false,
            HttpForwarded::Append => match name {
                Name::For => self.client.is_none(),
                Name::Proto => true,
                Name::Standard => !self.rfc7239,
            },
        }
    }

    /// Whether lines of the client have to be changed or removed.
    fn edits(&self, sent: &Forwarded) -> bool {
        let differs = |has: bool, name: Name| has && !self.keeps(name);
        sent.is_connection_option
            || differs(sent.has_for, Name::For)
            || differs(sent.has_proto, Name::Proto)
            || differs(sent.has_standard, Name::Standard)
            || (sent.has_variable && self.policy != HttpForwarded::Keep)
    }

    /// Appends the lines that are kept, each as RFC 9112 requires it.
    fn write_lines(&self, lines: HeadLines<'_>, out: &mut Vec<u8>) {
        for (n, line) in lines.enumerate() {
            let text = line.unfolded();
            let field = if n == 0 { None } else { HeaderField::read(&line) };
            if let Some(field) = &field {
                let exact = Name::of(field.name);
                let stays = match exact.or_else(|| Name::of_variable(field.name)) {
                    Some(name) if exact.is_some() => self.keeps(name),
                    Some(_) => self.policy == HttpForwarded::Keep,
                    None => true,
                };
                if !stays {
                    continue;
                }
                if field.is("connection") {
                    write_connection(field, out);
                    continue;
                }
            }
            out.extend_from_slice(&text);
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Appends the client's value of a field that pen continues.
    fn write_earlier(&self, name: Name, head: &[u8], out: &mut Vec<u8>) {
        if self.policy != HttpForwarded::Append {
            return;
        }
        let fields = HeadLines::of(head).skip(1).filter_map(|line| HeaderField::read(&line));
        for field in fields.filter(|field| Name::of(field.name) == Some(name) && !field.value.is_empty()) {
            out.extend_from_slice(&field.value);
            out.extend_from_slice(b", ");
        }
    }

    /// Appends the Forwarded element of this connection (RFC 7239, sections 4 and 6).
    fn write_standard(&self, out: &mut Vec<u8>) {
        let scheme = self.scheme();
        match self.address() {
            Some(IpAddr::V4(client)) => put(out, format_args!("for={client};proto={scheme}\r\n")),
            Some(IpAddr::V6(client)) => put(out, format_args!("for=\"[{client}]\";proto={scheme}\r\n")),
            None => put(out, format_args!("for=unknown;proto={scheme}\r\n")),
        }
    }
}

/// Appends a Connection field without the names of pen's own fields; nothing if it has no others.
fn write_connection(field: &HeaderField<'_>, out: &mut Vec<u8>) {
    let mut others = field.items().filter(|item| Name::of(item).is_none()).peekable();
    if others.peek().is_none() {
        return;
    }
    out.extend_from_slice(field.name);
    let mut separator: &[u8] = b": ";
    for item in others {
        out.extend_from_slice(std::mem::replace(&mut separator, b", "));
        out.extend_from_slice(item);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends text.
fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a Vec cannot fail.
    _ = out.write_fmt(text);
}
