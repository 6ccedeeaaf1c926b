//! Clients of pen, and the streams of its servers, both TCP and Unix sockets.

use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use super::wait::DEADLINE;

/// One end of a connection. A read fails at the deadline rather than hang.
#[derive(Debug)]
pub(crate) struct Client(pub(crate) Socket);

impl From<Socket> for Client {
    fn from(socket: Socket) -> Self {
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.set_write_timeout(Some(DEADLINE)).unwrap();
        Client(socket)
    }
}

impl Client {
    /// Connects to a TCP address.
    #[track_caller]
    pub(crate) fn to(address: SocketAddr) -> Client {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        Client::connected(socket, address)
    }

    /// Connects from a specific address, so that pen sees a different client.
    #[track_caller]
    pub(crate) fn from(source: &str, address: SocketAddr) -> Client {
        let source: IpAddr = source.parse().unwrap();
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
        Client::connected(socket, address)
    }

    /// Connects, bounded by the write timeout of [`Client`]. A connection that pen resets at once is one
    /// all the same, and the test's reads find the reset: a blocking connect returns when the handshake
    /// is done, where `connect_timeout` asks for the socket's error some time later. (A reset that is
    /// faster still reads as the end of the stream.)
    #[track_caller]
    fn connected(socket: Socket, address: SocketAddr) -> Client {
        let client: Client = socket.into();
        match client.0.connect(&address.into()) {
            Err(e) if e.kind() != ErrorKind::ConnectionReset => panic!("connect to {address}: {e}"),
            _ => client,
        }
    }

    /// Connects to a Unix socket.
    #[track_caller]
    pub(crate) fn to_path(path: &Path) -> Client {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket
            .connect(&SockAddr::unix(path).unwrap())
            .unwrap_or_else(|e| panic!("connect to {}: {e}", path.display()));
        socket.into()
    }

    /// The port that it connects from.
    pub(crate) fn local_port(&self) -> u16 {
        self.0.local_addr().unwrap().as_socket().unwrap().port()
    }

    /// Sends all bytes.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).expect("send");
    }

    /// Shuts down sending; receiving continues.
    pub(crate) fn finish(&self) {
        _ = self.0.shutdown(Shutdown::Write);
    }

    /// One line without its line feed; at the end of the stream, the bytes before it.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        while self.0.read(&mut byte).unwrap_or_else(|e| panic!("a line was to come: {e}")) == 1
            && byte[0] != b'\n'
        {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }

    /// Exactly this many bytes.
    #[track_caller]
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).unwrap_or_else(|e| panic!("{count} bytes were to come: {e}"));
        bytes
    }

    /// All bytes up to the clean end.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).unwrap_or_else(|e| panic!("after {} bytes: {e}", bytes.len()));
        bytes
    }

    /// All text up to the clean end.
    #[track_caller]
    pub(crate) fn text(&mut self) -> String {
        String::from_utf8(self.rest()).unwrap()
    }

    /// Waits for the end of the connection, discarding data, and returns how it ended.
    #[track_caller]
    pub(crate) fn end(&mut self) -> End {
        let mut buffer = [0; 65536];
        loop {
            match self.0.read(&mut buffer) {
                Ok(0) => return End::Clean,
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::ConnectionReset => return End::Reset,
                Err(e) => panic!("neither data nor an end: {e}"),
            }
        }
    }

    /// Whether nothing arrives within the time: only for events that must not happen. Data that arrives can still be
    /// read.
    pub(crate) fn is_silent_for(&self, time: Duration) -> bool {
        self.0.set_read_timeout(Some(time)).unwrap();
        let silent = matches!(self.0.peek(&mut [MaybeUninit::uninit()]), Err(e) if is_timeout(&e));
        self.0.set_read_timeout(Some(DEADLINE)).unwrap();
        silent
    }

    /// Resets the connection.
    pub(crate) fn reset(self) {
        self.0.set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Sends bytes to the end while another thread reads them back, and asserts that they are the same.
    #[track_caller]
    pub(crate) fn is_echoed(&mut self, bytes: &[u8]) {
        let mut twin = self.twin();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                twin.send(bytes);
                twin.finish();
            });
            assert!(self.rest() == bytes);
        });
    }

    /// Another handle on the same connection, for a second thread.
    pub(crate) fn twin(&self) -> Client {
        Client(self.0.try_clone().unwrap())
    }

    /// The address of the peer.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.0.peer_addr().unwrap().as_socket().unwrap()
    }
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// With end of file.
    Clean,
    /// With a reset.
    Reset,
}

/// Whether an error is that of a read timeout.
pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
