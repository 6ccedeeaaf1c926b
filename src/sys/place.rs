//! A resolved path: an open directory and a name in it.
//!
//! What pen writes may lie in a directory that others may write to, and be written by root. So a path is walked component by
//! component, each opened relative to the one before and never through a symbolic link by the system; a link counts only if
//! it belongs to root or to the account that pen runs as. What is done afterwards is done by name in the open directory,
//! which nobody can exchange.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, openat, readlinkat, statat};
use rustix::io::Errno;

/// The most symbolic links in a path; systems allow 8 (POSIX, SYMLOOP_MAX) to 40.
const LINKS_MAX: usize = 8;

/// How a directory is opened: to reach what is in it, which takes no right to list it.
const DIRECTORY: OFlags = SEARCH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

#[cfg(target_os = "linux")]
const SEARCH: OFlags = OFlags::PATH;
#[cfg(any(target_os = "solaris", target_os = "illumos"))]
const SEARCH: OFlags = OFlags::from_bits_retain(libc::O_SEARCH as _);
#[cfg(not(any(target_os = "linux", target_os = "solaris", target_os = "illumos")))]
const SEARCH: OFlags = OFlags::RDONLY;

/// A resolved path.
#[derive(Debug)]
pub(super) struct Place {
    directory: OwnedFd,
    name: OsString,
    /// What has that name now.
    found: Option<Stat>,
    /// It is a link into /proc, as `/dev/stdout` is, which leads to something that is open and perhaps has no name.
    is_open_file: bool,
}

impl Place {
    /// Resolves `path`; the last component need not exist.
    ///
    /// # Errors
    /// As open(2) of a directory in the path; a symbolic link of another user, with its name; too many of them.
    pub(super) fn find(path: &Path) -> io::Result<Self> {
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
                (Some(link), Some(FileType::Symlink)) => {
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

    /// Has the changes of the directory reach the disk. File systems that cannot do that are no error.
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

    /// What has that name, if anything has.
    pub(super) fn found(&self) -> Option<&Stat> {
        self.found.as_ref()
    }

    /// What kind of file that is.
    pub(super) fn kind(&self) -> Option<FileType> {
        self.found.map(|found| FileType::from_raw_mode(found.st_mode))
    }

    /// Opens what is there, and with [`OFlags::CREATE`] makes it. Never waits for the other end of a FIFO.
    ///
    /// # Errors
    /// As openat(2); `ELOOP` when a link has taken the place in the meantime.
    pub(super) fn open(&self, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let follow = if self.is_open_file { OFlags::empty() } else { OFlags::NOFOLLOW };
        let always = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(openat(&self.directory, &self.name, flags | follow | always, mode)?)
    }
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

/// Refuses a link that neither root nor pen's own account has made.
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
