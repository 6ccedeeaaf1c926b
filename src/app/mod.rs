//! Pen as a whole: builds the parts and starts them in an order in which a failed start can be reported.
//!
//! Everything is parsed before anything is done; every socket is bound before the fork, so that the caller's exit
//! status says whether pen serves; privileges are dropped before a file is opened for writing; threads start last.

mod admin_thread;
mod check;
mod clock;
mod dns;
mod documents;
mod listeners;
mod load;
mod logs;
mod missing;
mod own_address;
mod owner;
mod perform;
mod prepared;
mod startup;
mod summary;
mod supervisor;
mod waiting;
mod workers;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::cli::{Stop, pen};
use crate::sys::{inherited, tls_handshake};

use check::check;
use startup::{say, start};

/// Runs the command line `argv` to its end. Returns 0 for success, 1 when pen could not start, 2 for a wrong command
/// line or file.
pub fn main(argv: impl IntoIterator<Item = OsString>) -> ExitCode {
    if let Err(error) = inherited::reset() {
        say(&error.to_string());
        return ExitCode::FAILURE;
    }
    tls_handshake::prepare_memory();
    let services = load::services();
    let options = match pen::parse(argv, &services) {
        Ok(options) => options,
        Err(stop) => return stop.report("pen"),
    };
    if options.check {
        return check(&options, &services);
    }
    let mut loaded = load::load(&options, &services);
    if !loaded.report.is_empty() {
        loaded.add(check::faults_at_start(&loaded.config));
        return Stop::from(loaded.report.into_errors()).report("pen");
    }
    for notice in &loaded.notices {
        say(notice);
    }
    match start(loaded, services) {
        Ok(status) => status,
        Err(reasons) => {
            reasons.iter().for_each(|reason| say(&reason.to_string()));
            ExitCode::FAILURE
        }
    }
}
