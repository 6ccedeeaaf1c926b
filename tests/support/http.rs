//! Requests to the admin listener, and their answers.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use super::client::Client;
use super::pen::Pen;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The headers, by their names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

/// Sends a request of these lines, without line ends, over a new connection.
#[track_caller]
pub(crate) fn ask(mut client: Client, lines: &[&str]) -> Answer {
    client.send(lines.join("\r\n") + "\r\nConnection: close\r\n\r\n");
    let text = client.text();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: BTreeMap<_, _> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let chunked = headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked");
    let body = if chunked { unchunked(body) } else { body.to_owned() };
    Answer { status, headers, body }
}

/// Sends a request to a server that keeps connections open, and returns status and body; `document` is the request
/// body.
#[track_caller]
pub(crate) fn exchange(address: SocketAddr, method: &str, path: &str, document: &str) -> (u16, String) {
    let mut client = Client::to(address);
    let length = document.len();
    client.send(format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n{document}"
    ));
    let head: Vec<String> =
        std::iter::from_fn(|| Some(client.line()).filter(|line| !line.trim().is_empty())).collect();
    let status = head[0].split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers = head.iter().filter_map(|line| line.split_once(':'));
    let length = headers.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let body = client.bytes(length.expect("a length").1.trim().parse().unwrap());
    (status, String::from_utf8(body).unwrap())
}

/// The address of the admin listener of a pen with `admin %`.
pub(crate) fn admin_of(pen: &Pen) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, pen.second_port).into()
}

/// Gets a page.
#[track_caller]
pub(crate) fn get(address: SocketAddr, path: &str) -> Answer {
    ask(Client::to(address), &[&format!("GET {path} HTTP/1.1"), &format!("Host: {address}")])
}

/// The text of a chunked body, which must be complete. The response to HEAD has none.
#[track_caller]
fn unchunked(mut body: &str) -> String {
    let mut text = String::new();
    while !body.is_empty() {
        let (size, rest) = body.split_once("\r\n").expect("the size of a chunk");
        let size = usize::from_str_radix(size, 16).expect("the size of a chunk");
        text.push_str(&rest[..size]);
        body = rest[size..].strip_prefix("\r\n").expect("the end of a chunk");
        if size == 0 {
            assert_eq!(body, "", "something behind the last chunk");
            return text;
        }
    }
    assert_eq!(text, "", "the last chunk is missing");
    text
}
