//! penlogd: combines pen's log and the web servers' logs into one.

use std::process::ExitCode;

use pen::core::addr::Services;

fn main() -> ExitCode {
    // Without the file, the built-in names suffice.
    let services = std::fs::read_to_string("/etc/services").unwrap_or_default();
    match pen::cli::penlogd::parse(std::env::args_os(), &Services::parse(&services)) {
        Ok(options) => pen::weblog::penlogd::run(&options),
        Err(stop) => stop.report("penlogd"),
    }
}
