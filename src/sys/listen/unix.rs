//! Listening Unix sockets and their files.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::sys::daemon;
use crate::sys::error::context;

use super::lock::{self, Lock};

/// A non-blocking, listening Unix socket and its file. `mode` are the file's permissions, by default those of the
/// umask; no client can connect before they are set. A file whose process is gone is replaced.
///
/// # Errors
/// With the path; `AddrInUse` when a process listens there, `AlreadyExists` when the file is not a socket.
pub fn bind_unix(path: &Path, mode: Option<u32>, backlog: i32) -> io::Result<(UnixListener, SocketFile)> {
    let listen = || {
        let path = std::path::absolute(path)?;
        let lock = if lock::is_needed() { Some(Lock::take(&path)?) } else { None };
        let bound = bind(&path, mode, backlog);
        if bound.is_err() {
            lock.iter().for_each(Lock::remove);
        }
        let (listener, identity) = bound?;
        Ok((listener, SocketFile { path, identity, lock }))
    };
    listen().map_err(|error: io::Error| context(format_args!("cannot listen on {}", path.display()), error))
}

/// The identity of a file, independent of its name: device and inode number.
type Identity = (u64, u64);

fn identity(path: &Path) -> io::Result<Identity> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

fn bind(path: &Path, mode: Option<u32>, backlog: i32) -> io::Result<(UnixListener, Identity)> {
    let address = SockAddr::unix(path)?;
    clear(path, &address)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address)?;
    let identity = identity(path)?;
    if let Some(mode) = mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    // Connects succeed only from now on.
    socket.listen(backlog)?;
    Ok((socket.into(), identity))
}

/// Removes the socket that a dead process left at `path`; any other file stays.
fn clear(path: &Path, address: &SockAddr) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file exists and is not a socket"));
        }
        Ok(_) => {}
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A blocking connect would wait for a listener with a full backlog.
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        // On systems where this may also mean a full queue, we hold the lock: its process is gone.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        // The same on a system that only emulates one of these.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock && lock::is_needed() => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// The file of a Unix socket. Dropping it removes the file, unless another process has replaced it, and if pen's user
/// then has the right and the chroot contains it; a remaining file is replaced at the next start.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: Identity,
    lock: Option<Lock>,
}

impl SocketFile {
    /// Removes the file: no new client can connect.
    pub fn remove(&self) {
        // The parent that waits for the serving child has a copy of this, and must not remove the file.
        if !daemon::is_starter() && identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = fs::remove_file(&self.path);
            self.lock.iter().for_each(Lock::remove);
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.remove();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::{UnixDatagram, UnixStream};

    use super::*;

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
        // A full backlog also means that the listener is alive.
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
