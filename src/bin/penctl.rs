//! penctl: sends a command to a running pen.

use std::process::ExitCode;

use pen::cli::Stop;
use pen::cli::penctl::{self, PenctlArgs, Task};
use pen::control::{check_health, client, watch};

fn main() -> ExitCode {
    let services =
        pen::core::addr::Services::parse(&std::fs::read_to_string("/etc/services").unwrap_or_default());
    match penctl::parse(std::env::args_os(), std::env::var_os("PEN_CONTROL"), &services) {
        Ok(PenctlArgs { target, task }) => match task {
            Task::Command(line) => client::run(&target, &line),
            Task::CheckHealth { limit } => check_health::run(&target, limit),
            Task::Watch { pause, count } => watch::run(&target, pause, count),
        },
        Err(stop @ Stop::Errors(_)) if penctl::is_check_health(std::env::args_os()) => {
            check_health::unknown(&stop.lines())
        }
        Err(stop) => stop.report("penctl"),
    }
}
