//! From a command line and its file to one configuration, or to every error in them.

use std::collections::BTreeSet;
use std::io;

use crate::cli::pen::{self, PenOptions};
use crate::core::Error;
use crate::core::addr::{Endpoint, Host, Services};
use crate::core::command::Command;
use crate::core::config::{Config, Phase};
use crate::core::config_file::{self, ConfigLine};
use crate::core::settings::{Flag, Text};
use crate::net::tls;

/// A configuration to start with.
#[derive(Debug)]
pub(super) struct LoadedConfig {
    /// The configuration.
    pub(super) config: Config,
    /// What the administrator should know, one line each.
    pub(super) notices: Vec<String>,
    /// Servers to leave out at first, and for how many seconds.
    pub(super) blacklists: Vec<(usize, u32)>,
    /// The server slots that the file names.
    pub(super) file_servers: BTreeSet<usize>,
}

/// PenOptions first, then the file, which wins; then the servers of the command line, which win in their slots.
///
/// # Errors
/// All that is wrong, one line each, with the option or `FILE:LINE`.
pub(super) fn load(options: &PenOptions, services: &Services) -> Result<LoadedConfig, Vec<String>> {
    let mut config = Config::default();
    let mut notices = options.notices.clone();
    let mut blacklists = Vec::new();
    let mut file_servers = BTreeSet::new();
    let mut errors = options.errors.clone();
    let mut apply =
        |config: &mut Config, lines: &[ConfigLine]| match config_file::apply(config, lines, Phase::Start) {
            Ok(applied) => {
                notices.extend(applied.notices);
                blacklists.extend(applied.blacklists);
                Some(applied.servers)
            }
            Err(bad) => {
                errors.extend(bad);
                None
            }
        };
    let (included, mut load_errors) = expand(&options.lines, services);
    apply(&mut config, &included);
    if let Some(file) = &options.file {
        match config_file::load(file, services, &read) {
            Ok(lines) => file_servers = apply(&mut config, &lines).unwrap_or_default(),
            Err(bad) => load_errors.extend(bad),
        }
    }
    if let (Some(listen), None) = (&options.listen, config.text(Text::Listen)) {
        match Command::parse(&format!("listen {}", crate::core::lexer::quote(listen)), services) {
            Ok(Some(command)) => _ = apply(&mut config, &[ConfigLine::option("listening address", command)]),
            Ok(None) => {}
            Err(refusal) => load_errors.push(format!("{refusal}")),
        }
    }
    let port = listening(&config, services).filter(|e| !matches!(e.host, Host::Unix(_))).map(|e| e.port);
    for (n, operand) in options.servers.iter().enumerate() {
        match pen::server(n, operand, port, services) {
            Ok(command) => _ = apply(&mut config, &[ConfigLine::option("server", command)]),
            Err(error) => load_errors.push(format!("server '{operand}': {error}")),
        }
    }
    errors.extend(load_errors);
    if config.text(Text::Listen).is_none() && errors.is_empty() {
        errors.push("no listening address: give [host:]port or a path, or a listen line in the file of -F; see --help".into());
    }
    if let Err(error) = validate(&config, services) {
        errors.push(error.to_string());
    }
    warn(&config, &mut notices);
    if errors.is_empty() {
        Ok(LoadedConfig { config, notices, blacklists, file_servers })
    } else {
        Err(errors)
    }
}

/// `-O 'include FILE'` stands for the file's lines.
fn expand(lines: &[ConfigLine], services: &Services) -> (Vec<ConfigLine>, Vec<String>) {
    let mut expanded = Vec::new();
    let mut errors = Vec::new();
    for line in lines {
        match &line.command {
            Command::Include(file) => match config_file::load(file, services, &read) {
                Ok(lines) => expanded.extend(lines),
                Err(bad) => errors.extend(bad),
            },
            _ => expanded.push(line.clone()),
        }
    }
    (expanded, errors)
}

/// What a configuration cannot be, whoever changes it.
///
/// # Errors
/// A setting that this pen cannot serve with.
pub(super) fn validate(config: &Config, services: &Services) -> Result<(), Error> {
    if !config.flag(Flag::Udp) {
        return Ok(());
    }
    let excluded = |other: &str, why: &str| Err(Error::new(format!("-U (udp) excludes {other}: {why}")));
    if tls::TlsSettings::of(config).is_some() {
        return excluded("-E (ssl_certfile)", "TLS needs connections");
    }
    for (flag, other) in [(Flag::Http, "-H (http)"), (Flag::Dummy, "dummy")] {
        if config.flag(flag) {
            return excluded(other, "HTTP needs connections");
        }
    }
    let unix = |host: &Host| matches!(host, Host::Unix(_));
    if let Some(Endpoint { host: Host::Unix(path), .. }) = listening(config, services) {
        return excluded(&format!("the listening address {path}"), "a Unix socket takes connections only");
    }
    let special = |(text, name)| {
        let host = Endpoint::with_port(config.text(text)?, services).ok()?.host;
        unix(&host).then(|| format!("the {name} server {host}"))
    };
    let numbered = config.servers.iter().enumerate().find_map(|(n, server)| {
        server.host.as_ref().filter(|host| unix(host)).map(|host| format!("server {n} {host}"))
    });
    let server = numbered
        .or_else(|| [(Text::Emergency, "emergency"), (Text::Abuse, "abuse")].into_iter().find_map(special));
    match server {
        Some(server) => excluded(&server, "a Unix socket takes connections only"),
        None => Ok(()),
    }
}

fn warn(config: &Config, notices: &mut Vec<String>) {
    notices.extend(tls::notices(config));
    let used = || config.servers.iter().filter(|s| s.host.is_some() && s.port != 0);
    if used().count() == 0 {
        notices.push("no servers: clients are closed until a server command names one".into());
    } else if config.flag(Flag::Weight) && !config.flag(Flag::Prio) && used().all(|s| s.weight == 0) {
        notices.push("weight: every server has weight 0, so nobody is served".into());
    }
    if let Some(control) = config.text(Text::Control)
        && !control.contains('/')
        && !control.contains(':')
        && config.acl(config.number(crate::core::settings::Number::ControlAcl) as usize).is_empty()
    {
        notices.push(format!("control {control}: open to every address, as no control_acl guards it"));
    }
}

/// The address to listen on.
pub(super) fn listening(config: &Config, services: &Services) -> Option<Endpoint> {
    Endpoint::listening(config.text(Text::Listen)?, services).ok()
}

/// Reads a file of commands.
///
/// # Errors
/// As the system says; text that is not UTF-8.
pub(super) fn read(file: &str) -> io::Result<String> {
    std::fs::read_to_string(file)
}

/// The services of this machine.
pub(super) fn services() -> Services {
    Services::parse(&std::fs::read_to_string("/etc/services").unwrap_or_default())
}
