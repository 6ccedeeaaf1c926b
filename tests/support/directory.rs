//! Temporary directories for tests, and files in them.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use tempfile::TempDir;

/// A directory that is removed when dropped.
#[derive(Debug)]
pub(crate) struct Directory(TempDir);

/// A directory for a test; it is readable for everybody.
pub(crate) fn directory() -> Directory {
    let dir = tempfile::Builder::new().prefix("pen-it-").tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    Directory(dir)
}

impl Directory {
    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The path of a file in it, as text for options.
    pub(crate) fn file(&self, name: &str) -> String {
        self.path().join(name).to_str().unwrap().to_owned()
    }

    /// Writes a file in it.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        fs::write(self.file(name), text).unwrap();
        self.file(name)
    }

    /// The text of a file in it.
    #[track_caller]
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }
}

/// Changes the owner of a file or directory to the user `nobody`.
pub(crate) fn give_to_nobody(path: &Path) {
    let nobody = nix::unistd::User::from_name("nobody").unwrap().expect("a user nobody");
    chown(path, Some(nobody.uid.as_raw()), Some(nobody.gid.as_raw())).unwrap();
}
