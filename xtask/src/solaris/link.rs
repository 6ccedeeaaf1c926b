//! What the programs need from the libraries of illumos, found by linking them without these libraries.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::symbols::List;
use super::{cargo_for, run};
use crate::Result;
use crate::workspace::Workspace;

/// Where the symbols are to exist. Oracle Solaris has fewer and others: it would need a list of its own.
const TARGET: &str = "x86_64-unknown-illumos";

/// The symbols that its libraries are known to provide.
const LIST: &str = "symbols.illumos";

/// The programs that are delivered.
const PROGRAMS: [&str; 5] = ["mergelogs", "pen", "penctl", "penlog", "penlogd"];

/// Builds the programs, up to the libraries, and compares the symbols that are then undefined with the list.
///
/// This proves that what the programs need is known to exist there, and nothing about how they run.
///
/// # Errors
/// A program that cannot be built; a symbol that is not in the list, or is of a library that no program is linked with.
pub(crate) fn link(workspace: &Workspace) -> Result<()> {
    let place = workspace.top.join("xtask/solaris");
    let linker = format!("CARGO_TARGET_{}_LINKER", TARGET.replace('-', "_").to_uppercase());
    println!("linking for {TARGET}");
    let mut build = cargo_for(workspace, TARGET, "build");
    build
        .args(["--release", "-Zbuild-std=std,panic_unwind"])
        .env(linker, place.join("link.sh"))
        // Which symbols are needed hardly depends on how well the code is optimized, and time does.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        // For this target rustc strips with rust-objcopy, which Debian does not have.
        .env("CARGO_PROFILE_RELEASE_STRIP", "none");
    if !run(&mut build)? {
        return Err(format!("the programs cannot be built for {TARGET}").into());
    }
    let built = workspace.target.join("solaris").join(TARGET).join("release");
    let (mut symbols, mut libraries) = (BTreeSet::new(), BTreeSet::from(["libc".to_owned()]));
    for program in PROGRAMS {
        symbols.append(&mut undefined(&built.join(program))?);
        libraries.append(&mut linked_with(&built.join(format!("{program}.arguments")))?);
    }
    let file = place.join(LIST);
    let text = read(&file)?;
    let unused = List::parse(&text).and_then(|list| list.compare(&symbols, &libraries));
    let unused = unused.map_err(|e| format!("{}: {e}", file.display()))?;
    println!("all of {} symbols are known to exist there", symbols.len());
    if !unused.is_empty() {
        println!("{LIST}: no program needs {}", unused.join(", "));
    }
    Ok(())
}

/// The symbols that a program needs and does not have.
fn undefined(program: &Path) -> Result<BTreeSet<String>> {
    let output = Command::new("nm").args(["-u", "--format=posix"]).arg(program).output()?;
    if !output.status.success() {
        return Err(format!("nm: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
    }
    let names = String::from_utf8(output.stdout)?;
    Ok(names.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}

/// The libraries that the linker of the target would have been given.
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
