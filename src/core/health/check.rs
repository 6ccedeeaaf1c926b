//! The keys of `check NAME KEY VALUE...`, in a table.

use super::dns;
use super::monitor::Rule;
use super::status_ranges::StatusRanges;
use crate::core::Error;
use crate::core::addr::Services;
use crate::core::lexer::Word;
use crate::core::millis;
use crate::core::settings::keyword::keywords;
use crate::core::settings::table::table;
use crate::core::settings::{CheckSwitch, FieldKey, FieldType, Keyword, ProxyHeader, Spec, Value, ValueKind};
use crate::core::tls_peer::TlsPeer;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A key of a check: a row of the table of [`CheckConfig`].
pub type CheckKey = FieldKey<CheckConfig>;

keywords! {
    /// What a check does.
    CheckType {
        /// It connects.
        Tcp = "tcp",
        /// It requests a page.
        Http = "http",
        /// It sends a text and expects one.
        Send = "send",
        /// It sends a datagram and expects one.
        Udp = "udp",
        /// It queries a name.
        Dns = "dns",
        /// It runs a program.
        Exec = "exec",
    }
}

keywords! {
    /// The method of a request.
    HttpMethod {
        /// `GET`
        Get = "GET",
        /// `HEAD`
        Head = "HEAD",
        /// `OPTIONS`
        Options = "OPTIONS",
    }
}

const fn seconds(min: Duration, unit: &'static str, help: &'static str) -> Spec {
    Spec::new(ValueKind::Seconds { min, max: Duration::from_secs(86_400), fractions: true, unit }, help)
}

const fn count(help: &'static str) -> Spec {
    Spec::new(ValueKind::Number { min: 1, max: 1000, unit: "results in a row" }, help)
}

/// Shorter intervals would be a load in themselves.
const SHORTEST: Duration = Duration::from_millis(50);

table! {
    /// A check.
    CheckConfig {
        kind as "type": CheckType = CheckType::Tcp, Spec::new(ValueKind::Word(CheckType::WORDS), "what it tests");
        port: u16 = 0, Spec::new(ValueKind::Port, "the port that it connects to; 0 for the server's");
        tls: CheckSwitch = CheckSwitch::Server,
            Spec::new(ValueKind::Word(CheckSwitch::WORDS), "whether it uses TLS; by default as the server's key tls");
        verify: CheckSwitch = CheckSwitch::Server,
            Spec::new(ValueKind::Word(CheckSwitch::WORDS), "whether the server's certificate must be valid; by default as tls_verify");
        sni: Option<String> = None, Spec::new(ValueKind::Text("a host name"), "the server name of TLS; by default the server's tls_name");
        proxy: CheckSwitch = CheckSwitch::Server,
            Spec::new(ValueKind::Word(CheckSwitch::WORDS), "whether it begins with a PROXY header that names no client; by default as proxy");
        every: Duration = Duration::from_secs(2), seconds(SHORTEST, "seconds", "from one check to the next");
        timeout: Duration = Duration::from_secs(1), seconds(SHORTEST, "seconds", "how long it may take");
        rise: u32 = 2, count("successes in a row that take a server up");
        fall: u32 = 3, count("failures in a row that take a server down");
        fast: Duration = Duration::ZERO,
            seconds(Duration::ZERO, "seconds, 0 for those of every", "from one to the next while the state may change");
        path: String = "/".to_owned(), Spec::new(ValueKind::Text("a path that begins with /"), "http: the path that it requests");
        host: Option<String> = None, Spec::new(ValueKind::Text("a host"), "http: the field Host; by default the server's host");
        method: HttpMethod = HttpMethod::Get, Spec::new(ValueKind::Word(HttpMethod::WORDS), "http: the method");
        expect: Vec<u8> = Vec::new(), Spec::new(ValueKind::Bytes, "http: status codes; send, udp: a text in the answer");
        body: Vec<u8> = Vec::new(), Spec::new(ValueKind::Bytes, "http: a text in the first 64 KiB of the body");
        send: Vec<u8> = Vec::new(), Spec::new(ValueKind::Bytes, "send, udp: what it sends");
        name: Option<String> = None, Spec::new(ValueKind::Text("a host name"), "dns: the name that it queries; by default the root");
        program: Option<PathBuf> = None, Spec::new(ValueKind::Path, "exec: the program that it runs");
    }
}

impl CheckConfig {
    /// Parses a key and its value, given for the check `name`.
    ///
    /// # Errors
    /// An unknown key, a value that it does not accept, or a missing value.
    pub fn parse(
        name: &str,
        key: &Word,
        value: Option<&Word>,
        services: &Services,
    ) -> Result<(CheckKey, Value), Error> {
        let word = key.text()?;
        let Some(key) = CheckKey::by_word(&word) else {
            let keys = ValueKind::Word(&WORDS).expected();
            return Err(Error::expected(keys, word).of(&format!("check {name}")));
        };
        if key.is_unset_by(value) {
            return Ok((key, Value::None));
        }
        let kind = key.spec().kind;
        let value = match value {
            Some(value) => kind.parse(value, services),
            None => Err(Error::missing(kind.expected())),
        };
        value.map(|value| (key, value)).map_err(|error| error.of(&format!("check {name} {word}")))
    }

    /// The keys that turn a new check into this one.
    pub fn changes(&self) -> Vec<(CheckKey, Value)> {
        let values = CheckKey::all().map(|key| (key, key.get(self)));
        values.filter(|(key, value)| *value != key.default()).collect()
    }

    /// Whether the check `name` can be carried out.
    ///
    /// # Errors
    /// The key that is missing, or that does not fit the type.
    pub fn judge(&self, name: &str) -> Result<(), Error> {
        let of = |error: Error, key: CheckKey| Err(error.of(&format!("check {name} {}", key.word())));
        // The type requires a key that no line may have.
        let lacks = |what: &str, key: CheckKey| {
            of(Error::missing(what).about(&format!("check {name} {}", CheckConfig::kind().word())), key)
        };
        let blank = |text: &str| text.bytes().any(|byte| byte <= b' ' || byte == 0x7f);
        match self.kind {
            CheckType::Udp if self.send.is_empty() => {
                lacks("what to send, since type is udp", CheckConfig::send())
            }
            CheckType::Exec => match &self.program {
                Some(path) if path.is_absolute() => Ok(()),
                Some(path) => {
                    let expected = "the path of a program, from /";
                    of(Error::expected(expected, path.display().to_string()), CheckConfig::program())
                }
                None => lacks("the program, since type is exec", CheckConfig::program()),
            },
            CheckType::Http => {
                if let Err(error) = StatusRanges::new(&self.expect).valid() {
                    return of(error, CheckConfig::expect());
                }
                if !self.path.starts_with('/') || blank(&self.path) {
                    let expected = "a path that begins with / and has no blank";
                    return of(Error::expected(expected, self.path.clone()), CheckConfig::path());
                }
                if self.method == HttpMethod::Head && !self.body.is_empty() {
                    let expected = "GET or OPTIONS, since it looks for a text in the body";
                    return of(Error::expected(expected, self.method.word()), CheckConfig::method());
                }
                match self.host.as_deref().filter(|host| blank(host)) {
                    Some(host) => of(Error::expected("a host without a blank", host), CheckConfig::host()),
                    None => Ok(()),
                }
            }
            CheckType::Dns => match self.name.as_deref().map(dns::labels) {
                Some(Err(error)) => of(error, CheckConfig::name()),
                _ => Ok(()),
            },
            CheckType::Tcp | CheckType::Send | CheckType::Udp => Ok(()),
        }
    }

    /// The keys that are set and have no effect with its type.
    pub fn keys_without_effect(&self) -> Vec<&'static str> {
        let fits = |word: &str| match word {
            "path" | "host" | "method" | "body" => self.kind == CheckType::Http,
            "expect" => matches!(self.kind, CheckType::Http | CheckType::Send | CheckType::Udp),
            "send" => matches!(self.kind, CheckType::Send | CheckType::Udp),
            "name" => self.kind == CheckType::Dns,
            "program" => self.kind == CheckType::Exec,
            "tls" | "verify" | "sni" => !matches!(self.kind, CheckType::Udp | CheckType::Exec),
            "proxy" => self.kind != CheckType::Exec,
            _ => true,
        };
        self.changes().into_iter().map(|(key, _)| key.word()).filter(|word| !fits(word)).collect()
    }

    /// The port that it connects to, for a server with this one.
    pub fn port_of(&self, server: u16) -> u16 {
        if self.port == 0 { server } else { self.port }
    }

    /// The PROXY header that it begins with, at a server whose clients' connections begin with `server`.
    pub fn header_of(&self, server: ProxyHeader) -> ProxyHeader {
        match server {
            _ if self.kind == CheckType::Exec || !self.proxy.of(server != ProxyHeader::Off) => {
                ProxyHeader::Off
            }
            ProxyHeader::V1 => ProxyHeader::V1,
            ProxyHeader::V2 | ProxyHeader::Off => ProxyHeader::V2,
        }
    }

    /// The schedule of the check.
    pub fn rule(&self) -> Rule {
        let fast = if self.fast.is_zero() { self.every } else { self.fast };
        Rule { every: millis(self.every), fast: millis(fast), rise: self.rise, fall: self.fall }
    }
}

const WORDS: [&str; 19] = [
    "type", "port", "tls", "verify", "sni", "proxy", "every", "timeout", "rise", "fall", "fast", "path",
    "host", "method", "expect", "body", "send", "name", "program",
];

/// The check of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// What it does.
    pub config: CheckConfig,
    /// The server's host as configured.
    pub host: String,
    /// Whether pen balances datagrams.
    pub datagrams: bool,
    /// The PROXY header that it begins with.
    pub proxy: ProxyHeader,
    /// The TLS parameters of the server; `None` without TLS.
    pub tls: Option<Arc<TlsPeer>>,
}

/// The choice of a server's check.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CheckChoice {
    /// The one named by `check_default`.
    #[default]
    Default,
    /// None.
    None,
    /// The one with that name.
    Named(String),
}

/// Words that cannot be the name of a check.
pub const RESERVED: [&str; 2] = ["none", "default"];

impl FieldType for CheckChoice {
    fn value(&self) -> Value {
        Value::Text(match self {
            CheckChoice::None => RESERVED[0].to_owned(),
            CheckChoice::Default => RESERVED[1].to_owned(),
            CheckChoice::Named(name) => name.clone(),
        })
    }

    fn assign(&mut self, value: &Value) {
        if let Value::Text(word) = value {
            *self = match RESERVED.iter().position(|reserved| reserved == word) {
                Some(0) => CheckChoice::None,
                Some(_) => CheckChoice::Default,
                None => CheckChoice::Named(word.clone()),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::lexer;

    fn check(line: &str) -> Result<CheckConfig, String> {
        let words = lexer::words(line).unwrap();
        let mut check = CheckConfig::default();
        for pair in words.chunks(2) {
            let parsed = CheckConfig::parse("web", &pair[0], pair.get(1), &Services::default());
            let (key, value) = parsed.map_err(|e| e.to_string())?;
            key.set(&mut check, &value);
        }
        check.judge("web").map_err(|e| e.to_string())?;
        Ok(check)
    }

    #[test]
    fn the_list_of_words_is_that_of_the_table() {
        assert_eq!(CheckKey::all().map(CheckKey::word).collect::<Vec<_>>(), WORDS);
    }

    #[test]
    fn what_a_check_needs_is_told() {
        for (line, error) in [
            ("type ftp", "check web type: expected tcp, http, send, udp, dns or exec, got 'ftp'"),
            ("type udp", "check web send: expected what to send, since type is udp, got nothing"),
            ("type exec", "check web program: expected the program, since type is exec, got nothing"),
            ("type exec program x", "check web program: expected the path of a program, from /, got 'x'"),
            (
                "type http path x",
                "check web path: expected a path that begins with / and has no blank, got 'x'",
            ),
            (
                "type http expect 2xx",
                "check web expect: expected status codes such as 200-299,301, got '2xx'",
            ),
            (
                "type http body well method HEAD",
                "check web method: expected GET or OPTIONS, since it looks for a text in the body, got 'HEAD'",
            ),
            ("type dns name a..b", "check web name: expected a host name, got 'a..b'"),
            ("rise 0", "check web rise: expected a number from 1 to 1000 (results in a row), got '0'"),
            (
                "every 0",
                "check web every: expected a number from 0.05 to 86400 (seconds, with at most three decimals), got '0'",
            ),
            ("path", "check web path: expected a path that begins with /, got nothing"),
        ] {
            assert_eq!(check(line), Err(error.to_owned()), "{line}");
        }
        assert!(check("type http method HEAD").is_ok() && check("type http method OPTIONS body x").is_ok());
        assert!(check("colour red").unwrap_err().starts_with("check web: expected type, port, tls, "));
    }

    #[test]
    fn what_is_written_makes_the_same_check() {
        let line = "type send tls on send \"EHLO x\\r\\n\" expect 250 every 0.5 fast 0.1 port 25 verify off";
        let made = check(line).unwrap();
        let words: Vec<String> =
            made.changes().iter().map(|(key, value)| format!("{} {}", key.word(), value.word())).collect();
        assert_eq!(check(&words.join(" ")), Ok(made.clone()));
        assert_eq!(made.rule(), Rule { every: 500, fast: 100, rise: 2, fall: 3 });
        assert_eq!(CheckConfig::default().changes(), []);
    }
}
