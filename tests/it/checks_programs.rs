//! Checks of the servers that pen is used for: each is frozen, killed and started again while clients ask.
//!
//! The checks are those of doc/howto/checks.txt.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::daemon::Daemon;
use crate::support::load::{Ask, CLIENTS, Load};
use crate::support::nginx::Nginx;
use crate::support::wait::DEADLINE;
use crate::support::{Pen, Setup, daemons, directory, skipped, tree};

use super::checks::{becomes, failure};

fn chapter() -> String {
    fs::read_to_string(tree::top().join("doc/howto/checks.txt")).unwrap()
}

/// The lines of a check in its chapter, with other times.
fn documented(name: &str) -> Vec<String> {
    let text = chapter();
    let begin = format!("check {name} type ");
    let lines = text.lines().map(str::trim).skip_while(|line| !line.starts_with(&begin));
    let of_check = format!("check {name} ");
    let mut lines: Vec<String> =
        lines.take_while(|line| line.starts_with(&of_check)).map(str::to_owned).collect();
    assert!(!lines.is_empty(), "no check {name} in its chapter");
    lines.push(format!("check {name} every 0.1 timeout 0.5 fall 2 rise 1"));
    lines
}

/// A pen that checks these servers, and closes the connections of one that goes down.
fn pen(servers: &[&Daemon], options: &str, check: &str, lines: &[String]) -> Pen {
    let mut setup = lines.iter().fold(Setup::new().options("-r").options(options), Setup::command);
    setup = setup.command(format!("check_default {check}"));
    for (n, server) in servers.iter().enumerate() {
        let (ip, port) = (server.address.ip(), server.address.port());
        setup = setup.command(format!("server {n} address {ip} port {port} on_down close"));
    }
    setup.start()
}

/// One of two servers is frozen, killed, and started again; then it is the only one. Fails are only the requests that it had.
fn outlive(pen: &Pen, servers: [&mut Daemon; 2], frozen: &str, ask: Ask) {
    let [server, other] = servers;
    (0..2).for_each(|n| becomes(pen, n, "up"));
    let load = Load::start(pen.address, ask);
    load.is_served();
    server.signal(Signal::SIGSTOP);
    assert_eq!(failure(pen, 0), frozen);
    load.is_served();
    server.signal(Signal::SIGCONT);
    becomes(pen, 0, "up");
    load.is_served();
    server.kill();
    becomes(pen, 0, "down");
    load.is_served();
    server.start_again();
    becomes(pen, 0, "up");
    let failures = load.failures();
    assert!(failures.len() <= 2 * CLIENTS, "{failures:?}");
    other.kill();
    becomes(pen, 1, "down");
    load.is_served();
}

/// A client with a time limit that only a failing test reaches.
fn client(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    Ok(stream)
}

/// Reads until `complete`, or the end.
fn answer(stream: &mut TcpStream, complete: impl Fn(&[u8]) -> bool) -> io::Result<Vec<u8>> {
    let (mut answer, mut chunk) = (Vec::new(), [0; 4096]);
    while !complete(&answer) {
        match stream.read(&mut chunk)? {
            0 => break,
            count => answer.extend_from_slice(&chunk[..count]),
        }
    }
    Ok(answer)
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

fn ask_web(address: SocketAddr) -> io::Result<bool> {
    let mut stream = client(address)?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    Ok(contains(&answer(&mut stream, |_| false)?, b"\r\n\r\nwww"))
}

#[test]
fn nginx_that_freezes_dies_answers_503_or_with_another_page() {
    let directory = directory::directory();
    let ill = |n: usize, how: &str| directory.path().join(format!("{how}{n}"));
    let start = |n: usize| {
        let when = |how: &str, then: &str| format!("if (-f {}) {{ return {then}; }}", ill(n, how).display());
        let health = [when("ill", "503"), when("odd", "200 odd"), "return 200 www;".into()].concat();
        let locations = format!("location /health {{ {health} }} location / {{ return 200 www; }}");
        Nginx::start("127.0.0.1", directory.path(), "access_log off;", &locations)
    };
    let (Some(mut server), Some(mut other)) = (start(0), start(1)) else {
        return skipped("nginx", "no nginx");
    };
    let mut lines = documented("web");
    lines.push("check web body www".into());
    let pen = pen(&[&server.daemon, &other.daemon], "", "web", &lines);
    (0..2).for_each(|n| becomes(&pen, n, "up"));
    let load = Load::start(pen.address, ask_web);
    for (how, why) in
        [("ill", "status 503, expected 200"), ("odd", "status 200, but the body does not hold 'www'")]
    {
        fs::write(ill(0, how), "").unwrap();
        assert_eq!(failure(&pen, 0), why);
        load.is_served();
        fs::remove_file(ill(0, how)).unwrap();
        becomes(&pen, 0, "up");
    }
    assert_eq!(load.failures(), [""; 0]);
    drop(load);
    outlive(&pen, [&mut server.daemon, &mut other.daemon], "no answer after 0.5 s", ask_web);
}

/// Two servers of a kind; `None` where the kind is not installed.
fn pair(start: fn(&Path) -> Option<Daemon>, directory: &Path) -> Option<[Daemon; 2]> {
    Some([start(directory)?, start(directory)?])
}

/// The whole life of two servers of a kind, by a documented check.
fn live(kind: &str, start: fn(&Path) -> Option<Daemon>, options: &str, check: &str, ask: Ask) {
    let directory = directory::directory();
    let Some([mut server, mut other]) = pair(start, directory.path()) else {
        return skipped(kind, format!("{kind} cannot be run here"));
    };
    let pen = pen(&[&server, &other], options, check, &documented(check));
    outlive(&pen, [&mut server, &mut other], "no answer after 0.5 s", ask);
}

#[test]
fn postfix_that_freezes_and_dies() {
    live("Postfix", daemons::postfix, "", "mail", |address| {
        let mut stream = client(address)?;
        let greets = answer(&mut stream, |bytes| bytes.ends_with(b"\n"))?.starts_with(b"220 ");
        stream.write_all(b"EHLO client.example.com\r\n")?;
        let says = answer(&mut stream, |bytes| contains(bytes, b"250 CHUNKING\r\n"))?;
        stream.write_all(b"QUIT\r\n")?;
        let ends = answer(&mut stream, |_| false)?;
        Ok(greets && says.starts_with(b"250-mail.example.com\r\n") && ends.starts_with(b"221 "))
    });
}

#[test]
fn slapd_that_freezes_and_dies() {
    live("OpenLDAP", daemons::slapd, "", "ldap", |address| {
        let mut stream = client(address)?;
        stream.write_all(b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00")?;
        let says = answer(&mut stream, |bytes| bytes.len() >= 14)?;
        Ok(contains(&says, b"\x0a\x01\x00"))
    });
}

#[test]
fn redis_that_freezes_and_dies() {
    live("Redis", daemons::redis, "", "redis", |address| {
        let mut stream = client(address)?;
        for (question, expected) in [("SET key value\r\n", "+OK\r\n"), ("GET key\r\n", "$5\r\nvalue\r\n")] {
            stream.write_all(question.as_bytes())?;
            if answer(&mut stream, |bytes| bytes.len() >= expected.len())? != expected.as_bytes() {
                return Ok(false);
            }
        }
        Ok(true)
    });
}

/// A query for the address of www.example.com, which is 192.0.2.1.
const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\x03com\0\0\x01\0\x01";

#[test]
fn unbound_that_freezes_and_dies_over_tcp() {
    live("Unbound", daemons::unbound, "", "dns", |address| {
        let mut stream = client(address)?;
        stream.write_all(&[&[0, QUERY.len() as u8], QUERY].concat())?;
        let says = answer(&mut stream, |bytes| contains(bytes, &[192, 0, 2, 1]))?;
        Ok(contains(&says, b"\x12\x34"))
    });
}

#[test]
fn unbound_that_freezes_and_dies_over_udp() {
    live("Unbound over UDP", daemons::unbound, "-U", "dns", |address| {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(address)?;
        // As a resolver asks: again, from the same port.
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        for _ in 0..100 {
            let mut answer = [0; 512];
            socket.send(QUERY)?;
            if let Ok(count) = socket.recv(&mut answer) {
                return Ok(answer.starts_with(b"\x12\x34") && contains(&answer[..count], &[192, 0, 2, 1]));
            }
        }
        Ok(false)
    });
}

/// The program of the chapter.
fn documented_program(setup: &Path) -> String {
    let text = chapter();
    let begins = |line: &&str| line.starts_with("# cat >/etc/pen/check-postgres <<");
    let lines = text.lines().map(str::trim).skip_while(|line| !begins(line)).skip(1);
    let script: String = lines.take_while(|line| *line != "END").map(|line| format!("{line}\n")).collect();
    let path = setup.join("check-postgres");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn postgresql_that_freezes_and_dies() {
    let directory = directory::directory();
    let Some([mut server, mut other]) = pair(daemons::postgres, directory.path()) else {
        return skipped("PostgreSQL", "PostgreSQL cannot be run here");
    };
    let program = documented_program(directory.path());
    let mut lines: Vec<String> =
        documented("database").iter().map(|line| line.replace("/etc/pen/check-postgres", &program)).collect();
    // pg_isready takes whole seconds, and the one of Debian is a script that takes its time.
    lines.push("check database timeout 1 every 0.3".into());
    let pen = pen(&[&server, &other], "", "database", &lines);
    outlive(&pen, [&mut server, &mut other], "no end of the program after 1 s", |address| {
        let mut stream = client(address)?;
        stream.write_all(b"\0\0\0\x29\0\x03\0\0user\0postgres\0database\0postgres\0\0")?;
        let ready = |bytes: &[u8]| bytes.ends_with(b"Z\0\0\0\x05I");
        answer(&mut stream, ready)?;
        stream.write_all(b"Q\0\0\0\x10select 6*7;\0")?;
        Ok(contains(&answer(&mut stream, ready)?, b"42"))
    });
}
