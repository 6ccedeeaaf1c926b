//! As `chaos`, for datagrams: each may be lost, but none may arrive twice, changed, or at another client, whatever commands,
//! HUPs and moves of the listener come in between. The same environment variables hold.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};
use std::{process, thread};

use crate::support::chaos::{Random, commands, variable};
use crate::support::port::reserve_datagrams;
use crate::support::udp::Server;
use crate::support::wait::DEADLINE;
use crate::support::{Pen, Setup};

/// Clients at once.
const CLIENTS: u64 = 8;
/// How many questions of a client wait for answers: all of them fit into the sockets' buffers.
const WINDOW: usize = 4;
/// After so long without an answer a client gives up what it waits for.
const PATIENCE: Duration = Duration::from_millis(100);

/// A question: its number and whose it is, then bytes that follow from both.
fn question(client: u64, number: u64, size: u64) -> Vec<u8> {
    let mut random = Random::new(client << 32 | number);
    let bytes = std::iter::repeat_with(|| random.next().to_le_bytes()).flatten();
    let head = [client.to_le_bytes(), number.to_le_bytes()].concat();
    head.into_iter().chain(bytes.take(size as usize)).collect()
}

/// Client and number of a datagram; `None` if it is not exactly one of the questions.
fn read(datagram: &[u8]) -> Option<(u64, u64)> {
    let (head, rest) = datagram.split_at_checked(16)?;
    let number = |part: &[u8]| Some(u64::from_le_bytes(part.try_into().ok()?));
    let (client, number) = (number(&head[..8])?, number(&head[8..])?);
    (question(client, number, rest.len() as u64) == datagram).then_some((client, number))
}

/// How many questions are answered at least.
const ENOUGH: u64 = 100 * CLIENTS;

/// What all clients have sent, and how many answers they have.
#[derive(Default)]
struct Counts {
    sent: AtomicU64,
    answered: AtomicU64,
}

/// One question after the other, to both addresses in turn, until the time is over and enough are answered.
fn ask(client: u64, addresses: [SocketAddr; 2], seed: u64, until: Instant, counts: &Counts) {
    let mut random = Random::new(seed.wrapping_mul(1000) + client);
    let source = Ipv4Addr::new(127, 0, 1, u8::try_from(client).unwrap() + 1);
    let mut socket = UdpSocket::bind((source, 0)).unwrap();
    let (mut number, mut buffer) = (0, vec![0; 65_536]);
    let mut waiting = HashSet::new();
    // The machine may halt for as long as the test is to take.
    let goes_on = |now| now < until || now < until + DEADLINE && counts.answered.load(SeqCst) <= ENOUGH;
    while goes_on(Instant::now()) {
        if random.one_in(200) {
            // Another port is another client to pen; answers that are still on their way go nowhere.
            socket = UdpSocket::bind((source, 0)).unwrap();
            waiting.clear();
        }
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        while waiting.len() < WINDOW {
            number += 1;
            let question = question(client, number, random.size(13));
            // Where nobody listens at the moment, an earlier one may have been refused.
            if socket.send_to(&question, addresses[usize::from(random.one_in(2))]).is_ok() {
                counts.sent.fetch_add(1, SeqCst);
                waiting.insert(number);
            }
        }
        match socket.recv_from(&mut buffer) {
            Ok((count, _)) => {
                let (asker, number) = read(&buffer[..count]).expect("a changed answer");
                assert_eq!(asker, client, "the answer to another client");
                assert!(waiting.remove(&number), "a second answer, or one to another port: {number}");
                counts.answered.fetch_add(1, SeqCst);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                // What comes later than that is no second answer.
                socket = UdpSocket::bind((source, 0)).unwrap();
                waiting.clear();
            }
            Err(_) => {}
        }
    }
}

/// Commands that cost datagrams at most.
fn disturb(pen: &Pen, addresses: [SocketAddr; 2], seed: u64, over: &AtomicBool) {
    let mut random = Random::new(seed);
    let questions =
        ["recent", "status", "servers", "json clients", "json connections", "connection 3", "write"];
    let modes = ["roundrobin", "hash", "weight", "prio", "stubborn"];
    while !over.load(SeqCst) {
        let command = match random.below(8) {
            0..=2 => commands::selection(&mut random, &modes),
            3 => format!("listen {}", addresses[random.below(2) as usize]),
            4 => format!("close {}", random.below(CLIENTS)),
            5 | 6 => {
                commands::reload(pen, &mut random);
                continue;
            }
            _ => random.one_of(&questions).into(),
        };
        commands::carry_out(pen, &command);
    }
}

fn chaos(setup: Setup) {
    let seconds = variable("PEN_CHAOS_SECONDS").unwrap_or(4);
    let seed = variable("PEN_CHAOS_SEED").unwrap_or_else(|| u64::from(process::id()));
    // Shown when the test fails.
    eprintln!("PEN_CHAOS_SEED={seed}");
    let servers = [(); 3].map(|()| Server::echo());
    let conf = setup.write("conf", "");
    let setup = setup.options("-U").option("-F", &conf);
    let pen = servers.iter().map(|server| server.address).fold(setup, Setup::server).start();
    for n in 0..3 {
        assert_eq!(pen.control(&format!("server {n} weight 1")), "");
    }
    let addresses = [pen.address, SocketAddr::new(pen.address.ip(), reserve_datagrams(pen.address.ip()))];
    let until = Instant::now() + Duration::from_secs(seconds);
    let (counts, over) = (Counts::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                scope.spawn({
                    let counts = &counts;
                    move || ask(client, addresses, seed, until, counts)
                })
            })
            .collect();
        scope.spawn(|| disturb(&pen, addresses, seed, &over));
        // The commands end with the clients, one that fails too.
        let ended: Vec<_> = clients.into_iter().map(thread::ScopedJoinHandle::join).collect();
        over.store(true, SeqCst);
        ended.into_iter().for_each(|client| client.expect("a client"));
    });
    let [sent, answered] = [&counts.sent, &counts.answered].map(|count| count.load(SeqCst));
    let mut seen = HashSet::new();
    for server in &servers {
        for (_, datagram) in server.received() {
            let id = read(&datagram).expect("a changed question");
            assert!(seen.insert(id), "{id:?} arrived twice");
        }
    }
    eprintln!("{sent} questions, {} arrived, {answered} answered", seen.len());
    assert!(answered > ENOUGH, "only {answered} of {sent} were answered");
}

#[test]
fn those_that_are_read_and_sent_together_survive_it() {
    chaos(Setup::new());
}

#[test]
fn those_that_are_read_and_sent_as_elsewhere_survive_it() {
    chaos(Setup::new().environment("PEN_PORTABLE", "1"));
}
