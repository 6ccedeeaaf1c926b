//! What the configuration says of TLS.

use std::path::PathBuf;

use openssl::ssl::SslVersion;

use crate::core::config::Config;
use crate::core::settings::{Flag, Number, Text};

/// The files of one identity, the default one or that of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Files {
    /// The certificate, and those that lead from it to an authority.
    pub(super) cert: PathBuf,
    /// Its private key.
    pub(super) key: PathBuf,
    /// The authorities of client certificates.
    pub(super) ca: Option<PathBuf>,
    /// The OCSP response to staple.
    pub(super) ocsp: Option<PathBuf>,
}

/// What contexts are made by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    pub(super) files: Files,
    pub(super) ca_dir: Option<PathBuf>,
    pub(super) sni_path: Option<PathBuf>,
    /// Whether a client must have a certificate.
    pub(super) require: bool,
    pub(super) compat: bool,
    pub(super) ciphers: Option<String>,
    pub(super) oldest: Oldest,
}

/// The oldest protocol that clients may speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Oldest {
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

    fn of(config: &Config) -> Self {
        let given = |option| config.ssl_options.contains(option);
        if given("no_tlsv1.2") {
            Oldest::Tls13
        } else if given("allow_tlsv1") && !given("no_tlsv1") && !given("no_tlsv1.1") {
            Oldest::Tls10
        } else if (given("allow_tlsv1.1") || given("allow_tlsv1")) && !given("no_tlsv1.1") {
            Oldest::Tls11
        } else {
            Oldest::Tls12
        }
    }
}

impl TlsSettings {
    /// The settings of a configuration; `None` when clients are to be served without TLS.
    pub fn of(config: &Config) -> Option<Self> {
        let path = |text| config.text(text).map(PathBuf::from);
        let cert = path(Text::SslCertfile)?;
        Some(TlsSettings {
            files: Files {
                key: path(Text::SslKeyfile).unwrap_or_else(|| cert.clone()),
                cert,
                ca: path(Text::SslCacertFile),
                ocsp: path(Text::SslOcspResponse),
            },
            ca_dir: path(Text::SslCacertDir),
            sni_path: path(Text::SslSniPath),
            require: config.flag(Flag::SslRequireClientCert),
            compat: config.flag(Flag::SslCompat),
            ciphers: config.text(Text::SslCiphers).map(str::to_owned),
            oldest: Oldest::of(config),
        })
    }
}

/// What of a configuration has no effect on TLS although it may look as if it had: a line each.
pub fn notices(config: &Config) -> Vec<String> {
    let mut notices = Vec::new();
    let mut say = |what: &str, why: &str| notices.push(format!("{what}: has no effect: {why}"));
    if config.text(Text::SslCertfile).is_none() {
        let needs = "without ssl_certfile (-E) there is no TLS";
        let texts = [
            (Text::SslKeyfile, "ssl_keyfile (-K)"),
            (Text::SslCacertFile, "ssl_cacert_file (-G)"),
            (Text::SslCacertDir, "ssl_cacert_dir (-A)"),
            (Text::SslSniPath, "ssl_sni_path"),
            (Text::SslOcspResponse, "ssl_ocsp_response"),
        ];
        texts.iter().filter(|(text, _)| config.text(*text).is_some()).for_each(|(_, what)| say(what, needs));
        if config.flag(Flag::SslRequireClientCert) {
            say("ssl_require_client_cert (-R)", needs);
        }
        return notices;
    }
    if config.text(Text::Listen).is_some_and(|listen| listen.contains('/')) {
        say("ssl_certfile (-E)", "clients of a Unix socket are served without TLS");
    }
    if config.text(Text::SslProtocol).is_some() {
        say("ssl_protocol (-L)", "clients speak TLS 1.2 or newer");
    }
    if config.number(Number::SslRenegotiation) != Number::SslRenegotiation.info().default {
        say("ssl_client_renegotiation_interval", "clients never may renegotiate");
    }
    for option in &config.ssl_options {
        let allowed =
            config.ssl_options.contains(format!("allow_{}", &option[option.len().min(3)..]).as_str());
        match *option {
            "no_sslv2" | "no_sslv3" => say(&format!("ssl_option {option}"), "pen never speaks it"),
            "no_tlsv1" | "no_tlsv1.1" if !allowed => {
                say(&format!("ssl_option {option}"), "pen speaks it only with ssl_option allow_tlsv1");
            }
            "cipher_server_preference" => {
                say(&format!("ssl_option {option}"), "pen's order of ciphers always counts");
            }
            _ => {}
        }
    }
    notices
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::addr::Services;
    use crate::core::command::Command;
    use crate::core::config::Phase;

    fn config(lines: &[&str]) -> Config {
        let mut config = Config::default();
        for line in lines {
            let command = Command::parse(line, &Services::parse("")).unwrap().unwrap();
            config.apply(&command, Phase::Start).unwrap();
        }
        config
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
        assert_eq!(files(&["ssl_certfile /c"]).key, PathBuf::from("/c"));
        assert_eq!(files(&["ssl_certfile /c", "ssl_keyfile /k"]).key, PathBuf::from("/k"));
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
