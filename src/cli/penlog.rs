//! The command line of penlog.

use std::ffi::OsString;
use std::net::IpAddr;

use clap::{Arg, Command as Cli};

use crate::core::Error;
use crate::core::addr::Services;
use crate::core::log_target::LogTarget;
use crate::weblog::penlog::PenlogOptions;

use super::{Stop, information};

/// Parses the arguments; `argv` begins with the program's name.
///
/// # Errors
/// See [`Stop`].
pub fn parse(argv: impl IntoIterator<Item = OsString>, services: &Services) -> Result<PenlogOptions, Stop> {
    let cli = Cli::new("penlog")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_flag(true)
        .disable_version_flag(true)
        .about("Send a web server's log to penlogd")
        .override_usage("penlog server_ip server_port [my_ip]\n       penlog server_ip:server_port")
        .next_help_heading("Operands")
        .arg(
            Arg::new("server")
                .value_name("server_ip")
                .display_order(1)
                .help("name or address of penlogd's host"),
        )
        .arg(Arg::new("port").value_name("server_port").display_order(2).help("UDP port of penlogd"))
        .arg(
            Arg::new("source")
                .value_name("my_ip")
                .display_order(3)
                .help("address to send from, as pen knows this server"),
        )
        .next_help_heading("Information")
        .args(information());
    let mut matches = cli.try_get_matches_from(argv).map_err(Stop::from)?;
    let Some(server) = matches.remove_one::<String>("server") else {
        return Err(Stop::Errors(vec!["expected server_ip server_port [my_ip]; see --help".into()]));
    };
    let port: Option<String> = matches.remove_one("port");
    let source: Option<String> = matches.remove_one("source");
    target(&server, port.as_deref(), source.as_deref(), services)
        .map_err(|error| Stop::Errors(vec![error.to_string()]))
}

fn target(
    server: &str,
    port: Option<&str>,
    source: Option<&str>,
    services: &Services,
) -> Result<PenlogOptions, Error> {
    let text = match port {
        Some(port) if server.contains(':') && !server.starts_with('[') => format!("[{server}]:{port}"),
        Some(port) => format!("{server}:{port}"),
        None if server.contains(':') => server.to_owned(),
        None => return Err(Error::new(format!("expected a server_port behind server_ip '{server}'"))),
    };
    let source = source.map(|text| text.parse::<IpAddr>().map_err(|_| bad_source(text))).transpose()?;
    match LogTarget::parse(&text, services)? {
        LogTarget::Penlogd { host, port } => Ok(PenlogOptions { host: host.to_string(), port, source }),
        _ => Err(Error::expected("a name or an address as server_ip", server)),
    }
}

fn bad_source(text: &str) -> Error {
    Error::expected("an address of this machine as my_ip", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<PenlogOptions, Stop> {
        let argv = std::iter::once("penlog").chain(words.iter().copied());
        parse(argv.map(Into::into), &Services::parse(""))
    }

    #[test]
    fn what_c_takes_and_more() {
        let options = |host: &str, port, source: Option<&str>| {
            Ok(PenlogOptions { host: host.into(), port, source: source.map(|s| s.parse().unwrap()) })
        };
        assert_eq!(parsed(&["10.0.0.1", "10000"]), options("10.0.0.1", 10000, None));
        assert_eq!(parsed(&["lbhost", "http", "10.0.0.2"]), options("lbhost", 80, Some("10.0.0.2")));
        assert_eq!(parsed(&["::1", "5", "::1"]), options("::1", 5, Some("::1")));
        assert_eq!(parsed(&["[::1]:5"]), options("::1", 5, None));
        assert_eq!(parsed(&["lbhost:10000"]), options("lbhost", 10000, None));
    }

    #[test]
    fn errors_are_one_line() {
        for words in [
            &[][..],
            &["a"],
            &["a", "0"],
            &["a", "x"],
            &["a", "1", "name"],
            &["a", "1", "::1", "b"],
            &["/a", "1"],
        ] {
            assert!(
                matches!(parsed(words), Err(Stop::Errors(e)) if e.len() == 1 && !e[0].contains('\n')),
                "{words:?}"
            );
        }
        assert!(matches!(parsed(&["--help"]), Err(Stop::Text(_))));
    }
}
