//! `why`: tells the server that the client then gets, and does nothing; `show`: how a setting stands.

use serde_json::Value;

use crate::support::backend::greeters;
use crate::support::schema::valid;
use crate::support::{Pen, Setup};

/// What `why` ends with.
fn choice(pen: &Pen, client: &str) -> String {
    pen.control(&format!("why {client}")).lines().last().unwrap().to_owned()
}

#[test]
fn why_foretells_the_server_and_changes_nothing() {
    let backends = greeters(3);
    let pen = Setup::new().servers(&backends).start();
    for n in 1..=8 {
        let client = format!("127.0.0.{n}");
        // The connection of the round before would still change the counts.
        pen.becomes_idle();
        let before = (pen.control("servers"), pen.control("recent"));
        let foretold = [(), ()].map(|()| choice(&pen, &client));
        assert_eq!(foretold[0], foretold[1]);
        assert_eq!((pen.control("servers"), pen.control("recent")), before, "asking has an effect");
        let name = pen.choice(n);
        let served = backends.iter().position(|b| foretold[0].contains(&b.address().to_string())).unwrap();
        assert_eq!(["A", "B", "C"][served], name, "{foretold:?}");
    }
    pen.becomes_idle();
    let again = pen.control("why 127.0.0.3");
    let name = pen.choice(3);
    let server = ["A", "B", "C"].iter().position(|n| **n == name).unwrap();
    assert!(again.contains(&format!("server {server} is remembered, from ")), "{again}");
}

#[test]
fn why_tells_what_speaks_against_each_server() {
    let backends = greeters(4);
    let pen = Setup::new().servers(&backends).command("emergency 127.0.0.1:9").start();
    for line in [
        "acl 1 deny 127.0.0.2",
        "acl 2 permit 127.0.0.2",
        "server 0 acl 1",
        "server 1 blacklist 60",
        "server 2 port 0",
        "server 3 max 1",
    ] {
        assert_eq!(pen.control(line), "", "{line}");
    }
    let _only = pen.hold(3);
    let _second = pen.hold(4);
    pen.control("server 3 max 1");
    let text = pen.control("why 127.0.0.2");
    let line =
        |what: &str| text.lines().find(|l| l.contains(what)).unwrap_or_else(|| panic!("no {what}: {text}"));
    assert!(line("client 127.0.0.2").ends_with("list 0 permits it, no entry matches"), "{text}");
    assert!(
        line("server 0 (").contains("cannot serve: list 1 denies it by entry 0, deny 127.0.0.2"),
        "{text}"
    );
    assert!(line("server 1 (").contains("cannot serve: a command has blacklisted it for "), "{text}");
    assert!(line("server 2 (").contains("cannot serve: it has no port"), "{text}");

    pen.control("acl 3 deny 127.0.0.9");
    pen.control("client_acl 3");
    let text = pen.control("why 127.0.0.9");
    assert!(text.contains("list 3 denies it by entry 0, deny 127.0.0.9 255.255.255.255\n"), "{text}");
    assert!(text.ends_with("it would be closed\n"), "{text}");
    assert_eq!(pen.choice(9), "EOF");

    for (line, error) in [
        ("why", "error: why: expected an IP address"),
        ("why localhost", "error: why: expected an IP address"),
        ("why 127.0.0.1 2", "error: why: '2' is one word too many"),
        ("json why x", "error: json why: expected an IP address"),
    ] {
        let reply = pen.control(line);
        assert!(reply.starts_with(error), "{reply}");
    }
}

#[test]
fn why_tells_which_limit_a_client_has_reached() {
    let backends = greeters(1);
    let pen = Setup::new().servers(&backends).command("client_mask 31 128").start();
    let json = |client: &str| valid("why", &pen.control(&format!("json why {client}")));
    assert_eq!(json("127.0.0.3")["limits"], Value::Null);
    pen.control("client_conn_max 2");
    // 127.0.0.2 and 3 are one client.
    let held = [pen.hold(2), pen.hold(3)];
    assert_eq!([&held[0].1, &held[1].1], ["A", "A"]);
    let text = pen.control("why 127.0.0.3");
    assert!(
        text.contains("\nit has 2 of 2 connections (client_conn_max): client_conn_max is reached\n"),
        "{text}"
    );
    assert!(text.ends_with("it would be closed\n"), "{text}");
    // The server of such a client is remembered by the same part of its address.
    assert!(text.contains("server 0 is remembered, from "), "{text}");
    let reached = json("127.0.0.3");
    assert_eq!(
        (&reached["limits"]["reached"], &reached["choice"]),
        (&"client_conn_max".into(), &Value::Null)
    );
    assert_eq!(
        (&reached["limits"]["connections"], &reached["limits"]["connections_max"]),
        (&2.into(), &2.into())
    );
    assert_eq!(pen.choice(3), "EOF");
    assert!(choice(&pen, "127.0.0.4").starts_with("it would get server 0"), "another client");

    pen.control("client_conn_max 3");
    pen.control("client_rate_time 60");
    pen.control("client_rate_max 3");
    let text = pen.control("why 127.0.0.2");
    let line = "it has 2 of 3 connections (client_conn_max), \
                it has begun 2 of 3 connections within 60 s (client_rate_max)\n";
    assert!(text.contains(line), "{text}");
    assert!(text.lines().last().unwrap().starts_with("it would get server 0"), "{text}");
    drop(held);
    pen.becomes_idle();
    assert_eq!(pen.choice(2), "A");
    pen.becomes_idle();
    let text = pen.control("why 127.0.0.2");
    let line = "it has begun 3 of 3 connections within 60 s (client_rate_max): client_rate_max is reached\n";
    assert!(text.contains(line) && text.ends_with("it would be closed\n"), "{text}");
    assert_eq!(json("127.0.0.2")["limits"]["reached"], "client_rate_max");
    assert_eq!(pen.choice(2), "EOF");
    // What denies it comes first: a client that is held is not counted.
    pen.control("acl 5 deny 127.0.0.2");
    pen.control("tarpit_acl 5");
    assert_eq!(json("127.0.0.2")["limits"], Value::Null);
    assert_eq!(choice(&pen, "127.0.0.2"), "it would be held");
}

#[test]
fn show_tells_how_a_setting_stands_and_leaves_it_so() {
    let pen = Setup::new().option("-O", "ssl_option no_tlsv1").start();
    pen.control("ssl_option no_tlsv1.1");
    for (word, shown) in [
        ("weight", "no weight\n"),
        ("weight", "no weight\n"),
        ("blacklist", "blacklist 30\n"),
        ("pending_max", "pending_max 100\n"),
        ("log", "no log\n"),
        ("tcp_fastclose", "tcp_fastclose off\n"),
        ("ssl_option", "ssl_option no_tlsv1\nssl_option no_tlsv1.1\n"),
    ] {
        assert_eq!(pen.control(&format!("show {word}")), shown, "{word}");
    }
    pen.control("weight");
    assert_eq!(pen.control("show weight"), "weight\n");
    assert!(pen.control("show nonsense").starts_with("error: show: expected the word of a setting"));
    assert!(pen.control("show").starts_with("error: show: expected the word of a setting"));
}
