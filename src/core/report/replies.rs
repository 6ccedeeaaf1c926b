//! The replies to commands that query the state of pen, in C pen's words.

use std::fmt::Write as _;

use super::model::{ClientRow, ConnectionRow, ConnectionState, ServerRow};
use crate::core::settings::Settings;

/// The reply to `connection N`; without a row, the one for a number that no connection has.
pub fn connection(id: usize, row: Option<&ConnectionRow>) -> String {
    let Some(row) = row else {
        return format!(
            "Connection {id}:\nstate = 0\ndownfd = -1, upfd = -1\nclient = 0, server = 0\npend = 0\n"
        );
    };
    let state = match row.state {
        ConnectionState::Connecting | ConnectionState::Waiting => 1,
        ConnectionState::Connected => 2,
    };
    let pending = u64::from(row.pending_to_client_bytes) + u64::from(row.pending_to_server_bytes);
    let mut text = format!(
        "Connection {id}:\nstate = {state}\ndownfd = {}, upfd = {}\nclient = {}, server = {}\npend = {pending}\n",
        row.downfd,
        row.upfd,
        row.client_number(),
        row.server_number,
    );
    row.notes().iter().for_each(|note| _ = writeln!(text, "{note}"));
    text
}

/// A line of the reply to `servers`.
pub fn server(row: &ServerRow) -> String {
    format!(
        "{} addr {} port {} conn {} max {} hard {} weight {} prio {} sx {} rx {}\n",
        row.number,
        row.address,
        row.port,
        row.connections,
        row.max,
        row.hard,
        row.weight,
        row.prio,
        row.sent_bytes,
        row.received_bytes,
    )
}

/// A line of the reply to `recent`.
pub fn client(row: &ClientRow) -> String {
    format!("{} connects {} sx {} rx {}\n", row.label(), row.connects, row.sent_bytes, row.received_bytes)
}

/// The reply to `mode`.
pub fn mode(settings: &Settings) -> String {
    let modes = [
        (settings.hash, "hash"),
        (settings.roundrobin, "roundrobin"),
        (settings.stubborn, "stubborn"),
        (settings.weight, "weight"),
        (settings.prio, "prio"),
    ];
    let words: Vec<String> =
        modes.iter().map(|(on, word)| format!("{}{word}", if *on { "" } else { "no " })).collect();
    words.join(" ") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unused_connection_is_shown_as_c_pen_shows_it() {
        let shown = "Connection 3:\nstate = 0\ndownfd = -1, upfd = -1\nclient = 0, server = 0\npend = 0\n";
        assert_eq!(connection(3, None), shown);
    }
}
