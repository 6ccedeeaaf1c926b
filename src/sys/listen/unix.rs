//! Listening Unix sockets and their files.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Access, AtFlags, FileType, Mode, Stat, accessat};
use rustix::process::umask;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::sys::error::context;
use crate::sys::resolved_path::ResolvedPath;
use crate::sys::{daemon, platform};

use super::lock::{self, Lock};

/// A non-blocking, listening Unix socket and its file. `mode` are the file's permissions, by default those of the
/// umask; it has them from its first moment. A file whose process is gone is replaced. No symbolic link of another user
/// is followed.
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
        let (listener, status) = bound?;
        Ok((listener, SocketFile { path, status, lock }))
    };
    listen().map_err(|error: io::Error| context(format_args!("cannot listen on {}", path.display()), error))
}

fn bind(path: &Path, mode: Option<u32>, backlog: i32) -> io::Result<(UnixListener, Stat)> {
    let address = SockAddr::unix(path)?;
    let target = ResolvedPath::find_entry(path)?;
    clear(&target, &address)?;
    bind_at(&target, &address, mode, backlog)
}

/// Binds to `address`, the path of `target`, where no file is.
fn bind_at(
    target: &ResolvedPath,
    address: &SockAddr,
    mode: Option<u32>,
    backlog: i32,
) -> io::Result<(UnixListener, Stat)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match mode {
        Some(mode) => bind_with_mode(&socket, address, mode)?,
        None => socket.bind(address)?,
    }
    // bind(2) takes a path and no directory, so whoever owns a directory of the path can have sent it elsewhere. All
    // that remains there is a socket with pen's owner and permissions at which nobody listens; bind(2) replaces no file.
    let status = target.status()?.filter(is_socket);
    let status = status.ok_or_else(|| io::Error::other("its directory has been exchanged"))?;
    if let Some(mode) = mode
        && status.st_mode & 0o777 & !mode != 0
    {
        let given = status.st_mode & 0o777;
        return Err(io::Error::other(format!("permissions: expected {mode:o}, got {given:o}")));
    }
    // Connects succeed only from now on.
    socket.listen(backlog)?;
    Ok((socket.into(), status))
}

/// Binds so that the new file has the permissions `mode`, less the umask. chmod(2) after bind(2) would need the file's
/// name, and in a directory of another user that may by then stand for any file of the system.
fn bind_with_mode(socket: &Socket, address: &SockAddr, mode: u32) -> io::Result<()> {
    if platform::set_mode_before_bind(socket, mode)? {
        socket.bind(address)
    } else {
        bind_with_umask(socket, address, mode)
    }
}

fn bind_with_umask(socket: &Socket, address: &SockAddr, mode: u32) -> io::Result<()> {
    static UMASK: Mutex<()> = Mutex::new(());
    // The umask is that of all threads. Those that bind take turns, so that each restores the right one. A file that
    // another thread creates meanwhile is for pen's user alone, which reveals nothing; and pen binds these sockets at
    // its start, before it creates other files.
    let _turn = UMASK.lock().unwrap_or_else(PoisonError::into_inner);
    let before = umask(Mode::from_raw_mode(!mode & 0o777));
    let bound = socket.bind(address);
    umask(before);
    bound
}

fn is_socket(status: &Stat) -> bool {
    FileType::from_raw_mode(status.st_mode) == FileType::Socket
}

/// Whether [`bind_unix`] could bind the path. Nothing is created or removed.
///
/// # Errors
/// See [`bind_unix`].
pub fn check_unix(path: &Path) -> io::Result<()> {
    let check = || {
        let path = std::path::absolute(path)?;
        let target = ResolvedPath::find_entry(&path)?;
        abandoned(&target, &SockAddr::unix(&path)?)?;
        accessat(target.directory(), ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::empty())?;
        Ok(())
    };
    check().map_err(|error: io::Error| context(format_args!("cannot listen on {}", path.display()), error))
}

/// Whether [`bind_unix`] could create or replace a socket at `path` once nobody listens there. Nobody who does learns of it.
///
/// # Errors
/// See [`bind_unix`].
pub fn check_path(path: &Path) -> io::Result<()> {
    let check = || {
        let path = std::path::absolute(path)?;
        SockAddr::unix(&path)?;
        let target = ResolvedPath::find_entry(&path)?;
        target.found().map_or(Ok(()), expect_socket)?;
        accessat(target.directory(), ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::empty())?;
        Ok(())
    };
    check().map_err(|error: io::Error| context(format_args!("cannot listen on {}", path.display()), error))
}

fn expect_socket(found: &Stat) -> io::Result<()> {
    if is_socket(found) {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file exists and is not a socket"))
}

/// Removes the socket that a dead process left at `target`, whose path is `address`; any other file stays.
fn clear(target: &ResolvedPath, address: &SockAddr) -> io::Result<()> {
    match abandoned(target, address)? {
        Some(found) => target.remove(found).map(drop),
        None => Ok(()),
    }
}

/// The socket that a dead process left at `target`, whose path is `address`; `None` if there is no file.
fn abandoned<'a>(target: &'a ResolvedPath, address: &SockAddr) -> io::Result<Option<&'a Stat>> {
    let Some(found) = target.found() else { return Ok(None) };
    expect_socket(found)?;
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A blocking connect would wait for a listener with a full backlog.
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        // On systems where this may also mean a full queue, whoever removes it holds the lock: its process is gone.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(Some(found)),
        // The same on a system that only emulates one of these.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock && lock::is_needed() => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// The file of a Unix socket. Dropping it removes the file, unless another process has replaced it, and if pen's user
/// then has the right and the chroot contains it; a remaining file is replaced at the next start.
#[derive(Debug)]
pub struct SocketFile {
    /// Absolute. It is resolved again for the removal: an open directory would lead out of a jail.
    path: PathBuf,
    /// The file as it was created.
    status: Stat,
    lock: Option<Lock>,
}

impl SocketFile {
    /// Removes the file: no new client can connect.
    pub fn remove(&self) {
        // The parent that waits for the serving child has a copy of this, and must not remove the file.
        if daemon::is_starter() {
            return;
        }
        if let Ok(true) = ResolvedPath::find_entry(&self.path).and_then(|target| target.remove(&self.status))
        {
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
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
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

    #[test]
    fn the_umask_gives_the_mode_where_the_socket_cannot() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("ctl");
        let target = ResolvedPath::find_entry(&path).expect("a directory");
        let address = SockAddr::unix(&path).expect("address");
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).expect("socket");
        let before = umask(Mode::from_raw_mode(0o022));
        bind_with_umask(&socket, &address, 0o600).expect("binds");
        assert_eq!(umask(before), Mode::from_raw_mode(0o022), "the umask is as it was");
        assert_eq!(target.status().expect("status").expect("there").st_mode & 0o777, 0o600);
    }

    /// Whoever owns a directory of the path exchanges it when pen has looked at it, and before bind(2).
    #[test]
    fn a_directory_that_is_exchanged_gets_an_error_and_no_file_its_mode_or_removal() {
        let dir = tempfile::tempdir().expect("directory");
        let (theirs, victim) = (dir.path().join("theirs"), dir.path().join("victim"));
        for directory in [&theirs, &victim] {
            fs::create_dir(directory).expect("directory");
        }
        fs::set_permissions(&victim, fs::Permissions::from_mode(0o755)).expect("mode");
        let path = theirs.join("ctl");
        let address = SockAddr::unix(&path).expect("address");
        let target = ResolvedPath::find_entry(&path).expect("a directory");
        fs::rename(&theirs, dir.path().join("away")).expect("moved away");
        symlink(&victim, &theirs).expect("link");
        let error = bind_at(&target, &address, Some(0o600), 5).expect_err("bound elsewhere");
        assert!(error.to_string().contains("has been exchanged"), "{error}");
        assert_eq!(fs::metadata(&victim).expect("there").mode() & 0o777, 0o755);
        assert!(UnixStream::connect(&path).is_err(), "nobody listens there");
        // Where a file is already, nothing changes.
        fs::remove_file(victim.join("ctl")).expect("a socket");
        fs::write(victim.join("ctl"), "precious").expect("file");
        let error = bind_at(&target, &address, Some(0o600), 5).expect_err("a file is there");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(fs::read_to_string(victim.join("ctl")).expect("untouched"), "precious");
    }

    #[test]
    fn a_file_that_takes_the_place_of_a_dead_socket_is_not_removed() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("ctl");
        drop(UnixListener::bind(&path).expect("binds"));
        let target = ResolvedPath::find_entry(&path).expect("there");
        // Both exist at the same time, so that they have two numbers.
        fs::write(dir.path().join("new"), "precious").expect("file");
        fs::rename(dir.path().join("new"), &path).expect("exchanged");
        assert!(!target.remove(target.found().expect("a socket")).expect("a status"));
        assert_eq!(fs::read_to_string(&path).expect("untouched"), "precious");
    }

    #[test]
    fn a_link_in_the_path_that_another_user_made_is_refused() {
        let dir = tempfile::tempdir().expect("directory");
        let (inside, link) = (dir.path().join("inside"), dir.path().join("link"));
        fs::create_dir(&inside).expect("directory");
        symlink(&inside, &link).expect("link");
        drop(bind_unix(&link.join("ctl"), None, 5).expect("a link of our own"));
        symlink(inside.join("ctl"), dir.path().join("ctl")).expect("link");
        let error = bind_unix(&dir.path().join("ctl"), None, 5).expect_err("a link is no socket");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        if lchown(&link, Some(12345), Some(12345)).is_err() {
            return; // Only root can set up this attack.
        }
        let error = bind_unix(&link.join("ctl"), Some(0o600), 5).expect_err("a trap");
        assert!(error.to_string().contains("another user"), "{error}");
        assert_eq!(fs::read_dir(&inside).expect("directory").count(), 0);
    }
}
