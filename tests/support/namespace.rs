//! A network of its own for a test (Linux, as root).

use std::process::Command;

use super::{is_root, skipped};

const INSIDE: &str = "PEN_TEST_NAMESPACE";

/// Runs the named test once more in a network namespace of its own, with nothing but a loopback interface. True for that
/// second run, which is to do the test; false for the first, which has nothing left to do.
pub(crate) fn inside(test: &str) -> bool {
    enter(test, &["-n"], &["ip", "link"])
}

/// The same, and what the test mounts is seen by nobody else and gone with it.
pub(crate) fn inside_with_mounts(test: &str) -> bool {
    enter(test, &["-n", "-m"], &["mount", "-t", "tmpfs", "tmpfs", "/mnt"])
}

/// `probe` is a command that works where the namespaces do.
fn enter(test: &str, namespaces: &[&str], probe: &[&str]) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let unshare = |command: &[&str]| {
        let mut unshare = Command::new("unshare");
        unshare.args(namespaces).arg("--").args(command);
        unshare
    };
    if !is_root() || !unshare(probe).output().is_ok_and(|output| output.status.success()) {
        skipped(test, format!("needs root, unshare {} and {}", namespaces.join(" "), probe[0]));
        return false;
    }
    let output = unshare(&["sh", "-c", r#"ip link set lo up && exec "$@""#, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "in its namespace: {text}\n{why}");
    false
}

/// Runs a command that sets the network up.
#[track_caller]
pub(crate) fn run(command: &str) {
    let words: Vec<&str> = command.split_whitespace().collect();
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}
