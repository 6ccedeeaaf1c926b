//! A lock file beside a listening Unix socket, which shows that its process is alive.
//!
//! On Solaris and illumos a connect to a listener with a full queue is refused just as one to a socket whose process is
//! gone, so the result does not tell whether the file may be removed; the lock does. It is a record lock (fcntl(2)),
//! which every system has. Such a lock belongs to one process and not to its children: [`release_all`] and
//! [`claim_all`] hand it over when pen moves to the background.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rustix::fs::{FlockOperation, Mode, OFlags, Stat, fcntl_lock, fstat};

use crate::sys::emulation;
use crate::sys::resolved_path::{ResolvedPath, is_same};

/// The locks of this process.
static LOCKS: Mutex<Vec<Weak<File>>> = Mutex::new(Vec::new());

fn locks() -> MutexGuard<'static, Vec<Weak<File>>> {
    // No code that holds this lock can panic.
    LOCKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a connect does not distinguish a live listener from a dead one, so that a lock is needed.
pub(super) fn is_needed() -> bool {
    cfg!(any(target_os = "solaris", target_os = "illumos")) || emulation::is_portable()
}

/// A lock that this process holds. Dropping it releases it.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    /// The locked file.
    file: Arc<File>,
}

impl Lock {
    /// Takes the lock beside `socket`.
    ///
    /// # Errors
    /// `AddrInUse` when this or another process holds it; an error of the system when the file cannot be created.
    pub(super) fn take(socket: &Path) -> io::Result<Self> {
        let mut path = socket.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let mut locks = locks();
        locks.retain(|lock| lock.strong_count() > 0);
        // Opening and closing the file again would release a lock that this process holds.
        let target = ResolvedPath::find_entry(&path)?;
        if let Some(found) = target.found()
            && locks.iter().filter_map(Weak::upgrade).any(|held| is_file(&held, found))
        {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let file = File::from(target.open(OFlags::WRONLY | OFlags::CREATE, Mode::from_raw_mode(0o600))?);
        if !file.metadata()?.is_file() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        claim(&file)?;
        let file = Arc::new(file);
        locks.push(Arc::downgrade(&file));
        Ok(Self { path, file })
    }

    /// Removes the file if it is still this one. If it cannot be removed, the next start reuses it.
    pub(super) fn remove(&self) {
        if let (Ok(target), Ok(own)) = (ResolvedPath::find_entry(&self.path), fstat(&self.file)) {
            _ = target.remove(&own);
        }
    }
}

fn is_file(file: &File, found: &Stat) -> bool {
    fstat(file).is_ok_and(|own| is_same(&own, found))
}

fn claim(file: &File) -> io::Result<()> {
    match fcntl_lock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        // Which of the two errors is returned depends on the system (fcntl(2)).
        Err(rustix::io::Errno::ACCESS | rustix::io::Errno::AGAIN) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) => Err(error.into()),
    }
}

fn held() -> Vec<Arc<File>> {
    locks().iter().filter_map(Weak::upgrade).collect()
}

/// Releases all locks, before a fork whose child claims them.
pub(crate) fn release_all() {
    for file in held() {
        _ = fcntl_lock(&file, FlockOperation::NonBlockingUnlock);
    }
}

/// Takes the locks in the child that its parent has released.
///
/// # Errors
/// Another process has taken a lock in the meantime.
pub(crate) fn claim_all() -> io::Result<()> {
    held().iter().try_for_each(|file| claim(file))
}
