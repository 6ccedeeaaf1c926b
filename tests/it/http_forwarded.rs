//! Whom servers take for the client: nginx with real_ip behind pen, and clients that forge the header.

use std::path::Path;

use crate::support::nginx::Nginx;
use crate::support::{Client, Pen, Setup, directory, skipped};

/// An nginx that believes pen's address, and tells whom it takes for the client. With `depth` it looks for the last
/// address that is not one of its own proxies.
fn nginx(directory: &Path, trusted: &[&str], header: &str) -> Option<Nginx> {
    let trusted: String = trusted.iter().map(|ip| format!("set_real_ip_from {ip};")).collect();
    let server = format!(
        "{trusted} real_ip_header {header}; real_ip_recursive on; location / {{ return 200 \
         \"$remote_addr $http_x_forwarded_proto $http_x_forwarded_for $http_forwarded\\n\"; }}"
    );
    Nginx::start("127.0.0.1", directory, "access_log off;", &server)
}

fn ask(pen: &Pen, client: u8, fields: &str) -> String {
    let mut client: Client = pen.client_from(client);
    client.send(format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n"));
    let answer = client.text();
    answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}")).1.trim_end().to_owned()
}

const FORGED: &str =
    "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nForwarded: for=203.0.113.9\r\n";

#[test]
fn a_forged_address_is_believed_with_keep_only() {
    let directory = directory::directory();
    let Some(nginx) = nginx(directory.path(), &["127.0.0.1"], "X-Forwarded-For") else {
        return skipped("http_forwarded before nginx", "no nginx");
    };
    let pen = Setup::new().options("-H").server(nginx.address).start();
    // As C pen: whoever believes this header from pen believes the client.
    assert!(ask(&pen, 5, FORGED).starts_with("203.0.113.9 https 203.0.113.9"));
    assert_eq!(ask(&pen, 5, "").trim_end(), "127.0.0.5 http 127.0.0.5");
    pen.control("http_forwarded replace");
    for fields in [
        FORGED,
        "",
        "x-forwarded-for:\r\n 203.0.113.9\r\nX_Forwarded_For: 203.0.113.9\r\n",
        "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For: 203.0.113.9, 127.0.0.1\r\n",
    ] {
        assert_eq!(ask(&pen, 5, fields).trim_end(), "127.0.0.5 http 127.0.0.5", "{fields:?}");
    }
    pen.control("http_forwarded append");
    let answer = ask(&pen, 5, FORGED);
    assert!(answer.starts_with("127.0.0.5 https 203.0.113.9, 127.0.0.5 "), "{answer}");
}

#[test]
fn a_chain_of_pens_tells_the_client_of_the_first() {
    let directory = directory::directory();
    let Some(nginx) = nginx(directory.path(), &["127.0.0.1", "127.0.0.8"], "X-Forwarded-For") else {
        return skipped("two pens before nginx", "no nginx");
    };
    let inner = Setup::new().options("-H").command("http_forwarded append").server(nginx.address).start();
    let edge = Setup::new()
        .options("-H")
        .command("http_forwarded replace")
        .command("source 127.0.0.8")
        .server(inner.address)
        .start();
    assert_eq!(ask(&edge, 5, FORGED).trim_end(), "127.0.0.5 http 127.0.0.5, 127.0.0.8");
}

#[test]
fn connection_cannot_remove_what_pen_adds() {
    let directory = directory::directory();
    // As a server that is a proxy does, this one removes what Connection names, with more proxies behind it.
    let server = "location / { return 200 \"$http_connection|$http_x_forwarded_for\\n\"; }";
    let Some(nginx) = Nginx::start("127.0.0.1", directory.path(), "access_log off;", server) else {
        return skipped("Connection before nginx", "no nginx");
    };
    for policy in ["keep", "append", "replace"] {
        let pen = Setup::new()
            .options("-H")
            .command(format!("http_forwarded {policy}"))
            .server(nginx.address)
            .start();
        for fields in
            ["Connection: X-Forwarded-For\r\n", "Connection: x-forwarded-for, X-Forwarded-Proto\r\n"]
        {
            let answer = ask(&pen, 5, fields);
            assert_eq!(answer, "close|127.0.0.5", "{policy} {fields:?}");
        }
    }
}

#[test]
fn the_standard_header_is_an_option() {
    let directory = directory::directory();
    let Some(nginx) = nginx(directory.path(), &["127.0.0.1"], "X-Forwarded-For") else {
        return skipped("Forwarded before nginx", "no nginx");
    };
    let pen = Setup::new()
        .options("-H")
        .command("http_forwarded replace")
        .command("http_rfc7239")
        .server(nginx.address)
        .start();
    let answer = ask(&pen, 5, FORGED);
    assert_eq!(answer, "127.0.0.5 http 127.0.0.5 for=127.0.0.5;proto=http");
    assert_eq!(pen.control("no http_rfc7239"), "");
    assert_eq!(ask(&pen, 5, FORGED).trim_end(), "127.0.0.5 http 127.0.0.5");
    assert!(pen.control("http_forwarded sometimes").contains("keep, append or replace"));
}
