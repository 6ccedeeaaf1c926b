//! Settings that take one of a few words.

/// An enumeration of which each variant is a word of the control language.
pub trait Keyword: Copy + Eq + 'static {
    /// The words, in the order in which errors and help list them.
    const WORDS: &'static [&'static str];

    /// The word of this variant.
    fn word(self) -> &'static str;

    /// The variant of a word.
    fn by_word(word: &str) -> Option<Self>;
}

/// Declares an enumeration with a word for each variant.
macro_rules! keywords {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl Keyword for $name {
            const WORDS: &'static [&'static str] = &[$($word,)+];

            fn word(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }

            fn by_word(word: &str) -> Option<Self> {
                match word { $($word => Some($name::$variant),)+ _ => None }
            }
        }
    };
}

keywords! {
    /// What `ssl_option` may say.
    SslOption {
        /// SSL 2 is not spoken; pen never speaks it.
        NoSslv2 = "no_sslv2",
        /// SSL 3 is not spoken; pen never speaks it.
        NoSslv3 = "no_sslv3",
        /// TLS 1.0 is not spoken.
        NoTlsv1 = "no_tlsv1",
        /// TLS 1.1 is not spoken.
        NoTlsv11 = "no_tlsv1.1",
        /// TLS 1.2 is not spoken.
        NoTlsv12 = "no_tlsv1.2",
        /// The server's order of ciphers counts; it always does.
        CipherServerPreference = "cipher_server_preference",
        /// TLS 1.0 may be spoken.
        AllowTlsv1 = "allow_tlsv1",
        /// TLS 1.1 may be spoken.
        AllowTlsv11 = "allow_tlsv1.1",
    }
}

keywords! {
    /// What `ssl_protocol` and `server_protocol` may say: the words of C pen, which all mean TLS 1.2 or newer, and two that say
    /// what they mean.
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
    /// Whether a check does something, or does it as clients' connections to the server do.
    #[derive(Default)]
    CheckSwitch {
        /// As the server's own key says.
        #[default]
        Server = "server",
        /// It does.
        On = "on",
        /// It does not.
        Off = "off",
    }
}

keywords! {
    /// What becomes of an X-Forwarded-For that a client has sent, in HTTP mode.
    HttpForwarded {
        /// It goes to the server as it is, and pen adds none.
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
    /// What an administrator says of a server, in the words of HAProxy.
    #[derive(serde::Serialize)]
    #[serde(rename_all = "snake_case")]
    AdminState {
        /// It serves.
        Ready = "ready",
        /// It serves the clients that it had before, and no others.
        Drain = "drain",
        /// It serves nobody.
        Maint = "maint",
    }
}

keywords! {
    /// What becomes of settings that the file does not name when it is read again.
    ReloadMode {
        /// They stay as they are.
        Keep = "keep",
        /// They return to what the command line says, or to their defaults; servers are removed.
        Exact = "exact",
    }
}

keywords! {
    /// What becomes of connections in progress when their server's check finds it down.
    OnDown {
        /// They go on as long as they can.
        Keep = "keep",
        /// They end, so that clients come back and get another server.
        Close = "close",
    }
}

/// Which side's end of data ends both sides of a connection at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fastclose {
    /// The server's (upstream).
    pub up: bool,
    /// The client's (downstream).
    pub down: bool,
}

impl Keyword for Fastclose {
    const WORDS: &'static [&'static str] = &["up", "down", "both", "off"];

    fn word(self) -> &'static str {
        match (self.up, self.down) {
            (false, false) => "off",
            (true, false) => "up",
            (false, true) => "down",
            (true, true) => "both",
        }
    }

    fn by_word(word: &str) -> Option<Self> {
        let both = [(false, false), (true, false), (false, true), (true, true)];
        both.into_iter().map(|(up, down)| Fastclose { up, down }).find(|f| f.word() == word)
    }
}

pub(crate) use keywords;
