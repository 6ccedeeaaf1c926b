//! How a server learns of a connection: the acknowledgement that completes the connect goes with the first data.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::tls::{Kind, Pair, TlsClient};
use crate::support::{Backend, Client, Pen, Setup, wait_until};

use super::tls::{pen, same};

/// How long the system keeps an acknowledgement that waits for data.
const KEPT: Duration = Duration::from_millis(200);

/// How many segments a server has received on each of its connections: with data, and all.
fn segments(server: &Backend) -> Vec<(u32, u32)> {
    let port = format!(":{}", server.port());
    let arguments = ["-tinH", "state", "established", "sport", "=", &port];
    let output = Command::new("ss").args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let count = |rest: &str, name: &str| {
        let rest = rest.split_once(name).map_or("0", |(_, rest)| rest);
        rest.split_whitespace().next().unwrap().parse().unwrap()
    };
    text.split(" bytes_received:")
        .skip(1)
        .map(|rest| (count(rest, " data_segs_in:"), count(rest, " segs_in:")))
        .collect()
}

/// All segments that a server has received of a connection which `begin` makes, up to the first with data.
fn segments_of(server: &Backend, begin: impl FnOnce() -> Client) -> u32 {
    let client = begin();
    wait_until("the first bytes", || matches!(segments(server)[..], [(1.., _)]));
    let all = segments(server)[0].1;
    client.finish();
    wait_until("the end", || segments(server).is_empty());
    all
}

/// A client that has sent something when pen meets it.
fn client_with_request(pen: &Pen) -> Client {
    pen.signal(Signal::SIGSTOP);
    let mut client = pen.client();
    client.send("request");
    pen.signal(Signal::SIGCONT);
    client
}

#[test]
fn what_a_client_has_sent_completes_the_connect() {
    let recorder = Backend::recorder("");
    let direct = segments_of(&recorder, || {
        let mut client = Client::to(recorder.address());
        client.send("request");
        client
    });
    let address = format!("server 0 address {} port {}", recorder.address().ip(), recorder.port());
    for (proxy, environment) in [("off", ""), ("v2", ""), ("off", "1")] {
        let mut setup = Setup::new().command(format!("{address} proxy {proxy}"));
        if !environment.is_empty() {
            setup = setup.environment("PEN_PORTABLE", environment);
        }
        let pen = setup.start();
        let expected = if environment.is_empty() && cfg!(target_os = "linux") { direct - 1 } else { direct };
        // An acknowledgement waits a moment only, and this machine may be slower once.
        let mut attempts = (0..10).map(|_| segments_of(&recorder, || client_with_request(&pen)));
        assert!(attempts.any(|count| count == expected), "proxy {proxy} {environment}: not {expected}");
    }
}

#[test]
fn a_server_that_speaks_first_is_told_at_once() {
    let greeter = Backend::greeter("A");
    let shortest = |mut greeting: Box<dyn FnMut() -> Duration>| (0..10).map(|_| greeting()).min().unwrap();
    let log = Setup::new();
    let log = log.file("log");
    for options in ["", &format!("-l {log}"), "-H"] {
        let plain = Setup::new().server(greeter.address()).options(options).start();
        let took = shortest(Box::new(move || {
            let began = Instant::now();
            assert_eq!(plain.client().line(), "A");
            began.elapsed()
        }));
        assert!(took < KEPT, "{options}: {took:?}");
    }
    let authority = Pair::root("ca");
    let secured = pen(&authority, Kind::Ec, &greeter, same);
    let took = shortest(Box::new(|| {
        let mut tls = TlsClient::new(&authority).over(secured.client()).unwrap();
        let began = Instant::now();
        assert_eq!(tls.line(), "A");
        began.elapsed()
    }));
    assert!(took < KEPT, "TLS: {took:?}");
}
