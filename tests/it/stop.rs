//! How connections end that pen ends by itself, and how pen does.

use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::backend::greeters;
use crate::support::client::End;
use crate::support::pen::free_port;
use crate::support::tls::{Pair, TlsClient, TlsEnd};
use crate::support::udp::{Asker, Server};
use crate::support::{Backend, Client, Pen, Setup, Stopwatch, skipped, wait_until};

/// Sends without an end, whatever the client does.
fn endless() -> Backend {
    Backend::new(|client| {
        let chunk = vec![b'x'; 10_000];
        while std::io::Write::write_all(&mut &client.0, &chunk).is_ok() {}
    })
}

/// Takes a question, which ends with the client's end, and never answers.
fn silent() -> Backend {
    Backend::new(|mut client| {
        client.end();
        loop {
            std::thread::park();
        }
    })
}

/// The ways to have a pen end its connection 0.
const WAYS: [&str; 4] = ["close 0", "idle_timeout 1", "exit", "TERM"];

fn end_connection(pen: &mut Pen, way: &str) {
    match way {
        "TERM" => pen.signal(Signal::SIGTERM),
        "exit" => _ = pen.try_control("exit"),
        command => _ = pen.control(command),
    }
    if ["TERM", "exit"].contains(&way) {
        assert_eq!(pen.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn a_connection_at_rest_ends_cleanly() {
    for way in WAYS {
        let backends = greeters(1);
        let mut pen = Setup::new().options("-X").servers(&backends).start();
        let (mut held, _) = pen.hold(2);
        end_connection(&mut pen, way);
        assert_eq!(held.end(), End::Clean, "{way}");
    }
}

#[test]
fn an_answer_that_is_cut_off_does_not_look_complete() {
    for way in WAYS {
        let endless = endless();
        let mut pen = Setup::new().options("-X").server(endless.address()).start();
        let mut client = pen.client();
        client.bytes(100_000);
        // While the bytes move it is not idle; a client that reads no more makes it so.
        if way == "idle_timeout 1" {
            pen.control(way);
            pen.becomes_idle();
            assert_eq!(client.end(), End::Reset, "{way}");
        } else {
            let reader = std::thread::spawn({
                let mut client = client.twin();
                move || client.end()
            });
            end_connection(&mut pen, way);
            assert_eq!(reader.join().unwrap(), End::Reset, "{way}");
        }
    }
}

#[test]
fn an_answer_that_is_awaited_is_not_taken_for_an_empty_one() {
    for way in WAYS {
        let silent = silent();
        let mut pen = Setup::new().options("-X").server(silent.address()).start();
        let mut client = pen.client();
        client.send("question");
        client.finish();
        wait_until("the question to be passed on", || pen.servers()[0].sx == 8);
        end_connection(&mut pen, way);
        assert_eq!(client.end(), End::Reset, "{way}");
    }
}

#[test]
fn over_tls_a_clean_end_is_one_with_close_notify() {
    let (authority, greeter, silent) = (Pair::root("authority"), Backend::greeter("A"), silent());
    for way in WAYS {
        for (server, end) in [(&greeter, TlsEnd::Clean), (&silent, TlsEnd::Cut)] {
            let setup = Setup::new();
            authority.issue("localhost").write(setup.path(), "pen");
            let options = format!("-X -E {} -K {}", setup.file("pen.crt"), setup.file("pen.key"));
            let mut pen = setup.options(options).server(server.address()).start();
            let mut client = TlsClient::new(&authority).connect(pen.address);
            if end == TlsEnd::Clean {
                assert_eq!(client.line(), "A");
            } else {
                client.send("question");
                client.finish();
                wait_until("the question to be passed on", || pen.servers()[0].sx == 8);
            }
            end_connection(&mut pen, way);
            assert_eq!(client.rest().1, end, "{way}");
        }
    }
}

fn refuses(pen: &Pen) -> bool {
    TcpStream::connect(pen.address).is_err()
}

#[test]
fn pen_goes_on_without_new_clients_until_the_last_one_has_ended() {
    for workers in [1, 3] {
        for by_command in [true, false] {
            let echo = Backend::echo();
            let setup = Setup::new().options("-X").command(format!("workers {workers}"));
            let mut pen = setup.command("stop_timeout 100").server(echo.address()).start();
            let mut client = pen.client();
            client.send("one");
            assert_eq!(client.bytes(3), b"one");
            if by_command {
                assert_eq!(pen.control("exit"), "");
            } else {
                pen.signal(Signal::SIGTERM);
            }
            pen.says("stopping: no new clients, 1 connection may continue for 100 seconds");
            wait_until("new clients to be refused", || refuses(&pen));
            client.send("two");
            assert_eq!(client.bytes(3), b"two");
            // The control socket answers, but pen does not begin to listen elsewhere.
            assert!(pen.control("listen 127.0.0.1:0").starts_with("error: listen"));
            client.finish();
            assert_eq!(client.rest(), b"");
            assert_eq!(pen.wait().unwrap().code(), Some(0));
            assert!(pen.stderr().contains("no connections are left"), "{}", pen.stderr());
        }
    }
}

#[test]
fn when_the_time_is_over_connections_end() {
    let backends = greeters(1);
    let mut pen = Setup::new().command("stop_timeout 0.5").servers(&backends).start();
    assert_eq!(pen.control("stop_timeout"), "0.5\n");
    let (mut held, _) = pen.hold(2);
    let begin = Instant::now();
    pen.signal(Signal::SIGTERM);
    assert_eq!(held.end(), End::Clean);
    assert!(begin.elapsed() >= Duration::from_millis(500), "{:?}", begin.elapsed());
    assert_eq!(pen.wait().unwrap().code(), Some(0));
    assert!(pen.stderr().contains("the time of stop_timeout is over"), "{}", pen.stderr());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let backends = greeters(1);
    let mut pen = Setup::new().command("stop_timeout 1000").servers(&backends).start();
    let (mut held, _) = pen.hold(2);
    pen.signal(Signal::SIGTERM);
    pen.says("stopping: no new clients");
    pen.signal(Signal::SIGTERM);
    assert_eq!(held.end(), End::Clean);
    assert_eq!(pen.wait().unwrap().code(), Some(0));
    assert!(pen.stderr().contains("stopping at once"), "{}", pen.stderr());
}

#[test]
fn nobody_who_had_connected_before_is_turned_away() {
    let echo = Backend::echo();
    let mut pen = Setup::new().command("stop_timeout 100").server(echo.address()).start();
    let _other = pen.client();
    wait_until("the first connection", || pen.servers()[0].conn == 1);
    // Connected, as far as the system is concerned, while pen cannot look.
    pen.signal(Signal::SIGSTOP);
    let mut clients: Vec<Client> = (0..20).map(|_| pen.client()).collect();
    pen.signal(Signal::SIGTERM);
    pen.signal(Signal::SIGCONT);
    for client in &mut clients {
        client.send("hello");
        assert_eq!(client.bytes(5), b"hello");
    }
    pen.signal(Signal::SIGTERM);
    pen.wait();
}

#[test]
fn flows_of_udp_go_on_too() {
    let server = Server::named("A");
    let mut pen = Setup::new().options("-U").command("stop_timeout 100").server(server.address).start();
    let known = Asker::new(2, pen.address);
    assert_eq!(known.name(), "A");
    pen.signal(Signal::SIGTERM);
    pen.says("stopping: no new clients, 1 connection may continue");
    // The thread that serves flows hears of it a little later. A stranger who comes before that is served.
    let mut strangers = 0;
    wait_until("strangers to be left out", || {
        strangers += 1;
        let stranger = Asker::new(3, pen.address);
        stranger.send(b"hello");
        assert_eq!(known.name(), "A");
        stranger.has_nothing()
    });
    for flow in (0..=strangers).rev() {
        pen.control(&format!("close {flow}"));
    }
    assert_eq!(pen.wait().unwrap().code(), Some(0));
}

/// Clients are refused until pen is started again, so logs that cannot be written do not delay its end.
#[test]
fn logs_that_have_failed_delay_no_stop() {
    if !Path::new("/dev/full").exists() {
        return skipped("full disk", "no /dev/full");
    }
    for log in ["/dev/full".to_owned(), format!("syslog+tcp://127.0.0.1:{}", free_port())] {
        let backends = greeters(1);
        let setup = Setup::new().options("-X").servers(&backends);
        let setup = setup.option("-l", "/dev/full").command(format!("connection_log {log}"));
        let mut pen = setup.start();
        assert_eq!(pen.choice(2), "A");
        pen.says("connection_log: cannot ");
        let stopwatch = Stopwatch::start();
        assert_eq!(pen.terminate().unwrap().code(), Some(0));
        assert!(stopwatch.elapsed() < Duration::from_secs(4), "{log}: {:?}", stopwatch.elapsed());
        let said = pen.stderr();
        assert!(said.contains("connection_log: log: 1 line lost: cannot "), "{said}");
    }
}
