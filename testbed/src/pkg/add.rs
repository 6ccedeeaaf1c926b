//! pkgadd(1M).

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use lexopt::prelude::*;

use super::admin::Admin;
use super::contents::Contents;
use super::entry::Entry;
use super::object::{copy, create, intact, settle};
use super::params::Params;
use super::script::{Scripts, absolute, basedir};
use super::source::Source;
use super::{PARTIAL, Root, verify};
use crate::cli;

const USAGE: &str = "usage: pkgadd [-nv] [-a admin] [-G] [[-M] -R root_path] [-d device] [pkginst...]";
const SPOOL: &str = "/var/spool/pkg";

pub(crate) fn main(mut args: lexopt::Parser) -> anyhow::Result<u8> {
    let (mut device, mut admin, mut root) = (PathBuf::from(SPOOL), None, None);
    let (mut interactive, mut trace, mut names) = (true, false, Vec::new());
    while let Some(arg) = args.next()? {
        match arg {
            Short('n') => interactive = false,
            Short('v') => trace = true,
            // Of this zone only, and no vfstab of a client: nothing else happens here anyway.
            Short('G' | 'M') => {}
            Short('a') => admin = Some(args.value()?.string()?),
            Short('d') => device = PathBuf::from(args.value()?),
            Short('R') => root = Some(PathBuf::from(args.value()?)),
            Value(name) => names.push(name.string()?),
            _ => return Err(cli::exit(2, USAGE)),
        }
    }
    let root = Root::new(root)?;
    let admin = Admin::read(admin.as_deref(), interactive)?;
    let source = Source::open(&device)?;
    if names.is_empty() {
        names = menu(&source, interactive)?;
    }
    let mut worst = 0;
    for name in source.select(&names)? {
        println!("\nProcessing package instance <{name}> from <{}>", device.display());
        let status =
            Installation::prepare(&source.dir.join(&name), &name, &root, &admin, trace)?.install(&admin);
        match status {
            Ok(0) => println!("\nInstallation of <{name}> was successful."),
            Ok(status @ (10 | 20)) => {
                println!(
                    "\nInstallation of <{name}> was successful.\n*** IMPORTANT NOTICE *** reboot (status {status})"
                );
                worst = worst.max(status);
            }
            Ok(status) => {
                println!("\nInstallation of <{name}> partially failed.");
                worst = worst.max(status);
            }
            Err(error) => {
                println!("\nInstallation of <{name}> failed.");
                return Err(error);
            }
        }
    }
    Ok(worst)
}

/// The menu that pkgadd(1M) shows when no package is named.
fn menu(source: &Source, interactive: bool) -> anyhow::Result<Vec<String>> {
    if !interactive {
        return Err(cli::exit(1, "ERROR: no package names a package instance, and -n allows no question"));
    }
    println!("\nThe following packages are available:");
    for (number, name) in (1..).zip(&source.packages) {
        println!("  {number}  {name}");
    }
    print!(
        "\nSelect package(s) you wish to process (or 'all' to process\nall packages). (default: all) [?,??,q]: "
    );
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    match answer.trim() {
        "" | "all" => Ok(vec!["all".into()]),
        "q" => Err(cli::exit(3, "")),
        answer => answer
            .split([',', ' '])
            .map(|number| {
                let index = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
                index.and_then(|index| source.packages.get(index)).cloned().context("no such choice")
            })
            .collect(),
    }
}

/// A package on its way to a root.
struct Installation<'a> {
    /// The package in directory form.
    source: &'a Path,
    name: &'a str,
    root: &'a Root,
    info: Params,
    /// The objects with their absolute paths, and where each lies in the source.
    objects: BTreeMap<String, (Entry, PathBuf)>,
    scripts: Scripts,
    contents: Contents,
    /// The same instance is there already.
    overwrite: bool,
}

impl<'a> Installation<'a> {
    /// Reads and checks the package; nothing is changed yet.
    fn prepare(
        source: &'a Path,
        name: &'a str,
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
        let base = basedir(&info);
        let map = fs::read_to_string(source.join("pkgmap")).context("pkgmap")?;
        let mut objects = BTreeMap::new();
        for line in map.lines() {
            let Some(mut entry) = Entry::parse_map(line)? else { continue };
            let file = match entry.kind {
                'i' if entry.path == "pkginfo" => source.join("pkginfo"),
                'i' => source.join("install").join(&entry.path),
                _ if entry.path.starts_with('/') => {
                    source.join("root").join(entry.path.trim_start_matches('/'))
                }
                _ => source.join("reloc").join(&entry.path),
            };
            if let Some(content) = entry.content {
                intact(&file, content)?;
            }
            if entry.kind != 'i' {
                entry.path = absolute(&base, &entry.path);
                objects.insert(entry.path.clone(), (entry, file));
            }
        }
        println!("## Processing system information.");
        let scripts = Scripts::new(source.join("install"), &info, root, name, trace);
        let contents = Contents::read(root)?;
        let mut this =
            Installation { source, name, root, info, objects, scripts, contents, overwrite: false };
        this.check(admin)?;
        Ok(this)
    }

    /// The questions of admin(4), in the order of pkgadd.
    fn check(&mut self, admin: &Admin) -> anyhow::Result<()> {
        let go_on = format!("Do you want to continue with the installation of <{}>", self.name);
        let record = self.root.package(self.name);
        if record.join(PARTIAL).exists() {
            admin.decide("partial", &format!("<{}> is partially installed.", self.name), &go_on)?;
        }
        if record.join("pkginfo").is_file() {
            let old = Params::read(&record.join("pkginfo"))?;
            let same = ["ARCH", "VERSION"].into_iter().all(|param| old.get(param) == self.info.get(param));
            if same {
                println!(
                    "\nThis appears to be an attempt to install the same architecture and\nversion of a package which \
                     is already installed.  This installation\nwill attempt to overwrite this package."
                );
            }
            match admin.get("instance") {
                "overwrite" => {}
                "quit" => return Err(cli::exit(4, format!("ERROR: <{}> is installed already", self.name))),
                "unique" if same => {}
                "unique" => {
                    return Err(cli::exit(
                        4,
                        format!(
                            "ERROR: another version of <{}> is installed and no more may be (MAXINST)",
                            self.name
                        ),
                    ));
                }
                _ => admin.ask(&format!("<{}> is installed already.", self.name), &go_on)?,
            }
            self.overwrite = true;
            self.scripts.env.set("UPDATE", "yes");
        }
        println!("## Verifying package dependencies.");
        for (kind, other) in depends(&self.source.join("install/depend"))? {
            let there = self.root.package(&other).join("pkginfo").is_file();
            match kind {
                'P' if !there => {
                    let problem =
                        format!("The package <{other}> is a prerequisite package and should be installed.");
                    admin.decide("idepend", &problem, &go_on)?;
                }
                'I' if there => {
                    let problem = format!("The package <{other}> is incompatible with this package.");
                    admin.decide("idepend", &problem, &go_on)?;
                }
                _ => {}
            }
        }
        println!(
            "## Verifying disk space requirements.\n## Checking for conflicts with packages already installed."
        );
        for (path, (entry, _)) in &self.objects {
            let others = self.contents.paths.get(path).filter(|_| !entry.is_dir());
            if let Some(other) =
                others.and_then(|owned| owned.packages.iter().find(|name| *name != self.name))
            {
                let problem = format!("{path} is already installed and in use by <{other}>.");
                admin.decide("conflict", &problem, &go_on)?;
            }
        }
        println!("## Checking for setuid/setgid programs.");
        for (path, (entry, _)) in &self.objects {
            let mode = entry.attributes.as_ref().and_then(|attributes| attributes.mode).unwrap_or(0);
            if entry.is_file() && mode & 0o6000 != 0 {
                admin.decide("setuid", &format!("{path} is installed with setuid or setgid."), &go_on)?;
            }
        }
        if has_scripts(&self.scripts.dir)? {
            let problem = "This package contains scripts which will be executed with super-user\n\
                           permission during the process of installing this package.";
            admin.decide("action", problem, &go_on)?;
        }
        Ok(())
    }

    fn install(mut self, admin: &Admin) -> anyhow::Result<u8> {
        self.scripts.checkinstall()?;
        println!("\nInstalling {} as <{}>", self.info.get("NAME").unwrap_or_default(), self.name);
        if let Ok(text) = fs::read_to_string(self.scripts.dir.join("copyright")) {
            println!("\n{text}");
        }
        let record = self.root.package(self.name);
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
        let mut failed = false;
        for class in classes {
            failed |= !self.class(class, admin.interactive())?;
        }
        self.scripts.procedure("postinstall")?;
        let mut installed = self.scripts.env.clone();
        installed.set("INSTDATE", &jiff::Zoned::now().strftime("%b %d %Y %H:%M").to_string());
        installed.write(&record.join("pkginfo"))?;
        fs::remove_file(record.join(PARTIAL))?;
        Ok(if failed { 2 } else { self.scripts.worst })
    }

    /// Installs the objects of a class; false when one of them is not as it should be afterwards.
    fn class(&mut self, class: &str, show: bool) -> anyhow::Result<bool> {
        let of_class: Vec<(Entry, PathBuf)> =
            self.objects.values().filter(|(entry, _)| entry.class == class).cloned().collect();
        let script = self.scripts.class("i", class);
        let (mut list, mut done) = (String::new(), Vec::new());
        for (entry, file) in of_class {
            let path = self.root.join(&entry.path);
            if entry.is_file() {
                if self.is_current(&entry, &path) {
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
        if let (Some(script), false) = (&script, self.overwrite && list.is_empty()) {
            self.scripts.class_action(script, &["ENDOFCLASS"], &list)?;
        }
        println!("[ verifying class <{class}> ]");
        let mut right = true;
        for entry in done {
            right &= settle(&entry, &self.root.join(&entry.path))?;
            self.contents.add(entry, self.name);
        }
        self.contents.write()?;
        Ok(right)
    }

    /// Whether a file was delivered before with the same content and is still there: then it is left alone, and
    /// its class action script does not get it.
    fn is_current(&self, entry: &Entry, path: &Path) -> bool {
        let Some(old) = self.contents.paths.get(&entry.path) else { return false };
        let same = self.overwrite && old.entry == *entry && old.packages.iter().any(|name| name == self.name);
        same && verify::differences(entry, path, entry.kind == 'f', true).is_empty()
    }
}

/// The P, I and R lines of a depend(4) file.
pub(crate) fn depends(file: &Path) -> anyhow::Result<Vec<(char, String)>> {
    if !file.is_file() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let lines = text.lines().filter(|line| !line.starts_with(['#', ' ', '\t']));
    Ok(lines
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let kind = words.next().filter(|kind| matches!(*kind, "P" | "I" | "R"))?;
            Some((kind.chars().next()?, words.next()?.to_owned()))
        })
        .collect())
}

/// Whether install/ holds anything that runs.
pub(crate) fn has_scripts(dir: &Path) -> anyhow::Result<bool> {
    if !dir.is_dir() {
        return Ok(false);
    }
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        let procedures = ["preinstall", "postinstall", "preremove", "postremove", "request", "checkinstall"];
        if name.starts_with("i.") || name.starts_with("r.") || procedures.contains(&name.as_ref()) {
            return Ok(true);
        }
    }
    Ok(false)
}
