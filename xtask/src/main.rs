//! `cargo xtask package`, `cargo xtask check-solaris` and `cargo xtask link-solaris` do the work of pkgmk(1),
//! pkgtrans(1) and a Solaris machine on any machine; `cargo xtask demo` shows pen at work.

mod datastream;
mod demo;
mod elf;
mod event_ports;
mod p5m;
mod package;
mod pkginfo;
mod prototype;
mod solaris;
mod stamp;
mod workspace;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lexopt::prelude::{Long, Short, Value, ValueExt};

use workspace::Workspace;

/// Any failure: it is reported in one line, never handled.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

const USAGE: &str = "\
usage: cargo xtask package [--isa i386|sparc] [--system illumos|solaris11|sxce] [--root DIR] [--output DIR]
           make the package SUNWpen: a directory and a datastream in DIR (package in cargo's target directory)
           from the proto area --root, or from `make -f Makefile.sfw install` when it is not given
       cargo xtask p5m [--output FILE]
           make FILE (pkg/pen.p5m), the manifest of the package of IPS, from the prototypes of SUNWpen
       cargo xtask check-solaris [TARGET...]
           type-check the programs for illumos and Solaris
       cargo xtask link-solaris [TARGET...]
           link the programs for illumos and Solaris without the libraries there, and compare what they need from these
           with the lists in xtask/solaris/symbols.*
       cargo xtask check-event-ports
           run the tests of the data path over event ports as Oracle Solaris has them, emulated
       cargo xtask demo [--once] [--direct] [--bin DIR]
           show pen at work, as package and service or on the command line only: build it, or take the
           programs in DIR; serve until interrupted, or end by itself";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut parser = lexopt::Parser::from_env();
    match parser.next()? {
        Some(Value(task)) if task == "package" => make_package(parser),
        Some(Value(task)) if task == "check-solaris" => {
            let targets = targets(parser)?;
            solaris::check(&Workspace::find()?, &targets)
        }
        Some(Value(task)) if task == "link-solaris" => {
            let targets = targets(parser)?;
            solaris::link(&Workspace::find()?, &targets)
        }
        Some(Value(task)) if task == "check-event-ports" => event_ports::check(&Workspace::find()?),
        Some(Value(task)) if task == "p5m" => make_p5m(parser),
        Some(Value(task)) if task == "demo" => demo::run(parser),
        Some(Short('h') | Long("help")) => {
            println!("{USAGE}");
            Ok(())
        }
        _ => Err(USAGE.into()),
    }
}

/// The targets on the command line.
fn targets(mut parser: lexopt::Parser) -> Result<Vec<String>> {
    let mut targets = Vec::new();
    while let Some(arg) = parser.next()? {
        match arg {
            Value(target) => targets.push(target.string()?),
            _ => return Err(arg.unexpected().into()),
        }
    }
    Ok(targets)
}

fn make_package(mut parser: lexopt::Parser) -> Result<()> {
    let (mut isa, mut system): (Option<String>, Option<String>) = (None, None);
    let (mut root, mut output): (Option<PathBuf>, Option<PathBuf>) = (None, None);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("isa") => isa = Some(parser.value()?.parse()?),
            Long("system") => system = Some(parser.value()?.parse()?),
            // All paths are relative to the user's directory, whatever directory a command runs in.
            Long("root") => root = Some(std::path::absolute(PathBuf::from(parser.value()?))?),
            Long("output") => output = Some(std::path::absolute(PathBuf::from(parser.value()?))?),
            _ => return Err(arg.unexpected().into()),
        }
    }
    let workspace = Workspace::find()?;
    let output = output.unwrap_or_else(|| workspace.target.join("package"));
    let root = match root {
        Some(root) => root,
        None => fill_proto_area(&workspace, &output.join("proto"), None)?,
    };
    let stream = package(&workspace, isa.as_deref(), system.as_deref(), &root, &output)?;
    println!("{}\n{}", stream.with_extension("").display(), stream.display());
    Ok(())
}

fn make_p5m(mut parser: lexopt::Parser) -> Result<()> {
    let mut output: Option<PathBuf> = None;
    while let Some(arg) = parser.next()? {
        match arg {
            Long("output") => output = Some(std::path::absolute(PathBuf::from(parser.value()?))?),
            _ => return Err(arg.unexpected().into()),
        }
    }
    let workspace = Workspace::find()?;
    let manifest = p5m::make(&workspace.top.join("pkg/SUNWpen"))?;
    let output = output.unwrap_or_else(|| workspace.top.join("pkg/pen.p5m"));
    std::fs::write(&output, manifest).map_err(|e| format!("{}: {e}", output.display()))?;
    Ok(())
}

/// Builds the package below `output`: returns the path of the datastream, beside which is the directory.
fn package(
    workspace: &Workspace,
    isa: Option<&str>,
    system: Option<&str>,
    root: &Path,
    output: &Path,
) -> Result<PathBuf> {
    let stamp = stamp::Stamp::now(&workspace.top)?;
    let source = workspace.top.join("pkg/SUNWpen");
    let request = package::Request { source: &source, root, isa, system, output };
    datastream::write(&package::make(&request, &stamp)?, &stamp)
}

/// Builds the programs, or takes those in `bin`, and installs them with the consolidation's own makefile, so that there
/// is only one list of files. All paths are absolute.
fn fill_proto_area(workspace: &Workspace, root: &Path, bin: Option<&Path>) -> Result<PathBuf> {
    if root.exists() {
        std::fs::remove_dir_all(root)?;
    }
    let mut make = workspace.command("make");
    make.args(["-s", "-f", "Makefile.sfw", "install"]).env("ROOT", root);
    make.arg(format!("CARGO={}", workspace::cargo().display()));
    if let Some(bin) = bin {
        make.arg(format!("BINDIR={}", bin.display()));
    }
    if !make.stdout(std::io::stderr()).status()?.success() {
        return Err("make -f Makefile.sfw install failed".into());
    }
    Ok(root.to_owned())
}
