//! The protocol of a control connection: one line to pen, one text back, framed here for both sides.

use crate::core::command::nearest;
use crate::core::error::{Error, Fault};

/// The prefix of a reply that says why a command was refused.
const ERROR: &str = "error: ";
/// The prefix of the reply to an unknown command, as in C pen.
const UNKNOWN: &str = "do_cmd: ignoring command starting with ";

/// The reply to a refused line: each error on its own line.
pub fn refusal(errors: &[Error]) -> String {
    let line = |error: &Error| match error.fault() {
        // In a file the error has a place, which C pen does not report.
        Fault::UnknownCommand { word, .. } if error.place().is_none() => format!("{UNKNOWN}'{word}'\n"),
        _ => format!("{ERROR}{error}\n"),
    };
    errors.iter().map(line).collect()
}

/// The line that carries a command.
pub fn frame(command: &str) -> String {
    format!("{command}\n")
}

/// Whether a reply is a refusal, to be printed to standard error.
pub fn is_refusal(reply: &str) -> bool {
    reply.starts_with(ERROR) || reply.starts_with(UNKNOWN)
}

/// A suggestion for a line that the reply calls an unknown command.
pub fn hint(line: &str, reply: &str) -> Option<String> {
    let word = line.split_ascii_whitespace().next().filter(|_| reply.starts_with(UNKNOWN))?;
    let words = nearest(word);
    (!words.is_empty()).then(|| format!("did you mean {}?", words.join(" or ")))
}

/// The query to make before a command whose reply does not say whether it has an effect: C pen replies alike to closing
/// an existing connection and a missing one.
pub fn question_before(command: &str) -> Option<String> {
    match command.split_ascii_whitespace().collect::<Vec<_>>()[..] {
        ["close", n] => Some(format!("connection {n}")),
        _ => None,
    }
}

/// Whether a command may end pen before another one could be answered.
pub fn ends_pen(command: &str) -> bool {
    matches!(command.split_ascii_whitespace().collect::<Vec<_>>()[..], ["exit"])
}

/// Whether the reply to that query means that the command will have no effect.
pub fn finds_nothing(reply: &str) -> bool {
    reply.lines().nth(1) == Some("state = 0")
}

/// Whether a command had no effect although its reply is not a refusal. The replies are C pen's and stay unchanged.
pub fn did_nothing(command: &str, reply: &str) -> bool {
    let words: Vec<&str> = command.split_ascii_whitespace().collect();
    match words[..] {
        ["status"] => reply == "Unable to create webstats\n",
        ["exit"] => reply == "Exit is not enabled; restart with -X flag\n",
        ["close" | "connection", _] => reply.ends_with(" out of range\n"),
        ["socket", _] => reply.ends_with(" belongs to connection -1\n"),
        // A slot number alone sets nothing.
        ["server", _] => reply.is_empty(),
        // A size that never shrinks: the reply is the present size.
        ["conn_max" | "clients_max", wanted] => {
            let number = |text: &str| text.trim_end().parse::<u64>().ok();
            number(reply).is_some() && number(reply) != number(wanted)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::error::Place;

    #[test]
    fn a_slip_gets_a_hint() {
        let reply = format!("{UNKNOWN}'servrs'\n");
        assert_eq!(hint("servrs", &reply).unwrap(), "did you mean servers or server?");
        assert_eq!(hint("frobnicate", &reply), None);
        assert_eq!(hint("servers", "0 addr ..."), None);
    }

    #[test]
    fn refusals_are_known_on_the_other_side() {
        let errors = [
            Error::expected("a port", "x").of("listen"),
            Fault::UnknownCommand { word: "foo".into(), nearest: vec![] }.into(),
        ];
        let reply = refusal(&errors);
        assert_eq!(
            reply,
            "error: listen: expected a port, got 'x'\ndo_cmd: ignoring command starting with 'foo'\n"
        );
        let in_file = errors[1].clone().at(&Place::Line("f".into(), 3));
        assert_eq!(refusal(&[in_file]), "error: f:3: 'foo' is not a command; see penctl(1)\n");
        assert!(is_refusal(&reply) && is_refusal(&refusal(&errors[1..])));
        assert!(!is_refusal("5\n") && !is_refusal(""));
    }

    #[test]
    fn a_connection_that_is_not_there_is_found_out_before() {
        assert_eq!(question_before("close  7").as_deref(), Some("connection 7"));
        assert_eq!(question_before("connection 7"), None);
        assert!(finds_nothing("Connection 7:\nstate = 0\ndownfd = -1, upfd = -1\n"));
        assert!(
            !finds_nothing("Connection 7:\nstate = 1\n") && !finds_nothing("Connection 7000 out of range\n")
        );
    }

    #[test]
    fn replies_tell_whether_something_was_done() {
        for (command, reply, nothing) in [
            ("status", "Unable to create webstats\n", true),
            ("status", "<!DOCTYPE html>\n", false),
            ("exit", "Exit is not enabled; restart with -X flag\n", true),
            ("exit", "", false),
            ("close 4000", "Connection 4000 out of range\n", true),
            ("close 4", "Forcibly closing connection 4\n", false),
            ("connection 4000", "Connection 4000 out of range\n", true),
            ("connection 4", "Connection 4:\nstate = 0\n", false),
            ("conn_max 100", "500\n", true),
            ("conn_max 0600", "600\n", false),
            ("conn_max", "500\n", false),
            ("clients_max 1", "2048\n", true),
            ("server 7", "", true),
            ("server 7 max 1", "", false),
            ("blacklist 3", "3\n", false),
        ] {
            assert_eq!(did_nothing(command, reply), nothing, "{command}: {reply}");
        }
    }
}
