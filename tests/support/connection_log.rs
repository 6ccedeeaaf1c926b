//! The connection log of a pen, and clients and a server whose connections end as a test wants.

use std::fs;
use std::io::Read as _;
use std::net::SocketAddr;

use serde_json::Value;

use super::client::End;
use super::schema::valid_lines;
use super::{Backend, Client, Pen, Setup, wait_until};

/// The lines so far, all of them whole. Who reads while pen writes may see a part of the last one.
pub(crate) fn lines(file: &str) -> Vec<Value> {
    let mut text = String::new();
    wait_until("whole lines only", || {
        text = fs::read_to_string(file).unwrap_or_default();
        text.is_empty() || text.ends_with('\n')
    });
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// Waits for so many lines; there must not be more.
#[track_caller]
pub(crate) fn logged(file: &str, count: usize) -> Vec<Value> {
    wait_until("the lines to be in the file", || lines(file).len() >= count);
    let lines = lines(file);
    assert_eq!(lines.len(), count, "{lines:#?}");
    valid_lines("connection_log", &lines);
    lines
}

/// The word of the one line of the client at that address.
#[track_caller]
pub(crate) fn end_of(lines: &[Value], client: SocketAddr) -> &str {
    let own: Vec<&Value> = lines
        .iter()
        .filter(|line| {
            line["client_address"] == client.ip().to_string() && line["client_port"] == client.port()
        })
        .collect();
    assert_eq!(own.len(), 1, "{client}: {own:?}");
    own[0]["end"].as_str().unwrap()
}

/// Does what its client's first line says.
pub(crate) fn obedient() -> Backend {
    Backend::new(|mut client| match client.line().as_str() {
        "close" => {}
        "reset" => client.reset(),
        _ => {
            client.send("well\n");
            _ = client.0.read(&mut [0]);
        }
    })
}

/// A pen that logs connections, and the file.
pub(crate) fn setup(format: &str) -> (Setup, String) {
    let setup = Setup::new();
    let file = setup.file("connections");
    let setup =
        setup.command(format!("connection_log {file}")).command(format!("connection_log_format {format}"));
    (setup, file)
}

/// Waits until no connection is left, of which each has its line then.
pub(crate) fn all_ended(pen: &Pen) {
    wait_until("no connections", || !pen.control("json connections").contains("\"connection\":"));
}

/// How it ends for the client, which ends then too.
pub(crate) fn end(mut client: Client) -> End {
    client.end()
}

/// The address of a client at address `n`.
pub(crate) fn address(client: &Client, n: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, n], client.local_port()))
}

/// A client that has a server and holds it.
pub(crate) fn held(pen: &Pen, n: u8) -> (Client, SocketAddr) {
    let mut client = pen.client_from(n);
    client.send("hold\n");
    assert_eq!(client.line(), "well");
    let address = address(&client, n);
    (client, address)
}
