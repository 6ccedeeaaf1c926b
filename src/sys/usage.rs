//! The system resources that the process uses. Values that the system does not report are `None`, as in a jail without
//! /proc and /dev/fd.

use std::fs;
use std::mem::MaybeUninit;

use rustix::process::{Resource, getrlimit};

/// Processor time used by the process, user and system, in seconds.
#[allow(unsafe_code, reason = "no crate has getrusage(3C) on Solaris")]
pub fn cpu_seconds() -> Option<f64> {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: `usage` has room for the one rusage that is written to it.
    if unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: the call has succeeded, so it has filled the whole value in.
    let usage = unsafe { usage.assume_init() };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Some(seconds(usage.ru_utime) + seconds(usage.ru_stime))
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

/// The number of open descriptors.
pub fn open_descriptors() -> Option<u64> {
    // Reading the directory itself uses one.
    let count = fs::read_dir("/dev/fd").ok()?.count().saturating_sub(1);
    u64::try_from(count).ok()
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
        assert!(cpu_seconds().is_some_and(|seconds| seconds >= 0.0));
        assert!(max_descriptors() >= open_descriptors());
        if let Some((resident, all)) = memory() {
            assert!(0 < resident && resident <= all);
        }
    }
}
