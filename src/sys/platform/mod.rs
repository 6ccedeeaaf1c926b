//! The differences between Linux and other systems, behind one interface with two implementations.
//!
//! Both can be tested on Linux: see `emulation`.

pub(super) mod call;
#[cfg(target_os = "linux")]
mod epoll;
pub(super) mod events;
pub(super) mod lane_transfer;
#[cfg(target_os = "linux")]
mod lanes;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod message_buffer;
#[cfg(not(target_os = "linux"))]
mod no_ring;
#[cfg(not(target_os = "linux"))]
mod portable;
#[cfg(target_os = "linux")]
mod ready_port;
#[cfg(target_os = "linux")]
mod ring;
#[cfg(target_os = "linux")]
mod slot;
pub(super) mod together;

#[cfg(target_os = "linux")]
pub(super) use {
    epoll::{PolledFd, prepare_event_port},
    linux::*,
    message_buffer::{MessageBuffer, watch_library_memory},
    ready_port::ReadyPort,
    slot::PolledLane,
};

#[cfg(not(target_os = "linux"))]
pub(super) use portable::*;
