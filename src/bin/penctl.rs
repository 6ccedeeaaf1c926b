//! penctl: sends a command to a running pen.

use std::process::ExitCode;

fn main() -> ExitCode {
    let services =
        pen::core::addr::Services::parse(&std::fs::read_to_string("/etc/services").unwrap_or_default());
    match pen::cli::penctl::parse(std::env::args_os(), &services) {
        Ok(request) => pen::control::client::run(&request.target, &request.line),
        Err(stop) => stop.report("penctl"),
    }
}
