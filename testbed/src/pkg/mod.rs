//! The System V package commands: pkgadd(1M), pkgrm(1M), pkgchk(1M), pkginfo(1).

pub(crate) mod add;
pub(crate) mod admin;
pub(crate) mod check;
pub(crate) mod contents;
pub(crate) mod entry;
pub(crate) mod install;
pub(crate) mod instance;
pub(crate) mod list;
pub(crate) mod object;
pub(crate) mod params;
pub(crate) mod questions;
pub(crate) mod remove;
pub(crate) mod script;
pub(crate) mod source;
pub(crate) mod verify;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// The root that a command works on: `/`, or the directory given with -R.
pub(crate) struct Root(Option<PathBuf>);

impl Root {
    /// Reads the operand of -R, which pkgadd(1M) requires to be a full path name; `/` is the same as no -R.
    pub(crate) fn new(operand: Option<PathBuf>) -> anyhow::Result<Root> {
        match operand {
            Some(path) if !path.is_absolute() => bail!("-R {}: not a full path name", path.display()),
            Some(path) if !path.is_dir() => bail!("-R {}: no such directory", path.display()),
            Some(path) if path != Path::new("/") => Ok(Root(Some(path))),
            _ => Ok(Root(None)),
        }
    }

    /// The directory of -R, if the root is not `/`.
    pub(crate) fn alternate(&self) -> Option<&Path> {
        self.0.as_deref()
    }

    /// The path, seen from here, of an absolute path of the installed system.
    pub(crate) fn join(&self, path: &str) -> PathBuf {
        match &self.0 {
            Some(root) => root.join(path.trim_start_matches('/')),
            None => PathBuf::from(path),
        }
    }

    /// The directory that records an installed package.
    pub(crate) fn package(&self, name: &str) -> PathBuf {
        self.join("/var/sadm/pkg").join(name)
    }

    /// The names of all packages that are fully or partially installed.
    pub(crate) fn packages(&self) -> anyhow::Result<Vec<String>> {
        let dir = self.join("/var/sadm/pkg");
        let mut names = Vec::new();
        if dir.is_dir() {
            for entry in dir.read_dir().with_context(|| dir.display().to_string())? {
                let entry = entry?;
                if entry.path().join("pkginfo").is_file() {
                    names.push(entry.file_name().to_string_lossy().into_owned());
                }
            }
        }
        names.sort();
        Ok(names)
    }
}

/// The file that marks a package as being installed, or as left partially installed by a failure.
pub(crate) const PARTIAL: &str = "!I-Lock!";
