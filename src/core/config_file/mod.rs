//! Commands from files and options: parsed as a whole, applied completely or not at all.

mod bounded;
mod line;
mod line_index;
mod loader;
mod report;
mod slots;

pub use line::ConfigLine;
pub use line_index::LineIndex;
pub use loader::{FileLines, load};
pub use report::ErrorReport;

use bounded::Bounded;
use slots::{AddedNames, NumberedSlots};

use super::command::server_keys::{ServerChange, ServerConfig, ServerKey};
use super::command::{Command, ServerRef};
use super::config::{Config, Phase};
use super::error::{Error, Fault};
use std::collections::BTreeSet;
use std::time::Duration;

/// What remains to do and to report after lines were applied.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AppliedLines {
    /// Settings that need a restart to take effect.
    pub notices: Vec<Error>,
    /// Servers to blacklist, and for how long from now.
    pub blacklists: Vec<(usize, Duration)>,
    /// The settings that the lines name.
    pub named: BTreeSet<Subject>,
    /// The old and the new slots of servers that have given way to others, to which the lines give an address by number.
    pub moved: Vec<(usize, usize)>,
}

/// The setting, list or key that a command is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A setting, by its word.
    Setting(&'static str),
    /// An access list.
    Acl(usize),
    /// A key of a server, by its word.
    Server(usize, &'static str),
}

impl Subject {
    /// The subject of `command`, unless it is about a server.
    fn of(command: &Command) -> Option<Self> {
        match command {
            Command::Set(setting, _) => Some(Subject::Setting(setting.word())),
            Command::Acl(n, _) | Command::NoAcl(n) => Some(Subject::Acl(*n)),
            _ => None,
        }
    }
}

/// The part of a command of [`Config::changes_from`] whose subjects are `wanted`.
pub fn part_about(command: Command, wanted: impl Fn(Subject) -> bool) -> Option<Command> {
    match command {
        Command::Server(ServerRef::Slot(n), mut changes) => {
            changes.retain(|change| change.key().is_some_and(|key| wanted(Subject::Server(n, key.word()))));
            (!changes.is_empty()).then_some(Command::Server(ServerRef::Slot(n), changes))
        }
        command => Subject::of(&command).is_some_and(wanted).then_some(command),
    }
}

/// Applies all lines to a configuration. The first mention of an access list empties it, so that reading a file twice
/// does not double it. A server to which lines give an address by number and one that they add by name are two. `report` gets the
/// lines that are not settings; `from` is the number of lines before these.
pub fn apply(
    config: &mut Config,
    lines: &[ConfigLine],
    from: usize,
    phase: Phase,
    report: &mut ErrorReport,
) -> AppliedLines {
    apply_with(config, lines, from, phase, report, (&NumberedSlots::new(lines), Some(AddedNames::default())))
}

/// The same for lines that are read once, as those of `include`: a server may get one name after the other.
pub fn apply_once(config: &mut Config, lines: &[ConfigLine], report: &mut ErrorReport) -> AppliedLines {
    apply_with(config, lines, 0, Phase::Running, report, (&NumberedSlots::new(lines), None))
}

/// The same at start, for a configuration in whose place another one is in force: servers that lines add by name get the slots that they
/// have there, whatever the order of the lines, since connections, counts and clients belong to slots.
pub fn apply_in_place_of(
    present: &Config,
    config: &mut Config,
    lines: &[ConfigLine],
    report: &mut ErrorReport,
) -> AppliedLines {
    let numbered = NumberedSlots::new(lines).and_those_of(present, lines);
    apply_with(config, lines, 0, Phase::Start, report, (&numbered, Some(AddedNames::default())))
}

fn apply_with(
    config: &mut Config,
    lines: &[ConfigLine],
    from: usize,
    phase: Phase,
    report: &mut ErrorReport,
    (numbered, mut names): (&NumberedSlots, Option<AddedNames>),
) -> AppliedLines {
    let mut applied = AppliedLines::default();
    let mut notices = Bounded::default();
    let mut lists = BTreeSet::new();
    applied.moved = numbered.clear(config, lines);
    for (line, ConfigLine { at, command }) in lines.iter().enumerate() {
        applied.named.extend(Subject::of(command));
        if let Err(error) = numbered.spare(config, command) {
            report.line(from + line, error.at(at));
            continue;
        }
        match command {
            Command::Acl(n, _) | Command::NoAcl(n) if lists.insert(*n) => {
                // Emptying a list is allowed in every phase.
                _ = config.apply(&Command::NoAcl(*n), phase);
            }
            Command::Server(server, changes) => {
                // `Config::apply` returns the error, if there is one.
                if let Ok(n) = config.target(server, changes) {
                    if let Some(Err(error)) =
                        names.as_mut().map(|names| names.note(n, server, changes, numbered))
                    {
                        report.line(from + line, error.at(at));
                        continue;
                    }
                    let keys = changes.iter().filter_map(ServerChange::key).map(ServerKey::word);
                    let name = matches!(server, ServerRef::Name(_)).then(|| ServerConfig::name().word());
                    applied.named.extend(keys.chain(name).map(|word| Subject::Server(n, word)));
                    applied.blacklists.extend(changes.iter().filter_map(|change| match change {
                        ServerChange::Blacklist(time) => Some((n, *time)),
                        _ => None,
                    }));
                }
            }
            Command::NoServer(server) => {
                if let (Some(names), Some(n)) = (&mut names, config.slot(server)) {
                    names.forget(n);
                }
            }
            _ => {}
        }
        match config.apply(command, phase).map_err(|error| error.at(at)) {
            Ok(()) => {}
            Err(error) if *error.fault() == Fault::NeedsRestart => notices.push(line, error),
            Err(error) => report.line(from + line, error),
        }
    }
    applied.notices = notices.into_shown("settings that need a restart");
    applied
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{AppliedLines, Config, ConfigLine, Error, ErrorReport, Phase};
    use crate::core::addr::Services;
    use crate::core::command::Command;
    use std::io;

    /// The commands of a file, or all its errors.
    pub(crate) fn load(
        file: &str,
        services: &Services,
        read: &dyn Fn(&str) -> io::Result<Vec<u8>>,
    ) -> Result<Vec<ConfigLine>, Vec<Error>> {
        let loaded = super::load(file, services, read);
        let mut report = ErrorReport::default();
        report.read(&loaded, 0);
        if report.is_empty() { Ok(loaded.lines) } else { Err(report.into_errors()) }
    }

    /// Applies lines completely, or returns all their errors.
    pub(crate) fn apply(
        config: &mut Config,
        lines: &[ConfigLine],
        phase: Phase,
    ) -> Result<AppliedLines, Vec<Error>> {
        let mut report = ErrorReport::default();
        let applied = super::apply(config, lines, 0, phase, &mut report);
        if report.is_empty() { Ok(applied) } else { Err(report.into_errors()) }
    }

    /// The configuration that these lines make, and the lines as read from the file `f`.
    pub(crate) fn made_of(text: &str) -> (Config, Vec<ConfigLine>) {
        let lines = load("f", &Services::default(), &|_| Ok(text.into())).unwrap();
        let mut config = Config::default();
        apply(&mut config, &lines, Phase::Start).unwrap();
        (config, lines)
    }

    fn files(path: &str) -> io::Result<Vec<u8>> {
        match path {
            "a" => Ok("# comment\nblacklist 5\ninclude b\nroundrobin\n".into()),
            "b" => Ok("acl 1 permit 10.0.0.1\nacl 1 permit 10.0.0.2\n".into()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    #[test]
    fn a_file_read_twice_is_the_same_as_once() {
        let lines = load("a", &Services::default(), &files).unwrap();
        assert_eq!(lines[1].at.to_string(), "b:1");
        let mut config = Config::default();
        apply(&mut config, &lines, Phase::Start).unwrap();
        let once = config.clone();
        apply(&mut config, &lines, Phase::Running).unwrap();
        assert_eq!(config, once);
        assert_eq!(config.acl(1).entries().len(), 2);
    }

    #[test]
    fn questions_do_not_belong_in_a_file() {
        let lines = [ConfigLine::option("x:1", Command::Servers)];
        assert!(apply(&mut Config::default(), &lines, Phase::Start).is_err());
    }

    #[test]
    fn a_hundred_lines_that_cannot_be_applied_are_told_and_the_rest_counted() {
        let text = |errors: &[Error]| errors.iter().map(ToString::to_string).collect::<Vec<_>>();
        let lines =
            |word: &str| load("f", &Services::default(), &|_| Ok(format!("{word}\n").repeat(1000).into()));
        let errors =
            text(&apply(&mut Config::default(), &lines("servers").unwrap(), Phase::Running).unwrap_err());
        assert_eq!(errors.len(), 101);
        assert!(errors[99].starts_with("f:100: "), "{errors:?}");
        assert_eq!(errors[100], "f:1000: 900 more errors are not shown");
        let applied = apply(&mut Config::default(), &lines("chroot /x").unwrap(), Phase::Running).unwrap();
        let notices = text(&applied.notices);
        assert_eq!(notices.len(), 101);
        assert_eq!(notices[100], "f:1000: 900 more settings that need a restart are not shown");
    }
}
