//! Commands from files and options: read as a whole, applied as a whole or not at all.

use super::addr::Services;
use super::command::Command;
use super::command::server_keys::Change;
use super::config::{Config, Phase};
use super::error::{Error, Fault, Place};
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// How deep files may include each other.
const DEPTH_MAX: usize = 8;

/// A command and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigLine {
    /// Where.
    pub at: Place,
    /// The command.
    pub command: Command,
}

impl ConfigLine {
    /// A command that an option stands for.
    pub fn option(at: &str, command: Command) -> Self {
        ConfigLine { at: Place::Option(at.to_owned()), command }
    }
}

/// What applying a script leaves to be done and said.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AppliedLines {
    /// What is asked for and needs a restart.
    pub notices: Vec<Error>,
    /// Servers to leave out, and for how long from now.
    pub blacklists: Vec<(usize, Duration)>,
    /// Server slots that were named.
    pub servers: BTreeSet<usize>,
}

/// Reads a file of commands and every file that it includes. `read` returns a file's text.
///
/// # Errors
/// Every bad line; files that cannot be read; files that include each other without end.
pub fn load(
    file: &str,
    services: &Services,
    read: &dyn Fn(&str) -> io::Result<String>,
) -> Result<Vec<ConfigLine>, Vec<Error>> {
    let mut loader = Loader { services, read, lines: Vec::new(), errors: Vec::new() };
    loader.file(file, None, 0);
    if loader.errors.is_empty() { Ok(loader.lines) } else { Err(loader.errors) }
}

struct Loader<'a> {
    services: &'a Services,
    read: &'a dyn Fn(&str) -> io::Result<String>,
    lines: Vec<ConfigLine>,
    errors: Vec<Error>,
}

impl Loader<'_> {
    /// Reads one file; `from` is the line that includes it.
    fn file(&mut self, file: &str, from: Option<&Place>, depth: usize) {
        if depth > DEPTH_MAX {
            return self.refuse(
                Error::new(format!("files include each other more than {DEPTH_MAX} deep")),
                file,
                from,
            );
        }
        let text = match (self.read)(file) {
            Ok(text) => text,
            Err(error) => return self.refuse(Error::failed("cannot be read", error), file, from),
        };
        let name: Arc<str> = file.into();
        for (n, text) in text.lines().enumerate() {
            let at = Place::Line(Arc::clone(&name), n + 1);
            match Command::parse(text, self.services) {
                Ok(None) => {}
                Ok(Some(Command::Include(inner))) => self.file(&inner, Some(&at), depth + 1),
                Ok(Some(command)) => self.lines.push(ConfigLine { at, command }),
                Err(error) => self.errors.push(error.at(&at)),
            }
        }
    }

    fn refuse(&mut self, error: Error, file: &str, from: Option<&Place>) {
        self.errors.push(match from {
            Some(from) => error.of(file).at(from),
            None => error.at(&Place::File(file.into())),
        });
    }
}

/// Applies all lines to a configuration. The first mention of an access list empties it, so that a file read twice does not double it.
///
/// # Errors
/// Every line that is not a setting. The configuration is then half changed and to be thrown away.
pub fn apply(config: &mut Config, lines: &[ConfigLine], phase: Phase) -> Result<AppliedLines, Vec<Error>> {
    let mut applied = AppliedLines::default();
    let mut errors = Vec::new();
    let mut lists = BTreeSet::new();
    for ConfigLine { at, command } in lines {
        match command {
            Command::Acl(n, _) | Command::NoAcl(n) if lists.insert(*n) => {
                // Emptying a list is a setting in every phase.
                _ = config.apply(&Command::NoAcl(*n), phase);
            }
            Command::Server(n, changes) => {
                applied.servers.insert(*n);
                applied.blacklists.extend(changes.iter().filter_map(|change| match change {
                    Change::Blacklist(time) => Some((*n, *time)),
                    _ => None,
                }));
            }
            _ => {}
        }
        match config.apply(command, phase).map_err(|error| error.at(at)) {
            Ok(()) => {}
            Err(error) if *error.fault() == Fault::NeedsRestart => applied.notices.push(error),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(applied) } else { Err(errors) }
}

/// The same error with its place: that of the last of `lines` that gives the setting it is about, or the file as a whole.
pub fn locate(error: Error, lines: &[ConfigLine], file: &str) -> Error {
    let about = |line: &&ConfigLine| match &line.command {
        Command::Set(setting, _) => error.subject() == Some(setting.word()),
        _ => false,
    };
    match lines.iter().rev().find(about) {
        Some(line) => error.at(&line.at),
        None => error.at(&Place::File(file.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(path: &str) -> io::Result<String> {
        match path {
            "a" => Ok("# comment\nblacklist 5\ninclude b\nroundrobin\n".into()),
            "b" => Ok("acl 1 permit 10.0.0.1\nacl 1 permit 10.0.0.2\n".into()),
            "loop" => Ok("include loop\n".into()),
            "bad" => Ok("hash\nblacklist abc\n\nfrobnicate\ninclude none\n".into()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    #[test]
    fn every_error_is_told_with_its_place() {
        let errors = load("bad", &Services::default(), &files).unwrap_err();
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(errors.len(), 3, "{errors:?}");
        assert!(errors[0].starts_with("bad:2: blacklist: expected "), "{errors:?}");
        assert!(errors[1].starts_with("bad:4: 'frobnicate'"), "{errors:?}");
        assert!(errors[2].starts_with("bad:5: none: cannot be read"), "{errors:?}");
        assert_eq!(load("loop", &Services::default(), &files).unwrap_err().len(), 1);
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
}
