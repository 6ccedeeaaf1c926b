//! The command line of mergelogs.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, ValueParser};
use clap::{Arg, ArgAction, Command as Cli, value_parser};

use crate::weblog::mergelogs::MergelogsOptions;
use crate::weblog::timestamp::Zone;

use super::{Stop, information};

/// The largest jitter: ten years.
const JITTER_MAX: i64 = 315_360_000;

/// A parsed command line, with notices.
#[derive(Debug, PartialEq, Eq)]
pub struct MergelogsArgs {
    /// What to do.
    pub options: MergelogsOptions,
    /// Options without effect: one line each.
    pub notices: Vec<String>,
}

fn cli() -> Cli {
    let valued = |letter: char, value: &'static str, help: &'static str, parser: ValueParser| {
        let arg = Arg::new(letter.to_string()).short(letter).value_name(value).help(help);
        arg.allow_hyphen_values(true).value_parser(parser)
    };
    let switch = |letter: char, help: &'static str| {
        Arg::new(letter.to_string()).short(letter).help(help).action(ArgAction::SetTrue)
    };
    let path = || value_parser!(PathBuf);
    let jitter = value_parser!(i64).range(0..=JITTER_MAX);
    Cli::new("mergelogs")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_flag(true)
        .disable_version_flag(true)
        .about("Merge the logs of the web servers behind pen, with the real client addresses")
        .override_usage("mergelogs -p penlog [options] server:logfile...")
        .args_override_self(true)
        .next_help_heading("Operands")
        .arg(
            Arg::new("logs")
                .value_name("server:logfile")
                .num_args(0..)
                .value_parser(OsStringValueParser::new())
                .help("server as pen logs it (IPv6 in brackets), its log"),
        )
        .next_help_heading("Logs (gzip, bzip2, xz and zstd are read; - is standard input)")
        .arg(valued('p', "penlog", "log of pen", path()))
        .arg(valued('o', "file", "write to this file (standard output)", path()))
        .next_help_heading("Matching and time")
        .arg(valued('j', "jitter", "seconds that two clocks may differ (600)", jitter.into()))
        .arg(Arg::new("utc").long("utc").action(ArgAction::SetTrue).help("convert time stamps to UTC"))
        .arg(
            Arg::new("zone")
                .long("zone")
                .value_name("zone")
                .allow_hyphen_values(true)
                .help("zone of stamps without a clear one (UTC)"),
        )
        .next_help_heading("Information")
        .arg(switch('d', "report lines without a match; twice: all lines").action(ArgAction::Count))
        .args(information())
        .next_help_heading("Accepted for compatibility, without effect")
        .arg(switch('c', "do not cache"))
        .arg(valued('t', "seconds", "time zone of pen's host", value_parser!(i64).into()))
}

/// Parses the arguments; `argv` begins with the program's name.
///
/// # Errors
/// See [`Stop`].
pub fn parse(argv: impl IntoIterator<Item = OsString>) -> Result<MergelogsArgs, Stop> {
    let mut matches = cli().try_get_matches_from(argv).map_err(Stop::from)?;
    let mut errors = Vec::new();
    let pen = matches.remove_one::<PathBuf>("p");
    if pen.is_none() {
        errors.push("-p penlog is missing; see --help".to_owned());
    }
    let mut logs = Vec::new();
    for operand in matches.remove_many::<OsString>("logs").into_iter().flatten() {
        match log(&operand) {
            Ok(log) => logs.push(log),
            Err(why) => {
                errors.push(format!("expected server:logfile, got '{}': {why}", operand.to_string_lossy()))
            }
        }
    }
    if logs.is_empty() && errors.is_empty() {
        errors.push("expected server:logfile, one or more; see --help".into());
    }
    let stdin = logs.iter().map(|(_, path)| path).chain(&pen).filter(|path| path.as_os_str() == "-").count();
    if stdin > 1 {
        errors.push(format!("expected standard input (-) for one log at most, got it for {stdin}"));
    }
    let zone = matches.remove_one::<String>("zone").map(|text| Zone::parse(&text)).transpose();
    if let Err(error) = &zone {
        errors.push(format!("--zone: {error}"));
    }
    let (Some(pen), Ok(zone), true) = (pen, zone, errors.is_empty()) else {
        return Err(Stop::Errors(errors));
    };
    let notice =
        matches.contains_id("t").then(|| "-t has no effect: every time stamp carries its zone".to_owned());
    Ok(MergelogsArgs {
        options: MergelogsOptions {
            pen,
            debug: matches.get_count("d").into(),
            jitter: matches.remove_one("j").unwrap_or(600),
            output: matches.remove_one("o"),
            utc: matches.get_flag("utc"),
            zone,
            logs,
        },
        notices: notice.into_iter().collect(),
    })
}

/// Splits `server:logfile`; the logfile may contain any bytes.
fn log(operand: &OsString) -> Result<(String, PathBuf), &'static str> {
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    let bytes = operand.as_bytes();
    let (server, file) = if let Some(rest) = bytes.strip_prefix(b"[") {
        let end = memchr::memchr(b']', rest).ok_or("it has no ']'")?;
        (&rest[..end], rest[end + 1..].strip_prefix(b":").ok_or("it has no ':' behind ']'")?)
    } else {
        let colon = memchr::memchr(b':', bytes).ok_or("it has no ':'")?;
        (&bytes[..colon], &bytes[colon + 1..])
    };
    let server = std::str::from_utf8(server).map_err(|_| "its server is not UTF-8 text")?;
    if server.is_empty() {
        return Err("it has no server (an IPv6 address stands in brackets)");
    }
    if file.is_empty() {
        return Err("it has no logfile");
    }
    Ok((server.to_owned(), OsString::from_vec(file.to_vec()).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<MergelogsArgs, Stop> {
        parse(line.split(' ').map(Into::into))
    }

    #[test]
    fn what_c_takes_and_more() {
        let request =
            parsed("mergelogs -cdd -p pen.log -j 5 -t -7200 10.0.0.1:a [::1]:b:c -o out --utc").unwrap();
        assert_eq!(request.notices.len(), 1);
        let logs = vec![("10.0.0.1".to_owned(), "a".into()), ("::1".to_owned(), "b:c".into())];
        let wanted = MergelogsOptions {
            pen: "pen.log".into(),
            debug: 2,
            jitter: 5,
            output: Some("out".into()),
            utc: true,
            zone: None,
            logs,
        };
        assert_eq!(request.options, wanted);
        assert_eq!(parsed("mergelogs -p pen.log 10.0.0.1:a").unwrap().options.jitter, 600);
        for zone in ["+0200", "-05:30", "Europe/Berlin"] {
            let request = parsed(&format!("mergelogs -p pen.log --zone {zone} 10.0.0.1:a")).unwrap();
            assert_eq!(request.options.zone, Zone::parse(zone).ok());
        }
    }

    #[test]
    fn errors_are_one_line_each() {
        for (line, n) in [
            ("mergelogs", 1),
            ("mergelogs a:b", 1),
            ("mergelogs -p x", 1),
            ("mergelogs -p x a :b a: [::1 [::1]b", 5),
            ("mergelogs -p - a:-", 1),
            ("mergelogs -p x -j -1 a:b", 1),
            ("mergelogs -p x -t x a:b", 1),
            ("mergelogs -p x --zone Nowhere a:b", 1),
        ] {
            assert!(
                matches!(parsed(line), Err(Stop::Errors(e)) if e.len() == n),
                "{line}: {:?}",
                parsed(line)
            );
        }
    }
}
