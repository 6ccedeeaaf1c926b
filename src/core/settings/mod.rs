//! The settings of pen: one table, from which commands, files, options, properties and documents follow.
//!
//! A new setting is one row of [`Settings`]; CONTRIBUTING.md lists what else it needs.

pub(crate) mod keyword;
mod kind;
pub(crate) mod table;
pub(crate) mod value;

pub use keyword::{
    AdminState, CheckSwitch, ConnectionLogFormat, Fastclose, HttpForwarded, Keyword, OnDown, ProxyHeader,
    ProxyProtocol, ReloadMode, SslOption, SslProtocol, SyslogFacility,
};
pub use kind::ValueKind;
pub use table::{FieldKey, FieldRow, Property, ReplyForm, Spec, Table, When};
pub use value::{FieldType, Value};

use super::addr::{Endpoint, ListenAddress};
use super::affinity::ClientMask;
use super::log_target::LogTarget;
use super::sni_route::SniRouteList;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A setting: a row of the table of [`Settings`].
pub type Setting = FieldKey<Settings>;

impl Setting {
    /// Whether the word alone shows the setting.
    pub fn shows(self) -> bool {
        self.spec().reply != ReplyForm::None
    }

    /// The value that `no word` sets, if it is allowed.
    pub fn off(self) -> Option<Value> {
        match self.default() {
            Value::Switch(_) => Some(Value::Switch(false)),
            Value::None | Value::Words(_) | Value::Paths(_) | Value::SniRoutes(_) => Some(Value::None),
            _ => None,
        }
    }

    /// The reply to a change of the setting, or to the word alone.
    pub fn reply(self, settings: &Settings) -> String {
        match (self.spec().reply, self.get(settings)) {
            (ReplyForm::Tarpit, Value::None) => "tarpit_acl = -1\n".into(),
            (ReplyForm::Empty | ReplyForm::None, _) | (_, Value::None) => String::new(),
            (ReplyForm::Value, value) => format!("{value}\n"),
            (ReplyForm::Tarpit, value) => format!("tarpit_acl = {value}\n"),
            (ReplyForm::IdleTimeout, value) => format!("Idle timeout: {value} seconds\n"),
        }
    }
}

const fn switch(help: &'static str) -> Spec {
    Spec::new(ValueKind::Switch, help)
}

const fn number(unit: &'static str, min: u64, max: u64, help: &'static str) -> Spec {
    Spec::new(ValueKind::Number { min, max, unit }, help).reply(ReplyForm::Value)
}

const fn list(help: &'static str) -> Spec {
    Spec::new(ValueKind::LIST, help).reply(ReplyForm::Value)
}

const fn seconds(unit: &'static str, min: u64, help: &'static str) -> Spec {
    Spec::new(ValueKind::whole_seconds(min, unit), help).reply(ReplyForm::Value)
}

const fn text(kind: ValueKind, help: &'static str) -> Spec {
    Spec::new(kind, help)
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

table::table! {
    /// All settings except the access lists and the servers.
    Settings {
        // Switches.
        abort_on_error: bool = false,
            switch("end with a core file on an internal error, instead of ending one connection");
        ascii: bool = false, switch("dump communication as text rather than hexadecimal");
        batch: bool = true,
            switch("make system calls for many connections together, where the system can").at_start();
        dummy: bool = false, switch("answer every request as a tiny web server, as a test target");
        hash: bool = false, switch("choose a new client's server by a hash of its address");
        http: bool = false, switch("add X-Forwarded-For and X-Forwarded-Proto to HTTP requests").tls();
        http_rfc7239: bool = false, switch("add Forwarded (RFC 7239) to HTTP requests too");
        keepalive: bool = false, switch("set SO_KEEPALIVE on connections");
        nomemory: bool = false, switch("do not remember which server a client had");
        prio: bool = false, switch("choose the available server with the lowest prio");
        roundrobin: bool = false, switch("give each connection the next server, remember no client");
        stubborn: bool = false, switch("close a connection whose first choice of server fails");
        tcp_nodelay: bool = false, switch("set TCP_NODELAY on connections");
        transparent: bool = false, switch("connect to servers from the client's own address");
        weight: bool = false, switch("choose the server with the fewest connections for its weight");
        udp: bool = false, switch("balance UDP datagrams instead of TCP connections").at_start();
        enable_exit: bool = false, switch("allow the command exit").at_start();
        // Under smf(5) the administrator cannot choose whether pen stays in the foreground.
        foreground: bool = false, switch("stay in the foreground").at_start().property(Property::None);
        ssl_require_client_cert: bool = false, switch("require a valid certificate from each client").at_start().tls();
        ssl_compat: bool = false, switch("work around defects of old TLS clients").at_start().tls();

        // Numbers and times.
        blacklist: Duration = secs(30), seconds("seconds", 0, "how long a failed server stays blacklisted");
        client_acl: usize = 0, list("the access list for clients");
        admin_acl: usize = 0, list("the access list for the admin listener");
        control_acl: usize = 0, list("the access list for the control port");
        proxy_acl: usize = 0, list("the access list of proxies that may send PROXY headers");
        tarpit_acl: Option<usize> = None,
            text(ValueKind::ListOrNone, "the access list whose denied clients are held and sent nothing").reply(ReplyForm::Tarpit);
        client_conn_max: u32 = 0,
            number("connections, 0 for no limit", 0, 1 << 24, "maximum concurrent connections of one client");
        client_rate_max: u32 = 0,
            number("connections, 0 for no limit", 0, 1 << 24, "maximum new connections of one client in client_rate_time");
        client_rate_time: Duration = secs(1),
            Spec::new(ValueKind::seconds(1, "seconds"), "the period of client_rate_max").reply(ReplyForm::Value);
        client_mask: ClientMask = ClientMask::default(),
            text(ValueKind::Mask, "how many bits of an IPv4 and of an IPv6 address identify a client").reply(ReplyForm::Value);
        clients_max: usize = 2048,
            number("clients", 1, 1 << 24, "size of the table of clients; only grows").grows();
        conn_max: usize = 500,
            number("connections", 1, 1 << 24, "maximum concurrent connections; only grows").grows();
        debug: u32 = 0, number("level", 0, 9, "the level of debug messages");
        fail_max: u32 = 1,
            number("connects", 1, 1000, "consecutive failed connects after which a server is blacklisted");
        idle_timeout: Duration = secs(0),
            seconds("seconds, 0 for never", 0, "close a connection that was idle for this long").reply(ReplyForm::IdleTimeout);
        pending_max: usize = 100,
            number("connections", 1, 1 << 24, "maximum connects in progress to one server").reply(ReplyForm::Empty);
        queue_max: usize = 0,
            number("connections, 0 for none", 0, 1 << 24, "most connections that wait while every server is full");
        queue_timeout: Duration = secs(0),
            Spec::new(ValueKind::seconds(0, "seconds, 0 for the connect timeout"), "how long a connection may wait for a place at a server")
                .reply(ReplyForm::Value);
        slowstart: Duration = secs(0),
            Spec::new(ValueKind::seconds(0, "seconds, 0 for the full share at once"), "how long a server that comes up takes to reach its share of new clients")
                .reply(ReplyForm::Value);
        stop_timeout: Duration = secs(0),
            Spec::new(ValueKind::seconds(0, "seconds, 0 to end at once"), "how long connections may continue once pen is told to end")
                .reply(ReplyForm::Value);
        timeout: Duration = secs(3), seconds("seconds", 1, "how long a connection to a server may take");
        tracking: Duration = secs(0), seconds("seconds, 0 for ever", 0, "how long a client is remembered");
        udp_flows_per_client: usize = 0,
            number("flows, 0 for no limit but the client's share when all are taken", 0, 1 << 24,
                "maximum concurrent UDP flows of one client address");
        udp_retries: u32 = 3,
            number("repetitions, 0 for no limit", 0, 1000,
                "repetitions without an answer after which a UDP client goes to the next server");
        backlog: u32 = 500, number("connections", 50, 65535, "length of the listen queue").at_start();
        multi_accept: usize = 100, number("connections", 1, 65535, "connections accepted in a row");
        workers: usize = 0,
            number("threads, 0 for one per core", 0, 256, "threads that serve connections").at_start();
        ssl_handshake_timeout: Duration = secs(0),
            seconds("seconds, 0 for the connect timeout", 0, "how long a TLS handshake may take");
        ssl_client_renegotiation_interval: Duration = secs(3600),
            seconds("seconds", 0, "accepted, without effect: clients may not renegotiate");

        // Addresses, files and other texts: none is set by default, and `no word` unsets it.
        listen: Option<ListenAddress> = None,
            text(ValueKind::Listen, "the address that clients connect to; setting it moves pen there")
                .reply(ReplyForm::Value).required().property(Property::Named("listenport"));
        control: Option<ListenAddress> = None,
            text(ValueKind::Listen, "the address of the control port").at_start().reply(ReplyForm::Value);
        admin: Option<ListenAddress> = None,
            text(ValueKind::Listen, "the address of the read-only HTTP interface; a port alone is on 127.0.0.1")
                .at_start().reply(ReplyForm::Value);
        log_ident: Option<String> = None,
            text(ValueKind::Name, "the name under which pen logs to syslog, instead of pen").at_start();
        user: Option<String> = None,
            text(ValueKind::Text("the name or number of a user"), "the user that pen becomes after binding").at_start();
        chroot: Option<PathBuf> = None,
            text(ValueKind::Path, "the directory that pen makes its root (chroot)").at_start();
        pidfile: Option<PathBuf> = None,
            text(ValueKind::Path, "the file for pen's process id").at_start();
        emergency: Option<Endpoint> = None,
            text(ValueKind::Endpoint, "the server that is used when no other is available");
        abuse: Option<Endpoint> = None,
            text(ValueKind::Endpoint, "the server for clients that client_acl denies");
        check_default: Option<String> = None,
            text(ValueKind::Name, "the check for servers that name none").reply(ReplyForm::Value);
        log: Option<LogTarget> = None,
            text(ValueKind::Log, "log requests to a file or to a penlogd").reply(ReplyForm::Value);
        connection_log: Option<LogTarget> = None,
            text(ValueKind::ConnectionLog, "log connections that have ended, to a file or to syslog").reply(ReplyForm::Value);
        source: Option<IpAddr> = None, text(ValueKind::Ip, "the local address of connections to servers");
        web_stats: Option<PathBuf> = None,
            text(ValueKind::Path, "the file that the command status writes").reply(ReplyForm::Value);
        ssl_certfile: Vec<PathBuf> = Vec::new(),
            text(ValueKind::Paths, "the certificate chain in PEM form; repeatable, for RSA and ECDSA").at_start().tls();
        ssl_keyfile: Vec<PathBuf> = Vec::new(),
            text(ValueKind::Paths, "the private key in PEM form; repeatable").at_start().tls();
        ssl_cacert_file: Option<PathBuf> = None,
            text(ValueKind::Path, "the certificate authorities for client certificates").at_start().tls();
        ssl_cacert_dir: Option<PathBuf> = None,
            text(ValueKind::Path, "a hashed directory of such authorities").at_start().tls();
        ssl_protocol: Option<SslProtocol> = None,
            text(ValueKind::Word(SslProtocol::WORDS), "the oldest TLS that clients may speak").at_start();
        ssl_ciphers: Option<String> = None,
            text(ValueKind::Text("a list of ciphers in the form of openssl-ciphers(1)"), "the ciphers offered to clients").tls();
        ssl_alpn: Option<String> = None,
            text(ValueKind::Text("names of protocols, with commas between"), "the protocols that clients may negotiate (ALPN)")
                .tls();
        ssl_ocsp_response: Option<PathBuf> = None,
            text(ValueKind::Path, "the OCSP response stapled to the certificate").rereads().tls();
        ssl_sni_path: Option<PathBuf> = None,
            text(ValueKind::Path, "the directory of certificates by name").rereads().tls();

        sni_server: SniRouteList = SniRouteList::default(),
            text(ValueKind::SniRoute, "the servers for a server name, where pen relays TLS without ending it; repeatable");
        server_cacert_file: Option<PathBuf> = None,
            text(ValueKind::Path, "the certificate authorities for servers' certificates");
        server_certfile: Option<PathBuf> = None,
            text(ValueKind::Path, "the certificate chain that servers may ask for, in PEM form");
        server_keyfile: Option<PathBuf> = None, text(ValueKind::Path, "its private key in PEM form");
        server_protocol: Option<SslProtocol> = None,
            text(ValueKind::Word(SslProtocol::WORDS), "the oldest TLS spoken to servers");
        server_ciphers: Option<String> = None,
            text(ValueKind::Text("a list of ciphers in the form of openssl-ciphers(1)"), "the ciphers offered to servers");

        // Words.
        log_facility: SyslogFacility = SyslogFacility::User,
            text(ValueKind::Word(SyslogFacility::WORDS), "syslog facility: user, daemon, auth or local0 to local7").at_start();
        connection_log_format: ConnectionLogFormat = ConnectionLogFormat::Text,
            text(ValueKind::Word(ConnectionLogFormat::WORDS), "the format of the lines of connection_log");
        http_forwarded: HttpForwarded = HttpForwarded::Keep,
            text(ValueKind::Word(HttpForwarded::WORDS), "the treatment of an X-Forwarded-For that a client sent");
        proxy_protocol: ProxyProtocol = ProxyProtocol::Off,
            text(ValueKind::Word(ProxyProtocol::WORDS), "whether connections begin with a PROXY header")
                .reply(ReplyForm::Value);
        reload_mode: ReloadMode = ReloadMode::Keep,
            text(ValueKind::Word(ReloadMode::WORDS), "whether a reload keeps what the file no longer names");
        ssl_option: BTreeSet<SslOption> = BTreeSet::new(),
            text(ValueKind::Words(SslOption::WORDS), "enable or disable TLS versions; repeatable").tls();
        tcp_fastclose: Fastclose = Fastclose::default(),
            text(ValueKind::Word(Fastclose::WORDS), "the side whose end of data closes both at once");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_takes_what_its_row_allows() {
        let words = |kind: ValueKind| match kind {
            ValueKind::Switch => vec!["on", "off"],
            ValueKind::Number { .. } => vec!["7", "64"],
            ValueKind::ListOrNone => vec!["7", "-1"],
            ValueKind::Seconds { .. } => vec!["7", "64"],
            ValueKind::Word(words) | ValueKind::Words(words) => words.to_vec(),
            ValueKind::Text(_) | ValueKind::Bytes | ValueKind::Path | ValueKind::Paths => vec!["/a b"],
            ValueKind::Mask => vec!["24 64", "0 0"],
            ValueKind::SniRoute => vec!["*.example.com web 1"],
            ValueKind::Name => vec!["web-1"],
            ValueKind::Ip | ValueKind::Host => vec!["10.0.0.1", "::1"],
            ValueKind::Port => vec!["0", "80"],
            ValueKind::Endpoint | ValueKind::Listen | ValueKind::Log | ValueKind::ConnectionLog => {
                vec!["[::1]:80", "/run/x", "host:99"]
            }
        };
        for setting in Setting::all() {
            let kind = setting.spec().kind;
            let mut taken = 0;
            for word in words(kind) {
                let word = super::super::lexer::Word::plain(word);
                let Ok(value) = kind.parse(&word, &Default::default()) else { continue };
                let mut settings = Settings::default();
                setting.set(&mut settings, &value);
                assert_eq!(setting.get(&settings), value, "{setting:?}");
                taken += 1;
            }
            assert!(taken > 0, "{setting:?} takes nothing");
            assert!(!setting.spec().help.is_empty());
            assert_eq!(Setting::by_word(setting.word()), Some(setting));
        }
    }
}
