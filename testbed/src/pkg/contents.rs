//! The contents database, /var/sadm/install/contents: which object belongs to which packages.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::Context;

use super::Root;
use super::entry::{Entry, kind};

/// The database's record of one path.
pub(crate) struct Owned {
    pub(crate) entry: Entry,
    pub(crate) packages: Vec<String>,
}

/// The database, by absolute path.
pub(crate) struct Contents {
    file: PathBuf,
    pub(crate) paths: BTreeMap<String, Owned>,
}

impl Contents {
    pub(crate) fn read(root: &Root) -> anyhow::Result<Contents> {
        let file = root.join("/var/sadm/install/contents");
        let mut paths = BTreeMap::new();
        if file.exists() {
            let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
                let owned = parse(line).with_context(|| format!("{}: {line}", file.display()))?;
                paths.insert(owned.entry.path.clone(), owned);
            }
        }
        Ok(Contents { file, paths })
    }

    /// Writes the database to a new file and replaces the old one atomically.
    pub(crate) fn write(&self) -> anyhow::Result<()> {
        let mut text = String::new();
        for owned in self.paths.values() {
            text.push_str(&owned.entry.contents_line());
            for package in &owned.packages {
                text.push(' ');
                text.push_str(package);
            }
            text.push('\n');
        }
        let new = self.file.with_extension("new");
        if let Some(dir) = self.file.parent() {
            fs::create_dir_all(dir)?;
        }
        fs::write(&new, text).with_context(|| new.display().to_string())?;
        fs::rename(&new, &self.file).with_context(|| self.file.display().to_string())
    }

    /// The objects of a package, in the order of their paths.
    pub(crate) fn of<'a>(&'a self, package: &'a str) -> impl DoubleEndedIterator<Item = &'a Owned> {
        self.paths.values().filter(move |owned| owned.packages.iter().any(|name| name == package))
    }

    /// Records that `package` delivers `entry`, in addition to other packages with the same path. A field `?` keeps the
    /// recorded value.
    pub(crate) fn add(&mut self, mut entry: Entry, package: &str) {
        let old = self.paths.remove(&entry.path);
        let known = old.as_ref().and_then(|old| old.entry.attributes.clone());
        if let (Some(mine), Some(known)) = (&mut entry.attributes, known) {
            mine.mode = mine.mode.or(known.mode);
            for (mine, known) in [(&mut mine.owner, known.owner), (&mut mine.group, known.group)] {
                if mine == "?" {
                    *mine = known;
                }
            }
        }
        let mut packages = old.map(|old| old.packages).unwrap_or_default();
        if !packages.iter().any(|name| name == package) {
            packages.push(package.to_owned());
            packages.sort();
        }
        self.paths.insert(entry.path.clone(), Owned { entry, packages });
    }

    /// Removes the record that `package` delivers `path`.
    pub(crate) fn remove(&mut self, path: &str, package: &str) {
        if let Some(owned) = self.paths.get_mut(path) {
            owned.packages.retain(|name| name != package);
            if owned.packages.is_empty() {
                self.paths.remove(path);
            }
        }
    }
}

fn parse(line: &str) -> anyhow::Result<Owned> {
    let mut words = line.split_whitespace();
    let path = words.next().context("no path")?;
    let kind = kind(words.next())?;
    let class = words.next().context("no class")?;
    let entry = Entry::parse_rest(kind, class, path, &mut words)?;
    Ok(Owned { entry, packages: words.map(str::to_owned).collect() })
}
