//! What differs between Linux and every other system, behind one interface with two bodies.
//!
//! On Linux either can be tested: see `emulation`.

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
