//! The TLS settings of the configuration.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use openssl::ssl::SslVersion;

use crate::core::alpn;
use crate::core::settings::{Keyword, Settings, SslOption, SslProtocol};

/// The files of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::net) struct Files {
    /// The certificate and its chain.
    pub(in crate::net) cert: PathBuf,
    /// The files that may contain its private key, at least one: the matching key is used.
    pub(in crate::net) keys: Vec<PathBuf>,
    /// The OCSP response to staple.
    pub(in crate::net) ocsp: Option<PathBuf>,
}

impl Files {
    /// All files; one that holds both the certificate and the key once.
    pub(in crate::net) fn all(&self) -> impl Iterator<Item = &Path> {
        let keys = self.keys.iter().filter(|key| **key != self.cert);
        std::iter::once(&self.cert).chain(keys).chain(&self.ocsp).map(PathBuf::as_path)
    }
}

/// The settings that contexts are made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// One certificate or several, with different kinds of keys.
    pub(super) files: Vec<Files>,
    /// The authorities for client certificates, a file and a directory.
    pub(super) ca: Option<PathBuf>,
    pub(super) ca_dir: Option<PathBuf>,
    pub(super) sni_path: Option<PathBuf>,
    /// Whether a client must have a certificate.
    pub(super) require: bool,
    pub(super) compat: bool,
    pub(super) ciphers: Option<String>,
    pub(super) alpn: Alpn,
    pub(super) oldest: Oldest,
}

/// The protocols that clients may negotiate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Alpn {
    /// None: what a client offers is passed over.
    Nothing,
    /// HTTP/1.1, because of HTTP mode; a client that offers others only is served all the same.
    Http,
    /// Those of ssl_alpn; a client that offers others only is refused.
    Listed(Vec<String>),
}

impl Alpn {
    fn of(settings: &Settings) -> Self {
        match &settings.ssl_alpn {
            Some(list) => Alpn::Listed(alpn::names(list).map(str::to_owned).collect()),
            None if settings.http => Alpn::Http,
            None => Alpn::Nothing,
        }
    }
}

/// The oldest protocol version for clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::net) enum Oldest {
    Tls10,
    Tls11,
    Tls12,
    Tls13,
}

impl Oldest {
    pub(super) fn version(self) -> SslVersion {
        match self {
            Oldest::Tls10 => SslVersion::TLS1,
            Oldest::Tls11 => SslVersion::TLS1_1,
            Oldest::Tls12 => SslVersion::TLS1_2,
            Oldest::Tls13 => SslVersion::TLS1_3,
        }
    }

    /// The value of `ssl_protocol` or `server_protocol` if it excludes versions: `Tls10` if not.
    fn of_protocol(protocol: Option<SslProtocol>) -> Self {
        match protocol {
            Some(SslProtocol::Tls13) => Oldest::Tls13,
            Some(SslProtocol::Tls12) => Oldest::Tls12,
            _ => Oldest::Tls10,
        }
    }

    /// The oldest version for servers.
    pub(in crate::net) fn towards_servers(protocol: Option<SslProtocol>) -> Self {
        Self::of_protocol(protocol).max(Oldest::Tls12)
    }

    fn of(options: &BTreeSet<SslOption>) -> Self {
        let given = |option| options.contains(&option);
        let (no10, no11) = (given(SslOption::NoTlsv1), given(SslOption::NoTlsv11));
        let (allow10, allow11) = (given(SslOption::AllowTlsv1), given(SslOption::AllowTlsv11));
        if given(SslOption::NoTlsv12) {
            Oldest::Tls13
        } else if allow10 && !no10 && !no11 {
            Oldest::Tls10
        } else if (allow11 || allow10) && !no11 {
            Oldest::Tls11
        } else {
            Oldest::Tls12
        }
    }
}

impl TlsSettings {
    /// The TLS settings of a configuration; `None` if clients are served without TLS.
    pub fn of(settings: &Settings) -> Option<Self> {
        if settings.ssl_certfile.is_empty() {
            return None;
        }
        let several = settings.ssl_certfile.len() > 1;
        let files = |cert: &PathBuf| {
            let mut keys = settings.ssl_keyfile.clone();
            if keys.is_empty() || several {
                keys.push(cert.clone());
            }
            Files { cert: cert.clone(), keys, ocsp: settings.ssl_ocsp_response.clone() }
        };
        Some(TlsSettings {
            files: settings.ssl_certfile.iter().map(files).collect(),
            ca: settings.ssl_cacert_file.clone(),
            ca_dir: settings.ssl_cacert_dir.clone(),
            sni_path: settings.ssl_sni_path.clone(),
            require: settings.ssl_require_client_cert,
            compat: settings.ssl_compat,
            ciphers: settings.ssl_ciphers.clone(),
            alpn: Alpn::of(settings),
            oldest: Oldest::of(&settings.ssl_option).max(Oldest::of_protocol(settings.ssl_protocol)),
        })
    }
}

const NEEDS_A_WORD: &str = "pen speaks it only with ssl_option allow_tlsv1";

/// The settings that have no effect on TLS although they may seem to: one line each.
pub fn notices(settings: &Settings) -> Vec<String> {
    let mut notices = Vec::new();
    let mut say = |what: &str, why: &str| notices.push(format!("{what}: has no effect: {why}"));
    if settings.ssl_certfile.is_empty() {
        let needs = "without ssl_certfile (-E) there is no TLS";
        let given = [
            (!settings.ssl_keyfile.is_empty(), "ssl_keyfile (-K)"),
            (settings.ssl_cacert_file.is_some(), "ssl_cacert_file (-G)"),
            (settings.ssl_cacert_dir.is_some(), "ssl_cacert_dir (-A)"),
            (settings.ssl_sni_path.is_some(), "ssl_sni_path"),
            (settings.ssl_ocsp_response.is_some(), "ssl_ocsp_response"),
            (settings.ssl_alpn.is_some(), "ssl_alpn"),
            (settings.ssl_require_client_cert, "ssl_require_client_cert (-R)"),
        ];
        given.iter().filter(|(given, _)| *given).for_each(|(_, what)| say(what, needs));
        return notices;
    }
    if settings.listen.as_ref().is_some_and(|listen| listen.endpoint.host.is_path()) {
        say("ssl_certfile (-E)", "clients of a Unix socket are served without TLS");
    }
    if settings
        .ssl_protocol
        .is_some_and(|protocol| !matches!(protocol, SslProtocol::Tls12 | SslProtocol::Tls13))
    {
        say("ssl_protocol (-L)", "clients speak TLS 1.2 or newer");
    }
    let renegotiation = settings.ssl_client_renegotiation_interval;
    if renegotiation != Settings::default().ssl_client_renegotiation_interval {
        say("ssl_client_renegotiation_interval", "clients may never renegotiate");
    }
    let given = |option| settings.ssl_option.contains(&option);
    for option in &settings.ssl_option {
        let why = match option {
            SslOption::NoSslv2 | SslOption::NoSslv3 => "pen never speaks it",
            SslOption::NoTlsv1 if !given(SslOption::AllowTlsv1) => NEEDS_A_WORD,
            SslOption::NoTlsv11 if !given(SslOption::AllowTlsv11) => NEEDS_A_WORD,
            SslOption::CipherServerPreference => "pen's order of ciphers is always used",
            _ => continue,
        };
        say(&format!("ssl_option {}", option.word()), why);
    }
    notices
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::addr::Services;
    use crate::core::command::Command;
    use crate::core::config::{Config, Phase};

    fn config(lines: &[&str]) -> Settings {
        let mut config = Config::default();
        for line in lines {
            let command = Command::parse(line, &Services::parse("")).unwrap().unwrap();
            config.apply(&command, Phase::Start).unwrap();
        }
        config.settings
    }

    fn oldest(options: &[&str]) -> Oldest {
        let lines: Vec<String> = options.iter().map(|o| format!("ssl_option {o}")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).chain(["ssl_certfile /c"]).collect();
        TlsSettings::of(&config(&lines)).unwrap().oldest
    }

    #[test]
    fn old_protocols_need_a_word() {
        assert_eq!(oldest(&[]), Oldest::Tls12);
        assert_eq!(oldest(&["no_tlsv1", "no_tlsv1.1", "no_sslv3"]), Oldest::Tls12);
        assert_eq!(oldest(&["allow_tlsv1"]), Oldest::Tls10);
        assert_eq!(oldest(&["allow_tlsv1.1"]), Oldest::Tls11);
        assert_eq!(oldest(&["allow_tlsv1", "no_tlsv1"]), Oldest::Tls11);
        assert_eq!(oldest(&["allow_tlsv1", "no_tlsv1.1"]), Oldest::Tls12);
        assert_eq!(oldest(&["allow_tlsv1", "no_tlsv1.2"]), Oldest::Tls13);
    }

    #[test]
    fn the_key_may_be_in_the_certificate_s_file() {
        let files = |lines: &[&str]| TlsSettings::of(&config(lines)).unwrap().files;
        let keys = |lines: &[&str], n: usize| {
            files(lines)[n].keys.iter().map(|key| key.display().to_string()).collect::<String>()
        };
        assert_eq!(keys(&["ssl_certfile /c"], 0), "/c");
        assert_eq!(keys(&["ssl_certfile /c", "ssl_keyfile /k"], 0), "/k");
        let two = ["ssl_certfile /c", "ssl_keyfile /k", "ssl_certfile /d"];
        assert_eq!((keys(&two, 0), keys(&two, 1)), ("/k/c".into(), "/k/d".into()));
        assert!(TlsSettings::of(&config(&["ssl_keyfile /k"])).is_none());
    }

    #[test]
    fn what_has_no_effect_is_said_once() {
        assert_eq!(notices(&config(&[])), Vec::<String>::new());
        assert_eq!(notices(&config(&["ssl_keyfile /k", "ssl_require_client_cert"])).len(), 2);
        let every = ["ssl_certfile /c", "ssl_protocol ssl3", "ssl_option no_sslv2", "ssl_option no_tlsv1.2"];
        assert_eq!(notices(&config(&every)).len(), 2, "{:?}", notices(&config(&every)));
    }
}
