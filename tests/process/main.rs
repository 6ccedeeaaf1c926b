//! Tests of `pen::sys` in processes of their own: forks, changes of user, logs and crashes.
//!
//! The usual harness runs tests in threads, beside which nothing may fork. So this program is both sides: without
//! [`ROLE`] it is a small harness with the usual options, and its tests run it again in a role.

#![allow(clippy::expect_used, reason = "a test without the usual harness does not count as one")]

mod daemon;
mod log;
mod privileges;
mod roles;

use std::env;
use std::panic;
use std::process::{Command, ExitCode};

/// The environment variable that names the role to play.
const ROLE: &str = "PEN_TEST_ROLE";

/// A test, which panics to fail. `Err` tells why it could not be run here.
type Test = (&'static str, fn() -> Result<(), &'static str>);

fn main() -> ExitCode {
    if let Ok(role) = env::var(ROLE) {
        return roles::play(&role);
    }
    let (options, words): (Vec<String>, Vec<String>) =
        env::args().skip(1).partition(|word| word.starts_with("--"));
    let has = |option: &str| options.iter().any(|given| given == option);
    let all = [daemon::TESTS, log::TESTS, privileges::TESTS].concat();
    if has("--list") {
        // Asked for by cargo-nextest, once for the ignored ones, of which there are none.
        all.iter().filter(|_| !has("--ignored")).for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let chosen = all.into_iter().filter(|(name, _)| {
        words.is_empty()
            || words
                .iter()
                .any(|word| if has("--exact") { name == word } else { name.contains(word.as_str()) })
    });
    let mut failed = false;
    for (name, test) in chosen {
        match panic::catch_unwind(test) {
            Ok(Ok(())) => println!("test {name} ... ok"),
            Ok(Err(reason)) => println!("test {name} ... skipped: {reason}"),
            Err(_) => {
                println!("test {name} ... FAILED");
                failed = true;
            }
        }
    }
    ExitCode::from(u8::from(failed))
}

/// This program in `role`.
fn role(role: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("this program"));
    command.env(ROLE, role);
    command
}

/// The same, started by setpriv(1), which sets what a process is, with `options`.
fn role_with(options: &[&str], role: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(options).arg(env::current_exe().expect("this program")).env(ROLE, role);
    command
}

/// Whether tests that need root, and tools of Linux, can run.
fn needs_root() -> Result<(), &'static str> {
    let root = pen::sys::privileges::running_as_root();
    if root && cfg!(target_os = "linux") { Ok(()) } else { Err("needs root, on Linux") }
}
