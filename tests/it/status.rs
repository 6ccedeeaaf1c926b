//! The status page and the statistics.

use std::io::Write as _;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::support::backend::{Backend, greeters};
use crate::support::{Pen, Setup, skipped, wait_for, wait_until};

/// What xmllint has to say of a page, other than that it does not know HTML 5. It mends what is nested wrongly and says
/// nothing, so it reads the page as XML too, where nothing may be left open.
fn complaints(page: &str) -> Option<String> {
    // What HTML has and XML has not.
    let html_only = ["<!DOCTYPE html>\n", "<meta charset=\"utf-8\">"];
    let xml = html_only.iter().fold(page.to_owned(), |page, text| page.replacen(text, "", 1));
    Some(xmllint(&["--html"], page)? + &xmllint(&[], &xml)?)
}

fn xmllint(options: &[&str], text: &str) -> Option<String> {
    let mut child = Command::new("xmllint")
        .args(options)
        .args(["--noout", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    Some(text.lines().filter(|l| l.contains("error")).collect::<Vec<_>>().join("\n"))
}

/// The cells of the page's tables, row by row.
fn rows(page: &str) -> Vec<Vec<String>> {
    page.split("<tr>")
        .skip(1)
        .map(|row| {
            let row = row.split("</tr>").next().unwrap();
            row.split("</t")
                .filter_map(|cell| Some(cell.rsplit_once('>')?.1.trim().to_owned()))
                .filter(|c| !c.is_empty())
                .collect()
        })
        .collect()
}

/// A pen that writes its page to the file `page`.
fn with_page(backends: &[Backend]) -> Pen {
    let setup = Setup::new();
    let file = setup.file("page");
    setup.options(format!("-w {file}")).servers(backends).start()
}

fn page(pen: &Pen) -> String {
    let page = pen.control("status");
    assert_eq!(page, pen.read("page"), "the reply is what the file holds");
    page
}

#[test]
fn the_page_is_html_with_three_tables() {
    let backends = [Backend::echo(), Backend::echo()];
    let pen = with_page(&backends);
    let mut client = pen.client_from(2);
    client.send("12345");
    assert_eq!(client.bytes(5), b"12345");
    wait_until("the bytes to be counted", || pen.control("servers").contains("sx 5 rx 5"));
    let page = page(&pen);
    assert!(page.starts_with("<!DOCTYPE html>\n"), "{page}");
    match complaints(&page) {
        Some(text) => assert_eq!(text, "", "xmllint finds fault with {page}"),
        None => skipped("the page is HTML", "no xmllint"),
    }
    // As scripts read it that were written for C pen.
    for line in page.lines().filter(|line| line.contains("<td>") || line.contains("<th>")) {
        assert!(line.starts_with("<t") && line.matches("</t").count() == 1, "one cell a line: {line}");
    }
    assert!(page.contains("Number of connections: 500 max, 1 used, 0 last</p>"), "{page}");
    let rows = rows(&page);
    // A column more at the end is nobody's loss.
    let begins =
        |r: &Vec<String>, row: &[&str]| r.iter().zip(row).filter(|(a, b)| a == b).count() == row.len();
    let is = |row: &[&str]| assert!(rows.iter().any(|r| begins(r, row)), "{row:?} is not in {rows:?}");
    is(&[
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
    ]);
    is(&["client", "address", "age(secs)", "last server", "connects", "sent", "received"]);
    is(&[
        "connection",
        "downfd",
        "upfd",
        "pending data down",
        "pending data up",
        "client",
        "server",
        "notes",
    ]);
    let port = backends[1].port().to_string();
    let server = rows.iter().find(|r| r.get(3) == Some(&port)).unwrap();
    assert_eq!(server[..2], ["1", "127.0.0.1"]);
    assert_eq!(server[4..], ["1", "0", "0", "5", "5", "0", "0"]);
    let client = rows.iter().find(|r| r.get(1).is_some_and(|a| a == "127.0.0.2")).unwrap();
    assert_eq!(client[3..], ["1", "1", "5", "5"]);
}

#[test]
fn the_page_tells_the_connection_opened_last() {
    let backends = [Backend::echo()];
    let pen = with_page(&backends);
    let mut clients: Vec<_> = (0..3).map(|_| pen.client()).collect();
    for client in &mut clients {
        client.send("x");
        assert_eq!(client.bytes(1), b"x");
    }
    // Its number stays when it has ended.
    drop(clients);
    wait_until("the connections to end", || page(&pen).contains("500 max, 0 used, 2 last</p>"));
}

#[test]
fn what_others_name_is_escaped() {
    let pen = with_page(&[]);
    pen.control("server 0 address /tmp/<script>&'x' port 1");
    let page = page(&pen);
    assert!(page.contains("/tmp/&lt;script&gt;&amp;"), "{page}");
    assert!(!page.contains("<script>"), "{page}");
    if let Some(text) = complaints(&page) {
        assert_eq!(text, "");
    }
}

#[test]
fn a_server_without_a_port_is_out_of_use() {
    // With one alone the command would be refused: nobody would serve.
    let backends = greeters(2);
    let pen = with_page(&backends);
    assert!(page(&pen).contains("<td>up</td>"));
    pen.control("server 0 port 0");
    let page = page(&pen);
    assert!(page.contains("<td>unused</td>") && !page.contains("unresolved"), "{page}");
}

#[test]
fn a_signal_writes_the_page() {
    let backends = greeters(1);
    let pen = with_page(&backends);
    pen.signal(Signal::SIGUSR1);
    let page = wait_for("the page", || std::fs::read_to_string(pen.file("page")).ok());
    // It is there as a whole or not at all.
    assert!(page.ends_with("</html>\n"), "{page}");
    assert_eq!(pen.choice(2), "A");
}

#[test]
fn without_a_file_the_signal_writes_text() {
    let backends = greeters(2);
    let pen = Setup::new().servers(&backends).start();
    let _held = pen.hold(2);
    pen.signal(Signal::SIGUSR1);
    pen.says("Active connections:");
    for text in [
        "2 servers",
        "Server 1 status:",
        "1 connections (0 soft, 0 hard)",
        "address 127.0.0.2",
        "Connection 0 status:",
    ] {
        pen.says(text);
    }
}

#[test]
fn a_page_that_cannot_be_written_is_reported_and_nothing_else_happens() {
    let backends = greeters(1);
    let pen = Setup::new().options("-w /nonexistent/page").servers(&backends).start();
    assert_eq!(pen.control("status"), "Unable to create webstats\n");
    pen.says("/nonexistent/page");
    pen.signal(Signal::SIGUSR1);
    assert_eq!(pen.choice(2), "A");
    assert_eq!(pen.control(&format!("web_stats {}", pen.file("page"))), format!("{}\n", pen.file("page")));
    assert!(page(&pen).contains("Pen status page"));
    assert_eq!(pen.control("no web_stats"), "");
    assert_eq!(pen.control("status"), "Unable to create webstats\n");
}
