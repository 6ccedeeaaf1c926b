//! One object of a package: a line of pkgmap(4) or of the contents database.

use std::fmt::Write as _;

use anyhow::{Context, bail};

/// Size, System V checksum and modification time of a regular file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) size: u64,
    pub(crate) sum: u32,
    pub(crate) mtime: i64,
}

/// Mode, owner and group; `?` in the line, `None` here, keeps the present value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) mode: Option<u32>,
    pub(crate) owner: String,
    pub(crate) group: String,
}

/// An object of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The letter of pkgmap(4): d and x directories, f file, e editable, v volatile, s symbolic and l hard link,
    /// i information file.
    pub(crate) kind: char,
    pub(crate) class: String,
    /// As in the line: relative to BASEDIR, or absolute.
    pub(crate) path: String,
    /// The target of a link.
    pub(crate) target: Option<String>,
    pub(crate) attributes: Option<Attributes>,
    pub(crate) content: Option<Content>,
}

impl Entry {
    pub(crate) fn is_file(&self) -> bool {
        matches!(self.kind, 'f' | 'e' | 'v')
    }

    pub(crate) fn is_dir(&self) -> bool {
        matches!(self.kind, 'd' | 'x')
    }

    /// Whether another package's entry for the same path is the same object; `?` agrees with anything.
    pub(crate) fn agrees_with(&self, other: &Entry) -> bool {
        let mine_and_theirs = self.attributes.as_ref().zip(other.attributes.as_ref());
        let attributes = mine_and_theirs.is_none_or(|(mine, theirs)| {
            let name = |mine: &str, theirs: &str| mine == "?" || theirs == "?" || mine == theirs;
            let mode = mine.mode.zip(theirs.mode).is_none_or(|(mine, theirs)| mine == theirs);
            mode && name(&mine.owner, &theirs.owner) && name(&mine.group, &theirs.group)
        });
        (self.kind == other.kind || self.is_dir() && other.is_dir())
            && attributes
            && self.content == other.content
            && self.target == other.target
    }

    /// Reads a line of pkgmap(4); None for the first line (`:`) and comments.
    pub(crate) fn parse_map(line: &str) -> anyhow::Result<Option<Entry>> {
        let mut words = line.split_whitespace().peekable();
        match words.peek() {
            None => return Ok(None),
            Some(word) if word.starts_with([':', '#']) => return Ok(None),
            // The part number is optional: the default is 1.
            Some(word) if word.parse::<u32>().is_ok() => _ = words.next(),
            Some(_) => {}
        }
        let kind = kind(words.next()).with_context(|| format!("pkgmap: {line}"))?;
        let class = if kind == 'i' { "none" } else { words.next().context("no class")? };
        let path = words.next().with_context(|| format!("pkgmap: {line}: no path"))?;
        Entry::parse_rest(kind, class, path, &mut words).with_context(|| format!("pkgmap: {line}")).map(Some)
    }

    /// Reads the fields after kind, class and path; their number depends on the kind.
    pub(crate) fn parse_rest<'a>(
        kind: char,
        class: &str,
        path: &str,
        words: &mut impl Iterator<Item = &'a str>,
    ) -> anyhow::Result<Entry> {
        let (path, target) = match (kind, path.split_once('=')) {
            ('s' | 'l', Some((path, target))) => (path, Some(target.to_owned())),
            ('s' | 'l', None) => bail!("a link without =TARGET"),
            _ => (path, None),
        };
        let mut word = |what: &'static str| words.next().context(what);
        let attributes = match kind {
            's' | 'l' | 'i' => None,
            _ => {
                let mode = word("no mode")?;
                let mode = match mode {
                    "?" => None,
                    _ => Some(u32::from_str_radix(mode, 8).with_context(|| format!("mode {mode}"))?),
                };
                let (owner, group) = (word("no owner")?.to_owned(), word("no group")?.to_owned());
                Some(Attributes { mode, owner, group })
            }
        };
        let content = match kind {
            'f' | 'e' | 'v' | 'i' => Some(Content {
                size: word("no size")?.parse().context("size")?,
                sum: word("no checksum")?.parse().context("checksum")?,
                mtime: word("no modification time")?.parse().context("modification time")?,
            }),
            _ => None,
        };
        Ok(Entry { kind, class: class.to_owned(), path: path.to_owned(), target, attributes, content })
    }

    /// The line of the contents database, without the packages: path, kind, class and the rest.
    pub(crate) fn contents_line(&self) -> String {
        let mut line = self.path.clone();
        if let Some(target) = &self.target {
            _ = write!(line, "={target}");
        }
        _ = write!(line, " {} {}", self.kind, self.class);
        if let Some(Attributes { mode, owner, group }) = &self.attributes {
            match mode {
                Some(mode) => _ = write!(line, " {mode:04o} {owner} {group}"),
                None => _ = write!(line, " ? {owner} {group}"),
            }
        }
        if let Some(Content { size, sum, mtime }) = self.content {
            _ = write!(line, " {size} {sum} {mtime}");
        }
        line
    }
}

/// Reads the kind of an object and refuses kinds that the stand-ins do not support (devices, pipes).
pub(crate) fn kind(word: Option<&str>) -> anyhow::Result<char> {
    match word {
        Some(word @ ("d" | "x" | "f" | "e" | "v" | "s" | "l" | "i")) => {
            Ok(word.chars().next().unwrap_or('f'))
        }
        Some(word) => bail!("object type {word}: only d, x, f, e, v, s, l and i are known here"),
        None => bail!("no object type"),
    }
}

/// The System V checksum of sum(1): the sum of all bytes, its high half folded twice onto the low one.
pub(crate) fn sum(data: &[u8]) -> u32 {
    let total = data.iter().fold(0u32, |sum, &byte| sum.wrapping_add(u32::from(byte)));
    let folded = (total & 0xffff) + (total >> 16);
    (folded & 0xffff) + (folded >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_each_kind_of_line() {
        let file = Entry::parse_map("1 f none usr/bin/pen 0555 root bin 10 20 30").unwrap().unwrap();
        assert_eq!(file.contents_line(), "usr/bin/pen f none 0555 root bin 10 20 30");
        let link = Entry::parse_map("1 s none usr/bin/a=./b").unwrap().unwrap();
        assert_eq!(link.contents_line(), "usr/bin/a=./b s none");
        let dir = Entry::parse_map("1 d none etc ? ? ?").unwrap().unwrap();
        assert_eq!(dir.attributes.unwrap().mode, None);
        let info = Entry::parse_map("1 i pkginfo 1 2 3").unwrap().unwrap();
        assert_eq!((info.kind, info.path.as_str()), ('i', "pkginfo"));
        assert!(Entry::parse_map(": 1 30").unwrap().is_none());
        assert!(Entry::parse_map("1 f none usr/bin/pen 0555 root bin 10").is_err());
        assert!(Entry::parse_map("1 p none dev/pipe 0555 root bin").is_err());
    }

    #[test]
    fn sums_as_sum_does() {
        // `printf 'hello\n' | sum -s` prints 542.
        assert_eq!(sum(b"hello\n"), 542);
        assert_eq!(sum(&[0xff; 600]), 153_000 % 65_535);
    }
}
