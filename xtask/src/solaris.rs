//! Builds the programs on another system for targets without a prebuilt standard library.

mod link;
mod symbols;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::workspace::Workspace;

pub(crate) use link::link;

/// The targets on which the programs must compile: illumos, and Solaris on both of its processors.
const TARGETS: [&str; 3] = ["x86_64-unknown-illumos", "x86_64-pc-solaris", "sparcv9-sun-solaris"];

/// A toolchain with the source of the standard library: Debian's rustc-web, cargo-web and rust-web-src.
const TOOLCHAIN: &str = "/usr/bin";

/// Type-checks all programs for each target (by default all), building the standard library from source.
///
/// This proves that the code and its dependencies compile there, but nothing about how they run.
///
/// # Errors
/// The first target that fails.
pub(crate) fn check(workspace: &Workspace, targets: &[String]) -> Result<()> {
    let chosen: Vec<&str> =
        if targets.is_empty() { TARGETS.to_vec() } else { targets.iter().map(String::as_str).collect() };
    for target in chosen {
        println!("checking for {target}");
        let mut check = cargo_for(workspace, target, "check");
        check.arg("-Zbuild-std=std,panic_abort").env("RUSTFLAGS", "-Dwarnings");
        if !run(&mut check)? {
            return Err(format!("the programs do not type-check for {target}").into());
        }
    }
    Ok(())
}

/// The toolchain's cargo with a subcommand, the programs and a target.
fn cargo_for(workspace: &Workspace, target: &str, subcommand: &str) -> Command {
    let toolchain = PathBuf::from(env("SOLARIS_TOOLCHAIN", TOOLCHAIN));
    let mut cargo = workspace.command(toolchain.join("cargo"));
    cargo
        .args([subcommand, "--quiet", "--locked", "--bins", "--package", "pen", "--target", target])
        // The rustup that may have started this task must not choose the compiler.
        .env_remove("RUSTUP_TOOLCHAIN")
        .env("RUSTC", toolchain.join("rustc"))
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", workspace.target.join("solaris"))
        // openssl-sys takes the version to compile for from OpenSSL's headers; nothing is linked with it.
        .env("OPENSSL_INCLUDE_DIR", env("OPENSSL_INCLUDE_DIR", "/usr/include"))
        .env("OPENSSL_LIB_DIR", env("OPENSSL_LIB_DIR", &library_directory()))
        // Any preprocessor can read them: there is no compiler for the target here.
        .env(format!("CC_{}", target.replace('-', "_")), "cc");
    cargo
}

/// Runs a command of [`cargo_for`]; true if it succeeds.
fn run(cargo: &mut Command) -> Result<bool> {
    let status = cargo.status().map_err(|e| {
        let program = Path::new(cargo.get_program()).display();
        format!("{program}: {e} (install rustc-web, cargo-web, rust-web-src)")
    })?;
    Ok(status.success())
}

/// The directory of OpenSSL on this machine: openssl-sys requires one even if nothing is linked.
fn library_directory() -> String {
    let asked = Command::new("pkg-config").args(["--variable=libdir", "openssl"]).output();
    let told = asked.ok().and_then(|o| String::from_utf8(o.stdout).ok()).unwrap_or_default();
    if told.trim().is_empty() { "/usr/lib".to_owned() } else { told.trim().to_owned() }
}

fn env(name: &str, default: &str) -> OsString {
    std::env::var_os(name).unwrap_or_else(|| default.into())
}
