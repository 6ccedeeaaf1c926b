//! A separate network for a test (Linux, as root).

use std::process::Command;

use super::{is_root, skipped};

const INSIDE: &str = "PEN_TEST_NAMESPACE";

/// Runs the named test again in a new network namespace with only a loopback interface. True in that second run, which
/// must perform the test; false in the first, which has nothing left to do.
pub(crate) fn inside(test: &str) -> bool {
    enter(test, &["-n"], &["ip", "link"])
}

/// The same with a private mount namespace: mounts by the test are invisible outside and vanish with it.
pub(crate) fn inside_with_mounts(test: &str) -> bool {
    enter(test, &["-n", "-m"], &["mount", "-t", "tmpfs", "tmpfs", "/mnt"])
}

/// `probe` is a command that succeeds if the namespaces work.
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

/// Runs a command that configures the network.
#[track_caller]
pub(crate) fn run(command: &str) {
    let words: Vec<&str> = command.split_whitespace().collect();
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}
