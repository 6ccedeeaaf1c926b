//! The connection log: a line for each connection that has ended, with how.

use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use nix::sys::signal::Signal;
use serde_json::Value;

use pen::core::connection_line::ConnectionLine;
use pen::core::end_reason::EndReason;
use pen::core::settings::Keyword as _;

use crate::support::client::End;
use crate::support::connection_log::{address, all_ended, end, end_of, held, lines, logged, obedient, setup};
use crate::support::pen::free_port;
use crate::support::tls::{Kind, Pair, TlsClient};
use crate::support::tree::top;
use crate::support::udp::{Asker, Server};
use crate::support::{Backend, Setup, wait_until};

use super::tls;

#[test]
fn a_client_that_is_held_has_its_line_when_it_is_let_go() {
    let backend = obedient();
    let (setup, file) = setup("json");
    let setup = setup.command("acl 3 deny 127.0.0.7").command("tarpit_acl 3");
    let mut pen = setup.servers([&backend]).start();
    let [leaves, mut freed] = [pen.client_from(7), pen.client_from(7)];
    let (left_at, freed_at) = (address(&leaves, 7), address(&freed, 7));
    let begin = Instant::now();
    assert!(leaves.is_silent_for(Duration::from_millis(100)));
    let held_for = begin.elapsed();
    assert_eq!(lines(&file), [Value::Null; 0]);
    leaves.reset();
    let line = logged(&file, 1).pop().unwrap();
    assert_eq!(end_of(std::slice::from_ref(&line), left_at), "denied");
    assert!(line["total_seconds"].as_f64().unwrap() >= held_for.as_secs_f64() - 0.002, "{line}");
    assert_eq!((&line["server"], &line["attempts"]), (&Value::Null, &0.into()));
    pen.control("no acl 3");
    assert_eq!(freed.end(), End::Clean);
    assert_eq!(end_of(&logged(&file, 2), freed_at), "denied");
    pen.control("acl 3 deny 127.0.0.7");
    let mut last = pen.client_from(7);
    let last_at = address(&last, 7);
    assert!(last.is_silent_for(Duration::from_millis(10)));
    let elsewhere = format!("127.0.0.1:{}", free_port());
    assert_eq!(pen.control(&format!("listen {elsewhere}")), format!("{elsewhere}\n"));
    assert!(pen.terminate().is_some_and(|status| status.success()));
    last.end();
    let lines = logged(&file, 3);
    assert_eq!(end_of(&lines, last_at), "denied");
    assert_eq!(lines[2]["listener"], pen.address.to_string(), "where it has connected");
}

#[test]
fn one_that_cannot_be_held_has_its_line_at_once() {
    let backend = obedient();
    let (setup, file) = setup("json");
    let setup = setup.command("acl 3 deny 127.0.0.7").command("tarpit_acl 3");
    // As many connections as there are descriptors for.
    let pen = setup.wrapper("prlimit --nofile=300").options("-x 4000").servers([&backend]).start();
    let client = pen.client_from(7);
    let at = address(&client, 7);
    assert_eq!(end(client), End::Clean);
    assert_eq!(end_of(&logged(&file, 1), at), "denied");
}

#[test]
fn a_line_says_what_there_is_to_say() {
    let backend = Backend::new(|mut client| {
        assert_eq!(client.line(), "question");
        client.send("an answer");
    });
    let refusing = crate::support::backend::Refusing::new();
    let (setup, file) = setup("json");
    let setup = setup.options("-r").server(refusing.address()).servers([&backend]);
    let pen = setup.command("server 1 name web").command("blacklist 0").start();
    let mut seen = 0;
    // The first choice of some client is the server that refuses.
    wait_until("a client that two servers were tried for", || {
        let mut client = pen.client_from(2);
        client.send("question\n");
        assert_eq!(client.text(), "an answer");
        drop(client);
        seen += 1;
        logged(&file, seen).last().unwrap()["attempts"] == 2
    });
    let line = logged(&file, seen).pop().unwrap();
    assert_eq!(line["listener"], pen.address.to_string());
    assert_eq!(line["server"], "1");
    assert_eq!(line["server_name"], "web");
    assert_eq!(line["server_address"], backend.address().to_string());
    assert_eq!((&line["to_server_bytes"], &line["to_client_bytes"]), (&9.into(), &9.into()));
    assert_eq!(line["tls_version"], Value::Null);
    assert!(line["queue_seconds"].as_f64().unwrap() < 1.0, "{line}");
    let connect = line["connect_seconds"].as_f64().unwrap();
    assert!(connect > 0.0 && connect < 1.0, "{line}");
    let start = line["start"].as_str().unwrap();
    assert!(start.len() == "2026-11-22T18:48:25.123+01:00".len(), "{start}");
    pen.control("connection_log_format text");
    pen.control("server 0 state maint");
    let mut client = pen.client_from(2);
    let port = client.local_port();
    client.send("question\n");
    assert_eq!(client.text(), "an answer");
    drop(client);
    let last = || fs::read_to_string(&file).unwrap().lines().last().unwrap().to_owned();
    wait_until("a line of text", || last().starts_with("start="));
    let line = last();
    for part in [
        format!(
            " client_address=127.0.0.2 client_port={port} listener={} server=1 server_name=web ",
            pen.address
        ),
        " tls_version=- tls_cipher=- sni=- queue_seconds=0.".into(),
        " to_server_bytes=9 to_client_bytes=9 attempts=1 end=server-closed".into(),
    ] {
        assert!(line.contains(&part), "{part}: {line}");
    }
}

#[test]
fn its_times_are_those_of_the_client() {
    const NEAR: Duration = Duration::from_millis(10);
    // Milliseconds are cut off, of two clocks.
    const CUT: Duration = Duration::from_millis(2);
    let backend = obedient();
    let (setup, file) = setup("json");
    let pen = setup.servers([&backend]).start();
    let mut count = 0;
    // The bounds from within hold always; those from without where the machine lets both run in time.
    wait_until("the time of a connection that nothing has delayed", || {
        let (wall, begin) = (SystemTime::now(), Instant::now());
        let (mut client, _) = held(&pen, 2);
        let (served_wall, served) = (SystemTime::now(), Instant::now());
        assert!(client.is_silent_for(Duration::from_millis(150)));
        let close = Instant::now();
        client.finish();
        assert_eq!(client.end(), End::Clean);
        let end = Instant::now();
        count += 1;
        let line = logged(&file, count).pop().unwrap();
        let total = Duration::from_secs_f64(line["total_seconds"].as_f64().unwrap());
        assert!(total + CUT >= close - served, "{total:?} of {:?}", close - served);
        let start: Timestamp = line["start"].as_str().unwrap().parse().unwrap();
        let start = SystemTime::from(start);
        assert!(start + CUT >= wall && start <= served_wall + CUT, "{start:?}: {wall:?} to {served_wall:?}");
        total <= (end - begin) + NEAR && start + total <= wall + (end - begin) + NEAR
    });
}

#[test]
fn its_time_in_the_queue_is_what_the_client_waited() {
    const NEAR: Duration = Duration::from_millis(10);
    let backend = obedient();
    let (setup, file) = setup("json");
    let pen = setup.command("queue_max 5").servers([&backend]).start();
    pen.control("server 0 max 1 hard 1");
    let mut count = 0;
    wait_until("a wait that nothing has delayed", || {
        let (holds, _) = held(&pen, 2);
        let begin = Instant::now();
        let mut waits = pen.client_from(3);
        let at = address(&waits, 3);
        waits.send("hold\n");
        let asked = Instant::now();
        assert!(waits.is_silent_for(Duration::from_millis(150)));
        let freed = Instant::now();
        holds.finish();
        assert_eq!(waits.line(), "well");
        let served = Instant::now();
        waits.finish();
        end(waits);
        end(holds);
        count += 2;
        let lines = logged(&file, count);
        let line = lines.iter().rfind(|line| line["client_port"] == at.port()).unwrap();
        let waited = Duration::from_secs_f64(line["queue_seconds"].as_f64().unwrap());
        assert!(waited <= served - begin, "{waited:?} of {:?}", served - begin);
        waited + NEAR >= freed - asked
    });
}

#[test]
fn over_tls_it_says_what_was_agreed_on_and_what_was_not() {
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let mut file = String::new();
    let pen = tls::pen(&authority, Kind::Ec, &backend, |setup| {
        file = setup.file("connections");
        setup.command(format!("connection_log {file}")).command("connection_log_format json")
    });
    let mut client = TlsClient::new(&authority).name("localhost").connect(pen.address);
    assert_eq!(client.line(), "A");
    let (version, cipher) = (client.version(), client.cipher());
    client.finish();
    assert_eq!(client.text(), "");
    let line = logged(&file, 1).pop().unwrap();
    assert_eq!((&line["tls_version"], &line["tls_cipher"]), (&version.into(), &cipher.into()));
    assert_eq!((&line["sni"], &line["end"]), (&"localhost".into(), &"client-closed".into()));
    let mut client = pen.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    client.end();
    let line = logged(&file, 2).pop().unwrap();
    assert_eq!((&line["end"], &line["server"]), (&"handshake-failed".into(), &Value::Null));
    // Within a record.
    let mut client = TlsClient::new(&authority).name("localhost").connect(pen.address);
    assert_eq!(client.line(), "A");
    client.0.get_mut().write_all(&[23, 3, 3, 0, 99, 1]).unwrap();
    drop(client);
    assert_eq!(logged(&file, 3).pop().unwrap()["end"], "client-reset");
}

#[test]
fn a_server_that_goes_down_and_a_client_that_makes_room() {
    let (backend, checked) = (obedient(), Backend::greeter("checked"));
    let (setup, file) = setup("json");
    let check = format!("check c type tcp port {} every 0.1 rise 1 fall 1", checked.port());
    let pen = setup.options("-x 2").command(check).command("check_default c").servers([&backend]).start();
    wait_until("the server to be up", || pen.control("json servers").contains("\"state\":\"up\""));
    pen.control("server 0 on_down close");
    let (mut client, at) = held(&pen, 2);
    let silent = pen.client_from(3);
    let (third, third_at) = held(&pen, 4);
    let evicted = address(&silent, 3);
    assert_eq!(end_of(&logged(&file, 1), evicted), "evicted");
    checked.stop();
    client.end();
    drop(third);
    let lines = logged(&file, 3);
    assert_eq!(end_of(&lines, at), "server-down");
    assert!(["server-down", "client-closed"].contains(&end_of(&lines, third_at)));
}

#[test]
fn a_flow_of_datagrams_has_a_line() {
    let server = Server::named("A");
    let (setup, file) = setup("json");
    let setup = setup.options("-U -x 2").command("acl 7 deny 127.0.0.66").command("client_acl 7");
    let mut pen = setup.server(server.address).start();
    let denied = Asker::new(66, pen.address);
    denied.send(b"?");
    let askers: Vec<Asker> = (2..5).map(|n| Asker::new(n, pen.address)).collect();
    askers.iter().for_each(|asker| assert_eq!(asker.ask(b"?"), b"A"));
    let line = logged(&file, 1).pop().unwrap();
    assert_eq!((&line["end"], &line["client_address"]), (&"evicted".into(), &"127.0.0.2".into()));
    assert_eq!((&line["server"], &line["attempts"]), (&"0".into(), &1.into()));
    assert_eq!((&line["to_server_bytes"], &line["to_client_bytes"]), (&1.into(), &1.into()));
    let shown: Value = serde_json::from_str(&pen.control("json connections")).unwrap();
    let is_of_first = |row: &&Value| row["client_address"] == "127.0.0.3";
    let row = shown["connections"].as_array().unwrap().iter().find(is_of_first).unwrap();
    pen.control(&format!("close {}", row["connection"]));
    assert_eq!(logged(&file, 2)[1]["end"], "closed-by-command");
    pen.control("idle_timeout 1");
    assert_eq!(logged(&file, 3)[2]["end"], "idle");
    pen.control("idle_timeout 0");
    assert_eq!(askers[0].ask(b"?"), b"A");
    assert!(pen.terminate().is_some_and(|status| status.success()));
    assert_eq!(logged(&file, 4)[3]["end"], "shutdown");
}

#[test]
fn it_is_changed_rotated_and_refused_as_the_request_log_is() {
    let backend = obedient();
    let (setup, file) = setup("json");
    let pen = setup.servers([&backend]).start();
    assert_eq!(pen.control("connection_log"), format!("{file}\n"));
    let run = || {
        let (client, at) = held(&pen, 2);
        client.finish();
        at
    };
    let first = run();
    logged(&file, 1);
    let old = pen.file("connections.1");
    fs::rename(&file, &old).unwrap();
    let second = run();
    logged(&old, 2);
    pen.signal(Signal::SIGHUP);
    pen.says("log reopened");
    let third = run();
    assert_eq!(end_of(&logged(&file, 1), third), "client-closed");
    assert_eq!([first, second].map(|at| end_of(&lines(&old), at).to_owned()), ["client-closed"; 2]);
    // All or nothing, with the request log too.
    let (requests, missing) = (pen.file("requests"), pen.file("missing/file"));
    let commands = pen.write("commands", format!("log {requests}\nconnection_log {missing}\n"));
    assert!(pen.control(&format!("include {}", commands)).contains("connection_log"));
    assert_eq!(pen.control("log"), "");
    assert_eq!(pen.control("connection_log"), format!("{file}\n"));
    all_ended(&pen);
    pen.control("no connection_log");
    assert_eq!(pen.control("connection_log"), "");
    run();
    all_ended(&pen);
    pen.control(&format!("connection_log {file}"));
    let last = run();
    assert_eq!(end_of(&logged(&file, 2), last), "client-closed");
}

#[test]
fn lines_that_find_no_room_are_counted_and_nobody_waits() {
    let backend = obedient();
    let setup = Setup::new().command("connection_log /dev/full").command("client_conn_max 1");
    let pen = setup.servers([&backend]).start();
    let (mut held, _) = held(&pen, 2);
    for _ in 0..100 {
        pen.client_from(2).end();
    }
    pen.says("connection_log: cannot write log /dev/full: ");
    held.finish();
    assert_eq!(held.end(), End::Clean);
}

/// The first cells of the rows of a table of penctl(1), by the number of the table in its section.
fn table_of(section: &str, n: usize) -> Vec<String> {
    let page = fs::read_to_string(top().join("man1/penctl.1")).unwrap();
    let (_, section) = page.split_once(&format!("\n.SS \"{section}\"\n")).unwrap();
    let table = section.split("\n.S").next().unwrap().split("\n.TS\n").nth(n).unwrap();
    let cell = |line: &str| Some(line.strip_prefix("\\fB")?.split_once("\\fR@")?.0.to_owned());
    table.split("\n.TE").next().unwrap().lines().filter_map(cell).collect()
}

#[test]
fn the_page_of_penctl_has_every_field_and_every_word() {
    assert_eq!(table_of("Connection Log", 1), ConnectionLine::FIELDS);
    assert_eq!(table_of("Connection Log", 2), EndReason::WORDS);
}

#[test]
fn the_client_is_the_one_that_a_proxy_tells_of() {
    let backend = obedient();
    let (setup, file) = setup("json");
    let setup =
        setup.command("acl 6 permit 127.0.0.2").command("proxy_acl 6").command("proxy_protocol require");
    let setup = setup.command("acl 7 deny 192.0.2.66").command("client_acl 7");
    let pen = setup.servers([&backend]).start();
    for (sender, first, client, word) in [
        (2, "PROXY TCP4 192.0.2.1 192.0.2.9 4711 80\r\nclose\n", "192.0.2.1", "server-closed"),
        (2, "PROXY TCP4 192.0.2.66 192.0.2.9 4711 80\r\nclose\n", "192.0.2.66", "denied"),
        (2, "GET / HTTP/1.0\r\n\r\n", "127.0.0.2", "proxy-failed"),
        (3, "", "127.0.0.3", "denied"),
    ] {
        let mut sending = pen.client_from(sender);
        sending.send(first);
        end(sending);
        wait_until("its line", || lines(&file).iter().any(|line| line["client_address"] == client));
        let lines = lines(&file);
        assert_eq!(lines.last().unwrap()["end"], word, "{first}");
        assert_eq!(lines.iter().filter(|line| line["client_address"] == client).count(), 1, "{lines:?}");
    }
}
