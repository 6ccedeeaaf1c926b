//! The one right that pen may keep after giving up root: to bind a port below 1024, and only if the process that
//! started pen granted it.
//!
//! On Solaris the grant is `net_privaddr` in the inheritable set, which smf(5) takes from `privileges` of the method
//! (see privileges(5), smf_method(5)); on Linux it is CAP_NET_BIND_SERVICE in the ambient set (see capabilities(7)). A
//! pen that root starts on a command line has neither and keeps nothing. The other direction matters as much: a start
//! method has more rights than pen may serve with (change of user, chroot), and on Solaris a privilege-aware process
//! keeps all of them across setuid(2).

use std::io;

/// Whether the right to bind low ports is kept after giving up root; created before the change of user, and used after
/// it.
#[derive(Debug)]
pub(super) struct Retained(system::Grant);

impl Retained {
    /// Records the grant and prepares the process to keep it.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) fn prepare() -> io::Result<Self> {
        system::prepare().map(Self)
    }

    /// Drops every privilege except those needed to serve and, with `programs`, those to start programs. Call it as the
    /// user that serves, before the change of user is verified.
    ///
    /// # Errors
    /// The system refuses; the process may then hold too many rights and must end.
    pub(super) fn drop_all_others(self, programs: bool) -> io::Result<()> {
        system::drop_all_others(self.0, programs)
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::io;

    use caps::{CapSet, Capability, CapsHashSet};

    /// The capabilities to keep.
    pub(super) type Grant = CapsHashSet;

    pub(super) fn prepare() -> io::Result<Grant> {
        // A kernel without the ambient set grants nothing.
        let mut kept = caps::read(None, CapSet::Ambient).unwrap_or_default();
        kept.retain(|capability| *capability == Capability::CAP_NET_BIND_SERVICE);
        if !kept.is_empty() {
            nix::sys::prctl::set_keepcaps(true)?;
        }
        // Before the change of user, which removes the right to do this. In a container pen may never have had it.
        if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP).unwrap_or(false) {
            caps::clear(None, CapSet::Bounding).map_err(io::Error::other)?;
        }
        Ok(kept)
    }

    pub(super) fn drop_all_others(kept: Grant, _programs: bool) -> io::Result<()> {
        nix::sys::prctl::set_no_new_privs()?;
        // The kernel has dropped all capabilities, unless it was told otherwise (SECBIT_KEEP_CAPS,
        // SECBIT_NO_SETUID_FIXUP).
        if caps::read(None, CapSet::Permitted).map_err(io::Error::other)?.is_empty() {
            return Ok(());
        }
        for set in [CapSet::Effective, CapSet::Permitted] {
            caps::set(None, set, &kept).map_err(io::Error::other)?;
        }
        caps::clear(None, CapSet::Inheritable).map_err(io::Error::other)?;
        Ok(nix::sys::prctl::set_keepcaps(false)?)
    }
}

#[cfg(any(target_os = "solaris", target_os = "illumos"))]
mod system {
    use std::ffi::{CStr, c_char, c_int};
    use std::io;
    use std::ptr;

    /// The privileges that pen keeps if granted; see priv_str_to_set(3C) for the syntax and privileges(5) for the
    /// names. Without `proc_fork` and `proc_exec`: a balancer starts no programs except those of its checks.
    const SERVING: &CStr =
        c"basic,!file_link_any,!proc_exec,!proc_fork,!proc_info,!proc_session,net_privaddr";

    /// The same for a pen whose checks run programs.
    const WITH_PROGRAMS: &CStr = c"basic,!file_link_any,!proc_info,!proc_session,net_privaddr";

    /// PRIV_SET of priv_op_t in <sys/priv.h>.
    const PRIV_SET: c_int = 2;
    const PERMITTED: &CStr = c"Permitted";

    /// priv_set_t of <sys/priv.h>: only ever behind a pointer.
    #[repr(C)]
    struct PrivSet([u8; 0]);

    #[allow(unsafe_code, reason = "setppriv(2) has no safe wrapper")]
    unsafe extern "C" {
        fn priv_str_to_set(buf: *const c_char, sep: *const c_char, end: *mut *const c_char) -> *mut PrivSet;
        fn priv_allocset() -> *mut PrivSet;
        fn priv_freeset(set: *mut PrivSet);
        fn priv_intersect(from: *const PrivSet, into: *mut PrivSet);
        fn getppriv(which: *const c_char, set: *mut PrivSet) -> c_int;
        fn setppriv(op: c_int, which: *const c_char, set: *const PrivSet) -> c_int;
    }

    /// Nothing to record: the privilege sets of the process contain the grant.
    pub(super) type Grant = ();

    pub(super) fn prepare() -> io::Result<Grant> {
        Ok(())
    }

    #[allow(unsafe_code, reason = "setppriv(2) has no safe wrapper")]
    pub(super) fn drop_all_others((): Grant, programs: bool) -> io::Result<()> {
        let serving = if programs { WITH_PROGRAMS } else { SERVING };
        // SAFETY: the strings end in NUL and are static; `end` may be null (priv_str_to_set(3C)); each set comes from
        // the library, is checked for null before use, is used by no other thread and freed once.
        unsafe {
            let serving = priv_str_to_set(serving.as_ptr(), c",".as_ptr(), ptr::null_mut());
            if serving.is_null() {
                return Err(io::Error::last_os_error());
            }
            let held = priv_allocset();
            let done = if held.is_null() || getppriv(PERMITTED.as_ptr(), held) != 0 {
                Err(io::Error::last_os_error())
            } else {
                // A process cannot keep a privilege that it does not hold: the attempt would fail with EPERM.
                priv_intersect(held, serving);
                // Permitted is set near the end: the effective set must be a subset of it, and shrinks with it.
                [c"Inheritable", PERMITTED, c"Limit"].iter().try_for_each(|which| {
                    match setppriv(PRIV_SET, which.as_ptr(), serving) {
                        0 => Ok(()),
                        _ => Err(io::Error::last_os_error()),
                    }
                })
            };
            if !held.is_null() {
                priv_freeset(held);
            }
            priv_freeset(serving);
            done
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "solaris", target_os = "illumos")))]
mod system {
    use std::io;

    /// Nothing can be kept.
    pub(super) type Grant = ();

    pub(super) fn prepare() -> io::Result<Grant> {
        Ok(())
    }

    pub(super) fn drop_all_others((): Grant, _programs: bool) -> io::Result<()> {
        Ok(())
    }
}
