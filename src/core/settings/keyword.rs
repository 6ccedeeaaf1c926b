//! Settings whose value is one of a few words.

/// An enumeration whose variants are words of the control language.
pub trait Keyword: Copy + Eq + 'static {
    /// The words, in the order in which errors and help list them.
    const WORDS: &'static [&'static str];

    /// The variants, in the order of their words.
    const ALL: &'static [Self];

    /// The place of this variant's word among them.
    fn index(self) -> usize;

    /// The word of this variant.
    fn word(self) -> &'static str;

    /// The variant of a word.
    fn by_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|variant| variant.word() == word)
    }
}

/// Declares an enumeration with a word for each variant.
macro_rules! keywords {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl Keyword for $name {
            const WORDS: &'static [&'static str] = &[$($word,)+];
            const ALL: &'static [Self] = &[$($name::$variant,)+];

            fn index(self) -> usize {
                self as usize
            }

            fn word(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }
        }
    };
}

keywords! {
    /// The values of `ssl_option`.
    SslOption {
        /// Disables SSL 2, which pen never supports.
        NoSslv2 = "no_sslv2",
        /// Disables SSL 3, which pen never supports.
        NoSslv3 = "no_sslv3",
        /// Disables TLS 1.0.
        NoTlsv1 = "no_tlsv1",
        /// Disables TLS 1.1.
        NoTlsv11 = "no_tlsv1.1",
        /// Disables TLS 1.2.
        NoTlsv12 = "no_tlsv1.2",
        /// The server's order of ciphers is used; it always is.
        CipherServerPreference = "cipher_server_preference",
        /// Allows TLS 1.0.
        AllowTlsv1 = "allow_tlsv1",
        /// Allows TLS 1.1.
        AllowTlsv11 = "allow_tlsv1.1",
    }
}

keywords! {
    /// The values of `ssl_protocol` and `server_protocol`: the words of C pen, which all mean TLS 1.2 or newer, and two
    /// that mean what they say.
    SslProtocol {
        /// `ssl23`
        Ssl23 = "ssl23",
        /// `ssl2`
        Ssl2 = "ssl2",
        /// `ssl3`
        Ssl3 = "ssl3",
        /// `tls1`
        Tls1 = "tls1",
        /// TLS 1.2 or newer.
        Tls12 = "tls1.2",
        /// TLS 1.3 or newer.
        Tls13 = "tls1.3",
    }
}

keywords! {
    /// Whether a check uses a feature, or follows the server's own setting.
    #[derive(Default)]
    CheckSwitch {
        /// As the server's own key says.
        #[default]
        Server = "server",
        /// The check uses it.
        On = "on",
        /// The check does not use it.
        Off = "off",
    }
}

keywords! {
    /// The treatment of an X-Forwarded-For that a client has sent, in HTTP mode.
    HttpForwarded {
        /// It is passed to the server unchanged, and pen adds none.
        Keep = "keep",
        /// The client's address is added to it.
        Append = "append",
        /// It is removed.
        Replace = "replace",
    }
}

keywords! {
    /// Whether clients' connections begin with a PROXY header.
    ProxyProtocol {
        /// They do not; one that comes is data like any other.
        Off = "off",
        /// Those of whom `proxy_acl` permits may.
        Accept = "accept",
        /// All do; `proxy_acl` says whose.
        Require = "require",
    }
}

keywords! {
    /// The PROXY header that a server gets before the client's bytes.
    ProxyHeader {
        /// None.
        Off = "off",
        /// One of version 1, a line of text.
        V1 = "v1",
        /// One of version 2, binary.
        V2 = "v2",
    }
}

keywords! {
    /// The administrative state of a server, in the words of HAProxy.
    #[derive(serde::Serialize)]
    #[serde(rename_all = "snake_case")]
    AdminState {
        /// It serves.
        Ready = "ready",
        /// It serves the clients that it had before, and no new ones.
        Drain = "drain",
        /// It serves no clients.
        Maint = "maint",
    }
}

keywords! {
    /// The treatment, on reload, of settings that the file does not name.
    ReloadMode {
        /// They stay as they are.
        Keep = "keep",
        /// They return to the value of the command line, or to their defaults; servers are removed.
        Exact = "exact",
    }
}

keywords! {
    /// The treatment of open connections when a check finds their server down.
    OnDown {
        /// They continue as long as they can.
        Keep = "keep",
        /// They end, so that clients come back and get another server.
        Close = "close",
    }
}

keywords! {
    /// The facility of messages in syslog, as far as all systems have it.
    SyslogFacility {
        /// `user`
        User = "user",
        /// `daemon`
        Daemon = "daemon",
        /// `auth`
        Auth = "auth",
        /// `local0`
        Local0 = "local0",
        /// `local1`
        Local1 = "local1",
        /// `local2`
        Local2 = "local2",
        /// `local3`
        Local3 = "local3",
        /// `local4`
        Local4 = "local4",
        /// `local5`
        Local5 = "local5",
        /// `local6`
        Local6 = "local6",
        /// `local7`
        Local7 = "local7",
    }
}

keywords! {
    /// How the lines of the connection log are written.
    ConnectionLogFormat {
        /// As words of the form `name=value`.
        Text = "text",
        /// As one JSON object.
        Json = "json",
    }
}

/// Which sides' end of data closes both sides of a connection at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fastclose {
    /// The server's (upstream).
    pub up: bool,
    /// The client's (downstream).
    pub down: bool,
}

impl Keyword for Fastclose {
    const WORDS: &'static [&'static str] = &["up", "down", "both", "off"];
    const ALL: &'static [Self] = &[
        Fastclose { up: true, down: false },
        Fastclose { up: false, down: true },
        Fastclose { up: true, down: true },
        Fastclose { up: false, down: false },
    ];

    fn index(self) -> usize {
        match (self.up, self.down) {
            (true, false) => 0,
            (false, true) => 1,
            (true, true) => 2,
            (false, false) => 3,
        }
    }

    fn word(self) -> &'static str {
        Self::WORDS[self.index()]
    }
}

pub(crate) use keywords;
