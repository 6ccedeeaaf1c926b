//! An event port that reports on request which sockets are ready at that time (epoll(7), level-triggered).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use tokio::io::Interest;

use crate::sys::emulation;
use crate::sys::watch::Watch;

/// The maximum number of sockets reported at once.
const MOST: usize = 64;

/// The event port.
#[derive(Debug)]
pub(in crate::sys) struct ReadyPort {
    epoll: Arc<OwnedFd>,
    watch: Watch,
}

impl ReadyPort {
    /// Call it within a runtime.
    pub(in crate::sys) fn new() -> io::Result<Self> {
        if emulation::is_portable() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let epoll = Arc::new(epoll::create(CreateFlags::CLOEXEC)?);
        let watch = Watch::shared(&epoll, Interest::READABLE)?;
        Ok(Self { epoll, watch })
    }

    /// Reports the socket by `token` from now on when it is readable or has an error.
    pub(in crate::sys) fn add(&self, socket: impl AsFd, token: u64) -> io::Result<()> {
        Ok(epoll::add(&*self.epoll, socket, EventData::new_u64(token), EventFlags::IN)?)
    }

    /// Reports the socket no longer. Closing is not enough: a child process that has not yet executed its program has all
    /// sockets open, and one that is ready would be reported until then.
    pub(in crate::sys) fn remove(&self, socket: impl AsFd) {
        // The socket was added: there is no error.
        _ = epoll::delete(&*self.epoll, socket);
    }

    /// Replaces `tokens` by those of ready sockets, or of some of them if there are many. Repeated calls report every
    /// one.
    pub(in crate::sys) fn ready(&self, tokens: &mut Vec<u64>) -> io::Result<()> {
        tokens.clear();
        let mut room = [const { MaybeUninit::<Event>::uninit() }; MOST];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        // The port is reported as readable when a socket becomes ready, not while one stays ready: only a port without
        // a ready socket may be waited for.
        let result = self.watch.try_io(Interest::READABLE, || {
            let (events, _) = epoll::wait(&*self.epoll, &mut room[..], Some(&now))?;
            tokens.extend(events.iter().map(|event| event.data.u64()));
            if tokens.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            result => result,
        }
    }

    /// Waits until a socket may be ready.
    pub(in crate::sys) async fn wait(&self) -> io::Result<()> {
        self.watch.readable().await
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn a_socket_is_told_for_as_long_as_it_is_ready_and_added() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let port = ReadyPort::new().unwrap();
            let near = UdpSocket::bind("127.0.0.1:0").unwrap();
            let far = UdpSocket::bind("127.0.0.1:0").unwrap();
            port.add(&near, 7).unwrap();
            let mut tokens = vec![1];
            (0..2).for_each(|_| _ = far.send_to(b"x", near.local_addr().unwrap()).unwrap());
            for left in [2, 1] {
                port.wait().await.unwrap();
                (0..2).for_each(|_| {
                    port.ready(&mut tokens).unwrap();
                    assert_eq!(tokens, [7], "{left}");
                });
                near.recv(&mut [0; 8]).unwrap();
            }
            port.ready(&mut tokens).unwrap();
            assert!(tokens.is_empty());
            far.send_to(b"x", near.local_addr().unwrap()).unwrap();
            port.wait().await.unwrap();
            // As in a child process.
            let held = near.try_clone().unwrap();
            port.remove(&near);
            drop(near);
            port.ready(&mut tokens).unwrap();
            assert!(tokens.is_empty());
            drop(held);
        });
    }
}
