//! Stand-ins for the commands that install a package and run a service on Solaris, for machines without them.
//!
//! `pkg` holds the System V package commands, `smf` the service commands and a restarter. Each does what its
//! manual page says for the options that the tests, the demo and the documents of pen use, and refuses the rest
//! with a usage line and exit status 2. They write to the real paths (`/var/sadm`, `/etc/svc`, `/var/svc`), so
//! they belong in the sandbox that `sandbox.sh` makes, and nowhere else.
//!
//! # Where they fall short of the real ones
//!
//! - pkgadd knows no request scripts, devices, pipes, compression, signatures, zones or `instance=unique` beyond
//!   one instance.
//! - Snapshots other than `running` do not exist. Nothing is read-protected, and authorizations are those of
//!   user_attr, prof_attr and their fragments: no policy.conf, no roles.
//! - Only the models contract and transient are known, and svc.startd as the restarter. What happens to a
//!   dependency of a running service (`restart_on`) does not reach it.
//! - A contract is a subreaper with its descendants: see `smf::startd::contract` for what it cannot see. Privileges
//!   become Linux capabilities as far as there is one; the basic privileges cannot be taken away.
//! - A refresh method that fails is logged, and the service stays online.

mod cli;
mod pkg;
mod smf;

use std::process::ExitCode;

/// Runs pkgadd(1M) with the arguments of this process.
pub fn pkgadd() -> ExitCode {
    cli::run("pkgadd", pkg::add::main)
}

/// Runs pkgrm(1M) with the arguments of this process.
pub fn pkgrm() -> ExitCode {
    cli::run("pkgrm", pkg::remove::main)
}

/// Runs pkgchk(1M) with the arguments of this process.
pub fn pkgchk() -> ExitCode {
    cli::run("pkgchk", pkg::check::main)
}

/// Runs pkginfo(1) with the arguments of this process.
pub fn pkginfo() -> ExitCode {
    cli::run("pkginfo", pkg::list::main)
}

/// Runs svcadm(1M) with the arguments of this process.
pub fn svcadm() -> ExitCode {
    cli::run("svcadm", smf::svcadm::main)
}

/// Runs svccfg(1M) with the arguments of this process.
pub fn svccfg() -> ExitCode {
    cli::run("svccfg", smf::cfg::main)
}

/// Runs svcs(1) with the arguments of this process.
pub fn svcs() -> ExitCode {
    cli::run("svcs", smf::svcs::main)
}

/// Runs svcprop(1) with the arguments of this process.
pub fn svcprop() -> ExitCode {
    cli::run("svcprop", smf::svcprop::main)
}

/// Runs the restarter in place of svc.startd(1M) with the arguments of this process.
pub fn startd() -> ExitCode {
    cli::run("svc.startd", smf::startd::main)
}
