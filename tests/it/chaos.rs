//! Everything at once: conversations whose every byte is checked, half-closes, resets, stalls and urgent data, while commands,
//! HUPs and moves of the listener come as fast as pen answers them. A few seconds a data path; `make soak` runs it for an hour.
//!
//! `PEN_CHAOS_SECONDS` is how long each test lasts, `PEN_CHAOS_SEED` repeats the decisions of a run that failed, though not
//! the machine's.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{panic, process, thread};

use openssl::ssl::{Ssl, SslContext, SslMethod};

use crate::support::chaos::{Ending, Plain, Plan, Random, Transport, commands, converse, variable};
use crate::support::client::Client;
use crate::support::pen::free_port;
use crate::support::tls::{Pair, TlsClient};
use crate::support::wait::DEADLINE;
use crate::support::{Backend, Pen, Setup, wait_until};

/// Clients at once.
const CLIENTS: u64 = 8;

/// What the servers saw that must not be, by plan: told once all is over.
type Complaints = Arc<Mutex<Vec<String>>>;

/// A server that follows the plans that clients announce, over what `accept` makes of a connection.
fn planned<T: Transport>(
    complaints: &Complaints,
    closes: &Arc<AtomicBool>,
    accept: impl Fn(Client) -> Option<T> + Send + Sync + 'static,
) -> Backend {
    let (complaints, closes) = (Arc::clone(complaints), Arc::clone(closes));
    Backend::new(move |client| {
        let Some(mut transport) = accept(client) else { return };
        let (mut header, mut got) = ([0; Plan::HEADER], 0);
        while got < header.len() {
            match transport.read(&mut header[got..]) {
                Ok(n @ 1..) => got += n,
                // A client that was closed before it announced anything.
                _ => return,
            }
        }
        let plan = Plan::heard(&header).unwrap();
        narrow(transport.socket(), &mut plan.random_of(3));
        transport.socket().set_nonblocking(true).unwrap();
        let sends = (plan.server_bytes(), plan.down, plan.server_resets);
        let receives = (plan.client_bytes(), plan.up);
        let ending = || converse(transport, sends, receives, plan.random_of(2));
        // A panic of this thread would go unnoticed.
        let complaint = match panic::catch_unwind(panic::AssertUnwindSafe(ending)) {
            Ok(ending) => complaint(&plan, ending, closes.load(SeqCst)),
            Err(_) => Some(format!("panicked in {plan:?}")),
        };
        complaints.lock().unwrap().extend(complaint.map(|complaint| format!("server: {complaint}")));
    })
}

/// What is wrong with how a conversation ended. A broken stream must never look complete; one that nobody broke has to be.
fn complaint(plan: &Plan, ending: Ending, closed_by_command: bool) -> Option<String> {
    let right = match ending {
        Ending::Complete | Ending::BrokenOff => true,
        Ending::Broken(_) => !plan.is_orderly() || closed_by_command,
        // `close N` ends one that is at rest, as a pause looks to pen, in order.
        Ending::Short(_) => closed_by_command,
    };
    (!right).then(|| format!("{ending:?} of {plan:?}"))
}

/// Half of the receivers have next to no buffer, so that what pen passes on meets a full one.
fn narrow(socket: &socket2::Socket, random: &mut Random) {
    if random.one_in(2) {
        socket.set_recv_buffer_size(64 * 1024).unwrap();
        // Loopback's segments of 64 KiB would let pen's send buffer grow to megabytes.
        socket.set_tcp_mss(1400).unwrap();
    }
}

/// What clients go by.
struct Scene {
    /// Where pen listens, or is about to.
    addresses: [SocketAddr; 2],
    until: Instant,
    conversations: AtomicU64,
    bytes: AtomicU64,
    /// Connections are being closed by command.
    closes: Arc<AtomicBool>,
    /// Beginnings and ends of moves of the listener, and connections that the system reset as it closed the old one.
    moves: AtomicU64,
    lost_to_moves: AtomicU64,
}

impl Scene {
    fn connect(&self, random: &mut Random) -> Client {
        let first = usize::from(random.one_in(2));
        loop {
            for at in [first, 1 - first] {
                let socket =
                    socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
                let source = SocketAddr::from(([127, 0, 0, 2 + u8::try_from(random.below(20)).unwrap()], 0));
                socket.bind(&source.into()).unwrap();
                narrow(&socket, random);
                if socket.connect_timeout(&self.addresses[at].into(), Duration::from_secs(20)).is_ok() {
                    return socket.into();
                }
            }
        }
    }

    /// Whether a connection that was refused may have been completed by the system between pen's last look at the queue of an
    /// address that it leaves and its close(2), which resets it: no program can see such a one. Few may.
    fn lost_to_move(&self, moves_before: u64) -> bool {
        // Odd while a move is in progress.
        (moves_before % 2 == 1 || self.moves.load(SeqCst) != moves_before) && {
            self.lost_to_moves.fetch_add(1, SeqCst);
            true
        }
    }

    /// Whether a client begins another conversation. The machine may halt for as long as the test is to take, and at least some
    /// follow one another.
    fn goes_on(&self) -> bool {
        let now = Instant::now();
        now < self.until || now < self.until + DEADLINE && self.conversations.load(SeqCst) <= CLIENTS
    }

    /// One client after the other, until the time is over.
    fn converse<T: Transport>(&self, seed: u64, transport: impl Fn(Client) -> Option<T>) -> Vec<String> {
        let mut random = Random::new(seed);
        let mut complaints = Vec::new();
        while self.goes_on() {
            let plan = Plan::random(&mut random);
            let closes = || self.closes.load(SeqCst);
            let moves = self.moves.load(SeqCst);
            let connected = transport(self.connect(&mut random)).and_then(|mut transport| {
                // It fits into the socket's buffer.
                let announced = transport.write(&plan.announce()).ok()?;
                assert_eq!(announced, Plan::HEADER);
                Some(transport)
            });
            let Some(transport) = connected else {
                if !closes() && !self.lost_to_move(moves) {
                    complaints.push(format!("client: not served: {plan:?}"));
                }
                continue;
            };
            let sends = (plan.client_bytes(), plan.up, plan.client_resets);
            let ending = converse(transport, sends, (plan.server_bytes(), plan.down), plan.random_of(1));
            let complaint = complaint(&plan, ending, closes());
            let counts = |_: &String| ending != Ending::Broken(0) || !self.lost_to_move(moves);
            complaints.extend(complaint.filter(counts).map(|complaint| format!("client: {complaint}")));
            self.conversations.fetch_add(1, SeqCst);
            self.bytes.fetch_add(plan.up + plan.down, SeqCst);
        }
        complaints
    }
}

/// Commands that must not be felt by any client.
fn disturb(pen: &Pen, scene: &Scene, seed: u64) {
    let mut random = Random::new(seed);
    let questions = ["servers", "recent", "recent 1", "status", "mode", "connection 3", "write"];
    let modes = ["roundrobin", "hash", "weight", "prio", "tcp_nodelay", "keepalive"];
    let log = pen.file("requests.log");
    while Instant::now() < scene.until {
        let command = match random.below(8) {
            0..=2 => commands::selection(&mut random, &modes),
            3 if random.one_in(2) => format!("log {log}"),
            3 => "no log".into(),
            4 => format!("listen {}", scene.addresses[random.below(2) as usize]),
            5 if scene.closes.load(SeqCst) => format!("close {}", random.below(CLIENTS)),
            5 | 6 => {
                commands::reload(pen, &mut random);
                continue;
            }
            _ => random.one_of(&questions).into(),
        };
        let steps = u64::from(command.starts_with("listen "));
        scene.moves.fetch_add(steps, SeqCst);
        commands::carry_out(pen, &command);
        scene.moves.fetch_add(steps, SeqCst);
    }
}

/// Connections of clients become what `transport` makes of them. With plain servers.
fn chaos<T: Transport>(setup: Setup, transport: impl Fn(Client) -> Option<T> + Sync) {
    chaos_with(setup, "", transport, |client| Some(Plain(client.0)));
}

/// The same with servers that accept connections by `accept` and have further `keys`.
fn chaos_with<T: Transport, S: Transport>(
    setup: Setup,
    keys: &str,
    transport: impl Fn(Client) -> Option<T> + Sync,
    accept: impl Fn(Client) -> Option<S> + Clone + Send + Sync + 'static,
) {
    let seconds = variable("PEN_CHAOS_SECONDS").unwrap_or(4);
    let seed = variable("PEN_CHAOS_SEED").unwrap_or_else(|| u64::from(process::id()));
    // Shown when the test fails.
    eprintln!("PEN_CHAOS_SEED={seed}");
    let complaints = Complaints::default();
    let closes = Arc::new(AtomicBool::new(false));
    let backends: Vec<_> = (0..3).map(|_| planned(&complaints, &closes, accept.clone())).collect();
    let conf = setup.write("conf", "");
    let page = setup.file("status.html");
    let setup = setup.option("-F", &conf).option("-w", &page).options("-x 200");
    let pen = setup.servers(&backends).start();
    // Otherwise nobody would be served by weight. The operands, which come behind -O, have weight 0.
    for n in 0..3 {
        assert_eq!(pen.control(&format!("server {n} weight 1 {keys}")), "");
    }
    for phase in [false, true] {
        closes.store(phase, SeqCst);
        let second = SocketAddr::new(pen.address.ip(), free_port());
        let scene = Scene {
            addresses: [pen.address, second],
            until: Instant::now() + Duration::from_secs(seconds) / 2,
            conversations: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            closes: Arc::clone(&closes),
            moves: AtomicU64::new(0),
            lost_to_moves: AtomicU64::new(0),
        };
        thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|n| {
                    scope.spawn({
                        let (scene, transport) = (&scene, &transport);
                        move || scene.converse(seed.wrapping_mul(1000) + n, transport)
                    })
                })
                .collect();
            disturb(&pen, &scene, seed);
            for client in clients {
                // Not with the lock held: servers that its conversation needs may be waiting for it.
                let of_client = client.join().unwrap();
                complaints.lock().unwrap().extend(of_client);
            }
        });
        let complaints = std::mem::take(&mut *complaints.lock().unwrap());
        let some = &complaints[..complaints.len().min(5)];
        assert!(some.is_empty(), "{} with commands that close: {phase}: {some:#?}", complaints.len());
        let count = scene.conversations.load(SeqCst);
        eprintln!("{count} conversations, {} bytes", scene.bytes.load(SeqCst));
        assert!(count > CLIENTS, "only {count} conversations");
        let [lost, moves] = [&scene.lost_to_moves, &scene.moves].map(|count| count.load(SeqCst));
        let moves = moves / 2;
        assert!(lost <= 1 + moves / 20, "{lost} connections lost to {moves} moves");
        pen.control(&format!("listen {}", pen.address));
    }
    wait_until("every connection to be over", || pen.servers().iter().all(|server| server.conn == 0));
}

fn plain(client: Client) -> Option<Plain> {
    client.0.set_nonblocking(true).unwrap();
    Some(Plain(client.0))
}

#[test]
fn plain_connections_survive_it() {
    chaos(Setup::new(), plain);
}

#[test]
fn ones_whose_calls_are_made_one_by_one_survive_it() {
    chaos(Setup::new().command("no batch"), plain);
}

#[test]
fn portable_ones_survive_it() {
    chaos(Setup::new().environment("PEN_PORTABLE", "1"), plain);
}

#[test]
fn ones_in_http_mode_survive_it() {
    chaos(Setup::new().options("-H"), plain);
}

#[test]
fn ones_over_tls_survive_it() {
    let root = Pair::root("chaos");
    let leaf = root.issue("localhost");
    let setup = Setup::new();
    let cert = setup.write("cert", leaf.cert_pem() + &leaf.key_pem());
    chaos(setup.option("-E", cert), |client| {
        let stream = TlsClient::new(&root).over(client).ok()?.0;
        stream.get_ref().set_nonblocking(true).unwrap();
        Some(stream)
    });
}

#[test]
fn ones_with_tls_to_servers_survive_it() {
    let identity = Pair::root("chaos");
    let mut context = SslContext::builder(SslMethod::tls_server()).unwrap();
    context.set_certificate(&identity.cert).unwrap();
    context.set_private_key(&identity.key).unwrap();
    context.set_session_id_context(b"chaos").unwrap();
    let context = context.build();
    chaos_with(Setup::new(), "tls on tls_verify off", plain, move |client| {
        Ssl::new(&context).unwrap().accept(client.0).ok()
    });
}

#[test]
fn ones_that_a_proxy_announces_survive_it() {
    let proxied = Setup::new().command("proxy_protocol require").command("acl 5 permit 127.0.0.0/8");
    chaos(proxied.command("proxy_acl 5"), |client| {
        let port = client.0.local_addr().unwrap().as_socket().unwrap().port();
        let header = format!("PROXY TCP4 10.0.0.{} 10.0.1.1 {port} 80\r\n", port % 200);
        std::io::Write::write_all(&mut &client.0, header.as_bytes()).ok()?;
        plain(client)
    });
}
