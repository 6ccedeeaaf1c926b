//! mergelogs: joins pen's log with the logs of the web servers.

use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    match pen::cli::mergelogs::parse(std::env::args_os()) {
        Ok(request) => {
            for notice in &request.notices {
                // An error here could not be reported anywhere.
                let _ = writeln!(std::io::stderr(), "mergelogs: {notice}");
            }
            pen::weblog::mergelogs::run(&request.options)
        }
        Err(stop) => stop.report("mergelogs"),
    }
}
