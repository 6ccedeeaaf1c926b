//! `NAME=value` lines: pkginfo(4), admin(4), the file a checkinstall script writes.

use std::fs;
use std::path::Path;

use anyhow::Context;

/// The lines of a parameter file, in order; of several with the same name the last one applies.
#[derive(Debug, Clone, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    pub(crate) fn read(path: &Path) -> anyhow::Result<Params> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Ok(Params::parse(&text))
    }

    pub(crate) fn parse(text: &str) -> Params {
        let mut params = Params::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some((name, value)) = line.split_once('=') {
                let value = value.trim();
                let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
                params.set(name.trim(), bare);
            }
        }
        params
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        match self.0.iter_mut().find(|(key, _)| key == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text: String = self.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        fs::write(path, text).with_context(|| path.display().to_string())
    }
}
