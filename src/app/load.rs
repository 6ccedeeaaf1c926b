//! Reads a command line and its file into one configuration, or returns all their errors.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use crate::cli::pen::{self, PenOptions};
use crate::core::Error;
use crate::core::addr::Services;
use crate::core::command::Command;
use crate::core::config::{Config, Phase};
use crate::core::config_file::{self, ConfigLine, Subject};
use crate::core::error::Place;
use crate::core::lexer::Word;
use crate::core::settings::{Settings, Value, ValueKind};
use crate::net::tls;
use crate::sys::read_file;

use super::own_address;

/// The configuration that pen starts with.
#[derive(Debug)]
pub(super) struct LoadedConfig {
    /// The configuration.
    pub(super) config: Config,
    /// Messages for the administrator, one line each.
    pub(super) notices: Vec<String>,
    /// Servers that are blacklisted at first, and for how long.
    pub(super) blacklists: Vec<(usize, Duration)>,
    /// All lines, in the order in which they apply.
    pub(super) lines: Vec<ConfigLine>,
    /// The settings that the file names.
    pub(super) file_named: BTreeSet<Subject>,
    /// The configuration without the file.
    pub(super) command_line: Config,
}

/// Loads the options first, then the file, which overrides them, then the servers of the command line, which override
/// their slots.
///
/// # Errors
/// All errors, one line each, with the option or `FILE:LINE`.
pub(super) fn load(options: &PenOptions, services: &Services) -> Result<LoadedConfig, Vec<Error>> {
    let mut config = Config::default();
    let mut notices = options.notices.clone();
    let mut blacklists = Vec::new();
    let mut file_named = BTreeSet::new();
    let mut errors = options.errors.clone();
    let mut apply =
        |config: &mut Config, lines: &[ConfigLine]| match config_file::apply(config, lines, Phase::Start) {
            Ok(applied) => {
                notices.extend(applied.notices.iter().map(Error::to_string));
                blacklists.extend(applied.blacklists);
                Some(applied.named)
            }
            Err(bad) => {
                errors.extend(bad);
                None
            }
        };
    let (included, mut load_errors) = expand(&options.lines, services);
    apply(&mut config, &included);
    let mut all = included;
    let mut command_line = config.clone();
    if let Some(file) = &options.file {
        match config_file::load(file, services, &|name| {
            if name == file { read_at_start(name) } else { read(name) }
        }) {
            Ok(lines) => {
                file_named = apply(&mut config, &lines).unwrap_or_default();
                all.extend(lines);
            }
            Err(bad) => load_errors.extend(bad),
        }
    }
    let overridden = overridden(options, &config, services);
    if let (Some(listen), None) = (&options.listen, &command_line.settings.listen) {
        match ValueKind::Listen.parse(&Word::plain(listen), services) {
            Ok(address) => {
                let lines =
                    [ConfigLine::option("listening address", Command::Set(Settings::listen(), address))];
                if config.settings.listen.is_none() {
                    _ = apply(&mut config, &lines);
                }
                _ = apply(&mut command_line, &lines);
            }
            // The address of the file is used instead.
            Err(_) if config.settings.listen.is_some() => {}
            Err(error) => load_errors.push(error.of("listen")),
        }
    }
    let port = config.listening().filter(|e| !e.host.is_path()).map(|e| e.port);
    for (n, operand) in options.servers.iter().enumerate() {
        match pen::server(n, operand, port, services) {
            Ok(command) => {
                let line = ConfigLine { at: Place::Operand(operand.clone()), command };
                _ = apply(&mut config, std::slice::from_ref(&line));
                _ = apply(&mut command_line, std::slice::from_ref(&line));
                all.push(line);
            }
            Err(error) => load_errors.push(error),
        }
    }
    errors.extend(load_errors);
    if config.settings.listen.is_none() && errors.is_empty() {
        let expected = "[host:]port, a path, or a listen line in the file of -F (see --help)";
        errors.push(Error::missing(expected).of("listening address"));
    }
    notices.extend(overridden);
    let bound = own_address::first_address();
    let checked = config.check().and_then(|()| {
        config.check_servers(&|socket, host, port| own_address::is_own(socket, &bound, host, port))
    });
    errors.extend(checked.err().map(|error| config_file::find(error, &all, &config)));
    notices.extend(tls::notices(&config.settings));
    notices.extend(
        config.warnings().into_iter().map(|warning| config_file::find(warning, &all, &config).to_string()),
    );
    if errors.is_empty() {
        Ok(LoadedConfig { config, notices, blacklists, lines: all, file_named, command_line })
    } else {
        Err(errors)
    }
}

/// The message that the first operand is not used because a `listen` command names another address.
fn overridden(options: &PenOptions, config: &Config, services: &Services) -> Option<String> {
    let (operand, set) = (options.listen.as_ref()?, config.settings.listen.as_ref()?);
    let operand_value = ValueKind::Listen.parse(&Word::plain(operand), services);
    let same = matches!(operand_value, Ok(Value::Listen(address)) if address == *set);
    (!same).then(|| format!("listening address {operand}: not used, since {set} is set by listen"))
}

/// Replaces `-O 'include FILE'` by the file's lines.
fn expand(lines: &[ConfigLine], services: &Services) -> (Vec<ConfigLine>, Vec<Error>) {
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

/// Reads the file of -F before pen serves, when it may still be a FIFO or `/dev/stdin`.
fn read_at_start(file: &str) -> io::Result<Vec<u8>> {
    read_file::read_at_start(file.as_ref())
}

/// Reads a file of commands.
///
/// # Errors
/// See [`read_file::read`].
pub(super) fn read(file: &str) -> io::Result<Vec<u8>> {
    read_file::read(file.as_ref())
}

/// The services of this machine.
pub(super) fn services() -> Services {
    Services::parse(&std::fs::read_to_string("/etc/services").unwrap_or_default())
}
