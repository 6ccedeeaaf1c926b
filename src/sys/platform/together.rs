//! Calls made together where the system can, else one by one.
#![allow(unsafe_code, reason = "the calls point to memory")]

use crate::sys::log;

use super::call::{RawCall, Returned};
#[cfg(not(target_os = "linux"))]
use super::no_ring::Ring;
#[cfg(target_os = "linux")]
use super::ring::Ring;

/// Makes lists of calls.
#[derive(Debug, Default)]
pub(in crate::sys) struct Together(Option<Ring>);

impl Together {
    /// By a ring, if that is `wanted` and the system has one; says with debug level 1 that it has none.
    pub(in crate::sys) fn if_wanted(wanted: bool) -> Self {
        let ring = match wanted.then(Ring::new) {
            Some(Ok(ring)) => Some(ring),
            Some(Err(error)) => {
                log::debug(1, format_args!("calls are made one by one: no io_uring: {error}"));
                None
            }
            None => None,
        };
        Self(ring)
    }

    /// Makes all calls, in their order, and replaces `returned` by what they returned. None is in progress afterwards.
    ///
    /// # Safety
    /// What the calls point to must be valid and not in use elsewhere until this returns.
    pub(in crate::sys) unsafe fn make(&mut self, calls: &[RawCall], returned: &mut Vec<Returned>) {
        returned.clear();
        returned.resize(calls.len(), Returned::default());
        let mut made = 0;
        // One call by itself is cheaper without the ring.
        if let Some(ring) = self.0.as_mut().filter(|_| calls.len() > 1) {
            // SAFETY: as promised.
            match unsafe { ring.make(calls, returned) } {
                Ok(()) => made = calls.len(),
                Err(count) => {
                    made = count;
                    self.0 = None;
                    log::debug(1, format_args!("calls are made one by one: io_uring takes no more"));
                }
            }
        }
        for (at, (call, returned)) in calls.iter().zip(returned).enumerate() {
            if at >= made || returned.is_interrupted() {
                // SAFETY: as promised.
                *returned = unsafe { call.make() };
            }
        }
    }
}
