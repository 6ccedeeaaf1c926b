//! `cargo xtask demo`: shows pen balancing real requests over servers that fail and come back. Where a sandbox can be made,
//! pen is installed as a package and runs as a service of Solaris; elsewhere it runs from the command line.

mod direct;
mod inside;
mod interrupt;
mod sandbox;
mod server;
mod story;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use lexopt::prelude::{Long, ValueExt};

use crate::Result;
use crate::workspace::Workspace;
use interrupt::Interrupt;
use sandbox::SERVING;

/// What the command line asks for.
#[derive(Default)]
struct Options {
    /// End by itself instead of serving until it is interrupted.
    once: bool,
    /// Without package and service.
    direct: bool,
    /// Where the programs are built; without it they are built first.
    bin: Option<PathBuf>,
    /// The package, when this process runs in the sandbox; only the demo itself passes this option.
    inside: Option<PathBuf>,
}

/// Runs the demo with the arguments that follow its name.
///
/// # Errors
/// What failed, in one line.
pub(crate) fn run(mut parser: lexopt::Parser) -> Result<()> {
    let mut options = Options::default();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("once") => options.once = true,
            Long("direct") => options.direct = true,
            Long("bin") => options.bin = Some(std::path::absolute(PathBuf::from(parser.value()?))?),
            Long("inside") => options.inside = Some(parser.value()?.parse()?),
            _ => return Err(arg.unexpected().into()),
        }
    }
    let interrupt = Interrupt::catch()?;
    if let Some(package) = &options.inside {
        return inside::run(package, options.once, Some(SERVING), &interrupt);
    }
    let workspace = Workspace::find()?;
    let bin = match &options.bin {
        Some(bin) => bin.clone(),
        None => {
            story::step("Building the programs");
            workspace.build()?
        }
    };
    if options.direct {
        return direct::run(&bin, options.once, &interrupt);
    }
    let solaris = sandbox::is_solaris();
    let place_for_it =
        if solaris { inside::untouched().map(|()| None) } else { sandbox::available(&workspace).map(Some) };
    let sandbox = match place_for_it {
        Ok(sandbox) => sandbox,
        Err(reason) => {
            story::step("Package and service cannot be shown here, so this is pen alone");
            story::tell(&reason);
            return direct::run(&bin, options.once, &interrupt);
        }
    };
    let place = tempfile::tempdir()?;
    // A package of programs that were built otherwise does not replace the one that `make package` makes.
    let output =
        if options.bin.is_some() { place.path().to_owned() } else { workspace.target.join("package") };
    let package = sandbox::make_package(&workspace, &bin, &output)?;
    let Some(sandbox) = sandbox else {
        return inside::run(&package, options.once, None, &interrupt);
    };
    sandbox::run(sandbox, &package, &options, &interrupt)?;
    story::step("The sandbox is gone, with all that was in it");
    Ok(())
}

/// Where users connect: the port that a newcomer expects, or another one when it is taken.
fn front() -> Result<SocketAddr> {
    let any = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|l| l.local_addr());
    Ok(any(8080).or_else(|_| any(0))?)
}
