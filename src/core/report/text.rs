//! The statistics as lines of text, for pen's own log.

use std::fmt::Write as _;

use super::model::{ClientRow, ConnectionRow, ServerRow, Status};
use super::pieces::{Pieces, Rows, lines};

/// The statistics.
pub fn statistics(
    status: Status,
    servers: Rows<ServerRow>,
    clients: Rows<ClientRow>,
    connections: Rows<ConnectionRow>,
) -> Pieces {
    let (count, current, time) = (status.servers, status.current, &status.time);
    let begin = format!("Time {time}, {count} servers, {current} current\n");
    let clients_begin = format!("Max number of clients: {}\nActive clients:\n", status.clients_max);
    let mut between = String::new();
    if status.refused > 0 {
        _ = writeln!(between, "Connections refused by limits of clients: {}", status.refused);
    }
    if status.unannounced > 0 {
        _ = writeln!(
            between,
            "Connections closed for a missing or wrong PROXY header: {}",
            status.unannounced
        );
    }
    if let Some(dropped) = status.dropped {
        _ = writeln!(between, "Datagrams dropped: {dropped}");
    }
    _ = writeln!(between, "Max number of connections: {}\nActive connections:", status.connections_max);
    let once = std::iter::once;
    let before = once(begin).chain(lines(servers, server)).chain(once(clients_begin));
    Box::new(before.chain(lines(clients, client)).chain(once(between)).chain(lines(connections, connection)))
}

fn server(row: &ServerRow) -> String {
    format!(
        "Server {} status:\naddress {}\n{}\nport {}\n{} connections ({} soft, {} hard)\n{} sent, {} received\n",
        row.number,
        row.address,
        row.condition(),
        row.port,
        row.connections,
        row.max,
        row.hard,
        row.sent_bytes,
        row.received_bytes,
    )
}

fn client(row: &ClientRow) -> String {
    let server = row.server.map_or("-".into(), |n| n.to_string());
    format!(
        "Client {} status:\naddress {}\nlast used {} seconds ago\nlast server {server}\n{} connects, {} sent, {} received\n",
        row.client,
        row.label(),
        row.age_seconds as u64,
        row.connects,
        row.sent_bytes,
        row.received_bytes,
    )
}

fn connection(row: &ConnectionRow) -> String {
    let mut text = format!(
        "Connection {} status:\ndownfd = {}, upfd = {}\npending data {} down, {} up\nclient {}, server {}\n",
        row.connection,
        row.downfd,
        row.upfd,
        row.pending_to_client_bytes,
        row.pending_to_server_bytes,
        row.client_number(),
        row.server_number,
    );
    row.notes().iter().for_each(|note| _ = writeln!(text, "{note}"));
    text
}
