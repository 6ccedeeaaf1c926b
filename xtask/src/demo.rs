//! `cargo xtask demo`: shows pen balancing real requests over servers that fail and come back. If a sandbox can be
//! created, pen is installed as a package and runs as a Solaris service; otherwise it runs from the command line.

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

/// The command line.
#[derive(Default)]
struct Options {
    /// End at once instead of serving until an interrupt.
    once: bool,
    /// Without package and service.
    direct: bool,
    /// The directory of the programs; without it they are built first.
    bin: Option<PathBuf>,
    /// The package, if this process runs in the sandbox; only the demo itself passes this option.
    inside: Option<PathBuf>,
}

/// Runs the demo with the arguments that follow its name.
///
/// # Errors
/// The failure, in one line.
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
    // A package of debug programs must not replace the one that `make package` makes.
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

/// The address that users connect to: the expected port, or another one if it is taken.
fn front() -> Result<SocketAddr> {
    let any = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|l| l.local_addr());
    Ok(any(8080).or_else(|_| any(0))?)
}
