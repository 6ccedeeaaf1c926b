//! The UDP socket of a flow, connected to its server.

use std::io::{self, IoSlice};
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{OnceLock, Weak};

use rustix::net::{RecvFlags, SendFlags};
use socket2::SockRef;
use tokio::io::Interest;

use crate::sys::child;
use crate::sys::platform::{self, ReadyPort};
use crate::sys::watch::Watch;

use super::batch::Batch;
use super::buffers;
use super::flow_port::FlowPort;

/// A socket connected to a server.
#[derive(Debug)]
pub struct UpstreamSocket(Readiness);

/// What tells of its answers and errors.
#[derive(Debug)]
enum Readiness {
    /// The runtime.
    Runtime(Watch),
    /// The port of the [`FlowPort`] that it has joined.
    Port(OwnedFd, OnceLock<Weak<ReadyPort>>),
}

/// Not for writing: a datagram for which the buffer has no room is dropped, and every sent datagram would wake the
/// task.
const INTEREST: Interest = Interest::READABLE.add(Interest::ERROR);

impl UpstreamSocket {
    /// A connected, non-blocking socket: to join a [`FlowPort`] where there are such, else watched by the runtime that this is
    /// called within.
    ///
    /// # Errors
    /// The event port of the runtime has no room.
    pub fn new(socket: UdpSocket) -> io::Result<Self> {
        buffers::make_room_to_send(&socket);
        platform::report_icmp_errors(&socket);
        let readiness = if platform::has_event_port() {
            Readiness::Port(socket.into(), OnceLock::new())
        } else {
            Readiness::Runtime(Watch::new(socket.into(), INTEREST)?)
        };
        Ok(UpstreamSocket(readiness))
    }

    /// Lets `port` report datagrams or an error of it by `token`, until it is dropped.
    ///
    /// # Errors
    /// The event port has no room.
    pub fn join(&self, port: &FlowPort, token: u64) -> io::Result<()> {
        port.add(self, token)?;
        if let Readiness::Port(_, joined) = &self.0 {
            // A flow has one listener.
            _ = joined.set(port.system_port());
        }
        Ok(())
    }

    /// Waits until there may be an answer, or an error such as one that an ICMP message reports (RFC 1122 4.1.3.3). For ever
    /// where an event port is to tell that.
    ///
    /// # Errors
    /// The runtime is ending.
    pub async fn ready(&self) -> io::Result<()> {
        match &self.0 {
            Readiness::Runtime(watch) => watch.ready(INTEREST).await,
            Readiness::Port(..) => std::future::pending().await,
        }
    }

    /// Receives an answer; it comes from the server and has no [`Peer`](super::Peer).
    ///
    /// # Errors
    /// `WouldBlock` when there is none; `ConnectionRefused` when nobody listens there; `HostUnreachable` and similar
    /// errors where the system reports them; otherwise see recv(2).
    pub fn receive(&self, batch: &mut Batch) -> io::Result<()> {
        let mut receive = || {
            batch.receive_one(|buffer| {
                let (count, _) = rustix::net::recv(self, buffer, RecvFlags::empty())?;
                Ok((count, None))
            })
        };
        let result = match &self.0 {
            Readiness::Runtime(watch) => watch.try_read_or_error(receive),
            Readiness::Port(..) => receive(),
        };
        self.clear_if_failed(result)
    }

    /// Sends one datagram. An error may belong to an earlier one; this one is not sent then.
    ///
    /// # Errors
    /// `WouldBlock` when the system's buffer is full; otherwise see [`UpstreamSocket::receive`].
    pub fn send(&self, datagram: &[u8]) -> io::Result<()> {
        let result = rustix::net::send(self, datagram, SendFlags::empty());
        self.clear_if_failed(result.map(|_| ()).map_err(io::Error::from))
    }

    /// As [`UpstreamSocket::send`], with `header` before the datagram.
    ///
    /// # Errors
    /// As [`UpstreamSocket::send`].
    pub fn send_behind(&self, header: &[u8], datagram: &[u8]) -> io::Result<()> {
        let parts = [IoSlice::new(header), IoSlice::new(datagram)];
        self.clear_if_failed(SockRef::from(self).send_vectored(&parts).map(|_| ()))
    }

    /// The result of a call, after which no error that it told is left in the system.
    ///
    /// # Errors
    /// As the result.
    pub fn clear_if_failed<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock) {
            self.clear_errors();
        }
        result
    }

    /// Takes away errors that wait to be read: for an event port the socket is ready as long as there are any.
    pub fn clear_errors(&self) {
        platform::clear_icmp_errors(self);
    }
}

impl Drop for UpstreamSocket {
    fn drop(&mut self) {
        // The port ignores what it is told of a flow that has ended: when the first child is made at this moment, it is told
        // until that one executes its program.
        if child::may_be_there()
            && let Readiness::Port(socket, joined) = &self.0
            && let Some(port) = joined.get().and_then(Weak::upgrade)
        {
            port.remove(socket);
        }
    }
}

impl AsFd for UpstreamSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Readiness::Runtime(watch) => watch.as_fd(),
            Readiness::Port(socket, _) => socket.as_fd(),
        }
    }
}

impl AsRawFd for UpstreamSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A child process that has not yet executed its program holds the socket, too.
    #[tokio::test]
    async fn what_has_ended_is_told_no_more_although_others_hold_the_socket() {
        let Ok(port) = FlowPort::new() else { return };
        child::begins();
        let server = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let (address, held) = (socket.local_addr().expect("bound"), socket.try_clone().expect("a copy"));
        socket.connect(server.local_addr().expect("bound")).expect("a destination");
        socket.set_nonblocking(true).expect("non-blocking");
        let upstream = UpstreamSocket::new(socket).expect("room in the event port");
        upstream.join(&port, 1).expect("room in the event port");
        server.send_to(b"x", address).expect("sent");
        let mut tokens = vec![];
        port.wait().await.expect("an event");
        port.ready(&mut tokens).expect("asked");
        assert_eq!(tokens, [1]);
        drop(upstream);
        port.ready(&mut tokens).expect("asked");
        assert!(tokens.is_empty(), "{tokens:?}");
        drop(held);
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_told() {
        // It accepts datagrams only from its own peer, which is itself.
        let deaf = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let address = deaf.local_addr().expect("bound");
        deaf.connect(address).expect("a destination");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        socket.connect(address).expect("a destination");
        socket.set_nonblocking(true).expect("non-blocking");
        let upstream = UpstreamSocket::new(socket).expect("room in the event port");
        let port = FlowPort::new().ok();
        if let Some(port) = &port {
            upstream.join(port, 1).expect("room in the event port");
        }
        let ready = async || match &port {
            Some(port) => port.wait().await.expect("an event"),
            None => upstream.ready().await.expect("an event"),
        };
        upstream.send(b"anybody?").expect("sent");
        let mut batch = Batch::new();
        ready().await;
        let error = upstream.receive(&mut batch).expect_err("nobody");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(upstream.receive(&mut batch).expect_err("told once").kind(), io::ErrorKind::WouldBlock);
        if let Some(port) = &port {
            let mut tokens = vec![];
            port.ready(&mut tokens).expect("asked");
            assert!(tokens.is_empty(), "nothing is left to be told");
        }
        upstream.send(b"anybody?").expect("sent");
        ready().await;
        let error = upstream.send(b"this one is not sent").expect_err("nobody");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
