//! Checks by datagrams: udp, and dns where pen balances datagrams.

use std::io;
use std::net::SocketAddr;

use rustix::net::RecvFlags;
use socket2::{Domain, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::core::health::{CheckType, dns};
use crate::core::snapshot::ServerAddress;
use crate::net::connect::failure::Failure;
use crate::net::connect::setup;

use super::addresses::{CheckVerdict, first_of, of_server};
use super::outcome::Trouble;
use super::probe::{CheckStage, Probe, random_id};
use super::stream::holds;

/// Carries out the check: of several addresses, the server works if it does at one.
pub(super) async fn ask(probe: &Probe<'_>) -> Result<String, Trouble> {
    first_of(probe, async |address, _| ask_at(probe, address).await).await
}

/// What the server says at this address.
async fn ask_at(probe: &Probe<'_>, address: &ServerAddress) -> Result<CheckVerdict, Failure> {
    let config = &probe.check.config;
    let ServerAddress::Ip(address) = address else { return Err(of_server("it has no IP address")) };
    let socket = open(probe, *address).map_err(Failure::of_pen)?;
    probe.stage.set(CheckStage::Answer);
    let id = random_id();
    let question = match config.kind {
        CheckType::Dns => dns::question(config.name.as_deref(), id),
        _ => config.send.clone(),
    };
    let question = [probe.proxy_header().unwrap_or_default(), question].concat();
    socket.send(&question).await.map_err(Failure::of_exchange)?;
    loop {
        let read = || {
            let (count, _) =
                rustix::net::recv(&socket, &mut **probe.buffer.borrow_mut(), RecvFlags::empty())?;
            Ok(count)
        };
        let count = socket
            .async_io(Interest::READABLE | Interest::ERROR, read)
            .await
            .map_err(Failure::of_exchange)?;
        let buffer = probe.buffer.borrow();
        let answer = buffer.get(..count).unwrap_or_default();
        let verdict = match config.kind {
            // An answer to another query does not count.
            CheckType::Dns => dns::judge(answer, id),
            // An empty datagram is an answer too.
            _ if config.expect.is_empty() => Some(Ok("it answers".into())),
            _ => holds(answer, &config.expect, true),
        };
        if let Some(verdict) = verdict {
            return Ok(verdict);
        }
    }
}

fn open(probe: &Probe<'_>, address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    setup::bind(probe.snapshot, &socket, address, None)?;
    socket.connect(&address.into())?;
    UdpSocket::from_std(socket.into())
}
