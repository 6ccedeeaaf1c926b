//! Sockets that wait for clients: TCP, UDP and Unix.
//!
//! A second pen on an address in use must fail. So SO_REUSEPORT is never set. SO_REUSEADDR is set for TCP alone, where
//! it lets pen restart while old connections are in TIME_WAIT (with UDP it would share the port); for systems where it
//! would admit other sockets too, see `exclusive`.

mod exclusive;
pub(super) mod lock;
mod unix;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::SocketFlags;
use socket2::{Domain, Socket, Type};

use super::error::context;
use super::platform;

pub use unix::{SocketFile, bind_unix, check_path, check_unix};

/// Accepts a client from the queue of `listener`: a non-blocking socket and, except for a Unix client, its address.
///
/// # Errors
/// `WouldBlock` when there is none; otherwise see accept(2).
pub fn accept(listener: &impl AsFd) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (socket, peer) = rustix::net::acceptfrom_with(listener, flags)?;
    Ok((socket, peer.and_then(|peer| SocketAddr::try_from(peer).ok())))
}

/// Whether a client waits in the queue of a socket that listens. True if the system does not tell: accept(2) will.
#[must_use]
pub fn has_queued(listener: &impl AsFd) -> bool {
    let mut polled = [PollFd::new(listener, PollFlags::IN)];
    poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).map_or(true, |ready| ready > 0)
}

/// Makes a TCP listener drop new connections; those whose handshake has begun can still be accepted. False if the
/// system does not support it.
pub fn drop_new_connections(listener: &impl AsFd) -> bool {
    platform::set_syn_filter(listener, true)
}

/// Undoes [`drop_new_connections`].
pub fn take_new_connections(listener: &impl AsFd) {
    platform::set_syn_filter(listener, false);
}

/// A non-blocking, listening TCP socket. `::` includes IPv4; `backlog` is the length of the accept queue.
///
/// # Errors
/// With the address; `AddrInUse` when another socket listens there.
pub fn bind_tcp(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let listen = || {
        let socket = bind_stream(address)?;
        socket.listen(backlog)?;
        Ok(socket.into())
    };
    listen().map_err(|error: io::Error| context(format_args!("cannot listen on {address}"), error))
}

/// Whether [`bind_tcp`] could bind the address. The socket does not listen, so no client connects to it.
///
/// # Errors
/// See [`bind_tcp`].
pub fn check_tcp(address: SocketAddr) -> io::Result<()> {
    let bound = bind_stream(address).map(drop);
    bound.map_err(|error| context(format_args!("cannot listen on {address}"), error))
}

fn bind_stream(address: SocketAddr) -> io::Result<Socket> {
    let socket = open(address, Type::STREAM)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// A non-blocking UDP socket. `::` includes IPv4.
///
/// # Errors
/// With the address; `AddrInUse` when another socket is bound to it.
pub fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let listen = || {
        let socket = open(address, Type::DGRAM)?;
        socket.bind(&address.into())?;
        Ok(socket.into())
    };
    listen().map_err(|error: io::Error| context(format_args!("cannot receive on {address}/udp"), error))
}

fn open(address: SocketAddr, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    socket.set_nonblocking(true)?;
    exclusive::bind_exclusively(&socket)?;
    if let IpAddr::V6(ip) = address.ip()
        && ip.is_unspecified()
    {
        // Independent of the system's default.
        socket.set_only_v6(false)?;
        // An IPv4 socket of Linux receives datagrams to every group that the machine is a member of; an IPv6 socket
        // does not.
        #[cfg(target_os = "linux")]
        if kind == Type::DGRAM {
            socket.set_multicast_all_v4(true)?;
        }
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpStream;

    use super::*;

    const ANY4: &str = "127.0.0.1:0";

    fn loopback() -> SocketAddr {
        ANY4.parse().expect("address")
    }

    /// On Solaris and illumos another user could otherwise take a more specific address of the same port.
    #[test]
    fn every_listener_has_its_port_alone() {
        for address in [ANY4, "0.0.0.0:0", "[::1]:0", "[::]:0"] {
            let address: SocketAddr = address.parse().expect("address");
            if UdpSocket::bind((address.ip(), 0)).is_err() {
                continue; // no IPv6 here
            }
            assert!(exclusive::is_exclusive(&bind_tcp(address, 50).expect("a free port")), "{address}/tcp");
            assert!(exclusive::is_exclusive(&bind_udp(address).expect("a free port")), "{address}/udp");
            for kind in [Type::STREAM, Type::DGRAM] {
                // The option must be set before bind(2).
                let socket = open(address, kind).expect("a socket");
                let port = socket.local_addr().expect("an address").as_socket().expect("of IP").port();
                assert!(exclusive::is_exclusive(&socket) && port == 0, "{address} {kind:?}");
            }
        }
        let plain = UdpSocket::bind(loopback()).expect("a free port");
        assert!(!exclusive::is_exclusive(&plain), "nothing else sets the option");
    }

    #[test]
    fn a_taken_port_is_refused() {
        let first = bind_tcp(loopback(), 50).expect("a free port");
        let address = first.local_addr().expect("bound");
        let error = bind_tcp(address, 50).expect_err("taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&format!("cannot listen on {address}")), "{error}");
        let any = SocketAddr::new("0.0.0.0".parse().expect("address"), address.port());
        assert!(bind_tcp(any, 50).is_err(), "any address includes the taken one");
        drop(first);
        bind_tcp(address, 50).expect("free again");
    }

    #[test]
    fn a_port_in_time_wait_is_taken_again() {
        let listener = bind_tcp(loopback(), 50).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let mut client = TcpStream::connect(address).expect("connects");
        listener.set_nonblocking(false).expect("for this test");
        let (server, _) = listener.accept().expect("accepts");
        drop(server); // Closes first, so its side enters TIME_WAIT.
        client.read_to_end(&mut Vec::new()).expect("end");
        drop((client, listener));
        bind_tcp(address, 50).expect("at once");
    }

    #[test]
    fn the_listener_does_not_block() {
        let listener = bind_tcp(loopback(), 50).expect("a free port");
        assert_eq!(listener.accept().expect_err("nobody").kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn any_ipv6_address_includes_ipv4() {
        let Ok(listener) = bind_tcp("[::]:0".parse().expect("address"), 50) else { return }; // no IPv6 here
        let port = listener.local_addr().expect("bound").port();
        TcpStream::connect(("127.0.0.1", port)).expect("over IPv4");
    }

    #[test]
    fn a_taken_udp_port_is_refused() {
        let first = bind_udp(loopback()).expect("a free port");
        let address = first.local_addr().expect("bound");
        let error = bind_udp(address).expect_err("taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains("/udp"), "{error}");
        assert_eq!(first.recv(&mut [0]).expect_err("nothing").kind(), io::ErrorKind::WouldBlock);
    }
}
