//! The system resources that the process uses. Values that the system does not report are `None`, as in a jail without
//! /proc and /dev/fd.

use std::fs;
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::{Resource, getrlimit};

use super::platform;

/// Processor time used by the process, user and system.
#[allow(unsafe_code, reason = "no crate has getrusage(3C) on Solaris")]
pub fn cpu_time() -> Option<Duration> {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: `usage` has room for the one rusage that is written to it.
    if unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: the call has succeeded, so it has filled the whole value in.
    let usage = unsafe { usage.assume_init() };
    let duration = |time: libc::timeval| {
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or_default())
    };
    Some(duration(usage.ru_utime) + duration(usage.ru_stime))
}

/// Resident and virtual memory in bytes, on systems with Linux's /proc.
pub fn memory() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = text.split(' ').map_while(|word| word.parse::<u64>().ok());
    let (all, resident) = (pages.next()?, pages.next()?);
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
    let size = u64::try_from(size).ok()?;
    Some((resident * size, all * size))
}

/// A count is not repeated before so many times what it took: with 80,000 descriptors it takes milliseconds.
const COUNT_REST: u32 = 100;

/// The number of open descriptors; where the system does not report it in one call, possibly that of a moment ago.
pub fn open_descriptors() -> Option<u64> {
    platform::open_descriptors().or_else(counted_descriptors)
}

fn counted_descriptors() -> Option<u64> {
    /// The last count, and until when it is used.
    static LAST: Mutex<Option<(u64, Instant)>> = Mutex::new(None);
    let mut last = LAST.lock();
    let begin = Instant::now();
    match *last {
        Some((count, until)) if begin < until => Some(count),
        _ => {
            // Reading the directory itself uses one.
            let count = fs::read_dir("/dev/fd").ok()?.count().saturating_sub(1);
            let count = u64::try_from(count).ok()?;
            *last = Some((count, Instant::now() + begin.elapsed() * COUNT_REST));
            Some(count)
        }
    }
}

/// The maximum number of open descriptors.
pub fn max_descriptors() -> Option<u64> {
    // `None` means unlimited.
    Some(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_that_of_this_process() {
        assert!(cpu_time().is_some());
        let (open, counted) = (open_descriptors(), counted_descriptors());
        assert!(open.is_some() && open == counted, "{open:?} {counted:?}");
        let _file = fs::File::open("/dev/null").unwrap();
        assert!(max_descriptors() >= open_descriptors());
        if let Some((resident, all)) = memory() {
            assert!(0 < resident && resident <= all);
        }
    }
}
