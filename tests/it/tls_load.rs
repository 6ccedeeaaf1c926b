//! TLS under load: bulk, many handshakes, handshakes that stall.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use openssl::sha::sha256;
use openssl::ssl::SslVersion;

use crate::support::process;
use crate::support::tls::{HalfMade, Kind, Pair, TlsClient, client_hello};
use crate::support::tls_server::TlsServer;
use crate::support::{Backend, Client, Pen, Stopwatch, wait_until};

use super::tls::{noise, pen, same};
use super::tls_servers::{self, at};

#[test]
fn a_hundred_megabytes_each_way_arrive_as_they_were() {
    const LENGTH: usize = 100_000_000;
    let authority = Pair::root("ca");
    let backend = Backend::echo();
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let pen = pen(&authority, Kind::Ec, &backend, same);
        let body = noise(LENGTH);
        let sum = sha256(&body);
        // An echo: both directions at once, over two pens, one of which brings what the other takes.
        let mut up = TlsClient::new(&authority).version(version).connect(pen.address);
        up.0.get_ref().set_nonblocking(true).unwrap();
        let (mut sent, mut got) = (0, Vec::with_capacity(LENGTH));
        let mut buffer = vec![0; 65536];
        let deadline = Instant::now() + Duration::from_secs(120);
        while got.len() < LENGTH {
            let mut moved = false;
            if sent < LENGTH {
                match up.0.ssl_write(&body[sent..LENGTH.min(sent + 16384)]) {
                    Ok(n) => {
                        sent += n;
                        moved = true;
                    }
                    Err(e) if is_wait(&e) => {}
                    Err(e) => panic!("after {sent} bytes sent: {e}"),
                }
            }
            match up.0.ssl_read(&mut buffer) {
                Ok(n) => {
                    got.extend_from_slice(&buffer[..n]);
                    moved = true;
                }
                Err(e) if is_wait(&e) => {}
                Err(e) => panic!("after {} bytes: {e}", got.len()),
            }
            assert!(Instant::now() < deadline, "{sent} bytes sent, {} received", got.len());
            if !moved {
                thread::yield_now();
            }
        }
        assert_eq!(sha256(&got), sum);
    }
}

fn is_wait(error: &openssl::ssl::Error) -> bool {
    use openssl::ssl::ErrorCode;
    [ErrorCode::WANT_READ, ErrorCode::WANT_WRITE].contains(&error.code())
}

#[test]
fn a_thousand_handshakes_at_once() {
    const CLIENTS: usize = 1000;
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let pen = pen(&authority, Kind::Ec, &backend, |s| s.options("-x 1200 -q 1200 -t 60"));
    // All are connected before the first one says hello.
    let clients: Vec<Client> = (0..CLIENTS).map(|_| pen.client()).collect();
    let threads: Vec<_> = clients
        .into_iter()
        .map(|client| {
            let authority = authority.clone();
            thread::Builder::new()
                .stack_size(256 * 1024)
                .spawn(move || TlsClient::new(&authority).over(client).map(|mut tls| tls.line()))
                .unwrap()
        })
        .collect();
    let served = threads.into_iter().map(|t| t.join().unwrap()).filter(|r| r.as_deref() == Ok("A")).count();
    assert_eq!(served, CLIENTS);
}

#[test]
fn handshakes_let_other_connections_of_the_worker_go_first() {
    const CLIENTS: usize = 300;
    let authority = Pair::root("ca");
    let backend = Backend::echo();
    let pen = pen(&authority, Kind::Rsa, &backend, |s| s.command("workers 1").options("-x 400 -q 400 -t 60"));
    let mut other = TlsClient::new(&authority).connect(pen.address);
    other.send("x");
    other.bytes(1);
    let hello = client_hello();
    let mut attempt = || {
        let mut clients: Vec<Client> = (0..CLIENTS).map(|_| pen.client()).collect();
        let begin = Instant::now();
        clients.iter_mut().for_each(|c| c.send(&hello));
        let all = thread::spawn(move || {
            clients.iter_mut().for_each(|c| _ = c.bytes(1));
            begin.elapsed()
        });
        let (mut answered, mut longest) = (0, Duration::ZERO);
        while !all.is_finished() {
            let sent = Instant::now();
            other.send("x");
            other.bytes(1);
            longest = longest.max(sent.elapsed());
            answered += 1;
        }
        // Were they made one after the other, a message would wait for a large part of them.
        (answered > CLIENTS / 10 && longest < all.join().unwrap() / 5)
            .then_some(())
            .ok_or((answered, longest))
    };
    // The machine may halt once for as long, but not each time.
    let mut attempts = Vec::new();
    while let Err(attempt) = attempt() {
        attempts.push(attempt);
        assert!(
            attempts.len() < 5,
            "messages during {CLIENTS} handshakes, and the longest wait: {attempts:?}"
        );
    }
}

#[test]
fn stalled_handshakes_hold_nobody_up_and_end_in_time() {
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let pen = pen(&authority, Kind::Ec, &backend, |s| s.command("ssl_handshake_timeout 1").options("-x 60"));
    let mut stalled: Vec<Client> = (0..50).map(|_| pen.client()).collect();
    // Some stop in the middle of their first record.
    stalled.iter_mut().step_by(2).for_each(|c| c.send([0x16, 3, 1, 2, 0, 1, 0]));
    let stopwatch = Stopwatch::start();
    assert_eq!(TlsClient::new(&authority).connect(pen.address).line(), "A");
    let waited = stopwatch.elapsed();
    assert!(waited < Duration::from_secs(1), "a good handshake waited {waited:?}");
    for client in &mut stalled {
        client.end();
    }
    stopwatch.is_below(Duration::from_secs(5));
    // Their places are free again.
    let served: Vec<_> = (0..55).map(|_| TlsClient::new(&authority).connect(pen.address)).collect();
    assert_eq!(served.len(), 55);
}

#[test]
fn a_half_made_handshake_holds_little_memory() {
    const CLIENTS: usize = 500;
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let hello = client_hello();
    // OpenSSL 3 holds 42 KiB until the handshake is complete, of which pen gives back what the library does not use.
    let part = hello.len() - 1;
    for (what, sent, most) in [
        ("nothing was sent", 0, 8),
        ("part of the first message was sent", part, 8),
        ("the whole first message was sent", hello.len(), 32),
    ] {
        let pen = pen(&authority, Kind::Ec, &backend, |setup| {
            setup.options("-x 600").command("ssl_handshake_timeout 300")
        });
        let open = |count: usize| -> Vec<Client> {
            let client = |_| {
                let mut client = pen.client();
                client.send(&hello[..sent]);
                if sent > part {
                    client.bytes(1);
                }
                client
            };
            let clients = (0..count).map(client).collect();
            // Accepted, all of them.
            let descriptors = || fs::read_dir(format!("/proc/{}/fd", pen.pid())).unwrap().count();
            wait_until("the clients to be accepted", || descriptors() > count);
            clients
        };
        let first = open(50);
        let before = process::resident(pen.pid());
        let clients = open(CLIENTS);
        wait_until(&format!("{what}: at most {most} KiB each"), || {
            let held = (process::resident(pen.pid()) - before) as usize / CLIENTS;
            held <= most
        });
        assert_eq!(clients.len(), CLIENTS);
        drop((first, clients));
    }
}

#[test]
fn a_handshake_whose_memory_was_given_back_is_completed() {
    const CLIENTS: usize = 100;
    let authority = Pair::root("ca");
    let identity = authority.issue("client");
    let backend = Backend::greeter("A");
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let pen = pen(&authority, Kind::Rsa, &backend, |setup| {
            setup.options("-x 600").command("ssl_handshake_timeout 300")
        });
        let client = || {
            let client = TlsClient::new(&authority).version(version).identity(&identity);
            client.begin(pen.client())
        };
        let first: Vec<HalfMade> = (0..20).map(|_| client()).collect();
        let held = || process::resident(pen.pid());
        assert!(first.iter().all(HalfMade::has_answer));
        let before = held();
        let all: Vec<HalfMade> = (0..CLIENTS).map(|_| client()).collect();
        assert!(all.iter().all(HalfMade::has_answer));
        wait_until("memory to be given back", || held() < before + 36 * CLIENTS as u64);
        for client in first.into_iter().chain(all) {
            assert_eq!(client.finish(), "A", "{version:?}");
        }
    }
}

/// The resident memory in bytes that each further one of what `open` makes takes.
fn held_each<T>(pen: &Pen, mut open: impl FnMut() -> T) -> i64 {
    const COUNT: u64 = 200;
    let _first: Vec<T> = (0..50).map(|_| open()).collect();
    let before = process::resident(pen.pid());
    let _open: Vec<T> = (0..COUNT).map(|_| open()).collect();
    let grown = process::resident(pen.pid()).saturating_sub(before);
    (grown * 1024 / COUNT) as i64
}

#[test]
fn an_idle_connection_holds_no_keys_that_were_exchanged() {
    // In OpenSSL 3 two keys of P-256 take 3.7 KiB, and two of X25519 next to nothing.
    let groups = ["P-256", "X25519"];
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let with_clients = groups.map(|group| {
        let pen = pen(&authority, Kind::Ec, &backend, |setup| setup.options("-x 600"));
        held_each(&pen, || {
            let mut tls = TlsClient::new(&authority).group(group).connect(pen.address);
            assert_eq!(tls.line(), "A");
            tls
        })
    });
    let with_servers = groups.map(|group| {
        let server = TlsServer::new(&authority.issue("localhost")).group(group).echo();
        let slot = at(0, server.address(), "tls on tls_name localhost");
        let pen = tls_servers::pen(&authority, &[&slot], |setup| setup.options("-x 600"));
        held_each(&pen, || {
            let mut client = pen.client();
            client.send("x");
            client.bytes(1);
            client
        })
    });
    for (whom, [large, small]) in [("clients", with_clients), ("servers", with_servers)] {
        assert!(large < small + 1500, "{whom}: {large} bytes with P-256, {small} with X25519");
    }
}
