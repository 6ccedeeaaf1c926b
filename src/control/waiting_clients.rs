//! Clients of the control socket whose reply comes later: how many there may be, and when one of them has gone.

use std::cell::Cell;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use crate::core::error::Error;
use crate::sys::hangup;

use super::protocol;

/// The maximum number of clients that may wait.
const WAITING_MAX: usize = 16;
/// How often pen looks whether a client has gone. Not every event port reports a close of both directions by itself.
const LOOK: Duration = Duration::from_millis(50);
/// How long a further client waits for those that may have gone to give up their places.
const PATIENCE: Duration = Duration::from_millis(250);

/// Why a client waits no longer.
enum Departure {
    /// It has closed its connection.
    Gone,
    /// Its place is for another one.
    GaveWay,
}

/// The places of these clients.
#[derive(Debug)]
pub(super) struct WaitingClients {
    /// The number of places.
    most: usize,
    places: Semaphore,
    /// The number of further clients that a place is sought for, and of places that were given up for them and not taken yet.
    further: Cell<usize>,
    given_up: Cell<usize>,
    /// Who is told when one more has come.
    one_more: Notify,
}

impl WaitingClients {
    /// Places for at most half of the clients of a socket, so that room is left for others.
    pub(super) fn among(clients_max: usize) -> Self {
        let most = (clients_max / 2).clamp(1, WAITING_MAX);
        WaitingClients {
            most,
            places: Semaphore::new(most),
            further: Cell::default(),
            given_up: Cell::default(),
            one_more: Notify::new(),
        }
    }

    /// Waits for the reply to `client`, a process of this machine if it `is_local`. The reply is an error if there is no place for
    /// it, or if it has to give its place to another one: no reply would look like success.
    ///
    /// # Errors
    /// The client has gone.
    pub(super) async fn wait(
        &self,
        reply: impl Future<Output = String>,
        client: BorrowedFd<'_>,
        is_local: bool,
    ) -> io::Result<String> {
        let Some(_place) = self.place().await else {
            return Ok(protocol::refusal(&[Error::new(format!("{} commands wait already", self.most))]));
        };
        tokio::select! {
            reply = reply => Ok(reply),
            departure = self.departure(client, is_local) => match departure {
                Departure::Gone => {
                    Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the client has gone"))
                }
                Departure::GaveWay => {
                    let reason = format!("its place was given to another command: {} may wait", self.most);
                    Ok(protocol::refusal(&[Error::new(reason).of("wait")]))
                }
            },
        }
    }

    async fn place(&self) -> Option<SemaphorePermit<'_>> {
        if let Ok(place) = self.places.try_acquire() {
            return Some(place);
        }
        self.further.update(|further| further + 1);
        self.one_more.notify_waiters();
        let place = tokio::time::timeout(PATIENCE, self.places.acquire()).await;
        self.further.update(|further| further - 1);
        let taken = usize::from(place.is_ok());
        self.given_up.update(|places| places.saturating_sub(taken).min(self.further.get()));
        place.ok()?.ok()
    }

    /// Waits until the client has closed its connection. One that has only ended what it sends may still wait for the reply.
    /// Over TCP, it may also be one that has gone: it gives its place to another one.
    async fn departure(&self, client: BorrowedFd<'_>, is_local: bool) -> Departure {
        loop {
            _ = tokio::time::timeout(LOOK, self.one_more.notified()).await;
            if hangup::is_closed(client) {
                return Departure::Gone;
            }
            let may_give_way = !is_local && self.further.get() > self.given_up.get();
            if may_give_way && hangup::is_at_end(client) {
                self.given_up.update(|places| places + 1);
                return Departure::GaveWay;
            }
        }
    }
}
