//! Information from the system about a process.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A line of `/proc/PID/status`, without its name.
pub(crate) fn status(pid: i32, field: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':').map(|v| v.trim().to_owned()))
}

/// Resident memory, in KiB.
pub(crate) fn resident(pid: i32) -> u64 {
    let text = status(pid, "VmRSS").expect("VmRSS");
    text.trim_end_matches(" kB").parse().unwrap()
}

/// CPU time so far, user and system.
pub(crate) fn cpu_time(pid: i32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name, in parentheses, may contain blanks; utime and stime are fields 14 and 15, the name is field 2.
    let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    // USER_HZ is 100 on every relevant Linux.
    Duration::from_millis(ticks * 10)
}

/// Asserts that a process uses at most this much CPU time while `idle` lets time pass, in the best of a few attempts: what
/// a machine takes from a thread that runs just then may be counted as the thread's.
#[track_caller]
pub(crate) fn uses_at_most(pid: i32, most: Duration, mut idle: impl FnMut()) {
    let mut used = Vec::new();
    while used.iter().all(|used| *used > most) {
        assert!(used.len() < 3, "{used:?}, where {most:?} at most was expected");
        let before = cpu_time(pid);
        idle();
        used.push(cpu_time(pid) - before);
    }
}

/// The lowest unused descriptor number: with it as the limit, no further descriptor can be opened.
pub(crate) fn first_free_descriptor(pid: i32) -> usize {
    let open: Vec<usize> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap())
        .collect();
    (0..).find(|n| !open.contains(n)).unwrap()
}

/// How many sockets each event port of a process watches, not counting those with several descriptors, such as the
/// listening one. `None` if the system does not report it.
pub(crate) fn event_ports(pid: i32) -> Option<Vec<usize>> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let link =
        |fd: u32| fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok()?.into_os_string().into_string().ok();
    let links: BTreeMap<u32, String> = numbers.filter_map(|fd| Some((fd, link(fd)?))).collect();
    let is_unique = |fd: &u32| {
        let same = |link: &String| links.values().filter(|other| *other == link).count() == 1;
        links.get(fd).is_some_and(|link| link.starts_with("socket:") && same(link))
    };
    // A port with several descriptors reports the same for each.
    let mut ports = BTreeSet::new();
    for (fd, _) in links.iter().filter(|(_, link)| link.as_str() == "anon_inode:[eventpoll]") {
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).ok()?;
        let watched = info.lines().filter_map(|line| line.strip_prefix("tfd:")?.split_whitespace().next());
        ports.insert(watched.filter_map(|fd| fd.parse().ok()).filter(is_unique).collect::<BTreeSet<u32>>());
    }
    (!ports.is_empty()).then(|| ports.iter().map(BTreeSet::len).collect())
}

/// The names of its threads. `None` if the system does not report them.
pub(crate) fn threads(pid: i32) -> Option<Vec<String>> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    threads.map(|thread| fs::read_to_string(thread.ok()?.path().join("comm")).ok()).collect()
}

/// Whether the process exists and is not a zombie.
pub(crate) fn is_alive(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None).is_ok() && status(pid, "State").is_none_or(|s| !s.starts_with('Z'))
}

/// Sends a signal to a process that the test started.
pub(crate) fn signal(pid: i32, signal: Signal) {
    assert!(pid > 1, "no pen has pid {pid}");
    _ = kill(Pid::from_raw(pid), signal);
}

/// Whether a process has a TCP socket that listens.
pub(crate) fn listens(pid: u32) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let sockets: Vec<String> = descriptors
        .flatten()
        .filter_map(|fd| {
            fs::read_link(fd.path())
                .ok()?
                .to_str()?
                .strip_prefix("socket:[")?
                .strip_suffix(']')
                .map(str::to_owned)
        })
        .collect();
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].iter().filter_map(|file| fs::read_to_string(file).ok());
    tables.collect::<String>().lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        // Field 4 is the state, 0A for listening, and field 10 the inode.
        words.get(3) == Some(&"0A")
            && words.get(9).is_some_and(|inode| sockets.iter().any(|own| own == inode))
    })
}
