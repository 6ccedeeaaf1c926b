//! Sockets that wait for clients: TCP, UDP and Unix.
//!
//! A second pen on a taken address must fail. So SO_REUSEPORT is never set; SO_REUSEADDR is, for TCP alone, where it
//! lets pen start again while connections of the one before are in TIME_WAIT (with UDP it would share the port).

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::net::SocketFlags;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{context, daemon, platform};

/// A socket that is watched for clients.
pub type Watch = AsyncFd<Arc<OwnedFd>>;

/// A descriptor of `socket` for [`watch`].
///
/// # Errors
/// No descriptor is left.
pub fn duplicate(socket: &impl AsFd) -> io::Result<Arc<OwnedFd>> {
    Ok(Arc::new(socket.as_fd().try_clone_to_owned()?))
}

/// Watches a socket that does not block for clients, without taking them. To be called within a runtime.
///
/// # Errors
/// There is no room in the event port.
#[allow(unsafe_code, reason = "tokio asks for a promise that no safe type of std makes")]
pub fn watch(socket: &Arc<OwnedFd>) -> io::Result<Watch> {
    // SAFETY: the AsyncFd shares in the descriptor, so that it stays open for as long, and an OwnedFd never changes its
    // number.
    Ok(unsafe { AsyncFd::register_with_interest(Arc::clone(socket), Interest::READABLE) }?)
}

/// Takes a client out of the queue of `listener`: a socket that does not block and, but for a Unix client, its address.
///
/// # Errors
/// `WouldBlock` when there is none; else as accept(2).
pub fn accept(listener: &impl AsFd) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (socket, peer) = rustix::net::acceptfrom_with(listener, flags)?;
    Ok((socket, peer.and_then(|peer| SocketAddr::try_from(peer).ok())))
}

/// A listening TCP socket that does not block. `::` listens on IPv4 too; `backlog` is how many clients may wait.
///
/// # Errors
/// Names the address; `AddrInUse` when somebody listens there.
pub fn bind_tcp(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let listen = || {
        let socket = open(address, Type::STREAM)?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(backlog)?;
        Ok(socket.into())
    };
    listen().map_err(|error: io::Error| context(format_args!("cannot listen on {address}"), error))
}

/// A UDP socket that does not block. `::` receives over IPv4 too.
///
/// # Errors
/// Names the address; `AddrInUse` when somebody has it.
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
    if let IpAddr::V6(ip) = address.ip()
        && ip.is_unspecified()
    {
        // Whatever the system's default is.
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

/// Lets `socket` connect from `source`, an address that is not this machine's: to be called before binding to it.
///
/// # Errors
/// `Unsupported` where the system cannot (all but Linux); a lack of privilege (on Linux, CAP_NET_ADMIN).
pub fn transparent(socket: &impl AsFd, source: IpAddr) -> io::Result<()> {
    platform::transparent(socket, source).map_err(|error| match error.kind() {
        io::ErrorKind::Unsupported => {
            io::Error::new(error.kind(), "this system has no transparent connections")
        }
        _ => context("cannot make the connection transparent", error),
    })
}

/// A listening Unix socket that does not block, and the file that stands for it. `mode` are its permissions, else the
/// umask decides; nobody can connect before they are set. A file whose pen is gone is replaced.
///
/// # Errors
/// Names the path; `AddrInUse` when a process answers there, `AlreadyExists` when the file is no socket.
pub fn bind_unix(path: &Path, mode: Option<u32>, backlog: i32) -> io::Result<(UnixListener, SocketFile)> {
    let listen = || {
        let path = std::path::absolute(path)?;
        let address = SockAddr::unix(&path)?;
        clear(&path, &address)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address)?;
        let file = SocketFile::of(path)?;
        if let Some(mode) = mode {
            fs::set_permissions(&file.path, fs::Permissions::from_mode(mode))?;
        }
        // Only now does a connect succeed.
        socket.listen(backlog)?;
        Ok((socket.into(), file))
    };
    listen().map_err(|error: io::Error| context(format_args!("cannot listen on {}", path.display()), error))
}

/// Makes room for a socket: removes what a dead process left at `path`, and nothing else.
fn clear(path: &Path, address: &SockAddr) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file is there and is no socket"));
        }
        Ok(_) => {}
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A listener with a full backlog would hold us up.
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// The file of a Unix socket. Dropping it removes the file, unless another process has put its own there since, and as
/// far as the user that pen is by then may and its chroot lets it see; what stays is replaced by the next start.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn of(path: PathBuf) -> io::Result<Self> {
        let identity = Self::identity(&path)?;
        Ok(Self { path, identity })
    }

    fn identity(path: &Path) -> io::Result<(u64, u64)> {
        let found = fs::symlink_metadata(path)?;
        Ok((found.dev(), found.ino()))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // The parent that waits for the one that serves has a copy of this, and must leave the file.
        if !daemon::is_starter() && Self::identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::os::unix::net::{UnixDatagram, UnixStream};

    use super::*;

    const ANY4: &str = "127.0.0.1:0";

    fn loopback() -> SocketAddr {
        ANY4.parse().expect("address")
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
        drop(server); // Closes first, so its side waits.
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

    #[test]
    fn a_unix_socket_has_its_mode_and_goes_away() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("ctl");
        let (listener, file) = bind_unix(&path, Some(0o600), 5).expect("binds");
        assert_eq!(fs::symlink_metadata(&path).expect("there").mode() & 0o777, 0o600);
        let mut client = UnixStream::connect(&path).expect("connects");
        client.write_all(b"x").expect("writes");
        drop((listener, file));
        assert!(!path.exists());
    }

    #[test]
    fn a_live_unix_socket_is_refused_and_a_dead_one_replaced() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("ctl");
        let dead = UnixListener::bind(&path).expect("binds");
        drop(dead);
        let (live, file) = bind_unix(&path, None, 1).expect("nobody answers");
        let error = bind_unix(&path, None, 1).expect_err("somebody answers");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        // A full backlog is an answer too.
        let mut waiting = Vec::new();
        let address = SockAddr::unix(&path).expect("address");
        loop {
            let client = Socket::new(Domain::UNIX, Type::STREAM, None).expect("socket");
            client.set_nonblocking(true).expect("non-blocking");
            if client.connect(&address).is_err() {
                break;
            }
            waiting.push(client);
        }
        assert_eq!(bind_unix(&path, None, 1).expect_err("busy").kind(), io::ErrorKind::AddrInUse);
        drop((live, file));
        bind_unix(&path, None, 1).expect("free again");
    }

    #[test]
    fn what_is_no_such_socket_stays() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("precious");
        fs::write(&path, "data").expect("file");
        assert_eq!(bind_unix(&path, None, 5).expect_err("a file").kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).expect("untouched"), "data");
        let datagram = dir.path().join("datagram");
        let _owner = UnixDatagram::bind(&datagram).expect("binds");
        assert!(bind_unix(&datagram, None, 5).is_err(), "somebody's datagram socket");
        assert!(datagram.exists());
        let long = dir.path().join("x".repeat(200));
        assert!(bind_unix(&long, None, 5).is_err(), "too long for an address");
    }

    #[test]
    fn the_file_of_a_successor_stays() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("ctl");
        let (_old, file) = bind_unix(&path, None, 5).expect("binds");
        fs::rename(&path, dir.path().join("old")).expect("moved away");
        let _new = UnixListener::bind(&path).expect("binds");
        drop(file);
        assert!(path.exists());
    }
}
