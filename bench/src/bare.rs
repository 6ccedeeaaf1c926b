//! The minimum of a relay: the system calls that every proxy has to make, and next to nothing between them. Its cost is
//! almost all the kernel's, and shows what a proxy with as many threads could still gain. It carries the traffic of the
//! rows `keep` and `short` and nothing else: anything unusual ends the connection.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddrV4, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::thread;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType};

/// The number of the listening socket among the events.
const QUEUE: u64 = u64::MAX;
/// A thread with this many more connections than another one leaves the queue to it: pen's own margin.
const MARGIN: usize = 4;
/// Bytes per read.
const READ_SIZE: usize = 64 * 1024;

/// The arguments after `pen-bench bare`: threads, the address to serve, the server's address.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let [threads, listen, backend] = args else { return Err("bare: THREADS LISTEN BACKEND".into()) };
    let threads: usize = threads.parse().map_err(|_| "bare: THREADS is a number")?;
    let address = |word: &String| word.parse::<SocketAddrV4>().map_err(|e| format!("bare: {word}: {e}"));
    let (listen, backend) = (address(listen)?, address(backend)?);
    let relay = Relay::new(threads, listen, backend).map_err(|e| format!("bare: {listen}: {e}"))?;
    let (relay, (sender, ends)) = (Arc::new(relay), channel());
    for me in 0..threads {
        let (relay, sender) = (Arc::clone(&relay), sender.clone());
        thread::spawn(move || sender.send(relay.work(me)));
    }
    drop(sender);
    let why = ends.recv().map_or_else(|_| "no threads".to_owned(), |Err(error)| error.to_string());
    Err(format!("bare: {why}"))
}

struct Relay {
    queue: TcpListener,
    backend: SocketAddrV4,
    threads: Vec<Thread>,
}

struct Thread {
    events: OwnedFd,
    connections: AtomicUsize,
}

/// A client and its server.
struct Pair {
    sides: [Side; 2],
    connected: bool,
}

struct Side {
    socket: OwnedFd,
    ended: bool,
}

/// The connections of a thread. A number is reused only after the events that may still refer to it.
#[derive(Default)]
struct Pairs {
    all: Vec<Option<Pair>>,
    free: Vec<usize>,
    dead: Vec<usize>,
}

impl Relay {
    fn new(threads: usize, listen: SocketAddrV4, backend: SocketAddrV4) -> io::Result<Self> {
        let queue = TcpListener::bind(listen)?;
        queue.set_nonblocking(true)?;
        // The queue that `bind` sets is short.
        rustix::net::listen(&queue, 4096)?;
        let thread = |_| {
            let events = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            Ok(Thread { events, connections: AtomicUsize::new(0) })
        };
        let relay = Self { queue, backend, threads: (0..threads).map(thread).collect::<io::Result<_>>()? };
        relay.watch_queue(0)?;
        Ok(relay)
    }

    fn watch_queue(&self, thread: usize) -> io::Result<()> {
        let data = EventData::new_u64(QUEUE);
        Ok(epoll::add(&self.threads[thread].events, &self.queue, data, EventFlags::IN)?)
    }

    fn work(&self, me: usize) -> io::Result<Infallible> {
        let own = &self.threads[me];
        let mut pairs = Pairs::default();
        let mut buffer = vec![0; READ_SIZE];
        let mut events = Vec::with_capacity(1024);
        loop {
            events.clear();
            epoll::wait(&own.events, rustix::buffer::spare_capacity(&mut events), None)?;
            for event in &events {
                let (number, flags) = (event.data.u64(), event.flags);
                if number == QUEUE {
                    self.accept(me, &mut pairs)?;
                } else if let Some(pair) = &mut pairs.all[number as usize / 2]
                    && pair.turn(number as usize % 2, flags, &mut buffer).is_err()
                {
                    pairs.end(number as usize / 2);
                    own.connections.fetch_sub(1, Relaxed);
                }
            }
            pairs.free.append(&mut pairs.dead);
        }
    }

    fn accept(&self, me: usize, pairs: &mut Pairs) -> io::Result<()> {
        let own = &self.threads[me];
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        while let Ok(client) = rustix::net::accept_with(&self.queue, flags) {
            let server = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
            match rustix::net::connect(&server, &self.backend) {
                Ok(()) | Err(Errno::INPROGRESS) => {}
                Err(error) => return Err(error.into()),
            }
            pairs.start(&own.events, client, server)?;
            let mine = own.connections.fetch_add(1, Relaxed) + 1;
            let next = (me + 1) % self.threads.len();
            if next != me && mine >= self.threads[next].connections.load(Relaxed) + MARGIN {
                epoll::delete(&own.events, &self.queue)?;
                return self.watch_queue(next);
            }
        }
        Ok(())
    }
}

impl Pairs {
    fn start(&mut self, events: &OwnedFd, client: OwnedFd, server: OwnedFd) -> io::Result<()> {
        let number = self.free.pop().unwrap_or_else(|| {
            self.all.push(None);
            self.all.len() - 1
        });
        let sides = [client, server].map(|socket| Side { socket, ended: false });
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        for (at, side) in sides.iter().enumerate() {
            epoll::add(events, &side.socket, EventData::new_u64((2 * number + at) as u64), flags)?;
        }
        self.all[number] = Some(Pair { sides, connected: false });
        Ok(())
    }

    fn end(&mut self, number: usize) {
        self.all[number] = None;
        self.dead.push(number);
    }
}

/// The connection is over: both ends are to be closed.
struct Over;

impl Pair {
    /// Moves the data received on the side with number `at`.
    fn turn(&mut self, mut at: usize, flags: EventFlags, buffer: &mut [u8]) -> Result<(), Over> {
        let broken = EventFlags::ERR | EventFlags::HUP;
        if !self.connected {
            if at == 0 || !flags.intersects(EventFlags::OUT | broken) {
                return Ok(());
            }
            if !matches!(rustix::net::sockopt::socket_error(&self.sides[1].socket), Ok(Ok(()))) {
                return Err(Over);
            }
            // Data that the client sent earlier was reported before there was a server to take it.
            (self.connected, at) = (true, 0);
        } else if !flags.intersects(EventFlags::IN | EventFlags::RDHUP | broken) {
            return Ok(());
        }
        let [client, server] = &mut self.sides;
        let (from, to) = if at == 0 { (client, server) } else { (server, client) };
        while !from.ended {
            match rustix::net::recv(&from.socket, &mut *buffer, RecvFlags::empty()) {
                Ok((0, _)) => {
                    from.ended = true;
                    if to.ended {
                        return Err(Over);
                    }
                    rustix::net::shutdown(&to.socket, Shutdown::Write).map_err(|_| Over)?;
                }
                Ok((count, _)) => {
                    let sent = rustix::net::send(&to.socket, &buffer[..count], SendFlags::NOSIGNAL);
                    if sent != Ok(count) {
                        return Err(Over);
                    }
                    if count < buffer.len() && !flags.contains(EventFlags::RDHUP) {
                        return Ok(());
                    }
                }
                Err(Errno::AGAIN) => return Ok(()),
                Err(_) => return Err(Over),
            }
        }
        Ok(())
    }
}
