//! The data path: every byte arrives once and in order, whichever way a connection goes and ends.
//!
//! What moves data is tested in each way: as the system does it best, with `PEN_PORTABLE=1` as on a system that has only
//! POSIX, and with `PEN_PORTABLE=oneshot` as on one whose event ports report an event once.

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use crate::support::backend::{Backend, greeters};
use crate::support::pattern::{Pattern, each_way, receive_pattern, send_pattern};
use crate::support::process;
use crate::support::{Client, Pen, Setup, wait_until};

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
fn an_idle_pen_uses_no_processor() {
    let backends = greeters(2);
    let pen = Setup::new().servers(&backends).start();
    let _held: Vec<_> = (2..30).map(|n| pen.hold(n)).collect();
    process::uses_at_most(pen.pid(), Duration::from_millis(30), || {
        idle_for(&pen, Duration::from_millis(700))
    });
}

/// Lets time pass with pen left alone: a client that waits for what does not come.
fn idle_for(pen: &Pen, time: Duration) {
    let client = Client::to_path(&pen.control_path());
    assert!(client.is_silent_for(time));
}
