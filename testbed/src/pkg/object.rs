//! Installs an object of a package, and audits it afterwards.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, bail};

use super::entry::{Content, Entry, sum};
use super::verify;

/// Creates an object other than a file.
pub(crate) fn create(entry: &Entry, path: &Path) -> anyhow::Result<()> {
    let name = || path.display().to_string();
    if entry.is_dir() {
        if !path.is_dir() {
            fs::create_dir_all(path).with_context(name)?;
        }
        return Ok(());
    }
    if fs::symlink_metadata(path).is_ok() {
        fs::remove_file(path).with_context(name)?;
    }
    let target = entry.target.as_deref().unwrap_or_default();
    match entry.kind {
        's' => symlink(target, path).with_context(name),
        _ => fs::hard_link(path.parent().unwrap_or(path).join(target), path).with_context(name),
    }
}

/// Installs a file atomically, so that a running program keeps the old one.
pub(crate) fn copy(file: &Path, path: &Path) -> anyhow::Result<()> {
    let name = || path.display().to_string();
    let dir = path.parent().context("no directory")?;
    fs::create_dir_all(dir).with_context(name)?;
    let new = tempfile::NamedTempFile::new_in(dir).with_context(name)?;
    fs::copy(file, new.path()).with_context(|| file.display().to_string())?;
    new.persist(path).with_context(name)?;
    Ok(())
}

/// Audits an object after its class: attributes are corrected, wrong contents are an error.
pub(crate) fn settle(entry: &Entry, path: &Path) -> anyhow::Result<bool> {
    if fs::symlink_metadata(path).is_err() {
        eprintln!(
            "ERROR: attribute verification of <{}> failed\n    pathname does not exist",
            path.display()
        );
        return Ok(false);
    }
    verify::set_attributes(entry, path)?;
    if let (Some(content), true) = (entry.content, entry.kind == 'f') {
        let data = fs::read(path)?;
        if (u64::try_from(data.len())?, sum(&data)) == (content.size, content.sum) {
            verify::set_mtime(path, content.mtime)?;
        }
    }
    let found = verify::differences(entry, path, entry.kind == 'f', true);
    if !found.is_empty() {
        eprintln!("ERROR: content verification of <{}> failed\n    {}", path.display(), found.join("\n    "));
    }
    Ok(found.is_empty())
}

/// Compares a file of the package with its line in pkgmap.
pub(crate) fn intact(file: &Path, content: Content) -> anyhow::Result<()> {
    let data = fs::read(file).with_context(|| file.display().to_string())?;
    let (size, cksum) = (u64::try_from(data.len())?, sum(&data));
    if (size, cksum) != (content.size, content.sum) {
        bail!(
            "ERROR: source path <{}> is corrupt: size {} and cksum {} expected, {size} and {cksum} actual",
            file.display(),
            content.size,
            content.sum
        );
    }
    Ok(())
}
