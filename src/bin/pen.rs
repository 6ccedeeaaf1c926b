//! pen: the load balancer.

use std::process::ExitCode;

fn main() -> ExitCode {
    pen::app::main(std::env::args_os())
}
