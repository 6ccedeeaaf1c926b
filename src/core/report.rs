//! The texts that tell of a running pen: replies, the status page, the statistics.

use super::Millis;
use super::affinity::{Client, Record};
use super::backend::Standing;
use super::settings::Settings;
use super::snapshot::{Backend, Snapshot};
use std::fmt::Write as _;
use std::sync::atomic::Ordering::Relaxed;

/// A connection as replies show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionReport {
    /// Its number.
    pub id: usize,
    /// 0 unused, 1 connecting to a server, 2 connected.
    pub state: u8,
    /// Descriptor towards the client, -1 for none.
    pub downfd: i32,
    /// Descriptor towards the server, -1 for none.
    pub upfd: i32,
    /// Number of the client, -1 for one that is not in the affinity table.
    pub client: i64,
    /// Number of the server.
    pub server: i64,
    /// Bytes read from the server and not yet written to the client.
    pub pending_down: usize,
    /// Bytes read from the client and not yet written to the server.
    pub pending_up: usize,
    /// What else is known, such as the TLS protocol; a line each.
    pub notes: Vec<String>,
}

impl ConnectionReport {
    /// A slot that nobody uses.
    pub fn unused(id: usize) -> Self {
        ConnectionReport {
            id,
            state: 0,
            downfd: -1,
            upfd: -1,
            client: 0,
            server: 0,
            pending_down: 0,
            pending_up: 0,
            notes: Vec::new(),
        }
    }

    /// The reply to `connection N`.
    pub fn reply(&self) -> String {
        let pending = self.pending_down + self.pending_up;
        let mut text = format!(
            "Connection {}:\nstate = {}\ndownfd = {}, upfd = {}\nclient = {}, server = {}\npend = {pending}\n",
            self.id, self.state, self.downfd, self.upfd, self.client, self.server
        );
        for note in &self.notes {
            text.push_str(note);
            text.push('\n');
        }
        text
    }
}

fn servers(snapshot: &Snapshot) -> impl Iterator<Item = (usize, &Backend)> {
    let number = |backend: &Backend| backend.role.slot();
    let slots = snapshot.leaving().chain(snapshot.backends.iter().flatten());
    let mut servers: Vec<(usize, &Backend)> = slots.filter_map(|b| Some((number(b)?, &**b))).collect();
    // One that was removed stands before the one that has its slot now.
    servers.sort_by_key(|(n, _)| *n);
    servers.into_iter()
}

/// The reply to `servers`.
pub fn server_lines(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    for (n, b) in servers(snapshot) {
        let (sx, rx) = b.stats.traffic.totals();
        _ = writeln!(
            text,
            "{n} addr {} port {} conn {} max {} hard {} weight {} prio {} sx {sx} rx {rx}",
            b.label,
            b.port,
            b.stats.connections(),
            b.max,
            b.hard,
            b.weight,
            b.prio,
        );
    }
    text
}

/// The reply to `mode`.
pub fn mode_line(settings: &Settings) -> String {
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

/// The reply to `recent`.
pub fn recent_lines(clients: &[(Client, Record)]) -> String {
    clients
        .iter()
        .map(|(client, r)| format!("{client} connects {} sx {} rx {}\n", r.connects, r.sx, r.rx))
        .collect()
}

/// What the status page and the statistics show.
#[derive(Debug)]
pub struct StatusReport<'a> {
    /// Local date and time.
    pub time: &'a str,
    /// Now, on the clock of the records.
    pub now: Millis,
    /// The servers.
    pub snapshot: &'a Snapshot,
    /// The clients.
    pub clients: &'a [(Client, Record)],
    /// Room for clients.
    pub clients_max: usize,
    /// The connections.
    pub connections: &'a [ConnectionReport],
    /// With UDP, the datagrams that were not passed on.
    pub dropped: Option<u64>,
    /// Connections that the limits of clients have refused.
    pub refused: u64,
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

fn table<const N: usize>(html: &mut String, heads: [&str; N], rows: impl Iterator<Item = [String; N]>) {
    let cells = |tag: &str, cells: &mut dyn Iterator<Item = String>| {
        cells.map(|cell| format!("<{tag}>{}</{tag}>", escape(&cell))).collect::<String>()
    };
    let head = cells("th", &mut heads.iter().map(|h| (*h).to_owned()));
    _ = writeln!(html, "<table>\n<thead><tr>{head}</tr></thead>\n<tbody>");
    for row in rows {
        _ = writeln!(html, "<tr>{}</tr>", cells("td", &mut row.into_iter()));
    }
    html.push_str("</tbody>\n</table>\n");
}

const STYLE: &str = "body{font-family:sans-serif;margin:2em}table{border-collapse:collapse}\
th{background:#80f080}th,td{border:1px solid #c0c0c0;padding:.2em .6em;text-align:right}";

impl StatusReport<'_> {
    fn status_of(&self, backend: &Backend) -> String {
        match backend.stats.standing(self.now) {
            _ if backend.stats.is_removed() => "removed".into(),
            _ if backend.addresses.is_empty() && backend.port == 0 => "unused".into(),
            _ if backend.addresses.is_empty() => "unresolved".into(),
            Standing::Clear => "up".into(),
            Standing::Due | Standing::Trial => "failed, to be tried again".into(),
            Standing::Failed(until) | Standing::Ordered(until) => {
                format!("blacklisted for {} s", until.saturating_sub(self.now).div_ceil(1000))
            }
        }
    }

    /// The status page, in HTML.
    pub fn html(&self) -> String {
        let mut html =
            String::from("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
        _ = writeln!(
            html,
            "<title>Pen status page</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>Pen status page</h1>"
        );
        let count = servers(self.snapshot).count();
        let current = self.snapshot.cursor.load(Relaxed);
        _ = writeln!(
            html,
            "<p>Time {}, {count} servers, {current} current</p>\n<h2>Servers</h2>",
            escape(self.time)
        );
        let heads = [
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
        let rows = servers(self.snapshot).map(|(n, b)| {
            let (sx, rx) = b.stats.traffic.totals();
            [
                n.to_string(),
                b.label.clone(),
                self.status_of(b),
                b.port.to_string(),
                b.stats.connections().to_string(),
                b.max.to_string(),
                b.hard.to_string(),
                sx.to_string(),
                rx.to_string(),
                b.weight.to_string(),
                b.prio.to_string(),
            ]
        });
        table(&mut html, heads, rows);
        _ = writeln!(html, "<h2>Active clients</h2>\n<p>Max number of clients: {}</p>", self.clients_max);
        let heads = ["client", "address", "age(secs)", "last server", "connects", "sent", "received"];
        let rows = self.clients.iter().map(|(client, r)| {
            let server = r.server.map_or("-".into(), |n| n.to_string());
            let age = self.now.saturating_sub(r.seen) / 1000;
            let id = r.id.to_string();
            [
                id,
                client.to_string(),
                age.to_string(),
                server,
                r.connects.to_string(),
                r.sx.to_string(),
                r.rx.to_string(),
            ]
        });
        table(&mut html, heads, rows);
        let (used, max) = (self.connections.len(), self.snapshot.conn_max);
        _ = writeln!(
            html,
            "<h2>Active connections</h2>\n<p>Number of connections: {max} max, {used} used</p>"
        );
        if self.refused > 0 {
            _ = writeln!(html, "<p>Connections refused by limits of clients: {}</p>", self.refused);
        }
        if let Some(dropped) = self.dropped {
            _ = writeln!(html, "<p>Datagrams dropped: {dropped}</p>");
        }
        let heads = [
            "connection",
            "downfd",
            "upfd",
            "pending data down",
            "pending data up",
            "client",
            "server",
            "notes",
        ];
        let rows = self.connections.iter().map(|c| {
            [
                c.id.to_string(),
                c.downfd.to_string(),
                c.upfd.to_string(),
                c.pending_down.to_string(),
                c.pending_up.to_string(),
                c.client.to_string(),
                c.server.to_string(),
                c.notes.join("; "),
            ]
        });
        table(&mut html, heads, rows);
        html.push_str("</body>\n</html>\n");
        html
    }

    /// The statistics, in lines of text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let count = servers(self.snapshot).count();
        let current = self.snapshot.cursor.load(Relaxed);
        _ = writeln!(text, "Time {}, {count} servers, {current} current", self.time);
        for (n, b) in servers(self.snapshot) {
            let (sx, rx) = b.stats.traffic.totals();
            _ = writeln!(
                text,
                "Server {n} status:\naddress {}\n{}\nport {}",
                b.label,
                self.status_of(b),
                b.port
            );
            _ = writeln!(text, "{} connections ({} soft, {} hard)", b.stats.connections(), b.max, b.hard);
            _ = writeln!(text, "{sx} sent, {rx} received");
        }
        _ = writeln!(text, "Max number of clients: {}\nActive clients:", self.clients_max);
        for (client, r) in self.clients {
            let age = self.now.saturating_sub(r.seen) / 1000;
            let server = r.server.map_or("-".into(), |n| n.to_string());
            _ = writeln!(text, "Client {} status:\naddress {client}\nlast used {age} seconds ago", r.id);
            _ = writeln!(
                text,
                "last server {server}\n{} connects, {} sent, {} received",
                r.connects, r.sx, r.rx
            );
        }
        if self.refused > 0 {
            _ = writeln!(text, "Connections refused by limits of clients: {}", self.refused);
        }
        if let Some(dropped) = self.dropped {
            _ = writeln!(text, "Datagrams dropped: {dropped}");
        }
        _ = writeln!(text, "Max number of connections: {}\nActive connections:", self.snapshot.conn_max);
        for c in self.connections {
            _ = writeln!(text, "Connection {} status:\ndownfd = {}, upfd = {}", c.id, c.downfd, c.upfd);
            _ = writeln!(text, "pending data {} down, {} up", c.pending_down, c.pending_up);
            _ = writeln!(text, "client {}, server {}", c.client, c.server);
            c.notes.iter().for_each(|note| _ = writeln!(text, "{note}"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unused_connection_is_shown_as_c_pen_shows_it() {
        let shown = "Connection 3:\nstate = 0\ndownfd = -1, upfd = -1\nclient = 0, server = 0\npend = 0\n";
        assert_eq!(ConnectionReport::unused(3).reply(), shown);
    }

    #[test]
    fn pages_hold_no_foreign_markup() {
        assert_eq!(escape("<a href=\"x\">'&"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;");
    }
}
