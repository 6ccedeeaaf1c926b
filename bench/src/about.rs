//! The machine and the programs of the measurement.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::contender::{Setup, find};
use crate::rows::Effort;

/// The head of the report.
pub(crate) fn head(setup: &Setup, effort: &Effort) -> String {
    let method = format!("{} rounds of {} ms, contenders in turn", effort.rounds, effort.length.as_millis());
    format!("{}- hitch: {}\n- method: {method}\n", platform(&setup.ours), daemon("hitch", &["--version"]))
}

fn daemon(name: &str, args: &[&str]) -> String {
    find(name).map_or_else(|why| why, |path| first_line(path, args))
}

/// The machine and the contenders.
pub(crate) fn platform(ours: &Path) -> String {
    let commit = first_line("git", &["describe", "--always", "--dirty", "--abbrev=12"]);
    let kernel = nix::sys::utsname::uname()
        .map(|u| format!("{} {} {}", u.sysname().display(), u.release().display(), u.machine().display()))
        .unwrap_or_else(|_| "unknown".into());
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .map(|l| l.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let rows = [
        ("date", jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string()),
        ("commit", commit),
        ("kernel", kernel),
        ("processor", format!("{}, {cores} cores", model.unwrap_or("unknown"))),
        ("pen", first_line(ours, &["--version"])),
        ("C pen", first_line("dpkg-query", &["-W", "-f", "${Version}", "pen"])),
        ("HAProxy", daemon("haproxy", &["-v"])),
        ("nginx", daemon("nginx", &["-v"])),
    ];
    rows.iter().map(|(name, value)| format!("- {name}: {value}\n")).collect()
}

/// The first line that a program prints on stdout, or else on stderr.
fn first_line(program: impl AsRef<Path>, args: &[&str]) -> String {
    let out = Command::new(program.as_ref()).args(args).stdin(Stdio::null()).output();
    let Ok(out) = out else { return "unknown".into() };
    let text = if out.stdout.is_empty() { out.stderr } else { out.stdout };
    String::from_utf8_lossy(&text).lines().next().map_or_else(|| "unknown".into(), str::to_owned)
}
