//! Resolution of names. The system's resolver blocks, so it runs on its own thread.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use super::runtime;

/// The maximum number of addresses of one name that pen tries.
const ADDRESSES_MAX: usize = 8;

/// Looks a name up on a separate thread.
///
/// # Errors
/// See getaddrinfo(3): no such name, no answer from a server. Or the system cannot create a thread.
pub async fn lookup(name: &str) -> io::Result<Vec<IpAddr>> {
    let name = name.to_owned();
    runtime::blocking(move || lookup_now(&name)).await?
}

/// Looks a name up where blocking is harmless: before pen serves, or on a thread for it.
///
/// # Errors
/// See getaddrinfo(3).
#[allow(clippy::disallowed_methods, reason = "the one place where blocking is right")]
pub fn lookup_now(name: &str) -> io::Result<Vec<IpAddr>> {
    collect(std::net::ToSocketAddrs::to_socket_addrs(&(name, 0))?)
}

fn collect(found: impl Iterator<Item = std::net::SocketAddr>) -> io::Result<Vec<IpAddr>> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in found.map(|a| a.ip()) {
        if !addresses.contains(&address) && addresses.len() < ADDRESSES_MAX {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses)
}

/// Whether an address belongs to this machine. Nothing is sent to find out.
pub fn is_local(ip: IpAddr) -> bool {
    let any: IpAddr = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // The route to a local address has that address as its source. bind(2) is not a reliable test on systems that let a
    // process bind foreign addresses.
    let origin = || {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect((ip, 9))?;
        socket.local_addr()
    };
    ip.is_loopback() || origin().is_ok_and(|origin| origin.ip() == ip)
}
