//! UDP: one thread serves all flows, which keeps the datagrams of each in order.
//!
//! A flow is a client's address and port (and, if pen is bound to the wildcard address, the address that the client
//! sent to). Each flow has its own socket, connected to its server. Where there is an event port, it reports the answers
//! to the listener, which passes on all that are there in one go; elsewhere each flow's task does. Datagrams of clients
//! are forwarded as they are read. A datagram that a socket does not accept at once is dropped, as UDP allows,
//! and counted.

pub(in crate::net) mod drops;
mod exchange;
mod flow;
mod flows;
mod listener;
mod notifier;
mod upstream;

use std::io;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use tokio::sync::mpsc;

use crate::sys::datagram::DatagramSocket;
use crate::sys::{runtime, watch};

use super::lifecycle::LifeStage;
use super::shared::Shared;
use listener::UdpListener;

/// The sockets that clients send to, one after the other.
pub type DatagramSocketReceiver = mpsc::UnboundedReceiver<Arc<DatagramSocket>>;

/// Starts the thread; on return it listens.
///
/// # Errors
/// The system cannot create a thread or an event port, or cannot watch the socket.
pub fn start(
    shared: Arc<Shared>,
    socket: Arc<DatagramSocket>,
    mut sockets: DatagramSocketReceiver,
) -> io::Result<JoinHandle<()>> {
    let watched = Arc::clone(&socket);
    runtime::start_thread(
        "udp".into(),
        move || watch::can_watch(&*watched),
        move |runtime| {
            runtime.block_on(async {
                let mut current = UdpListener::open(Arc::clone(&shared), socket);
                let mut left: Vec<Weak<UdpListener>> = Vec::new();
                loop {
                    let socket = tokio::select! {
                        () = shared.lifecycle.reaches(LifeStage::Drain) => break,
                        socket = sockets.recv() => socket,
                    };
                    let Some(socket) = socket else { break };
                    current.leave();
                    left.push(Arc::downgrade(&current));
                    left.retain(|listener| listener.strong_count() > 0);
                    let back =
                        left.iter().filter_map(Weak::upgrade).find(|p| p.is_of(&socket) && p.come_back());
                    current = back.unwrap_or_else(|| UdpListener::open(Arc::clone(&shared), socket));
                }
                current.leave();
                drop(current);
                shared.lifecycle.reaches(LifeStage::End).await;
            });
            // Flows end with the runtime.
        },
    )
}
