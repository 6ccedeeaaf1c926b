//! Commands from files and options: parsed as a whole, applied completely or not at all.

use super::addr::Services;
use super::command::server_keys::{Change, ServerConfig, ServerKey};
use super::command::{Command, ServerRef};
use super::config::{Config, Phase};
use super::error::{Error, Fault, Place};
use super::lexer;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// The maximum depth of nested includes.
const DEPTH_MAX: usize = 8;
/// The maximum number of files read for one file, including itself.
const FILES_MAX: usize = 64;
/// The maximum number of errors that are reported individually.
const ERRORS_MAX: usize = 100;

/// A command and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigLine {
    /// Its place.
    pub at: Place,
    /// The command.
    pub command: Command,
}

impl ConfigLine {
    /// The command that an option stands for.
    pub fn option(at: &str, command: Command) -> Self {
        ConfigLine { at: Place::Option(at.to_owned()), command }
    }
}

/// What remains to do and to report after lines were applied.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AppliedLines {
    /// Settings that need a restart to take effect.
    pub notices: Vec<Error>,
    /// Servers to blacklist, and for how long from now.
    pub blacklists: Vec<(usize, Duration)>,
    /// The settings that the lines name.
    pub named: BTreeSet<Subject>,
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

/// Reads a file of commands and every file that it includes. `read` returns a file's bytes.
///
/// # Errors
/// All bad lines; files that cannot be read; files that include each other without end.
pub fn load(
    file: &str,
    services: &Services,
    read: &dyn Fn(&str) -> io::Result<Vec<u8>>,
) -> Result<Vec<ConfigLine>, Vec<Error>> {
    let mut loader = Loader {
        services,
        read,
        lines: Vec::new(),
        open: Vec::new(),
        files: 0,
        errors: Vec::new(),
        unreported: 0,
    };
    loader.file(file, None);
    if loader.errors.is_empty() { Ok(loader.lines) } else { Err(loader.into_errors(file)) }
}

struct Loader<'a> {
    services: &'a Services,
    read: &'a dyn Fn(&str) -> io::Result<Vec<u8>>,
    lines: Vec<ConfigLine>,
    /// The names of the files that are open, each included by the one before.
    open: Vec<String>,
    /// The number of files read so far.
    files: usize,
    errors: Vec<Error>,
    /// The number of errors that are not reported individually.
    unreported: usize,
}

impl Loader<'_> {
    /// Reads one file; `from` is the line that includes it.
    fn file(&mut self, file: &str, from: Option<&Place>) {
        if let Some(what) = self.unsuitable(file) {
            return self.refuse(Error::new(what), file, from);
        }
        self.files += 1;
        let text = match (self.read)(file) {
            Ok(text) => text,
            Err(error) => return self.refuse(Error::failed("cannot be read", error), file, from),
        };
        // Editors of other systems begin a file of UTF-8 with a byte order mark, which nobody sees.
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
        self.open.push(file.to_owned());
        let name: Arc<str> = file.into();
        for (n, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let at = Place::Line(Arc::clone(&name), n + 1);
            match text_of(line).and_then(|line| Command::parse(&line, self.services)) {
                Ok(None) => {}
                Ok(Some(Command::Include(inner))) => self.file(&inner, Some(&at)),
                Ok(Some(command)) => self.lines.push(ConfigLine { at, command }),
                Err(error) => self.report(error.at(&at)),
            }
        }
        self.open.pop();
    }

    /// Why a file must not be read now.
    fn unsuitable(&self, file: &str) -> Option<String> {
        if self.open.iter().any(|open| open == file) {
            Some("a file cannot include itself, nor one that includes it".to_owned())
        } else if self.open.len() > DEPTH_MAX {
            Some(format!("files include each other more than {DEPTH_MAX} deep"))
        } else if self.files >= FILES_MAX {
            Some(format!("more than {FILES_MAX} files are included"))
        } else {
            None
        }
    }

    fn refuse(&mut self, error: Error, file: &str, from: Option<&Place>) {
        self.report(match from {
            Some(from) => error.of(file).at(from),
            None => error.at(&Place::File(file.into())),
        });
    }

    fn report(&mut self, error: Error) {
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(error);
        } else {
            self.unreported += 1;
        }
    }

    /// All errors, with the number of those that are not reported individually.
    fn into_errors(mut self, file: &str) -> Vec<Error> {
        if self.unreported > 0 {
            let more = Error::new(format!("{} more errors are not shown", self.unreported));
            self.errors.push(more.at(&Place::File(file.into())));
        }
        self.errors
    }
}

/// A line as text. Comments may contain any bytes.
fn text_of(line: &[u8]) -> Result<Cow<'_, str>, Error> {
    let text = String::from_utf8_lossy(line);
    let bad = |text: &str| {
        !text.trim_start_matches([' ', '\t']).starts_with('#')
            && lexer::words(text).is_ok_and(|words| words.iter().any(|word| word.holds('\u{fffd}')))
    };
    if std::str::from_utf8(line).is_err() && bad(&text) {
        let got = line.escape_ascii().to_string();
        return Err(Error::new(format!("expected UTF-8 outside of comments, got {got}")));
    }
    Ok(text)
}

/// Applies all lines to a configuration. The first mention of an access list empties it, so that reading a file twice
/// does not double it.
///
/// # Errors
/// All lines that are not settings. The configuration is then partly changed and must be discarded.
pub fn apply(config: &mut Config, lines: &[ConfigLine], phase: Phase) -> Result<AppliedLines, Vec<Error>> {
    let mut applied = AppliedLines::default();
    let mut errors = Vec::new();
    let mut lists = BTreeSet::new();
    for ConfigLine { at, command } in lines {
        applied.named.extend(Subject::of(command));
        match command {
            Command::Acl(n, _) | Command::NoAcl(n) if lists.insert(*n) => {
                // Emptying a list is allowed in every phase.
                _ = config.apply(&Command::NoAcl(*n), phase);
            }
            Command::Server(server, changes) => {
                // `apply` reports the error, if there is one.
                if let Ok(n) = config.target(server, changes) {
                    let keys = changes.iter().filter_map(Change::key).map(ServerKey::word);
                    let name = matches!(server, ServerRef::Name(_)).then(|| ServerConfig::name().word());
                    applied.named.extend(keys.chain(name).map(|word| Subject::Server(n, word)));
                    applied.blacklists.extend(changes.iter().filter_map(|change| match change {
                        Change::Blacklist(time) => Some((n, *time)),
                        _ => None,
                    }));
                }
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

/// The same error with a place: the one that [`find`] returns, or the file as a whole.
pub fn locate(error: Error, lines: &[ConfigLine], config: &Config, file: &str) -> Error {
    find(error, lines, config).at(&Place::File(file.into()))
}

/// The same error with a place: the last of `lines`, which have made `config`, that sets the setting or the server that
/// the error is about, or else the first one that names the file. Without a place if there is no such line.
pub fn find(error: Error, lines: &[ConfigLine], config: &Config) -> Error {
    let text = error.to_string();
    let about = |line: &&ConfigLine| match &line.command {
        Command::Set(setting, value) => {
            error.subject() == Some(setting.word())
                || (setting.spec().tls && text.starts_with(&format!("{value}: ")))
        }
        Command::Server(server, changes) => {
            let names = [Some(server.clone()), config.slot(server).map(ServerRef::Slot)];
            names.into_iter().flatten().any(|name| {
                let whole = format!("server {name}");
                let keys = changes.iter().filter_map(Change::key);
                let mut parts = keys.map(|key| format!("{whole} {}", key.word()));
                error.subject() == Some(&whole) || parts.any(|part| error.subject() == Some(&part))
            })
        }
        Command::Acl(n, _) => error.subject() == Some(format!("acl {n}").as_str()),
        Command::Check(name, changes) => changes
            .iter()
            .any(|(key, _)| error.subject() == Some(format!("check {name} {}", key.word()).as_str())),
        _ => false,
    };
    match lines.iter().rev().find(about) {
        Some(line) => error.at(&line.at),
        None => error,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

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

    fn refused(file: &str, read: &dyn Fn(&str) -> io::Result<String>) -> Vec<String> {
        let read = |file: &str| read(file).map(String::into_bytes);
        let errors = load(file, &Services::default(), &read).unwrap_err();
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_file_that_includes_itself_costs_a_line_of_error_for_each_time() {
        let cycles = |file: &str| match file {
            "self" => Ok("include self\n".repeat(5)),
            "one" => Ok("include two\ninclude two\n".to_owned()),
            _ => Ok("include one\n".to_owned()),
        };
        let errors = refused("self", &cycles);
        assert_eq!(errors.len(), 5, "{errors:?}");
        assert!(errors[4].starts_with("self:5: self: a file cannot include itself"), "{errors:?}");
        let errors = refused("one", &cycles);
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors[1].starts_with("two:1: one: "), "{errors:?}");
    }

    #[test]
    fn no_more_than_64_files_are_read() {
        use std::cell::Cell;

        // Each file includes the next one four times: 4 to the power of 8 files.
        let reads = Cell::new(0);
        let errors = refused("x", &|file| {
            reads.set(reads.get() + 1);
            Ok((0..4).map(|n| format!("include {file}{n}\n")).collect())
        });
        assert_eq!(reads.get(), FILES_MAX);
        assert!(errors.len() <= ERRORS_MAX + 1);
        let many = |file: &str| match file.parse::<usize>() {
            Ok(0) | Err(_) => Ok("roundrobin\n".to_owned()),
            Ok(count) => Ok((0..count).map(|n| format!("include f{n}\n")).collect::<String>()),
        };
        let bytes = |file: &str| many(file).map(String::into_bytes);
        assert_eq!(load("63", &Services::default(), &bytes).unwrap().len(), 63);
        let errors = refused("64", &many);
        assert_eq!(errors, ["64:64: f63: more than 64 files are included"]);
    }

    #[test]
    fn a_hundred_errors_are_reported_and_the_rest_counted() {
        let errors = refused("x", &|_| Ok("frobnicate\n".repeat(1000)));
        assert_eq!(errors.len(), 101);
        assert!(errors[99].starts_with("x:100: "), "{errors:?}");
        assert!(errors[100].contains("900 more errors are not shown"), "{errors:?}");
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
    fn a_comment_may_be_of_any_bytes_and_nothing_else() {
        let read = |text: &[u8]| load("f", &Services::default(), &|_| Ok(text.to_vec()));
        let good = b"# gr\xfc\xdfe\x01\n\t# \xff\nblacklist 5 # f\xfcnf \x02\n";
        assert_eq!(read(good).map(|lines| lines.len()), Ok(1));
        let errors = read(b"blacklist 5\nuser j\xf6rg # j\xf6rg\n").unwrap_err();
        let expected = "f:2: expected UTF-8 outside of comments, got user j\\xf6rg # j\\xf6rg";
        assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
        assert!(read(b"user j\x01\n").is_err());
        assert_eq!(read(b"\xef\xbb\xbfblacklist 5\n").map(|lines| lines.len()), Ok(1));
        assert!(read(b"blacklist 5\n\xef\xbb\xbfblacklist 5\n").is_err());
        // Line ends of other systems.
        assert_eq!(read(b"blacklist 5\r\n\r\n").map(|lines| lines.len()), Ok(1));
    }

    #[test]
    fn questions_do_not_belong_in_a_file() {
        let lines = [ConfigLine::option("x:1", Command::Servers)];
        assert!(apply(&mut Config::default(), &lines, Phase::Start).is_err());
    }
}
