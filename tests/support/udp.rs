//! Servers and clients that speak UDP.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::port::reserve_datagrams;
use super::wait::{DEADLINE, wait_for};

/// Room for the largest datagram.
const LARGEST: usize = 65_536;

type Received = Arc<Mutex<Vec<(SocketAddr, Vec<u8>)>>>;

/// A server on a port of its own, with a record of what it received.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    received: Received,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Receives at `address`, and answers each datagram with those that `answer` returns: any number.
    pub(crate) fn on(
        address: SocketAddr,
        mut answer: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
    ) -> Self {
        let port = if address.port() == 0 { reserve_datagrams(address.ip()) } else { address.port() };
        let address = SocketAddr::new(address.ip(), port);
        let socket = UdpSocket::bind(address).unwrap();
        let (received, stop) = (Received::default(), Arc::new(AtomicBool::new(false)));
        let thread = std::thread::spawn({
            let (received, stop) = (Arc::clone(&received), Arc::clone(&stop));
            move || {
                let mut buffer = vec![0; LARGEST];
                loop {
                    // A closed client socket may cause an error here.
                    let Ok((count, peer)) = socket.recv_from(&mut buffer) else { continue };
                    if stop.load(Relaxed) {
                        return;
                    }
                    received.lock().unwrap().push((peer, buffer[..count].to_vec()));
                    for datagram in answer(&buffer[..count]) {
                        _ = socket.send_to(&datagram, peer);
                    }
                }
            }
        });
        Server { address, received, stop, thread: Some(thread) }
    }

    fn local(answer: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Self {
        Self::on((Ipv4Addr::LOCALHOST, 0).into(), answer)
    }

    /// Answers every datagram with its name.
    pub(crate) fn named(name: &str) -> Self {
        Self::named_on((Ipv4Addr::LOCALHOST, 0).into(), name)
    }

    /// The same at a given address.
    pub(crate) fn named_on(address: SocketAddr, name: &str) -> Self {
        let name = name.as_bytes().to_vec();
        Self::on(address, move |_| vec![name.clone()])
    }

    /// Answers with the received datagram.
    pub(crate) fn echo() -> Self {
        Self::local(|datagram| vec![datagram.to_vec()])
    }

    /// Never answers.
    pub(crate) fn mute() -> Self {
        Self::local(|_| Vec::new())
    }

    /// Answers each datagram with many of maximum size.
    pub(crate) fn flood() -> Self {
        Self::local(|_| vec![vec![7; 60_000]; 100])
    }

    /// The datagrams received so far, with their senders.
    pub(crate) fn received(&self) -> Vec<(SocketAddr, Vec<u8>)> {
        self.received.lock().unwrap().clone()
    }

    /// Waits until it has received this many datagrams; returns the sender of each.
    #[track_caller]
    pub(crate) fn peers(&self, count: usize) -> Vec<SocketAddr> {
        wait_for("datagrams at the server", || {
            let received = self.received();
            (received.len() >= count).then(|| received.iter().map(|(peer, _)| *peer).collect())
        })
    }

    /// Stops it; its address is free afterwards, for this test only.
    pub(crate) fn stop(self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        let from = if self.address.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
        // Wakes it.
        _ = UdpSocket::bind(from).and_then(|socket| socket.send_to(b"", self.address));
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

/// A port where nobody receives, and which no other process gets: its socket only accepts datagrams of its own peer.
pub(crate) struct Refusing(UdpSocket);

impl Refusing {
    pub(crate) fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(socket.local_addr().unwrap()).unwrap();
        Refusing(socket)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }
}

/// A client that accepts answers only from the address that it sends to.
pub(crate) struct Asker(pub(crate) UdpSocket);

impl Asker {
    /// A client at `from`.
    pub(crate) fn from(from: impl Into<IpAddr>, to: SocketAddr) -> Self {
        let socket = UdpSocket::bind((from.into(), 0)).unwrap();
        socket.connect(to).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Asker(socket)
    }

    /// The client 127.0.0.`n`.
    pub(crate) fn new(n: u8, to: SocketAddr) -> Self {
        Self::from(Ipv4Addr::new(127, 0, 0, n), to)
    }

    #[track_caller]
    pub(crate) fn send(&self, datagram: &[u8]) {
        self.0.send(datagram).unwrap();
    }

    /// The next answer.
    #[track_caller]
    pub(crate) fn answer(&self) -> Vec<u8> {
        let mut buffer = vec![0; LARGEST];
        let count = self.0.recv(&mut buffer).expect("an answer");
        buffer.truncate(count);
        buffer
    }

    /// Sends a datagram, and waits for the answer.
    #[track_caller]
    pub(crate) fn ask(&self, datagram: &[u8]) -> Vec<u8> {
        self.send(datagram);
        self.answer()
    }

    /// Sends a datagram; returns the answer as text.
    #[track_caller]
    pub(crate) fn name(&self) -> String {
        String::from_utf8(self.ask(b"who?")).unwrap()
    }

    /// Sends again and again, as clients do, until there is an answer.
    #[track_caller]
    pub(crate) fn persist(&self) -> String {
        self.0.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let mut buffer = vec![0; LARGEST];
        let count = wait_for("an answer", || {
            self.0.send(b"who?").ok()?;
            self.0.recv(&mut buffer).ok()
        });
        self.0.set_read_timeout(Some(DEADLINE)).unwrap();
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    }

    /// Whether nothing arrives for this long.
    pub(crate) fn is_silent_for(&self, time: Duration) -> bool {
        self.0.set_read_timeout(Some(time)).unwrap();
        let silent = self.0.recv(&mut [0]).is_err();
        self.0.set_read_timeout(Some(DEADLINE)).unwrap();
        silent
    }

    /// Whether no answer has come yet.
    pub(crate) fn has_nothing(&self) -> bool {
        self.0.set_nonblocking(true).unwrap();
        let nothing = self.0.recv(&mut [0]).is_err();
        self.0.set_nonblocking(false).unwrap();
        nothing
    }
}

/// The servers of these clients 127.0.0.n, each from another port.
#[track_caller]
pub(crate) fn choices(to: SocketAddr, clients: impl IntoIterator<Item = u8>) -> String {
    clients.into_iter().map(|n| Asker::new(n, to).name()).collect::<Vec<_>>().join(" ")
}
