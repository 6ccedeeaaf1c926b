//! Functions of the operating system that the standard library does not offer.
//!
//! All `unsafe` code of pen is here: `fork`, `openlog`, an ioctl, the registration of descriptors with tokio, the
//! control messages of datagrams, system calls made together, calls into libssl, its memory on Linux and, on Solaris, `setppriv`. Linux-only features are in
//! [`platform`], which has a fallback for every other system, tested on Linux by [`emulation`]. Features that Solaris
//! has too are in their own modules: privileges kept after root is given up in [`privileges`], the destination address
//! of datagrams in [`datagram`].

pub mod atomic_file;
pub mod calls;
pub mod child;
pub mod connection_slots;
pub mod crash;
pub mod daemon;
pub mod datagram;
mod emulation;
pub mod error;
pub mod hangup;
pub mod inherited;
pub mod limits;
pub mod listen;
pub mod log;
pub mod pace;
pub mod pidfile;
mod platform;
pub mod privileges;
pub mod read_file;
pub mod resolve;
mod resolved_path;
pub mod runtime;
pub mod screen;
pub mod socket;
pub mod splice;
pub mod tls;
pub mod tls_client;
pub mod tls_handshake;
pub mod usage;
pub mod watch;
