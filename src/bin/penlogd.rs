//! penlogd: writes one log of what pen and the web servers send.

use std::process::ExitCode;

use pen::core::addr::Services;

fn main() -> ExitCode {
    // Without the file there are the names that pen knows itself.
    let services = std::fs::read_to_string("/etc/services").unwrap_or_default();
    match pen::cli::penlogd::parse(std::env::args_os(), &Services::parse(&services)) {
        Ok(options) => pen::weblog::penlogd::run(&options),
        Err(stop) => stop.report("penlogd"),
    }
}
