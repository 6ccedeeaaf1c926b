//! The questions to answer before an installation changes anything: depend(4), conflicts, scripts.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::Root;
use super::admin::Admin;
use super::contents::Contents;
use super::entry::Entry;

/// The objects of a package by absolute path, each with its location in the source.
pub(crate) type Objects = BTreeMap<String, (Entry, PathBuf)>;

/// Asks the questions of admin(4), in the order of pkgadd(1M).
pub(crate) fn ask(
    admin: &Admin,
    instance: &str,
    root: &Root,
    scripts: &Path,
    objects: &Objects,
    contents: &Contents,
) -> anyhow::Result<()> {
    let go_on = format!("Do you want to continue with the installation of <{instance}>");
    println!("## Verifying package dependencies.");
    for (kind, other) in depends(&scripts.join("depend"))? {
        let there = root.package(&other).join("pkginfo").is_file();
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
    for (path, (entry, _)) in objects {
        let Some(owned) = contents.paths.get(path) else { continue };
        // Packages may share a path if they agree on its type and attributes.
        let Some(other) = owned.packages.iter().find(|name| *name != instance) else { continue };
        if !entry.agrees_with(&owned.entry) {
            let what = if entry.is_dir() { " (attribute change only)" } else { "" };
            let problem = format!("{path} is already installed and in use by <{other}>{what}.");
            admin.decide("conflict", &problem, &go_on)?;
        }
    }
    println!("## Checking for setuid/setgid programs.");
    for (path, (entry, _)) in objects {
        let mode = entry.attributes.as_ref().and_then(|attributes| attributes.mode).unwrap_or(0);
        if entry.is_file() && mode & 0o6000 != 0 {
            admin.decide("setuid", &format!("{path} is installed with setuid or setgid."), &go_on)?;
        }
    }
    if has_scripts(scripts)? {
        let problem = "This package contains scripts which will be executed with super-user\n\
                       permission during the process of installing this package.";
        admin.decide("action", problem, &go_on)?;
    }
    Ok(())
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

/// Whether install/ contains any scripts.
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
