//! The installation of one package, in the order of pkgadd(1M).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::admin::Admin;
use super::contents::Contents;
use super::entry::Entry;
use super::instance::{self, Existing};
use super::object::{copy, create, intact, settle};
use super::params::Params;
use super::questions::{self, Objects};
use super::script::{Scripts, absolute, basedir};
use super::{PARTIAL, Root, verify};

/// A package, and the root to install it on.
pub(crate) struct Installation<'a> {
    /// The package in directory form.
    source: PathBuf,
    /// The name of the instance, PKG or PKG.2 and so on.
    name: String,
    existing: Existing,
    root: &'a Root,
    info: Params,
    objects: Objects,
    scripts: Scripts,
    contents: Contents,
}

impl<'a> Installation<'a> {
    /// Reads and checks the package, and asks the necessary questions; nothing is changed yet.
    pub(crate) fn prepare(
        source: PathBuf,
        root: &'a Root,
        admin: &Admin,
        trace: bool,
    ) -> anyhow::Result<Installation<'a>> {
        println!("\n## Processing package information.");
        let mut info = Params::read(&source.join("pkginfo"))?;
        for param in ["PKG", "NAME", "ARCH", "VERSION", "CATEGORY", "CLASSES"] {
            if info.get(param).is_none_or(str::is_empty) {
                bail!("pkginfo: parameter {param} must be set");
            }
        }
        match admin.get("basedir") {
            "default" | "ask" | "" => {}
            base => info.set("BASEDIR", base),
        }
        let objects = objects(&source, &basedir(&info))?;
        println!("## Processing system information.");
        let (name, existing) = instance::choose(root, &info, admin)?;
        let mut scripts = Scripts::new(source.join("install"), &info, root, &name, trace);
        if existing != Existing::Nothing {
            scripts.env.set("UPDATE", "yes");
        }
        if root.package(&name).join(PARTIAL).exists() {
            let go_on = format!("Do you want to continue with the installation of <{name}>");
            admin.decide("partial", &format!("<{name}> is partially installed."), &go_on)?;
        }
        let contents = Contents::read(root)?;
        questions::ask(admin, &name, root, &scripts.dir, &objects, &contents)?;
        Ok(Installation { source, name, existing, root, info, objects, scripts, contents })
    }

    /// The name of the instance.
    pub(crate) fn instance(&self) -> &str {
        &self.name
    }

    /// Installs the package. Returns the exit status; 2 means that a part of it failed.
    ///
    /// # Errors
    /// A script ends the installation, or a file cannot be written: the package is then partially installed.
    pub(crate) fn install(mut self, admin: &Admin) -> anyhow::Result<u8> {
        let saved = self.root.package(&format!(".save.{}", self.name));
        let installed = self.install_over(admin, &saved);
        // Once the installation has begun, the old version is gone, even if the installation fails.
        if saved.exists() {
            fs::remove_dir_all(&saved)?;
        }
        installed
    }

    fn install_over(&mut self, admin: &Admin, saved: &Path) -> anyhow::Result<u8> {
        let record = self.root.package(&self.name);
        if self.existing == Existing::Other {
            // Including everything that the old version kept in its PKGSAV.
            fs::rename(&record, saved)?;
        }
        self.scripts.checkinstall()?;
        println!("\nInstalling {} as <{}>", self.info.get("NAME").unwrap_or_default(), self.name);
        if let Ok(text) = fs::read_to_string(self.scripts.dir.join("copyright")) {
            println!("\n{text}");
        }
        // The objects that are correct already, before the database contains the new package.
        let current: BTreeSet<String> =
            self.objects.keys().filter(|path| self.is_current(path)).cloned().collect();
        for (entry, _) in self.objects.values() {
            self.contents.add(entry.clone(), &self.name);
        }
        // Before the first script runs: scripts find the new sums there, not the old ones.
        self.contents.write()?;
        fs::create_dir_all(record.join("install"))?;
        fs::write(record.join(PARTIAL), "")?;
        for name in ["pkginfo", "pkgmap"] {
            fs::copy(self.source.join(name), record.join(name))?;
        }
        if self.scripts.dir.is_dir() {
            for entry in fs::read_dir(&self.scripts.dir)? {
                let entry = entry?;
                fs::copy(entry.path(), record.join("install").join(entry.file_name()))?;
            }
        }
        self.scripts.procedure("preinstall")?;
        println!("## Installing part 1 of 1.");
        let listed = self.info.get("CLASSES").unwrap_or_default().to_owned();
        let classes = ["none"].into_iter().chain(listed.split_whitespace().filter(|class| *class != "none"));
        let mut complete = true;
        for class in classes {
            complete &= self.class(class, &current, admin.interactive())?;
        }
        self.scripts.procedure("postinstall")?;
        let mut installed = self.scripts.env.clone();
        installed.set("INSTDATE", &jiff::Zoned::now().strftime("%b %d %Y %H:%M").to_string());
        installed.write(&record.join("pkginfo"))?;
        self.scripts.warned |= !complete;
        if !self.scripts.warned {
            fs::remove_file(record.join(PARTIAL))?;
        }
        Ok(self.scripts.status())
    }

    /// Installs the objects of a class; false if one of them is wrong afterwards.
    fn class(&mut self, class: &str, current: &BTreeSet<String>, show: bool) -> anyhow::Result<bool> {
        let of_class: Vec<(Entry, PathBuf)> =
            self.objects.values().filter(|(entry, _)| entry.class == class).cloned().collect();
        let script = self.scripts.class("i", class);
        let (mut list, mut done) = (String::new(), Vec::new());
        for (entry, file) in of_class {
            let path = self.root.join(&entry.path);
            if entry.is_file() {
                if current.contains(&entry.path) {
                    continue;
                }
                match &script {
                    Some(_) => list.push_str(&format!("{} {}\n", file.display(), path.display())),
                    None => copy(&file, &path)?,
                }
            } else {
                create(&entry, &path)?;
            }
            if show {
                println!("{}", path.display());
            }
            done.push(entry);
        }
        if let Some(script) = &script {
            // At least once per installation, even with nothing to install.
            self.scripts.class_action(script, &["ENDOFCLASS"], &list)?;
        }
        println!("[ verifying class <{class}> ]");
        let mut right = true;
        for entry in done {
            right &= settle(&entry, &self.root.join(&entry.path))?;
        }
        Ok(right)
    }

    /// Whether a file was delivered before with the same content and still exists: it is not touched then, and its
    /// class action script does not get it.
    fn is_current(&self, path: &str) -> bool {
        let (Some((entry, _)), Some(old)) = (self.objects.get(path), self.contents.paths.get(path)) else {
            return false;
        };
        let same = old.entry == *entry && old.packages.contains(&self.name);
        let there = self.root.join(path);
        same && entry.is_file() && verify::differences(entry, &there, entry.kind == 'f', true).is_empty()
    }
}

/// Reads pkgmap(4), and compares each file of the package with its line.
fn objects(source: &Path, base: &str) -> anyhow::Result<Objects> {
    let map = fs::read_to_string(source.join("pkgmap")).context("pkgmap")?;
    let mut objects = Objects::new();
    for line in map.lines() {
        let Some(mut entry) = Entry::parse_map(line)? else { continue };
        let file = match entry.kind {
            'i' if entry.path == "pkginfo" => source.join("pkginfo"),
            'i' => source.join("install").join(&entry.path),
            _ if entry.path.starts_with('/') => source.join("root").join(entry.path.trim_start_matches('/')),
            _ => source.join("reloc").join(&entry.path),
        };
        if let Some(content) = entry.content {
            intact(&file, content)?;
        }
        if entry.kind != 'i' {
            entry.path = absolute(base, &entry.path);
            objects.insert(entry.path.clone(), (entry, file));
        }
    }
    Ok(objects)
}
