//! The processes of a contract: all descendants of the process that holds it.

use std::collections::BTreeMap;
use std::fs;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A process, from /proc.
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) name: String,
    /// Ticks since the start of the machine.
    pub(crate) start: u64,
}

/// The living descendants of `holder`, without itself.
pub(crate) fn of_contract(holder: i32) -> Vec<Process> {
    let mut children: BTreeMap<i32, Vec<Process>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // pid (name) state parent ...; the name may contain any characters.
        let (Some(open), Some(close)) = (stat.find('('), stat.rfind(')')) else { continue };
        let name = stat.get(open + 1..close).unwrap_or_default().to_owned();
        let fields: Vec<&str> = stat.get(close + 1..).unwrap_or_default().split_whitespace().collect();
        let (Some(state), Some(parent)) =
            (fields.first(), fields.get(1).and_then(|field| field.parse().ok()))
        else {
            continue;
        };
        if *state != "Z" {
            let start = fields.get(19).and_then(|field| field.parse().ok()).unwrap_or(0);
            children.entry(parent).or_default().push(Process { pid, name, start });
        }
    }
    let (mut found, mut next) = (Vec::new(), vec![holder]);
    while let Some(parent) = next.pop() {
        for process in children.remove(&parent).unwrap_or_default() {
            next.push(process.pid);
            found.push(process);
        }
    }
    found.sort_by_key(|process| process.pid);
    found
}

/// Signals every process of a contract; true if there are none left.
pub(crate) fn signal(holder: i32, signal: Signal) -> bool {
    let processes = of_contract(holder);
    for process in &processes {
        match kill(Pid::from_raw(process.pid), signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => eprintln!("svc.startd: kill {}: {error}", process.pid),
        }
    }
    processes.is_empty()
}
