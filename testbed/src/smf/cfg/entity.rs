//! Subcommands on services and instances: select, add, delete, list, validate, import.

use std::path::Path;

use anyhow::{Context, bail};

use super::super::fmri::{Fmri, entity};
use super::super::repo::{Instance, Repository, View};
use super::super::{auth, door, import, manifest, template};
use super::Session;

impl Session {
    pub(super) fn select(&mut self, operand: &str) -> anyhow::Result<()> {
        let repo = Repository::read()?;
        let child = self.selected.as_ref().filter(|fmri| fmri.instance.is_none()).and_then(|service| {
            let fmri = Fmri::new(&service.service, Some(operand));
            repo.instance(&fmri).map(|_| fmri)
        });
        self.selected = Some(child.map_or_else(|| entity(&repo, operand), Ok)?);
        Ok(())
    }

    pub(super) fn add(&self, name: &str) -> anyhow::Result<()> {
        let good = |letter: char| letter.is_ascii_alphanumeric() || "_-.,".contains(letter);
        let is_name = name.starts_with(|letter: char| letter.is_ascii_alphabetic())
            && name.chars().all(|c| good(c) || c == '/');
        if !is_name || (self.selected.is_some() && name.contains('/')) {
            bail!("\"{name}\" is not a valid name");
        }
        auth::structure()?;
        Repository::update(|repo| match &self.selected {
            None => match repo.services.contains_key(name) {
                true => bail!("svc:/{name} already exists"),
                false => {
                    repo.services.entry(name.to_owned()).or_default();
                    Ok(())
                }
            },
            Some(fmri @ Fmri { instance: Some(_), .. }) => bail!("{fmri}: an instance has no children"),
            Some(fmri) => {
                let service = repo.services.get_mut(&fmri.service).context("no such service")?;
                if service.instances.contains_key(name) {
                    bail!("{fmri}:{name} already exists");
                }
                service.instances.insert(name.to_owned(), Instance::default());
                Ok(())
            }
        })
    }

    pub(super) fn delete(&self, operand: &str, force: bool) -> anyhow::Result<()> {
        auth::structure()?;
        let repo = Repository::read()?;
        let child = self.selected.as_ref().map(|fmri| Fmri::new(&fmri.service, Some(operand)));
        let fmri = match child.filter(|fmri| repo.instance(fmri).is_some()) {
            Some(fmri) => fmri,
            None => entity(&repo, operand)?,
        };
        let all: Vec<Fmri> =
            repo.instances().filter(|other| *other == fmri || other.of_service() == fmri).collect();
        for instance in &all {
            if matches!(repo.state(instance, "state"), Some("online" | "degraded")) && !force {
                bail!("Instance \"{instance}\" is online: disable it first, or delete -f");
            }
        }
        Repository::update(|repo| {
            match (&fmri.instance, repo.services.get_mut(&fmri.service)) {
                (Some(name), Some(service)) => _ = service.instances.remove(name),
                _ => _ = repo.services.remove(&fmri.service),
            }
            Ok(())
        })?;
        for instance in all {
            door::tell(&format!("delete {instance}"));
        }
        Ok(())
    }

    pub(super) fn list(&self) -> anyhow::Result<()> {
        let repo = Repository::read()?;
        match &self.selected {
            None => repo.services.keys().for_each(|name| println!("{name}")),
            Some(fmri) => {
                println!(":properties");
                let service = repo.services.get(&fmri.service).filter(|_| fmri.instance.is_none());
                service
                    .into_iter()
                    .flat_map(|service| service.instances.keys())
                    .for_each(|name| println!("{name}"));
            }
        }
        Ok(())
    }

    pub(super) fn validate(&self, operands: &[&str]) -> anyhow::Result<()> {
        let found = match operands {
            [file] if Path::new(file).exists() => import::violations(&manifest::read(Path::new(file))?),
            [] | [_] => {
                let repo = Repository::read()?;
                let fmri =
                    operands.first().map_or_else(|| self.entity(), |operand| entity(&repo, operand))?;
                template::violations(&repo.view(&fmri.instance_or_error()?, View::Effective)?)
            }
            _ => bail!("validate [file | fmri]"),
        };
        match found.as_slice() {
            [] => Ok(()),
            lines => bail!("{}", lines.join("\nsvccfg: ")),
        }
    }
}

pub(super) fn import_file(file: &str, strict: bool) -> anyhow::Result<()> {
    auth::structure()?;
    let path = Path::new(file);
    // With this in the environment, a known manifest is skipped, and an unknown one is recorded.
    let hash = match std::env::var_os("SVCCFG_CHECKHASH") {
        Some(_) => Some(hash(&std::fs::read(path).with_context(|| file.to_owned())?)),
        None => None,
    };
    let key = path.canonicalize().unwrap_or_default().display().to_string();
    if hash.is_some() && Repository::read()?.hashes.get(&key) == hash.as_ref() {
        return Ok(());
    }
    let imported = Repository::update(|repo| {
        let imported = import::import(repo, path, strict)?;
        repo.hashes.extend(hash.map(|hash| (key, hash)));
        Ok(imported)
    })?;
    for warning in imported.warnings {
        eprintln!("svccfg: warning: {warning}");
    }
    for fmri in imported.instances {
        door::tell(&format!("refresh {fmri}"));
    }
    Ok(())
}

/// Removes the record that a manifest was imported; the file may no longer exist.
pub(super) fn delete_hash(file: &str) -> anyhow::Result<()> {
    auth::structure()?;
    let path = Path::new(file);
    let key = path.canonicalize().unwrap_or_else(|_| path.to_owned()).display().to_string();
    Repository::update(|repo| {
        repo.hashes.remove(&key);
        Ok(())
    })
}

fn hash(content: &[u8]) -> u64 {
    use std::hash::{DefaultHasher, Hasher};
    let mut hasher = DefaultHasher::new();
    hasher.write(content);
    hasher.finish()
}
