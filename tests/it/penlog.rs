//! penlog: lines from a pipe to penlogd.

use std::net::{Ipv4Addr, UdpSocket};

use crate::support::weblog::{PENLOG, Penlog, Penlogd, run, web_line};
use crate::support::{skipped, wait_until};

#[test]
fn sends_a_datagram_a_line_and_ends_with_its_input() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(crate::support::wait::DEADLINE)).unwrap();
    let port = socket.local_addr().unwrap().port().to_string();
    let mut penlog = Penlog::start(&["localhost", &port, "127.0.0.7"], None);
    penlog.write(format!("one\n\n{}\n{}\nno newline", "a".repeat(1023), "b".repeat(4000)));
    let mut buffer = [0; 8192];
    let mut receive = || {
        let (n, from) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!(from.ip(), Ipv4Addr::new(127, 0, 0, 7));
        String::from_utf8(buffer[..n].to_vec()).unwrap()
    };
    assert_eq!(receive(), "one\n");
    assert_eq!(receive(), "a".repeat(1023) + "\n");
    let cut = receive();
    assert_eq!((cut.len(), &cut[1018..]), (1023, "b...\n"));
    let (status, said) = penlog.end();
    assert!(status.success() && said.is_empty(), "{said}");
    assert_eq!(receive(), "no newline\n");
}

#[test]
fn sends_over_ipv6_too() {
    let Ok(socket) = UdpSocket::bind("[::1]:0") else { return skipped("penlog over IPv6", "no IPv6 here") };
    socket.set_read_timeout(Some(crate::support::wait::DEADLINE)).unwrap();
    let port = socket.local_addr().unwrap().port().to_string();
    let mut penlog = Penlog::start(&["::1", &port, "::1"], None);
    penlog.write("one\n");
    let mut buffer = [0; 16];
    let n = socket.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..n], b"one\n");
    assert!(penlog.end().0.success());
}

#[test]
fn outlives_penlogd_and_counts_what_was_lost() {
    let first = Penlogd::start("127.0.0.1:0", &["-w", "0"]);
    let (host, port) = ("127.0.0.1", first.address.port().to_string());
    let mut penlog = Penlog::start(&[host, &port], None);
    penlog.write(web_line("GET /1") + "\n");
    first.lines(1);
    let directory = first.terminate();
    wait_until("the first complaint", || {
        penlog.write("nobody listens\n");
        penlog.stderr().contains("cannot send log to 127.0.0.1:")
    });
    let again = Penlogd::start_in(directory, &format!("{host}:{port}"), &["-w", "0"]);
    penlog.write(web_line("GET /2") + "\n");
    wait_until("a line after the restart", || again.log().contains("GET /2"));
    let (status, said) = penlog.end();
    assert!(status.success());
    assert!(said.contains(" lost: cannot send log to 127.0.0.1:"), "{said}");
}

#[test]
fn what_cannot_be_is_one_clear_line() {
    for args in [&[][..], &["host"], &["host", "port"], &["host", "1", "name"]] {
        let output = run(PENLOG, args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(said.starts_with("penlog: ") && said.lines().count() == 1, "{said}");
    }
}
