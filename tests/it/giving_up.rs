//! Clients that end without having sent anything before they have a server: over TCP, TLS and behind a PROXY header.

use std::net::Shutdown;
use std::time::{Duration, Instant};

use openssl::ssl::SslVersion;

use crate::support::backend::{BlackHole, greeters};
use crate::support::client::End;
use crate::support::proxy::v1;
use crate::support::tls::{Pair, Tls, TlsClient};
use crate::support::{Client, Pen, Setup, Stopwatch, wait_until};

use super::queue::becomes;

/// How long a client that has ended is served if nobody wants its place.
const PATIENCE: Duration = Duration::from_secs(2);

/// How a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Plain,
    Proxy,
    Tls(SslVersion),
}

const WAYS: [Way; 4] = [Way::Plain, Way::Proxy, Way::Tls(SslVersion::TLS1_2), Way::Tls(SslVersion::TLS1_3)];

enum Quiet {
    Plain(Client),
    Tls(Box<Tls>),
}

impl Quiet {
    /// Ends its direction, in TLS with its message for that.
    fn finish(&mut self) {
        match self {
            Quiet::Plain(client) => client.finish(),
            Quiet::Tls(tls) => {
                tls.finish();
                tls.0.get_ref().shutdown(Shutdown::Write).unwrap();
            }
        }
    }

    /// Waits until pen has let it go.
    fn expects_its_end(mut self) {
        match &mut self {
            Quiet::Plain(client) => assert_eq!(client.end(), End::Clean),
            Quiet::Tls(tls) => assert_eq!(tls.rest().0, b""),
        }
    }
}

struct Fixture {
    pen: Pen,
    authority: Pair,
    way: Way,
}

impl Fixture {
    fn new(way: Way, portable: &str, setup: Setup) -> Fixture {
        let authority = Pair::root("authority");
        let mut setup = setup.options("-t 1000").environment("PEN_PORTABLE", portable);
        match way {
            Way::Plain => {}
            Way::Proxy => setup = setup.command("proxy_protocol accept").command("proxy_acl 0"),
            Way::Tls(_) => {
                authority.issue("localhost").write(setup.path(), "pen");
                let options = format!("-E {} -K {}", setup.file("pen.crt"), setup.file("pen.key"));
                setup = setup.options(options);
            }
        }
        Fixture { pen: setup.start(), authority, way }
    }

    fn client(&self) -> Quiet {
        match self.way {
            Way::Plain => Quiet::Plain(self.pen.client()),
            Way::Proxy => {
                let mut client = self.pen.client();
                client.send(v1("203.0.113.5:1000", "192.0.2.1:80"));
                Quiet::Plain(client)
            }
            Way::Tls(version) => {
                let client = TlsClient::new(&self.authority).version(version);
                Quiet::Tls(Box::new(client.connect(self.pen.address)))
            }
        }
    }

    /// Waits until so many connections are at the server, or wait to be.
    #[track_caller]
    fn has(&self, count: i64) {
        wait_until("connections to the server", || self.pen.servers()[0].conn == count);
    }
}

/// Each way to speak, over each event port that can tell of the end: where only reading finds it, an alert of TLS 1.3 looks like
/// data.
fn each(test: impl Fn(Way, &str)) {
    for portable in ["0", "1", "oneshot"] {
        for way in WAYS.into_iter().filter(|way| portable == "0" || *way != Way::Tls(SslVersion::TLS1_3)) {
            test(way, portable);
        }
    }
}

#[test]
fn who_waits_in_the_queue_or_for_a_connect_leaves_at_once() {
    let (hole, backends) = (BlackHole::new(), greeters(1));
    each(|way, portable| {
        let fixture =
            Fixture::new(way, portable, Setup::new().command("pending_max 1").server(hole.address()));
        let _tries = fixture.client();
        fixture.has(1);
        let mut waits = fixture.client();
        fixture.has(2);
        waits.finish();
        fixture.has(1);
        waits.expects_its_end();
        let server = format!("{}:1", backends[0].address());
        let fixture = Fixture::new(way, portable, Setup::new().command("queue_max 9").server(server));
        let _held = fixture.client();
        fixture.has(1);
        let mut waits = fixture.client();
        becomes(&fixture.pen, 1);
        waits.finish();
        becomes(&fixture.pen, 0);
        waits.expects_its_end();
    });
}

#[test]
fn who_connects_makes_room_for_those_who_wait() {
    let hole = BlackHole::new();
    each(|way, portable| {
        let fixture =
            Fixture::new(way, portable, Setup::new().command("pending_max 1").server(hole.address()));
        let mut tries = fixture.client();
        fixture.has(1);
        let stopwatch = Stopwatch::start();
        tries.finish();
        let _waits = fixture.client();
        tries.expects_its_end();
        assert!(stopwatch.elapsed() < PATIENCE, "{way:?} {portable}: {:?}", stopwatch.elapsed());
        fixture.has(1);
        // Who waits already needs no further reason.
        let mut waits = fixture.client();
        fixture.has(2);
        waits.finish();
        waits.expects_its_end();
    });
}

#[test]
fn whose_place_nobody_wants_may_wait_for_a_server_that_speaks_first() {
    let hole = BlackHole::new();
    let fixtures: Vec<Fixture> = ["0", "1"]
        .into_iter()
        .flat_map(|portable| WAYS[..3].iter().map(move |way| (*way, portable)))
        .map(|(way, portable)| Fixture::new(way, portable, Setup::new().server(hole.address())))
        .collect();
    let mut clients: Vec<Quiet> = fixtures.iter().map(Fixture::client).collect();
    fixtures.iter().for_each(|fixture| fixture.has(1));
    let begin = Instant::now();
    clients.iter_mut().for_each(Quiet::finish);
    clients.into_iter().for_each(Quiet::expects_its_end);
    assert!(begin.elapsed() >= PATIENCE, "{:?}", begin.elapsed());
    fixtures.iter().for_each(|fixture| fixture.has(0));
}
