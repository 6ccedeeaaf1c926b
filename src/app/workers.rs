//! The threads that serve clients, and how they are told where.

use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use tokio::sync::mpsc;

use crate::core::Error;
use crate::core::config::Config;
use crate::net::accept_token::AcceptToken;
use crate::net::lifecycle::LifeStage;
use crate::net::shared::Shared;
use crate::net::udp;
use crate::net::worker::{self, Listener};
use crate::sys::datagram::DatagramSocket;

use super::listeners::{BoundListener, Used};

/// Connections that a worker may have more than another. Measured: short connections cost 6 % less than with all workers
/// waiting for clients at once, and no more with any margin from 4 to 16.
const MARGIN: usize = 4;

/// How many workers there are to be.
pub(super) fn count(config: &Config) -> usize {
    match config.settings.workers {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        count => count,
    }
}

/// How those who serve clients are told where.
#[derive(Debug)]
pub(super) enum ListenerHandles {
    /// The workers.
    Streams(Vec<mpsc::UnboundedSender<Arc<Listener>>>),
    /// The thread that serves datagrams, and the sockets that it was given.
    Datagrams(mpsc::UnboundedSender<Arc<DatagramSocket>>, Used),
}

impl ListenerHandles {
    /// The sockets of datagrams that may still be bound.
    pub(super) fn used(&self) -> &[Weak<DatagramSocket>] {
        match self {
            ListenerHandles::Streams(_) => &[],
            ListenerHandles::Datagrams(_, used) => used,
        }
    }

    /// From now on clients come there. What is meant is of the kind that it was: `udp` needs a restart.
    pub(super) fn move_to(&mut self, listener: BoundListener) {
        match (self, listener) {
            (ListenerHandles::Streams(workers), BoundListener::Streams(listening)) => {
                let listening = Arc::new(listening);
                // One that has ended listens no more.
                workers.iter().for_each(|worker| _ = worker.send(Arc::clone(&listening)));
            }
            (ListenerHandles::Datagrams(thread, used), BoundListener::Datagrams(socket)) => {
                used.retain(|socket| socket.strong_count() > 0);
                used.push(Arc::downgrade(&socket));
                _ = thread.send(socket);
            }
            _ => {}
        }
    }
}

/// The threads that serve clients, and how they are told where.
pub(super) type Workers = (Vec<JoinHandle<()>>, ListenerHandles);

/// Starts the workers or, for datagrams, the one thread that serves all of them. All of them listen then.
///
/// # Errors
/// When the system does not give one what it needs. None is left then.
pub(super) fn start(count: usize, shared: &Arc<Shared>, listener: BoundListener) -> Result<Workers, Error> {
    let listening = match listener {
        BoundListener::Streams(listening) => Arc::new(listening),
        BoundListener::Datagrams(socket) => {
            let (sender, sockets) = mpsc::unbounded_channel();
            let used = vec![Arc::downgrade(&socket)];
            let thread = udp::start(Arc::clone(shared), socket, sockets);
            let thread = thread.map_err(|e| Error::failed("a thread for UDP", e))?;
            return Ok((vec![thread], ListenerHandles::Datagrams(sender, used)));
        }
    };
    let token = if shared.tls.is_some() { AcceptToken::none(count) } else { AcceptToken::new(count, MARGIN) };
    let one = |n| {
        let (sender, sockets) = mpsc::unbounded_channel();
        let worker = worker::start(n, Arc::clone(shared), token.handle(n), Arc::clone(&listening), sockets);
        worker.map(|worker| (worker, sender)).map_err(|e| Error::failed("a worker", e))
    };
    let (mut workers, mut places) = (Vec::new(), Vec::new());
    for n in 0..count {
        match one(n) {
            Ok((worker, place)) => {
                workers.push(worker);
                places.push(place);
            }
            Err(error) => {
                shared.lifecycle.enter(LifeStage::End);
                // One that panicked has said so.
                workers.into_iter().for_each(|worker| _ = worker.join());
                return Err(error);
            }
        }
    }
    Ok((workers, ListenerHandles::Streams(places)))
}
