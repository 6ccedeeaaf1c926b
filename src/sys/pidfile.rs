//! The pid file: only the number, without a newline. It exists while pen serves and is removed at its end.
//!
//! It is written after the change of user and inside the jail, as in C pen, so that pen may remove it. It appears
//! complete (a temporary file is renamed), so that no reader gets half a number. Files and links planted in a directory
//! that others may write to are neither followed nor written through: a symbolic link is followed only if it belongs to
//! root or pen's user. If pen may not write to the directory, a file that the administrator created there for it is
//! written in place, and emptied at the end instead of removed. A device or a named pipe is written to and kept.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process;

use rustix::fs::{AtFlags, Mode, OFlags, unlinkat};

use super::atomic_file::{exchange, is_stream, open_stream};
use super::error::context;
use super::resolved_path::ResolvedPath;

/// A written pid file. Dropping it removes the file, unless another process has written its number there.
#[derive(Debug)]
pub struct PidFile {
    /// The absolute path; `None` if the file must not be removed.
    path: Option<PathBuf>,
}

impl PidFile {
    /// Writes the number of this process to `path`, replacing the contents.
    ///
    /// # Errors
    /// With the file's name: no permission, a full file system, a directory of that name, a symbolic link of another
    /// user.
    pub fn write(path: &Path) -> io::Result<Self> {
        Self::try_write(path)
            .map_err(|error| context(format_args!("cannot write pid file {}", path.display()), error))
    }

    fn try_write(path: &Path) -> io::Result<Self> {
        let number = process::id().to_string();
        let path = std::path::absolute(path)?;
        let target = ResolvedPath::find(&path)?;
        if is_stream(&target) {
            open_stream(&target)?.write_all(number.as_bytes())?;
            return Ok(Self { path: None });
        }
        match exchange(&target, |file| file.write_all(number.as_bytes()), false) {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
                ) =>
            {
                // The directory does not belong to pen's user; a file in it may.
                let mut file = existing(&target, OFlags::WRONLY).map_err(|_| error)?;
                file.set_len(0)?;
                file.write_all(number.as_bytes())?;
            }
            other => _ = other?,
        }
        Ok(Self { path: Some(path) })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let Some(path) = &self.path else { return };
        let Ok(target) = ResolvedPath::find(path) else { return };
        let Ok(file) = existing(&target, OFlags::RDWR) else { return };
        let mut text = String::new();
        if (&file).take(64).read_to_string(&mut text).is_ok()
            && text.trim_end() == process::id().to_string()
            && unlinkat(target.directory(), target.name(), AtFlags::empty()).is_err()
        {
            // The number must not remain: another process may get it later. A failure here could not be reported
            // anywhere.
            let _ = file.set_len(0);
        }
    }
}

/// Opens the existing regular file without changing its contents.
fn existing(target: &ResolvedPath, flags: OFlags) -> io::Result<File> {
    let file = File::from(target.open(flags, Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{FileTypeExt, MetadataExt, lchown, symlink};

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
            return; // Only root can set up this attack.
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
