//! Reads the files that pen is given: configuration, certificates, keys, OCSP responses, access lists.
//!
//! The given file may be a FIFO, on which open(2) waits for a writer, or an endless device, and the thread that reads
//! it may be the one that handles signals. So a file is opened without waiting, must be a regular file, and may not be
//! larger than [`SIZE_MAX`].

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// The maximum size of a file in bytes.
const SIZE_MAX: u64 = 16 << 20;

/// Reads a regular file.
///
/// # Errors
/// See open(2) and read(2); not a regular file, or too large.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    bounded(open_regular(path)?)
}

/// Whether [`read`] may read a file.
///
/// # Errors
/// See open(2); not a regular file.
pub fn check_regular(path: &Path) -> io::Result<()> {
    open_regular(path).map(drop)
}

fn open_regular(path: &Path) -> io::Result<File> {
    let file = open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(unsuitable("expected a regular file")) }
}

/// Like [`read`], but before pen serves, when waiting for a writer is harmless: a FIFO or a device such as `/dev/stdin`
/// is accepted.
///
/// # Errors
/// See [`read`].
pub fn read_at_start(path: &Path) -> io::Result<Vec<u8>> {
    let kind = std::fs::metadata(path)?.file_type();
    if kind.is_fifo() || kind.is_char_device() || kind.is_socket() {
        bounded(File::open(path)?)
    } else {
        read(path)
    }
}

/// Whether a file, or a directory, may be opened for reading.
///
/// # Errors
/// See open(2).
pub fn check_readable(path: &Path) -> io::Result<()> {
    open(path).map(drop)
}

/// Whether two names refer to the same file, or would if it were there.
pub fn is_same_place(a: &Path, b: &Path) -> bool {
    let file = |path: &Path| std::fs::metadata(path).map(|found| (found.dev(), found.ino()));
    let place = |path: &Path| Some((file(path.parent()?).ok()?, path.file_name()?.to_owned()));
    a == b
        || matches!((file(a), file(b)), (Ok(a), Ok(b)) if a == b)
        || matches!((place(a), place(b)), (Some(a), Some(b)) if a == b)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

fn bounded(file: File) -> io::Result<Vec<u8>> {
    // Room for the whole file, and a byte to detect the end: growing the buffer would leave copies of its contents,
    // which may be a key. Limited to the maximum size, whatever size the file reports.
    let size = file.metadata()?.len().min(SIZE_MAX) + 1;
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    file.take(SIZE_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > SIZE_MAX {
        return Err(unsuitable("expected at most 16 MiB"));
    }
    Ok(bytes)
}

fn unsuitable(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

#[cfg(test)]
mod tests {
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    #[test]
    fn a_place_may_be_written_in_several_ways() {
        let dir = tempfile::tempdir().expect("directory");
        let (link, there) = (dir.path().join("link"), dir.path().join("socket"));
        std::os::unix::fs::symlink(dir.path(), &link).expect("link");
        for same in [there.clone(), link.join("socket"), dir.path().join("link/./socket")] {
            assert!(is_same_place(&there, &same), "{}", same.display());
        }
        let other = dir.path().join("other");
        assert!(!is_same_place(&there, &other));
        std::os::unix::fs::symlink("socket", &other).expect("link");
        std::fs::write(&there, "").expect("file");
        assert!(is_same_place(&there, &other));
    }

    #[test]
    fn regular_files_are_read_and_nothing_else() {
        let dir = tempfile::tempdir().expect("directory");
        let (file, fifo) = (dir.path().join("file"), dir.path().join("fifo"));
        std::fs::write(&file, "text").expect("written");
        assert_eq!(read(&file).expect("a file"), b"text");
        mkfifo(&fifo, Mode::S_IRWXU).expect("fifo");
        // None of these blocks.
        for path in [&fifo, Path::new("/dev/zero"), dir.path()] {
            let error = read(path).expect_err("no file");
            assert!(error.to_string().contains("expected a regular file"), "{error}");
            check_readable(path).expect("opens");
        }
        assert_eq!(read(&dir.path().join("none")).expect_err("missing").kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_file_is_read_into_memory_that_does_not_grow() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("key");
        for size in [0, 1, 1700, 100_000] {
            std::fs::write(&path, vec![b'x'; size]).expect("written");
            let bytes = read(&path).expect("a file");
            assert_eq!((bytes.len(), bytes.capacity()), (size, size + 1));
        }
    }

    #[test]
    fn at_the_start_a_fifo_is_read_to_its_end_and_a_device_as_far_as_the_bound() {
        let dir = tempfile::tempdir().expect("directory");
        let fifo = dir.path().join("fifo");
        mkfifo(&fifo, Mode::S_IRWXU).expect("fifo");
        let writer = std::thread::spawn({
            let fifo = fifo.clone();
            move || std::fs::write(fifo, "text")
        });
        assert_eq!(read_at_start(&fifo).expect("a fifo"), b"text");
        writer.join().expect("thread").expect("written");
        let error = read_at_start(Path::new("/dev/zero")).expect_err("has no end");
        assert!(error.to_string().contains("16 MiB"), "{error}");
    }

    #[test]
    fn the_bound_is_a_size_that_may_be_had() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("large");
        let file = File::create(&path).expect("created");
        file.set_len(SIZE_MAX).expect("room");
        assert_eq!(read(&path).expect("as large as may be").len() as u64, SIZE_MAX);
        file.set_len(SIZE_MAX + 1).expect("room");
        assert!(read(&path).expect_err("too large").to_string().contains("16 MiB"));
    }
}
