//! Calls made together where the system can, else one by one.
#![allow(unsafe_code, reason = "the calls point to memory")]

use std::io;

use super::call::{RawCall, Returned};
#[cfg(not(target_os = "linux"))]
use super::no_ring::Ring;
#[cfg(target_os = "linux")]
use super::ring::Ring;

/// Makes lists of calls.
#[derive(Debug, Default)]
pub(in crate::sys) struct Together(Option<Ring>);

impl Together {
    /// By the ring of this thread.
    ///
    /// # Errors
    /// As [`Ring::new`]: calls can be made one by one only, as the default does.
    pub(in crate::sys) fn by_ring() -> io::Result<Self> {
        Ring::new().map(|ring| Self(Some(ring)))
    }

    /// Makes all calls, in their order, and replaces `returned` by what they returned. None is in progress afterwards. Returns
    /// false when the ring was given up for that.
    ///
    /// # Safety
    /// What the calls point to must be valid and not in use elsewhere until this returns.
    pub(in crate::sys) unsafe fn make(&mut self, calls: &[RawCall], returned: &mut Vec<Returned>) -> bool {
        returned.clear();
        returned.resize(calls.len(), Returned::default());
        let mut made = 0;
        // One call by itself is cheaper without the ring.
        let ring = self.0.as_mut().filter(|_| calls.len() > 1);
        let has_ring = ring.is_some();
        if let Some(ring) = ring {
            // SAFETY: as promised.
            made = unsafe { ring.make(calls, returned) }.map_or_else(|count| count, |()| calls.len());
        }
        let given_up = has_ring && made < calls.len();
        if given_up {
            self.0 = None;
        }
        for (at, (call, returned)) in calls.iter().zip(returned).enumerate() {
            if at >= made || returned.is_interrupted() {
                // SAFETY: as promised.
                *returned = unsafe { call.make() };
            }
        }
        !given_up
    }
}
