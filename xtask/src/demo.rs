//! `cargo xtask demo`: pen balances real requests over servers that die and come back, before one's eyes.

mod direct;
mod interrupt;
mod server;
mod service;
mod story;

use std::path::{Path, PathBuf};
use std::process::Command;

use lexopt::prelude::{Long, ValueExt};

use crate::Result;
use interrupt::Interrupt;

/// What the command line asks for.
#[derive(Default)]
struct Options {
    /// End instead of serving on.
    once: bool,
    /// Where the programs are built; without it they are built first.
    bin: Option<PathBuf>,
    /// Pen on the command line only.
    direct: bool,
    /// The package to install, where this is the demo's own second run in a sandbox.
    inside: Option<PathBuf>,
}

/// Runs the demo with the arguments that follow its name.
///
/// # Errors
/// What failed, in one line.
pub(crate) fn run(top: &Path, mut parser: lexopt::Parser) -> Result<()> {
    let mut options = Options::default();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("once") => options.once = true,
            Long("direct") => options.direct = true,
            Long("inside") => options.inside = Some(parser.value()?.parse()?),
            Long("bin") => options.bin = Some(parser.value()?.parse()?),
            _ => return Err(arg.unexpected().into()),
        }
    }
    if let Some(package) = options.inside {
        return service::inside(&package, options.once, &Interrupt::at_end_of_input());
    }
    let interrupt = Interrupt::catch()?;
    let bin = match options.bin {
        Some(bin) => bin,
        None => build(top)?,
    };
    let bin = std::path::absolute(bin)?;
    if !options.direct && service::run(top, &bin, options.once, &interrupt)? {
        return Ok(());
    }
    direct::run(&bin, options.once, &interrupt)
}

/// Builds the programs and returns where they are.
fn build(top: &Path) -> Result<PathBuf> {
    story::step("Building the programs");
    let status =
        Command::new("cargo").current_dir(top).args(["build", "--release", "--locked", "--bins"]).status()?;
    if !status.success() {
        return Err("cargo build failed".into());
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| top.join("target"), PathBuf::from);
    Ok(target.join("release"))
}
