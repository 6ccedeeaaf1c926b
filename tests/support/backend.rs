//! Servers to put behind pen. Each has a thread that accepts, and a thread for each connection.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use super::client::{Client, is_timeout};
use super::port::reserve;
use super::wait::wait_until;

/// A server; when dropped it stops accepting and resets its connections.
pub(crate) struct Backend {
    address: SockAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    accepted: AtomicUsize,
    open: Mutex<HashMap<usize, Socket>>,
    received: Mutex<Vec<Received>>,
}

/// The data received on one connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Received {
    /// The bytes so far.
    pub(crate) bytes: Vec<u8>,
    /// Whether the end of the stream was received.
    pub(crate) ended: bool,
}

fn listener(address: &SockAddr) -> Socket {
    let socket = Socket::new(address.domain(), Type::STREAM, None).unwrap();
    if address.domain() != Domain::UNIX {
        socket.set_reuse_address(true).unwrap();
    }
    socket.bind(address).unwrap_or_else(|e| panic!("bind {address:?}: {e}"));
    socket.listen(1024).unwrap();
    socket
}

fn any_port() -> SockAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, reserve(Ipv4Addr::LOCALHOST))).into()
}

impl Backend {
    /// A server that calls `serve` for each connection, on a port of 127.0.0.1.
    pub(crate) fn new(serve: impl Fn(Client) + Send + Sync + 'static) -> Backend {
        Self::on(&any_port(), serve)
    }

    /// The same at a given address.
    pub(crate) fn on(address: &SockAddr, serve: impl Fn(Client) + Send + Sync + 'static) -> Backend {
        Self::accept(listener(address), move |client, _| serve(client))
    }

    fn accept(listener: Socket, serve: impl Fn(Client, &Arc<Shared>) + Send + Sync + 'static) -> Backend {
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let serve = Arc::new(serve);
        let of_thread = Arc::clone(&shared);
        let acceptor = thread::spawn(move || {
            while let Ok((socket, _)) = listener.accept() {
                if of_thread.stop.load(SeqCst) {
                    break;
                }
                let number = of_thread.accepted.fetch_add(1, SeqCst);
                of_thread.open.lock().unwrap().insert(number, socket.try_clone().unwrap());
                let (serve, shared) = (Arc::clone(&serve), Arc::clone(&of_thread));
                thread::spawn(move || {
                    serve(socket.into(), &shared);
                    // The connection closes with its last descriptor.
                    shared.open.lock().unwrap().remove(&number);
                });
            }
        });
        Backend { address, shared, acceptor: Some(acceptor) }
    }

    /// Sends its name as a line, then waits until the client ends.
    pub(crate) fn greeter(name: &str) -> Backend {
        Self::greeter_on(&any_port(), name)
    }

    /// A greeter at a given address.
    pub(crate) fn greeter_on(address: &SockAddr, name: &str) -> Backend {
        let line = format!("{name}\n");
        Self::on(address, move |mut client| {
            if client.0.write_all(line.as_bytes()).is_ok() {
                drain(&client.0);
            }
        })
    }

    /// Sends everything back.
    pub(crate) fn echo() -> Backend {
        Self::new(send_back)
    }

    /// The same on an address that another one has left.
    pub(crate) fn echo_on(address: &SockAddr) -> Backend {
        Self::on(address, send_back)
    }

    /// Records everything, and answers `reply` at the end.
    pub(crate) fn recorder(reply: &'static str) -> Backend {
        Self::accept(listener(&any_port()), move |mut client, shared| {
            let at = record_new(shared);
            let mut buffer = [0; 65536];
            loop {
                match client.0.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(n) => shared.received.lock().unwrap()[at].bytes.extend_from_slice(&buffer[..n]),
                    Err(_) => return,
                }
            }
            shared.received.lock().unwrap()[at].ended = true;
            _ = client.0.write_all(reply.as_bytes());
        })
    }

    /// Resets every connection at once.
    pub(crate) fn resetter() -> Backend {
        Self::new(Client::reset)
    }

    /// A web server: records every connection's bytes, and answers each request with its name.
    pub(crate) fn http(name: &str) -> Backend {
        let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
        Self::accept(listener(&any_port()), move |mut client, shared| {
            let at = record_new(shared);
            let mut unread = Vec::new();
            let mut buffer = [0; 65536];
            loop {
                while let Some(length) = request_length(&unread) {
                    unread.drain(..length);
                    if client.0.write_all(reply.as_bytes()).is_err() {
                        return;
                    }
                }
                match client.0.read(&mut buffer) {
                    Ok(n @ 1..) => {
                        unread.extend_from_slice(&buffer[..n]);
                        shared.received.lock().unwrap()[at].bytes.extend_from_slice(&buffer[..n]);
                    }
                    _ => break,
                }
            }
            shared.received.lock().unwrap()[at].ended = true;
        })
    }

    /// A greeter on a Unix socket.
    pub(crate) fn greeter_at_path(path: &Path, name: &str) -> Backend {
        Self::greeter_on(&SockAddr::unix(path).unwrap(), name)
    }

    /// Its TCP address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address.as_socket().unwrap()
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.address().port()
    }

    /// The number of connections accepted.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.accepted.load(SeqCst)
    }

    /// The bytes received on the connection with that number, once it has ended.
    #[track_caller]
    pub(crate) fn received_by(&self, n: usize) -> Vec<u8> {
        wait_until("the end of what the server receives", || {
            self.shared.received.lock().unwrap().get(n).is_some_and(|r| r.ended)
        });
        self.shared.received.lock().unwrap()[n].bytes.clone()
    }

    /// Stops, and starts again at the same address.
    pub(crate) fn stop(mut self) -> SockAddr {
        self.halt();
        self.address.clone()
    }

    fn halt(&mut self) {
        self.shared.stop.store(true, SeqCst);
        if let Some(acceptor) = self.acceptor.take() {
            // Wakes the acceptor.
            if let Ok(socket) = Socket::new(self.address.domain(), Type::STREAM, None) {
                _ = socket.connect_timeout(&self.address, Duration::from_secs(5));
            }
            _ = acceptor.join();
        }
        for (_, socket) in self.shared.open.lock().unwrap().drain() {
            _ = socket.shutdown(std::net::Shutdown::Both);
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.halt();
    }
}

fn record_new(shared: &Shared) -> usize {
    let mut received = shared.received.lock().unwrap();
    received.push(Received::default());
    received.len() - 1
}

fn send_back(client: Client) {
    let mut buffer = [0; 65536];
    while let Ok(n @ 1..) = (&client.0).read(&mut buffer) {
        if (&client.0).write_all(&buffer[..n]).is_err() {
            return;
        }
    }
    client.finish();
}

fn drain(mut socket: &Socket) {
    let mut buffer = [0; 65536];
    while let Ok(1..) = socket.read(&mut buffer) {}
}

/// The length of the first request including its body, once it is complete.
fn request_length(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let field = |name: &str| text.lines().find_map(|l| l.strip_prefix(name).map(|v| v.trim().to_owned()));
    if field("transfer-encoding:").is_some_and(|v| v == "chunked") {
        let end = bytes[head..].windows(5).position(|w| w == b"0\r\n\r\n")?;
        return Some(head + end + 5);
    }
    let body = field("content-length:").map_or(0, |v| v.parse().unwrap());
    (bytes.len() >= head + body).then_some(head + body)
}

/// A port that refuses connections.
#[derive(Debug)]
pub(crate) struct Refusing(SocketAddr);

impl Refusing {
    /// Reserves a port that no other process gets.
    pub(crate) fn new() -> Refusing {
        Refusing(any_port().as_socket().unwrap())
    }

    /// The address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.0
    }
}

/// An address to which no connection is ever established: its queue is full, and the system drops new SYNs.
#[derive(Debug)]
pub(crate) struct BlackHole {
    listener: Socket,
    _waiting: Vec<Socket>,
}

impl BlackHole {
    /// Listens, and fills its own queue.
    pub(crate) fn new() -> BlackHole {
        Self::on((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// The same at a given address.
    pub(crate) fn on(address: SocketAddr) -> BlackHole {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.set_reuse_address(true).unwrap();
        listener.bind(&address.into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        loop {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            match socket.connect_timeout(&address, Duration::from_millis(100)) {
                Ok(()) => waiting.push(socket),
                // Nobody in the queue yet: the machine was slow, and not the queue full.
                Err(e) if is_timeout(&e) && waiting.is_empty() => {}
                Err(e) if is_timeout(&e) => break,
                Err(e) => panic!("fill the queue: {e}"),
            }
        }
        BlackHole { listener, _waiting: waiting }
    }

    /// The address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap().as_socket().unwrap()
    }
}

/// Greeters A, B, C and so on.
pub(crate) fn greeters(count: usize) -> Vec<Backend> {
    ('A'..='Z').take(count).map(|name| Backend::greeter(&name.to_string())).collect()
}
