//! Where an answer goes, in the form that sendmsg(2) takes.
#![allow(unsafe_code, reason = "a msghdr is made of pointers")]

use std::mem;

use socket2::SockAddr;

use super::peer::Peer;
use super::pktinfo::{self, Control};

/// The client, and which of pen's addresses the answer leaves from.
#[derive(Debug)]
pub struct Destination {
    client: SockAddr,
    source: Option<(Control, usize)>,
}

impl Destination {
    /// For an answer to `peer`.
    pub fn of(peer: &Peer) -> Self {
        let source = peer.local.map(|local| pktinfo::source(local.ip, local.interface));
        Self { client: peer.client.into(), source }
    }

    /// The header of a message to there, which has no bytes yet. It points into this.
    pub(in crate::sys) fn header(&self) -> libc::msghdr {
        // SAFETY: all zeros is a value of it.
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
