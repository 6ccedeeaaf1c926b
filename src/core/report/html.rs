//! The status page, in HTML.

use std::fmt::Write as _;

use super::model::{ClientRow, ConnectionRow, ServerRow, Status};
use super::pieces::{Pieces, Rows, lines};

const STYLE: &str = "body{font-family:sans-serif;margin:2em}table{border-collapse:collapse}\
th{background:#80f080}th,td{border:1px solid #c0c0c0;padding:.2em .6em;text-align:right}";

const SERVER_HEADS: [&str; 11] = [
    "server",
    "address",
    "status",
    "port",
    "connections",
    "max soft",
    "max hard",
    "sent",
    "received",
    "weight",
    "prio",
];

const CLIENT_HEADS: [&str; 7] =
    ["client", "address", "age(secs)", "last server", "connects", "sent", "received"];

const CONNECTION_HEADS: [&str; 8] =
    ["connection", "downfd", "upfd", "pending data down", "pending data up", "client", "server", "notes"];

const TABLE_END: &str = "</tbody>\n</table>\n";

/// The status page.
pub fn page(
    status: Status,
    servers: Rows<ServerRow>,
    clients: Rows<ClientRow>,
    connections: Rows<ConnectionRow>,
) -> Pieces {
    let begin = begin(&status);
    let servers_end = servers_end(&status);
    let between = format!(
        "{TABLE_END}<h2>Active connections</h2>\n<p>Number of connections: {} max, {} used, {} last</p>\n{}{}{}{}",
        status.connections_max,
        status.connections,
        status.last_connection,
        match status.refused {
            0 => String::new(),
            refused => format!("<p>Connections refused by limits of clients: {refused}</p>\n"),
        },
        match status.unannounced {
            0 => String::new(),
            closed => format!("<p>Connections closed for a missing or wrong PROXY header: {closed}</p>\n"),
        },
        status.dropped.map_or(String::new(), |dropped| format!("<p>Datagrams dropped: {dropped}</p>\n")),
        heads(CONNECTION_HEADS),
    );
    let end = format!("{TABLE_END}</body>\n</html>\n");
    let once = std::iter::once;
    let servers = lines(servers, |server| row(cells_of_server(server)));
    let clients = lines(clients, |client| row(cells_of_client(client)));
    let connections = lines(connections, |connection| row(cells_of_connection(connection)));
    let tables = servers.chain(once(servers_end)).chain(clients).chain(once(between)).chain(connections);
    Box::new(once(begin).chain(tables).chain(once(end)))
}

/// The page up to the first row of a server.
fn begin(status: &Status) -> String {
    let mut html = String::from("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    _ = writeln!(html, "<title>Pen status page</title>\n<style>{STYLE}</style>\n</head>\n<body>");
    let (count, current, time) = (status.servers, status.current, escape(&status.time));
    _ = writeln!(html, "<h1>Pen status page</h1>\n<p>Time {time}, {count} servers, {current} current</p>");
    html.push_str("<h2>Servers</h2>\n");
    html.push_str(&heads(SERVER_HEADS));
    html
}

/// What stands between the rows of servers and those of clients.
fn servers_end(status: &Status) -> String {
    let mut html = TABLE_END.to_owned();
    let max = status.clients_max;
    _ = writeln!(html, "<h2>Active clients</h2>\n<p>Max number of clients: {max}</p>");
    html.push_str(&heads(CLIENT_HEADS));
    html
}

/// The start of a table, up to its first row.
fn heads<const N: usize>(heads: [&str; N]) -> String {
    let heads: String = heads.iter().map(|head| format!("<th>{}</th>\n", escape(head))).collect();
    format!("<table>\n<thead>\n<tr>\n{heads}</tr>\n</thead>\n<tbody>\n")
}

/// A row of a table. Each cell is on its own line: there are scripts that read C pen's page line by line.
fn row<const N: usize>(cells: [String; N]) -> String {
    let cells: String = cells.iter().map(|cell| format!("<td>{}</td>\n", escape(cell))).collect();
    format!("<tr>\n{cells}</tr>\n")
}

fn cells_of_server(row: &ServerRow) -> [String; 11] {
    [
        row.number.to_string(),
        row.address.clone(),
        row.condition(),
        row.port.to_string(),
        row.connections.to_string(),
        row.max.to_string(),
        row.hard.to_string(),
        row.sent_bytes.to_string(),
        row.received_bytes.to_string(),
        row.weight.to_string(),
        row.prio.to_string(),
    ]
}

fn cells_of_client(row: &ClientRow) -> [String; 7] {
    [
        row.client.to_string(),
        row.label(),
        (row.age_seconds as u64).to_string(),
        row.server.map_or("-".into(), |n| n.to_string()),
        row.connects.to_string(),
        row.sent_bytes.to_string(),
        row.received_bytes.to_string(),
    ]
}

fn cells_of_connection(row: &ConnectionRow) -> [String; 8] {
    [
        row.connection.to_string(),
        row.downfd.to_string(),
        row.upfd.to_string(),
        row.pending_to_client_bytes.to_string(),
        row.pending_to_server_bytes.to_string(),
        row.client_number().to_string(),
        row.server_number.to_string(),
        row.notes().join("; "),
    ]
}

/// Text for a web page.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_hold_no_foreign_markup() {
        assert_eq!(escape("<a href=\"x\">'&"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;");
    }
}
