//! Servers that fail: who is tried next, who is left out and for how long, and that no byte of the client is lost.

use std::time::{Duration, Instant};

use crate::support::backend::{Backend, BlackHole, Refusing, greeters};
use crate::support::{Client, Pen, Setup, Stopwatch, wait_until};

#[test]
fn a_refused_connection_goes_to_the_next_server() {
    let dead = Refusing::new();
    let backends = greeters(2);
    let pen = Setup::new().options("-r").server(dead.address()).servers(&backends).start();
    assert_eq!(pen.choices([2; 6]), "A B A B A B");
    pen.says("Connection refused");
}

#[test]
fn a_remembered_server_that_dies_is_replaced_and_the_new_one_remembered() {
    let mut backends = greeters(3);
    let pen = Setup::new().servers(&backends).start();
    assert_eq!(pen.choices([2, 3]), "B C");
    let address = backends.remove(1).stop();
    assert_eq!(pen.choices([2, 2]), "C C");
    let _again = Backend::greeter_on(&address, "again");
    pen.control("server 1 blacklist 0");
    assert_eq!(pen.choice(2), "C");
}

#[test]
fn a_server_that_comes_back_is_used_when_its_blacklist_time_is_over() {
    let mut backends = greeters(2);
    let pen = Setup::new().options("-r -b 1").servers(&backends).start();
    let address = backends.remove(1).stop();
    assert_eq!(pen.choices([2, 2, 2]), "A A A");
    let _again = Backend::greeter_on(&address, "again");
    wait_until("the server to be used again", || pen.choice(2) == "again");
}

#[test]
fn servers_that_restart_in_turn_leave_nobody_unserved() {
    let mut backends = greeters(2);
    let pen = Setup::new().options("-r").servers(&backends).start();
    let b = backends.remove(1).stop();
    assert_eq!(pen.choices([2, 3]), "A A");
    let b = Backend::greeter_on(&b, "B");
    let a = backends.remove(0).stop();
    // B is on the blacklist for 30 seconds, and nobody else is left.
    assert_eq!(pen.choices([2, 3]), "B B");
    pen.says(&format!("server 1 ({}) works again", b.address()));
    let _a = Backend::greeter_on(&a, "A");
    drop(b);
    assert_eq!(pen.choices([2, 3]), "A A");
}

#[test]
fn a_single_server_that_was_away_serves_as_soon_as_it_is_back() {
    for options in ["", "-r", "-s", "-h", "-s -h", "-W", "-O prio"] {
        let backend = Backend::greeter("A");
        let operand = format!("{}:0:0:1", backend.address());
        let pen = Setup::new().options(options).server(operand).start();
        assert_eq!(pen.choice(2), "A");
        let address = backend.stop();
        assert_eq!(pen.choices([2, 3]), "EOF EOF", "{options}");
        let _again = Backend::greeter_on(&address, "again");
        assert_eq!(pen.choices([2, 3]), "again again", "{options}");
        pen.says("works again");
        assert_eq!(pen.stderr().matches("blacklisting").count(), 1, "{}", pen.stderr());
    }
}

#[test]
fn a_server_that_a_command_leaves_out_is_not_even_the_last_resort() {
    let backends = greeters(2);
    let pen = Setup::new().options("-r").servers(&backends).start();
    (0..2).for_each(|n| _ = pen.control(&format!("server {n} blacklist 100")));
    assert_eq!(pen.choices([2, 2]), "EOF EOF");
    pen.control("server 1 blacklist 0");
    assert_eq!(pen.choices([2, 2]), "B B");
}

#[test]
fn when_the_time_on_the_blacklist_is_over_one_client_tries_the_server() {
    let hole = BlackHole::new();
    let backends = greeters(1);
    let pen = Setup::new().options("-r -t 2 -b 1").servers(&backends).server(hole.address()).start();
    let first = pen.client_from(2);
    assert_eq!(pen.choices([3, 3, 3]).replace("EOF", ""), "A A A");
    drop(first);
    pen.says("blacklisting server 1");
    wait_until("its time to be over", || {
        pen.signal(nix::sys::signal::Signal::SIGUSR1);
        pen.stderr().contains("failed, to be tried again")
    });
    let mut clients: Vec<Client> = (0..8).map(|n| pen.client_from(n + 10)).collect();
    let stopwatch = Stopwatch::start();
    let mut served = 0;
    wait_until("all but one to be served", || {
        clients.retain_mut(|client| {
            let waits = client.is_silent_for(Duration::from_millis(1));
            if !waits {
                assert_eq!(client.line(), "A");
                served += 1;
            }
            waits
        });
        served == 7
    });
    stopwatch.is_below(Duration::from_secs(2));
    assert_eq!(clients[0].line(), "A");
}

#[test]
fn blacklist_zero_takes_a_server_back_in() {
    let backends = greeters(4);
    let pen = Setup::new().options("-r").servers(&backends).start();
    assert_eq!(pen.control("server 1 blacklist 100"), "");
    assert_eq!(pen.choices([2; 7]), "C D A C D A C");
    pen.control("server 1 blacklist 0");
    assert_eq!(pen.choices([2; 4]), "D A B C");
}

#[test]
fn a_blacklisting_outlasts_a_change_of_the_blacklist_time() {
    let backends = greeters(2);
    let pen = Setup::new().options("-r").servers(&backends).start();
    pen.control("server 1 blacklist 100");
    assert_eq!(pen.control("blacklist 0"), "0\n");
    assert_eq!(pen.choices([2, 2, 2]), "A A A");
}

#[test]
fn a_connect_that_takes_too_long_fails_over_and_keeps_what_the_client_sent() {
    let hole = BlackHole::new();
    let recorder = Backend::recorder("got it");
    let pen = Setup::new()
        .options("-t 1")
        .servers(&greeters(0))
        .server(recorder.address())
        .server(hole.address())
        .start();
    let text: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let begin = Instant::now();
    let mut client = pen.client();
    let mut twin = client.twin();
    let sender = std::thread::spawn({
        let text = text.clone();
        move || {
            twin.send(&text);
            twin.finish();
        }
    });
    assert_eq!(client.text(), "got it");
    sender.join().unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(900), "{:?}", begin.elapsed());
    assert_eq!(recorder.received_by(0), text);
    pen.says("timed out");
    // The next client does not wait: the server is blacklisted.
    let stopwatch = Stopwatch::start();
    let mut client = pen.client_from(3);
    client.finish();
    assert_eq!(client.text(), "got it");
    stopwatch.is_below(Duration::from_millis(900));
}

#[test]
fn what_a_client_sent_and_ended_before_a_refusal_arrives_whole() {
    let dead = Refusing::new();
    let recorder = Backend::recorder("got it");
    let pen = Setup::new().options("-b 0").server(recorder.address()).server(dead.address()).start();
    for n in 0..10 {
        let mut client = pen.client_from(n + 2);
        client.send(format!("request {n}"));
        client.finish();
        assert_eq!(client.text(), "got it");
        assert_eq!(recorder.received_by(usize::from(n)), format!("request {n}").into_bytes());
    }
}

#[test]
fn with_all_servers_dead_the_emergency_server_serves() {
    let dead = [Refusing::new(), Refusing::new()];
    let emergency = Backend::greeter("E");
    let setup = || dead.iter().map(Refusing::address).fold(Setup::new(), Setup::server);
    let pen = setup().option("-e", emergency.address().to_string()).start();
    assert_eq!(pen.choices([2, 2, 3]), "E E E");
    let pen = setup().start();
    assert_eq!(pen.choices([2, 2, 3]), "EOF EOF EOF");
    pen.becomes_idle();
}

#[test]
fn a_dead_emergency_server_closes_the_client() {
    let dead = [Refusing::new(), Refusing::new()];
    let pen = Setup::new().option("-e", dead[1].address().to_string()).server(dead[0].address()).start();
    assert_eq!(pen.choices([2, 2]), "EOF EOF");
}

#[test]
fn stubborn_does_not_fail_over() {
    let dead = Refusing::new();
    let backends = greeters(1);
    let emergency = Backend::greeter("E");
    let pen = Setup::new()
        .options("-s")
        .option("-e", emergency.address().to_string())
        .servers(&backends)
        .server(dead.address())
        .start();
    // B is dead and blacklisted by the first try; whoever comes next gets A.
    assert_eq!(pen.choices([2, 3, 4]), "EOF A A");
}

#[test]
fn each_server_is_tried_once() {
    let dead: Vec<Refusing> = (0..5).map(|_| Refusing::new()).collect();
    let pen = dead.iter().map(Refusing::address).fold(Setup::new().options("-r"), Setup::server).start();
    assert_eq!(pen.choice(2), "EOF");
    (0..5).for_each(|n| pen.says(&format!("blacklisting server {n} ")));
    assert_eq!(pen.choice(2), "EOF");
    assert_eq!(pen.stderr().matches("blacklisting").count(), 5);
    pen.becomes_idle();
}

#[test]
fn a_server_that_resets_is_passed_on_as_a_reset() {
    // It hears the client first: a reset that is there before pen knows of the connection is a failed connect.
    let resetter = Backend::new(|mut server| {
        server.line();
        server.reset();
    });
    let pen = Setup::new().server(resetter.address()).start();
    let mut client = pen.client();
    client.send("hello\n");
    assert_eq!(client.end(), crate::support::client::End::Reset);
    pen.becomes_idle();
}

#[test]
fn a_connect_to_a_silent_server_holds_up_no_other() {
    let hole = BlackHole::new();
    let backends = greeters(1);
    let pen = Setup::new()
        .options("-r -t 10")
        .command("pending_max 1")
        .servers(&backends)
        .server(hole.address())
        .start();
    let stopwatch = Stopwatch::start();
    let mut clients: Vec<Client> = (0..10).map(|n| pen.client_from(n + 2)).collect();
    let serve = |clients: &mut Vec<Client>| {
        clients.retain_mut(|client| {
            let waits = client.is_silent_for(Duration::from_millis(1));
            assert!(waits || client.line() == "A");
            waits
        });
        clients.len()
    };
    // Workers that choose at the same moment may choose alike.
    wait_until("about every second client to be served", || (4..=6).contains(&serve(&mut clients)));
    stopwatch.is_below(Duration::from_secs(10));
    // One has tried the silent server; those who waited to try it go elsewhere when that is known.
    wait_until("all clients to be served", || serve(&mut clients) == 0);
    stopwatch.is_below(Duration::from_secs(14));
    pen.says("blacklisting");
    assert_eq!(pen.stderr().matches("blacklisting").count(), 1, "{}", pen.stderr());
}

/// How a client that has no server yet breaks off.
fn gives_up(how: &str, mut client: Client) {
    match how {
        "reset" => client.reset(),
        "reset after data" => {
            client.send("hello");
            client.reset();
        }
        "reset after its end" => {
            client.finish();
            client.reset();
        }
        how => panic!("{how}"),
    }
}

#[test]
fn a_client_that_gives_up_frees_its_place_at_once() {
    for portable in ["0", "1", "oneshot"] {
        let hole = BlackHole::new();
        let pen = Setup::new()
            .options("-t 100")
            .command("pending_max 1")
            .environment("PEN_PORTABLE", portable)
            .server(hole.address())
            .start();
        let connections = |count: i64| {
            wait_until("connections to the server", || pen.servers()[0].conn == count);
        };
        for how in ["reset", "reset after data", "reset after its end"] {
            let tries = pen.client();
            connections(1);
            // Another one waits for the one place among the connects.
            let waits = pen.client();
            connections(2);
            gives_up(how, waits);
            connections(1);
            gives_up(how, tries);
            connections(0);
        }
        // Who has ended after a request waits for the answer.
        let mut patient = pen.client();
        patient.send("question");
        patient.finish();
        connections(1);
        gives_up("reset", pen.client());
        connections(1);
        assert!(patient.is_silent_for(Duration::from_millis(20)));
        gives_up("reset", patient);
        connections(0);
    }
}

#[test]
fn a_client_that_ends_without_a_word_gets_the_server_that_works() {
    for portable in ["0", "1", "oneshot"] {
        let (refusing, hole) = (Refusing::new(), BlackHole::new());
        let backends = greeters(1);
        let pen = Setup::new()
            .options("-r -t 1 -b 1000")
            .environment("PEN_PORTABLE", portable)
            .servers(&backends)
            .server(refusing.address())
            .server(hole.address())
            .start();
        let mut client = pen.client();
        client.finish();
        assert_eq!(client.text(), "A\n", "{portable}");
        pen.says("blacklisting server 1");
        pen.says("blacklisting server 2");
    }
}

#[test]
fn a_client_that_ends_without_a_word_does_not_have_every_server_tried() {
    for portable in ["0", "1", "oneshot"] {
        let holes: Vec<BlackHole> = (0..6).map(|_| BlackHole::new()).collect();
        let setup = Setup::new().options("-r -t 1").environment("PEN_PORTABLE", portable);
        let pen = holes.iter().map(BlackHole::address).fold(setup, Setup::server).start();
        drop(pen.client());
        pen.says("blacklisting server 1");
        pen.becomes_idle();
        // It has time for two.
        let tried = pen.stderr().matches("blacklisting").count();
        assert!(tried <= 3, "{}", pen.stderr());
    }
}

#[test]
fn no_server_left_is_said_once_while_it_lasts() {
    let backend = Backend::greeter("A");
    let pen = Setup::new().server(format!("{}:1", backend.address())).start();
    let (held, _) = pen.hold(2);
    assert_eq!(pen.choices([3, 4]), "EOF EOF");
    pen.says("all servers are at their limits of connections");
    drop(held);
    pen.becomes_idle();
    assert_eq!(pen.choice(3), "A");
    pen.says("new clients are served again");
    pen.becomes_idle();
    let address = backend.stop();
    assert_eq!(pen.choices([2, 3, 4]), "EOF EOF EOF");
    let _again = Backend::greeter_on(&address, "again");
    assert_eq!(pen.choice(2), "again");
    wait_until("the end to be told", || pen.stderr().matches("new clients are served again").count() == 2);
    for text in ["no server is left, new clients are closed", "all servers are at their limits"] {
        assert_eq!(pen.stderr().matches(text).count(), 1, "{}", pen.stderr());
    }
    assert!(!pen.stderr().contains("os error"), "{}", pen.stderr());
}

/// What one client after the other notices: how many of `count` were not served.
fn unserved(pen: &Pen, count: usize) -> usize {
    let served = |_: &usize| {
        let mut client = pen.client_from(2);
        client.finish();
        let mut name = Vec::new();
        // A reset is an answer too, and not the wanted one.
        std::io::Read::read_to_end(&mut client.0, &mut name).is_ok() && !name.is_empty()
    };
    (0..count).filter(|n| !served(n)).count()
}

#[test]
fn clients_notice_little_of_a_server_that_fails() {
    type Fault = fn(&socket2::SockAddr) -> Box<dyn std::any::Any>;
    let faults: [(&str, usize, Fault); 3] = [
        ("refusing", 0, |_| Box::new(())),
        ("black-holed", 0, |address| Box::new(BlackHole::on(address.as_socket().unwrap()))),
        // A reset after the connect is the answer of a server; one before it is a failure to connect.
        ("resetting", 30, |address| Box::new(Backend::on(address, Client::reset))),
    ];
    for (name, most, fault) in faults {
        let mut backends = greeters(2);
        let pen = Setup::new().options("-r -t 1 -b 1").servers(&backends).start();
        assert_eq!(unserved(&pen, 10), 0, "{name}: before");
        let address = backends.remove(1).stop();
        let failing = fault(&address);
        let failed = unserved(&pen, 60);
        assert!(failed <= most, "{name}: {failed} of 60");
        drop(failing);
        let _again = Backend::greeter_on(&address, "again");
        wait_until("the server to be back in use", || pen.choice(3) == "again");
        assert_eq!(unserved(&pen, 10), 0, "{name}: after");
    }
}

#[test]
fn with_both_servers_away_clients_wait_no_longer_than_the_servers() {
    let mut backends = greeters(2);
    let pen = Setup::new().options("-r").servers(&backends).start();
    assert_eq!(unserved(&pen, 4), 0);
    let addresses = [backends.remove(1).stop(), backends.remove(0).stop()];
    assert_eq!(unserved(&pen, 4), 4);
    let _again = addresses.each_ref().map(|address| Backend::greeter_on(address, "again"));
    assert_eq!(unserved(&pen, 20), 0);
}
