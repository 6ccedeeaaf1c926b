//! Writing a file so that whoever reads it meets the old text or the new one, never a part.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// Replaces the text of `path`, which keeps its owner, group and mode; a symbolic link is followed. A new file gets the
/// mode that the umask leaves of 0644.
///
/// # Errors
/// What the system refused, with the file's name. Pen may lack the right to write to the directory or to give the new
/// file the owner of the old one, once it has dropped its privileges. The old file is then as it was.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let context =
        |e: io::Error| io::Error::new(e.kind(), format!("{}: cannot be written: {e}", path.display()));
    let target = match fs::canonicalize(path) {
        Ok(target) => target,
        Err(e) if e.kind() == io::ErrorKind::NotFound => PathBuf::from(path),
        Err(e) => return Err(context(e)),
    };
    let (Some(name), dir) = (target.file_name(), target.parent().filter(|d| !d.as_os_str().is_empty()))
    else {
        return Err(context(io::ErrorKind::IsADirectory.into()));
    };
    let dir = dir.unwrap_or(Path::new("."));
    let temporary = dir.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let written = write(&temporary, &target, dir, text);
    if written.is_err() {
        // It may never have been made.
        _ = fs::remove_file(&temporary);
    }
    written.map_err(context)
}

fn write(temporary: &Path, target: &Path, dir: &Path, text: &str) -> io::Result<()> {
    let old = match fs::metadata(target) {
        Ok(old) => Some(old),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(e),
    };
    // What an earlier pen left when it was killed; create_new follows no link.
    _ = fs::remove_file(temporary);
    let mode = if old.is_some() { 0o600 } else { 0o644 };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(temporary)?;
    file.write_all(text.as_bytes())?;
    if let Some(old) = old {
        let new = file.metadata()?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            chown(temporary, Some(old.uid()), Some(old.gid()))?;
        }
        file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o7777))?;
    }
    file.sync_all()?;
    fs::rename(temporary, target)?;
    // The rename itself is to survive a crash. Some file systems cannot sync a directory, which loses nothing.
    _ = File::open(dir).and_then(|d| d.sync_all());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_modes_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::write(&real, "old").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        replace(&link, "new").unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&real).unwrap().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_cannot_be_written_names_the_file() {
        for path in ["/nonexistent/dir/x", "/"] {
            assert!(replace(Path::new(path), "x").unwrap_err().to_string().starts_with(path));
        }
    }
}
