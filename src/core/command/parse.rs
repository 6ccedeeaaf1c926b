//! Parses a line into a command.

use super::nearest::{self, nearest};
use super::server_keys::ServerChange;
use super::{Awaited, Command, ServerRef, help};
use crate::core::acl::AclLine;
use crate::core::addr::{ClientAddress, Services};
use crate::core::error::{Error, Fault};
use crate::core::health::CheckConfig;
use crate::core::health::check::RESERVED;
use crate::core::json::document::Document;
use crate::core::lexer::{self, Word};
use crate::core::settings::{FieldType, Keyword, Setting, Value, ValueKind};
use std::time::Duration;

/// Commands of C pen that only selected among its implementations.
const OBSOLETE: [&str; 6] = ["block", "delayed_forward", "epoll", "kqueue", "poll", "select"];
/// Commands of C pen whose features this pen does not have.
const UNAVAILABLE: [&str; 4] = ["dsr_if", "dsr_ip", "idlers", "peek"];

const CONNECTION: ValueKind = ValueKind::Number { min: 0, max: 1 << 32, unit: "a connection" };
const DESCRIPTOR: ValueKind = ValueKind::Number { min: 0, max: 1 << 31, unit: "a descriptor" };
/// The time that `wait` accepts: up to a day.
const WAIT: ValueKind = ValueKind::Seconds {
    min: Duration::ZERO,
    max: Duration::from_secs(86_400),
    fractions: true,
    unit: "seconds",
};
const SINCE: ValueKind = ValueKind::Number { min: 0, max: 1 << 31, unit: "seconds" };

/// The words accepted after `show`.
const SETTING: &str = "the word of a setting, as penctl(1) lists them";

/// The words accepted after `no`.
const TURNED_OFF: &str = "a switch, a text that may be absent, acl N or server N, as penctl(1) lists them";

type ParseResult<T> = Result<T, Error>;

impl Command {
    /// How long `wait` waits without a given time.
    const WAIT_DEFAULT: Duration = Duration::from_secs(60);

    /// Parses one line. `Ok(None)` is a line without a command: empty, or a comment that begins with `#`.
    ///
    /// # Errors
    /// The command, the wrong word and what was expected; [`Fault::UnknownCommand`] when the first word is no command.
    pub fn parse(line: &str, services: &Services) -> ParseResult<Option<Self>> {
        if line.trim_start_matches([' ', '\t']).starts_with('#') {
            return Ok(None);
        }
        let words = lexer::words(line)?;
        let Some((first, rest)) = words.split_first() else { return Ok(None) };
        let word = first.text()?;
        match word.as_str() {
            "server" => return server(rest, services).map_err(|e| e.of("server")).map(Some),
            "check" => return check(rest, services).map_err(|e| e.of("check")).map(Some),
            _ => {}
        }
        let command = match Setting::by_word(&word) {
            Some(setting) => of_setting(setting, rest, services),
            None => {
                let args = rest.iter().map(Word::text).collect::<Result<Vec<_>, _>>();
                args.and_then(|args| of_words(&word, &args))
            }
        };
        match command {
            Ok(command) => Ok(Some(command)),
            Err(error) if matches!(error.fault(), Fault::UnknownCommand { .. }) => Err(error),
            Err(error) => Err(error.of(&word)),
        }
    }
}

/// Parses a command that is not a setting.
fn of_words(word: &str, args: &[String]) -> ParseResult<Command> {
    // Words after a complete command are an error, which C pen ignored: `pid extra`.
    let command = match (word, args) {
        ("no", args) => return of_no(args),
        ("acl", args) => return acl(args),
        ("servers", []) => Command::Servers,
        ("json", [name, args @ ..]) => return json(name, args),
        ("show", [name]) => return show(name),
        ("why", [client]) => Command::Why(ClientAddress::parse(client)?),
        ("mode", []) => Command::Mode,
        ("pid", []) => Command::Pid,
        ("status", []) => Command::Status,
        ("exit", []) => Command::Exit,
        ("ssl_reload", []) => Command::SslReload,
        ("reload", []) => Command::Reload,
        ("diff", []) => Command::Diff(None),
        ("diff", [file]) => Command::Diff(Some(path(file)?)),
        ("write", []) => Command::Write(None),
        ("write", [file]) => Command::Write(Some(path(file)?)),
        ("include", [file]) => Command::Include(path(file)?),
        ("close", [word, server]) if word == "server" => {
            Command::CloseServer(ServerRef::parse(server).map_err(|e| e.of("close server"))?)
        }
        ("close", [word]) if word == "server" => {
            return Err(Error::missing(ServerRef::expected()).of("close server"));
        }
        ("wait", args) => return wait(args),
        ("close", [n]) => Command::Close(number(n, CONNECTION)?),
        ("connection", [n]) => Command::Connection(number(n, CONNECTION)?),
        ("socket", [n]) => Command::Socket(number::<u32>(n, DESCRIPTOR)?.into()),
        ("recent", []) => Command::Recent(300),
        ("recent", [n]) => Command::Recent(number::<u32>(n, SINCE)?.into()),
        ("close" | "connection", []) => return Err(Error::missing("the number of a connection")),
        ("socket", []) => return Err(Error::missing("the number of a descriptor")),
        ("json", []) => return Err(Error::missing(documents())),
        ("show", []) => return Err(Error::missing(SETTING)),
        ("why", []) => return Err(Error::missing(ClientAddress::FORM)),
        ("include", []) => return Err(Error::missing("the name of a file")),
        (word, args) => return of_other(word, args),
    };
    Ok(command)
}

fn of_other(word: &str, args: &[String]) -> ParseResult<Command> {
    if let Some(&word) = OBSOLETE.iter().find(|o| **o == word) {
        return Ok(Command::Obsolete(word, true));
    }
    if UNAVAILABLE.contains(&word) {
        return Err(Fault::Unavailable.into());
    }
    match args.get(1).or(args.first()) {
        Some(extra) if help::names(word) => Err(Error::extra(extra)),
        _ => Err(Fault::UnknownCommand { word: word.to_owned(), nearest: nearest(word) }.into()),
    }
}

fn of_setting(setting: Setting, args: &[Word], services: &Services) -> ParseResult<Command> {
    let kind = setting.spec().kind;
    match args {
        [v4, v6] if kind == ValueKind::Mask => {
            let both = format!("{} {}", v4.text()?, v6.text()?);
            Ok(Command::Set(setting, kind.parse(&Word::plain(&both), services)?))
        }
        [_, _, ..] if kind == ValueKind::SniRoute => {
            let words = args.iter().map(Word::text).collect::<ParseResult<Vec<_>>>()?;
            Ok(Command::Set(setting, kind.parse(&Word::plain(&words.join(" ")), services)?))
        }
        [_, extra, ..] => Err(Error::extra(extra.text()?)),
        [extra] if kind == ValueKind::Switch => Err(Error::extra(extra.text()?)),
        [arg] => Ok(Command::Set(setting, kind.parse(arg, services)?)),
        [] if kind == ValueKind::Switch => Ok(Command::Set(setting, Value::Switch(true))),
        [] if setting.shows() => Ok(Command::Show(setting)),
        [] => Err(Error::missing(kind.expected())),
    }
}

fn of_no(args: &[String]) -> ParseResult<Command> {
    let (word, args) = match args {
        [] => return Err(Error::missing(TURNED_OFF)),
        [word, args @ ..] => (word.as_str(), args),
    };
    let subject = format!("no {word}");
    let of = |error: Error| error.of(&subject);
    match word {
        "acl" => return of_number(args, ValueKind::LIST).map(Command::NoAcl).map_err(of),
        "server" => {
            return match args {
                [server] => ServerRef::parse(server).map(Command::NoServer),
                [_, extra, ..] => Err(Error::extra(extra)),
                [] => Err(Error::missing(ServerRef::expected())),
            }
            .map_err(of);
        }
        "check" => {
            return match args {
                [name] => check_name(name).map(Command::NoCheck),
                [_, extra, ..] => Err(Error::extra(extra)),
                [] => Err(Error::missing("the name of a check")),
            }
            .map_err(of);
        }
        _ => {}
    }
    if let Some(extra) = args.first() {
        return Err(Error::extra(extra).of(&subject));
    }
    if let Some(&word) = OBSOLETE.iter().find(|o| **o == word) {
        return Ok(Command::Obsolete(word, false));
    }
    if word == "peek" {
        return Ok(Command::Obsolete("peek", false));
    }
    match Setting::by_word(word).and_then(|setting| Some(Command::Set(setting, setting.off()?))) {
        Some(command) => Ok(command),
        None => {
            let fits = |near: &str| Setting::by_word(near).is_some_and(|setting| setting.off().is_some());
            Err(Error::expected(nearest::expected(TURNED_OFF, word, fits), word).of(&subject))
        }
    }
}

/// Parses the arguments of a command that takes exactly one number.
fn of_number(args: &[String], kind: ValueKind) -> ParseResult<usize> {
    match args {
        [n] => number(n, kind),
        [_, extra, ..] => Err(Error::extra(extra)),
        [] => Err(Error::missing(kind.expected())),
    }
}

fn json(name: &str, args: &[String]) -> ParseResult<Command> {
    if name == "why" {
        let of = |error: Error| error.of("json why");
        return match args {
            [client] => ClientAddress::parse(client).map(Command::JsonWhy).map_err(of),
            [] => Err(of(Error::missing(ClientAddress::FORM))),
            [_, extra, ..] => Err(of(Error::extra(extra))),
        };
    }
    match (Document::by_word(name), args) {
        (Some(document), []) => Ok(Command::Json(document)),
        (Some(_), [extra, ..]) => Err(Error::extra(extra)),
        (None, _) => Err(Error::expected(documents(), name)),
    }
}

/// The words accepted after `json`.
fn documents() -> String {
    format!("{} or why with a client", Document::WORDS.join(", "))
}

fn wait(args: &[String]) -> ParseResult<Command> {
    let (server, state, rest) = match args {
        [] => return Err(Error::missing(ServerRef::expected())),
        [_] => return Err(Error::missing(ValueKind::Word(Awaited::WORDS).expected())),
        [server, state, rest @ ..] => (server, state, rest),
    };
    let server = ServerRef::parse(server)?;
    let expected = || Error::expected(ValueKind::Word(Awaited::WORDS).expected(), state);
    let state = Awaited::by_word(state).ok_or_else(expected)?;
    let time = match rest {
        [] => Command::WAIT_DEFAULT,
        [seconds] => number(seconds, WAIT)?,
        [_, extra, ..] => return Err(Error::extra(extra)),
    };
    Ok(Command::Wait(server, state, time))
}

fn show(name: &str) -> ParseResult<Command> {
    Setting::by_word(name).map(Command::ShowSetting).ok_or_else(|| {
        let fits = |near: &str| Setting::by_word(near).is_some();
        Error::expected(nearest::expected(SETTING, name, fits), name)
    })
}

fn acl(args: &[String]) -> ParseResult<Command> {
    let Some((n, rest)) = args.split_first() else {
        return Err(Error::missing("N permit|deny IP [MASK] or IP6[/LEN]"));
    };
    Ok(Command::Acl(number(n, ValueKind::LIST)?, AclLine::parse(rest)?))
}

fn server(args: &[Word], services: &Services) -> ParseResult<Command> {
    let Some((server, pairs)) = args.split_first() else {
        return Err(Error::missing(format!("{} and what is to be set", ServerRef::expected())));
    };
    let server = ServerRef::parse(&server.text()?)?;
    let pairs = pairs.chunks(2).map(|pair| ServerChange::parse(&server, &pair[0], pair.get(1), services));
    let changes = pairs.collect::<Result<_, _>>()?;
    Ok(Command::Server(server, changes))
}

fn check(args: &[Word], services: &Services) -> ParseResult<Command> {
    let Some((name, pairs)) = args.split_first() else {
        return Err(Error::missing(format!("{} and what is to be set", ValueKind::Name.expected())));
    };
    let name = check_name(&name.text()?)?;
    let pairs = pairs.chunks(2).map(|pair| CheckConfig::parse(&name, &pair[0], pair.get(1), services));
    let changes = pairs.collect::<Result<_, _>>()?;
    Ok(Command::Check(name, changes))
}

/// Parses the name of a check: any name but the words that `server N check` reserves.
fn check_name(word: &str) -> ParseResult<String> {
    let name = ValueKind::Name.parse(&Word::plain(word), &Services::default())?.to_string();
    if RESERVED.contains(&word) {
        return Err(Error::expected(format!("another name than {}", RESERVED.join(" and ")), word));
    }
    Ok(name)
}

/// A whole number within bounds, or an error that names them.
fn number<T: FieldType + Default>(arg: &str, kind: ValueKind) -> ParseResult<T> {
    let mut number = T::default();
    number.assign(&kind.parse(&Word::plain(arg), &Services::default())?);
    Ok(number)
}

fn path(arg: &str) -> ParseResult<String> {
    if arg.is_empty() { Err(Error::expected("the name of a file", arg)) } else { Ok(arg.to_owned()) }
}
