//! Pen over the event ports of Oracle Solaris, emulated on Linux.
//!
//! Tokio's event library, mio, has code for event ports that cannot run on this machine. A copy of mio is built that
//! uses this code on Linux, with event ports emulated on epoll (`xtask/event_ports/port_emulation.rs`), and pen is
//! built with that copy.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::workspace::Workspace;

/// The tests to run, which start the program in PEN_PROGRAM.
const TESTS: &str =
    "test(/^it::(one_shot|datapath|datapath_ends|datapath_settings|udp|control|live|signals|unix)::/)";

const EMULATION: &str = include_str!("../event_ports/port_emulation.rs");

/// Builds pen over emulated event ports, in `event-ports` of cargo's target directory, and runs the tests of the data
/// path on it.
///
/// This proves that pen works with event ports that report each event once, but nothing about the real ones.
///
/// # Errors
/// A build fails, or a test fails.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let top = workspace.top.as_path();
    let place = workspace.target.join("event-ports");
    let mio = place.join("mio");
    copy_mio(top, &mio)?;
    let tree = place.join("tree");
    link_tree(top, &tree)?;
    let target = place.join("target");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(&cargo)
        .current_dir(&tree)
        .args(["build", "--quiet", "--offline", "--package", "pen", "--bin", "pen", "--config"])
        .arg(format!("patch.crates-io.mio.path='{}'", mio.display()))
        .arg("--target-dir")
        .arg(&target)
        .status()?;
    if !built.success() {
        return Err("pen does not build over emulated event ports".into());
    }
    let passed = Command::new(&cargo)
        .current_dir(top)
        .args(["nextest", "run", "--locked", "--test", "it", "-E", TESTS])
        .env("PEN_PROGRAM", target.join("debug/pen"))
        .env("PEN_PORTABLE", "oneshot")
        .status()?;
    if passed.success() { Ok(()) } else { Err("pen does not work over emulated event ports".into()) }
}

/// Copies the mio that pen uses, and makes it compile its code for Solaris on Linux.
fn copy_mio(top: &Path, copy: &Path) -> Result<()> {
    let original = source_of_mio(top)?;
    if copy.exists() {
        fs::remove_dir_all(copy)?;
    }
    copy_folder(&original, copy)?;
    edit(&copy.join("src/sys/unix/mod.rs"), |text| {
        text.replace("target_os = \"linux\"", "target_os = \"none\"")
            .replace("target_os = \"solaris\"", "target_os = \"linux\"")
    })?;
    let selector = copy.join("src/sys/unix/selector");
    edit(&selector.join("event_ports.rs"), |text| {
        let text = text.replace("self.port.try_clone()", "libc::clone_port(&self.port)");
        format!("mod port_emulation;\nuse port_emulation as libc;\n{text}")
    })?;
    fs::write(selector.join("port_emulation.rs"), EMULATION)?;
    Ok(())
}

fn source_of_mio(top: &Path) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(top)
        .args(["metadata", "--locked", "--format-version", "1"])
        .output()?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let paths = text.split("\"manifest_path\":\"").filter_map(|rest| rest.split('"').next());
    let is_mio = |path: &&Path| {
        let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
        folder.to_string_lossy().strip_prefix("mio-").is_some_and(|rest| rest.starts_with(char::is_numeric))
    };
    let manifest = paths.map(Path::new).find(is_mio).ok_or("cargo metadata names no mio")?;
    Ok(manifest.parent().ok_or("mio has no folder")?.to_owned())
}

fn edit(file: &Path, change: impl FnOnce(&str) -> String) -> Result<()> {
    let text = fs::read_to_string(file)?;
    let changed = change(&text);
    if changed == text {
        return Err(
            format!("{}: mio has changed, and what is edited here is not there", file.display()).into()
        );
    }
    Ok(fs::write(file, changed)?)
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::write(target, fs::read(entry.path())?)?;
        }
    }
    Ok(())
}

/// A copy of the tree with its own Cargo.lock, which the other mio changes.
fn link_tree(top: &Path, tree: &Path) -> Result<()> {
    if tree.exists() {
        fs::remove_dir_all(tree)?;
    }
    fs::create_dir_all(tree)?;
    for entry in fs::read_dir(top)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == "target" || name == ".git" {
            continue;
        }
        if name == "Cargo.lock" || name == "Cargo.toml" {
            fs::copy(entry.path(), tree.join(name))?;
        } else {
            symlink(entry.path(), tree.join(name))?;
        }
    }
    Ok(())
}
