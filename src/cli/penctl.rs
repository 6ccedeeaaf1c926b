//! The command line of penctl: the address, and the words of one command.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::time::Duration;

use crate::core::Error;
use crate::core::addr::{Endpoint, Services};
use crate::core::command::{Command, LINE_MAX, help};
use crate::core::error::Fault;

use super::{Stop, completions, utf8};

/// The parsed command line.
#[derive(Debug, PartialEq, Eq)]
pub struct PenctlArgs {
    /// The control socket.
    pub target: Endpoint,
    /// The task to carry out.
    pub task: Task,
}

/// A task of penctl.
#[derive(Debug, PartialEq, Eq)]
pub enum Task {
    /// Sends a command, a line without its line feed.
    Command(String),
    /// Reports the state of the servers in one line and by the exit status.
    CheckHealth {
        /// How long that may take.
        limit: Duration,
    },
    /// Shows the servers repeatedly.
    Watch {
        /// The pause between updates.
        pause: Duration,
        /// The number of updates; `None` for no limit.
        count: Option<u32>,
    },
}

/// The tasks of penctl itself: their words, and a line of help.
const TASKS: [(&str, &str); 2] = [
    ("check-health [SECONDS]", "report whether the servers are up, as a Nagios plugin, within a time (10)"),
    ("watch [SECONDS [COUNT]]", "show the servers repeatedly (1)"),
];

/// The control socket of the service's default instance, where no address is given.
const DEFAULT: &str = "/var/run/pen/default/control";

const USAGE: &str = "usage: penctl [host:port|/path/to/socket] command";

/// The time that `check-health` may take, unless it is given: as that of other plugins.
const CHECK_HEALTH_LIMIT: Duration = Duration::from_secs(10);

/// Whether the command line, right or wrong, is that of `check-health`, whose exit status is that of a plugin; `argv`
/// begins with the program's name.
pub fn is_check_health(argv: impl IntoIterator<Item = OsString>) -> bool {
    let mut words = argv.into_iter().skip(1).map(|word| word.to_string_lossy().into_owned());
    let is = |word: &str| word == "check-health";
    match (words.next(), words.next()) {
        (Some(first), _) if is(&first) => true,
        (Some(first), Some(second)) => is(&second) && !is_command(&first),
        _ => false,
    }
}

/// Parses the arguments; `argv` begins with the program's name. All words after the address belong to the command,
/// whatever they begin with. An address has a colon or a slash; without one the control socket is `default`, or that of
/// the service's default instance.
///
/// # Errors
/// No command, a bad address, a command of more than one line or of more than [`LINE_MAX`] bytes.
pub fn parse(
    argv: impl IntoIterator<Item = OsString>,
    default: Option<OsString>,
    services: &Services,
) -> Result<PenctlArgs, Stop> {
    let words = argv.into_iter().skip(1).map(|word| utf8(&word)).collect::<Result<Vec<_>, _>>()?;
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--help"] => return Err(Stop::Text(help())),
        ["-V" | "--version"] => return Err(Stop::Text(format!("penctl {}\n", env!("CARGO_PKG_VERSION")))),
        ["--completions", shell] => {
            return Err(Stop::Text(completions::penctl(own_words(), shell)?));
        }
        _ => {}
    }
    let (target, command) = match words.split_first() {
        Some((first, command)) if first.contains([':', '/']) => {
            (Endpoint::with_port(first, services)?, command)
        }
        Some((first, _)) if is_command(first) => (default_target(default, services)?, &words[..]),
        Some((first, _)) => {
            return Err(
                Error::expected("host:port, the path of a control socket, or a command", first).into()
            );
        }
        None => return error(USAGE.into()),
    };
    if command.is_empty() {
        return error(USAGE.into());
    }
    Ok(PenctlArgs { target, task: task(command)? })
}

/// The first words of [`TASKS`].
fn own_words() -> impl Iterator<Item = &'static str> {
    TASKS.iter().filter_map(|(usage, _)| usage.split(' ').next())
}

fn error<T>(text: String) -> Result<T, Stop> {
    Err(Stop::Errors(vec![text]))
}

/// Whether a word can begin a task; pen itself reports misspelt commands.
fn is_command(word: &str) -> bool {
    own_words().any(|own| own == word)
        || match Command::parse(word, &Services::default()) {
            Ok(command) => command.is_some(),
            Err(error) => {
                !matches!(error.fault(), Fault::UnknownCommand { nearest, .. } if nearest.is_empty())
            }
        }
}

fn default_target(default: Option<OsString>, services: &Services) -> Result<Endpoint, Stop> {
    let named = default.filter(|named| !named.is_empty());
    let target = |text: &str| Endpoint::with_port(text, services);
    let target = named.map_or_else(|| target(DEFAULT), |named| target(&utf8(&named)?));
    Ok(target.map_err(|error| error.of("PEN_CONTROL"))?)
}

fn task(words: &[String]) -> Result<Task, Stop> {
    let line = words.join(" ");
    if line.contains(['\n', '\r']) {
        return error("a command is one line; expected no line end in it".into());
    }
    if line.len() > LINE_MAX {
        return error(format!("the command is {} bytes long; expected at most {LINE_MAX}", line.len()));
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["check-health"] => Ok(Task::CheckHealth { limit: CHECK_HEALTH_LIMIT }),
        ["check-health", limit] => Ok(Task::CheckHealth { limit: seconds("check-health", limit)? }),
        ["check-health", _, extra, ..] => Err(Error::extra(extra).of("check-health").into()),
        ["watch"] => Ok(Task::Watch { pause: Duration::from_secs(1), count: None }),
        ["watch", pause] => Ok(Task::Watch { pause: seconds("watch", pause)?, count: None }),
        ["watch", pause, count] => {
            let number = count.parse().ok().filter(|count| *count > 0);
            let number = number.ok_or_else(|| Error::expected("a number from 1", count).of("watch"))?;
            Ok(Task::Watch { pause: seconds("watch", pause)?, count: Some(number) })
        }
        ["watch", _, _, extra, ..] => Err(Error::extra(extra).of("watch").into()),
        _ => Ok(Task::Command(line)),
    }
}

fn seconds(task: &str, text: &str) -> Result<Duration, Stop> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.1..=86_400.0).contains(seconds));
    let expected = || Error::expected("a number of seconds from 0.1 to 86400", text).of(task);
    Ok(Duration::from_secs_f64(seconds.ok_or_else(expected)?))
}

/// The width of a terminal, and the position of the second column of the help.
const WIDTH: usize = 80;
const SECOND: usize = 30;

/// All commands, by topic.
fn help() -> String {
    let mut text = format!(
        "{USAGE}\n       penctl --help | -V | --version | --completions shell\n\nCommands; see penctl(1).\n"
    );
    let tasks = TASKS.map(|(usage, help)| (usage.to_owned(), help)).to_vec();
    for (heading, commands) in help::topics().into_iter().chain([("Commands of penctl itself", tasks)]) {
        if commands.is_empty() {
            continue;
        }
        _ = writeln!(text, "\n{heading}:");
        for (usage, help) in commands {
            let mut line = format!("  {usage}");
            if line.len() + 2 > SECOND {
                _ = writeln!(text, "{line}");
                line.clear();
            }
            line = format!("{line:SECOND$}");
            let mut empty = true;
            for word in help.split(' ') {
                if !empty && line.len() + 1 + word.len() > WIDTH {
                    _ = writeln!(text, "{line}");
                    (line, empty) = (" ".repeat(SECOND), true);
                }
                line = line + if empty { "" } else { " " } + word;
                empty = false;
            }
            _ = writeln!(text, "{line}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<PenctlArgs, Stop> {
        let argv = std::iter::once("penctl").chain(words.iter().copied());
        parse(argv.map(Into::into), None, &Services::parse(""))
    }

    #[test]
    fn the_words_are_joined_by_blanks() {
        let request = parsed(&["localhost:8888", "server", "0", "-x", "", "a b"]).unwrap();
        assert_eq!(request.task, Task::Command("server 0 -x  a b".into()));
        assert_eq!(parsed(&["/run/pen", "pid"]).unwrap().target.to_string(), "/run/pen");
        assert_eq!(parsed(&["::1:99", "pid"]).unwrap().target.to_string(), "[::1]:99");
    }

    #[test]
    fn without_an_address_it_is_the_default() {
        assert_eq!(parsed(&["servers"]).unwrap().target.to_string(), DEFAULT);
        // Pen reports the error.
        assert_eq!(parsed(&["servrs"]).unwrap().target.to_string(), DEFAULT);
        let argv = ["penctl", "pid"].map(Into::into);
        let request = parse(argv, Some("localhost:99".into()), &Services::parse("")).unwrap();
        assert_eq!(request.target.to_string(), "localhost:99");
        let argv = ["penctl", "pid"].map(Into::into);
        let Err(Stop::Errors(errors)) = parse(argv, Some("nowhere".into()), &Services::parse("")) else {
            panic!()
        };
        assert!(errors[0].starts_with("PEN_CONTROL: "), "{errors:?}");
        let other = std::os::unix::ffi::OsStringExt::from_vec(b"/run/Gr\xfc\xdfe".to_vec());
        let argv = ["penctl", "pid"].map(Into::into);
        let Err(Stop::Errors(errors)) = parse(argv, Some(other), &Services::parse("")) else { panic!() };
        assert_eq!(errors, [r"PEN_CONTROL: expected UTF-8, got '/run/Gr\xfc\xdfe'"]);
        let Err(Stop::Errors(errors)) = parsed(&["localhost", "pid"]) else { panic!() };
        assert!(errors[0].contains("got 'localhost'"), "{errors:?}");
    }

    #[test]
    fn tasks_of_its_own_are_read() {
        let task = |words: &[&str]| parsed(words).map(|request| request.task);
        let half = Duration::from_millis(500);
        assert_eq!(task(&["check-health"]), Ok(Task::CheckHealth { limit: CHECK_HEALTH_LIMIT }));
        assert_eq!(task(&["/x", "check-health", "0.5"]), Ok(Task::CheckHealth { limit: half }));
        assert_eq!(task(&["/x", "watch", "0.5", "2"]), Ok(Task::Watch { pause: half, count: Some(2) }));
        for bad in [
            &["watch", "0"][..],
            &["watch", "x"],
            &["watch", "1", "0"],
            &["watch", "1", "1", "1"],
            &["check-health", "x"],
            &["check-health", "1", "1"],
        ] {
            assert!(matches!(task(bad), Err(Stop::Errors(e)) if e.len() == 1), "{bad:?}");
        }
    }

    #[test]
    fn a_wrong_command_line_of_check_health_is_known() {
        let is = |words: &[&str]| is_check_health(["penctl"].iter().chain(words).map(Into::into));
        for words in
            [&["check-health", "x"][..], &["localhost", "check-health"], &["/x", "check-health", "0"]]
        {
            assert!(is(words) && parsed(words).is_err(), "{words:?}");
        }
        for words in [&[][..], &["/x"], &["server", "check-health"], &["/x", "pid", "check-health"]] {
            assert!(!is(words), "{words:?}");
        }
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        for words in [&[][..], &["localhost:1"], &["localhost", "pid"], &["a b:1", "pid"], &["/x", "a\nb"]] {
            assert!(matches!(parsed(words), Err(Stop::Errors(e)) if e.len() == 1), "{words:?}");
        }
        assert!(parsed(&["/x", &"y".repeat(LINE_MAX + 1)]).is_err());
    }

    #[test]
    fn help_names_every_command() {
        let Err(Stop::Text(text)) = parsed(&["--help"]) else { panic!() };
        for word in ["servers", "roundrobin", "blacklist [N]", "listen [TEXT]", "write [FILE]"] {
            assert!(text.contains(word), "{word}");
        }
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
        assert!(text.contains("\nTLS:\n"), "{text}");
    }
}
