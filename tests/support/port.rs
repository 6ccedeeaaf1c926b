//! Ports that are reserved for a test until its process ends.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use socket2::{Domain, Socket, Type};

static RESERVED: Mutex<Vec<Socket>> = Mutex::new(Vec::new());

/// A TCP port that the system chose, at `address`. A socket that does not listen stays bound to it: a socket with
/// SO_REUSEADDR can still listen there, and otherwise connections are refused. So no other test gets the port of a
/// server or a pen that has ended, together with clients that still try it.
pub(crate) fn reserve(address: Ipv4Addr) -> u16 {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from((address, 0)).into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    RESERVED.lock().unwrap().push(socket);
    port
}

/// Where tests look for UDP ports: below those that systems pick for sockets without one.
const FIRST: u16 = 12_000;
const COUNT: u16 = 16_000;
/// TCP ports of this address are what tests reserve UDP ports by; nobody listens there.
const LOCK: Ipv4Addr = Ipv4Addr::new(127, 77, 77, 77);

/// A UDP port of `ip` that no other test has, and that nobody is given by chance: also when a server or a pen has left it
/// and comes back. Over UDP a socket beside the one that is used would get its datagrams, so that the port number is
/// reserved elsewhere.
pub(crate) fn reserve_datagrams(ip: IpAddr) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // The processes of tests begin in different places.
    let begin = std::process::id().wrapping_mul(97);
    for _ in 0..COUNT {
        let place = (begin + u32::from(NEXT.fetch_add(1, Relaxed))) % u32::from(COUNT);
        let port = FIRST + u16::try_from(place).unwrap();
        let lock = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        if lock.bind(&SocketAddr::from((LOCK, port)).into()).is_ok() && UdpSocket::bind((ip, port)).is_ok() {
            RESERVED.lock().unwrap().push(lock);
            return port;
        }
    }
    panic!("no UDP port of {ip} is free");
}
