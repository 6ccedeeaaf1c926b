//! Writes a file so that a reader gets the old text or the new one, never a part.
//!
//! The new text goes into a temporary file beside the old one, which is then renamed. Files and links planted in a
//! directory that others may write to are neither followed nor written through: see [`resolved_path`](super::resolved_path). A device
//! or a FIFO is not replaced but written to.

use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use rustix::fs::{Access, AtFlags, FileType, Mode, OFlags, RawMode, accessat, openat, renameat, unlinkat};
use rustix::io::Errno;

use super::error::context;
use super::resolved_path::ResolvedPath;

/// The mode of a new file, before the umask is applied.
const NEW: RawMode = 0o644;

/// Replaces the text of `path`, which keeps its owner, group and mode. A new file gets mode 0644 less the umask.
///
/// # Errors
/// The error of the system, with the file's name. Once pen has dropped its privileges, it may not be able to write to
/// the directory or to give the new file the owner of the old one. The old file is unchanged then.
pub fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    replace_with(path, |file| file.write_all(text)).map(drop)
}

/// The same with the text that `write` writes. Returns the new file, positioned at its beginning; `None` for a device
/// or a FIFO.
///
/// # Errors
/// See [`replace`]; or an error of `write`.
pub fn replace_with(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<Option<File>> {
    let replace = || {
        let target = ResolvedPath::find(path)?;
        if is_stream(&target) {
            write(&mut open_stream(&target)?)?;
            return Ok(None);
        }
        let mut file = exchange(&target, write, true)?;
        file.rewind()?;
        Ok(Some(file))
    };
    let replaced: io::Result<Option<File>> = replace();
    replaced.map_err(|error| context(format_args!("{}: cannot be written", path.display()), error))
}

/// Whether [`replace`], or [`open_for_appending`] if `appended`, could write the file. Nothing is created.
///
/// # Errors
/// A directory in the path does not exist or is not writable to this process; the file is not writable.
pub fn check(path: &Path, appended: bool) -> io::Result<()> {
    let target = ResolvedPath::find(path)?;
    check_kind(&target)?;
    let write = Access::WRITE_OK;
    let there = target.kind().is_some() && (appended || is_stream(&target));
    let checked = if there {
        accessat(target.directory(), target.name(), write, AtFlags::empty())
    } else {
        accessat(target.directory(), ".", write | Access::EXEC_OK, AtFlags::empty())
    };
    Ok(checked?)
}

/// Whether the file at `target` is written to rather than replaced.
///
/// # Errors
/// A directory, a socket or a block device: neither is possible.
pub(super) fn check_kind(target: &ResolvedPath) -> io::Result<()> {
    match target.kind() {
        None | Some(FileType::RegularFile) => Ok(()),
        Some(FileType::Directory) => Err(io::ErrorKind::IsADirectory.into()),
        Some(_) if is_stream(target) => Ok(()),
        Some(_) => Err(io::Error::other("neither a file nor a device or FIFO that can be written to")),
    }
}

/// Whether a device or a FIFO is at `target`.
pub(super) fn is_stream(target: &ResolvedPath) -> bool {
    matches!(target.kind(), Some(FileType::CharacterDevice | FileType::Fifo | FileType::Symlink))
}

/// Opens a device or a FIFO. Writing does not wait: it fails with `WouldBlock` when no more is accepted now.
///
/// # Errors
/// See open(2): `ENXIO` when nobody reads the FIFO.
pub(super) fn open_stream(target: &ResolvedPath) -> io::Result<File> {
    let file = File::from(target.open(OFlags::WRONLY, Mode::empty())?);
    if file.metadata()?.is_file() {
        return Err(io::Error::other("it has become another kind of file"));
    }
    Ok(file)
}

/// Creates a file, or replaces a regular one; with `keep`, the new file gets the owner, group and permissions of the
/// old one. Returns the new file.
///
/// # Errors
/// See [`replace_with`].
pub(super) fn exchange(
    target: &ResolvedPath,
    write: impl FnOnce(&mut File) -> io::Result<()>,
    keep: bool,
) -> io::Result<File> {
    /// Two threads may write the same file.
    static COUNT: AtomicU32 = AtomicU32::new(0);
    check_kind(target)?;
    let mut temporary = OsString::from(".");
    temporary.push(target.name());
    temporary.push(format!(".{}.{}", process::id(), COUNT.fetch_add(1, Relaxed)));
    let old = target.found().filter(|_| keep);
    let create = || {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // The new file must never be readable by more users than the old one.
        let mode = if old.is_some() { 0o600 } else { NEW };
        openat(target.directory(), &temporary, flags, Mode::from_raw_mode(mode))
    };
    let file = match create() {
        // A temporary file left by a killed process with the same pid.
        Err(Errno::EXIST) => {
            unlinkat(target.directory(), &temporary, AtFlags::empty())?;
            create()?
        }
        other => other?,
    };
    let mut file = File::from(file);
    let written = write(&mut file)
        .and_then(|()| finalize(&file, old.map(|old| (old.st_uid, old.st_gid, old.st_mode))))
        .and_then(|()| Ok(renameat(target.directory(), &temporary, target.directory(), target.name())?));
    if written.is_err() {
        _ = unlinkat(target.directory(), &temporary, AtFlags::empty());
    } else {
        target.sync_directory();
    }
    written.map(|()| file)
}

/// Gives a written file the owner and mode of the `old` one, and flushes it to disk.
fn finalize(file: &File, old: Option<(u32, u32, RawMode)>) -> io::Result<()> {
    if let Some((uid, gid, mode)) = old {
        let new = file.metadata()?;
        if (new.uid(), new.gid()) != (uid, gid) {
            fchown(file, Some(uid), Some(gid))?;
        }
        // A user who can replace the old file must not obtain a set-user-ID file written by root.
        file.set_permissions(Permissions::from_mode(mode & 0o777))?;
    }
    file.sync_all()
}

/// Opens a file, such as a log, for appending. Creates it if necessary, with mode 0644 less the umask. Never waits (a
/// FIFO without a reader is an error).
///
/// # Errors
/// See open(2); or a component of the path is a symbolic link of another user.
pub fn open_for_appending(path: &Path) -> io::Result<File> {
    let target = ResolvedPath::find(path)?;
    check_kind(&target)?;
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE;
    Ok(target.open(flags, Mode::from_raw_mode(NEW))?.into())
}

/// Opens a file for writing from its beginning; what a regular file contains stays until it is truncated. Creates it if
/// necessary, with mode 0644 less the umask. Waits for the reader of a FIFO.
///
/// # Errors
/// See [`open_for_appending`].
pub fn open_for_writing(path: &Path) -> io::Result<File> {
    let target = ResolvedPath::find(path)?;
    check_kind(&target)?;
    let flags = OFlags::WRONLY | OFlags::CREATE;
    Ok(target.open_and_wait(flags, Mode::from_raw_mode(NEW))?.into())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{FileTypeExt, lchown, symlink};

    use nix::unistd::mkfifo;

    use super::*;

    #[test]
    fn links_and_modes_are_kept() {
        let dir = tempfile::tempdir().expect("directory");
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::write(&real, "old").expect("file");
        fs::set_permissions(&real, Permissions::from_mode(0o640)).expect("mode");
        symlink("real", &link).expect("link");
        replace(&link, b"new").expect("writes");
        assert_eq!(fs::read_to_string(&real).expect("there"), "new");
        assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
        assert_eq!(fs::metadata(&real).expect("there").mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(dir.path()).expect("directory").count(), 2, "no temporary file is left");
    }

    #[test]
    fn what_cannot_be_written_names_the_file() {
        for path in ["/nonexistent/dir/x", "/"] {
            assert!(replace(path.as_ref(), b"x").expect_err("no file").to_string().starts_with(path));
        }
    }

    /// A symbolic link of another user is refused as any component of a path, whatever the directory.
    #[test]
    fn a_link_of_another_user_is_not_followed() {
        let dir = tempfile::tempdir().expect("directory");
        let inside = dir.path().join("inside");
        fs::create_dir(&inside).expect("directory");
        let real = inside.join("real");
        fs::write(&real, "precious").expect("file");
        let (last, before) = (dir.path().join("last"), dir.path().join("before"));
        symlink(&real, &last).expect("link");
        symlink(&inside, &before).expect("link");
        replace(&before.join("real"), b"precious").expect("a link of our own");
        if [&last, &before].into_iter().any(|link| lchown(link, Some(12345), Some(12345)).is_err()) {
            return; // Only root can set up this attack.
        }
        for path in [last, before.join("real"), before.join("new")] {
            for error in [
                replace(&path, b"overwritten").expect_err("a trap"),
                open_for_appending(&path).expect_err("a trap"),
                open_for_writing(&path).expect_err("a trap"),
            ] {
                assert!(error.to_string().contains("another user"), "{error}");
            }
        }
        assert_eq!(fs::read_to_string(&real).expect("there"), "precious");
        assert_eq!(fs::read_dir(&inside).expect("directory").count(), 1);
    }

    #[test]
    fn the_set_user_id_of_the_old_file_is_not_passed_on() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("file");
        fs::write(&path, "old").expect("file");
        fs::set_permissions(&path, Permissions::from_mode(0o4755)).expect("mode");
        replace(&path, b"new").expect("writes");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o7777, 0o755);
    }

    #[test]
    fn the_owner_of_the_old_file_is_kept() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("file");
        fs::write(&path, "old").expect("file");
        if std::os::unix::fs::chown(&path, Some(12345), Some(12346)).is_err() {
            return; // Only root can change the owner of a file.
        }
        replace(&path, b"new").expect("writes");
        let found = fs::metadata(&path).expect("there");
        assert_eq!((found.uid(), found.gid()), (12345, 12346));
    }

    #[test]
    fn a_device_and_a_fifo_stay_and_a_fifo_that_nobody_reads_holds_nobody_up() {
        let dir = tempfile::tempdir().expect("directory");
        // A device through a link of our own, since only root can replace /dev/null.
        let null = dir.path().join("null");
        symlink("/dev/null", &null).expect("link");
        replace(&null, b"text").expect("takes anything");
        replace(Path::new("/dev/null"), b"text").expect("takes anything");
        assert!(fs::metadata("/dev/null").expect("there").file_type().is_char_device());
        let fifo = dir.path().join("fifo");
        mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("fifo");
        replace(&fifo, b"text").expect_err("nobody reads");
        let reader = fs::OpenOptions::new().read(true).write(true).open(&fifo).expect("opens");
        replace(&fifo, b"text").expect("somebody may read");
        drop(reader);
        assert!(fs::symlink_metadata(&fifo).expect("there").file_type().is_fifo());
        let socket = dir.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("binds");
        replace(&socket, b"text").expect_err("a socket");
        assert!(fs::symlink_metadata(&socket).expect("there").file_type().is_socket());
    }

    #[test]
    fn a_directory_that_cannot_be_listed_is_no_obstacle() {
        let dir = tempfile::tempdir().expect("directory");
        let inside = dir.path().join("inside");
        fs::create_dir(&inside).expect("directory");
        fs::set_permissions(&inside, Permissions::from_mode(0o300)).expect("mode");
        replace(&inside.join("../inside/./file"), b"text").expect("writes");
        fs::set_permissions(&inside, Permissions::from_mode(0o700)).expect("mode");
        assert_eq!(fs::read_to_string(inside.join("file")).expect("there"), "text");
    }
}
