//! Checks of servers: what each type finds, and who gets clients then.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::backend::{Backend, BlackHole, Refusing, greeters};
use crate::support::client::End;
use crate::support::schema::valid;
use crate::support::udp::{self, Server};
use crate::support::{Pen, Setup, Stopwatch, wait_until};

/// Checks that are quick to find out.
const QUICK: &str = "every 0.1 timeout 0.5";

/// The rows of `json checks`.
fn rows(pen: &Pen) -> Vec<Value> {
    valid("checks", &pen.control("json checks"))["checks"].as_array().unwrap().clone()
}

#[track_caller]
pub(super) fn becomes(pen: &Pen, server: usize, state: &str) {
    let reply = pen.control(&format!("wait {server} {state} 20"));
    assert_eq!(reply, "", "{:#?}\n{}", rows(pen), pen.stderr());
}

/// Why the last check of a server ended as it did, once it was a failure.
#[track_caller]
pub(super) fn failure(pen: &Pen, server: usize) -> String {
    becomes(pen, server, "down");
    let row = rows(pen).into_iter().find(|row| row["server"] == server).unwrap();
    assert_eq!((&row["health"], &row["success"]), (&"down".into(), &false.into()), "{row}");
    row["reason"].as_str().unwrap().to_owned()
}

fn checked(check: &str, servers: impl IntoIterator<Item = SocketAddr>) -> Pen {
    let setup =
        Setup::new().options("-r").command(format!("check it {check} {QUICK}")).command("check_default it");
    servers.into_iter().fold(setup, Setup::server).start()
}

/// What a server does with a connection, which a test changes.
#[derive(Clone, Default)]
struct Manner(Arc<AtomicUsize>);

impl Manner {
    const WELL: usize = 0;
    /// It reads and never answers.
    const FROZEN: usize = 1;
    /// It answers with an error.
    const ILL: usize = 2;

    fn set(&self, manner: usize) {
        self.0.store(manner, SeqCst);
    }

    /// A web server that answers each connection once, in this manner, with `name`.
    fn serve(&self, name: &'static str) -> Backend {
        let manner = self.clone();
        Backend::new(move |mut client| {
            while !["", "\r"].contains(&client.line().as_str()) {}
            match manner.0.load(SeqCst) {
                Manner::WELL => {
                    client.send(format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}\n",
                        name.len() + 1
                    ));
                }
                Manner::ILL => client.send("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"),
                _ => {}
            }
            client.rest();
        })
    }
}

/// Who answers a request; empty when the connection ends without an answer.
fn ask(pen: &Pen, n: u8) -> String {
    let mut client = pen.client_from(n);
    client.send("GET / HTTP/1.0\r\n\r\n");
    while !["", "\r"].contains(&client.line().as_str()) {}
    client.line()
}

#[test]
fn the_first_result_decides_and_a_server_that_is_down_costs_nobody_a_connect() {
    let hole = BlackHole::new();
    let dead = Refusing::new();
    let backends = greeters(1);
    let pen = checked("type tcp", [backends[0].address(), hole.address(), dead.address()]);
    becomes(&pen, 0, "up");
    assert_eq!(failure(&pen, 1), "no connection after 0.5 s");
    assert_eq!(failure(&pen, 2), "Connection refused");
    let stopwatch = Stopwatch::start();
    assert_eq!(pen.choices([2, 3, 4, 5]), "A A A A");
    stopwatch.is_below(Duration::from_secs(3));
    assert!(!pen.stderr().contains("blacklisting"), "{}", pen.stderr());
    for line in [
        format!("server 0 ({}) is up: check it: connected", backends[0].address()),
        format!("server 1 ({}) is down: check it: no connection after 0.5 s", hole.address()),
        format!("server 2 ({}) is down: check it: Connection refused", dead.address()),
    ] {
        pen.says(&line);
        assert_eq!(pen.stderr().matches(&line).count(), 1, "{line}: {}", pen.stderr());
    }
    let why = pen.control("why 127.0.0.2");
    assert!(why.contains("cannot serve: its check finds it down: Connection refused"), "{why}");
    assert!(why.contains("its check finds it up: connected"), "{why}");
    let servers = valid("servers", &pen.control("json servers"));
    let states: Vec<_> = servers["servers"].as_array().unwrap().iter().map(|row| &row["state"]).collect();
    assert_eq!(states, ["up", "down", "down"]);
}

#[test]
fn a_server_that_goes_and_comes_loses_its_own_clients_only() {
    let mut backends = greeters(3);
    let pen = Setup::new()
        .options("-h -N")
        .command(format!("check it {QUICK} rise 3"))
        .command("check_default it")
        .servers(&backends)
        .start();
    (0..3).for_each(|n| becomes(&pen, n, "up"));
    let clients = || (1..40).map(|n| pen.choice(n)).collect::<Vec<_>>();
    let before = clients();
    let address = backends.remove(1).stop();
    becomes(&pen, 1, "down");
    let without = clients();
    assert!(!without.contains(&"B".to_owned()), "{without:?}");
    let moved = |(old, new): (&String, &String)| old != new;
    assert!(before.iter().zip(&without).filter(|p| moved(*p)).all(|(old, _)| old == "B"));
    let _again = Backend::greeter_on(&address, "B");
    becomes(&pen, 1, "up");
    assert_eq!(clients(), before);
}

#[test]
fn with_nobody_up_those_unknown_serve_then_the_emergency_server() {
    let dead = Refusing::new();
    let backends = greeters(1);
    let emergency = Backend::greeter("E");
    let mute = Backend::new(|mut client| _ = client.rest());
    let pen = Setup::new()
        .options("-r")
        .option("-e", emergency.address().to_string())
        .command("check slow type send timeout 60")
        .command(format!("check it {QUICK}"))
        .command(format!("server 0 address 127.0.0.1 port {} check it", dead.address().port()))
        .command(format!("server 1 address 127.0.0.1 port {} check it", backends[0].port()))
        .command(format!("server 2 address 127.0.0.1 port {} check slow", mute.port()))
        .start();
    becomes(&pen, 0, "down");
    becomes(&pen, 1, "up");
    assert_eq!(pen.choices([2, 3, 4]), "A A A");
    let state = |n: usize| {
        valid("servers", &pen.control("json servers"))["servers"][n]["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state(2), "unknown");
    pen.control("server 1 state maint");
    // The one that nothing is known of.
    let held = pen.client_from(5);
    wait_until("it to have the unknown server", || pen.servers()[2].conn == 1);
    drop(held);
    pen.control("server 2 state maint");
    assert_eq!(pen.choices([2, 3]), "E E");
    // Ready again it is unknown, until it is known.
    pen.control("server 1 state ready");
    becomes(&pen, 1, "up");
    assert_eq!(pen.choices([2, 3]), "A A");
}

#[test]
fn http_judges_status_and_body() {
    let (manner, other) = (Manner::default(), Manner::default());
    let backends = [manner.serve("well"), other.serve("ill")];
    let pen = checked("type http body well fall 2", backends.iter().map(Backend::address));
    becomes(&pen, 0, "up");
    assert_eq!(failure(&pen, 1), "status 200, but the body does not hold 'well'");
    assert_eq!([ask(&pen, 2), ask(&pen, 3)], ["well", "well"]);
    manner.set(Manner::ILL);
    assert_eq!(failure(&pen, 0), "status 503, expected 200-399");
    let refused = HEAD_WITH_BODY.replace("check a", "check it");
    assert_eq!(pen.control("check it method HEAD"), format!("error: {refused}\n"));
    assert_eq!(pen.control("check it expect 503 body \"\""), "");
    becomes(&pen, 0, "up");
}

/// An application that accepts and never answers, as one that is stopped does.
#[test]
fn a_frozen_server_is_left_out_in_time_and_comes_back() {
    let manner = Manner::default();
    let backends = [manner.serve("A"), Manner::default().serve("B")];
    let pen = checked("type http fall 3 rise 2", backends.iter().map(Backend::address));
    (0..2).for_each(|n| becomes(&pen, n, "up"));
    manner.set(Manner::FROZEN);
    let stopwatch = Stopwatch::start();
    assert_eq!(failure(&pen, 0), "no answer after 0.5 s");
    // fall * (every + timeout) is 1.8 s; the rest is for a busy machine.
    stopwatch.is_below(Duration::from_secs(6));
    assert_eq!([ask(&pen, 2), ask(&pen, 3), ask(&pen, 4)], ["B", "B", "B"]);
    manner.set(Manner::WELL);
    becomes(&pen, 0, "up");
    let mut served = [ask(&pen, 2), ask(&pen, 3)];
    served.sort();
    assert_eq!(served, ["A", "B"]);
}

#[test]
fn connections_of_a_server_that_goes_down_go_on_or_end_as_it_says() {
    let (a, b) = (Manner::default(), Manner::default());
    let (pages, backends) = ([a.serve(""), b.serve("")], greeters(2));
    let mut setup = Setup::new().options("-r");
    for (n, page) in pages.iter().enumerate() {
        let line = format!("check page{n} type http port {} {QUICK} fall 1 rise 1", page.port());
        setup = setup.command(line).command(format!("server {n} check page{n}"));
    }
    let pen = setup.servers(&backends).start();
    (0..2).for_each(|n| becomes(&pen, n, "up"));
    pen.control("server 1 on_down close");
    let mut held = [pen.hold(2), pen.hold(3)];
    held.sort_by(|(_, a), (_, b)| a.cmp(b));
    let [(mut kept, name), (mut closed, other)] = held;
    assert_eq!([name.as_str(), other.as_str()], ["A", "B"]);
    b.set(Manner::FROZEN);
    becomes(&pen, 1, "down");
    // Pen cannot know that the server had nothing more to say.
    assert_eq!(closed.end(), End::Reset);
    a.set(Manner::FROZEN);
    becomes(&pen, 0, "down");
    assert_eq!(pen.servers()[0].conn, 1);
    kept.finish();
    assert_eq!(kept.text(), "");
}

#[test]
fn send_waits_for_a_greeting_or_asks() {
    let smtp = |greeting: &'static str| {
        Backend::new(move |mut client| {
            client.send(greeting);
            client.rest();
        })
    };
    let redis = |answer: &'static str| {
        Backend::new(move |mut client| {
            if client.line() == "PING\r" {
                client.send(answer);
            }
            client.rest();
        })
    };
    let mails = [smtp("220 mail.example.com ESMTP\r\n"), smtp("554 no\r\n")];
    let stores = [redis("+PONG\r\n"), redis("-LOADING\r\n")];
    let setup = Setup::new()
        .command(format!("check mail type send expect 220 {QUICK}"))
        .command(format!("check store type send send \"PING\\r\\n\" expect +PONG {QUICK}"));
    let pen =
        mails.iter().chain(&stores).fold(setup, |setup, backend| setup.server(backend.address())).start();
    for (n, check) in ["mail", "mail", "store", "store"].iter().enumerate() {
        assert_eq!(pen.control(&format!("server {n} check {check}")), "");
    }
    becomes(&pen, 0, "up");
    becomes(&pen, 2, "up");
    // Those that say something else are still asked until their time is over.
    assert_eq!(failure(&pen, 1), "no answer after 0.5 s");
    assert_eq!(failure(&pen, 3), "no answer after 0.5 s");
}

#[test]
fn a_failed_connect_asks_for_a_check_at_once_and_a_success_ends_the_blacklisting() {
    let mut backends = greeters(2);
    let pen = Setup::new()
        .options("-r -b 3600")
        .command("check it every 60 fast 0.1 fall 1 rise 1")
        .command("check_default it")
        .servers(&backends)
        .start();
    (0..2).for_each(|n| becomes(&pen, n, "up"));
    let address = backends.remove(1).stop();
    // The second check of each is spread; whoever meets the failure first, a minute is not waited for.
    assert_eq!(pen.choices([2, 3]), "A A");
    becomes(&pen, 1, "down");
    let _again = Backend::greeter_on(&address, "B");
    pen.control("check it every 0.1");
    becomes(&pen, 1, "up");
    let mut served = [pen.choice(2), pen.choice(3)];
    served.sort();
    assert_eq!(served, ["A", "B"]);
    pen.says("works again: connected");
}

#[test]
fn so_many_failures_in_a_row_blacklist_a_server() {
    let dead = Refusing::new();
    let backends = greeters(1);
    let pen =
        Setup::new().options("-r").command("fail_max 3").servers(&backends).server(dead.address()).start();
    assert_eq!(pen.choices([2, 3]), "A A");
    assert!(!pen.stderr().contains("blacklisting"), "{}", pen.stderr());
    assert_eq!(pen.choices([2, 3, 4, 5]), "A A A A");
    pen.says("blacklisting server 1");
    assert_eq!(pen.control("fail_max"), "3\n");
}

#[test]
fn a_reload_keeps_what_is_known_unless_the_server_is_another_one() {
    let dead = Refusing::new();
    let backends = greeters(2);
    let setup = Setup::new();
    let lines = |port: u16, every: &str| {
        format!(
            "check it every {every} fall 1 rise 1\ncheck_default it\nserver 0 address 127.0.0.1 port {}\n\
             server 1 address 127.0.0.1 port {port}\n",
            backends[0].port()
        )
    };
    let file = setup.write("file", lines(dead.address().port(), "60"));
    let pen = setup.options(format!("-r -F {file}")).start();
    becomes(&pen, 0, "up");
    becomes(&pen, 1, "down");
    let reload = |text: String| {
        std::fs::write(&file, text).unwrap();
        let before = pen.stderr().matches("read again").count();
        pen.signal(Signal::SIGHUP);
        wait_until("the file to be read", || pen.stderr().matches("read again").count() > before);
    };
    reload(lines(dead.address().port(), "60") + "blacklist 5\n");
    assert_eq!(rows(&pen)[1]["health"], "down");
    reload(lines(backends[1].port(), "60"));
    becomes(&pen, 1, "up");
    // Another check: its first result decides anew.
    reload(lines(backends[1].port(), "59"));
    (0..2).for_each(|n| becomes(&pen, n, "up"));
    let told = || pen.stderr().matches(") is up: check it").count();
    wait_until("what was found to be logged", || told() >= 4);
    assert_eq!(told(), 4, "{}", pen.stderr());
    reload("check it port 1\n".into());
    becomes(&pen, 0, "down");
    assert_eq!(pen.control("no check it"), "error: no check it: it is check_default\n");
    assert_eq!(pen.control("no check_default"), "");
    assert_eq!(pen.control("no check it"), "");
    assert_eq!((rows(&pen).len(), pen.choices([2, 3]).len()), (0, 3));
    let output = pen.penctl("server 1 check web");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "error: server 1 check: expected the name of a check, got 'web'\n"
    );
}

const HEAD_WITH_BODY: &str =
    "check a method: expected GET or OPTIONS, since it looks for a text in the body, got 'HEAD'";

#[test]
fn a_bad_check_in_a_file_is_told_with_its_line() {
    let setup = Setup::new();
    for (check, error) in [
        ("type exec", "check a program: expected the program, since type is exec, got nothing"),
        ("type http method HEAD body well", HEAD_WITH_BODY),
    ] {
        let lines = format!("listen 127.0.0.1:1\ncheck a {check}\nserver 0 address ::1 port 1 check b\n");
        let file = setup.write("file", lines);
        let output = crate::support::pen::run_pen(["--check", "-F", &file]);
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(error), "{said}");
    }
}

/// A name server of one answer code, over UDP and TCP.
fn name_server(code: u8) -> (Server, Backend) {
    let answer = move |question: &[u8]| {
        let mut answer = question.to_vec();
        (answer[2], answer[3]) = (0x80, code);
        answer
    };
    let datagrams = Server::on(([127, 0, 0, 1], 0).into(), move |question| vec![answer(question)]);
    let streams = Backend::new(move |mut client| {
        let length = client.bytes(2);
        let question = client.bytes(usize::from(u16::from_be_bytes([length[0], length[1]])));
        client.send([&length[..], &answer(&question)].concat());
        client.rest();
    });
    (datagrams, streams)
}

#[test]
fn dns_asks_as_clients_do_and_wants_no_servfail() {
    let (well, ill) = (name_server(0), name_server(2));
    let mute = Server::mute();
    let check = format!("check it type dns name www.example.com {QUICK}");
    let setup = || Setup::new().options("-r").command(&check).command("check_default it");
    let addresses = [well.0.address, ill.0.address, mute.address];
    let pen = addresses.into_iter().fold(setup().options("-U"), Setup::server).start();
    becomes(&pen, 0, "up");
    assert_eq!(failure(&pen, 1), "the answer is SERVFAIL");
    assert_eq!(failure(&pen, 2), "no answer after 0.5 s");
    assert_eq!(rows(&pen)[0]["reason"], "the answer is NOERROR");
    let question = well.0.received()[0].1.clone();
    assert!(question.ends_with(b"\x03www\x07example\x03com\0\0\x01\0\x01"), "{question:?}");
    let pen = [well.1.address(), ill.1.address()].into_iter().fold(setup(), Setup::server).start();
    becomes(&pen, 0, "up");
    assert_eq!(failure(&pen, 1), "the answer is SERVFAIL");
}

#[test]
fn a_silent_server_of_datagrams_is_found_by_its_check() {
    let [a, mute] = [Server::named("A"), Server::mute()];
    let refusing = udp::Refusing::new();
    let pen = [a.address, mute.address, refusing.address()]
        .into_iter()
        .fold(
            Setup::new()
                .options("-U -r")
                .command(format!("check it type udp send hello expect A {QUICK}"))
                .command("check_default it"),
            Setup::server,
        )
        .start();
    becomes(&pen, 0, "up");
    assert_eq!(failure(&pen, 1), "no answer after 0.5 s");
    assert_eq!(failure(&pen, 2), "Connection refused");
    assert_eq!(udp::choices(pen.address, [2, 3, 4, 5]), "A A A A");
}

#[test]
fn servers_on_paths_other_ports_and_behind_a_proxy_header() {
    let directory = crate::support::directory::directory();
    let greeter = Backend::greeter_at_path(&directory.path().join("socket"), "A");
    let health = Manner::default();
    let (page, backends) = (health.serve("well"), greeters(1));
    let proxied = Backend::recorder("");
    let pen = Setup::new()
        .options("-r")
        .command(format!("check path type send expect A {QUICK}"))
        .command(format!("check port type http port {} {QUICK}", page.port()))
        .command(format!("check proxy type send send x proxy on {QUICK}"))
        .command(format!("server 0 address {} check path", directory.file("socket")))
        .command(format!("server 1 address 127.0.0.1 port {} check port", backends[0].port()))
        .command(format!("server 2 address 127.0.0.1 port {} check proxy", proxied.port()))
        .start();
    (0..2).for_each(|n| becomes(&pen, n, "up"));
    assert_eq!(failure(&pen, 2), "no answer after 0.5 s");
    assert_eq!(proxied.received_by(0), b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0x");
    health.set(Manner::ILL);
    assert_eq!(failure(&pen, 1), "status 503, expected 200-399");
    assert_eq!(pen.choices([2, 3]), "A A");
    drop(greeter);
    becomes(&pen, 0, "down");
}

#[test]
fn tls_is_verified_unless_that_is_off() {
    use crate::support::tls::Pair;
    let directory = crate::support::directory::directory();
    let root = Pair::root("Authority");
    root.issue("www.example.com").write(directory.path(), "web");
    let web = Backend::http("well");
    let front = Setup::new()
        .options(format!("-E {} -K {}", directory.file("web.crt"), directory.file("web.key")))
        .server(web.address())
        .start();
    std::fs::write(directory.path().join("root.pem"), root.cert_pem()).unwrap();
    let pen = Setup::new()
        .environment("SSL_CERT_FILE", &directory.file("root.pem"))
        .command(format!("check good type http tls on sni www.example.com {QUICK} timeout 5"))
        .command(format!("check name type http tls on {QUICK} timeout 5"))
        .command(format!("check any type http tls on verify off {QUICK} timeout 5"))
        .command(format!("check plain type http {QUICK} timeout 5"))
        .servers([])
        .start();
    for (n, check) in ["good", "name", "any", "plain"].iter().enumerate() {
        let line = format!("server {n} address 127.0.0.1 port {} check {check}", front.address.port());
        assert_eq!(pen.control(&line), "");
    }
    becomes(&pen, 0, "up");
    becomes(&pen, 2, "up");
    let reason = failure(&pen, 1);
    assert!(reason.starts_with("TLS: its certificate is refused: "), "{reason}");
    becomes(&pen, 3, "down");
}
