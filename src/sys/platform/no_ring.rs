//! The interface of `ring/mod.rs` for every other system.

use std::io;

use super::call::{RawCall, Returned};

/// Never made: calls are made one by one.
#[derive(Debug)]
pub(in crate::sys) enum Ring {}

impl Ring {
    pub(in crate::sys) fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    #[allow(unsafe_code, reason = "the interface of Linux")]
    pub(in crate::sys) unsafe fn make(
        &mut self,
        _calls: &[RawCall],
        _returned: &mut [Returned],
    ) -> Result<(), usize> {
        match *self {}
    }
}
