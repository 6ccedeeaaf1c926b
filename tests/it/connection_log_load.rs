//! The connection log of a load: every connection has one line, and that has the right word for its end.

use std::net::SocketAddr;
use std::thread;

use serde_json::Value;

use crate::support::client::End;
use crate::support::connection_log::{address, end, held, lines, logged, obedient, setup};
use crate::support::{Pen, wait_until};

/// Lines in the order in which they are easily compared: the client, and the word for its end.
fn sorted(mut ends: Vec<(SocketAddr, String)>) -> Vec<(SocketAddr, String)> {
    ends.sort();
    ends
}

fn ends(lines: &[Value]) -> Vec<(SocketAddr, String)> {
    let end = |line: &Value| {
        let ip = line["client_address"].as_str().unwrap().parse().unwrap();
        let port = u16::try_from(line["client_port"].as_u64().unwrap()).unwrap();
        (SocketAddr::new(ip, port), line["end"].as_str().unwrap().to_owned())
    };
    lines.iter().map(end).collect()
}

/// Has the client at address `n` do what leads to the end `word`, and returns the connections with their ends.
fn behave(pen: &Pen, n: u8, word: &'static str) -> Vec<(SocketAddr, &'static str)> {
    let says = |what: &str, wanted: End| {
        let mut client = pen.client_from(n);
        client.send(what);
        let at = address(&client, n);
        assert_eq!(end(client), wanted, "{what}");
        at
    };
    let at = match word {
        "client-closed" => {
            let (client, at) = held(pen, n);
            client.finish();
            assert_eq!(end(client), End::Clean);
            at
        }
        "client-reset" => {
            let (client, at) = held(pen, n);
            client.reset();
            at
        }
        "server-closed" => says("close\n", End::Clean),
        "server-reset" => says("reset\n", End::Reset),
        "limited" => {
            let holding: Vec<_> = (0..5).map(|_| held(pen, n)).collect();
            let client = pen.client_from(n);
            let at = address(&client, n);
            end(client);
            let closed = holding.into_iter().map(|(client, at)| {
                client.finish();
                assert_eq!(end(client), End::Clean);
                (at, "client-closed")
            });
            return closed.chain([(at, word)]).collect();
        }
        _ => {
            let client = pen.client_from(n);
            let at = address(&client, n);
            end(client);
            at
        }
    };
    vec![(at, word)]
}

#[test]
fn every_connection_of_a_load_has_exactly_one_line_with_the_right_word() {
    const ROUNDS: usize = 8;
    let backend = obedient();
    let (setup, file) = setup("json");
    let mut setup = setup.command("client_acl 7").command("client_conn_max 5");
    for n in [100, 101] {
        setup = setup.command(format!("acl 7 deny 127.0.0.{n}"));
    }
    let mut pen = setup.servers([&backend]).start();
    // Two clients of each kind, all at once.
    let kinds = ["client-closed", "server-closed", "client-reset", "server-reset", "limited"];
    let clients = kinds.into_iter().cycle().take(2 * kinds.len()).zip(20u8..);
    let clients = clients.chain([("denied", 100), ("denied", 101)]);
    let run = |word, n| {
        let mut done = Vec::new();
        for _ in 0..ROUNDS {
            done.extend(behave(&pen, n, word));
            // Each connection has its line before its address and port can come back.
            wait_until("the lines of the round", || {
                let own = |line: &&Value| line["client_address"] == format!("127.0.0.{n}");
                lines(&file).iter().filter(own).count() == done.len()
            });
        }
        done
    };
    let mut expected: Vec<(SocketAddr, &str)> = thread::scope(|scope| {
        let running: Vec<_> = clients.map(|(word, n)| scope.spawn(move || run(word, n))).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(expected.len(), ROUNDS * 2 * 11);
    let (client, at) = held(&pen, 8);
    let number = (0..500).find(|n| pen.control(&format!("connection {n}")).contains("state = 2")).unwrap();
    pen.control(&format!("close {number}"));
    end(client);
    expected.push((at, "closed-by-command"));
    let (client, at) = held(&pen, 8);
    pen.control("close server 0");
    end(client);
    expected.push((at, "closed-by-command"));
    pen.control("server 0 state maint");
    let client = pen.client_from(9);
    expected.push((address(&client, 9), "no-server"));
    end(client);
    pen.control("server 0 state ready");
    let bad = "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n";
    for (mode, n, said, word) in [("dummy", 10, "x", "dummy"), ("http", 11, bad, "bad-request")] {
        pen.control(mode);
        let mut client = pen.client_from(n);
        expected.push((address(&client, n), word));
        client.send(said);
        client.finish();
        end(client);
        pen.control(&format!("no {mode}"));
    }
    let idle: Vec<_> = (0..4).map(|n| held(&pen, 40 + n)).collect();
    pen.control("idle_timeout 1");
    for (client, at) in idle {
        end(client);
        expected.push((at, "idle"));
    }
    pen.control("idle_timeout 0");
    let (client, at) = held(&pen, 13);
    assert!(pen.terminate().is_some_and(|status| status.success()));
    end(client);
    expected.push((at, "shutdown"));
    let lines = logged(&file, expected.len());
    let expected = expected.into_iter().map(|(at, word)| (at, word.to_owned())).collect();
    assert_eq!(sorted(ends(&lines)), sorted(expected));
}
