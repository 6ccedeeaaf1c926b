//! penlog: sends a web server's log, piped to it, to penlogd.

use std::process::ExitCode;

use pen::core::addr::Services;

fn main() -> ExitCode {
    // Without the file, the built-in names suffice.
    let services = std::fs::read_to_string("/etc/services").unwrap_or_default();
    match pen::cli::penlog::parse(std::env::args_os(), &Services::parse(&services)) {
        Ok(options) => pen::weblog::penlog::run(&options),
        Err(stop) => stop.report("penlog"),
    }
}
