//! The name of the program.

use std::ffi::CStr;
use std::sync::OnceLock;

static PROGRAM: OnceLock<&CStr> = OnceLock::new();

/// Sets the program name for messages, if it is not pen. Call it before anything else.
pub fn set_program(name: &'static CStr) {
    // If it is set twice, the first name is kept.
    let _ = PROGRAM.set(name);
}

pub(super) fn program() -> &'static CStr {
    PROGRAM.get().copied().unwrap_or(c"pen")
}
