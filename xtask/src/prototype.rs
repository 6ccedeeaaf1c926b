//! The prototype file, see prototype(4): the objects of the package, with owner and mode.

use std::fs;
use std::path::Path;

use crate::Result;

/// One object of the package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// `i`: a file for pkgadd itself, located beside the prototype.
    Info { name: String },
    /// `d`, `f` or `e`: a directory, a file, or a file that its class script edits or keeps. A mode `None`, and an
    /// owner or group `?`, keep the present value.
    Object { kind: Kind, class: String, path: String, mode: Option<u32>, owner: String, group: String },
    /// `s`: a symbolic link.
    Link { class: String, path: String, to: String },
}

/// The type of an object: the letter of prototype(4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File,
    Edited,
}

impl Kind {
    pub(crate) fn letter(self) -> char {
        match self {
            Self::Directory => 'd',
            Self::File => 'f',
            Self::Edited => 'e',
        }
    }
}

impl Entry {
    /// The path by which pkgmk sorts.
    pub(crate) fn path(&self) -> &str {
        match self {
            Self::Info { name } => name,
            Self::Object { path, .. } | Self::Link { path, .. } => path,
        }
    }
}

/// Reads a prototype and the files that it includes, in order.
///
/// # Errors
/// A line is invalid or repeats a path, as `FILE:LINE: reason`.
pub(crate) fn read(path: &Path) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    read_into(path, &mut entries)?;
    Ok(entries)
}

fn read_into(path: &Path, entries: &mut Vec<Entry>) -> Result<()> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    for (number, line) in text.lines().enumerate() {
        let fail = |reason: String| format!("{}:{}: {reason}", path.display(), number + 1);
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(file) = line.strip_prefix("!include ") {
            read_into(&path.with_file_name(file.trim()), entries)?;
            continue;
        }
        let entry = parse(line).map_err(&fail)?;
        if entries.iter().any(|e| e.path() == entry.path()) {
            return Err(fail(format!("{} is named twice", entry.path())).into());
        }
        entries.push(entry);
    }
    Ok(())
}

fn parse(line: &str) -> std::result::Result<Entry, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match *words.as_slice() {
        ["i", name] => Ok(Entry::Info { name: name.to_owned() }),
        ["s", class, link] => match link.split_once('=') {
            Some((path, to)) => {
                Ok(Entry::Link { class: class.to_owned(), path: relative(path)?, to: to.to_owned() })
            }
            None => Err(format!("expected PATH=TARGET, got '{link}'")),
        },
        [kind @ ("d" | "f" | "e"), class, path, mode, owner, group] => Ok(Entry::Object {
            kind: match kind {
                "d" => Kind::Directory,
                "f" => Kind::File,
                _ => Kind::Edited,
            },
            class: class.to_owned(),
            path: relative(path)?,
            mode: match mode {
                "?" if kind == "d" => None,
                _ => Some(octal(mode)?),
            },
            owner: owner.to_owned(),
            group: group.to_owned(),
        }),
        _ => Err(format!(
            "expected i NAME, s CLASS PATH=TARGET or d|f|e CLASS PATH MODE OWNER GROUP, got '{line}'"
        )),
    }
}

fn octal(mode: &str) -> std::result::Result<u32, String> {
    let mode_of = |text| u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
    mode_of(mode).ok_or_else(|| format!("expected an octal mode, got '{mode}'"))
}

/// Every path is relative to BASEDIR: an absolute one could not follow `pkgadd -R` on every release.
fn relative(path: &str) -> std::result::Result<String, String> {
    if path.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return Err(format!("expected a plain path below BASEDIR, got '{path}'"));
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_each_kind_of_line() {
        assert_eq!(parse("i copyright"), Ok(Entry::Info { name: "copyright".into() }));
        assert_eq!(
            parse("f none usr/bin/pen 555 root bin"),
            Ok(Entry::Object {
                kind: Kind::File,
                class: "none".into(),
                path: "usr/bin/pen".into(),
                mode: Some(0o555),
                owner: "root".into(),
                group: "bin".into(),
            })
        );
        assert!(matches!(parse("s none usr/lib/pen=../bin/pen"), Ok(Entry::Link { .. })));
        assert!(matches!(parse("d none usr/share/doc ? ? ?"), Ok(Entry::Object { mode: None, .. })));
    }

    #[test]
    fn refuses_what_pkgmk_would_misread() {
        for line in [
            "f none /usr/bin/pen 555 root bin",
            "f none usr/../pen 555 root bin",
            "f none usr/bin/pen 999 root bin",
            "f none usr/bin/pen",
            "f none usr/bin/pen ? root bin",
            "s none usr/lib/pen",
            "p none dev/pen 644 root sys",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
