//! The data path: every byte arrives once and in order, whichever way a connection goes and ends.
//!
//! What moves data is tested in each way: as the system does it best, with `PEN_PORTABLE=1` as on a system that has only
//! POSIX, and with `PEN_PORTABLE=oneshot` as on one whose event ports report an event once.

use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::backend::{Backend, greeters};
use crate::support::client::End;
use crate::support::process;
use crate::support::{Client, Pen, Setup, skipped, wait_until};

/// Runs a test with each way to move data.
fn each_way(test: impl Fn(Setup)) {
    test(Setup::new());
    test(Setup::new().environment("PEN_PORTABLE", "1"));
    test(Setup::new().environment("PEN_PORTABLE", "oneshot"));
}

/// A stream of bytes without a short period, checked block by block.
struct Pattern {
    block: Vec<u8>,
    at: usize,
}

impl Pattern {
    fn new(seed: u64) -> Pattern {
        let mut x = seed.wrapping_mul(2).wrapping_add(1);
        // A prime length, so that no buffer size hides a shift.
        let block = (0..262_139).map(|_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            (x >> 32) as u8
        });
        Pattern { block: block.collect(), at: 0 }
    }

    /// The next bytes, at most `most`.
    fn next(&mut self, most: usize) -> &[u8] {
        let begin = self.at;
        let end = (begin + most).min(self.block.len());
        self.at = if end == self.block.len() { 0 } else { end };
        &self.block[begin..end]
    }

    fn check(&mut self, mut bytes: &[u8], from: u64) {
        while !bytes.is_empty() {
            let expected = self.next(bytes.len());
            let (now, later) = bytes.split_at(expected.len());
            assert!(now == expected, "wrong bytes after {from} and more");
            bytes = later;
        }
    }
}

/// Sends so many bytes of a pattern, then ends.
fn send_pattern(client: &mut Client, seed: u64, count: u64) {
    let mut pattern = Pattern::new(seed);
    let mut left = count;
    while left > 0 {
        let bytes = pattern.next(usize::try_from(left).unwrap_or(usize::MAX));
        client.0.write_all(bytes).expect("send the pattern");
        left -= bytes.len() as u64;
    }
    client.finish();
}

/// Receives to the clean end and checks every byte; how many there were.
fn receive_pattern(client: &mut Client, seed: u64) -> u64 {
    let mut pattern = Pattern::new(seed);
    let mut buffer = vec![0; 65536];
    let mut count = 0;
    loop {
        match client.0.read(&mut buffer).expect("receive the pattern") {
            0 => return count,
            n => {
                pattern.check(&buffer[..n], count);
                count += n as u64;
            }
        }
    }
}

/// A server that receives one pattern while it sends another.
fn exchanger(count: u64) -> (Backend, Arc<AtomicU64>) {
    let received = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&received);
    let backend = Backend::new(move |mut client| {
        let mut twin = client.twin();
        let sender = thread::spawn(move || send_pattern(&mut twin, 1, count));
        counter.fetch_add(receive_pattern(&mut client, 2), SeqCst);
        sender.join().unwrap();
    });
    (backend, received)
}

#[test]
fn a_hundred_megabytes_each_way_at_once_arrive_whole() {
    const COUNT: u64 = 100 << 20;
    each_way(|setup| {
        let (backend, received) = exchanger(COUNT);
        let pen = setup.server(backend.address()).start();
        let mut client = pen.client();
        let mut twin = client.twin();
        let sender = thread::spawn(move || send_pattern(&mut twin, 2, COUNT));
        assert_eq!(receive_pattern(&mut client, 1), COUNT);
        sender.join().unwrap();
        pen.becomes_idle();
        wait_until("the server to have it all", || received.load(SeqCst) == COUNT);
        let server = &pen.servers()[0];
        assert_eq!((server.sx, server.rx), (COUNT, COUNT));
    });
}

#[test]
fn many_connections_never_mix() {
    each_way(|setup| {
        let echo = Backend::echo();
        let pen = setup.server(echo.address()).start();
        let threads: Vec<_> = (0..40)
            .map(|seed| {
                let address = pen.address;
                thread::spawn(move || {
                    let mut client = Client::to(address);
                    let mut twin = client.twin();
                    let count = 20_000 * seed + 1;
                    let sender = thread::spawn(move || send_pattern(&mut twin, seed, count));
                    assert_eq!(receive_pattern(&mut client, seed), count);
                    sender.join().unwrap();
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        pen.becomes_idle();
    });
}

#[test]
fn a_conversation_of_odd_sizes_stays_in_step() {
    each_way(|setup| {
        let echo = Backend::echo();
        let pen = setup.server(echo.address()).start();
        let mut client = pen.client();
        let mut pattern = Pattern::new(7);
        for round in 0_usize..400 {
            let size = (round * 7919) % 70_001 + 1;
            let bytes = pattern.next(size).to_vec();
            client.send(&bytes);
            assert!(client.bytes(bytes.len()) == bytes, "round {round}");
        }
    });
}

#[test]
fn a_client_that_ends_first_gets_the_whole_reply() {
    each_way(|setup| {
        let recorder = Backend::recorder("the whole reply");
        let pen = setup.server(recorder.address()).start();
        let mut client = pen.client();
        client.send("request");
        client.finish();
        // C pen, on epoll, lost the reply.
        assert_eq!(client.text(), "the whole reply");
        assert_eq!(recorder.received_by(0), b"request");
        pen.becomes_idle();
    });
}

/// Ends first, after a greeting; keeps what still comes.
fn early_leaver() -> (Backend, Arc<Mutex<Vec<u8>>>) {
    let kept = Arc::<Mutex<Vec<u8>>>::default();
    let of_backend = Arc::clone(&kept);
    let backend = Backend::new(move |mut client| {
        client.send("goodbye");
        client.finish();
        let rest = client.rest();
        *of_backend.lock().unwrap() = rest;
    });
    (backend, kept)
}

#[test]
fn a_server_that_ends_first_still_gets_what_the_client_sends() {
    each_way(|setup| {
        let (backend, kept) = early_leaver();
        let pen = setup.server(backend.address()).start();
        let mut client = pen.client();
        assert_eq!(client.text(), "goodbye");
        for piece in ["and ", "then ", "some"] {
            client.send(piece);
        }
        client.finish();
        // C pen lost what came together with the end.
        wait_until("what was sent to arrive", || *kept.lock().unwrap() == b"and then some");
        pen.becomes_idle();
    });
}

#[test]
fn a_half_close_comes_after_megabytes_that_nobody_reads_yet() {
    const COUNT: u64 = 8 << 20;
    each_way(|setup| {
        let backend = Backend::new(|mut client| send_pattern(&mut client, 3, COUNT));
        let pen = setup.server(backend.address()).start();
        let mut client = pen.client();
        client.finish();
        wait_until("pen to be full", || {
            let before = pen.servers()[0].rx;
            client.is_silent_for(Duration::from_millis(1));
            before > 0 && pen.servers()[0].rx == before
        });
        assert_eq!(receive_pattern(&mut client, 3), COUNT);
    });
}

#[test]
fn slow_readers_cost_bounded_memory_and_lose_nothing() {
    const COUNT: u64 = 24 << 20;
    const CLIENTS: usize = 20;
    each_way(|setup| {
        let sent = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sent);
        let backend = Backend::new(move |client| {
            let mut pattern = Pattern::new(4);
            let mut left = COUNT;
            while left > 0 {
                let bytes = pattern.next(usize::try_from(left).unwrap());
                if (&client.0).write_all(bytes).is_err() {
                    return;
                }
                left -= bytes.len() as u64;
                counter.fetch_add(bytes.len() as u64, SeqCst);
            }
        });
        let pen = setup.server(backend.address()).start();
        drop(pen.client());
        pen.becomes_idle();
        let before = process::resident(pen.pid());
        let mut clients: Vec<Client> = (0..CLIENTS).map(|_| pen.client()).collect();
        wait_until("the servers to be stopped by those who do not read", || {
            let now = sent.load(SeqCst);
            clients[0].is_silent_for(Duration::from_millis(1));
            thread::yield_now();
            now > (CLIENTS as u64) << 18 && pen.servers()[0].conn == CLIENTS as i64 && {
                let reached = pen.servers()[0].rx;
                pen.control("status");
                reached > 0 && pen.servers()[0].rx == reached && sent.load(SeqCst) == now
            }
        });
        let grown = process::resident(pen.pid()).saturating_sub(before);
        assert!(grown < 12 * 1024, "{CLIENTS} slow readers cost {grown} KiB");
        for client in &mut clients {
            assert_eq!(receive_pattern(client, 4), COUNT);
        }
    });
}

#[test]
fn a_slow_server_stops_its_client_in_bounded_memory() {
    each_way(|setup| {
        let (hold, held) = mpsc::channel::<()>();
        let held = Mutex::new(held);
        let done = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&done);
        let backend = Backend::new(move |mut client| {
            // Reads nothing until told to.
            _ = held.lock().unwrap().recv();
            counter.fetch_add(receive_pattern(&mut client, 5), SeqCst);
        });
        let pen = setup.server(backend.address()).start();
        let before = process::resident(pen.pid());
        let mut client = pen.client();
        let sender = thread::spawn(move || send_pattern(&mut client, 5, 64 << 20));
        wait_until("the server to be full", || {
            let reached = pen.servers()[0].sx;
            pen.control("status");
            reached > 0 && pen.servers()[0].sx == reached
        });
        let grown = process::resident(pen.pid()).saturating_sub(before);
        assert!(grown < 8 * 1024, "grown by {grown} KiB");
        hold.send(()).unwrap();
        sender.join().unwrap();
        wait_until("all to arrive", || done.load(SeqCst) == 64 << 20);
    });
}

#[test]
fn a_reset_by_the_client_reaches_the_server() {
    each_way(|setup| {
        let ended = Arc::new(Mutex::new(None));
        let end = Arc::clone(&ended);
        let backend = Backend::new(move |mut client| {
            client.send("hello\n");
            let how = client.end();
            *end.lock().unwrap() = Some(how);
        });
        let pen = setup.server(backend.address()).start();
        let mut client = pen.client();
        assert_eq!(client.line(), "hello");
        client.reset();
        wait_until("the server to hear of it", || ended.lock().unwrap().is_some());
        // A clean end would make what is broken off look complete.
        assert_eq!(*ended.lock().unwrap(), Some(End::Reset));
        pen.becomes_idle();
    });
}

#[test]
fn what_a_server_sent_before_its_reset_is_delivered_first() {
    each_way(|setup| {
        let backend = Backend::new(|mut client| {
            client.send("half a reply");
            // Pen has read it when it has asked for more, which its answer to the next byte shows.
            assert_eq!(client.bytes(4), b"more");
            client.reset();
        });
        let pen = setup.server(backend.address()).start();
        let mut client = pen.client();
        assert_eq!(client.bytes(12), b"half a reply");
        client.send("more");
        assert_eq!(client.end(), End::Reset);
        pen.becomes_idle();
    });
}

#[test]
fn a_server_that_answers_and_leaves_in_the_middle_of_a_request_is_heard() {
    each_way(|setup| {
        let backend = Backend::new(|mut client| {
            client.bytes(1000);
            client.send("413 too large\n");
            client.finish();
            // Lets the rest come and go, as a web server's lingering close does.
            client.end();
        });
        let pen = setup.server(backend.address()).start();
        let mut client = pen.client();
        let mut twin = client.twin();
        let sender = thread::spawn(move || _ = twin.0.write_all(&vec![b'x'; 4 << 20]));
        assert_eq!(client.line(), "413 too large");
        sender.join().unwrap();
    });
}

#[test]
fn one_end_of_data_is_enough_with_tcp_fastclose() {
    // (setting, whether a client's end closes, whether a server's does)
    for (how, down, up) in
        [("off", false, false), ("up", false, true), ("down", true, false), ("both", true, true)]
    {
        let (end, ends) = mpsc::channel::<()>();
        let ends = Mutex::new(ends);
        let patient = Backend::new(move |mut client| {
            client.send("P\n");
            _ = ends.lock().unwrap().recv();
        });
        let pen = Setup::new().command(format!("tcp_fastclose {how}")).server(patient.address()).start();
        let mut client = pen.client();
        assert_eq!(client.line(), "P");
        client.finish();
        if down {
            // Pen closes though the server never does.
            client.end();
        } else {
            assert!(client.is_silent_for(Duration::from_millis(50)), "{how}");
        }
        drop(end);
        client.end();
        pen.becomes_idle();
        let (leaver, kept) = early_leaver();
        pen.control(&format!("server 0 port {}", leaver.port()));
        let mut client = pen.client();
        assert_eq!(client.text(), "goodbye");
        if up {
            // Pen closes though the client never does.
            wait_until("the connection to be closed", || pen.servers()[0].conn == 0);
        } else {
            client.send("still here");
            client.finish();
            wait_until("it to arrive", || *kept.lock().unwrap() == b"still here");
        }
    }
}

#[test]
fn idle_connections_are_closed_and_busy_ones_are_not() {
    let echo = Backend::echo();
    let pen = Setup::new().command("idle_timeout 1").server(echo.address()).start();
    let mut idle = pen.client();
    idle.send("x");
    assert_eq!(idle.bytes(1), b"x");
    let mut busy = pen.client();
    let begin = Instant::now();
    let watcher = thread::spawn(move || {
        idle.end();
        begin.elapsed()
    });
    while !watcher.is_finished() {
        busy.send("y");
        assert_eq!(busy.bytes(1), b"y");
    }
    let closed = watcher.join().unwrap();
    assert!(closed >= Duration::from_millis(900) && closed < Duration::from_secs(4), "{closed:?}");
    busy.send("z");
    assert_eq!(busy.bytes(1), b"z");
    wait_until("the idle one to be counted out", || pen.servers()[0].conn == 1);
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

#[test]
fn an_idle_pen_uses_no_processor() {
    let backends = greeters(2);
    let pen = Setup::new().servers(&backends).start();
    let _held: Vec<_> = (2..30).map(|n| pen.hold(n)).collect();
    let before = process::cpu_time(pen.pid());
    idle_for(&pen, Duration::from_millis(700));
    let used = process::cpu_time(pen.pid()) - before;
    assert!(used <= Duration::from_millis(30), "{used:?}");
}

/// Lets time pass with pen left alone: a client that waits for what does not come.
fn idle_for(pen: &Pen, time: Duration) {
    let client = Client::to_path(&pen.control_path());
    assert!(client.is_silent_for(time));
}
