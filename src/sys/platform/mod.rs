//! What differs between Linux and every other system, behind one interface with two bodies.
//!
//! On Linux, `PEN_PORTABLE=1` in the environment, read once, makes pen behave as if it ran elsewhere, so that one build
//! tests both.

#[cfg(target_os = "linux")]
mod epoll;
pub(super) mod events;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod portable;

#[cfg(target_os = "linux")]
pub(super) use {
    epoll::{PolledFd, prepare_event_port},
    linux::*,
};

#[cfg(not(target_os = "linux"))]
pub(super) use portable::*;
