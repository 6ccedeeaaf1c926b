//! What the process uses of the system. What a system does not tell, or not in a jail without /proc and /dev/fd, is `None`.

use std::fs;
use std::mem::MaybeUninit;

use rustix::process::{Resource, getrlimit};

/// Processor time that the process has used, of user and system, in seconds.
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

/// Memory in use and addresses in use, in bytes, where there is a /proc as Linux has it.
pub fn memory() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = text.split(' ').map_while(|word| word.parse::<u64>().ok());
    let (all, resident) = (pages.next()?, pages.next()?);
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
    let size = u64::try_from(size).ok()?;
    Some((resident * size, all * size))
}

/// Descriptors that are open.
pub fn open_descriptors() -> Option<u64> {
    // The directory that is read has one itself.
    let count = fs::read_dir("/dev/fd").ok()?.count().saturating_sub(1);
    u64::try_from(count).ok()
}

/// Most descriptors that may be open.
pub fn max_descriptors() -> Option<u64> {
    // No limit is told as `None`.
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
