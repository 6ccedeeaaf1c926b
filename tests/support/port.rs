//! TCP ports that are reserved for a test until its process ends.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;

use socket2::{Domain, Socket, Type};

static RESERVED: Mutex<Vec<Socket>> = Mutex::new(Vec::new());

/// A port that the system chose, at `address`. A socket that does not listen stays bound to it: a socket with
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
