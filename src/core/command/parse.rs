//! From a line to a command.

use super::server_keys::{self, Change};
use super::{Command, Refusal, SERVERS_MAX, help};
use crate::core::Error;
use crate::core::acl::AclEntry;
use crate::core::addr::Services;
use crate::core::lexer::{self, Word};
use crate::core::settings::{Field, Kind, Setting, Value};

/// Commands of C pen that only ever chose between its own workings.
const OBSOLETE: [&str; 6] = ["block", "delayed_forward", "epoll", "kqueue", "poll", "select"];
/// Commands of C pen that need what this pen does not have.
const UNAVAILABLE: [&str; 5] = ["dsr_if", "dsr_ip", "tarpit_acl", "idlers", "peek"];

const SERVER: Kind = Kind::Number { min: 0, max: SERVERS_MAX as u64 - 1, unit: "a server" };
const CONNECTION: Kind = Kind::Number { min: 0, max: 1 << 32, unit: "a connection" };
const DESCRIPTOR: Kind = Kind::Number { min: 0, max: 1 << 31, unit: "a descriptor" };
const SINCE: Kind = Kind::Number { min: 0, max: 1 << 31, unit: "seconds" };

/// What can follow `no`.
const TURNED_OFF: &str = "a switch, a text that may be absent, or acl N, as penctl(1) lists them";

type Parsed<T> = Result<T, Refusal>;

fn bad<T>(text: String) -> Parsed<T> {
    Err(Refusal::Bad(Error::new(text)))
}

fn missing<T>(word: &str, allowed: &str) -> Parsed<T> {
    bad(format!("{word}: its argument is missing; allowed is {allowed}"))
}

impl Command {
    /// Reads one line. `Ok(None)` is a line without a command: empty, or a comment that begins with `#`.
    ///
    /// # Errors
    /// See [`Refusal`]: the text names command, word and what is allowed.
    pub fn parse(line: &str, services: &Services) -> Parsed<Option<Self>> {
        if line.trim_start_matches([' ', '\t']).starts_with('#') {
            return Ok(None);
        }
        let words = lexer::words(line).map_err(Refusal::Bad)?;
        let Some((first, rest)) = words.split_first() else { return Ok(None) };
        let word = first.text().map_err(Refusal::Bad)?;
        if word == "server" {
            return server(rest, services).map(Some);
        }
        if let Some(setting) = Setting::by_word(&word) {
            return of_setting(setting, rest, services).map(Some);
        }
        let args = rest.iter().map(Word::text).collect::<Result<Vec<_>, _>>().map_err(Refusal::Bad)?;
        of_words(&word, &args).map(Some)
    }
}

/// A command that is no setting.
fn of_words(word: &str, args: &[String]) -> Parsed<Command> {
    // What follows a complete command is a slip that C pen passed over: `pid extra`.
    let command = match (word, args) {
        ("no", args) => return of_no(args),
        ("acl", args) => return acl(args),
        ("servers", []) => Command::Servers,
        ("mode", []) => Command::Mode,
        ("pid", []) => Command::Pid,
        ("status", []) => Command::Status,
        ("exit", []) => Command::Exit,
        ("ssl_reload", []) => Command::SslReload,
        ("write", []) => Command::Write(None),
        ("write", [file]) => Command::Write(Some(path(word, file)?)),
        ("include", [file]) => Command::Include(path(word, file)?),
        ("close", [n]) => Command::Close(number(word, n, CONNECTION)?),
        ("connection", [n]) => Command::Connection(number(word, n, CONNECTION)?),
        ("socket", [n]) => Command::Socket(number::<u32>(word, n, DESCRIPTOR)?.into()),
        ("recent", []) => Command::Recent(300),
        ("recent", [n]) => Command::Recent(number::<u32>(word, n, SINCE)?.into()),
        ("close" | "connection", []) => return missing(word, "the number of a connection"),
        ("socket", []) => return missing(word, "the number of a descriptor"),
        ("include", []) => return missing(word, "the name of a file"),
        (word, args) => return of_other(word, args),
    };
    Ok(command)
}

fn of_other(word: &str, args: &[String]) -> Parsed<Command> {
    if let Some(&word) = OBSOLETE.iter().find(|o| **o == word) {
        return Ok(Command::Obsolete(word, true));
    }
    if UNAVAILABLE.contains(&word) {
        return Err(Refusal::Unavailable(word.to_owned()));
    }
    match args.get(1).or(args.first()) {
        Some(extra) if help::names(word) => bad(format!("{word}: '{extra}' is one word too many")),
        _ => Err(Refusal::Unknown(word.to_owned())),
    }
}

fn of_setting(setting: Setting, args: &[Word], services: &Services) -> Parsed<Command> {
    let word = setting.word();
    let of = |error: Error| Refusal::Bad(error.of(word));
    let spec = setting.spec();
    match args {
        [_, extra, ..] => bad(format!("{word}: '{}' is one word too many", extra.text().map_err(of)?)),
        [arg] if spec.kind == Kind::Switch => {
            let arg = arg.text().map_err(of)?;
            bad(format!("{word}: '{arg}' is one word too many; allowed is {word} or no {word}"))
        }
        [arg] => Ok(Command::Set(setting, spec.kind.parse(arg, services).map_err(of)?)),
        [] if spec.kind == Kind::Switch => Ok(Command::Set(setting, Value::Switch(true))),
        [] if setting.shows() => Ok(Command::Show(setting)),
        [] => missing(word, &spec.kind.expected()),
    }
}

fn of_no(args: &[String]) -> Parsed<Command> {
    let (word, args) = match args {
        [] => return missing("no", TURNED_OFF),
        [word, args @ ..] => (word.as_str(), args),
    };
    if word == "acl" {
        return match args {
            [n] => Ok(Command::NoAcl(number("no acl", n, Kind::LIST)?)),
            _ => bad("no acl: one argument is needed; allowed is the number of a list, 0 to 9".into()),
        };
    }
    if let Some(extra) = args.first() {
        return bad(format!("no {word}: '{extra}' is one word too many"));
    }
    if let Some(&word) = OBSOLETE.iter().find(|o| **o == word) {
        return Ok(Command::Obsolete(word, false));
    }
    if word == "peek" {
        return Ok(Command::Obsolete("peek", false));
    }
    match Setting::by_word(word).and_then(|setting| Some(Command::Set(setting, setting.off()?))) {
        Some(command) => Ok(command),
        None => bad(format!("no {word}: '{word}' cannot be turned off; allowed is {TURNED_OFF}")),
    }
}

fn acl(args: &[String]) -> Parsed<Command> {
    let Some((n, rest)) = args.split_first() else {
        return missing("acl", "N permit|deny IP [MASK] or IP6[/LEN]");
    };
    let n = number("acl", n, Kind::LIST)?;
    let entry = AclEntry::parse(rest).map_err(|e| Refusal::Bad(e.of("acl")))?;
    Ok(Command::Acl(n, entry))
}

fn server(args: &[Word], services: &Services) -> Parsed<Command> {
    let Some((n, pairs)) = args.split_first() else {
        return missing("server", &format!("0 to {} and what is to be set", SERVERS_MAX - 1));
    };
    let n = n.text().map_err(Refusal::Bad)?;
    let n = number("server", &n, SERVER)?;
    let mut changes = Vec::with_capacity(pairs.len() / 2);
    for pair in pairs.chunks(2) {
        let [key, value] = pair else {
            let (key, keys) = (pair[0].text().map_err(Refusal::Bad)?, server_keys::keys());
            return bad(format!("server {n}: '{key}' has no value; allowed is {keys}, each with one"));
        };
        let change = Change::parse(&format!("server {n}"), key, value, services);
        changes.push(change.map_err(Refusal::Bad)?);
    }
    Ok(Command::Server(n, changes))
}

/// A whole number within bounds, or an error that tells them.
fn number<T: Field + Default>(word: &str, arg: &str, kind: Kind) -> Parsed<T> {
    let value = kind.parse(&Word::plain(arg), &Services::default());
    let mut number = T::default();
    number.assign(&value.map_err(|error| Refusal::Bad(error.of(word)))?);
    Ok(number)
}

fn path(word: &str, arg: &str) -> Parsed<String> {
    if arg.is_empty() {
        return bad(format!("{word}: '' is not allowed; allowed is the name of a file"));
    }
    Ok(arg.to_owned())
}
