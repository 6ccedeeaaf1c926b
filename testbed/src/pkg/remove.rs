//! pkgrm(1M).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use lexopt::prelude::*;

use super::admin::Admin;
use super::contents::Contents;
use super::params::Params;
use super::questions::{depends, has_scripts};
use super::script::Scripts;
use super::{PARTIAL, Root};
use crate::cli;

const USAGE: &str = "usage: pkgrm [-nv] [-a admin] [[-A | -M] -R root_path] pkginst...";

pub(crate) fn main(mut args: lexopt::Parser) -> anyhow::Result<u8> {
    let (mut interactive, mut trace, mut admin, mut root, mut names) = (true, false, None, None, Vec::new());
    while let Some(arg) = args.next()? {
        match arg {
            Short('n') => interactive = false,
            Short('v') => trace = true,
            Short('A' | 'M') => {}
            Short('a') => admin = Some(args.value()?.string()?),
            Short('R') => root = Some(PathBuf::from(args.value()?)),
            Value(name) => names.push(name.string()?),
            _ => return Err(cli::exit(2, USAGE)),
        }
    }
    if names.is_empty() {
        return Err(cli::exit(2, USAGE));
    }
    let root = Root::new(root)?;
    let admin = Admin::read(admin.as_deref(), interactive)?;
    let mut worst = 0;
    for name in names {
        let name = name.trim_end_matches(".*");
        match remove(name, &root, &admin, trace) {
            Ok(status) => {
                let how = if matches!(status, 0 | 10 | 20) { "was successful" } else { "partially failed" };
                println!("\nRemoval of <{name}> {how}.");
                worst = worst.max(status);
            }
            Err(error) => {
                println!("\nRemoval of <{name}> failed.");
                return Err(error);
            }
        }
    }
    Ok(worst)
}

fn remove(name: &str, root: &Root, admin: &Admin, trace: bool) -> anyhow::Result<u8> {
    let record = root.package(name);
    if !record.join("pkginfo").is_file() {
        bail!("ERROR: no package associated with <{name}>");
    }
    let info = Params::read(&record.join("pkginfo"))?;
    println!(
        "\nThe following package is currently installed:\n   {name}  {}",
        info.get("NAME").unwrap_or_default()
    );
    if admin.interactive() && !cli::confirm("\nDo you want to remove this package?")? {
        return Err(cli::exit(3, "Processing was terminated by the administrator."));
    }
    println!("\n## Removing installed package instance <{name}>\n## Verifying package <{name}> dependencies");
    let go_on = "Do you want to continue with the removal of this package";
    for other in root.packages()?.iter().filter(|other| *other != name) {
        let needs = depends(&root.package(other).join("install/depend"))?;
        if needs.iter().any(|(kind, needed)| *kind == 'P' && needed == name) {
            admin.decide("rdepend", &format!("The package <{other}> depends on <{name}>."), go_on)?;
        }
    }
    println!("## Processing package information.");
    let mut scripts = Scripts::new(record.join("install"), &info, root, name, trace);
    if has_scripts(&scripts.dir)? {
        let problem = "This package contains scripts which will be executed with super-user\n\
                       permission during the process of removing this package.";
        admin.decide("action", problem, go_on)?;
    }
    fs::write(record.join(PARTIAL), "")?;
    scripts.procedure("preremove")?;
    let mut contents = Contents::read(root)?;
    let classes: Vec<&str> = info.get("CLASSES").unwrap_or("none").split_whitespace().collect();
    // The class none was installed first and goes last.
    let ordered = classes.iter().rev().filter(|class| **class != "none").chain(["none"].iter());
    for class in ordered {
        println!("## Removing pathnames in class <{class}>");
        remove_class(name, class, root, &mut contents, &mut scripts)?;
        contents.write()?;
    }
    scripts.procedure("postremove")?;
    println!("## Updating system information.");
    if !scripts.warned {
        fs::remove_dir_all(&record).with_context(|| record.display().to_string())?;
    }
    Ok(scripts.status())
}

/// Removes the objects of a class that no other package shares, the deepest first. A script gets them all, including
/// directories; objects that it does not remove, pkgrm does not remove either.
fn remove_class(
    name: &str,
    class: &str,
    root: &Root,
    contents: &mut Contents,
    scripts: &mut Scripts,
) -> anyhow::Result<()> {
    let mut list = Vec::new();
    let mut all = Vec::new();
    for owned in contents.of(name).filter(|owned| owned.entry.class == class).rev() {
        all.push(owned.entry.path.clone());
        match owned.packages.as_slice() {
            [_] => list.push((owned.entry.clone(), root.join(&owned.entry.path))),
            _ => println!("{} <shared pathname not removed>", owned.entry.path),
        }
    }
    let script = scripts.class("r", class);
    if let Some(script) = &script {
        let lines: String = list.iter().map(|(_, path)| format!("{}\n", path.display())).collect();
        scripts.class_action(script, &[], &lines)?;
    }
    for (entry, path) in &list {
        if entry.is_dir() {
            remove_dir(path)?;
        } else if script.is_none() {
            println!("{}", path.display());
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| path.display().to_string());
                }
                _ => {}
            }
        }
    }
    for path in all {
        contents.remove(&path, name);
    }
    Ok(())
}

/// Removes a directory if it is empty.
fn remove_dir(path: &Path) -> anyhow::Result<()> {
    match fs::remove_dir(path) {
        Ok(()) => println!("{}", path.display()),
        Err(error) => match error.kind() {
            io::ErrorKind::DirectoryNotEmpty => {
                println!("{} <non-empty directory not removed>", path.display())
            }
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {}
            // A mount point, such as /var/run.
            io::ErrorKind::ResourceBusy => println!("{} <directory in use not removed>", path.display()),
            _ => return Err(error).with_context(|| path.display().to_string()),
        },
    }
    Ok(())
}
