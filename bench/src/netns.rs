//! A separate network namespace: the machine's network is neither changed nor measured.

use std::fs;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getgid, getuid};

/// Settings of the namespace. BBR's pacing distorts loopback; short connections need many ports.
const SETTINGS: [(&str, &str); 4] = [
    ("/proc/sys/net/ipv4/tcp_congestion_control", "reno"),
    ("/proc/sys/net/ipv4/ip_local_port_range", "20000 65535"),
    ("/proc/sys/net/ipv4/tcp_tw_reuse", "1"),
    ("/proc/sys/net/core/somaxconn", "4096"),
];

/// Moves this process, which must be single-threaded, into a new network namespace with loopback up.
///
/// Without privilege a user namespace is created too.
pub(crate) fn enter() -> Result<(), String> {
    let (uid, gid) = (getuid(), getgid());
    if unshare(CloneFlags::CLONE_NEWNET).is_err() {
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET).map_err(|e| {
            format!("cannot make a network namespace: {e} (run as root, or allow user namespaces)")
        })?;
        put("/proc/self/setgroups", "deny")?;
        put("/proc/self/uid_map", &format!("0 {uid} 1"))?;
        put("/proc/self/gid_map", &format!("0 {gid} 1"))?;
    }
    let status = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status()
        .map_err(|e| format!("cannot run ip (package iproute2): {e}"))?;
    if !status.success() {
        return Err(format!("`ip link set lo up` failed: {status}"));
    }
    SETTINGS.iter().try_for_each(|(path, value)| put(path, value))
}

fn put(path: &str, value: &str) -> Result<(), String> {
    fs::write(path, value).map_err(|e| format!("{path}: {e}"))
}
