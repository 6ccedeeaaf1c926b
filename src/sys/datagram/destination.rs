//! The destination of an answer, in the form of sendmsg(2).
#![allow(unsafe_code, reason = "a msghdr is made of pointers")]

use std::mem;

use socket2::SockAddr;

use super::peer::Peer;
use super::pktinfo::{self, ControlBuffer};

/// The client, and the address of pen that the answer leaves from.
#[derive(Debug)]
pub struct Destination {
    client: SockAddr,
    source: Option<(ControlBuffer, usize)>,
}

impl Destination {
    /// The destination of an answer to `peer`.
    pub fn of(peer: &Peer) -> Self {
        let source = peer.local.map(|local| pktinfo::source(local.ip, local.interface));
        Self { client: peer.client.into(), source }
    }

    /// The header of a message to this destination, without its bytes. It points into this.
    pub(in crate::sys) fn header(&self) -> libc::msghdr {
        // SAFETY: all zeros is a valid value.
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        header.msg_name = self.client.as_ptr().cast_mut().cast();
        header.msg_namelen = self.client.len();
        if let Some((control, used)) = &self.source {
            header.msg_control = control.as_ptr().cast_mut().cast();
            header.msg_controllen = *used as _;
        }
        header
    }
}
