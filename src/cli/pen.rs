//! The command line of pen: every option of C pen 0.17.2 and 0.34.1, and some new ones.
//!
//! Most options are short forms of commands of the control language, and are converted to these.

use clap::{Arg, ArgAction, ArgMatches, Command as Cli};

use crate::core::addr::{Host, Services, split_operand};
use crate::core::command::server_keys::{ServerChange, ServerConfig, ServerKey};
use crate::core::command::{Command, ServerRef};
use crate::core::config_file::ConfigLine;
use crate::core::error::{Error, Place};
use crate::core::lexer::{self, Word};
use crate::core::settings::{Setting, Value, ValueKind};

use super::{Stop, completions, utf8};

/// A parsed command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PenOptions {
    /// The commands that the options stand for, in a fixed order.
    pub lines: Vec<ConfigLine>,
    /// `-F`: the configuration file.
    pub file: Option<String>,
    /// `--check`: check the configuration and exit.
    pub check: bool,
    /// The first operand: the address to listen on.
    pub listen: Option<String>,
    /// The other operands: the servers.
    pub servers: Vec<String>,
    /// Options that are accepted without effect: one line each.
    pub notices: Vec<String>,
    /// Errors in single options, to be reported together with errors found elsewhere.
    pub errors: Vec<Error>,
}

/// An option with an argument that stands for a command: its letter, the command's word, the argument's name, its help.
const COMMANDS: [(char, &str, &str, &str); 22] = [
    ('B', "abuse", "host:port", "server for the clients that client_acl denies"),
    ('C', "control", "addr", "control socket: port, address:port or path"),
    ('T', "tracking", "sec", "how long a client is remembered (0: forever)"),
    ('b', "blacklist", "sec", "how long a failed server stays blacklisted (30)"),
    ('c', "clients_max", "N", "how many clients are remembered (2048)"),
    ('e', "emergency", "host:port", "server that is used when no other is available"),
    ('j', "chroot", "dir", "run in a chroot environment"),
    ('l', "log", "file|host:port", "log requests to a file, a penlogd or stdout (-)"),
    ('m', "multi_accept", "N", "how many connections are accepted in a row (100)"),
    ('p', "pidfile", "file", "write the process id there"),
    ('q', "backlog", "N", "length of the listen queue (500)"),
    ('t', "timeout", "sec", "how long connecting to a server may take (3)"),
    ('u', "user", "user", "become this user after binding"),
    ('w', "web_stats", "file", "write the status page there"),
    ('x', "conn_max", "N", "maximum concurrent connections (500)"),
    ('E', "ssl_certfile", "file", "certificate chain"),
    ('K', "ssl_keyfile", "file", "private key (default: in the certificate's file)"),
    ('G', "ssl_cacert_file", "file", "certificate authorities for client certificates"),
    ('A', "ssl_cacert_dir", "dir", "hashed directory of such authorities"),
    ('L', "ssl_protocol", "proto", "oldest TLS version: tls1.2 or tls1.3"),
    ('O', "", "command", "run one control command at start; repeatable"),
    ('o', "", "command", "the same as -O"),
];

/// An option without an argument that stands for a command.
const FLAGS: [(char, &str, &str); 13] = [
    ('H', "http", "add X-Forwarded-For and X-Forwarded-Proto to HTTP requests"),
    ('N', "nomemory", "hash for the first choice and do not remember the server"),
    ('U', "udp", "balance UDP datagrams"),
    ('W', "weight", "select by weight"),
    ('X', "enable_exit", "allow the control command exit"),
    ('a', "ascii", "dumps in ASCII rather than hexadecimal"),
    ('f', "foreground", "stay in the foreground"),
    ('h', "hash", "hash of the client's address for the first choice"),
    ('r', "roundrobin", "round robin, do not remember clients"),
    ('s', "stubborn", "close the connection rather than fail over"),
    ('Z', "ssl_compat", "compatibility with defects of old clients"),
    ('R', "ssl_require_client_cert", "require a client certificate"),
    ('d', "", "debug; repeat for more"),
];

/// The headings of the help, and the letters of the options under each.
const HEADINGS: [(&str, &str); 7] = [
    ("Configuration", "FOo"),
    ("Choosing a server", "rhNWsTbcBe"),
    ("Connections", "tUHxmq"),
    ("TLS", "EKGARLZ"),
    ("Process and control", "fujpCX"),
    ("Logs and statistics", "lwda"),
    ("Accepted for compatibility, without effect", "DPQSn"),
];

/// Options of C pen that are obsolete: the letter, whether it takes an argument, the reason.
const OBSOLETE: [(char, bool, &str); 5] = [
    ('D', false, "data is always forwarded at once"),
    ('P', false, "the system's best event interface is used"),
    ('Q', false, "the system's best event interface is used"),
    ('S', true, "the table of servers grows as needed"),
    ('n', false, "sockets never block"),
];

fn cli() -> Cli {
    let valued = |letter: char, value: &'static str, help: &'static str| {
        Arg::new(letter.to_string())
            .short(letter)
            .value_name(value)
            .help(help)
            .action(ArgAction::Append)
            // A value may begin with a hyphen, so that its error can say what is expected.
            .allow_hyphen_values(true)
    };
    let switch = |letter: char| {
        let action = if letter == 'd' { ArgAction::Count } else { ArgAction::SetTrue };
        Arg::new(letter.to_string()).short(letter).action(action).overrides_with(letter.to_string())
    };
    let mut cli = Cli::new("pen")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Load balancer for simple TCP protocols and UDP")
        .override_usage(
            "pen [options] [host:]port|/path [server...]\n\n\
             A server is host[:port[:soft[:hard[:weight[:prio]]]]], or /path.",
        )
        .disable_help_flag(true)
        .disable_version_flag(true)
        .arg(Arg::new("help").long("help").action(ArgAction::Help).help("show this help"))
        .arg(
            Arg::new("version")
                .short('V')
                .long("version")
                .action(ArgAction::Version)
                .help("show the version"),
        )
        .arg(
            Arg::new("check")
                .long("check")
                .action(ArgAction::SetTrue)
                .help("report everything that is wrong, and serve nothing"),
        )
        .arg(
            Arg::new("completions")
                .long("completions")
                .value_name("shell")
                .help("write completions for bash, ksh or zsh"),
        )
        .arg(valued('F', "file", "configuration file, read after the options and on HUP"))
        .arg(Arg::new("operands").num_args(0..).hide(true));
    for (letter, _, value, help) in COMMANDS {
        cli = cli.arg(valued(letter, value, help));
    }
    for (letter, _, help) in FLAGS {
        cli = cli.arg(switch(letter).help(help));
    }
    for (letter, takes, why) in OBSOLETE {
        let arg = if takes { valued(letter, "N", why) } else { switch(letter).help(why) };
        cli = cli.arg(arg);
    }
    for (heading, letters) in HEADINGS {
        for letter in letters.chars() {
            cli = cli.mut_arg(letter.to_string(), |arg| arg.help_heading(heading));
        }
    }
    cli
}

/// Parses a command line; `argv` begins with the program's name.
///
/// # Errors
/// See [`Stop`]; known options with invalid arguments are reported in [`PenOptions::errors`].
pub fn parse(
    argv: impl IntoIterator<Item = std::ffi::OsString>,
    services: &Services,
) -> Result<PenOptions, Stop> {
    let mut argv = argv.into_iter();
    let program = argv.next().map(|name| Ok(name.to_string_lossy().into_owned()));
    let words = program.into_iter().chain(argv.map(|word| utf8(&word))).collect::<Result<Vec<_>, _>>()?;
    let matches = cli().try_get_matches_from(words).map_err(Stop::from)?;
    if let Some(shell) = matches.get_one::<String>("completions") {
        return Err(Stop::Text(completions::options("pen", &cli(), shell)?));
    }
    let mut errors = Vec::new();
    let mut options = PenOptions { check: matches.get_flag("check"), ..PenOptions::default() };
    let mut add = |options: &mut PenOptions, at: &str, line: &str| match Command::parse(line, services) {
        Ok(Some(command)) => options.lines.push(ConfigLine::option(at, command)),
        Ok(None) => {}
        Err(error) => errors.push(error.at(&Place::Option(at.to_owned()))),
    };
    for (letter, word, _) in FLAGS {
        let at = format!("-{letter}");
        if letter == 'd' {
            let level = matches.get_count("d").min(9);
            if level > 0 {
                add(&mut options, &at, &format!("debug {level}"));
            }
        } else if matches.get_flag(&letter.to_string()) {
            add(&mut options, &at, word);
            if letter == 'N' {
                add(&mut options, &at, "hash");
            }
        }
    }
    for (letter, word, _, _) in COMMANDS {
        let at = format!("-{letter}");
        for value in values(&matches, letter) {
            if word.is_empty() {
                add(&mut options, &format!("{at} '{value}'"), &value);
            } else {
                let value = raised(letter, word, value, &mut options.notices);
                add(&mut options, &at, &format!("{word} {}", lexer::quote(&value)));
            }
        }
    }
    for (letter, takes, why) in OBSOLETE {
        let given = if takes {
            values(&matches, letter).next().is_some()
        } else {
            matches.get_flag(&letter.to_string())
        };
        if given {
            options.notices.push(format!("-{letter}: has no effect: {why}"));
        }
    }
    options.file = values(&matches, 'F').last();
    let mut operands = matches.get_many::<String>("operands").into_iter().flatten().cloned();
    options.listen = operands.next();
    options.servers = operands.collect();
    options.errors = errors;
    Ok(options)
}

fn values(matches: &ArgMatches, letter: char) -> impl Iterator<Item = String> {
    let values = matches.get_many::<String>(&letter.to_string());
    values.into_iter().flatten().cloned().collect::<Vec<_>>().into_iter()
}

/// C pen raises too low a number for -q and -m, and says so.
fn raised(letter: char, word: &str, value: String, notices: &mut Vec<String>) -> String {
    let min = match letter {
        'q' | 'm' => Setting::by_word(word).map_or(0, least),
        _ => 0,
    };
    match value.parse::<u64>() {
        Ok(n) if n < min => {
            notices.push(format!("-{letter} {n}: raised to {min}, the least that is allowed"));
            min.to_string()
        }
        _ => value,
    }
}

/// The minimum of a numeric setting.
fn least(setting: Setting) -> u64 {
    match setting.spec().kind {
        ValueKind::Number { min, .. } => min,
        _ => 0,
    }
}

/// Parses a server operand, `host[:port[:soft[:hard[:weight[:prio]]]]]`. An empty or missing field has its default;
/// that of the port is `port`, the one that pen listens on.
///
/// # Errors
/// A bad host, port or number; a missing port when pen listens on none.
pub fn server(n: usize, operand: &str, port: Option<u16>, services: &Services) -> Result<Command, Error> {
    fields(n, operand, port, services).map_err(|error| error.at(&Place::Operand(operand.to_owned())))
}

fn fields(n: usize, operand: &str, port: Option<u16>, services: &Services) -> Result<Command, Error> {
    let (host, fields) = split_operand(operand)?;
    let host = Host::parse(host)?;
    if let Some(extra) = fields.get(5) {
        return Err(Error::expected("host:port:soft:hard:weight:prio at most", *extra));
    }
    let field = |at: usize| fields.get(at).copied().filter(|f| !f.is_empty());
    let number = |at: usize, name: &str, key: ServerKey| match field(at) {
        None => Ok(ServerChange::Set(key, key.default())),
        Some(text) => {
            let value = key.spec().kind.parse(&Word::plain(text), services);
            value.map(|value| ServerChange::Set(key, value)).map_err(|error| error.of(name))
        }
    };
    let port = match (&host, field(0), port) {
        (Host::Unix(_), _, _) => ServerConfig::UNIX_PORT,
        (_, Some(text), _) => services.port(text).map_err(|error| error.of("port"))?,
        (_, None, Some(port)) => port,
        (_, None, None) => {
            return Err(Error::new("has no port, and pen listens on none that could stand for it"));
        }
    };
    Ok(Command::Server(
        ServerRef::Slot(n),
        vec![
            ServerChange::Set(ServerConfig::address(), Value::Host(host)),
            ServerChange::Set(ServerConfig::port(), Value::Number(port.into())),
            number(1, "soft limit", ServerConfig::max())?,
            number(2, "hard limit", ServerConfig::hard())?,
            number(3, "weight", ServerConfig::weight())?,
            number(4, "priority", ServerConfig::prio())?,
        ],
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(line: &str) -> Result<PenOptions, Stop> {
        let argv = std::iter::once("pen").chain(line.split_whitespace());
        parse(argv.map(Into::into), &Services::parse(""))
    }

    fn lines(line: &str) -> Vec<String> {
        parsed(line).unwrap().lines.iter().map(|l| l.command.to_string()).collect()
    }

    #[test]
    fn options_are_commands() {
        assert_eq!(lines("-r -t 5 80 a:1 -t 3"), ["roundrobin", "timeout 5", "timeout 3"]);
        assert_eq!(lines("-Ur 80"), ["udp", "roundrobin"]);
        assert_eq!(lines("-f -df 80"), ["foreground", "debug 1"]);
        assert_eq!(lines("-ddd 80"), ["debug 3"]);
        assert_eq!(lines("-N 80"), ["nomemory", "hash"]);
        assert_eq!(lines("-x10 80"), ["conn_max 10"]);
        let options = parsed("-F /x 80 a:1 --check b:2:3").unwrap();
        assert_eq!((options.listen.as_deref(), options.check), (Some("80"), true));
        assert_eq!(options.servers, ["a:1", "b:2:3"]);
        assert_eq!(options.file.as_deref(), Some("/x"));
    }

    #[test]
    fn every_error_is_one_line() {
        for line in [
            "-z 80",
            "-t",
            "-t 0 80",
            "-t -1 80",
            "-b x 80",
            "-C a:b:c 80",
            "--nosuch",
            "-O frobnicate 80",
            "-L ssl9",
        ] {
            let errors = match parsed(line) {
                Ok(options) => Stop::from(options.errors).lines(),
                Err(Stop::Errors(errors)) => errors,
                other => panic!("{line}: {other:?}"),
            };
            assert!(!errors.is_empty(), "{line}");
            assert!(errors.iter().all(|e| !e.contains('\n') && !e.is_empty()), "{line}: {errors:?}");
        }
        assert!(matches!(parsed("--help"), Err(Stop::Text(text)) if text.contains("-F <file>")));
        assert!(matches!(parsed("--version"), Err(Stop::Text(_))));
    }

    #[test]
    fn what_is_obsolete_is_said() {
        assert_eq!(parsed("-n -S 5 -P 80").unwrap().notices.len(), 3);
        let raised = parsed("-q 10 80").unwrap();
        assert_eq!((raised.notices.len(), raised.lines[0].command.to_string()), (1, "backlog 50".into()));
    }

    #[test]
    fn server_operands() {
        let shown = |operand| server(2, operand, Some(80), &Services::parse("")).map(|c| c.to_string());
        let all = "server 2 address a port 8000 max 10 hard 20 weight 3 prio 4";
        assert_eq!(shown("a:8000:10:20:3:4"), Ok(all.into()));
        assert_eq!(shown("[::1]"), Ok("server 2 address ::1 port 80 max 0 hard 0 weight 0 prio 0".into()));
        assert_eq!(
            shown("/run/x:5:6"),
            Ok("server 2 address /run/x port 1 max 6 hard 0 weight 0 prio 0".into())
        );
        for bad in ["", "a:x", "a:80:-5", "a:1:2:3:4:5:6", "[::1", "a b"] {
            assert!(shown(bad).is_err(), "{bad}");
        }
        assert!(server(0, "a", None, &Services::default()).is_err());
    }

    proptest! {
        #[test]
        fn any_command_line_is_survived(args in prop::collection::vec("(-[A-Za-z])?[ -~]{0,8}", 0..6)) {
            let argv = std::iter::once("pen".to_owned()).chain(args);
            if let Ok(options) = parse(argv.map(Into::into), &Services::parse("")) {
                options.servers.iter().for_each(|operand| _ = server(0, operand, None, &Services::parse("")));
            }
        }
    }
}
