//! Code shared by the tests: starting pen, servers to put behind it, clients, and waiting.

pub(crate) mod backend;
pub(crate) mod browser;
pub(crate) mod chaos;
pub(crate) mod client;
pub(crate) mod connection_log;
pub(crate) mod daemon;
pub(crate) mod daemons;
pub(crate) mod directory;
pub(crate) mod http;
pub(crate) mod load;
pub(crate) mod namespace;
pub(crate) mod nginx;
pub(crate) mod pattern;
pub(crate) mod peer;
pub(crate) mod pen;
pub(crate) mod port;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod schema;
pub(crate) mod script;
pub(crate) mod servers;
pub(crate) mod setup;
pub(crate) mod solaris;
pub(crate) mod stopwatch;
pub(crate) mod tls;
pub(crate) mod tls_server;
pub(crate) mod tracer;
pub(crate) mod tree;
pub(crate) mod udp;
pub(crate) mod wait;
pub(crate) mod weblog;

use std::fmt::Display;
use std::io::Write as _;

pub(crate) use backend::Backend;
pub(crate) use client::Client;
pub(crate) use pen::Pen;
pub(crate) use setup::Setup;
pub(crate) use stopwatch::Stopwatch;
pub(crate) use wait::{wait_for, wait_until};

/// Prints that a test cannot run here, and why, even when the test harness captures output.
pub(crate) fn skipped(test: &str, why: impl Display) {
    _ = writeln!(std::io::stderr(), "skipped: {test}: {why}");
}

/// Whether the tests run as root, which some features of pen need.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
