//! The pid file: the number alone, without an end of line, there when pen serves and gone when it ends.
//!
//! It is written after the change of user and inside the jail, like in C pen, so that what wrote it may remove it. It
//! appears at once with its content (a temporary file is renamed), so nobody reads half a number, and nothing planted
//! in a directory that others may write to is followed or written through: a symbolic link counts only if it is
//! root's or pen's own. Where pen may not write to the directory, a file that the administrator has made there for it
//! is written in place, and emptied at the end instead of removed. A device or a named pipe is written to and stays.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;

use super::error::context;

/// As many symbolic links in a row as pen follows; systems have 8 (POSIX, SYMLOOP_MAX) to 40.
const LINKS: usize = 8;

/// A pid file that was written. Dropping it removes the file, unless another process has put its number there since.
#[derive(Debug)]
pub struct PidFile {
    /// Absolute; `None` for what is no file to remove.
    path: Option<PathBuf>,
}

impl PidFile {
    /// Writes this process's number to `path`, over what was there.
    ///
    /// # Errors
    /// Names the file. Permission, a full file system, a directory of that name, a symbolic link of somebody else.
    pub fn write(path: &Path) -> io::Result<Self> {
        Self::try_write(path)
            .map_err(|error| context(format_args!("cannot write pid file {}", path.display()), error))
    }

    fn try_write(path: &Path) -> io::Result<Self> {
        let number = process::id().to_string();
        let Some(path) = resolve(std::path::absolute(path)?)? else {
            OpenOptions::new().write(true).open(path)?.write_all(number.as_bytes())?;
            return Ok(Self { path: None });
        };
        match replace(&path, &number) {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
                ) =>
            {
                // The directory is not ours; a file in it may be.
                let mut file = existing(&path).map_err(|_| error)?;
                file.set_len(0)?;
                file.write_all(number.as_bytes())?;
            }
            other => other?,
        }
        Ok(Self { path: Some(path) })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let Some(path) = &self.path else { return };
        let Ok(file) = existing(path) else { return };
        if fs::read_to_string(path).is_ok_and(|text| text.trim_end() == process::id().to_string())
            && fs::remove_file(path).is_err()
        {
            // At least it must not name a process that may be anybody's later. Nothing is left to tell of a failure.
            let _ = file.set_len(0);
        }
    }
}

/// The plain file that `path` means, which need not exist; `None` for a device or a named pipe, to be written as it is.
fn resolve(mut path: PathBuf) -> io::Result<Option<PathBuf>> {
    for _ in 0..LINKS {
        let found = match fs::symlink_metadata(&path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(path)),
            Err(error) => return Err(error),
        };
        if found.is_file() {
            return Ok(Some(path));
        }
        if found.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if !found.is_symlink() {
            return Ok(None);
        }
        if found.uid() != 0 && found.uid() != nix::unistd::geteuid().as_raw() {
            return Err(io::Error::other(format!(
                "{} is a symbolic link that belongs to another user",
                path.display()
            )));
        }
        if fs::metadata(&path).is_ok_and(|end| is_stream(&end)) {
            // As /dev/stdout is, whose links in /proc lead to no path.
            return Ok(None);
        }
        let target = fs::read_link(&path)?;
        path = path.parent().unwrap_or(Path::new("/")).join(target);
    }
    Err(io::Error::other("too many symbolic links"))
}

fn is_stream(found: &Metadata) -> bool {
    found.file_type().is_char_device() || found.file_type().is_fifo()
}

/// Puts a new file in the place of whatever has that name.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let temporary = path.with_file_name(format!(".{}.{}", name.display(), process::id()));
    let create = || OpenOptions::new().write(true).create_new(true).mode(0o644).open(&temporary);
    let mut file = match create() {
        // What an earlier process of the same number left when it was killed.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(&temporary)?;
            create()?
        }
        other => other?,
    };
    let done = file.write_all(text.as_bytes()).and_then(|()| fs::rename(&temporary, path));
    if done.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    done
}

/// Opens the plain file that is there, without following a link or touching its content.
fn existing(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{lchown, symlink};

    use super::*;

    fn mine() -> String {
        process::id().to_string()
    }

    #[test]
    fn holds_the_number_alone_and_goes_away() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("pen.pid");
        fs::write(&path, "4711 and more text than the number").expect("an old one");
        let file = PidFile::write(&path).expect("writes");
        assert_eq!(fs::read_to_string(&path).expect("there"), mine());
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o7777 & !0o022, 0o644);
        assert_eq!(fs::read_dir(dir.path()).expect("directory").count(), 1, "no temporary file is left");
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn leaves_the_file_of_a_successor() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("pen.pid");
        let file = PidFile::write(&path).expect("writes");
        fs::write(&path, "1").expect("the successor writes");
        drop(file);
        assert_eq!(fs::read_to_string(&path).expect("still there"), "1");
    }

    #[test]
    fn follows_a_link_of_its_own() {
        let dir = tempfile::tempdir().expect("directory");
        let (link, real) = (dir.path().join("link"), dir.path().join("real"));
        symlink("real", &link).expect("link");
        let file = PidFile::write(&link).expect("writes");
        assert_eq!(fs::read_to_string(&real).expect("written"), mine());
        drop(file);
        assert!(!real.exists() && link.is_symlink());
    }

    #[test]
    fn refuses_a_link_of_another_user() {
        let dir = tempfile::tempdir().expect("directory");
        let (link, real) = (dir.path().join("link"), dir.path().join("real"));
        fs::write(&real, "precious").expect("file");
        symlink(&real, &link).expect("link");
        if lchown(&link, Some(12345), Some(12345)).is_err() {
            return; // Only root can lay this trap.
        }
        let error = PidFile::write(&link).expect_err("a trap");
        assert!(error.to_string().contains("another user"), "{error}");
        assert_eq!(fs::read_to_string(&real).expect("there"), "precious");
    }

    #[test]
    fn a_device_stays() {
        drop(PidFile::write(Path::new("/dev/null")).expect("takes anything"));
        assert!(fs::metadata("/dev/null").expect("there").file_type().is_char_device());
    }

    #[test]
    fn names_the_file_in_errors() {
        let dir = tempfile::tempdir().expect("directory");
        let missing = dir.path().join("no/pen.pid");
        let error = PidFile::write(&missing).expect_err("no such directory");
        assert!(
            error.to_string().contains(&format!("cannot write pid file {}", missing.display())),
            "{error}"
        );
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(PidFile::write(dir.path()).is_err(), "a directory");
    }
}
