//! The command line of penlog.

use std::ffi::OsString;
use std::net::IpAddr;

use clap::{Arg, Command as Cli};

use crate::core::Error;
use crate::core::addr::Services;
use crate::weblog::Target;
use crate::weblog::penlog::Options;

use super::Stop;

/// Reads the arguments; `argv` begins with the program's name.
///
/// # Errors
/// See [`Stop`].
pub fn parse(argv: impl IntoIterator<Item = OsString>, services: &Services) -> Result<Options, Stop> {
    let cli = Cli::new("penlog")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Send a web server's log to penlogd")
        .override_usage("penlog server_ip server_port [my_ip]\n       penlog server_ip:server_port")
        .arg(Arg::new("server").value_name("server_ip").help("where penlogd runs"))
        .arg(Arg::new("port").value_name("server_port").help("its UDP port"))
        .arg(
            Arg::new("source")
                .value_name("my_ip")
                .help("the address to send from: that of this web server in pen's command line"),
        );
    let mut matches = cli.try_get_matches_from(argv).map_err(Stop::from)?;
    let Some(server) = matches.remove_one::<String>("server") else {
        return Err(Stop::Errors(vec!["server_ip and server_port are missing; see --help".into()]));
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
) -> Result<Options, Error> {
    let text = match port {
        Some(port) if server.contains(':') && !server.starts_with('[') => format!("[{server}]:{port}"),
        Some(port) => format!("{server}:{port}"),
        None if server.contains(':') => server.to_owned(),
        None => return Err(Error::new("server_port is missing; allowed is server_ip server_port [my_ip]")),
    };
    let source = source.map(|text| text.parse::<IpAddr>().map_err(|_| bad_source(text))).transpose()?;
    match Target::parse(&text, services)? {
        Target::Udp { host, port, .. } => Ok(Options { host, port, source }),
        _ => Err(Error::new(format!("'{server}' is no host; allowed is a name or an address"))),
    }
}

fn bad_source(text: &str) -> Error {
    Error::new(format!("my_ip '{text}' is not allowed; allowed is an IPv4 or IPv6 address of this machine"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Options, Stop> {
        let argv = std::iter::once("penlog").chain(words.iter().copied());
        parse(argv.map(Into::into), &Services::parse(""))
    }

    #[test]
    fn what_c_takes_and_more() {
        let options = |host: &str, port, source: Option<&str>| {
            Ok(Options { host: host.into(), port, source: source.map(|s| s.parse().unwrap()) })
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
