//! Names of servers: looked up at the start and while pen runs, and never waited for.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::backend::{Backend, BlackHole, Refusing, greeters};
use crate::support::namespace::inside;
use crate::support::{Client, Setup, Stopwatch, wait_until};

#[test]
fn a_name_that_does_not_resolve_is_no_reason_not_to_start() {
    let backends = greeters(1);
    let pen = Setup::new().options("-r").servers(&backends).server("nohost.invalid:1").start();
    pen.says("nohost.invalid");
    assert_eq!(pen.choices([2, 2, 2]), "A A A");
    // The rest of its settings are there all the same.
    assert_eq!(pen.servers()[1].port, 1);
}

#[test]
fn names_are_resolved() {
    let backends = greeters(1);
    let pen = Setup::new().server(format!("localhost:{}", backends[0].port())).start();
    wait_until("the name to be resolved", || pen.choice(2) == "A");
}

/// A resolv.conf that has nobody ask but this machine.
pub(super) const ASK_HERE: &str = "nameserver 127.0.0.1\noptions timeout:4 attempts:1\n";

/// How to run pen so that it finds these files of the setup's directory in /etc.
pub(super) fn with_etc(setup: Setup, files: &[(&str, &str)]) -> Setup {
    let mount =
        |(name, text): &(&str, &str)| format!("mount --bind {} /etc/{name}\n", setup.write(name, text));
    let mounts: String = files.iter().map(mount).collect();
    let script = setup.write("wrapper", mounts + "exec \"$@\"\n");
    setup.wrapper(&format!("unshare -m sh {script}"))
}

/// A DNS that hears every question and answers none.
fn mute_dns() -> UdpSocket {
    let dns = UdpSocket::bind("127.0.0.1:53").unwrap();
    dns.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    dns
}

/// A DNS that never answers, in a namespace of its own, and how to run pen so that it asks there.
fn silent_dns(setup: Setup) -> (UdpSocket, Setup) {
    (mute_dns(), with_etc(setup, &[("resolv.conf", ASK_HERE)]))
}

#[test]
fn a_dns_that_is_away_keeps_the_start_waiting_once_and_the_end_not_at_all() {
    if !inside("it::names::a_dns_that_is_away_keeps_the_start_waiting_once_and_the_end_not_at_all") {
        return;
    }
    let backends = greeters(1);
    let (dns, setup) = silent_dns(Setup::new());
    let names = (0..4).map(|n| format!("server{n}.example:1"));
    let stopwatch = Stopwatch::start();
    let mut pen = names.fold(setup.options("-r").servers(&backends), Setup::server).start();
    stopwatch.is_below(Duration::from_secs(8));
    assert_eq!(pen.choices([2, 2]), "A A");
    // Nobody waits for the answer, which takes four seconds not to come.
    let stopwatch = Stopwatch::start();
    assert_eq!(pen.control("server 5 address another.example port 1"), "");
    assert_eq!(pen.control("pid"), format!("{}\n", pen.pid()));
    stopwatch.is_below(Duration::from_secs(2));
    let mut question = [0; 512];
    let asked = |length: usize, question: &[u8]| question[..length].windows(7).any(|w| w == b"another");
    wait_until("the question for the name", || {
        let length = dns.recv(&mut question).unwrap();
        asked(length, &question)
    });
    assert_eq!(pen.choice(2), "A");
    let stopwatch = Stopwatch::start();
    assert_eq!(pen.terminate().unwrap().code(), Some(0));
    stopwatch.is_below(Duration::from_secs(2));
}

#[test]
fn listening_at_a_name_that_is_looked_up_holds_nothing_up() {
    if !inside("it::names::listening_at_a_name_that_is_looked_up_holds_nothing_up") {
        return;
    }
    let backends = greeters(1);
    let (dns, setup) = silent_dns(Setup::new());
    let file = setup.write("file", "blacklist 5\n");
    let pen = setup.options(format!("-r -F {file}")).servers(&backends).start();
    let is_asked = |name: &[u8]| {
        let mut question = [0; 512];
        wait_until("the question for the name", || {
            let length = dns.recv(&mut question).unwrap();
            question[..length].windows(name.len()).any(|window| window == name)
        });
    };
    let address = pen.control("listen");
    let mut command = Client::to_path(&pen.control_path());
    command.send("listen slow.example:8080\n");
    is_asked(b"slow");
    let stopwatch = Stopwatch::start();
    // Commands, signals and clients are served meanwhile.
    assert_eq!(pen.control("pid"), format!("{}\n", pen.pid()));
    pen.write("file", "blacklist 6\n");
    pen.signal(Signal::SIGHUP);
    pen.says(&format!("{file} read again"));
    assert_eq!(pen.control("blacklist"), "6\n");
    assert_eq!(pen.choice(2), "A");
    stopwatch.is_below(Duration::from_secs(3));
    let reply = command.text();
    assert!(reply.starts_with("error: listen: slow.example: "), "{reply}");
    assert_eq!(pen.control("listen"), address);
    // A file that names one is no different.
    pen.write("file", "blacklist 7\nlisten late.example:8080\n");
    pen.signal(Signal::SIGHUP);
    is_asked(b"late");
    let stopwatch = Stopwatch::start();
    assert_eq!(pen.control("blacklist"), "6\n");
    assert_eq!(pen.choice(2), "A");
    stopwatch.is_below(Duration::from_secs(3));
    pen.says(&format!("{file}: it is not applied"));
    pen.says("late.example");
    assert_eq!(pen.control("blacklist"), "6\n");
}

#[test]
fn pen_listens_at_a_name() {
    if !inside("it::names::pen_listens_at_a_name") {
        return;
    }
    let backends = greeters(1);
    let hosts = "127.0.0.1 localhost\n127.0.0.9 front.example\n";
    let setup = with_etc(Setup::new(), &[("resolv.conf", ASK_HERE), ("hosts", hosts)]);
    let pen = setup.options("-r").servers(&backends).start();
    let port = pen.address.port();
    let name = format!("front.example:{port}");
    assert_eq!(pen.control(&format!("listen {name}")), format!("{name}\n"));
    let mut client = Client::to(SocketAddr::from(([127, 0, 0, 9], port)));
    assert_eq!(client.line(), "A");
    // Which servers are pen itself is told by the address that it is bound to, whatever has become of the name.
    let _dns = mute_dns();
    std::fs::write(pen.file("hosts"), "127.0.0.1 localhost\n").unwrap();
    let stopwatch = Stopwatch::start();
    let reply = pen.control(&format!("server 1 address 127.0.0.9 port {port}"));
    assert!(reply.contains("pen's own address"), "{reply}");
    assert_eq!(pen.control(&format!("server 1 address 127.0.0.8 port {port}")), "");
    stopwatch.is_below(Duration::from_secs(3));
}

#[test]
fn setting_a_name_holds_nothing_up() {
    let backends = greeters(2);
    let pen = Setup::new().options("-r").servers(&backends).start();
    let stopwatch = Stopwatch::start();
    pen.control("server 1 address nohost.invalid");
    stopwatch.is_below(Duration::from_secs(2));
    pen.choices([2, 2]);
    pen.says("nohost.invalid");
}

#[test]
fn a_name_that_control_gives_is_resolved() {
    let dead = Refusing::new();
    let backends = greeters(1);
    let pen = Setup::new().server(dead.address()).start();
    assert_eq!(pen.choice(2), "EOF");
    assert_eq!(pen.control(&format!("server 0 address localhost port {}", backends[0].port())), "");
    wait_until("the name to be resolved", || pen.choice(2) == "A");
}

#[test]
fn a_name_that_the_file_adds_and_nobody_knows_leaves_out_its_server_only() {
    let backends = greeters(1);
    let setup = Setup::new();
    let file = setup.write("file", "blacklist 5\n");
    let pen = setup.options(format!("-r -F {file}")).servers(&backends).start();
    pen.write("file", "blacklist 6\nserver 1 address nohost.invalid port 1\n");
    pen.signal(Signal::SIGHUP);
    pen.says(&format!("{file} read again"));
    pen.says("nohost.invalid cannot be resolved");
    assert_eq!(pen.control("blacklist"), "6\n");
    assert_eq!(pen.servers()[1].port, 1);
    assert_eq!(pen.choices([2, 2, 2]), "A A A");
}

#[test]
fn a_hup_finds_the_address_that_a_name_has_by_now() {
    if !inside("it::names::a_hup_finds_the_address_that_a_name_has_by_now") {
        return;
    }
    let first = Backend::greeter("A");
    let second = SocketAddr::from(([127, 0, 0, 2], first.port()));
    let _second = Backend::greeter_on(&second.into(), "B");
    let hosts = |names: &str| format!("127.0.0.1 localhost\n{names}\n");
    let setup = with_etc(Setup::new(), &[("resolv.conf", ASK_HERE), ("hosts", &hosts(""))]);
    let pen = setup.options("-r").server(format!("backend.example:{}", first.port())).start();
    pen.says("backend.example cannot be resolved");
    assert_eq!(pen.choice(2), "EOF");
    let serves = |names: &str, server: &str| {
        pen.write("hosts", hosts(names));
        let stopwatch = Stopwatch::start();
        wait_until("the address to be found", || {
            // A lookup that was on its way may have missed it.
            pen.signal(Signal::SIGHUP);
            pen.choice(2) == server
        });
        // Pen asks every ten seconds anyway for a name that nobody knew.
        stopwatch.is_below(Duration::from_secs(8));
    };
    serves("127.0.0.1 backend.example", "A");
    // A name that has an address is asked for again too.
    serves("127.0.0.2 backend.example", "B");
    // What pen complained of while it ran, it takes back.
    assert_eq!(pen.control("server 0 address later.example"), "");
    pen.says("later.example cannot be resolved");
    assert_eq!(pen.choice(2), "EOF");
    serves("127.0.0.1 later.example", "A");
    pen.says("later.example has an address now");
}

/// Two servers of one port, and a pen whose server is the first by a name that the file `hosts` knows.
fn moving() -> (Backend, Backend, Setup) {
    let first = Backend::greeter("A");
    let second = SocketAddr::from(([127, 0, 0, 2], first.port()));
    let second = Backend::greeter_on(&second.into(), "B");
    let files = [("resolv.conf", ASK_HERE), ("hosts", "127.0.0.1 localhost backend.example\n")];
    let setup = with_etc(Setup::new(), &files).options("-r");
    let setup = setup.server(format!("backend.example:{}", first.port()));
    (first, second, setup)
}

const MOVED: &str = "127.0.0.1 localhost\n127.0.0.2 backend.example\n";

#[test]
fn a_name_that_is_not_found_again_keeps_its_address_and_is_tried_again() {
    if !inside("it::names::a_name_that_is_not_found_again_keeps_its_address_and_is_tried_again") {
        return;
    }
    let (_first, _second, setup) = moving();
    let pen = setup.start();
    assert_eq!(pen.choice(2), "A");
    pen.write("hosts", "127.0.0.1 localhost\n");
    pen.signal(Signal::SIGHUP);
    pen.says("backend.example cannot be resolved, its servers keep the address they have until it can");
    assert_eq!(pen.choice(2), "A");
    // Nobody asks for it: pen does so by itself.
    pen.write("hosts", MOVED);
    wait_until("the new address to be found", || pen.choice(2) == "B");
    pen.says("backend.example has an address now");
}

#[test]
fn a_name_that_is_given_again_has_the_address_of_now() {
    if !inside("it::names::a_name_that_is_given_again_has_the_address_of_now") {
        return;
    }
    let (_first, _second, setup) = moving();
    let pen = setup.start();
    assert_eq!(pen.choice(2), "A");
    pen.write("hosts", MOVED);
    pen.control("server 0 address 127.0.0.9 address backend.example");
    wait_until("the new address to be found", || pen.choice(2) == "B");
    // By a file too.
    pen.write("hosts", "127.0.0.1 localhost backend.example\n");
    let file = pen.write("file", "server 0 address backend.example\n");
    pen.control(&format!("include {file}"));
    wait_until("the old address to be found", || pen.choice(2) == "A");
}

#[test]
fn a_hup_during_a_lookup_asks_again() {
    if !inside("it::names::a_hup_during_a_lookup_asks_again") {
        return;
    }
    let (_first, _second, setup) = moving();
    let dns = mute_dns();
    let pen = setup.start();
    assert_eq!(pen.choice(2), "A");
    pen.write("hosts", "127.0.0.1 localhost\n");
    pen.signal(Signal::SIGHUP);
    // It is looking for what is no longer there, which takes four seconds not to come.
    assert!(dns.recv(&mut [0; 512]).unwrap() > 0);
    pen.write("hosts", MOVED);
    pen.signal(Signal::SIGHUP);
    wait_until("the new address to be found", || pen.choice(2) == "B");
}

#[test]
fn of_a_names_addresses_a_silent_one_costs_no_more_than_a_moment() {
    if !inside("it::names::of_a_names_addresses_a_silent_one_costs_no_more_than_a_moment") {
        return;
    }
    let hole = BlackHole::on(([127, 0, 0, 41], 0).into());
    let port = hole.address().port();
    let _server = Backend::greeter_on(&SocketAddr::from(([127, 0, 0, 42], port)).into(), "A");
    let hosts = "127.0.0.1 localhost\n127.0.0.41 both.example\n127.0.0.42 both.example\n";
    let setup = with_etc(Setup::new(), &[("resolv.conf", ASK_HERE), ("hosts", hosts)]);
    let pen = setup.options("-r -t 15").server(format!("both.example:{port}")).start();
    let (begin, stopwatch) = (Instant::now(), Stopwatch::start());
    assert_eq!(pen.choice(2), "A");
    stopwatch.is_below(Duration::from_secs(10));
    assert!(begin.elapsed() > Duration::from_millis(200), "{:?}", begin.elapsed());
    // What has worked is tried first from now on.
    wait_until("a client to be served at once", || {
        let begin = Instant::now();
        assert_eq!(pen.choice(2), "A");
        begin.elapsed() < Duration::from_millis(200)
    });
    assert!(!pen.stderr().contains("blacklisting"), "{}", pen.stderr());
}

#[test]
fn of_a_names_addresses_one_that_fails_leaves_the_other() {
    if !inside("it::names::of_a_names_addresses_one_that_fails_leaves_the_other") {
        return;
    }
    let first = Backend::greeter_on(&SocketAddr::from(([127, 0, 0, 41], 0)).into(), "A");
    let port = first.port();
    let second = Backend::greeter_on(&SocketAddr::from(([127, 0, 0, 42], port)).into(), "B");
    let hosts = "127.0.0.1 localhost\n127.0.0.41 both.example\n127.0.0.42 both.example\n";
    let setup = with_etc(Setup::new(), &[("resolv.conf", ASK_HERE), ("hosts", hosts)]);
    let pen = setup.options("-r").server(format!("both.example:{port}")).start();
    assert_eq!(pen.choices([2, 2]), "A A");
    let address = first.stop();
    assert_eq!(pen.choices([2, 2]), "B B");
    let _first = Backend::greeter_on(&address, "A");
    assert_eq!(pen.choice(2), "B", "it worked last");
    drop(second);
    assert_eq!(pen.choices([2, 2]), "A A");
    assert!(!pen.stderr().contains("blacklisting"), "{}", pen.stderr());
}

#[test]
fn a_names_new_address_is_not_blacklisted() {
    if !inside("it::names::a_names_new_address_is_not_blacklisted") {
        return;
    }
    let (first, _second, setup) = moving();
    // While anybody else is left, a server on the blacklist is not tried.
    let other = Backend::greeter("other");
    let pen = setup.server(format!("{}:0:0:0:9", other.address())).command("prio").start();
    assert_eq!(pen.choice(2), "A");
    drop(first);
    assert_eq!(pen.choice(2), "other");
    pen.says("blacklisting server 0 (127.0.0.1:");
    // The same address again is the same server.
    pen.signal(Signal::SIGHUP);
    assert_eq!(pen.choices([2, 2]), "other other");
    pen.write("hosts", MOVED);
    wait_until("the new address to be served", || {
        pen.signal(Signal::SIGHUP);
        pen.choice(3) == "B"
    });
    assert_eq!(pen.stderr().matches("blacklisting").count(), 1, "{}", pen.stderr());
}
