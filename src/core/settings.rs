//! The settings that a command changes, as tables: a word, what it takes, its default, and whether it may change while pen runs.

/// When a setting may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At any time.
    Always,
    /// Before pen serves; a later change needs a restart.
    Start,
}

/// Declares an enum whose variants index a table, so that a setting is named once.
macro_rules! table {
    ($(#[$doc:meta])* $name:ident : $info:ident { $($(#[$vdoc:meta])* $variant:ident = $row:expr,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// All of them, in the order in which they are written.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];
            const TABLE: &'static [$info] = &[$($row,)+];

            /// The table's row.
            pub fn info(self) -> &'static $info {
                &Self::TABLE[self as usize]
            }

            /// The setting a word names.
            pub fn by_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|s| s.info().word == word)
            }
        }
    };
}

/// A switch: `word` turns it on and `no word` off.
#[derive(Debug)]
pub struct FlagInfo {
    /// The command.
    pub word: &'static str,
    /// At start only?
    pub when: When,
    /// One line for `penctl --help`.
    pub help: &'static str,
}

const fn flag(word: &'static str, when: When, help: &'static str) -> FlagInfo {
    FlagInfo { word, when, help }
}

table! {
    /// The switches. All are off by default.
    Flag: FlagInfo {
        /// `abort_on_error`
        AbortOnError = flag("abort_on_error", When::Always, "end with a core file at an internal error, rather than end one connection"),
        /// `ascii`
        Ascii = flag("ascii", When::Always, "dump communication as text rather than hexadecimal"),
        /// `dummy`
        Dummy = flag("dummy", When::Always, "answer every request as a tiny web server, as a test target"),
        /// `hash`
        Hash = flag("hash", When::Always, "choose a new client's server by a hash of its address"),
        /// `http`
        Http = flag("http", When::Always, "add X-Forwarded-For and X-Forwarded-Proto to HTTP requests"),
        /// `keepalive`
        Keepalive = flag("keepalive", When::Always, "set SO_KEEPALIVE on connections"),
        /// `nomemory`
        Nomemory = flag("nomemory", When::Always, "do not remember which server a client had"),
        /// `prio`
        Prio = flag("prio", When::Always, "choose the available server of the lowest prio"),
        /// `roundrobin`
        Roundrobin = flag("roundrobin", When::Always, "give each connection the next server, remember no client"),
        /// `stubborn`
        Stubborn = flag("stubborn", When::Always, "close a connection whose first choice of server fails"),
        /// `tcp_nodelay`
        TcpNodelay = flag("tcp_nodelay", When::Always, "set TCP_NODELAY on connections"),
        /// `transparent`
        Transparent = flag("transparent", When::Always, "connect to servers from the client's own address"),
        /// `weight`
        Weight = flag("weight", When::Always, "choose the server of the fewest connections for its weight"),
        /// `udp`
        Udp = flag("udp", When::Start, "balance UDP datagrams instead of TCP connections"),
        /// `enable_exit`
        EnableExit = flag("enable_exit", When::Start, "allow the command exit"),
        /// `foreground`
        Foreground = flag("foreground", When::Start, "stay in the foreground"),
        /// `ssl_require_client_cert`
        SslRequireClientCert = flag("ssl_require_client_cert", When::Start, "require a valid certificate of each client"),
        /// `ssl_compat`
        SslCompat = flag("ssl_compat", When::Start, "work around defects of old TLS clients"),
    }
}

/// What a bare `word` or a change of it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyForm {
    /// The number on a line.
    Number,
    /// `Idle timeout: N seconds`.
    IdleTimeout,
    /// Nothing; the command needs its argument.
    Nothing,
}

/// A number that a command sets.
#[derive(Debug)]
pub struct NumberInfo {
    /// The command.
    pub word: &'static str,
    /// What the number counts.
    pub unit: &'static str,
    /// The least allowed.
    pub min: u64,
    /// The most allowed.
    pub max: u64,
    /// Without a command.
    pub default: u64,
    /// At start only?
    pub when: When,
    /// While pen runs a smaller number changes nothing.
    pub grows: bool,
    /// The reply.
    pub answer: ReplyForm,
    /// One line for `penctl --help`.
    pub help: &'static str,
}

const SECONDS_MAX: u64 = i32::MAX as u64;

#[allow(clippy::too_many_arguments)] // a row of a table
const fn number(
    word: &'static str,
    unit: &'static str,
    min: u64,
    max: u64,
    default: u64,
    when: When,
    answer: ReplyForm,
    help: &'static str,
) -> NumberInfo {
    NumberInfo { word, unit, min, max, default, when, grows: false, answer, help }
}

const fn grows(info: NumberInfo) -> NumberInfo {
    NumberInfo { grows: true, ..info }
}

table! {
    /// The numbers.
    Number: NumberInfo {
        /// `blacklist`
        Blacklist = number("blacklist", "seconds", 0, SECONDS_MAX, 30, When::Always, ReplyForm::Number, "how long a server that failed is left out"),
        /// `client_acl`
        ClientAcl = number("client_acl", "the number of a list", 0, 9, 0, When::Always, ReplyForm::Number, "the access list for clients"),
        /// `control_acl`
        ControlAcl = number("control_acl", "the number of a list", 0, 9, 0, When::Always, ReplyForm::Number, "the access list for the control port"),
        /// `clients_max`
        ClientsMax = grows(number("clients_max", "clients", 1, 1 << 24, 2048, When::Always, ReplyForm::Number, "size of the table of clients; only grows")),
        /// `conn_max`
        ConnMax = grows(number("conn_max", "connections", 1, 1 << 24, 500, When::Always, ReplyForm::Number, "most simultaneous connections; only grows")),
        /// `debug`
        Debug = number("debug", "level", 0, 9, 0, When::Always, ReplyForm::Number, "how much pen tells of what it does"),
        /// `idle_timeout`
        IdleTimeout = number("idle_timeout", "seconds, 0 for never", 0, SECONDS_MAX, 0, When::Always, ReplyForm::IdleTimeout, "close a connection that was idle so long"),
        /// `pending_max`
        PendingMax = number("pending_max", "connections", 1, 1 << 24, 100, When::Always, ReplyForm::Nothing, "most connections to servers in progress"),
        /// `timeout`
        Timeout = number("timeout", "seconds", 1, SECONDS_MAX, 3, When::Always, ReplyForm::Number, "how long a connection to a server may take"),
        /// `tracking`
        Tracking = number("tracking", "seconds, 0 for ever", 0, SECONDS_MAX, 0, When::Always, ReplyForm::Number, "how long a client is remembered"),
        /// `backlog`
        Backlog = number("backlog", "connections", 50, 65535, 500, When::Start, ReplyForm::Number, "length of the listen queue"),
        /// `multi_accept`
        MultiAccept = number("multi_accept", "connections", 1, 65535, 100, When::Always, ReplyForm::Number, "connections accepted in one go"),
        /// `workers`
        Workers = number("workers", "threads, 0 for one a core", 0, 256, 0, When::Start, ReplyForm::Number, "threads that serve connections"),
        /// `ssl_handshake_timeout`
        SslHandshakeTimeout = number("ssl_handshake_timeout", "seconds, 0 for the connect timeout", 0, SECONDS_MAX, 0, When::Always, ReplyForm::Number, "how long a TLS handshake may take"),
        /// `ssl_client_renegotiation_interval`
        SslRenegotiation = number("ssl_client_renegotiation_interval", "seconds", 0, SECONDS_MAX, 3600, When::Always, ReplyForm::Number, "accepted; clients never may renegotiate"),
    }
}

/// What a text must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The path of a file or directory.
    Path,
    /// A listening address.
    Listening,
    /// A host and its port.
    Server,
    /// A file, or the host and port of a penlogd.
    Log,
    /// An IP address.
    Ip,
    /// The name or number of a user.
    User,
    /// An OpenSSL list of ciphers.
    Ciphers,
    /// ssl23, ssl2, ssl3 or tls1.
    Protocol,
}

/// A text that a command sets.
#[derive(Debug)]
pub struct TextInfo {
    /// The command.
    pub word: &'static str,
    /// What it must look like.
    pub form: Form,
    /// At start only?
    pub when: When,
    /// A bare `word` answers the text.
    pub shown: bool,
    /// One line for `penctl --help`.
    pub help: &'static str,
}

const fn text(word: &'static str, form: Form, when: When, shown: bool, help: &'static str) -> TextInfo {
    TextInfo { word, form, when, shown, help }
}

table! {
    /// The texts. None is set by default, and `no word` unsets one.
    Text: TextInfo {
        /// `listen`
        Listen = text("listen", Form::Listening, When::Always, true, "the address that clients connect to; with an address pen moves there"),
        /// `control`
        Control = text("control", Form::Listening, When::Start, true, "the address of the control port"),
        /// `user`
        User = text("user", Form::User, When::Start, false, "the user that pen becomes after binding"),
        /// `chroot`
        Chroot = text("chroot", Form::Path, When::Start, false, "the directory that pen locks itself into"),
        /// `pidfile`
        Pidfile = text("pidfile", Form::Path, When::Start, false, "the file that holds pen's process id"),
        /// `emergency`
        Emergency = text("emergency", Form::Server, When::Always, false, "the server for when no other is available"),
        /// `abuse`
        Abuse = text("abuse", Form::Server, When::Always, false, "the server for clients that client_acl denies"),
        /// `log`
        Log = text("log", Form::Log, When::Always, true, "log requests to a file or to a penlogd"),
        /// `source`
        Source = text("source", Form::Ip, When::Always, false, "the local address of connections to servers"),
        /// `web_stats`
        WebStats = text("web_stats", Form::Path, When::Always, true, "the file that the command status writes"),
        /// `ssl_certfile`
        SslCertfile = text("ssl_certfile", Form::Path, When::Start, false, "the certificate chain in PEM form"),
        /// `ssl_keyfile`
        SslKeyfile = text("ssl_keyfile", Form::Path, When::Start, false, "the private key in PEM form"),
        /// `ssl_cacert_file`
        SslCacertFile = text("ssl_cacert_file", Form::Path, When::Start, false, "the authorities of client certificates"),
        /// `ssl_cacert_dir`
        SslCacertDir = text("ssl_cacert_dir", Form::Path, When::Start, false, "a hashed directory of such authorities"),
        /// `ssl_protocol`
        SslProtocol = text("ssl_protocol", Form::Protocol, When::Start, false, "the oldest TLS that clients may speak"),
        /// `ssl_ciphers`
        SslCiphers = text("ssl_ciphers", Form::Ciphers, When::Always, false, "the ciphers offered to clients"),
        /// `ssl_ocsp_response`
        SslOcspResponse = text("ssl_ocsp_response", Form::Path, When::Always, false, "the OCSP response stapled to the certificate"),
        /// `ssl_sni_path`
        SslSniPath = text("ssl_sni_path", Form::Path, When::Always, false, "the directory of certificates by name"),
    }
}

/// The words of `ssl_option`.
pub const SSL_OPTIONS: [&str; 8] = [
    "no_sslv2",
    "no_sslv3",
    "no_tlsv1",
    "no_tlsv1.1",
    "no_tlsv1.2",
    "cipher_server_preference",
    "allow_tlsv1",
    "allow_tlsv1.1",
];

/// Which side's end of data ends both sides of a connection at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fastclose {
    /// The server's (upstream).
    pub up: bool,
    /// The client's (downstream).
    pub down: bool,
}

impl Fastclose {
    /// The words, for errors.
    pub const WORDS: &'static str = "up, down, both or off";

    /// The word that `tcp_fastclose` takes.
    pub fn word(self) -> &'static str {
        match (self.up, self.down) {
            (false, false) => "off",
            (true, false) => "up",
            (false, true) => "down",
            (true, true) => "both",
        }
    }

    /// The value of a word.
    pub fn by_word(word: &str) -> Option<Self> {
        [(false, false), (true, false), (false, true), (true, true)]
            .into_iter()
            .map(|(up, down)| Fastclose { up, down })
            .find(|f| f.word() == word)
    }
}
