//! Settings of connections: idle_timeout, source, keepalive, debug, dummy.

use std::io::{Read as _, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::backend::{Backend, greeters};
use crate::support::{Setup, Stopwatch, skipped, wait_until};

#[test]
fn idle_connections_are_closed_and_busy_ones_are_not() {
    const IDLE: Duration = Duration::from_secs(1);
    let echo = Backend::echo();
    let pen = Setup::new().command("idle_timeout 1").server(echo.address()).start();
    wait_until("a busy connection to outlive an idle one", || {
        let (begin, stopwatch) = (Instant::now(), Stopwatch::start());
        let mut idle = pen.client();
        let (mut busy, mut last, mut longest) = (pen.client(), begin, Duration::ZERO);
        let mut exchange = || {
            let now = Instant::now();
            let done = busy.0.write_all(b"y").and_then(|()| busy.0.read_exact(&mut [0]));
            longest = longest.max(last.elapsed());
            last = now;
            done.is_ok()
        };
        let watcher = thread::spawn(move || {
            idle.send("x");
            assert_eq!(idle.bytes(1), b"x");
            idle.end();
            begin.elapsed()
        });
        let mut is_open = true;
        while is_open && !watcher.is_finished() {
            is_open = exchange();
        }
        let closed = watcher.join().unwrap();
        assert!(closed >= IDLE, "{closed:?}");
        stopwatch.is_below(Duration::from_secs(4));
        is_open = is_open && exchange();
        if is_open {
            wait_until("the idle one to be counted out", || pen.servers()[0].conn == 1);
        }
        // A machine that halts makes the busy one idle too.
        assert!(is_open || longest >= IDLE, "it was idle for {longest:?} only");
        is_open
    });
}

#[test]
fn connections_to_servers_leave_from_the_source_address() {
    let backend = Backend::new(|mut client| {
        let peer = client.peer();
        client.send(format!("{}\n", peer.ip()));
        client.end();
    });
    let pen = Setup::new().command("source 127.0.0.77").server(backend.address()).start();
    // C pen bound all of them to one port: the second left from another address.
    let held: Vec<_> = (2..7).map(|n| pen.hold(n)).collect();
    assert!(held.iter().all(|(_, source)| source == "127.0.0.77"), "{held:?}");
    pen.control("no source");
    assert_eq!(pen.choice(2), "127.0.0.1");
}

#[test]
fn keepalive_is_set_on_both_sides() {
    let backends = greeters(1);
    let pen = Setup::new().command("keepalive").servers(&backends).start();
    let _held = pen.hold(2);
    let listing = |filter: String| {
        let output = std::process::Command::new("ss").args(["-tnoH", &filter]).output().ok()?;
        Some(String::from_utf8(output.stdout).unwrap())
    };
    let Some(clients) = listing(format!("sport = :{}", pen.address.port())) else {
        return skipped("keepalive", "no ss");
    };
    let servers = listing(format!("dport = :{}", backends[0].port())).unwrap();
    for listing in [clients, servers] {
        let established = listing.lines().find(|l| l.starts_with("ESTAB")).unwrap();
        assert!(established.contains("timer:(keepalive"), "{listing}");
    }
}

#[test]
fn debug_twice_dumps_what_passes_in_hexadecimal_or_ascii() {
    let server = Backend::new(|mut client| {
        let said = client.rest();
        client.send(b"answer\x00\n");
        client.send(said);
        client.end();
    });
    // The answer comes after the client's end, and with -H somebody else looks at the bytes too.
    for (options, dumped) in [
        ("-dd", [" 68 69 ff 0a", " 61 6e 73 77 65 72 00 0a"]),
        ("-dda", [" hi..", " answer.."]),
        ("-ddaH", [" hi..", " answer.."]),
    ] {
        let pen = Setup::new().options(options).server(server.address()).start();
        let mut client = pen.client();
        client.send(b"hi\xff\n");
        client.finish();
        assert_eq!(client.rest(), b"answer\x00\nhi\xff\n");
        dumped.iter().for_each(|line| pen.says(line));
        // Each is a line of its own.
        let said = pen.stderr();
        assert!(
            dumped.iter().all(|dump| said.lines().any(|line| line.contains(&format!(": {dump}")))),
            "{said}"
        );
    }
    let pen = Setup::new().options("-da").server(server.address()).start();
    let mut client = pen.client();
    client.send("secret");
    client.finish();
    client.rest();
    pen.control("debug 2");
    assert!(!pen.stderr().contains("secret"), "{}", pen.stderr());
    let mut client = pen.client();
    client.send("known");
    client.finish();
    client.rest();
    pen.says(" known");
}

#[test]
fn dummy_answers_as_a_tiny_web_server() {
    let pen = Setup::new().command("dummy").start();
    let mut client = pen.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(
        client.text(),
        "HTTP/1.1 200 OK\r\nContent-Length: 15\r\nContent-Type: text/html\r\n\r\nPen is serving."
    );
    // However much more there is of the request.
    for _ in 0..20 {
        let mut client = pen.client();
        client.send(vec![b'x'; 200_000]);
        assert!(client.text().ends_with("Pen is serving."));
    }
}
