//! The symbols that the programs need from the libraries of illumos and Solaris, found by linking without these
//! libraries.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::symbols::List;
use super::{cargo_for, run};
use crate::Result;
use crate::workspace::Workspace;

/// The targets, each with the list of symbols that its libraries provide. The libraries of Solaris are the same on its
/// other processor.
const LISTS: [(&str, &str); 2] =
    [("x86_64-unknown-illumos", "symbols.illumos"), ("x86_64-pc-solaris", "symbols.solaris")];

/// The delivered programs.
const PROGRAMS: [&str; 5] = ["mergelogs", "pen", "penctl", "penlog", "penlogd"];

/// Links the programs for each target (by default all), and compares the symbols that they need with its list.
///
/// This proves that the needed symbols are listed, but nothing about how the programs run.
///
/// # Errors
/// A target without a list; otherwise the first that fails.
pub(crate) fn link(workspace: &Workspace, targets: &[String]) -> Result<()> {
    let known = || LISTS.map(|(target, _)| target).join(" or ");
    let mut chosen = Vec::new();
    for target in targets {
        let list = LISTS.into_iter().find(|(name, _)| name == target);
        chosen.push(list.ok_or_else(|| format!("link-solaris: expected {}, got '{target}'", known()))?);
    }
    if targets.is_empty() {
        chosen.extend(LISTS);
    }
    chosen.into_iter().try_for_each(|(target, list)| link_for(workspace, target, list))
}

/// Builds the programs for a target without libraries, and compares the undefined symbols with a list.
///
/// # Errors
/// A program cannot be built; a symbol is not in the list, or belongs to a library that no program is linked with.
fn link_for(workspace: &Workspace, target: &str, list: &str) -> Result<()> {
    let place = workspace.top.join("xtask/solaris");
    let linker = format!("CARGO_TARGET_{}_LINKER", target.replace('-', "_").to_uppercase());
    println!("linking for {target}");
    let mut build = cargo_for(workspace, target, "build");
    build
        .args(["--release", "-Zbuild-std=std,panic_unwind"])
        .env(linker, place.join("link.sh"))
        // The set of needed symbols hardly depends on optimization, but the build time does.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        // For these targets rustc strips with rust-objcopy, which Debian does not have.
        .env("CARGO_PROFILE_RELEASE_STRIP", "none");
    if !run(&mut build)? {
        return Err(format!("the programs cannot be built for {target}").into());
    }
    let built = workspace.target.join("solaris").join(target).join("release");
    let (mut symbols, mut libraries) = (BTreeSet::new(), BTreeSet::from(["libc".to_owned()]));
    for program in PROGRAMS {
        symbols.append(&mut undefined(&built.join(program))?);
        libraries.append(&mut linked_with(&built.join(format!("{program}.arguments")))?);
    }
    let file = place.join(list);
    let text = read(&file)?;
    let compared = List::parse(&text).and_then(|list| list.compare(&symbols, &libraries));
    let found = compared.map_err(|e| format!("{}: {e}", file.display()))?;
    println!("all of {} symbols are listed in {list}", symbols.len());
    if !found.unconfirmed.is_empty() {
        println!("{list}: not confirmed, {}", found.unconfirmed.join(", "));
    }
    if !found.unused.is_empty() {
        println!("{list}: no program needs {}", found.unused.join(", "));
    }
    Ok(())
}

/// The undefined symbols of a program.
fn undefined(program: &Path) -> Result<BTreeSet<String>> {
    let output = Command::new("nm").args(["-u", "--format=posix"]).arg(program).output()?;
    if !output.status.success() {
        return Err(format!("nm: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
    }
    let names = String::from_utf8(output.stdout)?;
    Ok(names.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}

/// The libraries on the linker's command line for the target.
fn linked_with(arguments: &Path) -> Result<BTreeSet<String>> {
    let libraries = |text: &str| {
        text.lines()
            .filter_map(|argument| argument.strip_prefix("-l"))
            .map(|name| format!("lib{name}"))
            .collect()
    };
    Ok(libraries(&read(arguments)?))
}

fn read(file: &Path) -> Result<String> {
    Ok(fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?)
}
