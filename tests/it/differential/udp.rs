//! `-U`: who answers, and what arrives.

use std::net::SocketAddr;
use std::time::Duration;

use super::compare::{Side, Transcript, compare};
use crate::support::Setup;
use crate::support::udp::{Asker, Refusing, Server};

/// What comes back, or that nothing does in good time.
fn said(asker: &Asker, datagram: &[u8]) -> Option<Vec<u8>> {
    asker.0.set_read_timeout(Some(Duration::from_secs(4))).unwrap();
    asker.send(datagram);
    let mut buffer = vec![0; 65_536];
    let count = asker.0.recv(&mut buffer).ok()?;
    buffer.truncate(count);
    Some(buffer)
}

fn names<'a>(askers: impl IntoIterator<Item = &'a Asker>) -> String {
    let name = |asker| said(asker, b"who?").map_or("(silence)".into(), |n| String::from_utf8(n).unwrap());
    askers.into_iter().map(name).collect::<Vec<_>>().join(" ")
}

fn askers(to: SocketAddr, clients: &[u8]) -> Vec<Asker> {
    clients.iter().map(|n| Asker::new(*n, to)).collect()
}

fn setup<'a>(side: &Side, servers: impl IntoIterator<Item = &'a Server>) -> Setup {
    servers.into_iter().fold(side.setup().options("-U"), |setup, server| setup.server(server.address))
}

#[test]
fn datagrams_balanced() {
    compare("udp", |side| {
        let mut transcript = Transcript::new();
        let mut note = |step: &str, value: String| _ = transcript.insert(step.into(), value);
        let servers = ["A", "B"].map(Server::named);
        let pen = setup(side, &servers).options("-r").start();
        let four = askers(pen.address, &[2, 2, 2, 2]);
        note("round robin", names(&four));
        note("round robin, the same again", names(&four));
        note("connections", pen.servers().iter().map(|s| s.conn.to_string()).collect::<Vec<_>>().join(" "));
        pen.control("server 1 blacklist 99");
        note("blacklisted, flows that are", names(&four));
        note("blacklisted, new flows", names(&askers(pen.address, &[2, 2])));
        let pen = setup(side, &servers).start();
        note("memory", names(&askers(pen.address, &[2, 3, 2, 4, 3])));
        let pen = setup(side, &servers).command("acl 1 deny 127.0.0.3").command("client_acl 1").start();
        note("denied", names(&askers(pen.address, &[2, 3, 2])));
        let pen = setup(side, &servers).options("-r -x 2").start();
        note("more clients than -x", names(&askers(pen.address, &[2, 3, 4, 5, 6])));
        let pen = setup(side, &servers[..1]).listen("%").environment("PEN_PORTABLE", "0").start();
        let port = pen.address.port();
        for ip in ["127.0.0.1", "127.0.0.9"] {
            let asker = Asker::new(1, SocketAddr::new(ip.parse().unwrap(), port));
            note(&format!("on every address, asked at {ip}"), names([&asker]));
        }
        let dead = Refusing::new();
        let pen = setup(side, &servers[..1]).options("-r").server(dead.address()).start();
        note("one of two dead", names(&askers(pen.address, &[2, 3, 4, 5])));
        let echo = Server::echo();
        let pen = setup(side, [&echo]).start();
        for size in [0, 1, 1472, 9000, 32_768, 32_769, 65_507] {
            let answer = said(&Asker::new(2, pen.address), &vec![7; size]);
            note(&format!("{size} bytes"), answer.map_or("(silence)".into(), |a| a.len().to_string()));
        }
        transcript
    });
}
