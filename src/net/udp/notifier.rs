//! What tells of datagrams: an event port for all sockets of a listener where the system has one that suits, else the runtime.

use std::io;

use tokio::io::Interest;

use crate::sys::datagram::{DatagramSocket, FlowPort, UpstreamSocket};
use crate::sys::watch::{self, Watch};

use super::exchange::Exchange;

/// The token of the socket that clients send to. No flow has it.
const CLIENTS: u64 = u64::MAX;

/// What tells of datagrams.
#[derive(Debug)]
pub(super) enum Notifier {
    /// Of those of clients, and of answers.
    Port(FlowPort),
    /// Of those of clients. Each flow waits for its answers itself.
    Queue(Watch),
}

impl Notifier {
    /// For the socket that clients send to. To be called within a runtime.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn of(socket: &DatagramSocket) -> io::Result<Self> {
        match FlowPort::new() {
            Ok(port) => {
                port.add(socket, CLIENTS)?;
                Ok(Notifier::Port(port))
            }
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                Watch::shared(&watch::duplicate(socket)?, Interest::READABLE).map(Notifier::Queue)
            }
            Err(error) => Err(error),
        }
    }

    /// Tells of the answers of a flow from now on, if it tells of any.
    ///
    /// # Errors
    /// The event port has no room.
    pub(super) fn add(&self, token: u64, upstream: &UpstreamSocket) -> io::Result<()> {
        match self {
            Notifier::Port(port) => upstream.join(port, token),
            Notifier::Queue(_) => Ok(()),
        }
    }

    /// Waits until there may be something.
    ///
    /// # Errors
    /// The runtime is ending.
    pub(super) async fn ready(&self) -> io::Result<()> {
        match self {
            Notifier::Port(port) => port.wait().await,
            Notifier::Queue(watch) => watch.readable().await,
        }
    }

    /// Puts the flows that are ready into `exchange`, and calls `receive` if clients may have sent something, which returns whether
    /// there may be more. Returns the same of all.
    ///
    /// # Errors
    /// As epoll_wait(2) and `receive`.
    pub(super) fn receive(
        &self,
        exchange: &mut Exchange,
        receive: impl FnOnce(&mut Exchange) -> io::Result<bool>,
    ) -> io::Result<bool> {
        match self {
            Notifier::Port(port) => {
                port.ready(&mut exchange.ready)?;
                if exchange.ready.contains(&CLIENTS) {
                    receive(exchange)?;
                }
                Ok(!exchange.ready.is_empty())
            }
            Notifier::Queue(watch) => {
                let received = watch.try_io(Interest::READABLE, || match receive(exchange) {
                    Ok(false) => Err(io::ErrorKind::WouldBlock.into()),
                    result => result,
                });
                match received {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
                    result => result,
                }
            }
        }
    }
}
