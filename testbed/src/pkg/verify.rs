//! Compares an object on the system with its record in the contents database, and corrects its attributes.

use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use nix::unistd::{Gid, Group, Uid, User};

use super::entry::{Attributes, Content, Entry, sum};

/// The differences, one line each; empty if there are none.
pub(crate) fn differences(entry: &Entry, path: &Path, contents: bool, attributes: bool) -> Vec<String> {
    let Ok(mut meta) = fs::symlink_metadata(path) else {
        return vec!["pathname does not exist".into()];
    };
    let mut found = Vec::new();
    match entry.kind {
        'd' | 'x' => {
            if meta.is_symlink() && path.is_dir() {
                // A directory of the package that is a link on this system (as /lib on some): the owner of the link
                // decides.
                return found;
            }
            if !meta.is_dir() {
                return vec!["file type <d> expected".into()];
            }
        }
        's' => {
            let target = fs::read_link(path).map(|target| target.display().to_string()).unwrap_or_default();
            let expected = entry.target.as_deref().unwrap_or_default();
            if target != expected {
                found.push(format!("symbolic link to <{expected}> expected, <{target}> actual"));
            }
            return found;
        }
        'l' => return found,
        _ if !meta.is_file() => return vec!["file type <f> expected".into()],
        _ => {}
    }
    if let (true, Some(content)) = (contents, entry.content) {
        content_differences(content, path, &meta, &mut found);
        if let Ok(again) = fs::symlink_metadata(path) {
            meta = again;
        }
    }
    if let (true, Some(expected)) = (attributes, &entry.attributes) {
        attribute_differences(expected, &meta, &mut found);
    }
    found
}

fn content_differences(expected: Content, path: &Path, meta: &Metadata, found: &mut Vec<String>) {
    let actual = match fs::read(path) {
        Ok(data) => Content { size: meta.size(), sum: sum(&data), mtime: meta.mtime() },
        Err(error) => return found.push(format!("cannot be read: {error}")),
    };
    if actual.mtime != expected.mtime {
        found.push(format!("modtime <{}> expected <{}> actual", expected.mtime, actual.mtime));
    }
    if actual.size != expected.size {
        found.push(format!("file size <{}> expected <{}> actual", expected.size, actual.size));
    }
    if actual.sum != expected.sum {
        found.push(format!("file cksum <{}> expected <{}> actual", expected.sum, actual.sum));
    }
}

fn attribute_differences(expected: &Attributes, meta: &Metadata, found: &mut Vec<String>) {
    let mode = meta.permissions().mode() & 0o7777;
    if let Some(wanted) = expected.mode.filter(|&wanted| wanted != mode) {
        found.push(format!("permissions <{wanted:04o}> expected <{mode:04o}> actual"));
    }
    let owner = User::from_uid(Uid::from_raw(meta.uid())).ok().flatten().map(|user| user.name);
    let owner = owner.unwrap_or_else(|| meta.uid().to_string());
    if expected.owner != "?" && expected.owner != owner {
        found.push(format!("owner name <{}> expected <{owner}> actual", expected.owner));
    }
    let group = Group::from_gid(Gid::from_raw(meta.gid())).ok().flatten().map(|group| group.name);
    let group = group.unwrap_or_else(|| meta.gid().to_string());
    if expected.group != "?" && expected.group != group {
        found.push(format!("group name <{}> expected <{group}> actual", expected.group));
    }
}

/// Sets the owner, group and mode of an object as in its entry, and the modification time of a file.
pub(crate) fn set_attributes(entry: &Entry, path: &Path) -> anyhow::Result<()> {
    let Some(attributes) = &entry.attributes else { return Ok(()) };
    if entry.is_dir() && fs::symlink_metadata(path)?.is_symlink() {
        return Ok(());
    }
    let name = || path.display().to_string();
    let uid = match attributes.owner.as_str() {
        "?" => None,
        owner => Some(User::from_name(owner)?.with_context(|| format!("{}: no user {owner}", name()))?.uid),
    };
    let gid = match attributes.group.as_str() {
        "?" => None,
        group => Some(Group::from_name(group)?.with_context(|| format!("{}: no group {group}", name()))?.gid),
    };
    nix::unistd::chown(path, uid, gid).with_context(name)?;
    if let Some(mode) = attributes.mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).with_context(name)?;
    }
    Ok(())
}

/// Sets the modification time of a file.
pub(crate) fn set_mtime(path: &Path, mtime: i64) -> anyhow::Result<()> {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(mtime).unwrap_or(0));
    let file = fs::File::open(path).with_context(|| path.display().to_string())?;
    file.set_times(fs::FileTimes::new().set_modified(time)).with_context(|| path.display().to_string())
}
