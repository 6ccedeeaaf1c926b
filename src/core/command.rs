//! One grammar for the control socket, the configuration file, `-O` and the options: parsed here, printed here.

use super::Error;
use super::acl::{AclEntry, LISTS};
use super::addr::{Endpoint, Host, Services};
use super::lexer;
use super::settings::{Fastclose, Flag, Form, Number, NumberInfo, SSL_OPTIONS, Text, TextInfo};
use std::fmt;

/// The most server slots; a number above is a slip of the pen rather than a server.
pub const SERVERS_MAX: usize = 65_536;

/// The longest command line that pen takes, in bytes without its line feed.
pub const LINE_MAX: usize = 16 * 1024;

/// One command of pen's control language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A switch on or off.
    Flag(Flag, bool),
    /// A number set.
    Set(Number, u64),
    /// A number shown.
    Show(Number),
    /// A text set.
    Text(Text, String),
    /// A text unset.
    NoText(Text),
    /// A text shown.
    ShowText(Text),
    /// An entry at the end of an access list.
    Acl(usize, AclEntry),
    /// An access list emptied.
    NoAcl(usize),
    /// Changes of a server slot.
    Server(usize, Vec<Change>),
    /// Which end of data ends both sides.
    TcpFastclose(Fastclose),
    /// A word of `ssl_option`.
    SslOption(&'static str),
    /// Accepted for the sake of old files and scripts; does nothing.
    Obsolete(&'static str, bool),
    /// Commands from a file.
    Include(String),
    /// The configuration to a file (`None`: the one given with -F).
    Write(Option<String>),
    /// Ends a connection.
    Close(usize),
    /// Shows a connection.
    Connection(usize),
    /// Shows whose a descriptor is.
    Socket(i64),
    /// Shows the clients of the last seconds.
    Recent(u64),
    /// Shows the servers.
    Servers,
    /// Shows the modes of selection.
    Mode,
    /// Shows the process id.
    Pid,
    /// Writes and shows the status page.
    Status,
    /// Loads certificates, keys and OCSP responses anew.
    SslReload,
    /// Ends pen.
    Exit,
}

/// One `key value` pair of the command `server`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The list that judges the clients of this server.
    Acl(usize),
    /// Its host.
    Address(Host),
    /// Its port; 0 makes the slot unused.
    Port(u16),
    /// Its soft limit of connections; 0 for none.
    Max(u32),
    /// Its limit for clients that it had before; 0 for none beyond the soft one.
    Hard(u32),
    /// Leave it out for so many seconds from now; 0 takes it back in.
    Blacklist(u32),
    /// Its weight.
    Weight(u32),
    /// Its priority; the lowest goes first.
    Prio(u32),
}

/// Why a line is not a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The first word is none of pen's.
    Unknown(String),
    /// A command of the language that this pen does not have.
    Unavailable(String),
    /// The rest of the line is wrong.
    Bad(Error),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Unknown(word) => write!(f, "'{word}' is not a command; see penctl(1)"),
            Refusal::Unavailable(word) => write!(f, "{word}: not available in this pen"),
            Refusal::Bad(error) => error.fmt(f),
        }
    }
}

/// Commands of C pen that only ever chose between its own workings.
const OBSOLETE: [&str; 6] = ["block", "delayed_forward", "epoll", "kqueue", "poll", "select"];
/// Commands of C pen that need what this pen does not have.
const UNAVAILABLE: [&str; 5] = ["dsr_if", "dsr_ip", "tarpit_acl", "idlers", "peek"];

type Parsed<T> = Result<T, Refusal>;

fn bad<T>(text: String) -> Parsed<T> {
    Err(Refusal::Bad(Error::new(text)))
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
        let words = lexer::split(line).map_err(Refusal::Bad)?;
        match words.split_first() {
            None => Ok(None),
            Some((first, rest)) => Self::of_words(first, rest, services).map(Some),
        }
    }

    fn of_words(word: &str, args: &[String], services: &Services) -> Parsed<Self> {
        // What follows a complete command is a slip that C pen passed over: `pid extra`.
        let command = match (word, args) {
            ("no", args) => return Self::of_no(args),
            ("acl", args) => return acl(args),
            ("server", args) => return server(args, services),
            ("servers", []) => Command::Servers,
            ("mode", []) => Command::Mode,
            ("pid", []) => Command::Pid,
            ("status", []) => Command::Status,
            ("exit", []) => Command::Exit,
            ("ssl_reload", []) => Command::SslReload,
            ("write", []) => Command::Write(None),
            ("write", [file]) => Command::Write(Some(path(word, file)?)),
            ("include", [file]) => Command::Include(path(word, file)?),
            ("close", [n]) => Command::Close(decimal(word, n, "a connection", 0, 1 << 32)? as usize),
            ("connection", [n]) => {
                Command::Connection(decimal(word, n, "a connection", 0, 1 << 32)? as usize)
            }
            ("socket", [n]) => Command::Socket(decimal(word, n, "a descriptor", 0, 1 << 31)? as i64),
            ("recent", []) => Command::Recent(300),
            ("recent", [n]) => Command::Recent(decimal(word, n, "seconds", 0, 1 << 31)?),
            ("tcp_fastclose", [how]) => match Fastclose::by_word(how) {
                Some(how) => Command::TcpFastclose(how),
                None => {
                    return bad(format!(
                        "tcp_fastclose: '{how}' is not allowed; allowed is {}",
                        Fastclose::WORDS
                    ));
                }
            },
            ("ssl_option", [option]) => match SSL_OPTIONS.iter().find(|o| *o == option) {
                Some(option) => Command::SslOption(option),
                None => {
                    return bad(format!(
                        "ssl_option: '{option}' is not allowed; allowed is {}",
                        SSL_OPTIONS.join(", ")
                    ));
                }
            },
            ("close" | "connection", []) => return missing(word, "the number of a connection"),
            ("socket", []) => return missing(word, "the number of a descriptor"),
            ("include", []) => return missing(word, "the name of a file"),
            ("tcp_fastclose", []) => return missing(word, Fastclose::WORDS),
            ("ssl_option", []) => return missing(word, &SSL_OPTIONS.join(", ")),
            (word, args) => return Self::of_table(word, args, services),
        };
        Ok(command)
    }

    /// The commands that the tables of [`super::settings`] describe.
    fn of_table(word: &str, args: &[String], services: &Services) -> Parsed<Self> {
        if let Some(&word) = OBSOLETE.iter().find(|o| **o == word) {
            return Ok(Command::Obsolete(word, true));
        }
        if UNAVAILABLE.contains(&word) {
            return Err(Refusal::Unavailable(word.to_owned()));
        }
        if let Some(extra) = args.get(1) {
            if is_word(word) {
                return bad(format!("{word}: '{extra}' is one word too many"));
            }
            return Err(Refusal::Unknown(word.to_owned()));
        }
        let arg = args.first();
        if let Some(flag) = Flag::by_word(word) {
            return match arg {
                None => Ok(Command::Flag(flag, true)),
                Some(arg) => {
                    bad(format!("{word}: '{arg}' is one word too many; allowed is {word} or no {word}"))
                }
            };
        }
        if let Some(number) = Number::by_word(word) {
            let NumberInfo { unit, min, max, .. } = *number.info();
            return match arg {
                Some(arg) => Ok(Command::Set(number, decimal(word, arg, unit, min, max)?)),
                None => Ok(Command::Show(number)),
            };
        }
        if let Some(text) = Text::by_word(word) {
            return match arg {
                Some(arg) => Ok(Command::Text(text, checked(text.info(), arg, services)?)),
                None if text.info().shown => Ok(Command::ShowText(text)),
                None => missing(word, what(text.info().form)),
            };
        }
        if in_help(word) {
            return bad(format!("{word}: '{}' is one word too many", arg.map_or("", String::as_str)));
        }
        Err(Refusal::Unknown(word.to_owned()))
    }

    fn of_no(args: &[String]) -> Parsed<Self> {
        let (word, args) = match args {
            [] => {
                return missing("no", TURNED_OFF);
            }
            [word, args @ ..] => (word.as_str(), args),
        };
        if word == "acl" {
            return match args {
                [n] => Ok(Command::NoAcl(list("no acl", n)?)),
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
        if let Some(flag) = Flag::by_word(word) {
            return Ok(Command::Flag(flag, false));
        }
        match Text::by_word(word) {
            Some(text) => Ok(Command::NoText(text)),
            None => bad(format!("no {word}: '{word}' cannot be turned off; allowed is {TURNED_OFF}")),
        }
    }
}

/// The commands that no table of [`super::settings`] holds: how each is written, and one line for `penctl --help`.
pub const HELP: [(&str, &str); 19] = [
    ("acl N permit|deny IP [MASK]", "add an entry to an access list; also IP6[/LEN]"),
    ("no acl N", "empty an access list"),
    ("block, delayed_forward, epoll, kqueue, poll, select", "accepted, without effect"),
    ("close N", "end a connection"),
    ("connection N", "show a connection"),
    ("exit", "end pen, if it was started with -X"),
    ("include FILE", "carry out the commands of a file, all or none"),
    ("mode", "show how servers are selected"),
    ("pid", "show the process id"),
    ("recent [N]", "show the clients of the last N seconds (300)"),
    ("server N KEY VALUE...", "change acl, address, port, max, hard, blacklist, weight or prio of a server"),
    ("servers", "show the servers"),
    ("socket FD", "show which connection a descriptor belongs to"),
    ("ssl_option WORD", "change what TLS may do; repeatable"),
    ("ssl_reload", "load certificates, keys and OCSP responses anew"),
    ("status", "write and show the status page, if web_stats names a file"),
    ("tcp_fastclose up|down|both|off", "whose end of data ends both sides at once"),
    ("write [FILE]", "save the configuration, to the file given with -F by default"),
    ("no WORD", "turn a switch off, unset a text"),
];

fn in_help(word: &str) -> bool {
    HELP.iter().any(|(usage, _)| usage.split(' ').next() == Some(word))
}

fn is_word(word: &str) -> bool {
    in_help(word)
        || Flag::by_word(word).is_some()
        || Number::by_word(word).is_some()
        || Text::by_word(word).is_some()
}

/// A whole number within bounds, or an error that tells them.
fn decimal(word: &str, arg: &str, unit: &str, min: u64, max: u64) -> Parsed<u64> {
    let number = if arg.bytes().all(|b| b.is_ascii_digit()) { arg.parse().ok() } else { None };
    match number.filter(|n| (min..=max).contains(n)) {
        Some(number) => Ok(number),
        None => {
            bad(format!("{word}: '{arg}' is not allowed; allowed is a number from {min} to {max} ({unit})"))
        }
    }
}

fn list(word: &str, arg: &str) -> Parsed<usize> {
    Ok(decimal(word, arg, "the number of a list", 0, LISTS as u64 - 1)? as usize)
}

fn path(word: &str, arg: &str) -> Parsed<String> {
    if arg.is_empty() {
        return bad(format!("{word}: '' is not allowed; allowed is the name of a file"));
    }
    Ok(arg.to_owned())
}

fn what(form: Form) -> &'static str {
    match form {
        Form::Path => "the name of a file or directory",
        Form::Listening => "[host:]port or the path of a Unix socket",
        Form::Server => "host:port or the path of a Unix socket",
        Form::Log => "the name of a file, or host:port of a penlogd",
        Form::Ip => "an IP address",
        Form::User => "the name or number of a user",
        Form::Ciphers => "a list of ciphers as openssl-ciphers(1) has it",
        Form::Protocol => "ssl23, ssl2, ssl3 or tls1",
    }
}

fn checked(info: &TextInfo, arg: &str, services: &Services) -> Parsed<String> {
    let fits = |ok: bool| if ok { Ok(()) } else { Err(Error::new(format!("'{arg}' is not allowed"))) };
    let verdict = match info.form {
        Form::Path | Form::User | Form::Ciphers => fits(!arg.is_empty()),
        Form::Listening => Endpoint::listening(arg, services).map(|_| ()),
        Form::Server => Endpoint::with_port(arg, services).map(|_| ()),
        Form::Log if arg.contains(':') && !arg.contains('/') => {
            Endpoint::with_port(arg, services).map(|_| ())
        }
        Form::Log => fits(!arg.is_empty()),
        Form::Ip => fits(arg.parse::<std::net::IpAddr>().is_ok()),
        Form::Protocol => fits(["ssl23", "ssl2", "ssl3", "tls1"].contains(&arg)),
    };
    match verdict {
        Ok(()) => Ok(arg.to_owned()),
        Err(error) => bad(format!("{}: {error}; allowed is {}", info.word, what(info.form))),
    }
}

/// What can follow `server N`, each with a value.
const SERVER_KEYS: &str = "acl, address, port, max, hard, blacklist, weight or prio";

/// What can follow `no`.
const TURNED_OFF: &str = "a switch, a text that may be absent, or acl N, as penctl(1) lists them";

fn missing<T>(word: &str, allowed: &str) -> Parsed<T> {
    bad(format!("{word}: its argument is missing; allowed is {allowed}"))
}

fn acl(args: &[String]) -> Parsed<Command> {
    let Some((n, rest)) = args.split_first() else {
        return missing("acl", "N permit|deny IP [MASK] or IP6[/LEN]");
    };
    let n = list("acl", n)?;
    let entry = AclEntry::parse(rest).map_err(|e| Refusal::Bad(e.of("acl")))?;
    Ok(Command::Acl(n, entry))
}

fn server(args: &[String], services: &Services) -> Parsed<Command> {
    let Some((n, pairs)) = args.split_first() else {
        return missing("server", &format!("0 to {} and what is to be set", SERVERS_MAX - 1));
    };
    let n = decimal("server", n, "a server", 0, SERVERS_MAX as u64 - 1)? as usize;
    let mut changes = Vec::with_capacity(pairs.len() / 2);
    for pair in pairs.chunks(2) {
        let [key, value] = pair else {
            return bad(format!(
                "server {n}: '{}' has no value; allowed is {SERVER_KEYS}, each with one",
                pair[0]
            ));
        };
        changes.push(change(n, key, value, services)?);
    }
    Ok(Command::Server(n, changes))
}

fn change(n: usize, key: &str, value: &str, services: &Services) -> Parsed<Change> {
    let word = format!("server {n} {key}");
    let number = |unit| decimal(&word, value, unit, 0, i32::MAX as u64).map(|v| v as u32);
    Ok(match key {
        "acl" => Change::Acl(list(&word, value)?),
        "address" => Change::Address(Host::parse(value).map_err(|e| Refusal::Bad(e.of(&word)))?),
        "port" => Change::Port(services.port(value).map_err(|e| Refusal::Bad(e.of(&word)))?),
        "max" => Change::Max(number("connections, 0 for no limit")?),
        "hard" => Change::Hard(number("connections")?),
        "blacklist" => Change::Blacklist(number("seconds")?),
        "weight" => Change::Weight(number("its share")?),
        "prio" => Change::Prio(number("its rank")?),
        _ => {
            return bad(format!("server {n}: '{key}' is not allowed; allowed is {SERVER_KEYS}"));
        }
    })
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Acl(n) => write!(f, "acl {n}"),
            Change::Address(host) => write!(f, "address {}", lexer::quote(&host.to_string())),
            Change::Port(n) => write!(f, "port {n}"),
            Change::Max(n) => write!(f, "max {n}"),
            Change::Hard(n) => write!(f, "hard {n}"),
            Change::Blacklist(n) => write!(f, "blacklist {n}"),
            Change::Weight(n) => write!(f, "weight {n}"),
            Change::Prio(n) => write!(f, "prio {n}"),
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let no = |on: &bool| if *on { "" } else { "no " };
        match self {
            Command::Flag(flag, on) => write!(f, "{}{}", no(on), flag.info().word),
            Command::Set(number, n) => write!(f, "{} {n}", number.info().word),
            Command::Show(number) => f.write_str(number.info().word),
            Command::Text(text, value) => write!(f, "{} {}", text.info().word, lexer::quote(value)),
            Command::NoText(text) => write!(f, "no {}", text.info().word),
            Command::ShowText(text) => f.write_str(text.info().word),
            Command::Acl(n, entry) => write!(f, "acl {n} {entry}"),
            Command::NoAcl(n) => write!(f, "no acl {n}"),
            Command::Server(n, changes) => {
                write!(f, "server {n}")?;
                changes.iter().try_for_each(|change| write!(f, " {change}"))
            }
            Command::TcpFastclose(how) => write!(f, "tcp_fastclose {}", how.word()),
            Command::SslOption(option) => write!(f, "ssl_option {option}"),
            Command::Obsolete(word, on) => write!(f, "{}{word}", no(on)),
            Command::Include(file) => write!(f, "include {}", lexer::quote(file)),
            Command::Write(None) => f.write_str("write"),
            Command::Write(Some(file)) => write!(f, "write {}", lexer::quote(file)),
            Command::Close(n) => write!(f, "close {n}"),
            Command::Connection(n) => write!(f, "connection {n}"),
            Command::Socket(n) => write!(f, "socket {n}"),
            Command::Recent(n) => write!(f, "recent {n}"),
            Command::Servers => f.write_str("servers"),
            Command::Mode => f.write_str("mode"),
            Command::Pid => f.write_str("pid"),
            Command::Status => f.write_str("status"),
            Command::SslReload => f.write_str("ssl_reload"),
            Command::Exit => f.write_str("exit"),
        }
    }
}
