//! The command line of penlogd.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, Command as Cli, value_parser};

use crate::core::Error;
use crate::core::addr::{Endpoint, Host, Services};
use crate::weblog::SinkTarget;
use crate::weblog::penlogd::PenlogdOptions;

use super::{Stop, information};

/// The maximum number of pen's entries that can be kept: about 100 bytes each.
const ENTRIES_MAX: u64 = 100_000_000;

/// The longest time that a line may wait for its entry, in milliseconds.
const HOLD_MAX: u64 = 60_000;

fn cli() -> Cli {
    let valued = |letter: char, value: &'static str, help: &'static str, parser: ValueParser| {
        let arg = Arg::new(letter.to_string()).short(letter).value_name(value).help(help);
        arg.allow_hyphen_values(true).value_parser(parser)
    };
    let path = || value_parser!(PathBuf);
    let switch = |letter: char, help: &'static str| {
        Arg::new(letter.to_string()).short(letter).help(help).action(ArgAction::SetTrue)
    };
    let number = |range: std::ops::RangeInclusive<u64>| value_parser!(u64).range(range).into();
    Cli::new("penlogd")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_flag(true)
        .disable_version_flag(true)
        .about("Write one log for the web servers behind pen")
        .override_usage("penlogd [options] port|address:port")
        .args_override_self(true)
        .next_help_heading("Operands")
        .arg(Arg::new("port").help("port to receive on; default address: every one"))
        .next_help_heading("Log")
        .arg(valued('l', "file", "append to this file (standard output)", path()))
        .arg(switch('b', "write each line at once"))
        .next_help_heading("Matching")
        .arg(valued('n', "N", "entries of pen to keep (1000)", number(1..=ENTRIES_MAX)))
        .arg(valued('w', "ms", "how long a line waits for its entry (200)", number(0..=HOLD_MAX)))
        .next_help_heading("Process")
        .arg(valued('a', "acl-file", "access list of senders: permit|deny lines", path()))
        .arg(switch('f', "stay in the foreground"))
        .arg(valued('j', "dir", "run in a chroot environment", path()))
        .arg(valued('p', "file", "write the process id to this file", path()))
        .arg(valued('u', "user", "become this user", value_parser!(String)))
        .next_help_heading("Information")
        .arg(switch('d', "report invalid datagrams; twice: all").action(ArgAction::Count))
        .args(information())
}

/// Parses the arguments; `argv` begins with the program's name.
///
/// # Errors
/// See [`Stop`].
pub fn parse(argv: impl IntoIterator<Item = OsString>, services: &Services) -> Result<PenlogdOptions, Stop> {
    let mut matches = cli().try_get_matches_from(argv).map_err(Stop::from)?;
    let mut path = |letter: &str| matches.remove_one::<PathBuf>(letter);
    let (acl, jail, pid_file) = (path("a"), path("j"), path("p"));
    let log = path("l").map_or(SinkTarget::Stdout, |file| SinkTarget::from(file.as_path()));
    let mut number = |letter: &str, default| matches.remove_one::<u64>(letter).unwrap_or(default);
    let (entries, hold) = (number("n", 1000), number("w", 200));
    let Some(port) = matches.remove_one::<String>("port") else {
        return Err(Stop::Errors(vec!["expected port or address:port; see --help".into()]));
    };
    let (address, port) =
        listening(&port, services).map_err(|error| Stop::Errors(vec![error.to_string()]))?;
    Ok(PenlogdOptions {
        acl,
        unbuffered: matches.get_flag("b"),
        debug: matches.get_count("d").into(),
        foreground: matches.get_flag("f"),
        jail,
        log,
        entries: usize::try_from(entries).unwrap_or(usize::MAX),
        pid_file,
        user: matches.remove_one("u"),
        hold: Duration::from_millis(hold),
        address,
        port,
    })
}

fn listening(text: &str, services: &Services) -> Result<(Option<std::net::IpAddr>, u16), Error> {
    if !text.contains([':', '/']) {
        return Ok((None, services.port(text)?));
    }
    match Endpoint::listening(text, services)? {
        Endpoint { host: Host::Ip(ip), port } => Ok((Some(ip), port)),
        _ => Err(Error::expected("port, address:port or [address]:port", text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<PenlogdOptions, Stop> {
        let argv = std::iter::once("penlogd").chain(words.iter().copied());
        parse(argv.map(Into::into), &Services::parse(""))
    }

    #[test]
    fn defaults() {
        let options = parsed(&["10000"]).unwrap();
        assert_eq!(
            (options.address, options.port, options.entries, options.hold.as_millis()),
            (None, 10000, 1000, 200)
        );
        assert!(!options.foreground && options.log == SinkTarget::Stdout);
        assert_eq!(parsed(&["-l", "-", "10000"]).unwrap().log, SinkTarget::Stdout);
    }

    #[test]
    fn every_option_of_c_in_any_order() {
        let line = "-fd -b 10.0.0.1:514 -j /jail -l a -l b -n 5 -p pid -u nobody -w 0 -a acl";
        let options = parsed(&line.split(' ').collect::<Vec<_>>()).unwrap();
        assert!(options.foreground && options.unbuffered && options.debug == 1 && options.hold.is_zero());
        assert_eq!((options.address, options.port, options.entries), ("10.0.0.1".parse().ok(), 514, 5));
        assert_eq!((options.log, options.jail), (SinkTarget::File("b".into()), Some("/jail".into())));
        assert_eq!(
            (options.user.as_deref(), options.acl, options.pid_file),
            (Some("nobody"), Some("acl".into()), Some("pid".into()))
        );
        assert_eq!(parsed(&["[::1]:5"]).unwrap().address, "::1".parse().ok());
    }

    #[test]
    fn errors_are_one_line() {
        for words in [
            &[][..],
            &["x"],
            &["65536"],
            &["name:5"],
            &["/path"],
            &["-n", "0", "5"],
            &["-n", "x", "5"],
            &["-w", "-1", "5"],
            &["5", "6"],
            &["-z", "5"],
        ] {
            assert!(
                matches!(parsed(words), Err(Stop::Errors(e)) if e.len() == 1 && !e[0].contains('\n')),
                "{words:?}"
            );
        }
    }
}
