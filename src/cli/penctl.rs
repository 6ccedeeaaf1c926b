//! The command line of penctl: where to, and the words of one command.

use std::ffi::OsString;
use std::fmt::Write as _;

use crate::core::addr::{Endpoint, Services};
use crate::core::command::{LINE_MAX, help};

use super::Stop;

/// What penctl is to do.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// The control socket.
    pub target: Endpoint,
    /// The command, a line without its line feed.
    pub line: String,
}

const USAGE: &str = "usage: penctl host:port|/path/to/socket command";

/// Reads the arguments; `argv` begins with the program's name. Everything behind the address belongs to the command,
/// whatever it begins with.
///
/// # Errors
/// No address or command, a bad address, a command of more than one line or of more than [`LINE_MAX`] bytes.
pub fn parse(argv: impl IntoIterator<Item = OsString>, services: &Services) -> Result<Request, Stop> {
    let words: Vec<String> = argv.into_iter().skip(1).map(|w| w.to_string_lossy().into_owned()).collect();
    let error = |text: String| Err(Stop::Errors(vec![text]));
    match words.first().map(String::as_str) {
        Some("--help") => return Err(Stop::Text(help())),
        Some("--version") => return Err(Stop::Text(format!("penctl {}\n", env!("CARGO_PKG_VERSION")))),
        _ => {}
    }
    let [target, command @ ..] = words.as_slice() else { return error(USAGE.into()) };
    if command.is_empty() {
        return error(USAGE.into());
    }
    let target = Endpoint::with_port(target, services)?;
    let line = command.join(" ");
    if line.contains(['\n', '\r']) {
        return error("a command is one line; expected no line end in it".into());
    }
    if line.len() > LINE_MAX {
        return error(format!("the command is {} bytes long; expected at most {LINE_MAX}", line.len()));
    }
    Ok(Request { target, line })
}

/// Every command with one line each.
fn help() -> String {
    let lines = help::lines();
    let width = lines.iter().map(|(usage, _)| usage.len()).max().unwrap_or(0);
    let mut text = format!("{USAGE}\n\nCommands (see penctl(1)):\n");
    for (usage, help) in lines {
        _ = writeln!(text, "  {usage:width$}  {help}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Request, Stop> {
        let argv = std::iter::once("penctl").chain(words.iter().copied());
        parse(argv.map(Into::into), &Services::parse(""))
    }

    #[test]
    fn the_words_are_joined_by_blanks() {
        let request = parsed(&["localhost:8888", "server", "0", "-x", "", "a b"]).unwrap();
        assert_eq!(request.line, "server 0 -x  a b");
        assert_eq!(parsed(&["/run/pen", "pid"]).unwrap().target.to_string(), "/run/pen");
        assert_eq!(parsed(&["::1:99", "pid"]).unwrap().target.to_string(), "[::1]:99");
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
    }
}
