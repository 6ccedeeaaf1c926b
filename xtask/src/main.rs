//! `cargo xtask package` and `cargo xtask check-solaris`: what pkgmk(1), pkgtrans(1) and a Solaris machine would do,
//! on any machine; and `cargo xtask demo`.

mod datastream;
mod demo;
mod event_ports;
mod package;
mod pkginfo;
mod prototype;
mod solaris;
mod stamp;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use lexopt::prelude::{Long, Short, Value, ValueExt};

/// Any failure, told in one line; nothing here is handled, only reported.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The processor that packages are made for, in the words of isalist(5).
const ISA: &str = if cfg!(target_arch = "sparc64") { "sparc" } else { "i386" };

const USAGE: &str = "\
usage: cargo xtask package [--isa i386|sparc] [--root DIR] [--output DIR]
           make the package SUNWpen: a directory and a datastream in DIR (target/package)
           from the proto area --root, or from `make -f Makefile.sfw install` when it is not given
       cargo xtask check-solaris [TARGET...]
           type-check the programs for illumos and Solaris
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
            let mut targets = Vec::new();
            while let Some(arg) = parser.next()? {
                match arg {
                    Value(target) => targets.push(target.string()?),
                    _ => return Err(arg.unexpected().into()),
                }
            }
            solaris::check(&top(), &targets)
        }
        Some(Value(task)) if task == "check-event-ports" => event_ports::check(&top()),
        Some(Value(task)) if task == "demo" => demo::run(&top(), parser),
        Some(Short('h') | Long("help")) => {
            println!("{USAGE}");
            Ok(())
        }
        _ => Err(USAGE.into()),
    }
}

fn make_package(mut parser: lexopt::Parser) -> Result<()> {
    let top = top();
    let mut isa = ISA.to_owned();
    let mut root: Option<PathBuf> = None;
    let mut output = top.join("target/package");
    while let Some(arg) = parser.next()? {
        match arg {
            Long("isa") => isa = parser.value()?.parse()?,
            Long("root") => root = Some(parser.value()?.into()),
            Long("output") => output = parser.value()?.into(),
            _ => return Err(arg.unexpected().into()),
        }
    }
    let root = match root {
        Some(root) => root,
        None => fill_proto_area(&top, &output.join("proto"), None)?,
    };
    let stream = package(&top, &isa, &root, &output)?;
    println!("{}\n{}", stream.with_extension("").display(), stream.display());
    Ok(())
}

/// Makes the package below `output`: the path of the datastream, beside which is the directory.
fn package(top: &Path, isa: &str, root: &Path, output: &Path) -> Result<PathBuf> {
    let stamp = stamp::Stamp::now(top)?;
    let made = package::make(&top.join("pkg/SUNWpen"), isa, root, output, &stamp)?;
    datastream::write(&made, &stamp)
}

/// Builds, or takes the programs in `bin`, and installs by the consolidation's own makefile, so that there is one list of
/// what goes where.
fn fill_proto_area(top: &Path, root: &Path, bin: Option<&Path>) -> Result<PathBuf> {
    if root.exists() {
        std::fs::remove_dir_all(root)?;
    }
    let mut make = Command::new("make");
    make.current_dir(top).args(["-s", "-f", "Makefile.sfw", "install"]).env("ROOT", root);
    if let Some(bin) = bin {
        make.arg("CARGO=true").arg(format!("BINDIR={}", bin.display()));
    }
    if !make.stdout(std::io::stderr()).status()?.success() {
        return Err("make -f Makefile.sfw install failed".into());
    }
    Ok(root.to_owned())
}

/// The top of the source tree.
fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}
