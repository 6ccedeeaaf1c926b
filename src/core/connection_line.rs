//! A line of the connection log, about a connection that has ended.
//!
//! penctl(1) has a table of the fields, which a test compares with [`ConnectionLine::FIELDS`]. Both forms have the same
//! fields in the same order.

use std::io::Write as _;
use std::net::IpAddr;

use serde::Serialize;

use super::settings::keyword::ConnectionLogFormat;

/// The fields of a line. A missing value is `-` as text, and null in JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConnectionLine<'a> {
    /// When it was accepted, in RFC 3339 form.
    pub start: String,
    /// The client's address; `None` for a client of a Unix socket.
    pub client_address: Option<IpAddr>,
    /// The client's port, likewise.
    pub client_port: Option<u16>,
    /// The address that pen listened on, as configured.
    pub listener: &'a str,
    /// The number of its server, `emergency` or `abuse`.
    pub server: Option<String>,
    /// The name of its server, if it has one.
    pub server_name: Option<&'a str>,
    /// The address and port of its server.
    pub server_address: Option<String>,
    /// The TLS version used with the client.
    pub tls_version: Option<&'a str>,
    /// The cipher.
    pub tls_cipher: Option<&'a str>,
    /// The server name that the client requested.
    pub sni: Option<&'a str>,
    /// How long it waited for a connect permit of a server.
    pub queue_seconds: Option<f64>,
    /// The duration of the successful connect.
    pub connect_seconds: Option<f64>,
    /// The time from its acceptance to its end.
    pub total_seconds: f64,
    /// Bytes delivered to the server.
    pub to_server_bytes: u64,
    /// Bytes delivered to the client.
    pub to_client_bytes: u64,
    /// The number of servers tried.
    pub attempts: u32,
    /// How it ended.
    pub end: &'static str,
}

impl ConnectionLine<'_> {
    /// The names of the fields, in order.
    pub const FIELDS: [&'static str; 17] = [
        "start",
        "client_address",
        "client_port",
        "listener",
        "server",
        "server_name",
        "server_address",
        "tls_version",
        "tls_cipher",
        "sni",
        "queue_seconds",
        "connect_seconds",
        "total_seconds",
        "to_server_bytes",
        "to_client_bytes",
        "attempts",
        "end",
    ];

    /// The line, with its newline.
    pub fn write(&self, format: ConnectionLogFormat) -> Vec<u8> {
        let mut line = Vec::with_capacity(512);
        match format {
            ConnectionLogFormat::Text => self.write_text(&mut line),
            // Cannot fail for values of these types.
            ConnectionLogFormat::Json => drop(serde_json::to_writer(&mut line, self)),
        }
        line.push(b'\n');
        line
    }

    fn write_text(&self, line: &mut Vec<u8>) {
        let values = [
            Some(self.start.clone()),
            self.client_address.map(|ip| ip.to_string()),
            self.client_port.map(|port| port.to_string()),
            Some(quoted(self.listener)),
            self.server.clone(),
            self.server_name.map(quoted),
            self.server_address.as_deref().map(quoted),
            self.tls_version.map(quoted),
            self.tls_cipher.map(quoted),
            self.sni.map(quoted),
            self.queue_seconds.map(|time| format!("{time:.6}")),
            self.connect_seconds.map(|time| format!("{time:.6}")),
            Some(format!("{:.3}", self.total_seconds)),
            Some(self.to_server_bytes.to_string()),
            Some(self.to_client_bytes.to_string()),
            Some(self.attempts.to_string()),
            Some(self.end.to_owned()),
        ];
        for (n, (name, value)) in Self::FIELDS.iter().zip(values).enumerate() {
            let blank = if n > 0 { " " } else { "" };
            // Writing to memory cannot fail.
            _ = write!(line, "{blank}{name}={}", value.as_deref().unwrap_or("-"));
        }
    }
}

/// Text without blanks unchanged, other text as a JSON string.
fn quoted(value: &str) -> String {
    if value.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'=')) && !value.is_empty() {
        return value.to_owned();
    }
    serde_json::Value::from(value).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied() -> ConnectionLine<'static> {
        ConnectionLine {
            start: "2026-11-22T18:48:25.123+01:00".into(),
            client_address: Some([10, 0, 0, 1].into()),
            client_port: Some(4711),
            listener: "/run/my pen",
            server: None,
            server_name: None,
            server_address: None,
            tls_version: None,
            tls_cipher: None,
            sni: Some("a\"b"),
            queue_seconds: None,
            connect_seconds: Some(0.000_25),
            total_seconds: 0.0,
            to_server_bytes: 0,
            to_client_bytes: 7,
            attempts: 0,
            end: "denied",
        }
    }

    #[test]
    fn text_is_words_and_what_has_blanks_or_quotes_is_quoted() {
        let line = String::from_utf8(denied().write(ConnectionLogFormat::Text)).unwrap();
        assert_eq!(
            line,
            "start=2026-11-22T18:48:25.123+01:00 client_address=10.0.0.1 client_port=4711 \
             listener=\"/run/my pen\" server=- server_name=- server_address=- tls_version=- tls_cipher=- \
             sni=\"a\\\"b\" queue_seconds=- connect_seconds=0.000250 total_seconds=0.000 to_server_bytes=0 \
             to_client_bytes=7 attempts=0 end=denied\n"
        );
    }

    #[test]
    fn json_has_the_same_fields_in_the_same_order() {
        let line = String::from_utf8(denied().write(ConnectionLogFormat::Json)).unwrap();
        assert!(line.ends_with("}\n") && line.lines().count() == 1);
        let places: Vec<_> =
            ConnectionLine::FIELDS.iter().map(|name| line.find(&format!("\"{name}\":")).unwrap()).collect();
        assert!(places.is_sorted(), "{line}");
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object.as_object().unwrap().len(), ConnectionLine::FIELDS.len());
        assert!(object["server"].is_null() && object["sni"] == "a\"b");
    }
}
