//! Reads a command line and its file into one configuration, or returns all their errors.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use crate::cli::pen::{self, PenOptions};
use crate::core::Error;
use crate::core::addr::Services;
use crate::core::command::Command;
use crate::core::config::{Config, Phase};
use crate::core::config_file::{self, ConfigLine, ErrorReport, LineIndex, Subject};
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
    /// All that is wrong, each with the option or `FILE:LINE`. If there is anything, the rest only serves to find
    /// further errors.
    pub(super) report: ErrorReport,
    /// The file of `-F`.
    pub(super) file: Option<String>,
}

impl LoadedConfig {
    /// Adds errors in what the configuration names.
    pub(super) fn add(&mut self, errors: Vec<Error>) {
        if !errors.is_empty() {
            let index = LineIndex::new(&self.lines, &self.config);
            self.report.whole(errors, &index, self.file.as_deref());
        }
    }
}

/// Loads the options first, then the file, which overrides them, then the servers of the command line, which override
/// their slots.
pub(super) fn load(options: &PenOptions, services: &Services) -> LoadedConfig {
    let mut loaded = LoadedConfig {
        config: Config::default(),
        notices: options.notices.clone(),
        blacklists: Vec::new(),
        lines: Vec::new(),
        file_named: BTreeSet::new(),
        command_line: Config::default(),
        report: ErrorReport::default(),
        file: options.file.clone(),
    };
    options.errors.iter().for_each(|error| loaded.report.first(error.clone()));
    let mut lines = Vec::new();
    for line in &options.lines {
        match &line.command {
            Command::Include(file) => {
                let file = config_file::load(file, services, &read);
                loaded.report.read(&file, lines.len());
                lines.extend(file.lines);
            }
            _ => lines.push(line.clone()),
        }
    }
    loaded.apply(lines);
    loaded.command_line = loaded.config.clone();
    if let Some(file) = &options.file {
        let read = |name: &str| if name == file { read_at_start(name) } else { read(name) };
        let file = config_file::load(file, services, &read);
        loaded.report.read(&file, loaded.lines.len());
        loaded.file_named = loaded.apply(file.lines);
    }
    let overridden = overridden(options, &loaded.config, services);
    if let (Some(listen), None) = (&options.listen, &loaded.command_line.settings.listen) {
        match ValueKind::Listen.parse(&Word::plain(listen), services) {
            Ok(address) => {
                let set = |config: &mut Config| Settings::listen().set(&mut config.settings, &address);
                if loaded.config.settings.listen.is_none() {
                    set(&mut loaded.config);
                }
                set(&mut loaded.command_line);
            }
            // The address of the file is used instead.
            Err(_) if loaded.config.settings.listen.is_some() => {}
            Err(error) => loaded.report.first(error.of("listen")),
        }
    }
    let port = loaded.config.listening().filter(|e| !e.host.is_path()).map(|e| e.port);
    for (n, operand) in options.servers.iter().enumerate() {
        match pen::server(n, operand, port, services) {
            Ok(command) => {
                let line = ConfigLine { at: Place::Operand(operand.clone()), command };
                // Operands name no server that could be missing.
                _ = loaded.command_line.apply(&line.command, Phase::Start);
                loaded.apply(vec![line]);
            }
            Err(error) => loaded.report.line(loaded.lines.len(), error),
        }
    }
    if loaded.config.settings.listen.is_none() && loaded.report.is_empty() {
        let expected = "[host:]port, a path, or a listen line in the file of -F (see --help)";
        loaded.report.first(Error::missing(expected).of("listening address"));
    }
    loaded.notices.extend(overridden);
    let bound = own_address::first_address();
    let mut errors = loaded.config.errors();
    errors.extend(
        loaded.config.own_servers(&|socket, host, port| own_address::is_own(socket, &bound, host, port)),
    );
    loaded.add(errors);
    let index = LineIndex::new(&loaded.lines, &loaded.config);
    loaded.notices.extend(tls::notices(&loaded.config.settings));
    loaded
        .notices
        .extend(loaded.config.warnings().into_iter().map(|warning| index.place(warning).to_string()));
    loaded
}

impl LoadedConfig {
    /// Applies lines behind those that are applied already. Returns what they name.
    fn apply(&mut self, lines: Vec<ConfigLine>) -> BTreeSet<Subject> {
        let from = self.lines.len();
        let applied = config_file::apply(&mut self.config, &lines, from, Phase::Start, &mut self.report);
        self.notices.extend(applied.notices.iter().map(Error::to_string));
        self.blacklists.extend(applied.blacklists);
        self.lines.extend(lines);
        applied.named
    }
}

/// The message that the first operand is not used because a `listen` command names another address.
fn overridden(options: &PenOptions, config: &Config, services: &Services) -> Option<String> {
    let (operand, set) = (options.listen.as_ref()?, config.settings.listen.as_ref()?);
    let operand_value = ValueKind::Listen.parse(&Word::plain(operand), services);
    let same = matches!(operand_value, Ok(Value::Listen(address)) if address == *set);
    (!same).then(|| format!("listening address {operand}: not used, since {set} is set by listen"))
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
