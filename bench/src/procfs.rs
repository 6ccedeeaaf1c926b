//! The resource usage of a contender, from /proc: CPU time of all its threads, and its private memory.

use std::collections::HashMap;
use std::fs;

/// `root` and all of its descendants.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        if let Some(parent) = stat_field(&format!("/proc/{pid}/stat"), 1) {
            children.entry(parent as u32).or_default().push(pid);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        if let Some(more) = children.remove(pid) {
            found.extend(more);
        }
        next += 1;
    }
    found
}

/// utime plus stime of all threads of `pids`, in nanoseconds since each began.
///
/// schedstat has the same sum as stat, in nanoseconds rather than ticks of 10 ms; stat is used where schedstat is
/// missing.
pub(crate) fn cpu_ns(pids: &[u32]) -> u64 {
    pids.iter().map(|&pid| threads_ns(pid).unwrap_or_else(|| ticks_ns(pid))).sum()
}

fn threads_ns(pid: u32) -> Option<u64> {
    let mut total = 0;
    for entry in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        total += thread_ns(pid, entry.file_name().to_str()?.parse().ok()?)?;
    }
    Some(total)
}

/// The same of one thread; `None` where schedstat is missing.
pub(crate) fn thread_ns(pid: u32, thread: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat")).ok()?;
    text.split(' ').next()?.parse().ok()
}

fn ticks_ns(pid: u32) -> u64 {
    let path = format!("/proc/{pid}/stat");
    let ticks = stat_field(&path, 11).unwrap_or(0) + stat_field(&path, 12).unwrap_or(0);
    ticks * TICK_NS
}

/// A tick of the times in /proc/stat: 10 ms.
const TICK_NS: u64 = 10_000_000;

/// The time that all processors have spent on any process or interrupt since the start of the machine, in nanoseconds.
pub(crate) fn machine_ns() -> u64 {
    busy_ticks(&fs::read_to_string("/proc/stat").unwrap_or_default()).unwrap_or(0) * TICK_NS
}

/// The sum of user, nice, system, irq and softirq of all processors (proc(5)). Time stolen by other machines is none of it.
fn busy_ticks(stat: &str) -> Option<u64> {
    let fields: Vec<u64> =
        stat.strip_prefix("cpu ")?.split_whitespace().map_while(|word| word.parse().ok()).collect();
    let [user, nice, system, _idle, _iowait, irq, softirq, ..] = fields[..] else { return None };
    Some(user + nice + system + irq + softirq)
}

/// Field `index` of a stat line, counted from the state that follows the name in parentheses.
fn stat_field(path: &str, index: usize) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let rest = text.get(text.rfind(')')? + 2..)?;
    rest.split(' ').nth(index)?.parse().ok()
}

/// Anonymous memory of `pids` in KiB; pages shared by forked workers are counted once.
pub(crate) fn anonymous_kib(pids: &[u32]) -> Result<u64, String> {
    pids.iter().map(|&pid| one_anonymous_kib(pid)).sum()
}

fn one_anonymous_kib(pid: u32) -> Result<u64, String> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
    let field = |name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    field("Pss_Anon:")
        .or_else(|| field("Anonymous:"))
        .ok_or_else(|| format!("{path}: no Pss_Anon or Anonymous line"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn idle_and_stolen_time_is_not_the_machine_s_work() {
        let stat = "cpu  1 20 300 4000 50000 600000 7000000 80000000 0 0\ncpu0 9 9 9 9 9 9 9 9 9 9\n";
        assert_eq!(super::busy_ticks(stat), Some(7_600_321));
        assert_eq!(super::busy_ticks("cpu  1 2 3\n"), None);
        assert!(super::machine_ns() > 0);
    }

    #[test]
    fn own_process_is_read() {
        let me = std::process::id();
        assert_eq!(super::tree(me)[0], me);
        assert!(super::anonymous_kib(&[me]).unwrap() > 0);
        let mut sum = 0u64;
        while super::cpu_ns(&[me]) == 0 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
    }
}
