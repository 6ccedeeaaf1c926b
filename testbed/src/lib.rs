//! Stand-ins for the commands that install a package and run a service on Solaris, for machines without them.
//!
//! `pkg` holds the System V package commands, `smf` the service commands and a restarter. Each implements its manual
//! page for the options that the tests, the demo and the documents of pen use, and refuses other options with a usage
//! line and exit status 2. They write to the real paths (`/var/sadm`, `/etc/svc`, `/var/svc`), so they must only run in
//! the sandbox that `sandbox.sh` creates.
//!
//! # Differences from the real commands
//!
//! - pkgadd supports no request scripts, devices, pipes, compression, signatures, zones or `instance=unique` beyond one
//!   instance.
//! - Snapshots other than `running` do not exist. Nothing is read-protected, and authorizations are those of user_attr,
//!   prof_attr and their fragments: no policy.conf, no roles.
//! - Only the models contract and transient are supported, and only svc.startd as the restarter. Restarts of a
//!   dependency are not propagated to a running service (`restart_on`).
//! - A contract is a subreaper with its descendants: see `smf::startd::contract` for its limits. Privileges are mapped
//!   to Linux capabilities where one exists; the basic privileges cannot be removed.
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
