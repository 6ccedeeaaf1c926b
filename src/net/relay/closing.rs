//! How a relay leaves its two peers when a connection does not end by an orderly close on both sides.
//!
//! close(2) with SO_LINGER 0, or with unread bytes in the receive buffer, sends RST and throws away what the kernel
//! has not yet delivered. So first the peer's acknowledgement of everything is awaited, as long as it makes progress.

use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::time::{Instant, Sleep, sleep};

use super::buffer;
use crate::net::stream::Stream;
use crate::sys::socket::unacknowledged;

/// How long a peer may take to acknowledge anything more.
pub(crate) const STALL: Duration = Duration::from_secs(30);
/// The same where the system does not tell what is unacknowledged.
const BLIND: Duration = Duration::from_secs(1);
/// How long a peer that goes on sending may take to see the end, once it has acknowledged everything.
const GRACE: Duration = Duration::from_secs(1);
/// First and longest time between two looks.
const LOOK: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(250));
/// Reads that are thrown away at one look.
const DISCARD: u32 = 16;

/// How one peer is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseMode {
    /// Close: both directions have ended, or there is nobody left.
    Close,
    /// It has been told of the end but may go on sending: throw that away, so that no RST overtakes the last bytes.
    Drain {
        /// Give it time to end by itself, too.
        patient: bool,
    },
    /// Its stream was cut off: RST, so that it cannot take it for complete.
    Reset,
}

/// Leaves one peer.
#[derive(Debug)]
struct Peer {
    how: CloseMode,
    /// Unacknowledged at the last look.
    left: usize,
    /// When the present wait ends.
    until: Option<Instant>,
    acknowledged: bool,
    gone: bool,
}

impl Peer {
    fn new(how: CloseMode) -> Self {
        Self { how, left: usize::MAX, until: None, acknowledged: false, gone: how == CloseMode::Close }
    }

    fn look(&mut self, cx: &mut Context<'_>, stream: &mut Stream) {
        if self.gone {
            return;
        }
        if is_gone(stream) || (matches!(self.how, CloseMode::Drain { .. }) && discard(cx, stream)) {
            self.gone = true;
            return;
        }
        let now = Instant::now();
        match unacknowledged(stream.as_fd()) {
            Some(0) if self.how != (CloseMode::Drain { patient: true }) => self.reset(stream),
            Some(0) if !self.acknowledged => {
                self.acknowledged = true;
                self.until = Some(now + GRACE);
            }
            Some(left) if left < self.left && !self.acknowledged => {
                self.left = left;
                self.until = Some(now + STALL);
            }
            _ => {
                if now >= *self.until.get_or_insert(now + BLIND) {
                    self.reset(stream);
                }
            }
        }
    }

    fn reset(&mut self, stream: &Stream) {
        stream.set_reset_on_close();
        self.gone = true;
    }
}

/// Whether the connection was reset. The system goes on counting what such a peer left unacknowledged, for ever.
fn is_gone(stream: &Stream) -> bool {
    SockRef::from(stream).peer_addr().is_err_and(|error| error.kind() == io::ErrorKind::NotConnected)
}

/// Reads and forgets; true when the peer has ended or is gone.
fn discard(cx: &mut Context<'_>, stream: &mut Stream) -> bool {
    buffer::with_read_buffer(|buffer| {
        for _ in 0..DISCARD {
            match stream.poll_read(cx, buffer) {
                Poll::Pending => return false,
                Poll::Ready(Ok(0) | Err(_)) => return true,
                Poll::Ready(Ok(_)) => {}
            }
        }
        false
    })
}

/// Leaves both peers.
#[derive(Debug)]
pub(crate) struct LingeringClose {
    client: Peer,
    server: Peer,
    wait: Duration,
    tick: Option<Pin<Box<Sleep>>>,
}

impl LingeringClose {
    pub(crate) fn new(client: CloseMode, server: CloseMode) -> Self {
        Self { client: Peer::new(client), server: Peer::new(server), wait: LOOK.0, tick: None }
    }

    /// Ready when both sockets may be closed.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Stream,
        server: &mut Stream,
    ) -> Poll<()> {
        loop {
            self.client.look(cx, client);
            self.server.look(cx, server);
            if self.client.gone && self.server.gone {
                return Poll::Ready(());
            }
            let tick = self.tick.get_or_insert_with(|| Box::pin(sleep(LOOK.0)));
            ready!(tick.as_mut().poll(cx));
            self.wait = (self.wait * 2).min(LOOK.1);
            tick.as_mut().reset(Instant::now() + self.wait);
        }
    }
}
