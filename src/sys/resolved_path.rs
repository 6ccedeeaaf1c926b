//! A resolved path: an open directory and a name in it.
//!
//! Files that root writes for pen may be in a directory that others may write to. So a path is resolved component by
//! component, each opened relative to the one before, and the system never follows a symbolic link; pen follows one
//! only if it belongs to root or to the account that pen runs as. All later operations use the name in the open
//! directory, which nobody can exchange.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, openat, readlinkat, statat, unlinkat};
use rustix::io::Errno;

/// The maximum number of symbolic links in a path; systems allow 8 (POSIX, SYMLOOP_MAX) to 40.
const LINKS_MAX: usize = 8;

/// How a directory is opened: for access to its entries, which does not need the right to list it.
const DIRECTORY: OFlags = SEARCH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

#[cfg(target_os = "linux")]
const SEARCH: OFlags = OFlags::PATH;
#[cfg(any(target_os = "solaris", target_os = "illumos"))]
const SEARCH: OFlags = OFlags::from_bits_retain(libc::O_SEARCH as _);
#[cfg(not(any(target_os = "linux", target_os = "solaris", target_os = "illumos")))]
const SEARCH: OFlags = OFlags::RDONLY;

/// A resolved path.
#[derive(Debug)]
pub(super) struct ResolvedPath {
    directory: OwnedFd,
    name: OsString,
    /// The status of the file with that name, if it exists.
    found: Option<Stat>,
    /// Whether it is a link into /proc, as `/dev/stdout` is, which leads to an open file that may have no name.
    is_open_file: bool,
}

impl ResolvedPath {
    /// Resolves `path`; the last component need not exist.
    ///
    /// # Errors
    /// See open(2) for a directory in the path; a symbolic link of another user, with its name; too many links.
    pub(super) fn find(path: &Path) -> io::Result<Self> {
        Self::resolve(path, true)
    }

    /// The same, except that a symbolic link as the last component is what is found, and not where it leads.
    ///
    /// # Errors
    /// See [`ResolvedPath::find`].
    pub(super) fn find_entry(path: &Path) -> io::Result<Self> {
        Self::resolve(path, false)
    }

    fn resolve(path: &Path, follow_last: bool) -> io::Result<Self> {
        let mut links = 0;
        let mut directory = start(path.is_absolute())?;
        let mut walked = PathBuf::from(if path.is_absolute() { "/" } else { "" });
        let mut rest = parts(path);
        loop {
            let Some(name) = rest.pop_front() else { return Err(io::ErrorKind::IsADirectory.into()) };
            let found = match statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(found) => Some(found),
                Err(Errno::NOENT) if rest.is_empty() => None,
                Err(error) => return Err(error.into()),
            };
            let kind = found.map(|found| FileType::from_raw_mode(found.st_mode));
            match (found, kind) {
                (Some(link), Some(FileType::Symlink)) if follow_last || !rest.is_empty() => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(io::Error::other("too many symbolic links"));
                    }
                    trust(&link, &walked.join(&name))?;
                    if rest.is_empty() && leads_to_stream(&directory, &name) {
                        return Ok(Self { directory, name, found, is_open_file: true });
                    }
                    let target = readlinkat(&directory, &name, Vec::new()).map_err(io::Error::from)?;
                    let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                    if target.is_absolute() {
                        directory = start(true)?;
                        walked = PathBuf::from("/");
                    }
                    for part in parts(&target).into_iter().rev() {
                        rest.push_front(part);
                    }
                }
                _ if rest.is_empty() && name != ".." => {
                    return Ok(Self { directory, name, found, is_open_file: false });
                }
                _ => {
                    directory = openat(&directory, &name, DIRECTORY, Mode::empty())?;
                    walked.push(&name);
                }
            }
        }
    }

    /// The directory.
    pub(super) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Flushes changes of the directory to disk. File systems that do not support that are not an error.
    pub(super) fn sync_directory(&self) {
        let listing = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        if let Ok(directory) = openat(&self.directory, ".", listing, Mode::empty()) {
            _ = rustix::fs::fsync(directory);
        }
    }

    /// The name in the directory.
    pub(super) fn name(&self) -> &OsStr {
        &self.name
    }

    /// The status of the file with that name, if it exists.
    pub(super) fn found(&self) -> Option<&Stat> {
        self.found.as_ref()
    }

    /// The type of that file.
    pub(super) fn kind(&self) -> Option<FileType> {
        self.found.map(|found| FileType::from_raw_mode(found.st_mode))
    }

    /// The status that the file with that name has now, if it exists.
    ///
    /// # Errors
    /// See fstatat(2).
    pub(super) fn status(&self) -> io::Result<Option<Stat>> {
        match statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(status) => Ok(Some(status)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes the name if it still stands for the file of status `known`. Only who may rename in this directory can
    /// exchange it between the comparison and the removal, and then loses a name there, whatever file it stood for.
    /// False if it stands for another file.
    ///
    /// # Errors
    /// See unlinkat(2).
    pub(super) fn remove(&self, known: &Stat) -> io::Result<bool> {
        let is_there = self.status()?.is_some_and(|status| is_same(&status, known));
        if is_there {
            unlinkat(&self.directory, &self.name, AtFlags::empty())?;
        }
        Ok(is_there)
    }

    /// Opens the file, and with [`OFlags::CREATE`] creates it. Never waits for the other end of a FIFO.
    ///
    /// # Errors
    /// See openat(2); `ELOOP` when a link has replaced the file in the meantime.
    pub(super) fn open(&self, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        self.open_and_wait(flags | OFlags::NONBLOCK, mode)
    }

    /// The same, but waits for the other end of a FIFO; and so do reads and writes.
    ///
    /// # Errors
    /// See [`ResolvedPath::open`].
    pub(super) fn open_and_wait(&self, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let follow = if self.is_open_file { OFlags::empty() } else { OFlags::NOFOLLOW };
        let always = OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(openat(&self.directory, &self.name, flags | follow | always, mode)?)
    }
}

/// Whether two statuses are those of one file.
pub(super) fn is_same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

fn start(absolute: bool) -> io::Result<OwnedFd> {
    Ok(openat(CWD, if absolute { "/" } else { "." }, DIRECTORY, Mode::empty())?)
}

/// The components of a path, without the root and without `.`.
fn parts(path: &Path) -> VecDeque<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    names.collect()
}

/// Refuses a link that belongs to neither root nor pen's own account.
fn trust(link: &Stat, path: &Path) -> io::Result<()> {
    if link.st_uid == 0 || link.st_uid == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    Err(io::Error::other(format!("{} is a symbolic link that belongs to another user", path.display())))
}

fn leads_to_stream(directory: &OwnedFd, name: &OsStr) -> bool {
    let kind = statat(directory, name, AtFlags::empty()).map(|found| FileType::from_raw_mode(found.st_mode));
    matches!(kind, Ok(FileType::CharacterDevice | FileType::Fifo))
}
